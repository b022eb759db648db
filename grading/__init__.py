"""Grading: nbgrader's settings, what keeps hidden tests hidden, and the bank of right and wrong answers."""
