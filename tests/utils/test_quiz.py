"""The self-check questions: five a week, one right answer each, every choice explained."""

import pytest

from grading.proving import form
from utils import paths, quiz

WEEKS = sorted(path.stem for path in (paths.PACKAGE / "quizzes").glob("*.json"))


@pytest.mark.parametrize("week", WEEKS)
def test_each_question_has_one_right_answer_and_explains_every_choice(week):
    questions = quiz.load(week)
    assert list(form.quiz_faults(questions)) == []  # what it finds is tested with `make week`
    assert all(question["type"] == "multiple_choice" for question in questions)


def test_an_unknown_week_names_the_known_ones():
    with pytest.raises(ValueError, match="week03_rbm"):
        quiz.load("week99_nothing")
