"""`make test`: parts, counts, skips that CI forbids, the last line and the exit status."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import run_module
from tools import notebooks, suite
from tools.suite import Outcome, Part

REPORT = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"/>
<testcase name="c"><failure message="x"/></testcase>
<testcase name="d"><error message="x"/></testcase>
<testcase name="e"><skipped type="pytest.skip" message="Chromium is not installed"/></testcase>
<testcase name="f"><skipped type="pytest.skip" message="needs LGM_DATA_DIR"/></testcase>
<testcase name="g"><skipped type="pytest.xfail" message="known"/></testcase>
</testsuite></testsuites>"""
GOOD = Part("good", "passes", (("-c", "print('fine')"),))
BAD = Part("bad", "fails", (("-c", "print('first'); raise SystemExit(3)"), ("-c", "print('second')")))


@pytest.fixture(autouse=True)
def skips_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LGM_NO_SKIP", raising=False)


def outcome(tmp_path: Path, text: str = REPORT, status: int = 1) -> Outcome:
    report = tmp_path / "report.xml"
    report.write_text(text)
    result = Outcome(GOOD)
    result.count(report, status)
    return result


def test_counts(tmp_path: Path) -> None:
    result = outcome(tmp_path)
    assert (result.passed, result.failed, result.skipped) == (3, 2, 2)
    assert result.reasons == ["Chromium is not installed", "needs LGM_DATA_DIR"]


def test_skips_fail_where_ci_forbids_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LGM_NO_SKIP", "1")
    result = outcome(tmp_path)
    assert (result.passed, result.failed, result.skipped) == (3, 3, 1)
    assert "which LGM_NO_SKIP forbids: Chromium is not installed" in suite.summary([result], 1.0)
    assert "skipped: needs LGM_DATA_DIR" in suite.summary([result], 1.0)


def test_a_package_that_nothing_depends_on_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LGM_NO_SKIP", "1")
    result = outcome(tmp_path, REPORT.replace("Chromium", "optional: PyTorch"))
    assert (result.passed, result.failed, result.skipped) == (3, 2, 2)


@pytest.mark.parametrize(("status", "failed"), [(0, 0), (2, 1), (-9, 1), (suite.NO_TESTS, 0)])
def test_a_crash_is_a_failure_and_no_tests_are_none(tmp_path: Path, status: int, failed: int) -> None:
    result = Outcome(GOOD)
    result.count(tmp_path / "missing.xml", status)
    assert (result.passed, result.failed, result.skipped) == (0, failed, 0)


@pytest.mark.parametrize("jobs", [1, 2])
def test_run(jobs: int, capfd: pytest.CaptureFixture) -> None:
    good, bad = suite.run([GOOD, BAD], jobs)
    assert (good.passed, good.failed, bad.passed, bad.failed) == (1, 0, 1, 1)
    assert good.seconds > 0
    output = capfd.readouterr().out
    assert re.search(r"──── good: passes ─+\nfine\n", output)
    assert re.search(r"──── bad: fails ─+\nfirst\nsecond\n", output)
    assert jobs == 2 or output.index("good") < output.index("bad")


def test_single_processes_run_side_by_side_and_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=60)
    running: list[str] = []

    def run_part(part: Part, *options: object) -> Outcome:
        running.append(part.name)
        if part.spread or part.alone:
            assert running == [part.name]
        else:
            both.wait()
        running.remove(part.name)
        return Outcome(part)

    monkeypatch.setattr(suite, "run_part", run_part)
    parts = [Part("a", "", ()), Part("b", "", ()), Part("c", "", (), spread="load"), Part("d", "", ())]
    parts += [Part("e", "", ()), Part("f", "", (), alone=True)]
    assert [outcome.part.name for outcome in suite.run(parts, 2)] == list("abcdef")


@pytest.mark.parametrize(("jobs", "alone", "threads"), [(1, False, None), (2, False, "1"), (2, True, None)])
def test_processes_side_by_side_have_one_thread(
    jobs: int, alone: bool, threads: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = f"import os; assert os.environ.get('OMP_NUM_THREADS') == {threads!r}"
    assert suite.run_part(Part("x", "x", (("-c", code),), alone=alone), tmp_path, jobs).passed == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_pytest_is_counted_by_test(jobs: int, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    (tmp_path / "test_x.py").write_text("def test_a(): pass\ndef test_b(): pass\ndef test_c(): assert 0\n")
    part = Part("x", "x", (("-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)),), spread="load")
    result = suite.run_part(part, tmp_path, jobs)
    assert (result.passed, result.failed, result.skipped) == (2, 1, 0)
    said = capfd.readouterr().out
    assert ("2 workers" in said) == (jobs == 2)
    assert re.fullmatch(r"=+ 1 failed, 2 passed in [\d.]+s =+", said.splitlines()[-1]), "CI reads it"


def test_last_line_and_exit_status(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(suite, "PARTS", (GOOD, BAD))
    assert suite.main(["good"]) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"==== 1 passed, 0 failed, 0 skipped in \d+\.\d\ds \(0\.\d minutes\) ====", last)
    assert suite.main([]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert "2 passed, 1 failed" in lines[-1]
    assert re.fullmatch(r"bad +0\.\d\d +1 +1 +0", lines[-2])
    with pytest.raises(SystemExit):
        suite.main(["nonsense"])


def test_one_week_only(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    """Its own files, tests, notebooks, student version and exercise, and nothing of another week."""
    stem = "week03_rbm"
    parts = {part.name: part.commands for part in suite.for_week(stem)}
    assert list(parts) == [part.name for part in suite.PARTS if part.name in parts]
    assert parts.keys() == {"lint", "types", "drift", "unit", "nbval", "students", "bank"}
    told = {name: " ".join(" ".join(command) for command in commands) for name, commands in parts.items()}
    for file in (f"notebooks/{stem}.py", f"solutions/{stem}/{stem}.py", f"tests/notebooks/test_{stem}.py"):
        assert told["lint"].count(f" {file}") == 2, "style and format"
    assert (
        f"pytest tests/notebooks/test_{stem}.py" in told["unit"]
        and "tests/tools/test_readme.py" in told["unit"]
    )
    assert "not slow" not in told["unit"]
    assert told["nbval"].endswith(f" notebooks/{stem}.ipynb solutions/{stem}/{stem}.ipynb")
    assert told["students"].endswith(f"-k {stem} {suite.STUDENT_VERSIONS}")
    assert told["bank"].endswith(f"grading check {stem}")
    assert parts["types"] == (("-m", "mypy"),) and "tools.drift" in told["drift"]
    others = {s.stem for s in notebooks.find_sources()} - {stem}
    assert not any(other in text for other in others for text in told.values())

    monkeypatch.setattr(suite, "for_week", lambda week: (GOOD,) if week == stem else (BAD,))
    assert suite.main(["--week", stem]) == 0
    assert "good" in capfd.readouterr().out
    with pytest.raises(SystemExit):
        suite.main(["--week", "week00_none"])
    assert "make week WEEK=week00_none" in capfd.readouterr().err


def test_what_a_week_shares_is_told_apart_by_its_name() -> None:
    """`pytest -k week03_rbm` finds the week's cases in the tests that look at all weeks."""
    shared = [
        c
        for part in suite.for_week("week03_rbm")
        if part.name in ("unit", "students")
        for c in part.commands
        if "-k" in c
    ]
    for command in shared:
        files = [word for word in command if word.startswith("tests/")]
        for file in files:
            done = run_module("pytest", "--collect-only", "-q", "-k", "week03_rbm", file)
            assert re.search(r"week03_rbm\]", done.stdout), file


def test_parts_are_what_the_course_promises() -> None:
    commands = {part.name: " ".join(" ".join(c) for c in part.commands) for part in suite.PARTS}
    assert "ruff check" in commands["lint"]
    assert "ruff format --check" in commands["lint"]
    assert "--nbval-lax" in commands["nbval"]
    assert commands["nbval"].endswith("notebooks solutions")
    assert "tools.pictures --check" in commands["drift"]
    assert "tools.drift" in commands["drift"]
    for path in (suite.STUDENT_VERSIONS, suite.BROWSER):
        assert sum(f"pytest {path}" in c for c in commands.values()) == 1
        assert sum(f"--ignore={path}" in c for c in commands.values()) == 2
        assert (suite.ROOT / path).is_file()
    assert suite.environment()["PATH"].startswith(str(Path(sys.executable).parent))
