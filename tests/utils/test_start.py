"""The first line of every notebook, and what importing the package costs."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from utils import notebook

HEAVY = ("tensorflow", "keras", "tf_keras", "sklearn", "scipy", "matplotlib", "pooch", "requests", "IPython")


def run(code: str) -> subprocess.CompletedProcess:
    env = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)


def test_imports_are_light():
    modules = "utils, utils.datasets, utils.plotting, utils.evaluation, utils.scoreboard, utils.stattests"
    result = run(f"import sys, {modules}, utils.notebook; print([m for m in {HEAVY} if m in sys.modules])")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_start_prints_one_line_and_seeds():
    pytest.importorskip("tensorflow")
    result = run(
        "from utils.notebook import start; start(7)\n"
        "import numpy as np, tensorflow as tf, matplotlib as mpl\n"
        "drawn = [float(np.random.rand()), float(tf.random.uniform([]))]\n"
        "start(7)\n"
        "assert drawn == [float(np.random.rand()), float(tf.random.uniform([]))]\n"
        "assert mpl.rcParams['font.size'] == 13"
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == "", "nbgrader takes a line on stderr for a failure"
    first, second = result.stdout.splitlines()
    assert first == second
    versions = r"Python [\d.]+ · TensorFlow [\d.]+ · Keras [\d.]+ · TFP [\d.]+ · .+ · seed 7"
    assert re.fullmatch(versions, first)


def test_missing_package(monkeypatch):
    monkeypatch.setitem(notebook._MODULES, "a_package_that_is_not_there", "not-there")
    with pytest.raises(ImportError, match="not-there is not installed in .*make setup"):
        notebook._import("a_package_that_is_not_there", "not-there")


def test_a_failure_is_not_silenced(capfd):
    with pytest.raises(ValueError), notebook._quiet_stderr():
        os.write(2, b"why it failed\n")
        raise ValueError
    assert "why it failed" in capfd.readouterr().err
    with notebook._quiet_stderr():
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == ""
