"""The trial and the demo in a small form: real submissions of week 3, processes killed, the same marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from grading import demo, sandbox
from grading.engine import Place
from grading.model import Limits
from grading.samples import MARKER, SampleError, fresh
from grading.trial import trial

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
    sums = {line.split("  ")[-1].split(":")[0]: line for line in said.splitlines() if ": " in line}
    for name, points in [("Ada Anderson", 18), ("Børge Åkesson", 18), ("Emil Ebert", 0), ("Lena Lang", 0)]:
        assert f" {points}  {name}" in sums[name], said
    for name in ("Farah Faruqi", "Göran Grün", "Hana Horáková", "Kim Keller"):
        assert f" 18  {name}" in sums[name], said
    for name in ("Dilan Demir", "Jo Jansen"):
        assert f" 15  {name}" in sums[name], said
    assert " 16  Ivan Ilić" in sums["Ivan Ilić"], said


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(SampleError, match="--out"):
        fresh(tmp_path)
    assert (tmp_path / "thesis.tex").exists()
    (tmp_path / MARKER).touch()
    fresh(tmp_path)
    assert not (tmp_path / "thesis.tex").exists()
