"""A rule for late submissions, if a course wants one: there is none unless nbgrader_config.py says so.

c.AssignLatePenalties.plugin_class = "grading.results.late.PerDay"
c.PerDay.share = 0.1
"""

from __future__ import annotations

import logging
import math
from datetime import datetime

from nbgrader.plugins import LateSubmissionPlugin
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy.exc import SQLAlchemyError
from traitlets import Float
from traitlets.config import Config

from grading.gradebook import GradebookError


class PerDay(LateSubmissionPlugin):
    """Takes a share of the marks reached for each day begun after the deadline, after some grace."""

    share = Float(0.1, min=0.0, max=1.0, help="share of the marks for each day begun").tag(config=True)
    grace_minutes = Float(15.0, min=0.0, help="this late costs nothing").tag(config=True)
    at_most = Float(1.0, min=0.0, max=1.0, help="the largest share taken in all").tag(config=True)

    def late_submission_penalty(
        self, student_id: str, score: float, total_seconds_late: float
    ) -> float | None:
        late = total_seconds_late - 60 * self.grace_minutes
        if late <= 0:
            return None
        return score * min(self.at_most, self.share * math.ceil(late / 86400))


class LateRule:
    """The configured rule, as nbgrader's AssignLatePenalties applies it."""

    def __init__(self, config: Config | None = None) -> None:
        chosen = AssignLatePenalties(config=config or Config())
        chosen.log = logging.getLogger(__name__)
        chosen.init_plugin()
        self._plugin = chosen.plugin_inst
        self._plugin.log = chosen.log

    def penalty(
        self, student: str, score: float, time: datetime | None, due: datetime | None
    ) -> float | None:
        """Points to take from `score`, from none to all; None if the rule has nothing to say. Times are UTC.

        GradebookError if the rule fails.
        """
        late = (time - due).total_seconds() if time is not None and due is not None else 0.0
        if late <= 0:
            return None
        try:
            penalty = self._plugin.late_submission_penalty(student, score, late)
            return None if penalty is None else float(min(max(0.0, penalty), score))
        except SQLAlchemyError:
            raise
        except Exception as error:
            rule = type(self._plugin).__name__
            raise GradebookError(f"the rule for late submissions, {rule}, failed: {error!r}") from error
