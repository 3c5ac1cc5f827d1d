"""The checks of chapter 04: the blank, the chapter's own solution, and what wrong answers are told."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from verdicts import NO_RETURN, NOT_DONE, wrong

from medallion.lakehouse import tables

Build = Callable[[DataFrame, str], DataFrame]


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> SimpleNamespace:
    """The chapter's first cell, which binds spark, and its solutions. None of them reads a table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "require", lambda number: None)
        return SimpleNamespace(**run_cells("04", "solution", defining=("spark",)))


def test_the_blanks_are_not_done(chapter: SimpleNamespace) -> None:
    def blank(*_: object) -> object: ...

    verdicts = [
        chapter.check.churned(blank),
        chapter.check.leaks(blank),
        chapter.check.as_of(blank),
        chapter.check.attempts_before(blank),
        chapter.check.rfm(blank),
    ]
    assert [(verdict.state, verdict.message) for verdict in verdicts] == [("open", NOT_DONE)] * 5


# 4.1 ---------------------------------------------------------------------------------------------

STOPPED = "if(count(who) = 0, 1, 0)"


def labelled(
    people: DataFrame, orders: DataFrame, within: str, how: str = "left", label: str = STOPPED
) -> DataFrame:
    late = orders.withColumnRenamed("customer_id", "who")
    joined = people.join(late, F.expr(f"who = customer_id AND {within}"), how)
    return joined.groupBy("customer_id", "cutoff").agg(F.expr(label).alias("churned"))


WITHIN = "ordered_at >= cutoff AND ordered_at < cutoff + INTERVAL 28 DAYS"


def after_the_cutoff(people: DataFrame, orders: DataFrame) -> DataFrame:
    return labelled(people, orders, "ordered_at > cutoff AND ordered_at < cutoff + INTERVAL 28 DAYS")


def up_to_28_days(people: DataFrame, orders: DataFrame) -> DataFrame:
    return labelled(people, orders, "ordered_at BETWEEN cutoff AND cutoff + INTERVAL 28 DAYS")


def by_days(people: DataFrame, orders: DataFrame) -> DataFrame:
    return labelled(people, orders, "datediff(ordered_at, cutoff) BETWEEN 0 AND 27")


def ever_after(people: DataFrame, orders: DataFrame) -> DataFrame:
    return labelled(people, orders, "ordered_at >= cutoff")


def buyers_only(people: DataFrame, orders: DataFrame) -> DataFrame:
    return labelled(people, orders, WITHIN, "inner")


def everyone_with_orders(people: DataFrame, orders: DataFrame) -> DataFrame:
    return labelled(people, orders, WITHIN, "full")


def once_per_order(people: DataFrame, orders: DataFrame) -> DataFrame:
    late = orders.withColumnRenamed("customer_id", "who")
    joined = people.join(late, F.expr(f"who = customer_id AND {WITHIN}"), "left")
    return joined.select("customer_id", "cutoff", F.expr("if(who IS NULL, 1, 0) AS churned"))


def the_other_way_round(people: DataFrame, orders: DataFrame) -> DataFrame:
    return labelled(people, orders, WITHIN, label="if(count(who) > 0, 1, 0)")


def no_otherwise(people: DataFrame, orders: DataFrame) -> DataFrame:
    return labelled(people, orders, WITHIN, label="if(count(who) = 0, 1, NULL)")


def by_customer(people: DataFrame, orders: DataFrame) -> DataFrame:
    """A customer who came back after one cutoff passes for one who did at every cutoff."""
    back = people.join(orders, "customer_id").where(WITHIN).select("customer_id").distinct()
    kept = people.join(back.withColumn("back", F.lit(1)), "customer_id", "left")
    return kept.select("customer_id", "cutoff", F.expr("if(back IS NULL, 1, 0) AS churned"))


def yes_or_no(people: DataFrame, orders: DataFrame) -> DataFrame:
    return labelled(people, orders, WITHIN, label="count(who) = 0")


def the_customer_twice(people: DataFrame, orders: DataFrame) -> DataFrame:
    joined = people.join(orders, people.customer_id == orders.customer_id, "left")
    return joined.withColumn("churned", F.lit(1))


def no_cutoff(people: DataFrame, orders: DataFrame) -> DataFrame:
    return labelled(people, orders, WITHIN).drop("cutoff")


def as_a_day(people: DataFrame, orders: DataFrame) -> DataFrame:
    return labelled(people, orders, WITHIN).withColumn("cutoff", F.to_date("cutoff"))


def nothing_returned(*frames: DataFrame) -> None:
    frames[0].count()


def test_churned_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.churned(chapter.churned)) == (
        "✓ Exercise 4.1. Everybody has one label for each cutoff, also those who never came back."
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            after_the_cutoff,
            "C2 with the cutoff 2025-09-04 00:00 has churned 1; it should be 0, because "
            "an order at the very moment of the cutoff counts.",
        ),
        (
            up_to_28_days,
            "C3 with the cutoff 2025-09-04 00:00 has churned 0; it should be 1, because "
            "an order exactly 28 days after the cutoff comes too late.",
        ),
        (
            by_days,
            "C9 with the cutoff 2025-09-04 12:00 has churned 0; it should be 1, because "
            "an order in the morning is before a cutoff at noon.",
        ),
        (
            ever_after,
            "C3 with the cutoff 2025-09-04 00:00 has churned 0; it should be 1, because "
            "an order exactly 28 days after the cutoff comes too late.",
        ),
        (
            buyers_only,
            "C3 with the cutoff 2025-09-04 00:00 went in and did not come out. Its churned should be 1, "
            "because an order exactly 28 days after the cutoff comes too late.",
        ),
        (everyone_with_orders, "You return NULL with the cutoff NULL, and that did not go in."),
        (
            once_per_order,
            "C6 with the cutoff 2025-09-04 00:00 went in once and came out 3 times. Its churned should be 0, "
            "because there are three orders in the 28 days.",
        ),
        (
            the_other_way_round,
            "C1 with the cutoff 2025-09-04 00:00 has churned 1; it should be 0, because "
            "an order of 10 September lies in the 28 days.",
        ),
        (
            no_otherwise,
            "C1 with the cutoff 2025-09-04 00:00 has churned NULL; it should be 0, because "
            "an order of 10 September lies in the 28 days.",
        ),
        (
            by_customer,
            "C8 with the cutoff 2025-09-18 00:00 has churned 0; it should be 1, because "
            "the only order was before this cutoff.",
        ),
        (yes_or_no, "The column churned is of the type BOOLEAN; it should be a whole number."),
        (the_customer_twice, "Your rows have the column customer_id more than once. Keep one of them."),
        (no_cutoff, "The column cutoff is missing; yours are customer_id, churned."),
        (as_a_day, "The column cutoff is of the type DATE; it should be TIMESTAMP."),
        (nothing_returned, NO_RETURN),
    ],
)
def test_churned_wrong(chapter: SimpleNamespace, answer: Callable[..., Any], told: str) -> None:
    assert wrong(chapter.check.churned(answer)) == told


# 4.2 ---------------------------------------------------------------------------------------------


def compared(
    build: Build,
    events: DataFrame,
    moment: str,
    hidden: str = "arrived_at > moment",
    how: str = "full",
    changed: str = "l.there IS NULL OR r.there IS NULL OR NOT l.{0} <=> r.{0}",
) -> list[str]:
    """Return the columns that change, in the order of the build."""
    at = F.lit(moment).cast("timestamp")
    blind = events.withColumn("moment", at).where(f"NOT ({hidden})").drop("moment")
    left = build(events, moment).withColumn("there", F.lit(True))
    right = build(blind, moment).withColumn("there", F.lit(True))
    both = left.alias("l").join(right.alias("r"), "customer_id", how)
    names = [name for name in left.columns if name not in ("customer_id", "there")]
    found = both.selectExpr(*(f"count_if({changed.format(name)}) AS {name}" for name in names)).first()
    return [name for name in names if found[name]]


def hides_the_moment_too(build: Build, events: DataFrame, moment: str) -> list[str]:
    return sorted(compared(build, events, moment, hidden="arrived_at >= moment"))


def hides_what_happened_later(build: Build, events: DataFrame, moment: str) -> list[str]:
    return sorted(compared(build, events, moment, hidden="ordered_at > moment"))


def inner(build: Build, events: DataFrame, moment: str) -> list[str]:
    return sorted(compared(build, events, moment, how="inner"))


def left_only(build: Build, events: DataFrame, moment: str) -> list[str]:
    return sorted(compared(build, events, moment, how="left"))


def null_equals_absent(build: Build, events: DataFrame, moment: str) -> list[str]:
    return sorted(compared(build, events, moment, changed="NOT l.{0} <=> r.{0}"))


def null_is_unknown(build: Build, events: DataFrame, moment: str) -> list[str]:
    return sorted(compared(build, events, moment, changed="l.{0} <> r.{0}"))


def null_differs(build: Build, events: DataFrame, moment: str) -> list[str]:
    return sorted(compared(build, events, moment, changed="NOT coalesce(l.{0} = r.{0}, false)"))


def unsorted(build: Build, events: DataFrame, moment: str) -> list[str]:
    return compared(build, events, moment)


def by_column(build: Build, events: DataFrame, moment: str) -> list[str]:
    """The numbers of a column are compared, whoever has them."""
    blind = events.where(F.col("arrived_at") <= F.lit(moment).cast("timestamp"))
    seen, unseen = build(events, moment), build(blind, moment)
    names = [name for name in seen.columns if name != "customer_id"]
    return sorted(name for name in names if seen.select(name).exceptAll(unseen.select(name)).count())


def the_key_too(build: Build, events: DataFrame, moment: str) -> list[str]:
    return ["customer_id", *sorted(compared(build, events, moment))]


def never(build: Build, events: DataFrame, moment: str) -> list[str]:
    build(events, moment).count()
    return []


def a_set(build: Build, events: DataFrame, moment: str) -> set[str]:
    return {*build(events, moment).columns} - {"customer_id", "orders", "gap_days"}


def a_frame(build: Build, events: DataFrame, moment: str) -> DataFrame:
    return build(events, moment)


def no_list(build: Build, events: DataFrame, moment: str) -> None:
    build(events, moment).count()


def the_arguments_swapped(build: Build, events: DataFrame, moment: str) -> list[str]:
    return build(moment, events).columns  # type: ignore[arg-type]


def test_leaks_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.leaks(chapter.leaks)) == (
        "✓ Exercise 4.2. Every column that looks ahead is found, and none that does not."
    )


A_LIST = "It should return a list of the names of columns."


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            hides_the_moment_too,
            "For features of what had arrived you name orders, which does not change: "
            "what arrives at the very moment is not hidden.",
        ),
        (
            hides_what_happened_later,
            "For features of all orders you do not name slow_cents: "
            "for C1 it is 900, and NULL when the future is hidden.",
        ),
        (
            inner,
            "For a customer whose only order arrives later you do not name orders: "
            "C4 is in the result only as long as the future is in sight.",
        ),
        (
            left_only,
            "For those who have ordered once, on another day you do not name spend: "
            "C3 is in the result only when the future is hidden.",
        ),
        (
            null_equals_absent,
            "For a customer whose only order arrives later you do not name spend: "
            "C4, with NULL, is in the result only as long as the future is in sight.",
        ),
        (
            null_is_unknown,
            "For features of all orders you do not name slow_cents: "
            "for C1 it is 900, and NULL when the future is hidden.",
        ),
        (
            null_differs,
            "For features of what had arrived you name gap_days, which does not change: "
            "for C2 it is NULL in both results, and two NULLs are equal.",
        ),
        (
            unsorted,
            "For features of all orders you return ['spend', 'odd', 'slow_cents']; "
            "sorted, each once, it is ['odd', 'slow_cents', 'spend'].",
        ),
        (
            by_column,
            "For features of all orders you do not name odd: "
            "for C1 it is 1, and 0 when the future is hidden; for C2 it is the other way round.",
        ),
        (
            the_key_too,
            "For features of what had arrived you name customer_id, which is not a feature column.",
        ),
        (
            never,
            "For features of all orders you do not name spend: "
            "for C1 it is 1700, and 800 when the future is hidden.",
        ),
        (a_set, f"Your function returned {{'spend'}}. {A_LIST}"),
        (a_frame, f"Your function returned a DataFrame. {A_LIST}"),
        (no_list, f"Your function returned nothing. Does it end with return? {A_LIST}"),
        (
            the_arguments_swapped,
            "Your code raised AttributeError: 'str' object has no attribute 'where' (in your line "
            f"{the_arguments_swapped.__code__.co_firstlineno + 1}: "
            "return build(moment, events).columns  # type: ignore[arg-type])",
        ),
    ],
)
def test_leaks_wrong(chapter: SimpleNamespace, answer: Callable[..., Any], told: str) -> None:
    assert wrong(chapter.check.leaks(answer)) == told


# 4.3 ---------------------------------------------------------------------------------------------


def newest(
    questions: DataFrame,
    features: DataFrame,
    found: str,
    order: str = "struct(as_of, created_at)",
    how: str = "left",
) -> DataFrame:
    known = features.withColumnRenamed("customer_id", "who")
    joined = questions.join(known, F.expr(f"who = customer_id AND {found}"), how)
    return joined.groupBy("customer_id", "cutoff").agg(F.expr(f"max_by(orders_28, {order}) AS orders_28"))


IN_TIME = "as_of <= cutoff AND created_at <= cutoff"


def fresh(days: int) -> str:
    return f"{IN_TIME} AND as_of >= cutoff - INTERVAL {days} DAYS"


def created_forgotten(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, f"as_of <= cutoff AND as_of >= cutoff - INTERVAL {days} DAYS")


def as_of_forgotten(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, f"created_at <= cutoff AND as_of >= cutoff - INTERVAL {days} DAYS")


def before_the_cutoff(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, fresh(days).replace("as_of <= cutoff", "as_of < cutoff"))


def any_age(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, IN_TIME)


def younger_than(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, f"{IN_TIME} AND as_of > cutoff - INTERVAL {days} DAYS")


def in_whole_days(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, f"{IN_TIME} AND datediff(cutoff, as_of) <= {days}")


def always_14(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, fresh(14))


def first_created(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, fresh(days), "struct(as_of, -unix_micros(created_at))")


def by_creation(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, fresh(days), "created_at")


def greatest(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, fresh(days), "orders_28")


def found_only(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, fresh(days), how="inner")


def latest_version_first(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    """Of each as_of only the row created last is kept, before the cutoff is asked for."""
    last = Window.partitionBy("customer_id", "as_of").orderBy(F.desc("created_at"))
    kept = features.withColumn("place", F.row_number().over(last)).where("place = 1")
    return newest(questions, kept, fresh(days))


def one_per_customer(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    known = features.withColumnRenamed("customer_id", "who")
    joined = questions.join(known, F.expr(f"who = customer_id AND {fresh(days)}"), "left")
    ranks = Window.partitionBy("customer_id").orderBy(F.desc("as_of"), F.desc("created_at"))
    ranked = joined.withColumn("place", F.row_number().over(ranks))
    return ranked.where("place = 1").select("customer_id", "cutoff", "orders_28")


def not_ranked(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    known = features.withColumnRenamed("customer_id", "who")
    return questions.join(known, F.expr(f"who = customer_id AND {fresh(days)}"), "left")


def zero_for_nothing(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, fresh(days)).fillna(0, "orders_28")


def in_words(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, fresh(days)).withColumn("orders_28", F.expr("string(orders_28)"))


def orders_dropped(questions: DataFrame, features: DataFrame, days: int) -> DataFrame:
    return newest(questions, features, fresh(days)).drop("orders_28")


def test_as_of_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.as_of(chapter.as_of)) == (
        "✓ Exercise 4.3. Each question has the newest features that were there in time and are fresh."
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            created_forgotten,
            "With 14 days, C2 with the cutoff 2025-10-16 00:00 has orders_28 6; it should be 4, because "
            "the row of 13 October was created on the 17th.",
        ),
        (
            as_of_forgotten,
            "With 14 days, C3 with the cutoff 2025-10-16 00:00 has orders_28 7; it should be 2, because "
            "the row of 20 October is of after the cutoff.",
        ),
        (
            before_the_cutoff,
            "With 14 days, C9 with the cutoff 2025-10-16 00:00 has orders_28 7; it should be 4, because "
            "a row of the very moment of the cutoff may be used.",
        ),
        (
            any_age,
            "With 14 days, C5 with the cutoff 2025-10-16 12:00 has orders_28 3; it should be NULL, because "
            "its row is 14 days and three hours old.",
        ),
        (
            younger_than,
            "With 14 days, C4 with the cutoff 2025-10-16 00:00 has orders_28 NULL; it should be 3, because "
            "a row that is exactly 14 days old may be used.",
        ),
        (
            in_whole_days,
            "With 14 days, C5 with the cutoff 2025-10-16 12:00 has orders_28 3; it should be NULL, because "
            "its row is 14 days and three hours old.",
        ),
        (
            always_14,
            "With 7 days, C2 with the cutoff 2025-10-16 00:00 has orders_28 4; it should be NULL, because "
            "its row of 6 October is ten days old.",
        ),
        (
            first_created,
            "With 14 days, C6 with the cutoff 2025-10-16 00:00 has orders_28 8; it should be 1, because "
            "of two rows of 13 October the one created later wins.",
        ),
        (
            by_creation,
            "With 14 days, C8 with the cutoff 2025-10-16 00:00 has orders_28 6; it should be 2, because "
            "the newest as_of wins, also over an older one that was created later.",
        ),
        (
            greatest,
            "With 14 days, C1 with the cutoff 2025-10-16 00:00 has orders_28 9; it should be 5, because "
            "the row with the newest as_of wins.",
        ),
        (
            found_only,
            "With 14 days, C5 with the cutoff 2025-10-16 12:00 went in and did not come out. "
            "Its orders_28 should be NULL, because its row is 14 days and three hours old.",
        ),
        (
            latest_version_first,
            "With 14 days, C7 with the cutoff 2025-10-16 00:00 has orders_28 NULL; it should be 2, because "
            "of two rows of 13 October one was created after the cutoff.",
        ),
        (
            one_per_customer,
            "With 14 days, C10 with the cutoff 2025-10-16 00:00 went in and did not come out. "
            "Its orders_28 should be 3, because the row of 27 October is of after this cutoff.",
        ),
        (
            not_ranked,
            "With 14 days, C1 with the cutoff 2025-10-16 00:00 went in once and came out 2 times. "
            "Its orders_28 should be 5, because the row with the newest as_of wins.",
        ),
        (
            zero_for_nothing,
            "With 14 days, C5 with the cutoff 2025-10-16 12:00 has orders_28 0; it should be NULL, because "
            "its row is 14 days and three hours old.",
        ),
        (in_words, "The column orders_28 is of the type STRING; it should be a whole number."),
        (orders_dropped, "The column orders_28 is missing; yours are customer_id, cutoff."),
    ],
)
def test_as_of_wrong(chapter: SimpleNamespace, answer: Callable[..., Any], told: str) -> None:
    assert wrong(chapter.check.as_of(answer)) == told


# 4.4 ---------------------------------------------------------------------------------------------


def counted(
    payments: DataFrame, start: int, end: int, order: str = "unix_micros(paid_at)", by: str = "device_id"
) -> DataFrame:
    window = Window.partitionBy(F.expr(by)).orderBy(F.expr(order)).rangeBetween(start, end)
    return payments.withColumn("attempts", F.count("*").over(window))


HOUR = 3_600_000_000


def with_itself(payments: DataFrame) -> DataFrame:
    return counted(payments, -HOUR, 0)


def without_one(payments: DataFrame) -> DataFrame:
    return counted(payments, -HOUR, 0).withColumn("attempts", F.col("attempts") - 1)


def under_an_hour(payments: DataFrame) -> DataFrame:
    return counted(payments, -HOUR + 1, -1)


def in_seconds(payments: DataFrame) -> DataFrame:
    return counted(payments, -3600, -1, "unix_timestamp(paid_at)")


def in_milliseconds(payments: DataFrame) -> DataFrame:
    return counted(payments, -3_600_000, -1, "unix_millis(paid_at)")


def of_all_time(payments: DataFrame) -> DataFrame:
    return counted(payments, Window.unboundedPreceding, -1)


def within_the_day(payments: DataFrame) -> DataFrame:
    return counted(payments, -HOUR, -1, by="struct(device_id, to_date(paid_at))")


def of_any_device(payments: DataFrame) -> DataFrame:
    return counted(payments, -HOUR, -1, by="true")


def by_rows(payments: DataFrame) -> DataFrame:
    rows = Window.partitionBy("device_id").orderBy("paid_at").rowsBetween(Window.unboundedPreceding, -1)
    return payments.withColumn("attempts", F.count("*").over(rows))


def self_join(payments: DataFrame, how: str) -> DataFrame:
    other = payments.selectExpr("device_id AS device", "paid_at AS at")
    before = "device = device_id AND at < paid_at AND at >= paid_at - INTERVAL 1 HOUR"
    return payments.join(other, F.expr(before), how)


def those_with_others(payments: DataFrame) -> DataFrame:
    return self_join(payments, "inner").groupBy(*payments.columns).agg(F.count("*").alias("attempts"))


def one_for_none(payments: DataFrame) -> DataFrame:
    return self_join(payments, "left").groupBy(*payments.columns).agg(F.count("*").alias("attempts"))


def once_for_each(payments: DataFrame) -> DataFrame:
    return self_join(payments, "left").withColumn("attempts", F.expr("if(at IS NULL, 0, 1)"))


def summed(payments: DataFrame) -> DataFrame:
    window = Window.partitionBy("device_id").orderBy(F.unix_micros("paid_at")).rangeBetween(-HOUR, -1)
    return payments.withColumn("attempts", F.sum(F.lit(1)).over(window))


def by_id(payments: DataFrame) -> DataFrame:
    return counted(payments, -HOUR, -1).select("payment_id", "attempts")


def without_amount(payments: DataFrame) -> DataFrame:
    return counted(payments, -HOUR, -1).drop("amount_cents")


def time_overwritten(payments: DataFrame) -> DataFrame:
    return counted(payments.withColumn("paid_at", F.unix_micros("paid_at")), -HOUR, -1, "paid_at")


def test_attempts_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.attempts_before(chapter.attempts_before)) == (
        "✓ Exercise 4.4. Each payment knows the hour before it, to the microsecond, and not itself."
    )


def test_attempts_by_a_join(chapter: SimpleNamespace) -> None:
    def by_a_join(payments: DataFrame) -> DataFrame:
        joined = self_join(payments, "left").groupBy(*payments.columns)
        return joined.agg(F.count("at").cast("int").alias("attempts"))

    assert chapter.check.attempts_before(by_a_join).ok


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            with_itself,
            "P6 (device D2, 2025-10-13 12:30:00.000000) has attempts 1; it should be 0, because "
            "it is the only one of its device.",
        ),
        (
            without_one,
            "P11 (device D5, 2025-10-13 12:00:00.250000) has attempts 1; it should be 0, because "
            "P12 is of the same microsecond.",
        ),
        (
            under_an_hour,
            "P8 (device D3, 2025-10-13 13:00:00.000000) has attempts 0; it should be 1, because "
            "P7 is exactly an hour older.",
        ),
        (
            in_seconds,
            "P10 (device D4, 2025-10-13 13:00:00.000001) has attempts 1; it should be 0, because "
            "P9 is an hour and a microsecond older.",
        ),
        (
            in_milliseconds,
            "P10 (device D4, 2025-10-13 13:00:00.000001) has attempts 1; it should be 0, because "
            "P9 is an hour and a microsecond older.",
        ),
        (
            of_all_time,
            "P4 (device D1, 2025-10-13 13:10:00.000000) has attempts 3; it should be 2, because "
            "P1 is older than an hour.",
        ),
        (
            by_rows,
            "P4 (device D1, 2025-10-13 13:10:00.000000) has attempts 3; it should be 2, because "
            "P1 is older than an hour.",
        ),
        (
            of_any_device,
            "P6 (device D2, 2025-10-13 12:30:00.000000) has attempts 8; it should be 0, because "
            "it is the only one of its device.",
        ),
        (
            within_the_day,
            "P16 (device D7, 2025-10-14 00:10:00.000000) has attempts 0; it should be 1, because "
            "P15 was half an hour before, on the other day.",
        ),
        (
            those_with_others,
            "P6 (device D2, 2025-10-13 12:30:00.000000) went in and did not come out. "
            "Its attempts should be 0, because it is the only one of its device.",
        ),
        (
            one_for_none,
            "P6 (device D2, 2025-10-13 12:30:00.000000) has attempts 1; it should be 0, because "
            "it is the only one of its device.",
        ),
        (
            once_for_each,
            "P3 (device D1, 2025-10-13 12:40:00.000000) went in once and came out 2 times. "
            "Its attempts should be 2, because P1 and P2 are in the hour before.",
        ),
        (
            summed,
            "P6 (device D2, 2025-10-13 12:30:00.000000) has attempts NULL; it should be 0, because "
            "it is the only one of its device.",
        ),
        (by_id, "The column device_id is missing; yours are payment_id, attempts."),
        (
            without_amount,
            "The column amount_cents is missing; yours are payment_id, device_id, paid_at, attempts.",
        ),
        (time_overwritten, "The column paid_at is of the type BIGINT; it should be TIMESTAMP."),
        (nothing_returned, NO_RETURN),
    ],
)
def test_attempts_wrong(chapter: SimpleNamespace, answer: Callable[..., Any], told: str) -> None:
    assert wrong(chapter.check.attempts_before(answer)) == told


# 4.5 ---------------------------------------------------------------------------------------------


def summed_up(purchases: DataFrame, end: str, **columns: str) -> DataFrame:
    """Return the three numbers of each customer; `columns` are those that are computed otherwise."""
    right = {
        "x": "count(DISTINCT purchased_on) - 1",
        "t_x": "datediff(max(purchased_on), min(purchased_on)) / 7",
        "T": f"datediff('{end}', min(purchased_on)) / 7",
    }
    told = [F.expr(text).alias(name) for name, text in {**right, **columns}.items()]
    return purchases.groupBy("customer_id").agg(*told)


def until(purchases: DataFrame, end: str) -> DataFrame:
    return purchases.where(F.col("purchased_on") <= F.lit(end).cast("date"))


def purchases_counted(purchases: DataFrame, end: str) -> DataFrame:
    return summed_up(until(purchases, end), end, x="count(*) - 1")


def first_day_counted(purchases: DataFrame, end: str) -> DataFrame:
    return summed_up(until(purchases, end), end, x="count(DISTINCT purchased_on)")


def without_the_end(purchases: DataFrame, end: str) -> DataFrame:
    return summed_up(purchases.where(F.col("purchased_on") < F.lit(end).cast("date")), end)


def of_all_days(purchases: DataFrame, end: str) -> DataFrame:
    return summed_up(purchases, end)


def always_september(purchases: DataFrame, end: str) -> DataFrame:
    return summed_up(until(purchases, "1997-09-30"), end)


def whole_weeks(purchases: DataFrame, end: str) -> DataFrame:
    return summed_up(until(purchases, end), end, t_x="datediff(max(purchased_on), min(purchased_on)) div 7")


def two_places(purchases: DataFrame, end: str) -> DataFrame:
    return summed_up(until(purchases, end), end, T=f"round(datediff('{end}', min(purchased_on)) / 7, 2)")


def in_days(purchases: DataFrame, end: str) -> DataFrame:
    return summed_up(until(purchases, end), end, t_x="datediff(max(purchased_on), min(purchased_on))")


def since_the_last(purchases: DataFrame, end: str) -> DataFrame:
    """Recency as it is usually meant: how long ago the last purchase was."""
    return summed_up(until(purchases, end), end, t_x=f"datediff('{end}', max(purchased_on)) / 7")


def null_without_any(purchases: DataFrame, end: str) -> DataFrame:
    last = "if(count(DISTINCT purchased_on) > 1, datediff(max(purchased_on), min(purchased_on)) / 7, NULL)"
    return summed_up(until(purchases, end), end, t_x=last)


def repeaters_only(purchases: DataFrame, end: str) -> DataFrame:
    return summed_up(until(purchases, end), end).where("x > 0")


def until_the_last(purchases: DataFrame, end: str) -> DataFrame:
    return summed_up(until(purchases, end), end, T="datediff(max(purchased_on), min(purchased_on)) / 7")


def not_grouped(purchases: DataFrame, end: str) -> DataFrame:
    return until(purchases, end).join(summed_up(until(purchases, end), end), "customer_id")


def as_text(purchases: DataFrame, end: str) -> DataFrame:
    return summed_up(until(purchases, end), end).withColumn("T", F.expr("string(T)"))


def another_name(purchases: DataFrame, end: str) -> DataFrame:
    return summed_up(until(purchases, end), end).withColumnRenamed("T", "watched")


def test_rfm_right(chapter: SimpleNamespace) -> None:
    assert repr(chapter.check.rfm(chapter.rfm)) == (
        "✓ Exercise 4.5. Days are counted, not purchases, and nothing of after the end comes in."
    )


def test_rfm_of_other_types(chapter: SimpleNamespace) -> None:
    def of_other_types(purchases: DataFrame, end: str) -> DataFrame:
        exact = summed_up(until(purchases, end), end)
        return exact.withColumns(
            {"x": F.expr("int(x)"), "t_x": F.expr("float(t_x)"), "T": F.expr("CAST(T AS DECIMAL(12, 8))")}
        )

    assert chapter.check.rfm(of_other_types).ok


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            purchases_counted,
            "With the end 1997-09-30, C4 (who buys on 1997-01-07, 1997-01-07) has x 1, "
            "and it should be 0: two purchases of one day are one day.",
        ),
        (
            first_day_counted,
            "With the end 1997-09-30, C1 (who buys on 1997-01-07, 1997-02-04, 1997-03-04) has x 3, "
            "and it should be 2: C1 bought on two days after the first.",
        ),
        (
            without_the_end,
            "With the end 1997-09-30, C6 (who buys on 1997-02-04, 1997-09-30) has x 0, "
            "and it should be 1: the day of the end belongs to it.",
        ),
        (
            of_all_days,
            "With the end 1997-09-30, C7 (who buys on 1997-02-04, 1997-03-04, 1997-11-04) has x 2, "
            "and it should be 1: what comes after the end is not counted.",
        ),
        (
            always_september,
            "With the end 1997-06-30, C1 (who buys on 1997-01-07, 1997-08-05) has x 1, "
            "and it should be 0: the only other purchase comes after the end.",
        ),
        (
            whole_weeks,
            "With the end 1997-09-30, C2 (who buys on 1997-01-09, 1997-01-19) has t_x 1, "
            "and it should be 10 / 7: weeks are not rounded.",
        ),
        (
            two_places,
            "With the end 1997-09-30, C2 (who buys on 1997-01-09, 1997-01-19) has T 37.71, "
            "and it should be 264 / 7: weeks are not rounded.",
        ),
        (
            in_days,
            "With the end 1997-09-30, C1 (who buys on 1997-01-07, 1997-02-04, 1997-03-04) has t_x 56, "
            "and it should be 56 / 7: C1 bought on two days after the first.",
        ),
        (
            since_the_last,
            "With the end 1997-09-30, C1 (who buys on 1997-01-07, 1997-02-04, 1997-03-04) has t_x 30, "
            "and it should be 56 / 7: C1 bought on two days after the first.",
        ),
        (
            null_without_any,
            "With the end 1997-09-30, C3 (who buys on 1997-01-07) has t_x NULL, "
            "and it should be 0 / 7: C3 bought once, and never again.",
        ),
        (
            repeaters_only,
            "With the end 1997-09-30, C3 (who buys on 1997-01-07) went in and did not come out: "
            "C3 bought once, and never again.",
        ),
        (
            until_the_last,
            "With the end 1997-09-30, C1 (who buys on 1997-01-07, 1997-02-04, 1997-03-04) has T 8, "
            "and it should be 266 / 7: C1 bought on two days after the first.",
        ),
        (
            not_grouped,
            "With the end 1997-09-30, C1 (who buys on 1997-01-07, 1997-02-04, 1997-03-04) went in once "
            "and came out 3 times: C1 bought on two days after the first.",
        ),
        (as_text, "The column T is of the type STRING; it should be a number."),
        (another_name, "The column T is missing; yours are customer_id, x, t_x, watched."),
        (nothing_returned, NO_RETURN),
    ],
)
def test_rfm_wrong(chapter: SimpleNamespace, answer: Callable[..., Any], told: str) -> None:
    assert wrong(chapter.check.rfm(answer)) == told
