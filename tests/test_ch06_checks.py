"""The checks of chapter 06: the blank, the chapter's own solution, and what wrong answers are told."""

import hashlib
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from medallion import checks
from medallion.checks import ch06
from medallion.errors import MedallionError

NOT_DONE = "Not done yet: replace each ... above with your answer, run that cell, then this one."


@pytest.fixture(autouse=True)
def _no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDALLION_PROGRESS", "off")


@pytest.fixture(scope="module")
def chapter(run_cells: Callable[..., dict[str, Any]]) -> SimpleNamespace:
    """The chapter's solutions, without its setup: no exercise of it needs Spark."""
    return SimpleNamespace(**run_cells("06", "solution", pd=pd))


def wrong(verdict: checks.Verdict) -> str:
    """Return what a wrong answer is told; another verdict fails the test."""
    assert verdict.state == "wrong", verdict
    return verdict.message


@pytest.mark.parametrize("exercise", checks.exercises("06"), ids=lambda exercise: exercise.number)
def test_three_hints_and_no_fourth(exercise: checks.Exercise) -> None:
    assert len({exercise.hint(level).message for level in (1, 2, 3)}) == 3
    with pytest.raises(MedallionError, match="There is no hint 4"):
        exercise.hint(4)


@pytest.mark.parametrize("name", ["complaints", "side", "judged", "patient"])
def test_blank_and_solution(chapter: SimpleNamespace, name: str) -> None:
    def blank(*_: object) -> object: ...

    exercise = getattr(ch06, name)
    assert (exercise(blank).state, exercise(blank).message) == ("open", NOT_DONE)
    assert exercise(getattr(chapter, name)).ok


# 6.1 ---------------------------------------------------------------------------------------------


def faults(row: dict[str, Any], required: list[str], optional: list[str], **change: Any) -> list[str]:
    """Return the faults of a request, with one condition changed."""
    names = [*required, *optional]
    found = [f"{name} is missing" for name in change.get("looked_for", names) if name not in row]
    found += [f"{name} is not known" for name in row if name not in names]
    for name, value in row.items():
        empty = value is None or (value != value and not change.get("nan"))
        if name not in names:
            continue
        if empty:
            found += [f"{name} must have a value"] if name in required or change.get("strict") else []
        elif (isinstance(value, bool) and not change.get("bool")) or not isinstance(value, int | float):
            found.append(f"{name} is no number")
    return found if change.get("unsorted") else sorted(found)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"strict": True},
            "For the row {'orders': 0, 'spend': 0.0, 'gap': None}, where orders and "
            "spend are required and gap "
            "is optional, you say 'gap must have a value', and that is no fault.",
        ),
        (
            {"nan": True},
            "For the row {'orders': nan, 'spend': 12.5, 'gap': 2.0}, where orders and spend are required and "
            "gap is optional, you do not say 'orders must have a value'.",
        ),
        (
            {"looked_for": ["orders", "spend"]},
            "For the row {'orders': 3, 'spend': 12.5}, where orders and spend are "
            "required and gap is optional, "
            "you do not say 'gap is missing'.",
        ),
        (
            {"bool": True},
            "For the row {'orders': True, 'spend': 12.5, 'gap': 2.0}, where orders "
            "and spend are required and "
            "gap is optional, you do not say 'orders is no number'.",
        ),
        (
            {"unsorted": True},
            "For the row {'orders': None, 'gap': 'two', 'shoe': 44}, where orders and spend are required and "
            "gap is optional, the sentences are right, and not sorted, or one comes twice.",
        ),
    ],
)
def test_complaints_wrong(change: dict[str, Any], told: str) -> None:
    def answer(row: dict[str, Any], required: list[str], optional: list[str]) -> list[str]:
        return faults(row, required, optional, **change)

    assert wrong(ch06.complaints(answer)) == told


# 6.2 ---------------------------------------------------------------------------------------------


def place(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def drawn(customer_id: str, share: float) -> str:
    return "challenger" if random.random() < share else "champion"


def by_hash(customer_id: str, share: float) -> str:
    return "challenger" if hash(customer_id) % 1000 < 1000 * share else "champion"


def other_each_time(customer_id: str, share: float) -> str:
    return "challenger" if place(f"{customer_id}{share}") < share else "champion"


def the_other_way(customer_id: str, share: float) -> str:
    return "champion" if place(customer_id) < share else "challenger"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (drawn, "Asked twice at the share 0.1, "),
        (
            by_hash,
            "Your code raised ValueError: Python's hash of a text is another in each "
            "process; take one of hashlib.",
        ),
        (other_each_time, "C000"),
        (
            the_other_way,
            "At the share 0, 2000 of 2000 customers are with the challenger; it should be about 0.",
        ),
        (
            lambda customer_id, share: place(customer_id) < share,
            'Your function returned False. It should return "challenger" or "champion".',
        ),
    ],
)
def test_side_wrong(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch06.side(answer)).startswith(told)


# 6.3 ---------------------------------------------------------------------------------------------


def join(log: Any, labels: Any, day: str, on: Any = ("customer_id", "asked_at"), how: str = "inner") -> Any:
    known = labels[labels["known_at"] <= pd.Timestamp(day)].rename(columns={"cutoff": "asked_at"})
    return log.merge(known[[*on, "churned"]], on=list(on), how=how)


def all_labels(log: Any, labels: Any, day: str) -> Any:
    return join(log, labels, "2099-01-01")


def before_the_day(log: Any, labels: Any, day: str) -> Any:
    return join(log, labels, "2025-12-28")


def by_customer(log: Any, labels: Any, day: str) -> Any:
    return join(log, labels, day, on=("customer_id",))


def unlabelled_too(log: Any, labels: Any, day: str) -> Any:
    return join(log, labels, day, how="left")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            all_labels,
            "The answer of version 1 to C2 on 2025-12-11 comes out with the label 1, "
            "but its label is not known yet on 2025-12-29.",
        ),
        (
            before_the_day,
            "The answer of version 1 to C1 on 2025-11-27 is missing; its label is "
            "known at midnight of the day.",
        ),
        (
            by_customer,
            "The answer of version 1 to C1 on 2025-11-13 comes out 2 times: "
            "join by the customer and the moment.",
        ),
        (
            unlabelled_too,
            "The answer of version 1 to C2 on 2025-12-11 comes out with the label nan, "
            "but its label is not known yet on 2025-12-29.",
        ),
    ],
)
def test_judged_wrong(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch06.judged(answer)) == told


# 6.4 ---------------------------------------------------------------------------------------------


def trying(send: Any, fallback: Any, attempts: int, wait: Any, **change: Any) -> Any:
    """Try, with one condition changed."""
    for attempt in range(attempts):
        if attempt and not change.get("waits_after"):
            wait(change.get("pause") or 2 ** (attempt - 1))
        try:
            status, result = send()
        except change.get("caught", (ConnectionError, TimeoutError)):
            if change.get("waits_after"):
                wait(2**attempt)
            continue
        if status == 200:
            return result
        if 400 <= status <= 499 and not change.get("stubborn"):
            raise ValueError(result)
    return fallback()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"pause": 1},
            "For an endpoint that is slow twice you wait [1, 1]; it should be [1, 2].",
        ),
        (
            {"waits_after": True},
            "For an endpoint that answers 503, then 200 you wait []; it should be [1].",
        ),
        (
            {"caught": ConnectionError},
            "For an endpoint that is slow twice, TimeoutError comes out. Catch it and try again.",
        ),
        (
            {"stubborn": True},
            "For a request that is wrong (400) and 3 attempts, send is called more than 1 times.",
        ),
    ],
)
def test_patient_wrong(change: dict[str, Any], told: str) -> None:
    def answer(send: Any, fallback: Any, attempts: int, wait: Any) -> Any:
        return trying(send, fallback, attempts, wait, **change)

    assert wrong(ch06.patient(answer)) == told
