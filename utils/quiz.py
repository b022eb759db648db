"""The self-check questions of each week: multiple choice with immediate feedback (jupyterquiz)."""

from __future__ import annotations

import json

from utils import paths


def load(week: str) -> list[dict]:
    """The questions of a week, ``utils/quizzes/WEEK.json`` in jupyterquiz's format.

    Raises ValueError, naming the weeks there are, if there is none for ``week``.
    """
    folder = paths.PACKAGE / "quizzes"
    file = folder / f"{week}.json"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.json")))
        raise ValueError(f"there is no quiz {week!r}; there are {known}")
    return json.loads(file.read_text(encoding="utf-8"))


def show(week: str) -> None:
    """Show the questions of a week; each answer explains itself when it is chosen."""
    from jupyterquiz import display_quiz

    display_quiz(load(week))
