"""The checks of chapter 00: the blank, the chapter's own solution, and what wrong answers are told."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession
from verdicts import NOT_DONE

from medallion.lesson import checks


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> SimpleNamespace:
    return SimpleNamespace(**run_cells("00", "setup", "solution"))


def test_the_solutions_are_right(chapter: SimpleNamespace) -> None:
    first = chapter.check.before_the_change(chapter.before)
    second = chapter.check.who_spent_most(chapter.spent)
    assert (
        repr(first) == "✓ Exercise 0.1. Order 4 costs 890 cents again: this is the table before the update."
    )
    assert repr(second) == "✓ Exercise 0.2. Ada spent most: 34.49 euros in two orders."


@pytest.mark.parametrize("exercise", checks.exercises("00"), ids=lambda exercise: exercise.number)
def test_the_blank_is_not_done(exercise: checks.Exercise) -> None:
    verdict = exercise(...)
    assert (verdict.state, verdict.message) == ("open", NOT_DONE)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            "SELECT * FROM scratch.orders",
            "Order 4 costs 990 cents in your answer: that is after the update.",
        ),
        (
            "SELECT * FROM scratch.orders VERSION AS OF 0 WHERE total_cents > 500",
            "There are 3 orders in your answer; version 0 has 4.",
        ),
        (
            "SELECT * FROM scratch.orders VERSION AS OF 0 UNION ALL SELECT * FROM scratch.orders",
            "There are 8 orders in your answer; version 0 has 4.",
        ),
        (
            "SELECT order_id, customer, total_cents - 1 AS total_cents FROM scratch.orders VERSION AS OF 0",
            "Order 4 costs 889 cents in your answer; version 0 says something else.",
        ),
    ],
)
def test_wrong_answers_to_0_1(chapter: SimpleNamespace, spark: SparkSession, answer: str, told: str) -> None:
    verdict = chapter.check.before_the_change(spark.sql(answer))
    assert (verdict.state, verdict.message) == ("wrong", told)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            "SELECT customer, sum(total_cents) AS spent_cents FROM scratch.orders GROUP BY ALL ORDER BY 2",
            "Ben with 480 cents comes before Cleo with 990: sort by spent_cents, largest first.",
        ),
        (
            "SELECT customer, sum(total_cents) AS spent_cents FROM scratch.orders GROUP BY ALL ORDER BY 1",
            "Ben with 480 cents comes before Cleo with 990: sort by spent_cents, largest first.",
        ),
        (
            "SELECT customer, count(*) AS spent_cents FROM scratch.orders GROUP BY ALL ORDER BY 2 DESC",
            "Ada spent 3449 cents; your answer says 2. Add up total_cents of the table as it is now.",
        ),
        (
            "SELECT customer, sum(total_cents) AS spent_cents FROM scratch.orders VERSION AS OF 0 "
            "GROUP BY ALL",
            "Cleo spent 990 cents; your answer says 890. Add up total_cents of the table as it is now.",
        ),
        (
            "SELECT customer, total_cents AS spent_cents FROM scratch.orders ORDER BY 2 DESC",
            "Ada is in 2 rows; group the orders by customer.",
        ),
        (
            "SELECT customer, sum(total_cents) AS spent_cents FROM scratch.orders WHERE total_cents > 500 "
            "GROUP BY ALL ORDER BY 2 DESC",
            "Ben has ordered and is not in your answer.",
        ),
        (
            "SELECT customer, sum(total_cents) AS spent_cents FROM scratch.orders GROUP BY ROLLUP (customer) "
            "ORDER BY 2 DESC",
            "A row is for the customer None, who has not ordered.",
        ),
        (
            "SELECT customer, sum(total_cents) AS spent FROM scratch.orders GROUP BY ALL ORDER BY 2 DESC",
            "The columns are customer, spent; they should be customer, spent_cents.",
        ),
    ],
)
def test_wrong_answers_to_0_2(chapter: SimpleNamespace, spark: SparkSession, answer: str, told: str) -> None:
    verdict = chapter.check.who_spent_most(spark.sql(answer))
    assert (verdict.state, verdict.message) == ("wrong", told)


def test_an_answer_of_another_kind_is_told_what_is_expected(chapter: SimpleNamespace) -> None:
    verdict = chapter.check.before_the_change(890)
    assert verdict.message == (
        "The check cannot use this answer (AttributeError: 'int' object has no attribute 'collect'). "
        "It expects a DataFrame, such as spark.read.table(...) returns."
    )
