"""A damaged notebook gets the marks of the undamaged one, from repair to marks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from grading.execution import trusted
from grading.execution.local import PlainLifeline
from grading.intake.repair import repair
from grading.model import Job, Outcome
from grading.proving import damage
from tests import exercise_small


@pytest.fixture(scope="module")
def known() -> Iterator[dict[tuple, Outcome]]:
    """Clean notebooks that have been executed: most damages leave no trace, so that one run is enough."""
    yield {}


def marks(variant: tuple, known: dict[tuple, Outcome]) -> dict[str, float]:
    code = tuple((cell.name, cell.kind, cell.source, cell.cell_type) for cell in variant)
    if code not in known:
        job = Job("p", exercise_small.ASSIGNMENT, (variant,), seed=7)
        known[code] = trusted.run(job, 0, PlainLifeline())
    assert not known[code].failure
    return {gap.gap: gap.points for gap in known[code].gaps}


@pytest.mark.parametrize("harm", damage.ALL, ids=lambda harm: harm.name)
def test_a_damaged_notebook_gets_the_same_marks(harm: damage.Damage, known: dict[tuple, Outcome]) -> None:
    open_gaps = ["draw"]  # one gap unsolved, so that "everything passes" would be noticed
    expected = exercise_small.FULL | dict.fromkeys(open_gaps, 0.0)
    repaired = repair(harm.apply(exercise_small.solved(open_gaps)), exercise_small.ASSIGNMENT)
    assert not repaired.problem
    best = max((marks(variant, known) for variant in repaired.variants), key=lambda m: sum(m.values()))
    assert best == expected or repaired.doubts, f"{best}, and nobody is told"
    assert sum(best.values()) >= sum(expected.values()) - 0.5, f"{best}, though listed: {repaired.doubts}"
