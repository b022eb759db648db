"""S: runs the student's cells and answers calls from the tests, which it never sees.

The cells run in an IPython shell without a kernel around it. What they print and draw is collected, cut
where it is too much, and sent with the answer. Nothing here guards anything: the student's code shares this
process. T believes none of it, and the sandbox holds it.
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import importlib
import io
import json
import linecache
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from grading.execution.wire import Channel, Closed, Decoder, Encoder, TooLarge, WireError
from utils.gradients import grad_of  # this one, whatever students' code makes of the module

CUT = "\n[the rest of this cell's output was cut: it printed more than {limit:,} bytes]\n"
RICH = 5  # figures and the like may take so many times what text may


class TimeLimit(BaseException):
    """The time is over. Not an Exception, so that `except Exception` does not hold it."""


class Outputs:
    """What the current cell prints and shows, in the notebook format, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.start()

    def start(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.text = self.rich = 0
        self.cut = False

    def write(self, name: str, text: str) -> None:
        """Text on stdout or stderr."""
        left, size = self.limit - self.text, _size(text)
        self.text += size
        if left <= 0:
            return
        if size > left:
            while text and (size := _size(text)) > left:
                text = text[: int(len(text) * left / size)]
            text, self.cut = text + CUT.format(limit=self.limit), True
        if self.items and self.items[-1].get("name") == name:
            self.items[-1]["text"].append(text)
        else:
            self.text += 80  # what an item takes besides
            self.items.append({"output_type": "stream", "name": name, "text": [text]})

    def show(self, output: dict[str, Any], data: dict[str, Any]) -> None:
        """A figure or another rich output."""
        clean = {str(mime): _plain(value) for mime, value in data.items()}
        size = sum(_size(value) for value in clean.values())
        if self.rich + size > RICH * self.limit or len(self.items) > 1000:
            if not self.cut:
                self.cut = True
                text = "[further figures and outputs of this cell were left out: too large or too many]\n"
                self.items.append({"output_type": "stream", "name": "stderr", "text": [text]})
            return
        self.rich += size
        self.items.append({**output, "data": clean})

    def error(self, name: str, message: str, lines: list[str]) -> None:
        """What a cell's exception said."""
        lines = [line[:2000] for line in lines[-40:]]
        self.rich += sum(map(_size, lines)) + _size(message[:5000])
        if self.rich <= RICH * self.limit:
            self.items.append(
                {"output_type": "error", "ename": name, "evalue": message[:5000], "traceback": lines}
            )

    def take(self) -> list[dict[str, Any]]:
        """What there is, and start anew."""
        items = self.items
        for item in items:
            if item["output_type"] == "stream":
                item["text"] = "".join(item["text"])
        self.start()
        return items


def _size(text: str) -> int:
    """Bytes that a text takes on its way to T."""
    return len(json.dumps(text))


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if isinstance(value, str) else json.dumps(value, default=str)


class Stream(io.TextIOBase):
    """Python's stdout or stderr."""

    encoding = "utf-8"

    def __init__(self, name: str, outputs: Outputs, fd: int) -> None:
        self.name, self._outputs, self._fd = name, outputs, fd

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._outputs.write(self.name, text)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    @property
    def buffer(self) -> Any:
        return _Buffer(self)


class _Buffer(io.RawIOBase):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._stream.write(bytes(data).decode("utf-8", "replace"))
        return len(data)


def make_shell(outputs: Outputs) -> Any:
    """An IPython shell whose displays, results and errors go to `outputs`."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets import Type
    from traitlets.config import Config

    class Publisher(DisplayPublisher):
        def publish(
            self,
            data: Any,
            metadata: Any = None,
            source: Any = None,
            *,
            transient: Any = None,
            update: Any = False,
            **options: Any,
        ) -> None:
            outputs.show({"output_type": "display_data", "metadata": {}}, dict(data))

        def clear_output(self, wait: bool = False) -> None:
            outputs.start()

    class Hook(DisplayHook):
        def write_output_prompt(self) -> None:
            pass

        def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
            outputs.show(
                {"output_type": "execute_result", "metadata": {}, "execution_count": None}, dict(format_dict)
            )

        def finish_displayhook(self) -> None:
            pass

    class Shell(InteractiveShell):
        displayhook_class = Type(Hook)
        display_pub_class = Type(Publisher)

        def enable_gui(self, gui: Any = None) -> None:
            pass

        def ask_exit(self) -> None:
            outputs.write("stderr", "exit() and quit() end nothing here: the notebook goes on.\n")

        def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
            lines = [str(line) for line in stb]
            try:
                said = str(evalue)
            except Exception:
                said = "(no message)"
            outputs.error(_name(etype), said, lines)

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.autoindent = False
    config.InteractiveShell.colors = "nocolor" if _ipython() >= (9,) else "NoColor"
    return Shell.instance(config=config)


def _ipython() -> tuple[int, ...]:
    import IPython

    return tuple(IPython.version_info[:2])


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))[:200]


class Server:
    """Answers T's requests until the connection closes."""

    def __init__(self, sock: socket.socket, scratch: Path, limits: dict[str, Any]) -> None:
        self.channel, self.process = Channel(sock), os.getpid()
        self.outputs = Outputs(int(limits.get("output", 2**20)))
        self.console = open(scratch / ".console", "w+b", buffering=0)  # noqa: SIM115 (as long as S lives)
        for fd in (1, 2):
            os.dup2(self.console.fileno(), fd)
        sys.stdin = open(os.devnull)  # noqa: SIM115
        sys.stdout, sys.stderr = Stream("stdout", self.outputs, 1), Stream("stderr", self.outputs, 2)
        self.shell = make_shell(self.outputs)
        self.names: dict[str, int] = {}  # of cells, as files in tracebacks
        self.objects: list[Any] = []  # handles
        signal.signal(signal.SIGALRM, _late)
        signal.signal(signal.SIGPROF, _late)
        if "matplotlib" in sys.modules:
            self.shell.run_line_magic("matplotlib", "inline")

    def serve(self) -> None:
        """Until T closes the connection."""
        while True:
            try:
                request, blobs = self.channel.receive()
            except (Closed, WireError):
                return
            answer, sent = self.answer(request, blobs)
            if os.getpid() != self.process:  # a fork that came back: the other half answers
                os._exit(0)
            outputs = self.collect()
            try:
                self.channel.send(answer | {"id": request["id"], "outputs": outputs}, sent)
            except (ValueError, TypeError) as error:  # too much of it, and nothing was sent
                answer = {"error": {"type": "ValueError", "kinds": ["ValueError"], "message": str(error)}}
                self.channel.send(answer | {"id": request["id"], "outputs": []})

    def answer(self, request: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        act = {"run": self.run, "names": self.values, "call": self.call, "get": self.get}[request["op"]]
        try:
            with _timer(float(request.get("seconds", 0)), float(request.get("clock", 0))):
                return act(request, blobs)
        except TimeLimit as error:
            return {"error": self.describe(error)}, []
        except BaseException as error:
            return {"error": self.describe(error)}, []

    def collect(self) -> list[dict[str, Any]]:
        """What the cell printed, with what went to file descriptors 1 and 2 past Python."""
        with contextlib.suppress(OSError, ValueError):
            end = os.lseek(1, 0, os.SEEK_END)
            if end:
                raw = os.pread(self.console.fileno(), self.outputs.limit + 1, 0)
                os.ftruncate(self.console.fileno(), 0)
                os.lseek(1, 0, os.SEEK_SET)
                self.outputs.write("stdout", raw.decode("utf-8", "replace"))
        return self.outputs.take()

    # Requests

    def run(self, request: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """Run a cell."""
        name = str(request["name"])
        self.names[name] = count = self.names.get(name, 0) + 1
        label = f"<{name}>" if count == 1 else f"<{name} {count}>"
        self.shell.compile.get_code_name = lambda raw, transformed, number: label
        result = self.shell.run_cell(request["source"], store_history=False)
        error = result.error_before_exec or result.error_in_exec
        return ({"error": self.describe(error)} if error is not None else {}), []

    def values(self, request: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """What names stand for: plain data, or a handle. Names that do not exist are left out."""
        encoder, found = Encoder(self.handle, limit=request["limit"]), {}
        for name in request["names"]:
            if name not in self.shell.user_ns:
                continue
            value, mark = self.shell.user_ns[name], encoder.mark()
            try:
                found[name] = encoder.encode(value)
            except TooLarge:
                encoder.reset(mark)
                found[name] = {"t": "large"}
            except Exception:
                encoder.reset(mark)
                found[name] = self.handle(value)
        return {"values": found}, encoder.blobs

    def call(self, request: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """Call something; gives the result and which mutable arguments have changed, or gradients."""
        decoder = Decoder(blobs, self.from_tree)
        arguments = [decoder.decode(tree) for tree in request["args"]]
        options = {str(name): decoder.decode(tree) for name, tree in request["kwargs"].items()}
        before = {number: _print_of(value, decoder.mutable) for number, value in decoder.mutable.items()}
        target = self.from_tree(request["target"])
        if "wrt" in request:
            value = grad_of(target, arguments, request["wrt"], **options)
        else:
            value = target(*arguments, **options)
        encoder = Encoder(self.handle, known=decoder.mutable, limit=request["limit"])
        answer: dict[str, Any] = {"value": encoder.encode(value)}
        answer["changed"] = [
            [number, encoder.content(value)]
            for number, value in decoder.mutable.items()
            if _print_of(value, decoder.mutable) != before[number]
        ]
        return answer, encoder.blobs

    def get(self, request: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """An attribute of something."""
        encoder = Encoder(self.handle, limit=request["limit"])
        value = getattr(self.from_tree(request["target"]), str(request["attribute"]))
        return {"value": encoder.encode(value)}, encoder.blobs

    # Values that do not cross

    def handle(self, value: Any) -> dict[str, Any]:
        """A number for an object that stays here."""
        self.objects.append(value)
        return {"t": "handle", "n": len(self.objects) - 1, "call": callable(value), "of": _name(type(value))}

    def from_tree(self, tree: dict[str, Any]) -> Any:
        """An object by its number or name, or a function made from T's source."""
        if tree["t"] == "handle":
            return self.objects[tree["n"]]
        if tree["t"] == "name":
            if tree["name"] not in self.shell.user_ns:
                raise NameError(f"name {tree['name']!r} is not defined")
            return self.shell.user_ns[tree["name"]]
        if tree["t"] == "function":
            return self.function(tree)
        raise WireError("unknown value")

    def function(self, tree: dict[str, Any]) -> Any:
        """A function of a test: its source, run in a namespace of its own."""
        namespace: dict[str, Any] = {"__builtins__": builtins, "__name__": "test"}
        for name, module in tree["modules"].items():
            namespace[name] = importlib.import_module(module)
        decoder = Decoder([base64.b64decode(blob) for blob in tree["blobs"]], self.from_tree)
        for name, value in tree["values"].items():
            namespace[name] = decoder.decode(value)
        filename = f"<test function {tree['name']} {len(self.objects)}>"
        linecache.cache[filename] = (len(tree["source"]), None, tree["source"].splitlines(True), filename)
        exec(compile(tree["source"], filename, "exec", dont_inherit=True, optimize=0), namespace)
        return namespace[tree["name"]]

    def describe(self, error: BaseException) -> dict[str, Any]:
        """An exception: type, standard types that it belongs to, message, the student's own frames."""
        kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
        try:
            message = str(error)
        except Exception:
            message = "(no message)"
        if isinstance(error, SyntaxError):
            message = f"{error.msg} (line {error.lineno})"
        lines = []
        labels = {f"<{name}" for name in self.names}
        for frame in traceback.extract_tb(error.__traceback__)[-60:]:
            if any(frame.filename.startswith(label) for label in labels):
                lines.append(f"{frame.filename[1:-1]}, line {frame.lineno}: {frame.line or ''}".rstrip(": "))
        return {
            "type": _name(type(error)),
            "kinds": kinds,
            "message": message[:20_000],
            "traceback": "\n".join(lines[-12:])[:8000],
        }


def _print_of(value: Any, known: dict[int, Any]) -> tuple[str, list[bytes]]:
    """Something that differs if the value has changed; what is in it and known speaks for itself."""
    encoder = Encoder(lambda value: {"t": "object", "n": id(value)}, known=known)
    return json.dumps(encoder.content(value)), encoder.blobs


def _late(signum: int, frame: FrameType | None) -> None:
    raise TimeLimit("the time for this was over")


@contextlib.contextmanager
def _timer(seconds: float, clock: float) -> Iterator[None]:
    """Raise TimeLimit in the student's code after some seconds of computing or on the clock (0: never)."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, clock)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def serve(sock: socket.socket, scratch: Path, limits: dict[str, Any]) -> None:
    """Serve T on a socket until it closes. `scratch`: the one folder for files; the working directory."""
    os.chdir(scratch)
    for name in ("HOME", "IPYTHONDIR", "MPLCONFIGDIR", "TMPDIR"):
        os.environ[name] = str(scratch)
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    with contextlib.suppress(Closed):
        try:
            server = Server(sock, scratch, limits)
        except Exception as error:
            Channel(sock).send({"ready": False, "why": f"{type(error).__name__}: {error}"})
            return
        server.channel.send({"ready": True})  # from here on it is the student who speaks
        server.serve()


def main() -> None:
    """For a process of its own: file descriptor, scratch folder and limits (JSON) as arguments."""
    fd, scratch, limits = sys.argv[1:4]
    serve(socket.socket(fileno=int(fd)), Path(scratch), json.loads(limits))
    os._exit(0)


if __name__ == "__main__":
    main()
