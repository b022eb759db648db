"""Where the course keeps what it writes: downloads and a student's own scoreboard rows."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def data_folder() -> Path:
    """``data`` of the checkout around this package, else (installed, as on Colab) of the current folder."""
    checkout = PACKAGE.parent
    return (checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()) / "data"
