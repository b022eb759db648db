"""The setup cell: silent where the course is installed, careful on Colab, one clear error elsewhere.

The cell runs in a Python without site-packages, with stand-ins for `utils`, `google.colab` and pip.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools import notebooks

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["lgm"][
    "students-repository"
]
OURS = {
    "utils/__init__.py": 'COURSE = "Learning Generative Models"\n',
    "utils/notebook.py": "def start():\n    print('started')\n",
}
COLAB = {"google/colab/__init__.py": "", "sitecustomize.py": "import google.colab\n"}
# Notes how it was called, then puts the course where Python finds it, or fails.
PIP = """
import json, os, pathlib, sys
here = pathlib.Path(__file__).parents[1]
(here / "calls.json").write_text(json.dumps(sys.argv[1:]))
if os.environ.get("FAIL"):
    sys.exit(os.environ["FAIL"])
for name, text in json.loads(os.environ["OURS"]).items():
    (here / name).parent.mkdir(exist_ok=True)
    (here / name).write_text(text)
"""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def run(tmp_path: Path):
    """Run the cell in the folder `here`, with `site` in the place of site-packages."""
    here, site = tmp_path / "my folder", tmp_path / "site-packages"
    here.mkdir()
    site.mkdir()

    def run(local: dict[str, str], installed: dict[str, str], **environment: str):
        write(here, local)
        write(site, {"pip/__init__.py": "", "pip/__main__.py": PIP, **installed})
        # As in a notebook, the current folder comes first. -S leaves out what is really installed.
        code = "import sys; sys.path.insert(0, ''); " + (
            "import sitecustomize; " if "sitecustomize.py" in installed else ""
        )
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LGM_"))}
        env |= {
            "PYTHONPATH": str(site),
            "OURS": json.dumps(OURS),
            "PYTHONDONTWRITEBYTECODE": "1",
        } | environment
        command = [sys.executable, "-S", "-c", code + "exec(sys.stdin.read())"]
        done = subprocess.run(
            command, cwd=here, env=env, input=notebooks.setup_source(ROOT), capture_output=True, text=True
        )
        calls = site / "calls.json"
        return done, json.loads(calls.read_text()) if calls.exists() else None

    return run


def error_line(done: subprocess.CompletedProcess) -> str:
    """The last line of a traceback, which must be an ImportError and not be followed by others."""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: "), done.stderr
    assert "During handling" not in done.stderr
    assert done.stdout == ""
    return last


def test_address_is_filled_in() -> None:
    source = notebooks.setup_source(ROOT)
    assert ADDRESS in source
    assert "{{" not in source
    assert not source.startswith('"""')


def test_silent_where_the_course_is_installed(run) -> None:
    for colab in ({}, COLAB):
        done, calls = run({}, OURS | colab)
        assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", "")
        assert calls is None


def test_not_installed_elsewhere_than_on_colab(run) -> None:
    done, calls = run({}, {})
    line = error_line(done)
    assert "The course is not installed in" in line
    assert "make lab" in line
    assert calls is None


@pytest.mark.parametrize("colab", [{}, COLAB], ids=["local", "colab"])
@pytest.mark.parametrize("installed", [{}, OURS], ids=["missing", "installed"])
@pytest.mark.parametrize(
    "foreign",
    [
        {"utils.py": "def add(a, b): return a + b\n"},
        {"utils/__init__.py": ""},
        {"utils.py": "COURSE = 'Data Structures'\n"},
        {"utils.py": "import no_such_module\n"},
        {"utils.py": "1 / 0\n"},
    ],
    ids=["module", "package", "course", "import error", "error"],
)
def test_foreign_utils_is_one_clear_error(run, foreign, installed, colab) -> None:
    done, calls = run(foreign, installed | colab)
    line = error_line(done)
    assert "Another module called utils" in line
    assert next(iter(foreign)).replace("/", os.sep) in line
    assert "Rename or move it, restart the kernel" in line
    assert calls is None


@pytest.mark.parametrize("local", [{}, {"utils/notes.txt": "a folder by that name is no module"}])
def test_colab_installs_the_course_and_moves_nothing(run, local) -> None:
    shipped = {
        "tensorflow-2.20.0": "tensorflow",
        "keras-3.13.2": "keras",
        "tf_keras-2.20.1": "tf_keras",
        "tensorflow_probability-0.25.0": "tensorflow-probability",
        "numpy-2.1.3": "numpy",
        "pandas-2.2.2": "pandas",
    }
    metadata = {
        f"{release}.dist-info/METADATA": f"Name: {name}\nVersion: {release.split('-')[1]}\n"
        for release, name in shipped.items()
    }
    done, calls = run(local, COLAB | metadata)
    assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", "")
    *pins, address = calls[2:]
    assert calls[:2] == ["install", "--quiet"]
    assert sorted(pins) == [
        "keras==3.13.2",
        "numpy==2.1.3",
        "tensorflow-probability==0.25.0",
        "tensorflow==2.20.0",
        "tf-keras==2.20.1",
    ]
    assert address == f"git+{ADDRESS}"


def test_another_repository_can_be_named(run) -> None:
    done, calls = run({}, COLAB, LGM_REPOSITORY="file:///some/where")
    assert done.returncode == 0
    assert calls[-1] == "git+file:///some/where"


# What pip says, word for word but shortened: git's complaint is in the middle, the end is advice.
GIT_FAILS = """\
  error: subprocess-exited-with-error

  × git clone --filter=blob:none --quiet https://x/y /tmp/pip-req-build-1 did not run successfully.
  │ exit code: 128
  ╰─> [3 lines of output]
      fatal: unable to access 'https://x/y/': Could not resolve host: x
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
error: subprocess-exited-with-error
note: This error originates from a subprocess, and is likely not a problem with pip."""
NO_GIT = """\
  ERROR: Error [Errno 2] No such file or directory: 'git' while executing command git version
ERROR: Cannot find command 'git' - do you have 'git' installed and in your PATH?"""


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (GIT_FAILS, "fatal: unable to access 'https://x/y/': Could not resolve host: x"),
        (
            NO_GIT,
            "ERROR: Error [Errno 2] No such file or directory: 'git' while executing command git version",
        ),
        ("Collecting x\nkilled", "killed"),
        ("\n", "pip gave no reason"),
    ],
    ids=["git", "no git", "other", "nothing"],
)
def test_failed_installation_names_the_cause(run, said: str, reason: str) -> None:
    done, calls = run({}, COLAB, FAIL=said)
    line = error_line(done)
    assert f"The course could not be installed from {ADDRESS}" in line
    assert line.endswith(f"Is there a network? {reason}")
    assert calls is not None


@pytest.mark.parametrize("both", [False, True], ids=["alone", "beside the course"])
def test_foreign_utils_of_an_index_is_to_be_uninstalled(run, both: bool) -> None:
    """It cannot be renamed; the name to uninstall is that of the distribution."""
    installed = {
        "utils/__init__.py": "",
        "py_helpers-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: py-helpers\nVersion: 1.0\n",
        "py_helpers-1.0.dist-info/top_level.txt": "utils\n",
    }
    if both:
        installed |= {
            "lgm.dist-info/METADATA": "Metadata-Version: 2.1\nName: learning-generative-models\nVersion: 1\n",
            "lgm.dist-info/top_level.txt": "utils\n",
        }
    line = error_line(run({}, installed)[0])
    assert "Uninstall it (%pip uninstall -y py-helpers), restart the kernel" in line
    line = error_line(run({"utils.py": ""}, installed)[0])
    assert "Rename or move it, restart the kernel" in line, "the one in front is a file of the user's"


def test_the_first_line_says_what_the_cell_is_for() -> None:
    first, *_ = notebooks.setup_source(ROOT).splitlines()
    assert re.fullmatch(r"# @title Run this cell first\. .{30,80}", first), (
        "Colab shows it in place of the code"
    )


def test_only_a_run_to_its_end_sets_the_name_that_other_cells_begin_with() -> None:
    *before, last = ast.parse(notebooks.setup_source(ROOT)).body
    assert ast.unparse(last).startswith(f"{notebooks.GUARD} = ")
    assert ast.unparse(before[-1]) == "utils.notebook.start()"


def test_cell_is_short() -> None:
    lines = notebooks.setup_source(ROOT).splitlines()
    assert len(lines) <= 56, "it is folded, but some will open it"
    assert max(map(len, lines)) <= 110
