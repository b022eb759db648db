"""tools/load.py: what is counted, what is announced, and that no week announces less than its estimate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import load
from tools.load import Count, Load
from tools.notebooks import Source

TITLE = """# %% [markdown] title
# # Week 99 · Two words
#
# {{colab}}
#
# *Time:* reading 60 minutes, this notebook 40 minutes.

# %% setup

# %% parameters tags=["parameters"]
size = 3  # not counted

"""
CORE = '''# %% [markdown] text
# ## 1 · Half
#
# A [link](https://example.org/a/b) and $x + y$ and <b>bold</b>. **Predict:** why?
#
# $$x = y$$ and $$
# y = z$$
#
# | table | 90 |
# |---|---|
#
# ![three words here](picture.svg)
#
# {{picture: vae}}
#
# ```python
# not_counted = 1
# ```


# %% code
"""Not counted."""

import numpy as np  # counted


def f(x):
    """Not
    counted."""
    # not counted

    text = """counted

    counted"""
    return text


plotting.show(
    fig, "a", "b"
)

# %% quiz
quiz.show("week99_sample")

'''
REST = """# %% [markdown] bigger
# ## Going bigger
#
# Many words that are not counted.
"""
DEEPER = """# %% [markdown] deeper
# ## Deeper · More
#
# Three more words. **Predict:** this.

# %% deeper_code
plotting.animate()

"""


def measure(tmp_path: Path, text: str) -> Load:
    path = tmp_path / "notebooks" / "week99_sample.py"
    quiz = tmp_path / "utils" / "quizzes" / "week99_sample.json"
    for file, content in ((path, text), (quiz, "[{}, {}, {}, {}, {}]")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return load.measure(Source(path, "week99_sample", ""))


def test_everything_is_counted_once(tmp_path: Path) -> None:
    found = measure(tmp_path, TITLE + CORE + REST)
    title = 4 + 8  # Week 99 Two words; Time: reading 60 minutes, this notebook 40 minutes.
    text = 2 + 7 + 1 + 2  # 1 Half; A link and and bold. Predict: why?; and; table 90
    code = 1 + 1 + 3 + 1 + 3 + 1  # import, def, text, return, show, quiz
    assert found.core == Count(title + text, code, equations=2, predict=1, figures=3, questions=5)
    assert found.core.minutes == pytest.approx((title + text) / 100 + code / 5 + 3 + 2 + 3 + 10)
    assert found.deeper is None and found.announced == 40 and list(found.faults()) == []


def test_deeper_is_counted_apart(tmp_path: Path) -> None:
    whole = measure(tmp_path, TITLE + CORE + REST)
    found = measure(tmp_path, TITLE + CORE + DEEPER + REST)
    assert found.core == whole.core
    assert found.deeper == Count(words=7, lines=1, predict=1, figures=1)
    assert "week99_sample, deeper" in load.table([found])


@pytest.mark.parametrize("said", ["this notebook 40 minutes", "the core of this notebook 40 minutes"])
def test_the_title_announces(tmp_path: Path, said: str) -> None:
    text = TITLE.replace("this notebook 40 minutes", said)
    assert measure(tmp_path, text).announced == 40


@pytest.mark.parametrize(
    ("core", "deeper", "announced", "word"),
    [
        (Count(lines=100), None, 20, ""),
        (Count(lines=101), None, 20, "announces 20 minutes, the estimate is 30"),
        (Count(lines=101), None, None, "write `this notebook 30 minutes`"),
        (Count(lines=351), None, 80, ""),
        (Count(lines=351), Count(), 80, "351 lines, more than 350"),
        (Count(words=3001), Count(), 40, "3001 words, more than 3000"),
        (Count(words=3000, questions=61), Count(), 160, "152 minutes, more than 150"),
        (Count(words=3000, lines=350), Count(words=9999, lines=999), 100, ""),
    ],
)
def test_faults(core: Count, deeper: Count | None, announced: int | None, word: str) -> None:
    found = list(Load("week99_sample", core, deeper, announced).faults())
    assert len(found) == bool(word) and all(word in fault for fault in found)


def test_a_week_with_two_models_may_have_more_lines() -> None:
    assert not list(Load("week04_dbn_dbm", Count(lines=400), Count(), 80).faults())
    assert "more than 400" in next(Load("week04_dbn_dbm", Count(lines=401), Count(), 90).faults())


@pytest.mark.parametrize("source", load.preparations(), ids=lambda source: source.stem)
def test_no_week_announces_less_than_its_estimate(source: Source) -> None:
    assert list(load.measure(source).faults()) == []


def test_the_command_names_the_faults(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load.main(["--root", str(sample)]) == 1
    assert "week99_sample: its title cell announces no minutes" in capsys.readouterr().out
