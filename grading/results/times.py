"""The course's time zone, nbgrader's own setting: c.NbGraderAPI.timezone in nbgrader_config.py, else UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from traitlets.config import Config

from grading.gradebook import GradebookError


def zone(config: Config | None = None) -> ZoneInfo:
    """The zone; GradebookError if this machine knows none of that name."""
    name = (config or Config()).NbGraderAPI.get("timezone", "UTC")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, TypeError, OSError):
        raise GradebookError(
            f"{name!r} is no time zone: c.NbGraderAPI.timezone in nbgrader_config.py needs a name such as "
            "'Europe/Berlin' (on Windows after pip install tzdata)"
        ) from None


def local(time: datetime | str | None, zone: ZoneInfo, form: str = "%a %d %B %Y, %H:%M %Z") -> str:
    """A time (of text ISO 8601, without a zone UTC) in the course's zone; empty if it is none."""
    try:
        moment = datetime.fromisoformat(time) if isinstance(time, str) else time
        return (moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(zone).strftime(form)) if moment else ""
    except (ValueError, OverflowError):
        return ""
