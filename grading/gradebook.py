"""nbgrader's gradebook: SQLite or PostgreSQL."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbgrader.api import Gradebook
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError


class GradebookError(Exception):
    """The gradebook cannot be had; one line that says why and what to do."""


def gradebook_url(address: str | Path) -> str:
    """An address for SQLAlchemy from a path (SQLite) or an address; postgresql://… gets its driver."""
    text = str(address)
    if "://" not in text:
        text = f"sqlite:///{Path(text).resolve()}"
    try:
        url = make_url(text)
    except ArgumentError:
        raise GradebookError(
            f"{address} is no address of a gradebook: sqlite:///file or postgresql://…"
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername.startswith("sqlite") and "timeout" not in url.query:
        url = url.update_query_dict({"timeout": "60"})  # somebody grades by hand at the same time
    return url.render_as_string(hide_password=False)


@contextmanager
def gradebook(address: str | Path) -> Iterator[Gradebook]:
    """nbgrader's gradebook; GradebookError if it cannot be had."""
    scripts = sysconfig.get_path("scripts")  # nbgrader calls `alembic` by name
    if scripts not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)])
    url = gradebook_url(address)
    shown = make_url(url).set(query={}).render_as_string(hide_password=True)
    try:
        book = Gradebook(url)
    except (SQLAlchemyError, ImportError, OSError) as error:
        raise GradebookError(f"the gradebook {shown} does not open: {_brief(error)}") from None
    try:
        with book:
            yield book
    except SQLAlchemyError as error:
        raise GradebookError(
            f"the gradebook {shown} failed: {_brief(error)}; what is recorded so far stays, run again"
        ) from error


def _brief(error: BaseException) -> str:
    return (str(getattr(error, "orig", None) or error).strip() or type(error).__name__).splitlines()[0]
