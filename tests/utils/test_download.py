"""The download layer against a server on this machine: nothing damaged or half-written is ever used."""

from __future__ import annotations

import bz2
import hashlib
import lzma
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from utils import download, texts
from utils.download import DataError, Source

CONTENT = bytes(range(256)) * 200
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "set/file.gz"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requested.append(self.path)
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        if self.path.startswith("/slow"):
            self.server.released.wait(20)
            return
        body = CONTENT
        if self.path.startswith("/corrupt"):
            body = b"X" + CONTENT[1:]
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path.startswith("/truncated") else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requested, server.released = [], threading.Event()
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """The folder that stands for the checkout's data; no variable of the machine plays a part."""
    monkeypatch.setattr(download.paths, "data_folder", lambda: tmp_path / "data")
    for name in ("LGM_DATA_DIR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "data"


def source(server, *routes: str, packed=None, **more) -> Source:
    host, port = server.server_address
    urls = tuple(f"http://{host}:{port}/{route}/file.gz" for route in routes)
    return Source(NAME, more.pop("sha256", SHA256), urls, packed, **more)


def files(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_download_once(server, data, capfd):
    good = source(server, "good")
    assert download.read(good) == CONTENT
    assert files(data) == [f"cache/{NAME}"]
    assert download.read(good) == CONTENT
    assert len(server.requested) == 1, "the second read is from the cache"
    assert capfd.readouterr().err == "", "nbgrader takes a line on stderr for a failure"


@pytest.mark.parametrize("bad", ["missing", "corrupt", "truncated"])
def test_next_mirror(server, data, bad):
    assert download.read(source(server, bad, "good")) == CONTENT
    assert [path.split("/")[1] for path in server.requested] == [bad, "good"]
    assert files(data) == [f"cache/{NAME}"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [("missing", "404"), ("corrupt", "damaged or changed"), ("truncated", "broke off")],
)
def test_all_mirrors_bad(server, data, bad, words):
    with pytest.raises(DataError) as error:
        download.read(source(server, bad, bad))
    message = str(error.value)
    assert message.count(words) == 2 and "Check the network" in message and "LGM_DATA_DIR" in message
    assert "\n" not in message
    assert error.value.__suppress_context__ or error.value.__context__ is None, "one error, not a chain"
    assert files(data) == [], "nothing half-written stays"


REVERSED = hashlib.sha256(CONTENT[::-1]).hexdigest()


def test_unpacked_download(server, data, capfd):
    """What the address sends is not what is kept and checked."""
    made = source(server, "missing", "good", sha256=REVERSED, unpack=lambda sent: sent[::-1])
    assert download.read(made) == CONTENT[::-1]
    assert files(data) == [f"cache/{NAME}"]
    assert download.read(made) == CONTENT[::-1]
    assert len(server.requested) == 2, "the second read is from the cache"
    assert capfd.readouterr().err == ""


def test_unpacked_download_is_checked(server, data):
    def refuse(sent):
        raise ValueError("no archive")

    for route, unpack in (("corrupt", lambda sent: sent[::-1]), ("good", refuse)):
        with pytest.raises(DataError, match="sent a damaged or changed file.*Check the network"):
            download.read(source(server, route, sha256=REVERSED, unpack=unpack))
        assert files(data) == [], "nothing unchecked stays"


def test_silent_server(server, data, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    with pytest.raises(DataError, match="did not answer within"):
        download.read(source(server, "slow"))
    assert files(data) == []


def test_no_network(server, data):
    unreachable = source(server, "good")
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match="could not be reached.*Check the network and run again"):
        download.read(unreachable)
    assert files(data) == []


def test_unwritable_cache(server, data):
    data.mkdir()
    (data / "cache").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="could not be written"):
        download.read(source(server, "good"))


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT[:-1] + b"X"])
def test_damaged_cache(server, data, content):
    target = data / "cache" / NAME
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    with pytest.raises(DataError, match="Delete it and run again") as error:
        download.read(source(server, "good"))
    assert str(target) in str(error.value)
    assert target.read_bytes() == content and server.requested == []
    target.unlink()
    assert download.read(source(server, "good")) == CONTENT, "the advice works"


def test_own_folder_first(server, data, tmp_path, monkeypatch):
    own = tmp_path / "own"
    (own / "set").mkdir(parents=True)
    (own / NAME).write_bytes(CONTENT)
    monkeypatch.setenv("LGM_DATA_DIR", str(own))
    assert download.read(source(server, "good")) == CONTENT
    assert server.requested == [] and not data.exists()


@pytest.mark.parametrize(("kind", "compress"), [("bz2", bz2.compress), ("xz", lzma.compress)])
def test_own_folder_packed(server, tmp_path, monkeypatch, kind, compress):
    packed = compress(CONTENT)
    own = tmp_path / "own"
    (own / "set").mkdir(parents=True)
    (own / f"set/file.{kind}").write_bytes(packed)
    monkeypatch.setenv("LGM_DATA_DIR", str(own))
    with_copy = source(server, "good", packed=(f"set/file.{kind}", hashlib.sha256(packed).hexdigest()))
    assert download.read(with_copy) == CONTENT
    (own / f"set/file.{kind}").write_bytes(packed[:-1])
    with pytest.raises(DataError, match="not the official file"):
        download.read(with_copy)
    assert server.requested == []


def test_wrong_file_in_own_folder(server, tmp_path, monkeypatch):
    own = tmp_path / "own"
    (own / "set").mkdir(parents=True)
    (own / NAME).write_bytes(b"something else")
    monkeypatch.setenv("LGM_DATA_DIR", str(own))
    with pytest.raises(DataError, match="not the official file.*unset LGM_DATA_DIR") as error:
        download.read(source(server, "good"))
    assert str(own / NAME) in str(error.value)
    assert (own / NAME).read_bytes() == b"something else" and server.requested == []


def test_own_folder_without_the_file(server, data, tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("LGM_DATA_DIR", str(tmp_path / "own"))
    assert download.read(source(server, "good")) == CONTENT
    assert files(data) == [f"cache/{NAME}"] and files(tmp_path / "own") == []


def test_own_folder_missing(server, tmp_path, monkeypatch):
    monkeypatch.setenv("LGM_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere, which is no folder. Correct the variable or unset it"):
        download.read(source(server, "good"))


def test_sources_are_complete():
    sources = [*download.MNIST.values(), *download.FASHION_MNIST.values(), *download.BINARIZED_MNIST.values()]
    sources.append(texts.TINY_SHAKESPEARE)
    assert len({s.sha256 for s in sources}) == len({s.path for s in sources}) == 12
    for one in sources:
        assert len(one.sha256) == 64 and one.urls
        assert all(url.startswith("http") and url.rsplit("/", 1)[1] in one.path for url in one.urls)
