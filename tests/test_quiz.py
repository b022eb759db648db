"""The self-check questions: five a week, one right answer each, every choice explained."""

import pytest

from utils import paths, quiz

WEEKS = sorted(path.stem for path in (paths.PACKAGE / "quizzes").glob("*.json"))


@pytest.mark.parametrize("week", WEEKS)
def test_each_question_has_one_right_answer_and_explains_every_choice(week):
    questions = quiz.load(week)
    assert len(questions) == 5
    assert len({question["question"] for question in questions}) == 5
    for question in questions:
        answers = question["answers"]
        assert question["type"] == "multiple_choice" and len(answers) >= 3
        assert sum(answer["correct"] for answer in answers) == 1
        assert len({answer["answer"] for answer in answers}) == len(answers)
        assert all(len(answer["feedback"]) > 20 for answer in answers)


def test_the_right_answer_is_not_always_in_the_same_place():
    for week in WEEKS:
        places = {[a["correct"] for a in question["answers"]].index(True) for question in quiz.load(week)}
        assert len(places) > 1, week


def test_an_unknown_week_names_the_known_ones():
    with pytest.raises(ValueError, match="week03_rbm"):
        quiz.load("week99_nothing")
