"""The texts: what is encoded comes back, the parts share nothing, the vocabulary is fixed."""

from __future__ import annotations

import ast
import hashlib
import os
import sys

import numpy as np
import pytest
import tensorflow as tf

from utils import download, texts

EMBEDDED = pytest.mark.parametrize(
    "text", [texts.python_reference(), texts.python_code()], ids=lambda t: t.name
)


@EMBEDDED
def test_embedded(text):
    assert text.vocabulary == texts.ASCII and len(set(text.vocabulary)) == 96
    assert list(text.vocabulary) == sorted(text.vocabulary)
    assert len(text.train) > 200_000 and 0.05 < len(text.validation) / len(text.train) < 0.15
    for part in (text.train, text.validation):
        codes = text.encode(part)
        assert codes.dtype == np.int32 and codes.shape == (len(part),)
        assert codes.min() == 0 and codes.max() < 96
        assert text.decode(codes) == part
    assert f"{len(text.train):,} / {len(text.validation):,}" in repr(text)


def test_codes_are_places():
    text = texts.Text("abc", "cab", "b", "abc")
    np.testing.assert_array_equal(text.encode("cab"), [2, 0, 1])
    assert text.decode(tf.constant([2, 0, 1])) == text.decode([2, 0, 1]) == "cab"
    assert text.encode("").shape == (0,) and text.decode([]) == ""


def test_bad_characters_and_codes():
    text = texts.Text("abc", "cab", "b", "abc")
    with pytest.raises(
        ValueError, match=r"'x' \(character 2 of the text\) is not among the 3 characters of abc"
    ):
        text.encode("abx")
    for codes in ([0, 3], [-1], [[0, 1]], [0.0, 1.0]):
        with pytest.raises(ValueError, match="integers from 0 to 2 in one row"):
            text.decode(codes)
    with pytest.raises(ValueError, match="shakespeare"):
        texts.load("hamlet")
    assert texts.load("reference").name == "reference"


def test_reference_has_no_paragraph_twice():
    from pydoc_data.topics import topics

    text = texts.python_reference()
    parts = [set(part.split("\n\n")) - {""} for part in (text.train, text.validation)]
    assert not parts[0] & parts[1], "a paragraph of the validation part was trained on"
    assert "Assert statements are a convenient way" in text.train
    kept = set((text.train + text.validation).split("\n\n"))
    for topic in ("assert", "while", "yield"):
        assert {texts._ascii(p) for p in topics[topic].strip().split("\n\n")} <= kept, topic


def test_code_is_the_library():
    assert not set(texts.CODE_TRAIN) & set(texts.CODE_VALIDATION)
    text = texts.python_code()
    for names, part in ((texts.CODE_TRAIN, text.train), (texts.CODE_VALIDATION, text.validation)):
        assert len(names) == len(set(names)) and set(names) <= sys.stdlib_module_names
        for name in names:
            source = texts.python_file(name)
            ast.parse(source)
            assert source in part, name
        assert len(part) == sum(len(texts.python_file(name)) + 1 for name in names) - 1


def test_ascii():
    assert texts._ascii("“it’s” … a–b ß\t|\n") == '"it\'s" ... a-b         |\n'


def test_python_without_its_texts(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(download.DataError, match="without pydoc_data.*Install"):
        texts.python_reference()
    monkeypatch.setattr(texts.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(download.DataError, match=r"argparse\.py cannot be read.*Install"):
        texts.python_code()


def test_shakespeare_is_split_like_nanogpt(monkeypatch):
    monkeypatch.setattr(download, "read", lambda source: b"To be, or not to be: that is the question:\n")
    text = texts.tiny_shakespeare()
    assert text.train + text.validation == "To be, or not to be: that is the question:\n"
    assert len(text.train) == 38 and text.vocabulary == "\n ,:Tabehinoqrstu"


@pytest.mark.skipif(
    not os.environ.get("LGM_DATA_DIR"), reason="LGM_DATA_DIR names no folder with the real data"
)
def test_real_shakespeare():
    text = texts.load("shakespeare")
    assert len(text.train) == 1_003_854 and len(text.validation) == 111_540 and len(text.vocabulary) == 65
    assert text.train.startswith("First Citizen:\nBefore we proceed") and text.validation.startswith(
        "?\n\nGREMIO:"
    )
    whole = (text.train + text.validation).encode()
    assert hashlib.sha256(whole).hexdigest() == texts.TINY_SHAKESPEARE.sha256
    assert text.decode(text.encode(text.validation)) == text.validation
