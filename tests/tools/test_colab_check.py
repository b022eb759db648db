"""`make colab-test`: which Python it takes. The check itself needs a network: the weekly workflow runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import colab_check
from tools.colab_check import CheckError


def python(path: Path, version: str) -> Path:
    """A stand-in that answers what it is asked: its version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a suitable Python on its PATH; its home folder."""
    monkeypatch.setattr(colab_check.sys, "executable", str(python(tmp_path / "old" / "python", "3 11 9")))
    monkeypatch.setenv("PATH", str(python(tmp_path / "bin" / "python3", "3 12 1").parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    return tmp_path


def test_one_on_the_path(bare: Path) -> None:
    new = python(bare / "bin" / "python3.13", "3 13 2")
    assert colab_check.find_python(None) == str(new)


@pytest.mark.parametrize("root", [".pyenv", "my pyenv"])
def test_one_in_pyenv_s_folder(bare: Path, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    if root != ".pyenv":
        monkeypatch.setenv("PYENV_ROOT", str(bare / root))
    python(bare / root / "versions" / "3.12.7" / "bin" / "python3.12", "3 12 7")
    new = python(bare / root / "versions" / "3.13.5" / "bin" / "python3.13", "3 13 5")
    assert colab_check.find_python(None) == str(new)


def test_none_is_one_line_that_can_be_typed(bare: Path) -> None:
    with pytest.raises(CheckError, match=r'make colab-test ARGS="--python /path/to/python3\.13"$'):
        colab_check.find_python(None)
    with pytest.raises(CheckError, match="python3 is none"):
        colab_check.find_python("python3")
