"""The checks of chapter 03: the blank, the chapter's own solution, and what wrong answers are told."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from verdicts import NO_RETURN, NOT_DONE, wrong

from medallion.lakehouse import tables


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> SimpleNamespace:
    """The chapter's setup and solutions. None of them reads a table, so none has to be there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "require", lambda number: None)
        return SimpleNamespace(**run_cells("03", "setup", "solution"))


def test_the_blanks_are_not_done(chapter: SimpleNamespace) -> None:
    def blank(*_: object) -> object: ...

    verdicts = [
        chapter.check.week_label(...),
        chapter.check.seams(blank),
        chapter.check.as_it_was(blank),
        chapter.check.repeat_rate(blank),
        chapter.check.net(blank),
    ]
    assert [(verdict.state, verdict.message) for verdict in verdicts] == [("open", NOT_DONE)] * 5


# 3.1 ---------------------------------------------------------------------------------------------


def test_week_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.week_label(chapter.week_label)) == (
        "✓ Exercise 3.1. Every label is that of the ISO week, also at the turn of a year."
    )


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        (
            "concat(year(day), '-W', lpad(weekofyear(day), 2, '0'))",
            "Monday 2025-12-29 lies in week 1 of 2026; your label for it is '2025-W01', "
            "and it should be '2026-W01'.",
        ),
        (
            "concat(extract(YEAROFWEEK FROM day), '-W', weekofyear(day))",
            "Monday 2025-12-29 lies in week 1 of 2026; your label for it is '2026-W1', "
            "and it should be '2026-W01'.",
        ),
        (
            "date_format(day, 'yyyy-MM')",
            "Tuesday 2025-07-01 lies in week 27 of 2025; your label for it is '2025-07', "
            "and it should be '2025-W27'.",
        ),
        (
            "if(day < '2025-12-29', concat(year(day), '-W', weekofyear(day)), "
            "concat(year(day) + 1, '-W', lpad(weekofyear(day), 2, '0')))",
            "Monday 2019-12-30 lies in week 1 of 2020; your label for it is '2019-W1', "
            "and it should be '2020-W01'.",
        ),
        (
            "nullif(day, day)",
            "Tuesday 2025-07-01 lies in week 27 of 2025; your label for it is NULL, "
            "and it should be '2025-W27'.",
        ),
    ],
)
def test_week_wrong(chapter: SimpleNamespace, expression: str, told: str) -> None:
    assert wrong(chapter.check.week_label(expression)) == told


# 3.2 ---------------------------------------------------------------------------------------------


def following(versions: DataFrame) -> DataFrame:
    history = Window.partitionBy("customer_id").orderBy("valid_from")
    return versions.withColumn("following", F.lead("valid_from").over(history))


def overlaps_only(versions: DataFrame) -> DataFrame:
    return following(versions).where("following < valid_to")


def different(versions: DataFrame) -> DataFrame:
    return following(versions).where("following <> valid_to")


def last_ones_too(versions: DataFrame) -> DataFrame:
    return following(versions).where("following IS NULL OR following <> valid_to")


def of_anybody(versions: DataFrame) -> DataFrame:
    everybody = Window.orderBy("valid_from")
    return versions.withColumn("f", F.lead("valid_from").over(everybody)).where("NOT f <=> valid_to")


def no_columns(versions: DataFrame) -> DataFrame:
    return following(versions).where("NOT following <=> valid_to").select("customer_id")


def test_seams_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.seams(chapter.broken)) == (
        "✓ Exercise 3.2. Overlaps, gaps and wrong ends are found, and nothing else."
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            overlaps_only,
            "For a gap: the version of C1 from 2025-07-01 to 2025-07-04 is broken, and you do not return it.",
        ),
        (
            different,
            "For an open version with another after it: the version of C1 from 2025-07-01 to open is broken, "
            "and you do not return it.",
        ),
        (
            last_ones_too,
            "For a customer with one open version: the version of C1 from 2025-07-01 to open is in order, "
            "and you return it.",
        ),
        (
            of_anybody,
            "For two customers whose days interleave: the version of C1 from 2025-07-01 to open is in order, "
            "and you return it.",
        ),
        (no_columns, "The column valid_from is missing; yours are customer_id."),
    ],
)
def test_seams_wrong(chapter: SimpleNamespace, answer: Callable[..., DataFrame], told: str) -> None:
    assert wrong(chapter.check.seams(answer)) == told


# 3.3 ---------------------------------------------------------------------------------------------


def joined(sales: DataFrame, versions: DataFrame, condition: str, how: str = "left") -> DataFrame:
    known = versions.withColumnRenamed("customer_id", "who")
    return sales.join(known, F.expr(f"customer_id = who AND ({condition})"), how)


def by_customer(sales: DataFrame, versions: DataFrame) -> DataFrame:
    return joined(sales, versions, "true")


def with_the_current(sales: DataFrame, versions: DataFrame) -> DataFrame:
    return joined(sales, versions, "valid_to IS NULL")


def both_ends(sales: DataFrame, versions: DataFrame) -> DataFrame:
    return joined(sales, versions, "sold_at >= valid_from AND (sold_at <= valid_to OR valid_to IS NULL)")


def after_the_beginning(sales: DataFrame, versions: DataFrame) -> DataFrame:
    return joined(sales, versions, "sold_at > valid_from AND (sold_at <= valid_to OR valid_to IS NULL)")


def open_forgotten(sales: DataFrame, versions: DataFrame) -> DataFrame:
    return joined(sales, versions, "sold_at >= valid_from AND sold_at < valid_to")


def inner(sales: DataFrame, versions: DataFrame) -> DataFrame:
    return joined(
        sales, versions, "sold_at >= valid_from AND (sold_at < valid_to OR valid_to IS NULL)", "inner"
    )


def nothing_returned(sales: DataFrame, versions: DataFrame) -> None:
    by_customer(sales, versions)


def test_as_it_was_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.as_it_was(chapter.as_it_was)) == (
        "✓ Exercise 3.3. Six sales in, six out, each with the city of its time."
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            by_customer,
            "Sale 1 (customer C1, 3 July, 12:00) came out 2 times, with Bremen and Leipzig; "
            "its customer had not moved yet.",
        ),
        (
            with_the_current,
            "Sale 1 (customer C1, 3 July, 12:00) has the city Bremen; it should be Leipzig, because "
            "its customer had not moved yet.",
        ),
        (
            both_ends,
            "Sale 2 (customer C1, 5 July, 00:00) came out 2 times, with Bremen and Leipzig; "
            "a version is valid from its beginning to before its end.",
        ),
        (
            after_the_beginning,
            "Sale 2 (customer C1, 5 July, 00:00) has the city Leipzig; it should be Bremen, because "
            "a version is valid from its beginning to before its end.",
        ),
        (
            open_forgotten,
            "Sale 2 (customer C1, 5 July, 00:00) has the city NULL; it should be Bremen, because "
            "a version is valid from its beginning to before its end.",
        ),
        (
            inner,
            "Sale 5 (customer C2, 1 July, 08:00) went in and did not come out. "
            "Keep it, with NULL for the city.",
        ),
        (nothing_returned, NO_RETURN),
    ],
)
def test_as_it_was_wrong(chapter: SimpleNamespace, answer: Callable[..., Any], told: str) -> None:
    assert wrong(chapter.check.as_it_was(answer)) == told


# 3.4 ---------------------------------------------------------------------------------------------


def rate(buyers: DataFrame, counted: str) -> float:
    orders = buyers.groupBy("customer_id").agg(F.expr(counted).alias("orders"))
    return float(orders.agg(F.expr("count_if(orders > 1) / count(*)")).first()[0])


def lines_counted(sales: DataFrame) -> float:
    return rate(sales.where("sold"), "count(*)")


def undone_counted(sales: DataFrame) -> float:
    return rate(sales, "count(DISTINCT order_id)")


def everybody_below(sales: DataFrame) -> float:
    return rate(sales, "count(DISTINCT CASE WHEN sold THEN order_id END)")


def exactly_two(sales: DataFrame) -> float:
    buyers = sales.where("sold").groupBy("customer_id").agg(F.countDistinct("order_id").alias("orders"))
    return float(buyers.agg(F.expr("count_if(orders = 2) / count(*)")).first()[0])


def a_frame(sales: DataFrame) -> DataFrame:
    return sales.agg(F.lit(0.5).alias("rate"))


def no_number(sales: DataFrame) -> None:
    rate(sales, "count(*)")


def test_repeat_rate_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.repeat_rate(chapter.repeat_rate)) == (
        "✓ Exercise 3.4. Customers are counted, and orders, and only what was sold."
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            lines_counted,
            "For two customers with one order each, one of three lines the rate is 0; yours is 0.5.",
        ),
        (
            undone_counted,
            "For two customers, where the second order of one was returned the rate is 0; yours is 0.5.",
        ),
        (
            everybody_below,
            "For two customers who bought twice, and one whose only order was cancelled the rate is 1; "
            "yours is 0.666667.",
        ),
        (
            exactly_two,
            "For four customers, one of whom bought three times the rate is 0.25; yours is 0.",
        ),
        (a_frame, "Your function returned a DataFrame. It should return a number."),
        (no_number, "Your function returned nothing. Does it end with return? It should return a number."),
    ],
)
def test_repeat_rate_wrong(chapter: SimpleNamespace, answer: Callable[..., Any], told: str) -> None:
    assert wrong(chapter.check.repeat_rate(answer)) == told


# 3.5 ---------------------------------------------------------------------------------------------


def booked(
    changes: DataFrame, sign: str, where: str = "status NOT IN ('cancelled', 'returned')"
) -> DataFrame:
    sums = (
        changes.where(where)
        .groupBy("customer_id")
        .agg(
            F.expr(f"sum({sign})").alias("orders"),
            F.expr(f"sum({sign} * total_cents)").alias("cents"),
        )
    )
    return sums.where("orders <> 0 OR cents <> 0")


SIGN = "if(_change_type IN ('insert', 'update_postimage'), 1, -1)"


def only_added(changes: DataFrame) -> DataFrame:
    return booked(changes.where("_change_type IN ('insert', 'update_postimage')"), "1")


def deletes_forgotten(changes: DataFrame) -> DataFrame:
    return booked(changes.where("_change_type <> 'delete'"), SIGN)


def all_counted(changes: DataFrame) -> DataFrame:
    return booked(changes, SIGN, "true")


def by_orders_alone(changes: DataFrame) -> DataFrame:
    return booked(changes, SIGN).where("orders <> 0")


def zeros_kept(changes: DataFrame) -> DataFrame:
    sold = changes.where("status NOT IN ('cancelled', 'returned')")
    return sold.groupBy("customer_id").agg(
        F.expr(f"sum({SIGN})").alias("orders"), F.expr(f"sum({SIGN} * total_cents)").alias("cents")
    )


def by_order(changes: DataFrame) -> DataFrame:
    sold = changes.where("status NOT IN ('cancelled', 'returned')")
    return sold.selectExpr("customer_id", f"{SIGN} AS orders", f"{SIGN} * total_cents AS cents")


def test_net_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.net(chapter.net)) == (
        "✓ Exercise 3.5. What is added and what is taken away agree with a recount."
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            only_added,
            "For an order of C1 that is cancelled C1 gets -1 orders and -500 cents; you say nothing.",
        ),
        (
            deletes_forgotten,
            "For an order of C1 that is deleted C1 gets -1 orders and -500 cents; you say nothing.",
        ),
        (
            all_counted,
            "For an order of C1 that is cancelled C1 gets -1 orders and -500 cents; you say nothing.",
        ),
        (
            by_orders_alone,
            "For an order of C1 whose amount is corrected from 500 to 450 C1 gets +0 orders and -50 cents; "
            "you say nothing.",
        ),
        (
            zeros_kept,
            "For an order of C1 that is delivered nothing changes for C1; leave the customer out.",
        ),
        (by_order, "For two new orders of C1 a customer has more than one row: group by the customer."),
    ],
)
def test_net_wrong(chapter: SimpleNamespace, answer: Callable[..., DataFrame], told: str) -> None:
    assert wrong(chapter.check.net(answer)) == told
