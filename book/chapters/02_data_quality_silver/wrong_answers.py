"""Wrong answers to the exercises of chapter 02, what each is told, and other right ones."""

from collections.abc import Callable
from datetime import datetime
from operator import methodcaller

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

NO_RETURN = "Your function returned nothing. Does it end with return? It should return"


def forgets(*given):
    print(given)


# 2.1


def parts(kept: str = "{0}", rest: str = "NOT ({0})") -> Callable:
    """Return an answer that filters by two templates of the condition."""
    return lambda frame, condition: (frame.where(kept.format(condition)), frame.where(rest.format(condition)))


def subtracted(frame, condition):
    kept = frame.where(condition)
    return kept, frame.subtract(kept)


def only_the_kept(frame, condition):
    return frame.where(condition)


def with_a_flag(frame, condition):
    flagged = frame.withColumn("met", F.expr(f"coalesce({condition}, false)"))
    return flagged.where("met"), flagged.where("NOT met")


# 2.2


def compact(each: list[Column]) -> Column:
    return F.array_compact(F.array(*each))


def reasons(
    made: Callable[[list[Column]], Column] = compact,
    *,
    broken: str = "NOT coalesce({}, false)",
    name: str = "_reasons",
) -> Callable:
    """Return an answer: what is `made` of each name or NULL, by the template `broken`."""

    def with_reasons(frame, expectations):
        each = [
            F.when(F.expr(broken.format(f"({condition})")), expectation)
            for expectation, condition in expectations.items()
        ]
        return frame.withColumn(name, made(each))

    return with_reasons


def null_for_none(each):
    return F.when(F.size(compact(each)) > 0, compact(each))


def only_the_broken(frame, expectations):
    return reasons()(frame, expectations).where("size(_reasons) > 0")


def without_equal_rows(frame, expectations):
    return reasons()(frame.distinct(), expectations)


# 2.3


def tried(*patterns: str) -> Callable[[Column], Column]:
    """Return an answer that tries patterns, and takes any year."""
    return lambda text: F.coalesce(*(F.try_to_date(text, each) for each in patterns))


any_year = tried("yyyy-MM-dd", "dd/MM/yyyy", "d MMM yyyy")


def no_bound_above(text):
    return F.when(F.year(any_year(text)) >= 1900, any_year(text))


def bounds_left_out(text):
    return F.when(F.year(any_year(text)).between(1901, 2099), any_year(text))


def one_form(text):
    return F.to_date(text, "yyyy-MM-dd")


def chosen_by_its_look(text):
    return (
        F.when(text.contains("/"), F.to_date(text, "dd/MM/yyyy"))
        .when(text.contains(" "), F.to_date(text, "d MMM yyyy"))
        .otherwise(F.to_date(text, "yyyy-MM-dd"))
    )


def guessed(text):
    return F.coalesce(text.try_cast("date"), any_year(text))


def a_moment(text):
    return F.try_to_timestamp(text, F.lit("yyyy-MM-dd"))


def unchanged(text):
    return text


def in_python(text):
    def read(value):
        for pattern in ("%Y-%m-%d", "%d/%m/%Y"):
            try:
                return datetime.strptime(value, pattern).date()
            except ValueError:
                continue
        return datetime.strptime(value, "%d %b %Y").date()

    return F.udf(read, "date")(text)


# 2.4


def any_event(events):
    return events.dropDuplicates(["order_id"])


def largest_of_each(events):
    others = [F.max(column).alias(column) for column in events.columns[1:]]
    return events.groupBy("order_id").agg(*others)


def last_known_of_each(events):
    others = [
        F.max_by(column, F.when(F.col(column).isNotNull(), F.col("sequence"))).alias(column)
        for column in events.columns[1:]
    ]
    return events.groupBy("order_id").agg(*others)


def first_by(rank, events):
    sequence = Window.partitionBy("order_id").orderBy(F.desc("sequence"))
    return events.withColumn("place", rank().over(sequence)).where("place = 1")


def ranked(events):
    return first_by(F.rank, events).drop("place")


def numbered(events):
    return first_by(F.row_number, events)


def numbered_and_dropped(events):
    return numbered(events).drop("place")


def oldest(events):
    event = F.min_by(F.struct(*events.columns), "sequence").alias("event")
    return events.groupBy("order_id").agg(event).select("event.*")


def without_repeats(events):
    return events.distinct()


def without_deletes(events):
    return ranked(events.distinct()).where("op != 'd'")


# 2.5

NEWER = "new.sequence > old.sequence"
UPDATE = methodcaller("whenMatchedUpdateAll", NEWER)
DELETE = methodcaller("whenMatchedDelete", f"{NEWER} AND new.op = 'd'")
INSERT = methodcaller("whenNotMatchedInsertAll")


def one_each(batch: DataFrame) -> DataFrame:
    event = F.max_by(F.struct(*batch.columns), "sequence").alias("event")
    return batch.groupBy("order_id").agg(event).select("event.*")


def merging(*clauses: Callable, of: Callable = one_each) -> Callable:
    """Return an answer that merges what `of` makes of a batch, by these clauses."""

    def apply_changes(batch, number, table):
        target = DeltaTable.forName(batch.sparkSession, table).alias("old")
        merge = target.merge(of(batch).alias("new"), "old.order_id = new.order_id")
        for clause in clauses:
            merge = clause(merge)
        merge.execute()

    return apply_changes


def saving(mode: str) -> Callable:
    return lambda batch, number, table: one_each(batch).write.mode(mode).saveAsTable(table)


def with_its_number(batch, number, table):
    rows = one_each(batch).withColumn("batch", F.lit(number))
    rows.write.mode("append").option("mergeSchema", True).saveAsTable(table)


def through_a_view(session: Callable[[DataFrame], SparkSession]) -> Callable:
    """Return an answer in SQL that looks for its view in the `session` of a batch."""

    def apply_changes(batch, number, table):
        one_each(batch).createOrReplaceTempView("newest_ones")
        session(batch).sql(f"""
            MERGE INTO {table} old USING newest_ones new ON old.order_id = new.order_id
            WHEN MATCHED AND {NEWER} THEN UPDATE SET *
            WHEN NOT MATCHED THEN INSERT *
        """)

    return apply_changes


# 2.6


def in_time(column: Column) -> Column:
    return column.over(Window.partitionBy("customer_id").orderBy("seen_at"))


def changed(events: DataFrame, test: str = "before IS NULL OR city != before"):
    return events.withColumn("before", in_time(F.lag("city"))).where(test)


def intervals(rows: Callable = changed, **others: str) -> Callable:
    """Return an answer: `rows` chooses the versions; the `others` are columns in SQL."""

    def versions(events):
        following = in_time(F.lead("seen_at"))
        return (
            rows(events)
            .withColumns({"valid_from": F.col("seen_at"), "valid_to": following})
            .withColumn("is_current", F.col("valid_to").isNull())
            .withColumns({name: F.expr(text) for name, text in others.items()})
            .select("customer_id", "city", "valid_from", "valid_to", "is_current")
        )

    return versions


def once_a_city(events):
    return events.groupBy("customer_id", "city").agg(F.min("seen_at").alias("seen_at"))


def the_end_before_the_filter(events):
    return changed(events.withColumn("end", in_time(F.lead("seen_at"))))


def the_end_of_a_run(events):
    seen = events.distinct().withColumn("after", in_time(F.lead("city")))
    return seen.where("after IS NULL OR city != after")


def of_all_customers(events):
    before = F.lag("city").over(Window.orderBy("seen_at"))
    return events.withColumn("before", before).where("before IS NULL OR city != before")


FIRST = "order O1 (customer_id C1, total_cents 1890, quantity 2)"
FOURTH = "order O4 (customer_id NULL, total_cents -100, quantity 0)"
LEIDEN = "customer C1, who was in Leiden, then Gent, then Leiden: it should have 3. "
REPEATED = "A row that repeats where the customer was seen before makes no version."

WRONG = [
    (
        "split",
        parts(),
        "For the condition 'total_cents > 0' order O3 (channel web, total_cents NULL) "
        "is in neither part. The condition is NULL for it, and so is its opposite.",
    ),
    (
        "split",
        parts(kept="({0}) OR ({0}) IS NULL"),
        "For the condition 'total_cents > 0' your first part has order O3 (channel web, "
        "total_cents NULL); the condition is NULL for it. The first part holds only "
        "rows for which it is TRUE.",
    ),
    (
        "split",
        parts(rest="NOT {0} OR ({0}) IS NULL"),
        "For the condition \"channel = 'web' OR total_cents > 1000\" order O1 (channel "
        "web, total_cents 1890) is in both parts; the condition is TRUE for it.",
    ),
    (
        "split",
        subtracted,
        "For the condition 'total_cents > 0' order O6 (channel app, total_cents NULL) "
        "is once in your parts, and twice in the frame. Of rows that are equal, each "
        "counts.",
    ),
    (
        "split",
        parts("NOT coalesce({0}, false)", "coalesce({0}, false)"),
        "For the condition 'total_cents > 0' your second part has order O1 (channel "
        "web, total_cents 1890); the condition is TRUE for it. The rows to keep are the "
        "first part.",
    ),
    (
        "split",
        only_the_kept,
        "Your function returned a DataFrame. It should return two DataFrames, as in: return kept, rest.",
    ),
    ("split", with_a_flag, "Your rows have a column met more; return order_id, channel, total_cents."),
    ("with_reasons", forgets, f"{NO_RETURN} a DataFrame."),
    (
        "with_reasons",
        reasons(lambda each: compact([F.coalesce(*each)])),
        f"Your _reasons of {FOURTH} is ['total above 0']. It lacks 'customer known', "
        "which the order does not meet.",
    ),
    (
        "with_reasons",
        reasons(broken="NOT {}"),
        "Your _reasons of order O3 (customer_id C1, total_cents NULL, quantity 3) lacks "
        "'total above 0': total_cents > 0 is NULL for it, and NULL is not met.",
    ),
    (
        "with_reasons",
        reasons(lambda each: F.array(*each)),
        f"Your _reasons of {FIRST} is [NULL, NULL, NULL]. Leave out the NULLs: it should be [].",
    ),
    (
        "with_reasons",
        reasons(null_for_none),
        f"Your _reasons of {FIRST} is NULL. It meets every expectation: the array is empty.",
    ),
    (
        "with_reasons",
        reasons(broken="{}"),
        f"Your _reasons of {FIRST} names 'total above 0', which the order meets.",
    ),
    (
        "with_reasons",
        reasons(lambda each: F.sort_array(compact(each))),
        f"Your _reasons of {FOURTH} is ['a quantity', 'customer known', 'total above "
        "0']; in the order of the dict it is ['total above 0', 'customer known', "
        "'a quantity'].",
    ),
    (
        "with_reasons",
        reasons(lambda each: F.concat_ws(", ", *each)),
        "The column _reasons is of the type STRING; it should be ARRAY<STRING>.",
    ),
    ("with_reasons", only_the_broken, "Your answer has 4 rows, and the frame has 7."),
    ("with_reasons", without_equal_rows, "Your answer has 6 rows, and the frame has 7."),
    (
        "with_reasons",
        reasons(name="reasons"),
        "The column _reasons is missing; yours are order_id, customer_id, total_cents, quantity, reasons.",
    ),
    ("dates", forgets, f"{NO_RETURN} a column."),
    (
        "dates",
        tried("yyyy-MM-dd", "MM/dd/yyyy", "d MMM yyyy"),
        "For the text '03/07/2025' your column is 2025-03-07; it should be 2025-07-03. "
        "With slashes the day comes first.",
    ),
    (
        "dates",
        any_year,
        "For the text '0001-01-01' your column is 0001-01-01; it should be NULL. It is before 1900.",
    ),
    (
        "dates",
        no_bound_above,
        "For the text '9999-12-31' your column is 9999-12-31; it should be NULL. It is after 2100.",
    ),
    (
        "dates",
        bounds_left_out,
        "For the text '1900-01-01' your column is NULL; it should be 1900-01-01. The year 1900 is allowed.",
    ),
    (
        "dates",
        one_form,
        "Your column stops the query at the text '03/07/2025' with "
        "CANNOT_PARSE_TIMESTAMP. It is a date, only not in the form that you read first.",
    ),
    (
        "dates",
        chosen_by_its_look,
        "Your column stops the query at the text 'soon' with CANNOT_PARSE_TIMESTAMP. "
        "One bad text must not stop the others: give NULL.",
    ),
    (
        "dates",
        in_python,
        "Your column stops the query at the text 'soon' with ValueError: time data "
        "'soon' does not match format '%d %b %Y'. One bad text must not stop the "
        "others: give NULL.",
    ),
    (
        "dates",
        guessed,
        "For the text '2025-07' your column is 2025-07-01; it should be NULL. A year and a month are no day.",
    ),
    ("dates", a_moment, "Your column is of the type TIMESTAMP; it should be DATE."),
    ("dates", unchanged, "Your column is of the type STRING; it should be DATE."),
    ("newest", forgets, f"{NO_RETURN} a DataFrame."),
    ("newest", any_event, "Order O1 has the sequence 3 in your answer; its newest event has 7."),
    ("newest", oldest, "Order O1 has the sequence 1 in your answer; its newest event has 7."),
    (
        "newest",
        largest_of_each,
        "Order O1 has the sequence 7 in your answer, and the status placed; event 7 has "
        "delivered. Take the whole row of one event.",
    ),
    (
        "newest",
        last_known_of_each,
        "Order O2 has the sequence 5 in your answer, and the status packed; event 5 has "
        "NULL. Take the whole row of one event.",
    ),
    (
        "newest",
        ranked,
        "Order O3 is in 2 rows of your answer, all with the sequence 10: its newest "
        "event was sent twice. Keep one of them.",
    ),
    ("newest", without_repeats, "Order O1 is in 3 rows of your answer, with the sequences 1, 3 and 7."),
    ("newest", without_deletes, "Order O2 is in the events and not in your answer."),
    (
        "newest",
        numbered,
        "Your rows have a column place more; return order_id, sequence, op, status, total_cents.",
    ),
    (
        "apply_changes",
        merging(methodcaller("whenMatchedUpdateAll"), INSERT),
        "After batch 1 order O2 went back in time: your table had its event 22, and "
        "shows the older event 21 now. Compare the sequences.",
    ),
    (
        "apply_changes",
        merging(UPDATE, INSERT, of=lambda batch: batch),
        "Batch 1 stopped with DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE: "
        "it holds the events 62, 64 and 63 of order O6. Reduce the batch to one event "
        "for each order before the MERGE.",
    ),
    (
        "apply_changes",
        merging(UPDATE, INSERT, of=any_event),
        "Batch 1 holds the events 62, 64 and 63 of order O6, and your table shows 62. "
        "The newest of them counts.",
    ),
    (
        "apply_changes",
        merging(DELETE, UPDATE, methodcaller("whenNotMatchedInsertAll", "new.op != 'd'")),
        "After batch 1 order O4 is back: its delete has sequence 42, and your table "
        "shows sequence 41 with the status placed.",
    ),
    (
        "apply_changes",
        merging(DELETE, UPDATE, INSERT),
        "After batch 2, which is batch 0 again, order O3 is back: its delete has "
        "sequence 32, and your table shows sequence 31 with the status placed.",
    ),
    (
        "apply_changes",
        merging(UPDATE, INSERT, of=lambda batch: one_each(batch.where("op != 'd'"))),
        "After batch 1 order O3 is still there: its delete, sequence 32, was in batch "
        "1, and your table shows sequence 31.",
    ),
    (
        "apply_changes",
        saving("append"),
        "After batch 1 order O2 is in 2 rows of your table, with the sequences 21 and "
        "22. Each order has one row.",
    ),
    (
        "apply_changes",
        merging(INSERT),
        "After batch 1 order O3 is still there: its delete, sequence 32, was in batch "
        "1, and your table shows sequence 31.",
    ),
    (
        "apply_changes",
        merging(methodcaller("whenMatchedUpdateAll", f"{NEWER} AND new.op = 'd'"), INSERT),
        "After batch 1 order O6 shows the old event 61 in your table; its newer event 64 was in batch 1.",
    ),
    (
        "apply_changes",
        merging(UPDATE),
        "After batch 0 order O1 has no row in your table; its event 11 was in batch 0.",
    ),
    (
        "apply_changes",
        merging(
            methodcaller(
                "whenMatchedUpdate",
                NEWER,
                {"sequence": "new.sequence", "op": "new.op", "status": "coalesce(new.status, old.status)"},
            ),
            INSERT,
        ),
        "After batch 1 order O3 has the sequence 32 and the status placed in your "
        "table; event 32 has NULL. Take the whole event.",
    ),
    (
        "apply_changes",
        through_a_view(lambda _: SparkSession.active()),
        "Batch 0 stopped with TABLE_OR_VIEW_NOT_FOUND. A stream hands each batch over "
        "in a session of its own: its views are in batch.sparkSession, not in spark.",
    ),
    (
        "apply_changes",
        saving("overwrite"),
        "After batch 1 order O1 has no row in your table; its event 11 was in batch 0.",
    ),
    (
        "apply_changes",
        with_its_number,
        "After batch 0 the columns of the table are order_id, sequence, op, status, "
        "batch; they should still be order_id, sequence, op, status.",
    ),
    ("versions", forgets, f"{NO_RETURN} a DataFrame."),
    (
        "versions",
        intervals(once_a_city),
        f"Your answer has 2 rows for {LEIDEN}A city that comes back is a version of its own.",
    ),
    ("versions", intervals(lambda events: events), f"Your answer has 6 rows for {LEIDEN}{REPEATED}"),
    ("versions", intervals(without_repeats), f"Your answer has 5 rows for {LEIDEN}{REPEATED}"),
    (
        "versions",
        intervals(lambda events: changed(events, "city != before")),
        f"Your answer has 2 rows for {LEIDEN}The first city that was seen is a version too.",
    ),
    (
        "versions",
        intervals(the_end_of_a_run),
        "Version 2 of customer C1, Gent, begins at 2025-09-01 08:00:00; the city was "
        "first seen at 2025-08-01 08:00:00.",
    ),
    ("versions", intervals(of_all_customers), f"Your answer has 5 rows for {LEIDEN}{REPEATED}"),
    (
        "versions",
        intervals(the_end_before_the_filter, valid_to="end"),
        "Version 2 of customer C1, Gent, ends at 2025-09-01 08:00:00, and the next one "
        "begins at 2025-10-01 08:00:00: that is a gap.",
    ),
    (
        "versions",
        intervals(valid_to="valid_to - INTERVAL 1 SECOND"),
        "Version 1 of customer C1, Leiden, ends at 2025-08-01 07:59:59, and the next "
        "one begins at 2025-08-01 08:00:00: that is a gap.",
    ),
    (
        "versions",
        intervals(valid_to="valid_to + INTERVAL 1 DAY"),
        "Version 1 of customer C1, Leiden, ends at 2025-08-02 08:00:00, and the next "
        "one begins at 2025-08-01 08:00:00: that is an overlap.",
    ),
    (
        "versions",
        intervals(valid_to="coalesce(valid_to, TIMESTAMP '9999-12-31')"),
        "Version 3 of customer C1, Leiden, ends at 9999-12-31 00:00:00. It is the last, "
        "so its valid_to is NULL.",
    ),
    (
        "versions",
        intervals(valid_to="CAST(NULL AS TIMESTAMP)"),
        "Version 1 of customer C1, Leiden, has no end, and the next one begins at 2025-08-01 08:00:00.",
    ),
    (
        "versions",
        intervals(is_current="false"),
        "Version 3 of customer C1, Leiden, is the last, and your is_current is false.",
    ),
    (
        "versions",
        intervals(is_current="true"),
        "Version 1 of customer C1, Leiden, has ended, and your is_current is true.",
    ),
    (
        "versions",
        intervals(valid_from="to_date(valid_from)"),
        "The column valid_from is of the type DATE; it should be TIMESTAMP.",
    ),
]


def in_another_order(answer):
    """Return an answer with the columns of another from the last to the first."""

    def turned(*given):
        frame = answer(*given)
        return frame.select(frame.columns[::-1])

    return turned


def both_parts_turned(frame, condition):
    parts = with_a_flag(frame, condition)
    return [part.select("total_cents", "channel", "order_id") for part in parts]


def kept_by_a_case(frame, condition):
    kept = F.expr(f"CASE WHEN {condition} THEN 1 ELSE 0 END")
    return frame.where(kept == 1), frame.where(kept == 0)


def in_bounds(text):
    return F.when(F.year(any_year(text)).between(1900, 2100), any_year(text))


RIGHT = [
    ("split", both_parts_turned),
    ("split", kept_by_a_case),
    ("with_reasons", reasons()),
    ("with_reasons", in_another_order(reasons(lambda each: F.filter(F.array(*each), F.isnotnull)))),
    ("dates", in_bounds),
    ("dates", lambda text: F.udf(lambda day: day, "date")(in_bounds(text))),
    ("newest", in_another_order(numbered_and_dropped)),
    ("newest", numbered_and_dropped),
    ("apply_changes", merging(UPDATE, INSERT)),
    ("apply_changes", through_a_view(lambda batch: batch.sparkSession)),
    ("versions", intervals()),
    ("versions", in_another_order(intervals(is_current="isnull(valid_to)"))),
]
