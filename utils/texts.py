"""Texts for models of characters: Python's language reference and code, and tiny Shakespeare by download.

The first two come with Python itself, so that nothing is downloaded; they change with its version, so no
number measured on them is comparable across versions.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils import download

ASCII = "\n" + "".join(map(chr, range(32, 127)))  # 96 characters, the same in every version of Python

TINY_SHAKESPEARE = download.Source(
    path="tinyshakespeare/input.txt",
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    urls=(
        "https://raw.githubusercontent.com/karpathy/char-rnn/"
        "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
    ),
)

# Single files of the standard library, in every Python from 3.11 on.
CODE_TRAIN = (
    "argparse ast bdb bisect calendar cmd codecs configparser contextlib copy csv dataclasses difflib "
    "doctest enum fileinput functools getopt gettext gzip inspect ipaddress linecache mailbox optparse pdb "
    "pickle pprint random shelve shlex shutil statistics subprocess tarfile tempfile threading timeit "
    "tokenize traceback types"
).split()
CODE_VALIDATION = "fractions heapq queue reprlib socketserver textwrap weakref".split()

_PLAIN = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "…": "...", "\t": "        "}
)


@dataclass(frozen=True, eq=False)
class Text:
    """A text in two parts and the characters that it may contain.

    ``train``, ``validation``: strings. ``vocabulary``: V different characters, sorted; a character's code is
    its place there, 0, …, V − 1.
    """

    name: str
    train: str
    validation: str
    vocabulary: str

    def encode(self, text: str) -> np.ndarray:
        """T characters → their codes, int32 (T,). Raises ValueError at one that is not in the vocabulary."""
        code = {character: i for i, character in enumerate(self.vocabulary)}
        try:
            return np.array([code[character] for character in text], np.int32)
        except KeyError as error:
            place = text.index(error.args[0])
            raise ValueError(
                f"{error.args[0]!r} (character {place} of the text) is not among the {len(code)} characters "
                f"of {self.name}: leave it out or replace it"
            ) from None

    def decode(self, codes: Sequence[int] | np.ndarray) -> str:
        """Integer codes (T,), NumPy or TensorFlow → T characters. Raises ValueError outside 0, …, V − 1."""
        codes, V = np.asarray(codes), len(self.vocabulary)
        if codes.size and (
            codes.ndim != 1 or codes.dtype.kind not in "iu" or not 0 <= codes.min() <= codes.max() < V
        ):
            raise ValueError(
                f"codes must be integers from 0 to {V - 1} in one row; these have the shape {codes.shape}, "
                f"the type {codes.dtype} and values from {codes.min()} to {codes.max()}"
            )
        return "".join(self.vocabulary[code] for code in codes)

    def __repr__(self) -> str:
        return (
            f"{self.name}: {len(self.train):,} / {len(self.validation):,} characters (train / validation), "
            f"{len(self.vocabulary)} different ones"
        )


def load(name: str) -> Text:
    """A text by its name: reference, code or shakespeare."""
    loaders: dict[str, Callable[[], Text]] = {
        "reference": python_reference,
        "code": python_code,
        "shakespeare": tiny_shakespeare,
    }
    if name not in loaders:
        raise ValueError(f"there is no text {name!r}; choose one of {', '.join(loaders)}")
    return loaders[name]()


def python_reference() -> Text:
    """Those chapters of Python's language reference that its ``help`` shows, 370,000 characters, no download.

    Topics in alphabetical order; a paragraph that stands in several is kept where it comes first. The last
    paragraphs, 10 % of the characters, are the validation part. Typographic characters become ASCII.
    Raises utils.download.DataError where Python came without its documentation.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise download.DataError(
            "this Python came without pydoc_data, the text of its help. Install a complete one (python.org, "
            "conda; on Debian and Ubuntu the package python3, not only python3-minimal)."
        ) from None
    paragraphs = [_ascii(part) for topic in sorted(topics) for part in topics[topic].strip().split("\n\n")]
    paragraphs = [part + "\n\n" for part in dict.fromkeys(paragraphs)]  # each once, in order
    ends = np.cumsum([len(part) for part in paragraphs])
    first = int(np.searchsorted(ends, 0.9 * ends[-1]))
    return Text("reference", "".join(paragraphs[:first]), "".join(paragraphs[first:]), ASCII)


def python_code() -> Text:
    """Source of well-known modules of Python's standard library, two million characters, no download.

    The parts have different files: ``CODE_TRAIN`` and ``CODE_VALIDATION`` name them.
    Raises utils.download.DataError where Python came without its sources.
    """
    train, validation = ("\n".join(map(python_file, names)) for names in (CODE_TRAIN, CODE_VALIDATION))
    return Text("code", train, validation, ASCII)


def python_file(module: str) -> str:
    """The source of one module of the standard library, in ASCII, tabs as 8 blanks."""
    path = Path(sysconfig.get_path("stdlib")) / f"{module}.py"
    try:
        return _ascii(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise download.DataError(
            f"{path} cannot be read ({error.strerror or error}): this Python came without the source of its "
            "standard library. Install a complete one (python.org, conda, your system's packages)."
        ) from None


def _ascii(text: str) -> str:
    """Quotes, dashes and dots as in ASCII; what else is not in it, or does not print, is left out."""
    kept = set(ASCII)
    return "".join(character for character in text.translate(_PLAIN) if character in kept)


def tiny_shakespeare() -> Text:
    """1,115,394 characters of Shakespeare's plays, 65 different ones. Downloaded at the first use (1 MB).

    As in nanoGPT the first 90 % are the training part, 1,003,854 characters, the last 111,540 validation.
    Raises utils.download.DataError.
    Source: Karpathy, The unreasonable effectiveness of recurrent neural networks, 2015.
    """
    text = download.read(TINY_SHAKESPEARE).decode("ascii")
    first = int(0.9 * len(text))
    return Text("shakespeare", text[:first], text[first:], "".join(sorted(set(text))))
