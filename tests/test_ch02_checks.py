"""The checks of chapter 02: the blank, the chapter's own solution, and what wrong answers are told."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from verdicts import NOT_DONE, wrong

import medallion
from medallion.lesson import checks

check = medallion.checks("02")


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> SimpleNamespace:
    # Not the setup cells: they ask for the Bronze tables, and no exercise reads one.
    return SimpleNamespace(**run_cells("02", "solution", F=F, Window=Window, DeltaTable=DeltaTable))


def test_the_blanks_are_not_done(spark: SparkSession) -> None:
    def blank(*_: object) -> object: ...

    verdicts = [exercise(blank) for exercise in checks.exercises("02")]
    assert [(verdict.state, verdict.message) for verdict in verdicts] == [("open", NOT_DONE)] * 6


@pytest.mark.parametrize(
    ("exercise", "kind"),
    [
        (check.with_reasons, "a DataFrame"),
        (check.dates, "a column"),
        (check.newest, "a DataFrame"),
        (check.versions, "a DataFrame"),
    ],
    ids=lambda value: getattr(value, "number", ""),
)
def test_a_function_without_a_return(spark: SparkSession, exercise: checks.Exercise, kind: str) -> None:
    def forgets(*given: object) -> None:
        print(given)

    assert wrong(exercise(forgets)) == f"Your function returned None; return {kind}."


# 2.1 ---------------------------------------------------------------------------------------------


def negated(frame: DataFrame, condition: str) -> tuple[DataFrame, DataFrame]:
    return frame.where(condition), frame.where(f"NOT ({condition})")


def negated_in_part(frame: DataFrame, condition: str) -> tuple[DataFrame, DataFrame]:
    return frame.where(condition), frame.where(f"NOT {condition} OR ({condition}) IS NULL")


def null_is_kept(frame: DataFrame, condition: str) -> tuple[DataFrame, DataFrame]:
    return frame.where(f"({condition}) OR ({condition}) IS NULL"), frame.where(f"NOT ({condition})")


def subtracted(frame: DataFrame, condition: str) -> tuple[DataFrame, DataFrame]:
    kept = frame.where(condition)
    return kept, frame.subtract(kept)


def other_way_round(frame: DataFrame, condition: str) -> tuple[DataFrame, DataFrame]:
    met = F.coalesce(F.expr(condition), F.lit(False))
    return frame.where(~met), frame.where(met)


def only_the_kept(frame: DataFrame, condition: str) -> DataFrame:
    return frame.where(condition)


def with_a_flag(frame: DataFrame, condition: str) -> tuple[DataFrame, DataFrame]:
    flagged = frame.withColumn("met", F.coalesce(F.expr(condition), F.lit(False)))
    return flagged.where("met"), flagged.where("NOT met")


def test_split_right(chapter: SimpleNamespace) -> None:
    assert repr(check.split(chapter.split)) == (
        "✓ Exercise 2.1. Every row is in one of the two parts, whatever the condition is for it."
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            negated,
            "For the condition 'total_cents > 0' order O3 (channel web, total_cents NULL) is in neither "
            "part. The condition is NULL for it, and so is its opposite.",
        ),
        (
            null_is_kept,
            "For the condition 'total_cents > 0' your first part has order O3 (channel web, total_cents "
            "NULL); the condition is NULL for it. The first part holds only rows for which it is TRUE.",
        ),
        (
            negated_in_part,
            "For the condition \"channel = 'web' OR total_cents > 1000\" order O1 (channel web, total_cents "
            "1890) is in both parts; the condition is TRUE for it.",
        ),
        (
            subtracted,
            "For the condition 'total_cents > 0' order O6 (channel app, total_cents NULL) is once in your "
            "parts, and twice in the frame. Of rows that are equal, each counts.",
        ),
        (
            other_way_round,
            "For the condition 'total_cents > 0' your second part has order O1 (channel web, total_cents "
            "1890); the condition is TRUE for it. The rows to keep are the first part.",
        ),
        (
            only_the_kept,
            "Your function returned a DataFrame; return two DataFrames, as in: return kept, rest.",
        ),
        (
            with_a_flag,
            "Your rows have a column met more; return order_id, channel, total_cents.",
        ),
    ],
)
def test_split_wrong(spark: SparkSession, answer: Callable[..., Any], told: str) -> None:
    assert wrong(check.split(answer)) == told


# 2.2 ---------------------------------------------------------------------------------------------


def reasons_of(expectations: dict[str, str], broken: str = "NOT coalesce({}, false)") -> list[Column]:
    return [F.when(F.expr(broken.format(f"({condition})")), name) for name, condition in expectations.items()]


def first_reason(frame: DataFrame, expectations: dict[str, str]) -> DataFrame:
    first = F.coalesce(*reasons_of(expectations))
    return frame.withColumn("_reasons", F.array_compact(F.array(first)))


def null_is_met(frame: DataFrame, expectations: dict[str, str]) -> DataFrame:
    broken = F.array(*reasons_of(expectations, "NOT {}"))
    return frame.withColumn("_reasons", F.array_compact(broken))


def with_nulls(frame: DataFrame, expectations: dict[str, str]) -> DataFrame:
    return frame.withColumn("_reasons", F.array(*reasons_of(expectations)))


def null_for_none(frame: DataFrame, expectations: dict[str, str]) -> DataFrame:
    broken = F.array_compact(F.array(*reasons_of(expectations)))
    return frame.withColumn("_reasons", F.when(F.size(broken) > 0, broken))


def what_is_met(frame: DataFrame, expectations: dict[str, str]) -> DataFrame:
    return frame.withColumn("_reasons", F.array_compact(F.array(*reasons_of(expectations, "{}"))))


def sorted_reasons(frame: DataFrame, expectations: dict[str, str]) -> DataFrame:
    broken = F.array_compact(F.array(*reasons_of(expectations)))
    return frame.withColumn("_reasons", F.sort_array(broken))


def as_one_text(frame: DataFrame, expectations: dict[str, str]) -> DataFrame:
    return frame.withColumn("_reasons", F.concat_ws(", ", *reasons_of(expectations)))


def only_the_broken(frame: DataFrame, expectations: dict[str, str]) -> DataFrame:
    broken = F.array_compact(F.array(*reasons_of(expectations)))
    return frame.withColumn("_reasons", broken).where("size(_reasons) > 0")


def without_equal_rows(frame: DataFrame, expectations: dict[str, str]) -> DataFrame:
    return frame.distinct().withColumn("_reasons", F.array_compact(F.array(*reasons_of(expectations))))


def other_name(frame: DataFrame, expectations: dict[str, str]) -> DataFrame:
    return frame.withColumn("reasons", F.array_compact(F.array(*reasons_of(expectations))))


def test_reasons_right(chapter: SimpleNamespace) -> None:
    assert repr(check.with_reasons(chapter.with_reasons)) == (
        "✓ Exercise 2.2. Every row names what it does not meet, all of it and in order."
    )


ALL_MET = "order O1 (customer_id C1, total_cents 1890, quantity 2)"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            first_reason,
            "Your _reasons of order O4 (customer_id NULL, total_cents -100, quantity 0) is "
            "['total above 0']. It lacks 'customer known', which the order does not meet.",
        ),
        (
            null_is_met,
            "Your _reasons of order O3 (customer_id C1, total_cents NULL, quantity 3) lacks 'total above 0': "
            "total_cents > 0 is NULL for it, and NULL is not met.",
        ),
        (
            with_nulls,
            f"Your _reasons of {ALL_MET} is [NULL, NULL, NULL]. Leave out the NULLs: it should be [].",
        ),
        (
            null_for_none,
            f"Your _reasons of {ALL_MET} is NULL. It meets every expectation: the array is empty.",
        ),
        (what_is_met, f"Your _reasons of {ALL_MET} names 'total above 0', which the order meets."),
        (
            sorted_reasons,
            "Your _reasons of order O4 (customer_id NULL, total_cents -100, quantity 0) is ['a quantity', "
            "'customer known', 'total above 0']; in the order of the dict it is ['total above 0', "
            "'customer known', 'a quantity'].",
        ),
        (as_one_text, "The column _reasons is of the type STRING, not ARRAY<STRING>."),
        (only_the_broken, "Your answer has 4 rows, and the frame has 7."),
        (without_equal_rows, "Your answer has 6 rows, and the frame has 7."),
        (
            other_name,
            "The column _reasons is missing; yours are order_id, customer_id, total_cents, "
            "quantity, reasons.",
        ),
    ],
)
def test_reasons_wrong(spark: SparkSession, answer: Callable[..., DataFrame], told: str) -> None:
    assert wrong(check.with_reasons(answer)) == told


# 2.3 ---------------------------------------------------------------------------------------------


def tried(*patterns: str) -> Callable[[Column], Column]:
    """Return an answer that tries patterns, and takes any year."""

    def parsed(text: Column) -> Column:
        return F.coalesce(*(F.try_to_date(text, pattern) for pattern in patterns))

    return parsed


def month_first(text: Column) -> Column:
    return tried("yyyy-MM-dd", "MM/dd/yyyy", "d MMM yyyy")(text)


def any_year(text: Column) -> Column:
    return tried("yyyy-MM-dd", "dd/MM/yyyy", "d MMM yyyy")(text)


def no_bound_above(text: Column) -> Column:
    day = any_year(text)
    return F.when(F.year(day) >= 1900, day)


def bounds_left_out(text: Column) -> Column:
    day = any_year(text)
    return F.when((F.year(day) > 1900) & (F.year(day) < 2100), day)


def one_form(text: Column) -> Column:
    return F.to_date(text, "yyyy-MM-dd")


def chosen_by_its_look(text: Column) -> Column:
    return (
        F.when(text.contains("/"), F.to_date(text, "dd/MM/yyyy"))
        .when(text.contains(" "), F.to_date(text, "d MMM yyyy"))
        .otherwise(F.to_date(text, "yyyy-MM-dd"))
    )


def guessed(text: Column) -> Column:
    return F.coalesce(text.try_cast("date"), tried("dd/MM/yyyy", "d MMM yyyy")(text))


def a_moment(text: Column) -> Column:
    return F.try_to_timestamp(text, F.lit("yyyy-MM-dd"))


def unchanged(text: Column) -> Column:
    return text


def in_python(text: Column) -> Column:
    from datetime import datetime

    def read(value):
        for pattern in ("%Y-%m-%d", "%d/%m/%Y"):
            try:
                return datetime.strptime(value, pattern).date()
            except ValueError:
                continue
        return datetime.strptime(value, "%d %b %Y").date()

    return F.udf(read, "date")(text)


def test_dates_right(chapter: SimpleNamespace) -> None:
    assert repr(check.dates(chapter.parsed_date)) == (
        "✓ Exercise 2.3. Three forms are read, all else is NULL, and no text stops the query."
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            month_first,
            "For the text '03/07/2025' your column is 2025-03-07; it should be 2025-07-03. "
            "With slashes the day comes first.",
        ),
        (
            any_year,
            "For the text '0001-01-01' your column is 0001-01-01; it should be NULL. It is before 1900.",
        ),
        (
            no_bound_above,
            "For the text '9999-12-31' your column is 9999-12-31; it should be NULL. It is after 2100.",
        ),
        (
            bounds_left_out,
            "For the text '1900-01-01' your column is NULL; it should be 1900-01-01. "
            "The year 1900 is allowed.",
        ),
        (
            one_form,
            "Your column stops the query at the text '03/07/2025' with CANNOT_PARSE_TIMESTAMP. "
            "It is a date, only not in the form that you read first.",
        ),
        (
            chosen_by_its_look,
            "Your column stops the query at the text 'soon' with CANNOT_PARSE_TIMESTAMP. "
            "One bad text must not stop the others: give NULL.",
        ),
        (
            in_python,
            "Your column stops the query at the text 'soon' with ValueError: time data 'soon' does not match "
            "format '%d %b %Y'. One bad text must not stop the others: give NULL.",
        ),
        (
            guessed,
            "For the text '2025-07' your column is 2025-07-01; it should be NULL. "
            "A year and a month are no day.",
        ),
        (a_moment, "Your column is of the type TIMESTAMP, not DATE."),
        (unchanged, "Your column is of the type STRING, not DATE."),
    ],
)
def test_dates_wrong(spark: SparkSession, answer: Callable[[Column], Column], told: str) -> None:
    assert wrong(check.dates(answer)) == told


# 2.4 ---------------------------------------------------------------------------------------------


def any_event(events: DataFrame) -> DataFrame:
    return events.dropDuplicates(["order_id"])


def largest_of_each(events: DataFrame) -> DataFrame:
    others = [F.max(column).alias(column) for column in events.columns[1:]]
    return events.groupBy("order_id").agg(*others)


def last_known_of_each(events: DataFrame) -> DataFrame:
    others = [
        F.max_by(column, F.when(F.col(column).isNotNull(), F.col("sequence"))).alias(column)
        for column in events.columns[1:]
    ]
    return events.groupBy("order_id").agg(*others)


def newest_first(rank: Callable[[], Column], events: DataFrame) -> DataFrame:
    sequence = Window.partitionBy("order_id").orderBy(F.desc("sequence"))
    return events.withColumn("place", rank().over(sequence)).where("place = 1")


def ranked(events: DataFrame) -> DataFrame:
    return newest_first(F.rank, events).drop("place")


def numbered(events: DataFrame) -> DataFrame:
    return newest_first(F.row_number, events)


def oldest(events: DataFrame) -> DataFrame:
    event = F.min_by(F.struct(*events.columns), "sequence").alias("event")
    return events.groupBy("order_id").agg(event).select("event.*")


def without_repeats(events: DataFrame) -> DataFrame:
    return events.distinct()


def without_deletes(events: DataFrame) -> DataFrame:
    return ranked(events.distinct()).where("op != 'd'")


def test_newest_right(chapter: SimpleNamespace) -> None:
    told = "✓ Exercise 2.4. One row for each order, the newest event and all of it."
    assert repr(check.newest(chapter.newest)) == told
    assert repr(check.newest(lambda events: numbered(events).drop("place"))) == told


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (any_event, "Order O1 has the sequence 3 in your answer; its newest event has 7."),
        (oldest, "Order O1 has the sequence 1 in your answer; its newest event has 7."),
        (
            largest_of_each,
            "Order O1 has the sequence 7 in your answer, and the status placed; event 7 has delivered. "
            "Take the whole row of one event.",
        ),
        (
            last_known_of_each,
            "Order O2 has the sequence 5 in your answer, and the status packed; event 5 has NULL. "
            "Take the whole row of one event.",
        ),
        (
            ranked,
            "Order O3 is in 2 rows of your answer, all with the sequence 10: its newest event was sent "
            "twice. Keep one of them.",
        ),
        (without_repeats, "Order O1 is in 3 rows of your answer, with the sequences 1, 3 and 7."),
        (without_deletes, "Order O2 is in the events and not in your answer."),
        (
            numbered,
            "Your rows have a column place more; return order_id, sequence, op, status, total_cents.",
        ),
    ],
)
def test_newest_wrong(spark: SparkSession, answer: Callable[[DataFrame], DataFrame], told: str) -> None:
    assert wrong(check.newest(answer)) == told


# 2.5 ---------------------------------------------------------------------------------------------


def one_each(batch: DataFrame) -> DataFrame:
    event = F.max_by(F.struct(*batch.columns), "sequence").alias("event")
    return batch.groupBy("order_id").agg(event).select("event.*")


def merge(batch: DataFrame, table: str) -> Any:
    target = DeltaTable.forName(batch.sparkSession, table).alias("old")
    return target.merge(batch.alias("new"), "old.order_id = new.order_id")


def last_come_wins(batch: DataFrame, number: int, table: str) -> None:
    merge(one_each(batch), table).whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()


def not_reduced(batch: DataFrame, number: int, table: str) -> None:
    newer = "new.sequence > old.sequence"
    merge(batch, table).whenMatchedUpdateAll(newer).whenNotMatchedInsertAll().execute()


def reduced_to_any(batch: DataFrame, number: int, table: str) -> None:
    not_reduced(batch.dropDuplicates(["order_id"]), number, table)


def deleting(batch: DataFrame, number: int, table: str) -> None:
    newer = "new.sequence > old.sequence"
    merged = merge(one_each(batch), table).whenMatchedDelete(f"{newer} AND new.op = 'd'")
    merged.whenMatchedUpdateAll(newer).whenNotMatchedInsertAll("new.op != 'd'").execute()


def deleting_what_is_there(batch: DataFrame, number: int, table: str) -> None:
    newer = "new.sequence > old.sequence"
    merged = merge(one_each(batch), table).whenMatchedDelete(f"{newer} AND new.op = 'd'")
    merged.whenMatchedUpdateAll(newer).whenNotMatchedInsertAll().execute()


def forgetting_deletes(batch: DataFrame, number: int, table: str) -> None:
    not_reduced(one_each(batch.where("op != 'd'")), number, table)


def appending(batch: DataFrame, number: int, table: str) -> None:
    one_each(batch).write.mode("append").saveAsTable(table)


def inserting_what_is_new(batch: DataFrame, number: int, table: str) -> None:
    merge(one_each(batch), table).whenNotMatchedInsertAll().execute()


def updating_only_deletes(batch: DataFrame, number: int, table: str) -> None:
    newer = "new.sequence > old.sequence AND new.op = 'd'"
    merge(one_each(batch), table).whenMatchedUpdateAll(newer).whenNotMatchedInsertAll().execute()


def updating_what_is_there(batch: DataFrame, number: int, table: str) -> None:
    merge(one_each(batch), table).whenMatchedUpdateAll("new.sequence > old.sequence").execute()


def keeping_the_status(batch: DataFrame, number: int, table: str) -> None:
    change = {"sequence": "new.sequence", "op": "new.op", "status": "coalesce(new.status, old.status)"}
    merged = merge(one_each(batch), table).whenMatchedUpdate("new.sequence > old.sequence", change)
    merged.whenNotMatchedInsertAll().execute()


def through_a_view_of_spark(batch: DataFrame, number: int, table: str) -> None:
    one_each(batch).createOrReplaceTempView("newest_ones")
    SparkSession.active().sql(f"""
        MERGE INTO {table} old USING newest_ones new ON old.order_id = new.order_id
        WHEN MATCHED AND new.sequence > old.sequence THEN UPDATE SET *
        WHEN NOT MATCHED THEN INSERT *
    """)


def through_a_view_of_the_batch(batch: DataFrame, number: int, table: str) -> None:
    one_each(batch).createOrReplaceTempView("newest_ones")
    batch.sparkSession.sql(f"""
        MERGE INTO {table} old USING newest_ones new ON old.order_id = new.order_id
        WHEN MATCHED AND new.sequence > old.sequence THEN UPDATE SET *
        WHEN NOT MATCHED THEN INSERT *
    """)


def overwriting(batch: DataFrame, number: int, table: str) -> None:
    one_each(batch).write.mode("overwrite").saveAsTable(table)


def with_its_number(batch: DataFrame, number: int, table: str) -> None:
    rows = one_each(batch).withColumn("batch", F.lit(number))
    rows.write.mode("append").option("mergeSchema", True).saveAsTable(table)


CHANGES_RIGHT = (
    "✓ Exercise 2.5. What came late or twice has changed nothing, and what was deleted stays deleted."
)


def test_changes_right(chapter: SimpleNamespace, spark: SparkSession) -> None:
    assert repr(check.apply_changes(chapter.apply_changes)) == CHANGES_RIGHT
    assert repr(check.apply_changes(through_a_view_of_the_batch)) == CHANGES_RIGHT
    assert spark.sql("SHOW TABLES IN scratch LIKE 'check_*'").count() == 0


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            last_come_wins,
            "After batch 1 order O2 went back in time: your table had its event 22, and shows the older "
            "event 21 now. Compare the sequences.",
        ),
        (
            not_reduced,
            "Batch 1 stopped with DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE: it holds the "
            "events 62, 64 and 63 of order O6. Reduce the batch to one event for each order before the "
            "MERGE.",
        ),
        (
            reduced_to_any,
            "Batch 1 holds the events 62, 64 and 63 of order O6, and your table shows 62. "
            "The newest of them counts.",
        ),
        (
            deleting,
            "After batch 1 order O4 is back: its delete has sequence 42, and your table shows sequence 41 "
            "with the status placed.",
        ),
        (
            deleting_what_is_there,
            "After batch 2, which is batch 0 again, order O3 is back: its delete has sequence 32, and your "
            "table shows sequence 31 with the status placed.",
        ),
        (
            forgetting_deletes,
            "After batch 1 order O3 is still there: its delete, sequence 32, was in batch 1, and your table "
            "shows sequence 31.",
        ),
        (
            appending,
            "After batch 1 order O2 is in 2 rows of your table, with the sequences 21 and 22. "
            "Each order has one row.",
        ),
        (
            inserting_what_is_new,
            "After batch 1 order O3 is still there: its delete, sequence 32, was in batch 1, and your table "
            "shows sequence 31.",
        ),
        (
            updating_only_deletes,
            "After batch 1 order O6 shows the old event 61 in your table; its newer event 64 was in batch 1.",
        ),
        (
            updating_what_is_there,
            "After batch 0 order O1 has no row in your table; its event 11 was in batch 0.",
        ),
        (
            keeping_the_status,
            "After batch 1 order O3 has the sequence 32 and the status placed in your table; event 32 has "
            "NULL. Take the whole event.",
        ),
        (
            through_a_view_of_spark,
            "Batch 0 stopped with TABLE_OR_VIEW_NOT_FOUND. A stream hands each batch over in a session of "
            "its own: its views are in batch.sparkSession, not in spark.",
        ),
        (
            overwriting,
            "After batch 1 order O1 has no row in your table; its event 11 was in batch 0.",
        ),
        (
            with_its_number,
            "After batch 0 the columns of the table are order_id, sequence, op, status, batch; "
            "they should still be order_id, sequence, op, status.",
        ),
    ],
)
def test_changes_wrong(spark: SparkSession, answer: Callable[..., None], told: str) -> None:
    assert wrong(check.apply_changes(answer)) == told


# 2.6 ---------------------------------------------------------------------------------------------


def in_time(column: Column) -> Column:
    return column.over(Window.partitionBy("customer_id").orderBy("seen_at"))


def by_city(events: DataFrame) -> DataFrame:
    cities = events.groupBy("customer_id", "city").agg(F.min("seen_at").alias("seen_at"))
    return with_intervals(cities)


def with_intervals(changes: DataFrame, end: Column | None = None) -> DataFrame:
    following = in_time(F.lead("seen_at"))
    return changes.select(
        "customer_id",
        "city",
        F.col("seen_at").alias("valid_from"),
        (following if end is None else end).alias("valid_to"),
        following.isNull().alias("is_current"),
    )


def changes_of(events: DataFrame) -> DataFrame:
    seen = events.withColumn("before", in_time(F.lag("city")))
    return seen.where("before IS NULL OR city != before")


def of_every_row(events: DataFrame) -> DataFrame:
    return with_intervals(events)


def of_every_distinct_row(events: DataFrame) -> DataFrame:
    return with_intervals(events.distinct())


def without_the_first(events: DataFrame) -> DataFrame:
    seen = events.withColumn("before", in_time(F.lag("city")))
    return with_intervals(seen.where("city != before"))


def ends_before_the_filter(events: DataFrame) -> DataFrame:
    seen = events.withColumn("ends", in_time(F.lead("seen_at")))
    return with_intervals(changes_of(seen), F.col("ends"))


def shortened(events: DataFrame) -> DataFrame:
    ends = in_time(F.lead("seen_at")) - F.expr("INTERVAL 1 SECOND")
    return with_intervals(changes_of(events), ends)


def lengthened(events: DataFrame) -> DataFrame:
    ends = in_time(F.lead("seen_at")) + F.expr("INTERVAL 1 DAY")
    return with_intervals(changes_of(events), ends)


def in_a_far_future(events: DataFrame) -> DataFrame:
    ends = F.coalesce(in_time(F.lead("seen_at")), F.lit("9999-12-31").cast("timestamp"))
    return with_intervals(changes_of(events), ends)


def without_an_end(events: DataFrame) -> DataFrame:
    return with_intervals(changes_of(events), F.lit(None).cast("timestamp"))


def never_current(events: DataFrame) -> DataFrame:
    return with_intervals(changes_of(events)).withColumn("is_current", F.lit(False))


def always_current(events: DataFrame) -> DataFrame:
    return with_intervals(changes_of(events)).withColumn("is_current", F.lit(True))


def as_days(events: DataFrame) -> DataFrame:
    return with_intervals(changes_of(events)).withColumn("valid_from", F.to_date("valid_from"))


def at_the_end_of_its_run(events: DataFrame) -> DataFrame:
    seen = events.distinct().withColumn("after", in_time(F.lead("city")))
    return with_intervals(seen.where("after IS NULL OR city != after"))


def without_customers(events: DataFrame) -> DataFrame:
    in_order = Window.orderBy("seen_at")
    seen = events.withColumn("before", F.lag("city").over(in_order))
    return with_intervals(seen.where("before IS NULL OR city != before"))


def test_versions_right(chapter: SimpleNamespace) -> None:
    assert repr(check.versions(chapter.versions)) == (
        "✓ Exercise 2.6. One row for each change, and one version at each moment."
    )


C1 = "customer C1, who was in Leiden, then Gent, then Leiden"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            by_city,
            f"Your answer has 2 rows for {C1}: it should have 3. "
            "A city that comes back is a version of its own.",
        ),
        (
            of_every_row,
            f"Your answer has 6 rows for {C1}: it should have 3. "
            "A row that repeats where the customer was seen before makes no version.",
        ),
        (
            of_every_distinct_row,
            f"Your answer has 5 rows for {C1}: it should have 3. "
            "A row that repeats where the customer was seen before makes no version.",
        ),
        (
            without_the_first,
            f"Your answer has 2 rows for {C1}: it should have 3. "
            "The first city that was seen is a version too.",
        ),
        (
            at_the_end_of_its_run,
            "Version 2 of customer C1, Gent, begins at 2025-09-01 08:00:00; "
            "the city was first seen at 2025-08-01 08:00:00.",
        ),
        (
            without_customers,
            f"Your answer has 5 rows for {C1}: it should have 3. "
            "A row that repeats where the customer was seen before makes no version.",
        ),
        (
            ends_before_the_filter,
            "Version 2 of customer C1, Gent, ends at 2025-09-01 08:00:00, and the next one begins at "
            "2025-10-01 08:00:00: that is a gap.",
        ),
        (
            shortened,
            "Version 1 of customer C1, Leiden, ends at 2025-08-01 07:59:59, and the next one begins at "
            "2025-08-01 08:00:00: that is a gap.",
        ),
        (
            lengthened,
            "Version 1 of customer C1, Leiden, ends at 2025-08-02 08:00:00, and the next one begins at "
            "2025-08-01 08:00:00: that is an overlap.",
        ),
        (
            in_a_far_future,
            "Version 3 of customer C1, Leiden, ends at 9999-12-31 00:00:00. "
            "It is the last, so its valid_to is NULL.",
        ),
        (
            without_an_end,
            "Version 1 of customer C1, Leiden, has no end, and the next one begins at 2025-08-01 08:00:00.",
        ),
        (never_current, "Version 3 of customer C1, Leiden, is the last, and your is_current is false."),
        (always_current, "Version 1 of customer C1, Leiden, has ended, and your is_current is true."),
        (as_days, "The column valid_from is of the type DATE, not TIMESTAMP."),
    ],
)
def test_versions_wrong(spark: SparkSession, answer: Callable[[DataFrame], DataFrame], told: str) -> None:
    assert wrong(check.versions(answer)) == told
