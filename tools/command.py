"""What a command says in place of a traceback, where a person can mend the cause."""

from __future__ import annotations

import errno
import functools
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import ParamSpec

P = ParamSpec("P")
CURES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room and start again"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "choose a folder that you may write, or ask for the right"
    ),
    errno.EIO: "the disk may be damaged: copy what you need",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "close other programs and start again"),
}
# SQLite has no numbers for these that SQLAlchemy passes on.
GRADEBOOK = re.compile(r"disk is full|readonly database|unable to open database file|disk I/O|is locked")


def one_line(*known: type[Exception]) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """A command that ends in one line and status 1 by these errors, Ctrl-C and what the machine refuses."""

    def decorate(command: Callable[P, int]) -> Callable[P, int]:
        @functools.wraps(command)
        def main(*args: P.args, **kwargs: P.kwargs) -> int:
            logging.getLogger("tornado.application").addFilter(_no_rollback)  # nbgrader's log
            try:
                return command(*args, **kwargs)
            except known as error:
                print(f"error: {error}", file=sys.stderr)
            except KeyboardInterrupt:
                print("\nstopped; start again to go on where it stopped", file=sys.stderr)
            except Exception as error:
                if not (words := refused(error)):
                    raise
                print(f"error: {words}", file=sys.stderr)
            return 1

        return main

    return decorate


def refused(error: BaseException) -> str:
    """What the machine refused, where that is behind an exception, and what to do; "" for anything else."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in CURES:
            where = f"{cause.filename}: " if cause.filename else ""
            return f"{where}{cause.strerror}: {CURES[cause.errno]}"
        if type(cause).__name__ == "OperationalError" and GRADEBOOK.search(text := str(cause)):
            return f"the gradebook: {text.splitlines()[0]}: free its disk or folder, and start again"
    return ""


def _no_rollback(record: logging.LogRecord) -> bool:
    """Nbgrader writes a traceback before it raises what happened to the gradebook."""
    return not record.getMessage().startswith("Rolling back session")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, what SQLAlchemy wraps in it, and what led to it."""
    while error is not None:
        yield getattr(error, "orig", None) or error
        error = error.__cause__ or error.__context__
