"""docs/promises.md: each promise has its test, and each test that is named there exists."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_test_exists(file: str, name: str) -> None:
    path = ROOT / file if file.startswith("tests/") else ROOT / "tests" / "grading" / file
    assert path.is_file(), f"{file} does not exist"
    tests = [node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if hasattr(node, "name")]
    assert name in tests, f"{file} has no {name}"


def test_each_promise_has_one() -> None:
    promises, _, rest = PAGE.partition("\n## What depends on where it runs\n")
    rows = [
        line for line in promises.splitlines() if line.startswith("| ") and not line.startswith("| promise")
    ]
    assert rest and len(rows) >= 20
    assert [row for row in rows if "::test_" not in row] == []
