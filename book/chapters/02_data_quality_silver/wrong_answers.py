"""Wrong answers to the exercises of chapter 02, what each is told, and other right ones."""

from collections.abc import Callable
from operator import methodcaller

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

NEEDS = ("newest_event",)
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

SET = {"_status": "'released'"}
SAME = "old._row_id = new._row_id"


def ready(aside: str, condition: str, status: str = "_status = 'open'") -> DataFrame:
    return SparkSession.active().table(aside).where(f"({condition}) AND {status}")


def inserted(rows: DataFrame, table: str) -> None:
    merge = DeltaTable.forName(SparkSession.active(), table).alias("old").merge(rows.alias("new"), SAME)
    merge.whenNotMatchedInsertAll().execute()


def marked(rows: DataFrame, aside: str) -> None:
    merge = DeltaTable.forName(SparkSession.active(), aside).alias("old").merge(rows.alias("new"), SAME)
    merge.whenMatchedUpdate(set=SET).execute()


def appended(rows: DataFrame, table: str) -> None:
    rows.select("_row_id", "payment_id", "amount_cents").write.mode("append").saveAsTable(table)


def releasing(
    *steps: Callable[[DataFrame, str, str], None], of: Callable[[str, str], DataFrame] = ready
) -> Callable:
    """Return an answer that takes these steps with the rows that `of` chooses."""

    def release(aside, table, condition):
        rows = of(aside, condition)
        for step in steps:
            step(rows, aside, table)

    return release


def to_table(rows, aside, table):
    inserted(rows, table)


def to_status(rows, aside, table):
    marked(rows, aside)


def what_is_there(rows, aside, table):
    old = DeltaTable.forName(SparkSession.active(), aside).alias("old")
    merge = old.merge(SparkSession.active().table(table).select("_row_id").alias("new"), SAME)
    merge.whenMatchedUpdate("old._status = 'open'", SET).execute()


def whatever_is_there(rows, aside, table):
    """Mark all rows that are in the table, also those that somebody has rejected."""
    marked(SparkSession.active().table(table).select("_row_id"), aside)


def status_of_all_open(rows, aside, table):
    DeltaTable.forName(SparkSession.active(), aside).update("_status = 'open'", SET)


def by_append(rows, aside, table):
    appended(rows, table)


def deleted(rows, aside, table):
    gone = DeltaTable.forName(SparkSession.active(), aside).alias("old").merge(rows.alias("new"), SAME)
    gone.whenMatchedDelete().execute()


def by_values(rows, aside, table):
    old = DeltaTable.forName(SparkSession.active(), table).alias("old")
    same = "old.payment_id = new.payment_id AND old.amount_cents = new.amount_cents"
    once = rows.groupBy("payment_id", "amount_cents").agg(F.min("_row_id").alias("_row_id"))
    old.merge(once.alias("new"), same).whenNotMatchedInsertAll().execute()


def without_brackets(aside, condition):
    return SparkSession.active().table(aside).where(f"_status = 'open' AND {condition}")


def null_too(aside, condition):
    return ready(aside, f"({condition}) IS NOT FALSE")


def of_any_status(aside, condition):
    return ready(aside, condition, "true")


def in_sql(aside, table, condition):
    spark = SparkSession.active()
    rows = f"(SELECT * FROM {aside} WHERE _status = 'open' AND ({condition})) new"
    columns = "_row_id, payment_id, amount_cents"
    spark.sql(
        f"MERGE INTO {table} old USING {rows} ON {SAME} WHEN NOT MATCHED THEN "
        f"INSERT ({columns}) VALUES ({columns})"
    )
    spark.sql(
        f"MERGE INTO {aside} old USING {rows} ON {SAME} WHEN MATCHED THEN UPDATE SET _status = 'released'"
    )


def by_anti_join(rows, aside, table):
    there = SparkSession.active().table(table)
    appended(rows.join(there, "_row_id", "left_anti"), table)


# 2.4


def in_time(column: Column) -> Column:
    return column.over(Window.partitionBy("customer_id").orderBy("seen_at"))


def changed(events: DataFrame, test: str = "first IS NULL OR NOT city <=> before"):
    seen = events.withColumns({"before": in_time(F.lag("city")), "first": in_time(F.lag("seen_at"))})
    return seen.where(test)


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


def without_repeats(events):
    return events.distinct()


def the_end_of_a_run(events):
    seen = events.distinct().withColumn("after", in_time(F.lead("city")))
    return seen.where("after IS NULL OR NOT city <=> after")


def of_all_customers(events):
    before = F.lag("city").over(Window.orderBy("seen_at"))
    return events.withColumn("before", before).where("before IS NULL OR city != before")


# 2.5

NEWER = "new.sequence > old.sequence"
UPDATE = methodcaller("whenMatchedUpdateAll", NEWER)
DELETE = methodcaller("whenMatchedDelete", f"{NEWER} AND new.op = 'd'")
INSERT = methodcaller("whenNotMatchedInsertAll")


def one_each(batch: DataFrame) -> DataFrame:
    event = F.max_by(F.struct(*batch.columns), "sequence").alias("event")
    return batch.groupBy("order_id").agg(event).select("event.*")


def any_event(events):
    return events.dropDuplicates(["order_id"])


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


def with_a_note(batch, number, table):
    """Merge with the number as txnVersion, which a new checkpoint begins again at 0."""
    conf = batch.sparkSession.conf
    note = {"txnAppId": "orders", "txnVersion": str(number)}
    for name, value in note.items():
        conf.set(f"spark.databricks.delta.write.{name}", value)
    try:
        merging(UPDATE, INSERT)(batch, number, table)
    finally:
        for name in note:
            conf.unset(f"spark.databricks.delta.write.{name}")


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
    (
        "release",
        forgets,
        "Your function has changed neither table. Does each MERGE end with .execute()?",
    ),
    (
        "release",
        releasing(to_status, to_table),
        "The table refused a write (its constraint allows no amount of 1000 or more), and now row r1 is "
        "released and not in the table. Write the table first, then the status.",
    ),
    (
        "release",
        releasing(by_append, to_status),
        "After your function ran, row r6 is in the table twice. It was there before: a job had died between "
        "its two writes.",
    ),
    (
        "release",
        releasing(to_table, to_status, of=without_brackets),
        "After your function ran, row r4 is in the table; its status was rejected.",
    ),
    (
        "release",
        releasing(to_table, to_status, of=of_any_status),
        "After your function ran, row r4 is in the table; its status was rejected.",
    ),
    (
        "release",
        releasing(to_table, to_status, of=null_too),
        "After your function ran, row r3 is in the table; the condition is NULL for it.",
    ),
    (
        "release",
        releasing(to_table, to_status, of=lambda aside, condition: ready(aside, "true")),
        "Your function adds row r7 to the table; the condition is FALSE for it.",
    ),
    (
        "release",
        releasing(to_table),
        "After your function ran, row r1 has the status open; it should be released.",
    ),
    (
        "release",
        releasing(to_table, status_of_all_open),
        "After your function ran, row r2 has the status released; it should be open.",
    ),
    (
        "release",
        releasing(to_table, whatever_is_there),
        "After your function ran, row r9 has the status released; it should be rejected.",
    ),
    (
        "release",
        releasing(to_table, deleted),
        "After your function ran, row r1 is gone from the quarantine. All rows stay there; only the status "
        "changes.",
    ),
    (
        "release",
        releasing(by_values, to_status),
        "After your function ran, row r8 is not in the table; it was open, and the condition is TRUE for it.",
    ),
    ("versions", forgets, f"{NO_RETURN} a DataFrame."),
    (
        "versions",
        intervals(once_a_city),
        f"Your answer has 2 rows for {LEIDEN}A city that comes back is a version of its own.",
    ),
    (
        "versions",
        intervals(lambda events: changed(events, "before IS NULL OR city != before")),
        "Version 2 of customer C4 is in NULL; it should be in Porto.",
    ),
    (
        "versions",
        intervals(lambda events: changed(events.where("city IS NOT NULL"))),
        "Your answer has 1 row for customer C4, who was in NULL, then Porto, then NULL: it should have 3. "
        "The first city that was seen is a version too.",
    ),
    (
        "versions",
        intervals(lambda events: changed(events, "NOT city <=> before")),
        "Your answer has 2 rows for customer C4, who was in NULL, then Porto, then NULL: it should have 3. "
        "The first city that was seen is a version too.",
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
    (
        "apply_changes",
        merging(methodcaller("whenMatchedUpdateAll"), INSERT),
        "After micro-batch 1 order O2 went back in time: your table had its event 22, and "
        "shows the older event 21 now. Compare the sequences.",
    ),
    (
        "apply_changes",
        merging(UPDATE, INSERT, of=lambda batch: batch),
        "Micro-batch 1 stopped with DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE: "
        "it holds the events 62, 64 and 63 of order O6. Reduce the micro-batch to one event "
        "for each order before the MERGE.",
    ),
    (
        "apply_changes",
        merging(UPDATE, INSERT, of=any_event),
        "Micro-batch 1 holds the events 62, 64 and 63 of order O6, and your table shows 62. "
        "The newest of them counts.",
    ),
    (  # as it stands in the task
        "apply_changes",
        merging(
            methodcaller("whenMatchedDelete", "new.op = 'd'"),
            UPDATE,
            methodcaller("whenNotMatchedInsertAll", "new.op <> 'd'"),
        ),
        "After micro-batch 1 order O4 is back: its delete has sequence 42, and your table "
        "shows sequence 41 with the status placed.",
    ),
    (
        "apply_changes",
        merging(DELETE, UPDATE, methodcaller("whenNotMatchedInsertAll", "new.op != 'd'")),
        "After micro-batch 1 order O4 is back: its delete has sequence 42, and your table "
        "shows sequence 41 with the status placed.",
    ),
    (
        "apply_changes",
        merging(DELETE, UPDATE, INSERT),
        "After micro-batch 0 again, with one new event, order O3 is back: its delete has "
        "sequence 32, and your table shows sequence 31 with the status placed.",
    ),
    (
        "apply_changes",
        merging(UPDATE, INSERT, of=lambda batch: one_each(batch.where("op != 'd'"))),
        "After micro-batch 1 order O3 is still there: its delete, sequence 32, was in micro-batch "
        "1, and your table shows sequence 31.",
    ),
    (
        "apply_changes",
        saving("append"),
        "After micro-batch 1 order O2 is in 2 rows of your table, with the sequences 21 and "
        "22. Each order has one row.",
    ),
    (
        "apply_changes",
        merging(INSERT),
        "After micro-batch 1 order O3 is still there: its delete, sequence 32, was in micro-batch "
        "1, and your table shows sequence 31.",
    ),
    (
        "apply_changes",
        merging(methodcaller("whenMatchedUpdateAll", f"{NEWER} AND new.op = 'd'"), INSERT),
        "After micro-batch 1 order O6 shows the old event 61 in your table; its newer "
        "event 64 was in micro-batch 1.",
    ),
    (
        "apply_changes",
        merging(UPDATE),
        "After micro-batch 0 your table is empty. Does the MERGE insert what is new, and end with "
        ".execute()?",
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
        "After micro-batch 1 order O3 has the sequence 32 and the status placed in your "
        "table; event 32 has NULL. Take the complete event.",
    ),
    (
        "apply_changes",
        through_a_view(lambda _: SparkSession.active()),
        "Micro-batch 0 stopped with TABLE_OR_VIEW_NOT_FOUND. A stream hands each micro-batch over "
        "in a session of its own: its views are in batch.sparkSession, not in spark.",
    ),
    (
        "apply_changes",
        saving("overwrite"),
        "After micro-batch 1 order O1 has no row in your table; its event 11 was in micro-batch 0.",
    ),
    (
        "apply_changes",
        merging(methodcaller("whenMatchedUpdateAll", f"{NEWER} OR new.op = 'd'"), INSERT),
        "After micro-batch 1 order O8 went back in time: your table had its event 82, and "
        "shows the older event 81 now. Compare the sequences.",
    ),
    (
        "apply_changes",
        merging(methodcaller("whenMatchedUpdateAll", f"old.op <> 'd' AND {NEWER}"), INSERT),
        "After micro-batch 1 order O9 shows the old event 91 in your table; its newer "
        "event 92 was in micro-batch 1.",
    ),
    (
        "apply_changes",
        with_a_note,
        "After micro-batch 0 again, with one new event, order O99 has no row in your "
        "table; its event 991 is new.",
    ),
    (
        "apply_changes",
        with_its_number,
        "After micro-batch 0 the columns of the table are order_id, sequence, op, status, "
        "batch; they should still be order_id, sequence, op, status.",
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


def first_of_a_run(events):
    """Number the runs of equal cities by a running sum, and keep the first row of each."""
    new = F.when(in_time(F.lag("city")).eqNullSafe(F.col("city")) & in_time(F.lag("seen_at")).isNotNull(), 0)
    numbered = events.withColumn("new", new.otherwise(1)).withColumn("run", in_time(F.sum("new")))
    of_run = Window.partitionBy("customer_id", "run").orderBy("seen_at")
    return numbered.withColumn("place", F.row_number().over(of_run)).where("place = 1")


RIGHT = [
    ("split", both_parts_turned),
    ("split", kept_by_a_case),
    ("with_reasons", reasons()),
    ("with_reasons", in_another_order(reasons(lambda each: F.filter(F.array(*each), F.isnotnull)))),
    ("release", releasing(to_table, to_status)),
    ("release", releasing(by_anti_join, to_status)),
    ("release", releasing(to_table, what_is_there)),
    ("release", in_sql),
    ("apply_changes", merging(UPDATE, INSERT)),
    ("apply_changes", through_a_view(lambda batch: batch.sparkSession)),
    ("versions", intervals()),
    ("versions", intervals(first_of_a_run)),
    ("versions", in_another_order(intervals(is_current="isnull(valid_to)"))),
]
