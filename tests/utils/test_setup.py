"""`make setup`: the state of an environment, mending, and one clear line for each thing that can go wrong."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import venv
from collections import namedtuple
from pathlib import Path

import pytest

from tools import setup_env

SCRIPT = Path(setup_env.__file__)
HERE = tuple(sys.version_info[:3])


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in a path with a space, and a pip that installs one package in no time."""
    root = tmp_path / "my course"
    root.mkdir()
    (root / "requirements.txt").write_text("six==1.17.0\n")
    (root / "pyproject.toml").write_text("[project]\n")

    def run_logged(command: list[str], log: str, what: str, root: str) -> None:
        if command[1:3] == ["-m", "venv"]:
            venv.create(command[3], with_pip=False, symlinks=os.name != "nt")

    def install(folder: str, root: str, log: str, gpu: bool) -> None:
        site = next(Path(folder).rglob("site-packages"))
        (site / "six-1.17.0.dist-info").mkdir(exist_ok=True)

    monkeypatch.setattr(setup_env, "run_logged", run_logged)
    monkeypatch.setattr(setup_env, "install", install)
    return root


def states(root: Path, gpu: bool = False) -> str:
    return setup_env.state(str(root / ".venv"), str(root), gpu)


def test_second_run_does_nothing(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert states(course) == "make"
    assert setup_env.setup(root=str(course)) == "make"
    assert states(course) == "ready"
    monkeypatch.setattr(setup_env, "install", pytest.fail)
    assert setup_env.setup(root=str(course)) == "ready"


def test_what_ipython_runs_at_its_start_is_put_in_place_and_kept_up_to_date(course: Path) -> None:
    source = course / "tools" / setup_env.STARTUP
    source.parent.mkdir()
    for state, text in [("make", "x = 1\n"), ("ready", "x = 2\n"), ("ready", "x = 2\n")]:
        source.write_text(text)
        assert setup_env.setup(root=str(course)) == state
        assert (course / ".venv/etc/ipython/startup" / setup_env.STARTUP).read_text() == text


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_a_new_lock_updates(course: Path, name: str) -> None:
    setup_env.setup(root=str(course))
    with open(course / name, "a") as file:
        file.write("changed = true\n")
    assert states(course) == "update"
    assert setup_env.setup(root=str(course)) == "update"
    assert states(course) == "ready"


def test_line_ends_and_tool_settings_do_not_matter(course: Path) -> None:
    setup_env.setup(root=str(course))
    with open(course / "pyproject.toml", "a") as file:
        file.write("[tool.ruff]\nline-length = 110\n")
    (course / "requirements.txt").write_bytes(b"six==1.17.0\r\n")
    assert states(course) == "ready"


def test_cuda_is_added_and_stays(course: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("CUDA's libraries are for Linux")
    setup_env.setup(root=str(course))
    assert states(course, gpu=True) == "update"
    setup_env.setup(root=str(course), gpu=True)
    assert states(course, gpu=True) == states(course) == "ready"
    with open(course / "requirements.txt", "a") as file:
        file.write("# changed\n")
    setup_env.setup(root=str(course))
    assert states(course, gpu=True) == "ready"


def break_package(folder: Path) -> None:
    shutil.rmtree(next(folder.rglob("six-1.17.0.dist-info")))


def break_python(folder: Path) -> None:
    for name in folder.glob("bin/python*"):
        name.unlink()
    (folder / "bin" / "python").symlink_to(folder / "gone")


def break_stamp(folder: Path) -> None:
    (folder / setup_env.STAMP).write_text('{"fingerprint": "')


def half_made(folder: Path) -> None:
    (folder / setup_env.STAMP).unlink()


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
@pytest.mark.parametrize("harm", [break_package, break_python, break_stamp, half_made])
def test_a_broken_environment_is_made_anew(course: Path, harm) -> None:
    setup_env.setup(root=str(course))
    harm(course / ".venv")
    (course / ".venv" / "left over").write_text("")
    assert states(course) == "make"
    assert setup_env.setup(root=str(course)) == "make"
    assert states(course) == "ready"
    assert not (course / ".venv" / "left over").exists()


def test_a_moved_folder_is_made_anew(course: Path) -> None:
    setup_env.setup(root=str(course))
    moved = course.rename(course.with_name("moved course"))
    assert states(moved) == "make"
    assert setup_env.setup(root=str(moved)) == "make"
    assert states(moved) == "ready"


def test_failure_leaves_no_stamp(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup_env.setup(root=str(course))
    (course / "requirements.txt").write_text("six==1.16.0\n")

    def install(*_: object) -> None:
        raise setup_env.SetupError("no network")

    monkeypatch.setattr(setup_env, "install", install)
    with pytest.raises(setup_env.SetupError):
        setup_env.setup(root=str(course))
    assert states(course) == "make"


def test_a_folder_that_is_no_environment_is_left_alone(course: Path) -> None:
    (course / ".venv").mkdir()
    (course / ".venv" / "thesis.tex").write_text("years of work")
    with pytest.raises(setup_env.SetupError, match="is no Python environment: move it away"):
        setup_env.setup(root=str(course))
    assert (course / ".venv" / "thesis.tex").read_text() == "years of work"


def pythons(
    monkeypatch: pytest.MonkeyPatch, running: tuple[int, ...], found: dict[str, tuple[int, ...]]
) -> None:
    """Pretend that this is another Python, and that the PATH has those of `found`."""
    versions = {"/usr/bin/" + name: version for name, version in found.items()}
    versions["/usr/bin/running"] = running
    monkeypatch.setattr(setup_env.sys, "executable", "/usr/bin/running")
    monkeypatch.setattr(setup_env.sys, "version_info", running)
    monkeypatch.setattr(setup_env.sys, "prefix", setup_env.sys.base_prefix)
    monkeypatch.setattr(setup_env, "version_of", versions.get)
    monkeypatch.setattr(setup_env.shutil, "which", lambda name: f"/usr/bin/{name}" if name in found else None)


@pytest.mark.parametrize(
    ("running", "found", "chosen"),
    [
        ((3, 12, 1), {"python3.11": (3, 11, 2)}, "running"),
        ((3, 9, 18), {"python3.11": (3, 11, 2), "python3.12": (3, 12, 1)}, "python3.12"),
        ((3, 14, 0), {"python3.13": (3, 13, 0)}, "python3.13"),
        ((3, 10, 4), {"python3.13": (3, 10, 4), "python3": (3, 11, 9)}, "python3"),  # a shim that lies
    ],
)
def test_a_suitable_python_is_found(monkeypatch: pytest.MonkeyPatch, running, found, chosen) -> None:
    pythons(monkeypatch, running, found)
    assert setup_env.find_python("/course/.venv") == f"/usr/bin/{chosen}"


@pytest.mark.parametrize("running", [(3, 6, 15), (3, 10, 13), (3, 14, 0)])
def test_wrong_python_is_one_clear_line(monkeypatch, capsys, tmp_path: Path, running) -> None:
    pythons(monkeypatch, running, {"python3": running})
    assert setup_env.main(["--venv", str(tmp_path / "new")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for words in ("Python 3.11 to 3.13 is needed", f"Python 3.{running[1]}", "install Python 3.12"):
        assert words in error


def test_the_environment_to_be_mended_is_not_the_one_that_mends(monkeypatch: pytest.MonkeyPatch) -> None:
    pythons(monkeypatch, (3, 12, 1), {"python3.12": (3, 12, 1)})
    monkeypatch.setattr(setup_env.sys, "executable", "/usr/bin/../bin/python3.12")
    with pytest.raises(setup_env.SetupError):
        setup_env.find_python("/usr")


def test_no_disk_space_is_one_clear_line(monkeypatch, capsys, tmp_path: Path) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(setup_env.shutil, "disk_usage", lambda folder: usage(int(1.26e9)))
    assert setup_env.main(["--venv", str(tmp_path / "new")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no disk space: the environment needs 5 GB" in error
    assert "1.3 GB are free" in error
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for Python")
def test_missing_venv_module_is_one_clear_line(tmp_path: Path) -> None:
    python = tmp_path / "python3.12"
    python.write_text("#!/bin/sh\ncase \"$2\" in *ensurepip*) exit 1;; *) echo '3 12 1';; esac\n")
    python.chmod(0o755)
    assert setup_env.version_of(str(python)) == (3, 12, 1)
    with pytest.raises(setup_env.SetupError, match="sudo apt install python3.12-venv") as caught:
        setup_env.check_modules(str(python))
    assert "\n" not in str(caught.value)


def test_no_network_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real pip, and an index that is not there."""
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/", "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv("PIP_" + name, value)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(setup_env, "venv_python", lambda venv: sys.executable)
    (tmp_path / "requirements.txt").write_text(f"no-such-package-anywhere==1 --hash=sha256:{'0' * 64}\n")
    log = tmp_path / "log"
    with pytest.raises(setup_env.SetupError, match=r"^no network while installing packages") as caught:
        setup_env.install("unused", str(tmp_path), str(log), gpu=False)
    assert "\n" not in str(caught.value)
    assert "127.0.0.1" in log.read_text()


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "no disk",
        ),
        ("NameResolutionError: Failed to resolve 'x'\nERROR: No matching distribution found", "no network"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "not what the lock"),
        ("Collecting a\nERROR: a needs b\nhint", "packages failed: ERROR: a needs b; details in the.log"),
        ("", "packages failed: no reason given"),
    ],
)
def test_failures_are_explained(output: str, words: str) -> None:
    line = setup_env.explain(output, "the.log", "installing packages")
    assert words in line
    assert "\n" not in line


def test_log_is_kept_and_interruption_is_one_line(monkeypatch, capsys, tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import os; print('out', 'PYTHONPATH' in os.environ)"
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    setup_env.run_logged([sys.executable, "-c", code], str(log), "trying", str(tmp_path))
    assert log.read_text() == "out False\n"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(setup_env, "setup", interrupted)
    assert setup_env.main([]) == 130
    assert capsys.readouterr().err.strip().count("\n") == 0


def test_pins_without_hashes(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        "# x==1\na==1.0 ; os_name == 'nt' \\\n    --hash=sha256:00\n    # via b==2\nc-d==2.1 \\\n"
    )
    assert setup_env.plain_pins(str(lock)) == ["a==1.0 ; os_name == 'nt'", "c-d==2.1"]


def test_not_a_whole_checkout(tmp_path: Path) -> None:
    with pytest.raises(setup_env.SetupError, match="cannot read requirements.txt"):
        setup_env.fingerprint(str(tmp_path))


def test_old_pythons_can_read_the_script() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module != "__future__"  # annotations: 3.7
        if isinstance(node, ast.FunctionDef):
            for annotation in [node.returns, *(argument.annotation for argument in node.args.args)]:
                for part in ast.walk(annotation or ast.Constant(None)):
                    assert not isinstance(part, ast.BinOp)  # X | None: 3.10
                    if isinstance(part, ast.Subscript):
                        assert part.value.id in ("Dict", "List", "Optional", "Tuple")  # list[str]: 3.9


@pytest.mark.parametrize("minor", range(6, 11))
def test_old_pythons_run_the_script(minor: int, tmp_path: Path) -> None:
    python = shutil.which(f"python3.{minor}")
    if python is None or (setup_env.version_of(python) or HERE)[:2] != (3, minor):
        return  # the syntax was tested above
    command = [python, str(SCRIPT), "--venv", str(tmp_path / "new")]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Python 3.11 to 3.13 is needed" in done.stderr
    assert done.stderr.count("\n") == 1
