"""Every exercise of every chapter: its blank, its hints, and what answers other than the solution are told.

The solution is checked where `medallion test` replays the notebooks, on the tables of the course.

The rows of a chapter stand beside its lesson, in `wrong_answers.py`; each names an exercise as `checks.py`
does:

| list | a row | what must come |
|---|---|---|
| `WRONG` | exercise, answer, message | the verdict "wrong" with the message; `…` at its end is any rest |
| `RIGHT` | exercise, answer | the verdict "right": another style, other types, another order |
| `MADE` | exercise, function, message | as `WRONG`; the function makes the answer of the chapter's names |
| `MADE_RIGHT` | exercise, function | as `RIGHT`; the function makes the answer of the chapter's names |

Each exercise has five wrong answers or more, and two that are right in a style other than the lesson's.

`NEEDS` lists names of the lesson that its solutions or rows use, beside what the lesson imports, `spark` and
`check`: the cells that bind them run first. `setup` among them stands for the setup cells, for a lesson whose
rows need one that binds no name. What the check takes beside the answer comes from the lesson's own cell.
"""

import ast
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession

import medallion
from medallion import contract
from medallion.errors import MedallionError
from medallion.lakehouse import tables
from medallion.lesson import checks
from press.source.chapter import Cell, parse
from press.source.starter import starter

NOT_DONE = "Not done yet: replace each ... above with your answer, run that cell, then this one."
# `medallion test 05` asks for the rows of these chapters only
NUMBERS = os.environ.get("MEDALLION_TEST_CHAPTERS", ",".join(contract.chapters())).split(",")

pytestmark = pytest.mark.usefixtures("no_progress", "interpreted")


@cache
def rows(number: str) -> ModuleType:
    """Return the answers of a chapter, which Python workers get by value, as its checks."""
    return checks.from_file(contract.find(number).with_name("wrong_answers.py"))


@cache
def exercises(number: str) -> dict[str, tuple[Cell, ast.Call]]:
    """Return the exercises of a lesson by the name of their check: the cell to answer in, and the call."""
    found, answer = {}, None
    for cell in parse(contract.find(number)).cells:
        if cell.role == "solution":
            answer = cell
        elif cell.role == "check" and cell.kind == "code":
            call = ast.parse(cell.source, mode="eval").body
            assert answer and isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
            found[call.func.attr] = answer, call
    return found


def imports(number: str) -> str:
    """Return the import statements of a lesson, without those of this package."""
    code = "\n".join(cell.source for cell in parse(contract.find(number)).cells if cell.kind == "code")
    found = [node for node in ast.parse(code).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(ast.unparse(node) for node in found if "medallion" not in ast.unparse(node))


@pytest.fixture(scope="module")
def lessons(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> Iterator[Callable[..., Any]]:
    """A function that returns the names of a lesson: its imports, what it needs, and its solutions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "require", lambda number: None)
        # A lesson may import pandas on Spark, which sets this for good, also for the tests after us.
        patch.setenv("PYARROW_IGNORE_TIMEZONE", "1")

        @cache
        def names(number: str) -> SimpleNamespace:
            given: dict[str, Any] = {"spark": spark}
            exec(imports(number), given)
            check = SimpleNamespace(**vars(medallion.checks(number)))
            needs = getattr(rows(number), "NEEDS", ())
            given["check"] = check
            return SimpleNamespace(**run_cells(number, "solution", *needs, defining=needs, **given))

        yield names


def verdict(lesson: SimpleNamespace, number: str, name: str, answer: Any) -> checks.Verdict:
    """Return what the check says of an answer in the place of the lesson's own."""
    _, call = exercises(number)[name]
    rest = [eval(ast.unparse(argument), vars(lesson)) for argument in call.args[1:]]
    said = getattr(medallion.checks(number), name)(answer, *rest)
    spark = getattr(lesson, "spark", None)
    assert spark in (None, SparkSession.getActiveSession()), "The check left another session active."
    assert not list(medallion.scratch().glob("check_*")), "The check left a table."
    return said


EXERCISES = [(number, name) for number in NUMBERS for name in exercises(number)]
EACH = pytest.mark.parametrize(("number", "name"), EXERCISES, ids=lambda value: value)


def told(kind: str) -> Any:
    """Return the mark for a test of every row of one kind: `WRONG`, `RIGHT`, `MADE` or `MADE_RIGHT`."""
    found = [(number, *row) for number in NUMBERS for row in getattr(rows(number), kind, ())]
    ids = [
        f"{number}-{name}-{getattr(answer, '__name__', place)}"
        for place, (number, name, answer, *_) in enumerate(found)
    ]
    names = ("number", "name", "answer", "message")
    return pytest.mark.parametrize(names[: 3 if kind.endswith("RIGHT") else 4], found, ids=ids)


@EACH
def test_the_blank_is_open(lessons: Any, number: str, name: str) -> None:
    lesson, (cell, call) = lessons(number), exercises(number)[name]
    blank = dict(vars(lesson))
    exec(starter(cell.source), blank)
    opened = verdict(lesson, number, name, eval(ast.unparse(call.args[0]), blank))
    assert (opened.state, opened.message) == ("open", NOT_DONE)


@EACH
def test_three_hints_and_no_fourth(number: str, name: str) -> None:
    exercise = getattr(medallion.checks(number), name)
    assert len({exercise.hint(level).message for level in (1, 2, 3)}) == 3
    for level in (0, 4):
        with pytest.raises(MedallionError) as refused:
            exercise.hint(level)
        assert str(refused.value) == f"There is no hint {level}. Ask for hint 1, 2 or 3."


def assert_wrong(said: checks.Verdict, message: str) -> None:
    assert said.state == "wrong", said
    if message.endswith("…"):
        assert said.message.startswith(message[:-1])
    else:
        assert said.message == message


@told("WRONG")
def test_a_wrong_answer_is_told(lessons: Any, number: str, name: str, answer: Any, message: str) -> None:
    assert_wrong(verdict(lessons(number), number, name, answer), message)


@told("MADE")
def test_a_wrong_answer_that_is_made(lessons: Any, number: str, name: str, answer: Any, message: str) -> None:
    lesson = lessons(number)
    assert_wrong(verdict(lesson, number, name, answer(lesson)), message)


@told("RIGHT")
def test_another_right_answer(lessons: Any, number: str, name: str, answer: Any) -> None:
    said = verdict(lessons(number), number, name, answer)
    assert said.ok, said


@told("MADE_RIGHT")
def test_another_right_answer_that_is_made(lessons: Any, number: str, name: str, answer: Any) -> None:
    lesson = lessons(number)
    said = verdict(lesson, number, name, answer(lesson))
    assert said.ok, said


@pytest.mark.parametrize(("kinds", "least"), [(("WRONG", "MADE"), 5), (("RIGHT", "MADE_RIGHT"), 2)])
@pytest.mark.parametrize("number", NUMBERS)
def test_each_exercise_has_answers_enough(number: str, kinds: tuple[str, str], least: int) -> None:
    module = rows(number)
    counted = Counter(name for kind in kinds for name, *_ in getattr(module, kind, ()))
    assert set(counted) == set(exercises(number))
    assert {name: count for name, count in counted.items() if count < least} == {}
