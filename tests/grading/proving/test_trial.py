"""The trial and the demo in a small form: real submissions of week 3, processes killed, the same marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from grading.execution import sandbox
from grading.execution.engine import Place
from grading.model import Limits
from grading.proving import demo
from grading.proving.samples import MARKER, SampleError, fresh
from grading.proving.trial import trial

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def needs_a_sandbox() -> None:
    try:
        sandbox.check()
    except sandbox.SandboxError as error:
        pytest.skip(str(error))


def test_killed_and_resumed_gives_the_same_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = trial("week03_rbm", 5, 2, 2, 2, seed=1, folder=tmp_path)
    assert good, capsys.readouterr().out
    assert "both gradebooks the same" in capsys.readouterr().out


def test_the_demo_gives_the_marks_that_it_promises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.demo(tmp_path / "demo", Place(workers=2), Limits(cell_seconds=8)) == 0
    said = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in said.splitlines()]
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    for line in readme.partition("`make demo`")[2].split("```")[1].strip().splitlines():
        assert " ".join(line.split()) in lines, said
    assert "3 3 3 4 2 3 18 Børge Åkesson: right: with loops instead of matrices" in lines, said
    assert "0 0 0 0 0 0 0 Emil Ebert: unsolved" in lines, said
    assert "0 0 0 0 0 0 0 Lena Lang: saved the web page, not the notebook" in lines, said


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(SampleError, match="--out"):
        fresh(tmp_path)
    assert (tmp_path / "thesis.tex").exists()
    (tmp_path / MARKER).touch()
    fresh(tmp_path)
    assert not (tmp_path / "thesis.tex").exists()
