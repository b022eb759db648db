"""A rule for late submissions, if a course wants one: there is none unless nbgrader_config.py says so.

c.AssignLatePenalties.plugin_class = "grading.results.late.PerDay"
c.PerDay.share = 0.1
"""

from __future__ import annotations

import math

from nbgrader.plugins import LateSubmissionPlugin
from traitlets import Float


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
