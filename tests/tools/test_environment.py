"""pyproject.toml, the lock, environment.yml and the Makefile say the same, and the code keeps to them."""

from __future__ import annotations

import ast
import fnmatch
import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import lock, setup_env

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8")
CORE = [Requirement(text) for text in PYPROJECT["project"]["dependencies"]]
EXTRAS = {
    name: [Requirement(text) for text in texts]
    for name, texts in PYPROJECT["project"]["optional-dependencies"].items()
}
LOCKED = CORE + [requirement for name in lock.EXTRAS for requirement in EXTRAS[name]]


def pins() -> list[tuple[Requirement, int]]:
    """The lock's requirements, each with the number of its hashes."""
    blocks = re.findall(
        r"^([A-Za-z0-9][^\\\n]*?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)*)", LOCK, re.M
    )
    return [(Requirement(head), hashes.count("--hash")) for head, hashes in blocks]


def pinned(environment: dict[str, str] | None = None) -> dict[str, str]:
    """Name → version for one environment, by default the one this runs in."""
    chosen = {}
    for requirement, _ in pins():
        if requirement.marker is None or requirement.marker.evaluate(environment or default_environment()):
            assert requirement.name not in chosen, f"two versions of {requirement.name} at once"
            chosen[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return chosen


def test_lock_has_only_exact_versions_with_hashes_and_no_addresses() -> None:
    heads = [line for line in LOCK.splitlines() if line and line[0] not in " #"]
    assert len(heads) == len(pins()) > 100
    for requirement, hashes in pins():
        assert re.fullmatch(r"==[\w.!+]+", str(requirement.specifier)), requirement
        assert hashes >= 1, f"{requirement.name} has no hash"
        assert requirement.url is None
    assert lock.addresses(LOCK) == []


def test_addresses_are_recognised() -> None:
    for line in ("a @ file:///x", "--index-url=x", "--find-links x", "x ; git+ssh://y"):
        assert lock.addresses(line) == [line]


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_lock_satisfies_the_bounds_on_every_python_and_system(python: str, platform: str) -> None:
    names = {"linux": ("posix", "Linux"), "darwin": ("posix", "Darwin"), "win32": ("nt", "Windows")}
    environment = dict(
        default_environment(),
        python_version=python,
        python_full_version=f"{python}.5",
        sys_platform=platform,
        os_name=names[platform][0],
        platform_system=names[platform][1],
    )
    versions = pinned(environment)
    for requirement in LOCKED:
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in the lock: run make lock"
        assert requirement.specifier.contains(version), f"{requirement} has {version}: run make lock"


def test_cuda_is_not_in_the_lock() -> None:
    assert not [requirement for requirement, _ in pins() if requirement.name.startswith("nvidia")]


def test_environment_is_the_lock() -> None:
    """What is installed is what is pinned; and nothing is pinned that nothing needs."""
    if not Path(sys.prefix, setup_env.STAMP).is_file():
        pytest.skip("this Python was not set up from the lock by make setup")
    versions = pinned()
    for name, version in versions.items():
        assert importlib.metadata.version(name) == version, f"{name}: run make setup"
    needed: set[str] = set()
    waiting = [(canonicalize_name(r.name), frozenset(r.extras)) for r in LOCKED]
    seen = set()
    while waiting:
        name, extras = item = waiting.pop()
        if item in seen:
            continue
        seen.add(item)
        needed.add(name)
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in (*extras, "")
            ):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    assert set(versions) == needed


def test_conda_takes_its_packages_from_the_lock() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    entries = re.findall(r"^ +- (.*)$", text, re.M)
    python = next(entry for entry in entries if entry.startswith("python="))
    assert setup_env.suitable(tuple(map(int, python.removeprefix("python=").split("."))))
    assert sorted(set(entries) - {python}) == [
        "-r requirements.txt",
        "conda-forge",
        "nodefaults",
        "pip",
        "pip:",
    ]
    assert f"name: {PYPROJECT['project']['name']}" in text


def test_setup_accepts_the_pythons_of_pyproject() -> None:
    bounds = Requirement("python" + PYPROJECT["project"]["requires-python"]).specifier
    for minor in range(6, 20):
        assert bounds.contains(f"3.{minor}.4") == setup_env.suitable((3, minor, 4))


def test_every_direct_dependency_has_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = text[text.index("dependencies = [") : text.index("[tool.lgm]")]
    lines = re.findall(r'^  "(.*)$', project, re.M)
    assert len(lines) == len(CORE) + sum(map(len, EXTRAS.values()))
    for line in lines:
        assert re.search(r'",\s+# \S.{8,}', line), f"no reason given: {line}"


def test_build_needs_no_download() -> None:
    names = {canonicalize_name(requirement.name) for requirement in LOCKED}
    for text in PYPROJECT["build-system"]["requires"]:
        assert canonicalize_name(Requirement(text).name) in names


@functools.cache
def distributions_of_modules() -> Mapping[str, list[str]]:
    """Top-level module → names of the distributions that provide it."""
    return importlib.metadata.packages_distributions()


def imports(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("utils", CORE),
        ("notebooks", CORE + EXTRAS["published"]),
        ("solutions", CORE),
        ("tools", LOCKED + EXTRAS["speed"]),
        ("grading", LOCKED),
        ("tests", LOCKED),
    ],
)
def test_imports_are_declared(folder: str, allowed: list[Requirement]) -> None:
    """What a folder imports is a direct dependency; what students run needs the core only."""
    providers = distributions_of_modules()
    names = {canonicalize_name(requirement.name) for requirement in allowed}
    own = {"utils", "tools", "grading", "tests", "google", "packaging"}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for module in imports(path) - own - set(sys.stdlib_module_names):
            found = providers.get(module, [module])  # its own name if not installed, as PyTorch in `tools`
            distributions = {canonicalize_name(name) for name in found}
            assert distributions & names, f"{path.relative_to(ROOT)} imports {module}: no dependency declared"


def test_every_data_file_of_utils_is_installed_on_colab() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["utils"]
    for path in (ROOT / "utils").rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            name = path.relative_to(ROOT / "utils").as_posix()
            assert any(
                fnmatch.fnmatch("/" + name, "/" + pattern.replace("**/", "*")) for pattern in patterns
            ), f"utils/{name} would be missing on Colab: add it to package-data in pyproject.toml"


def test_subpackages_of_utils_are_installed_on_colab() -> None:
    packages = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in (ROOT / "utils").rglob("*.py")
    }
    assert packages == set(PYPROJECT["tool"]["setuptools"]["packages"])


def make(*arguments: str, cwd: Path = ROOT, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run make, also below a make that runs these tests."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    for name in ("PYTHON", "VENV", "OUT", "GPU", "PORT", "ARGS", "WEEK", "SEEDS"):
        env.pop(name, None)
    return subprocess.run(["make", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=check)


@pytest.fixture
def makefile() -> str:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def test_make_help_lists_every_target_with_one_line(makefile: str) -> None:
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split())
    assert targets == set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.M))
    output = make().stdout
    lines = output.splitlines()[1:]
    assert {line.split()[0] for line in lines} == targets
    assert all(len(line) <= 120 and len(line.split()) > 2 for line in lines)


def test_make_works_in_a_folder_with_a_space(makefile: str, tmp_path: Path) -> None:
    """Every recipe is run for real there, with stand-ins for Python that note how they were called."""
    folder = tmp_path / "my course"
    stand_in = folder / ".venv" / "bin" / "python"
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text('#!/bin/sh\nfor a in "$@"; do printf "<%s>" "$a"; done >> calls; echo >> calls\n')
    stand_in.chmod(0o755)
    (folder / "Makefile").write_text(makefile)
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split()
    runs = [target for target in targets if target not in ("help", "setup", "clean")]
    options = [f"PYTHON={stand_in}", "OUT=a folder", "WEEK=week08_gan"]
    make(*options, *runs, cwd=folder)
    calls = (folder / "calls").read_text().splitlines()
    assert calls[0] == "<tools/setup_env.py><--venv><.venv>"
    assert len(calls) == 1 + len(re.findall(r"^\t@\$\(RUN\) ", makefile, re.MULTILINE))
    assert "<-m><tools.student><a folder>" in calls
    modules = {re.match(r"<-m><([\w.]+)>", call)[1] for call in calls[1:]}
    for module in modules:
        assert importlib.util.find_spec(module), f"make calls {module}, which does not exist"
    make(*options, "setup", "GPU=1", "VENV=.venv 2", cwd=folder)
    assert (folder / "calls").read_text().splitlines()[-1] == "<tools/setup_env.py><--venv><.venv 2><--gpu>"
    make("clean", cwd=folder)
    assert not (folder / ".venv").exists()
    assert (folder / "calls").exists()


def test_make_without_python_says_so(makefile: str) -> None:
    done = make("setup", "PYTHON=", check=False)
    assert done.returncode != 0
    assert "no python3 found: install Python 3.11" in done.stderr


def test_makefile_is_for_old_make(makefile: str) -> None:
    """macOS has GNU make 3.81, which cannot be tried here: nothing that came later."""
    assert not re.search(r"^\s*\w+\s*(!=|::=)|\.ONESHELL|\$\(file |undefine|private ", makefile, re.M)
