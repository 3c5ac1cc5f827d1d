"""The checks of chapter 07: the blank, the chapter's own solution, and what wrong answers are told."""

import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from verdicts import NO_RETURN, NOT_DONE, wrong

import medallion
from medallion.lakehouse import tables

ch07 = medallion.checks("07")

ANSWERS = ("dropped", "declined", "reason", "keep_alerts", "silences")


pytestmark = pytest.mark.usefixtures("no_progress")


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> Iterator[SimpleNamespace]:
    """The chapter's first cell, which binds spark, and its solutions. None of them reads a table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "require", lambda number: None)
        yield SimpleNamespace(**run_cells("07", "solution", defining=("spark",)))


def nothing(*_: object) -> None:
    """A function that does something and forgets to return it."""
    str(_)


@pytest.mark.parametrize("name", ANSWERS)
def test_blank_and_solution(chapter: SimpleNamespace, name: str) -> None:
    def blank(*_: object) -> object: ...

    exercise = getattr(ch07, name)
    assert (exercise(blank).state, exercise(blank).message) == ("open", NOT_DONE)
    assert exercise(getattr(chapter, name)).ok


# 7.1 ---------------------------------------------------------------------------------------------

Batches = list[list[float]]


def by_the_last_batch(batches: Batches, delay: float) -> int:
    latest, count = float("-inf"), 0
    for batch in batches:
        count += sum(time <= latest - delay for time in batch)
        latest = max([latest, *batch])
    return count


def keeps_the_watermark(batches: Batches, delay: float) -> int:
    latest, count = [float("-inf")] * 2, 0
    for batch in batches:
        count += sum(time < latest[-2] - delay for time in batch)
        latest.append(max([latest[-1], *batch]))
    return count


def goes_back(batches: Batches, delay: float) -> int:
    latest, count = [float("-inf")] * 2, 0
    for batch in batches:
        count += sum(time <= latest[-2] - delay for time in batch)
        latest.append(max(batch, default=latest[-1]))
    return count


def empty_fails(batches: Batches, delay: float) -> int:
    latest, count = [float("-inf")] * 2, 0
    for batch in batches:
        count += sum(time <= latest[-2] - delay for time in batch)
        latest.append(max(latest[-1], max(batch)))
    return count


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            by_the_last_batch,
            "For a time that is late in the second batch, [[100], [10]] with a delay of 20, 0 are dropped; "
            "you say 1.",
        ),
        (
            keeps_the_watermark,
            "For a time that is exactly the watermark, [[100], [101], [80], [130]] with a delay of 20, 1 are "
            "dropped; you say 0.",
        ),
        (
            goes_back,
            "For a latest time that comes early and is not reached again, [[100], [50, 90], [60], [75]] "
            "with a delay of 20, 2 are dropped; you say 1.",
        ),
        (
            nothing,
            "Your function returned nothing. Does it end with return? It should return a whole number.",
        ),
    ],
)  # fmt: skip
def test_dropped_wrong(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch07.dropped(answer)) == told


def test_dropped_that_raises() -> None:
    told = wrong(ch07.dropped(empty_fails))
    assert told.startswith("Your code raised ValueError: ")
    assert ": latest.append(" in told


# 7.2 ---------------------------------------------------------------------------------------------


def of_all(payments: DataFrame) -> DataFrame:
    return payments.groupBy(F.window("paid_at", "10 minutes")).agg(F.count("*").alias("declined"))


def with_zeros(payments: DataFrame) -> DataFrame:
    count = F.count_if(F.col("status") == "declined").alias("declined")
    return payments.groupBy(F.window("paid_at", "10 minutes")).agg(count)


def sliding(payments: DataFrame) -> DataFrame:
    window = F.window("paid_at", "10 minutes", "5 minutes")
    return payments.where("status = 'declined'").groupBy(window).agg(F.count("*").alias("declined"))


def unnamed(payments: DataFrame) -> DataFrame:
    return payments.where("status = 'declined'").groupBy(F.window("paid_at", "10 minutes")).count()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (of_all, "For three payments in one window there should be 10:00 with 2; you return 10:00 with 3."),
        (
            with_zeros,
            "For a window with authorised payments only there should be no window; you return 10:20 with 0.",
        ),
        (
            sliding,
            "For three payments in one window there should be 10:00 with 2; you return 09:55 with 1, "
            "10:00 with 2, 10:05 with 1.",
        ),
        (unnamed, "The column declined is missing; yours are window, count."),
        (nothing, NO_RETURN),
    ],
)
def test_declined_wrong(spark: SparkSession, answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch07.declined(answer)) == told


# 7.3 ---------------------------------------------------------------------------------------------

MISSING = "payment_id IS NULL OR paid_at IS NULL OR received_at IS NULL"
FUTURE = "paid_at > received_at + INTERVAL 5 MINUTES"
OLD = "paid_at < received_at - INTERVAL 7 DAYS"


def reasons(*cases: tuple[str, str]) -> Callable[[DataFrame], DataFrame]:
    sql = " ".join(f"WHEN {condition} THEN '{name}'" for condition, name in cases)
    return lambda payments: payments.withColumn("reason", F.expr(f"CASE {sql} END"))


UNREADABLE, DEVICE = (MISSING, "unreadable"), ("device_id IS NULL", "no_device")
AMOUNT = ("coalesce(amount_cents, 0) <= 0", "no_amount")
BEFORE, AFTER = (OLD, "old"), (FUTURE, "future")


def only_good(payments: DataFrame) -> DataFrame:
    return payments.where(f"NOT ({MISSING})").withColumn("reason", F.lit(None).cast("string"))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            reasons(UNREADABLE, DEVICE, ("amount_cents <= 0", "no_amount"), AFTER, BEFORE),
            "For a payment without an amount the reason is no_amount; yours is None.",
        ),
        (
            reasons(UNREADABLE, DEVICE, ("coalesce(amount_cents, 0) < 0", "no_amount"), AFTER, BEFORE),
            "For a payment of 0 the reason is no_amount; yours is None.",
        ),
        (
            reasons(UNREADABLE, AMOUNT, DEVICE, AFTER, BEFORE),
            "For a payment without a device and without an amount the reason is no_device; yours is "
            "no_amount.",
        ),
        (
            reasons(UNREADABLE, DEVICE, AMOUNT, ("paid_at > received_at", "future"), BEFORE),
            "For a payment made five minutes after it arrived the reason is None; yours is future.",
        ),
        (
            reasons(UNREADABLE, DEVICE, AMOUNT, AFTER),
            "For a payment made eight days before it arrived the reason is old; yours is None.",
        ),
        (only_good, "12 payments went in, and 10 came out. Keep them all."),
        (nothing, NO_RETURN),
    ],
)
def test_reason_wrong(spark: SparkSession, answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch07.reason(answer)) == told


# 7.4 ---------------------------------------------------------------------------------------------


def append(alerts: DataFrame, table: str) -> None:
    alerts.write.mode("append").saveAsTable(table)


def newest_wins(alerts: DataFrame, table: str) -> None:
    target = DeltaTable.forName(alerts.sparkSession, table).alias("t")
    merge = target.merge(alerts.alias("s"), "t.payment_id = s.payment_id")
    merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()


def first_wins(alerts: DataFrame, table: str) -> None:
    target = DeltaTable.forName(alerts.sparkSession, table).alias("t")
    one = alerts.dropDuplicates(["payment_id"]).alias("s")
    target.merge(one, "t.payment_id = s.payment_id").whenNotMatchedInsertAll().execute()


def torn(alerts: DataFrame, table: str) -> None:
    best = alerts.groupBy("payment_id").agg(F.max("score").alias("score"), F.max("rule").alias("rule"))
    target = DeltaTable.forName(alerts.sparkSession, table).alias("t")
    merge = target.merge(best.alias("s"), "t.payment_id = s.payment_id")
    merge.whenMatchedUpdateAll("s.score > t.score").whenNotMatchedInsertAll().execute()


def overwrite(alerts: DataFrame, table: str) -> None:
    alerts.write.mode("overwrite").saveAsTable(table)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (append, "After the same alerts again, P1 is in the table 2 times. Keep it once."),
        (
            newest_wins,
            "After a higher and a lower score, P2 should have the score 0.9 and the rule travel; yours has "
            "0.1 and None.",
        ),
        (
            first_wins,
            "After a higher and a lower score, P1 should have the score 0.7 and the rule attempts; yours has "
            "0.5 and None.",
        ),
        (
            torn,
            "After a payment that stands in the alerts twice, P3 should have the score 0.6 and the rule "
            "None; yours has 0.6 and travel.",
        ),
        (
            overwrite,
            "After a higher and a lower score, P2 should have the score 0.9 and the rule travel; yours has "
            "0.1 and None.",
        ),
        (lambda alerts, table: 1, "After two alerts, P1 is not in the table."),
    ],
)
def test_keep_alerts_wrong(spark: SparkSession, answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch07.keep_alerts(answer)) == told


# 7.5 ---------------------------------------------------------------------------------------------

Pairs = list[tuple[int, int | None]]


def in_the_given_order(minutes: list[int], limit: int, end: int) -> Pairs:
    pairs = zip(minutes, [*minutes[1:], None], strict=True)
    return [(a + limit, b) for a, b in pairs if (end if b is None else b) - a > limit]


def only_those_who_return(minutes: list[int], limit: int, end: int) -> Pairs:
    moments = sorted(set(minutes))
    return [(a + limit, b) for a, b in itertools.pairwise(moments) if b - a > limit]


def at_the_limit(minutes: list[int], limit: int, end: int) -> Pairs:
    moments = sorted(set(minutes))
    pairs = zip(moments, [*moments[1:], None], strict=True)
    return [(a + limit, b) for a, b in pairs if (end if b is None else b) - a >= limit]


def from_the_reading(minutes: list[int], limit: int, end: int) -> Pairs:
    return [(a - limit, b) for a, b in at_the_limit(minutes, limit + 1, end)]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            in_the_given_order,
            "For readings that come in another order, [600, 0, 120] with the limit 360 and the end 700, the "
            "silences are [(480, 600)]; yours are [(480, None)].",
        ),
        (
            only_those_who_return,
            "For a locker that does not come back, [0, 100] with the limit 360 and the end 1000, the "
            "silences are [(460, None)]; yours are [].",
        ),
        (
            at_the_limit,
            "For a gap of exactly the limit, [0, 360] with the limit 360 and the end 400, the silences "
            "are []; yours are [(360, 360)].",
        ),
        (
            from_the_reading,
            "For a gap of more than the limit, [0, 361] with the limit 360 and the end 400, the silences are "
            "[(360, 361)]; yours are [(1, 361)].",
        ),
        (
            nothing,
            "Your function returned nothing. Does it end with return? It should return a list of pairs.",
        ),
    ],
)
def test_silences_wrong(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch07.silences(answer)) == told
