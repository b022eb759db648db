"""What hostile students hand in: a catalogue with the marks that each must get. `test_attacks.py` runs it.

book.py     a notebook that is bent out of shape, the decorator that enters an attack
score.py    cheated tests, lying objects, patched libraries, lying models
link.py     forged messages from the student's process to the tests
machine.py  endless, early, too much, what outlives its cell
reach.py    files, secrets, network, what is left for the next submission
form.py     cells, metadata, files that are no notebook
"""

from __future__ import annotations

from tests.grading.execution.attacks import form, link, machine, reach, score  # noqa: F401 (each enters its attacks)
from tests.grading.execution.attacks.book import BREACH, CATALOGUE, MARK, Attack, Exercise
from tests.grading.execution.attacks.reach import PROBE

__all__ = ["ATTACKS", "BREACH", "MARK", "PROBE", "Attack", "Exercise"]

ATTACKS: dict[str, Attack] = {
    attack.name: attack for attack in sorted(CATALOGUE, key=lambda attack: attack.number)
}
