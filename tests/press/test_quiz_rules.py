"""The rules of a quiz, each broken once."""

from dataclasses import replace

import pytest
import yaml

from medallion import contract
from press.source import quiz, rules
from press.source.chapter import parse


def questions(count=4):
    return [
        {
            "ask": f"Which rows does `total > 0` lose in case {n}, and *why* < that?",
            "answers": [
                {"text": "None", "why": "NULL is neither above nor below."},
                {"text": "The NULLs", "right": True, "why": "They are unknown."},
                {"text": "All & more", "why": "Most have a total."},
                {"text": "Those of today", "why": "The day does not matter."},
            ][:: -1 if n % 3 == 2 else 1],
        }
        for n in range(count)
    ]


@pytest.fixture
def write(tmp_path):
    """Return a function that writes questions to a quiz file and returns its path."""

    def written(held):
        path = tmp_path / "98_sample" / "quiz.yml"
        path.parent.mkdir(exist_ok=True)
        text = held if isinstance(held, str) else yaml.safe_dump(held, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        return path

    return written


def broken(change):
    held = questions()
    change(held[1])
    return held


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (questions(3), "a quiz is a list of 4 to 6 questions, and this has 3. Write the questions."),
        (questions(7), "a quiz is a list of 4 to 6 questions, and this has 7. Write the questions."),
        ({"ask": "x"}, "a quiz is a list of 4 to 6 questions, and this has 0. Write the questions."),
        ("- ask: [", "this is not YAML ("),
        (
            broken(lambda q: q.pop("ask")),
            "question 2: a question has 'ask' and 'answers', and nothing else.",
        ),
        (broken(lambda q: q.update(hint="x")), "question 2: a question has 'ask' and 'answers'"),
        (
            broken(lambda q: q.update(ask=3)),
            "question 2: 'ask' is 3, not a text. Write one, in quotes if need be.",
        ),
        (
            broken(lambda q: q.update(answers=q["answers"][:1])),
            "question 2: a question has 2 to 6 answers.",
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
            "question 2, answer 3: 'why' is ' ', not a text.",
        ),
        (
            broken(lambda q: q["answers"][2].update(text=False)),
            "question 2, answer 3: 'text' is False, not a text.",
        ),
        (
            broken(lambda q: q["answers"][2].update(right="yes")),
            "question 2, answer 3: 'right' is 'yes'. Write true, or leave it out.",
        ),
        (
            broken(lambda q: q["answers"][2].update(hint="x")),
            "question 2, answer 3: an answer has 'text', 'why' and perhaps",
        ),
        (
            broken(lambda q: q["answers"][2].update(text="None")),
            "question 2: two answers are the same. Change one.",
        ),
    ],
)
def test_a_broken_rule_names_the_question_and_what_to_do(write, held, message):
    line, text = quiz.wrong(write(held))
    assert line == 1 and text.startswith(message)


def test_the_right_answer_must_not_always_stand_in_the_same_place(write):
    held = questions()
    for question in held:
        question["answers"].sort(key=lambda answer: not answer.get("right", False))
    told = "every right answer is answer 1. Put some of them elsewhere."
    assert quiz.wrong(write(held)) == (1, told)


def test_the_line_that_is_no_yaml_is_named(write):
    assert quiz.wrong(write("- ask: one\n  answers: [\n"))[0] == 3


def test_a_build_refuses_a_quiz_that_breaks_a_rule(write):
    path = write(questions(3))
    chapter = replace(parse(contract.find("01")), path=path.with_name("lesson.py"))
    (problem,) = rules._quiz(chapter)
    assert str(problem) == (
        f"{path}:1: a quiz is a list of 4 to 6 questions, and this has 3. Write the questions."
    )


def test_the_quizzes_of_the_book_keep_the_rules():
    paths = sorted(contract.folder().glob("*/quiz.yml"))
    assert len(paths) == len(contract.lessons())
    assert [quiz.wrong(path) for path in paths] == [None] * len(paths)
