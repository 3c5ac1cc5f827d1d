"""The rules of a quiz, each broken once."""

from dataclasses import replace

import pytest
from quiz_sample import questions

from medallion import contract
from press.source import quiz, rules
from press.source.chapter import parse
from press.source.forms import Unfit


def broken(change):
    held = questions()
    change(held[1])
    return held


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (
            questions(3),
            "[{...}, {...}, {...}] will not do (List should have at least 4 items after validation, not 3). "
            "Correct it.",
        ),
        (
            questions(7),
            "[{...}, {...}, {...}, {...}, {...}, {...}, ...] will not do (List should have at most 6",
        ),
        ({"ask": "x"}, "{'ask': 'x'} will not do (Input should be a valid list). Correct it."),
        ("- ask: [", "this cannot be read as YAML ("),
        (broken(lambda q: q.pop("ask")), "question 2, 'ask': this is missing. Add it."),
        (
            broken(lambda q: q.update(hint="x")),
            "question 2, 'hint': this is not known. Take it away, or correct its name.",
        ),
        (
            broken(lambda q: q.update(ask=3)),
            "question 2, 'ask': 3 is not a text. Write one, in quotes if need be.",
        ),
        (
            broken(lambda q: q.update(answers=q["answers"][:1])),
            "question 2, 'answers': [{...}] will not do (List should have at least 2 items",
        ),
        (
            broken(lambda q: q["answers"][0].update(right=True)),
            "question 2: 2 answers are right, and one must be.",
        ),
        (
            broken(lambda q: q["answers"][1].pop("right")),
            "question 2: 0 answers are right, and one must be.",
        ),
        (
            broken(lambda q: q["answers"][2].pop("why")),
            "question 2, answer 3: a wrong answer says why it is wrong. Add 'why'.",
        ),
        (
            broken(lambda q: q["answers"][2].update(why=" ")),
            "question 2, answer 3, 'why': ' ' will not do (String should have at least 1 character).",
        ),
        (
            broken(lambda q: q["answers"][2].update(text=False)),
            "question 2, answer 3, 'text': False is not a text. Write one, in quotes if need be.",
        ),
        (
            broken(lambda q: q["answers"][2].update(right="yes")),
            "question 2, answer 3, 'right': 'yes' will not do (Input should be a valid boolean). Correct it.",
        ),
        (
            broken(lambda q: q["answers"][2].update(hint="x")),
            "question 2, answer 3, 'hint': this is not known.",
        ),
        (
            broken(lambda q: q["answers"][2].update(text="None")),
            "question 2: two answers are the same. Change one.",
        ),
    ],
)
def test_a_broken_rule_names_the_question_and_what_to_do(write_quiz, held, message):
    path = write_quiz(held)
    with pytest.raises(Unfit) as refused:
        quiz.read(path)
    assert str(refused.value).startswith(f"{path}:1: {message}")


def test_the_right_answer_must_not_always_stand_in_the_same_place(write_quiz):
    held = questions()
    for question in held:
        question["answers"].sort(key=lambda answer: not answer.get("right", False))
    told = "every right answer is answer 1. Put some of them elsewhere."
    with pytest.raises(Unfit, match=rf":1: {told}$"):
        quiz.read(write_quiz(held))


def test_the_line_that_is_no_yaml_is_named(write_quiz):
    with pytest.raises(Unfit, match=r"quiz\.yml:3: this cannot be read as YAML"):
        quiz.read(write_quiz("- ask: one\n  answers: [\n"))


def test_a_build_refuses_a_quiz_that_breaks_a_rule(write_quiz):
    path = write_quiz(questions(3))
    chapter = replace(parse(contract.find("01")), path=path.with_name("lesson.py"))
    (problem,) = rules._quiz(chapter)
    assert str(problem).startswith(f"{path}:1: [{{...}}, {{...}}, {{...}}] will not do (List should have")


def test_the_quizzes_of_the_book_keep_the_rules():
    paths = sorted(contract.folder().glob("*/quiz.yml"))
    assert len(paths) == len(contract.lessons())
    assert all(quiz.read(path) for path in paths)
