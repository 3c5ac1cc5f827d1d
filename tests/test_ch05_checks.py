"""The checks of chapter 05: the blank, the chapter's own solution, and what wrong answers are told."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from verdicts import NOT_DONE, wrong

import medallion

ch05 = medallion.checks("05")

pytestmark = pytest.mark.usefixtures("no_progress")


@pytest.fixture(scope="module")
def chapter(run_cells: Callable[..., dict[str, Any]]) -> SimpleNamespace:
    """The chapter's solutions, without its setup: no exercise of it needs Spark."""
    return SimpleNamespace(**run_cells("05", "solution", np=np, pd=pd))


@pytest.mark.parametrize("name", ["split", "worth_writing", "failed_gates", "psi", "expected_average"])
def test_blank_and_solution(chapter: SimpleNamespace, name: str) -> None:
    def blank(*_: object) -> object: ...

    exercise = getattr(ch05, name)
    assert (exercise(blank).state, exercise(blank).message) == ("open", NOT_DONE)
    assert exercise(getattr(chapter, name)).ok


# 5.1 ---------------------------------------------------------------------------------------------


def by_cutoff(table: pd.DataFrame, day: str) -> Any:
    return table[table["cutoff"] < day], table[table["cutoff"] >= day]


def not_that_day(table: pd.DataFrame, day: str) -> Any:
    return table[table["known_at"] < day], table[table["cutoff"] >= day]


def later_only(table: pd.DataFrame, day: str) -> Any:
    return table[table["known_at"] <= day], table[table["cutoff"] > day]


def the_rest(table: pd.DataFrame, day: str) -> Any:
    return table[table["known_at"] <= day], table[table["known_at"] > day]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            by_cutoff,
            "For the day 2025-11-27 the row with cutoff 2025-11-13, known on 2025-12-15, is in train; "
            "it belongs to neither, because its label is not known yet, and its cutoff is past.",
        ),
        (
            not_that_day,
            "For the day 2025-11-27 the row with cutoff 2025-10-26, known on 2025-11-27, is in neither; "
            "it belongs to train, because its label is known at midnight of the day.",
        ),
        (
            later_only,
            "For the day 2025-11-27 the row with cutoff 2025-11-27, known on 2025-12-29, is in neither; "
            "it belongs to test, because its cutoff is that day.",
        ),
        (
            the_rest,
            "For the day 2025-11-27 the row with cutoff 2025-11-13, known on 2025-12-15, is in test; "
            "it belongs to neither, because its label is not known yet, and its cutoff is past.",
        ),
        (
            lambda table, day: by_cutoff(table, day)[0],
            "Your function returned",
        ),
    ],
)
def test_split_wrong(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch05.split(answer)).startswith(told)


# 5.2 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            lambda p, cost, back, worth: p * back * worth >= cost,
            "With cost 1, back 0.25 and worth 8, a customer with probability 0.5 brings 1 on average; "
            "you say write.",
        ),
        (
            lambda p, cost, back, worth: p * worth > cost,
            "With cost 1, back 0.25 and worth 8, a customer with probability 0.25 brings 0.5 on average; "
            "you say write.",
        ),
        (
            lambda p, cost, back, worth: p > 0.4,
            "With cost 1, back 0.25 and worth 8, a customer with probability 0.5 brings 1 on average; "
            "you say write.",
        ),
        (
            lambda p, cost, back, worth: True,
            "Your function returned True. It should return 5 answers, one for each probability.",
        ),
    ],
)
def test_worth_writing_wrong(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch05.worth_writing(answer)) == told


# 5.3 ---------------------------------------------------------------------------------------------


def gates(champion: dict[str, Any], challenger: dict[str, Any], **change: Any) -> list[str]:
    """Return the failed gates, with one condition changed."""
    failed = []
    if challenger["pr_auc"] < champion["pr_auc"]:
        failed.append("metric")
    if challenger["profit"] < champion["profit"]:
        failed.append("value")
    order = change.get("columns", set)
    if order(challenger["columns"]) != order(champion["columns"]):
        failed.append("signature")
    bound = change.get("bound", 0.02)
    missing = change.get("missing", 0)
    slices = challenger["slices"]
    if any(slices.get(group, missing) < before - bound for group, before in champion["slices"].items()):
        failed.append("slice")
    return failed if change.get("unsorted") else sorted(failed)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"columns": list},
            "For a challenger that takes the same columns in another order the failed gates are []; "
            "yours are ['signature'].",
        ),
        (
            {"bound": 0},
            "For a challenger whose slice 'new' is lower by 0.01 the failed gates are []; "
            "yours are ['slice'].",
        ),
        (
            {"missing": 1},
            "For a challenger that lacks the slice 'old' the failed gates are ['slice']; yours are [].",
        ),
        (
            {"unsorted": True},
            "For a challenger that fails all four the gates are right, and not sorted: "
            "['metric', 'value', 'signature', 'slice'].",
        ),
    ],
)
def test_gates_wrong(change: dict[str, Any], told: str) -> None:
    def answer(champion: dict[str, Any], challenger: dict[str, Any]) -> list[str]:
        return gates(champion, challenger, **change)

    assert wrong(ch05.failed_gates(answer)) == told


# 5.4 ---------------------------------------------------------------------------------------------


def index(
    expected: Any, actual: Any, edges: Sequence[float], more: float = 0.5, side: Any = "right", sign: int = 1
) -> float:
    shares = []
    for values in (expected, actual):
        counts = np.bincount(np.searchsorted(edges, values, side=side), minlength=len(edges) + 1) + more
        shares.append(counts / counts.sum())
    e, a = shares
    return float(sign * np.sum((a - e) * np.log(a / e)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"more": 1e-9},
            "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0]) the index "
            "is 0.6778; yours is 1.0986.",
        ),
        (
            {"side": "left"},
            "For a value that equals an edge (expected [1, 1, 3, 3], actual [2, 2, 3, 3], edges [2.0]) the "
            "index is 0.8789; yours is 0.0000.",
        ),
        (
            {"sign": -1},
            "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0]) the index "
            "is 0.6778; yours is -0.6778.",
        ),
    ],
)
def test_psi_wrong(change: dict[str, Any], told: str) -> None:
    def answer(expected: Any, actual: Any, edges: Any) -> float:
        return index(expected, actual, edges, **change)

    assert wrong(ch05.psi(answer)) == told


# 5.5 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            lambda x, mean, p, q, v: (
                p * x / (p * x + q - 1) * mean + (1 - p * x / (p * x + q - 1)) * p * v / (q - 1)
            ),
            "Of a customer without a repeat purchase you expect nan, with p = 6.25, q = 3.74, v = 15.44. "
            "Nothing is known of this customer, so it should be everybody's average, 35.22.",
        ),
        (
            lambda x, mean, p, q, v: np.where(x > 0, mean, p * v / (q - 1)),
            "Of a customer with 1 repeat purchase of 100.00 dollars on average you expect 100.00, with "
            "p = 6.25, q = 3.74, v = 15.44: their own average has the weight 1.00 in it. "
            "It should be 0.70, and the "
            "result 80.26.",
        ),
        (
            lambda x, mean, p, q, v: p * v / (q - 1),
            "For 5 customers you return 1 number; return one for each.",
        ),
    ],
)
def test_expected_average_wrong(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch05.expected_average(answer)) == told
