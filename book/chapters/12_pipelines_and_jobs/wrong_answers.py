"""What the checks of chapter 12 say of wrong answers, and other right ones."""

import heapq
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import date, datetime, timedelta
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

WRONG = []
RIGHT = []


# 12.1

Rules = dict[str, str]


def _unmet(rules: Rules) -> Any:
    names = [F.when(F.expr(rule), None).otherwise(name) for name, rule in rules.items()]
    return F.array_compact(F.array(*names).cast("ARRAY<STRING>")).alias("_reasons")


def _number(sent: Sequence[Any], order: Any = "_source_file") -> Any:
    return F.row_number().over(Window.partitionBy(*sent).orderBy(order))


def _sided(
    rows: DataFrame, sent: list[str], reasons: Any, again: Any, side: Callable[[], Any] | None = None
) -> DataFrame:
    judged = rows.select("*", reasons, again.alias("_again"))
    first = F.when(F.col("_again") > 1, "repeat").when(F.size("_reasons") > 0, "aside").otherwise("kept")
    return judged.select(*sent, "_source_file", "_reasons", (side() if side else first).alias("_side"))


def negates_by_hand(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    names = [F.when(F.expr(f"NOT ({rule})"), F.lit(name)) for name, rule in rules.items()]
    reasons = F.array_compact(F.array(*names).cast("ARRAY<STRING>")).alias("_reasons")
    return _sided(rows, sent, reasons, _number(sent))


def asks_for_columns(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    columns = [name for name in rows.columns if name != "_source_file"]
    return _sided(rows, sent, _unmet(rules), _number(columns))


def by_brackets(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    return _sided(rows, sent, _unmet(rules), _number([rows[name] for name in sent], rows._source_file))


def as_a_view(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    rows.createOrReplaceTempView("came")
    return _sided(rows.sparkSession.table("came"), sent, _unmet(rules), _number(sent))


def by_one_string(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    return _sided(rows, sent, _unmet(rules), _number([F.concat_ws("|", *sent)]))


def without_separator(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    parts = [F.coalesce(F.col(name).cast("STRING"), F.lit("NULL")) for name in sent]
    return _sided(rows, sent, _unmet(rules), _number([F.concat(*parts)]))


def fails_without_rules(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    names = [F.when(F.expr(rule), None).otherwise(name) for name, rule in rules.items()]
    reasons = F.filter(F.array(*names), lambda one: one.isNotNull()).alias("_reasons")
    return _sided(rows, sent, reasons, _number(sent))


def drops_at_the_end(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    judged = rows.select("*", _unmet(rules), _number(sent).alias("_again"))
    side = F.when(F.col("_again") > 1, "repeat").when(F.size("_reasons") > 0, "aside").otherwise("kept")
    return judged.withColumn("_side", side).drop("_again")


def by_the_id(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    return _sided(rows, sent, _unmet(rules), _number(["payment_id"]))


def rules_first(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    def side() -> Any:
        return F.when(F.size("_reasons") > 0, "aside").when(F.col("_again") > 1, "repeat").otherwise("kept")

    return _sided(rows, sent, _unmet(rules), _number(sent), side)


def without_otherwise(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    def side() -> Any:
        return F.when(F.col("_again") > 1, "repeat").when(F.size("_reasons") > 0, "aside")

    return _sided(rows, sent, _unmet(rules), _number(sent), side)


def first_reason_only(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    return _sided(rows, sent, F.slice(_unmet(rules), 1, 1).alias("_reasons"), _number(sent))


def by_rank(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    again = F.rank().over(Window.partitionBy(*sent).orderBy("_source_file"))
    return _sided(rows, sent, _unmet(rules), again)


def newest_stays(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    return _sided(rows, sent, _unmet(rules), _number(sent, F.desc("_source_file")))


def leaves_repeats_out(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    return _sided(rows, sent, _unmet(rules), _number(sent)).where("_side <> 'repeat'")


def keeps_its_helper(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    judged = rows.select("*", _unmet(rules), _number(sent).alias("_again"))
    side = F.when(F.col("_again") > 1, "repeat").when(F.size("_reasons") > 0, "aside").otherwise("kept")
    return judged.withColumn("_side", side)


def repairs_too(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    found = _sided(rows, sent, _unmet(rules), _number(sent))
    euro = F.coalesce("currency", F.lit("EUR")).alias("currency")
    return found.select(
        *[euro if name == "currency" else name for name in sent], "_source_file", "_reasons", "_side"
    )


def untyped_array(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    text = F.concat_ws(",", _unmet(rules)).alias("_reasons")
    judged = rows.select("*", text, _number(sent).alias("_again"))
    side = F.when(F.col("_again") > 1, "repeat").when(F.col("_reasons") != "", "aside").otherwise("kept")
    return judged.select(*sent, "_source_file", "_reasons", side.alias("_side"))


def with_columns(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    told = F.filter(
        F.array(
            *[
                F.struct(F.lit(n).alias("n"), F.expr(f"coalesce({r}, false)").alias("ok"))
                for n, r in rules.items()
            ]
        ),
        lambda one: ~one["ok"],
    )["n"]
    reasons = told if rules else F.expr("CAST(array() AS ARRAY<STRING>)")
    judged = rows.withColumns({"_reasons": reasons, "_n": _number(sent)})
    case = "CASE WHEN _n > 1 THEN 'repeat' WHEN cardinality(_reasons) > 0 THEN 'aside' ELSE 'kept' END"
    return judged.selectExpr(f"{case} AS _side", "_reasons", "_source_file", *sent)


def by_lag(rows: DataFrame, rules: Rules, sent: list[str]) -> DataFrame:
    before = F.count(F.lit(1)).over(
        Window.partitionBy(*[F.col(name) for name in sent])
        .orderBy("_source_file")
        .rowsBetween(Window.unboundedPreceding, -1)
    )
    return _sided(rows, sent, _unmet(rules), before + 1)


NOT_IN_A_PIPELINE = (
    "Your function uses {} of a DataFrame. A query function of a pipeline cannot: it would need the rows or "
    "their columns, or change the session. Use select and where."
)
WRONG += [
    ("sides", negates_by_hand, "P2 of w1 has _reasons []; it should be ['positive']."),
    ("sides", asks_for_columns, NOT_IN_A_PIPELINE.format(".columns")),
    ("sides", as_a_view, NOT_IN_A_PIPELINE.format(".createOrReplaceTempView")),
    ("sides", drops_at_the_end, NOT_IN_A_PIPELINE.format(".drop")),
    (
        "sides",
        by_the_id,
        "P7 of w2 has _side repeat; it should be kept, because its amount is another than in w1, so the rows "
        "are not equal.",
    ),
    (
        "sides",
        rules_first,
        "P6 of w2 has _side aside; it should be repeat, because an equal row is in w1, and that comes before "
        "the rules.",
    ),
    ("sides", without_otherwise, "P1 of w1 has _side NULL; it should be kept, because it breaks no rule."),
    ("sides", first_reason_only, "P3 of w1 has _reasons ['positive']; it should be ['positive', 'euro']."),
    (
        "sides",
        by_rank,
        "P5 of w1 has _side kept and kept; it should be repeat, because of two equal rows in one file one is "
        "the first.",
    ),
    (
        "sides",
        by_one_string,
        "100 of w3 has _side repeat; it should be aside, because its amount is NULL, and no other row "
        "has its id.",
    ),
    (
        "sides",
        without_separator,
        "P91 of w2 has _side repeat; it should be kept, because no other row has its id.",
    ),
    (
        "sides",
        fails_without_rules,
        "The column _reasons is of the type ARRAY<VOID>; it should be ARRAY<STRING>.",
    ),
    ("sides", newest_stays, "P4 of w2 has _side kept; it should be repeat, because an equal row is in w1."),
    (
        "sides",
        leaves_repeats_out,
        "P4 of w2 came 1 time, and you return it 0 times. All rows come out, once.",
    ),
    (
        "sides",
        keeps_its_helper,
        "Your rows have a column _again more; return payment_id, amount_cents, currency, _source_file, "
        "_reasons, _side.",
    ),
    ("sides", repairs_too, "P8 of w1 came 1 time, and you return it 0 times. All rows come out, once."),
    ("sides", untyped_array, "The column _reasons is of the type STRING; it should be ARRAY<STRING>."),
]
RIGHT += [("sides", with_columns), ("sides", by_lag), ("sides", by_brackets)]


# 12.2

Dates = tuple[date, date]


def interval(text: str, unit: str, *, back: int = 0, days: int = 7, strict: bool = True) -> Dates:
    """Return the right interval, or with other numbers a wrong one."""
    day = date.fromisoformat(text)
    if (strict and str(day) != text) or unit not in ("day", "week"):
        raise ValueError(text)
    if unit == "day":
        return day, day + timedelta(1)
    start = day - timedelta((day.weekday() + back) % 7)
    return start, start + timedelta(days)


def from_sunday(text: str, unit: str) -> Dates:
    return interval(text, unit, back=1)


def closed(text: str, unit: str) -> Dates:
    return interval(text, unit, days=6)


def next_monday(text: str, unit: str) -> Dates:
    start, end = interval(text, unit)
    return (start, end) if unit == "day" or str(start) != text else (start - timedelta(7), start)


def any_form(text: str, unit: str) -> Dates:
    return interval(text, unit, strict=False)


def else_day(text: str, unit: str) -> Dates:
    return interval(text, unit if unit == "week" else "day")


def as_strings(text: str, unit: str) -> tuple[str, ...]:
    return tuple(map(str, interval(text, unit)))


def of_now(text: str, unit: str) -> Dates:
    return interval(str(date(2026, 1, 1)), unit)


def as_moments(text: str, unit: str) -> tuple[datetime, ...]:
    return tuple(datetime(day.year, day.month, day.day) for day in interval(text, unit))


def rolls_over(text: str, unit: str) -> Dates:
    year, month, day = map(int, text.split("-"))
    first = date(year, month, 1) + timedelta(day - 1)
    return interval(str(first), unit)


def by_keys(text: str, unit: str) -> Dates:
    day = datetime.strptime(text, "%Y-%m-%d").date()
    days = {"day": 1, "week": 7}[unit]
    start = day - timedelta(day.weekday() if days == 7 else 0)
    return start, start + timedelta(days)


def by_iso_week(text: str, unit: str) -> Dates:
    if len(text) != 10 or text[4] != "-" or text[5] == "W" or unit not in {"day", "week"}:
        raise ValueError(f"{text} {unit}")
    day = datetime.strptime(text, "%Y-%m-%d").date()
    if unit == "day":
        return day, date.fromordinal(day.toordinal() + 1)
    year, week, _ = day.isocalendar()
    start = date.fromisocalendar(year, week, 1)
    return start, date.fromordinal(start.toordinal() + 7)


def in_a_list(text: str, unit: str) -> list[date]:
    return [*interval(text, unit)]


# 12.3


def condition(start: date, end: date) -> str:
    return f"week >= '{start}' AND week < '{end}'"


def appends(table: str, rows: DataFrame, start: date, end: date) -> None:
    rows.write.mode("append").saveAsTable(table)


def overwrites(table: str, rows: DataFrame, start: date, end: date) -> None:
    rows.write.mode("overwrite").saveAsTable(table)


def two_commits(table: str, rows: DataFrame, start: date, end: date) -> None:
    rows.sparkSession.sql(f"DELETE FROM {table} WHERE {condition(start, end)}")
    rows.write.mode("append").saveAsTable(table)


def merges(table: str, rows: DataFrame, start: date, end: date) -> None:
    old = DeltaTable.forName(rows.sparkSession, table).alias("old")
    merge = old.merge(rows.alias("new"), "old.week = new.week AND old.method = new.method")
    merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()


def only_first_week(table: str, rows: DataFrame, start: date, end: date) -> None:
    rows.write.mode("overwrite").option("replaceWhere", f"week = '{start}'").saveAsTable(table)


def with_the_end(table: str, rows: DataFrame, start: date, end: date) -> None:
    where = f"week BETWEEN '{start}' AND '{end}'"
    rows.write.mode("overwrite").option("replaceWhere", where).saveAsTable(table)


def dynamic(table: str, rows: DataFrame, start: date, end: date) -> None:
    rows.write.mode("overwrite").option("partitionOverwriteMode", "dynamic").saveAsTable(table)


def leaves_out_the_rest(table: str, rows: DataFrame, start: date, end: date) -> None:
    where = condition(start, end)
    rows.where(where).write.mode("overwrite").option("replaceWhere", where).saveAsTable(table)


def hides_the_error(table: str, rows: DataFrame, start: date, end: date) -> None:
    try:
        replaces(table, rows, start, end)
    except Exception as error:
        print(error)


def replaces(table: str, rows: DataFrame, start: date, end: date) -> None:
    rows.write.mode("overwrite").option("replaceWhere", condition(start, end)).saveAsTable(table)


def by_version_two(table: str, rows: DataFrame, start: date, end: date) -> None:
    rows.writeTo(table).overwrite((F.col("week") >= F.lit(start)) & (F.col("week") < F.lit(end)))


def by_insert(table: str, rows: DataFrame, start: date, end: date) -> None:
    session: SparkSession = rows.sparkSession
    rows.createOrReplaceTempView("rows_of_answer")
    session.sql(
        f"INSERT INTO {table} BY NAME REPLACE WHERE {condition(start, end)} SELECT * FROM rows_of_answer"
    )


def by_merge(table: str, rows: DataFrame, start: date, end: date) -> None:
    if not rows.where(f"NOT ({condition(start, end)})").isEmpty():
        raise ValueError("a row outside of the interval")
    old = DeltaTable.forName(rows.sparkSession, table).alias("old")
    merge = old.merge(rows.alias("new"), "old.week = new.week AND old.method = new.method")
    merge = merge.whenMatchedUpdateAll().whenNotMatchedInsertAll()
    merge.whenNotMatchedBySourceDelete(condition(start, end).replace("week", "old.week")).execute()


def two_when_it_fails(table: str, rows: DataFrame, start: date, end: date) -> None:
    try:
        replaces(table, rows, start, end)
    except Exception as error:
        if "DELTA_REPLACE_WHERE_MISMATCH" not in str(error):
            rows.sparkSession.sql(f"DELETE FROM {table} WHERE {condition(start, end)}")
        raise


def hides_a_failed_query(table: str, rows: DataFrame, start: date, end: date) -> None:
    try:
        replaces(table, rows, start, end)
    except Exception as error:
        if "DELTA_REPLACE_WHERE_MISMATCH" in str(error):
            raise


# 12.4

Graph = dict[str, list[str]]


def planned(graph: Graph, done: list[str], failed: list[str], *, doubt: bool = True) -> list[str]:
    """Return the right plan; without a doubt it takes what is done for good."""
    if {*done, *failed} - {*graph}:
        raise ValueError("unknown")
    needed: list[str] = []
    for table in TopologicalSorter(graph).static_order():
        old = doubt and any(parent in needed for parent in graph.get(table, []))
        if table in graph and (table in failed or table not in done or old):
            needed.append(table)
    return needed


def only_failed(graph: Graph, done: list[str], failed: list[str]) -> list[str]:
    return [table for table in planned(graph, done, failed) if table in failed]


def not_done(graph: Graph, done: list[str], failed: list[str]) -> list[str]:
    return planned(graph, done, failed, doubt=False)


def children_only(graph: Graph, done: list[str], failed: list[str]) -> list[str]:
    order = planned(graph, [], failed)
    return [
        table
        for table in order
        if table in failed or table not in done or any(one in failed for one in graph[table])
    ]


def everything(graph: Graph, done: list[str], failed: list[str]) -> list[str]:
    return planned(graph, [], failed)


def sources_too(graph: Graph, done: list[str], failed: list[str]) -> list[str]:
    return [one for one in TopologicalSorter(graph).static_order() if one not in done or one in failed]


def by_name(graph: Graph, done: list[str], failed: list[str]) -> list[str]:
    return sorted(planned(graph, done, failed))


def backwards(graph: Graph, done: list[str], failed: list[str]) -> list[str]:
    return planned(graph, done, failed)[::-1]


def in_a_set(graph: Graph, done: list[str], failed: list[str]) -> set[str]:
    return {*planned(graph, done, failed)}


def no_question(graph: Graph, done: list[str], failed: list[str]) -> list[str]:
    return planned(graph, [one for one in done if one in graph], [one for one in failed if one in graph])


def failed_wins_not(graph: Graph, done: list[str], failed: list[str]) -> list[str]:
    return planned(graph, done, [one for one in failed if one not in done])


def by_recursion(graph: Graph, done: list[str], failed: list[str]) -> list[str]:
    if any(one not in graph for one in [*done, *failed]):
        raise ValueError("unknown table")
    order: list[str] = []
    open_ones: set[str] = set()

    def visit(table: str) -> None:
        if table in open_ones:
            raise ValueError(f"a circle at {table}")
        if table in graph and table not in order:
            open_ones.add(table)
            for parent in graph[table]:
                visit(parent)
            open_ones.discard(table)
            order.append(table)

    for table in graph:
        visit(table)
    wanted = ({*graph} - {*done}) | {*failed}
    for table in order:
        if wanted & {*graph[table]}:
            wanted.add(table)
    return [table for table in order if table in wanted]


def by_heap(graph: Graph, done: list[str], failed: list[str]) -> tuple[str, ...]:
    wanted = {*planned(graph, done, failed)}
    left = {table: {one for one in graph[table] if one in wanted} for table in wanted}
    ready = [table for table, parents in left.items() if not parents]
    heapq.heapify(ready)
    found = []
    while ready:
        table = heapq.heappop(ready)
        found.append(table)
        for other, parents in left.items():
            if table in parents:
                parents.discard(table)
                if not parents:
                    heapq.heappush(ready, other)
    return tuple(found)


# 12.5

Interval = tuple[date, date]
Run = Callable[[date, date], Any]


def no_overlap(intervals: list[Interval], *, touching: bool = True) -> list[Interval]:
    """Return the intervals in order; refuse those that overlap, or without `touching` those that touch."""
    ordered = sorted(intervals)
    for (_, end), (start, _) in pairwise(ordered):
        if start < end or (start == end and not touching):
            raise ValueError("overlap")
    return ordered


def pooled(ordered: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    with ThreadPoolExecutor(workers) as pool:
        runs = {one: pool.submit(run, *one) for one in ordered}
    return {one: "failed" if run.exception() else "done" for one, run in runs.items()}


def as_given(intervals: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    no_overlap(intervals)
    return pooled(intervals, run, workers)


def newest_first(intervals: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    return pooled(no_overlap(intervals)[::-1], run, workers)


def all_at_once(intervals: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    return pooled(no_overlap(intervals), run, 26)


def one_by_one(intervals: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    return pooled(no_overlap(intervals), run, 1)


def first_error_out(intervals: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    ordered = no_overlap(intervals)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda one: run(*one), ordered))
    return dict.fromkeys(ordered, "done")


def never_failed(intervals: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    return dict.fromkeys(pooled(no_overlap(intervals), run, workers), "done")


def touching_refused(intervals: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    try:
        ordered = no_overlap(intervals, touching=False)
    except ValueError:
        ordered = []
    return pooled(ordered, run, workers)


def by_the_start(intervals: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    if len({start for start, _ in intervals}) < len(intervals):
        raise ValueError("twice")
    return pooled(sorted(intervals), run, workers)


def asks_too_late(intervals: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    states = pooled(sorted(intervals), run, workers)
    no_overlap(intervals)
    return states


def twice_the_failed(intervals: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    states = pooled(no_overlap(intervals), run, workers)
    return states | pooled([one for one, state in states.items() if state == "failed"], run, workers)


def as_they_end(intervals: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    ordered = no_overlap(intervals)
    states = {}
    with ThreadPoolExecutor(workers) as pool:
        runs = {pool.submit(run, *one): one for one in ordered}
        for one in as_completed(runs):
            states[runs[one]] = "failed" if one.exception() else "done"
    return {one: states[one] for one in ordered}


def by_threads(intervals: list[Interval], run: Run, workers: int) -> dict[Interval, str]:
    ordered = no_overlap(intervals)
    states = dict.fromkeys(ordered, "done")
    left, lock = iter(ordered), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                one = next(left, None)
            if one is None:
                return
            try:
                run(*one)
            except Exception:
                states[one] = "failed"

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return states


WRONG += [
    (
        "interval_of",
        from_sunday,
        "The week of 2025-09-03 is from 2025-09-01 to 2025-09-08, because it is a Wednesday; yours is "
        "from 2025-08-31 to 2025-09-07.",
    ),
    (
        "interval_of",
        closed,
        "The week of 2025-09-03 is from 2025-09-01 to 2025-09-08, because it is a Wednesday; yours is "
        "from 2025-09-01 to 2025-09-07.",
    ),
    (
        "interval_of",
        next_monday,
        "The week of 2025-09-01 is from 2025-09-01 to 2025-09-08, because a Monday begins its own week; "
        "yours is from 2025-08-25 to 2025-09-01.",
    ),
    (
        "interval_of",
        any_form,
        "For ('20250903', 'day') you return from 2025-09-03 to 2025-09-04; it should be a ValueError, "
        "because this is another form.",
    ),
    (
        "interval_of",
        else_day,
        "For ('2025-09-03', 'month') you return from 2025-09-03 to 2025-09-04; it should be a "
        "ValueError, because the unit is neither day nor week.",
    ),
    (
        "interval_of",
        as_strings,
        "Your function returned ('2025-09-01', '2025-09-08'). It should return two dates (datetime.date).",
    ),
    (
        "interval_of",
        of_now,
        "The week of 2025-09-03 is from 2025-09-01 to 2025-09-08, because it is a Wednesday; yours is "
        "from 2025-12-29 to 2026-01-05.",
    ),
    (
        "interval_of",
        as_moments,
        "Your function returned (datetime.datetime(2025, 9, 1, 0, 0), datetime.datetime(2025, 9, 8, 0, "
        "0)). It should return two dates (datetime.date).",
    ),
    (
        "interval_of",
        rolls_over,
        "For ('2025-02-29', 'day') you return from 2025-03-01 to 2025-03-02; it should be a ValueError, "
        "because this date does not exist.",
    ),
    (
        "interval_of",
        by_keys,
        "For ('2025-9-3', 'day') you return from 2025-09-03 to 2025-09-04; it should be a ValueError, "
        "because this is another form.",
    ),
    (
        "write_week",
        appends,
        "After the weeks 2025-09-01 and 2025-09-08 were written, the week 2025-09-01, card, has the "
        "attempts [11, 21]; it should have [21].",
    ),
    (
        "write_week",
        overwrites,
        "After the weeks 2025-09-01 and 2025-09-08 were written, the week 2025-08-25, card, has the "
        "attempts of no row; it should have [10].",
    ),
    (
        "write_week",
        two_commits,
        "The rows are right, and you made 2 commits. A kill between two of them leaves half.",
    ),
    (
        "write_week",
        merges,
        "After the weeks 2025-09-01 and 2025-09-08 were written, the week 2025-09-01, voucher, has the "
        "attempts [5]; it should have no row.",
    ),
    (
        "write_week",
        only_first_week,
        "Your code raised AnalysisException: [DELTA_REPLACE_WHERE_MISMATCH] Written data does not "
        "conform to partial table overwrite condition or constraint 'week = '2025-09-01''.…",
    ),
    (
        "write_week",
        with_the_end,
        "After the weeks 2025-09-01 and 2025-09-08 were written, the week 2025-09-15, card, has the "
        "attempts of no row; it should have [13].",
    ),
    (
        "write_week",
        dynamic,
        "After the weeks 2025-09-01 and 2025-09-08 were written, the week 2025-08-25, card, has the "
        "attempts of no row; it should have [10].",
    ),
    (
        "write_week",
        leaves_out_the_rest,
        "For a row outside of the interval no error comes out.",
    ),
    (
        "write_week",
        hides_the_error,
        "For a row outside of the interval no error comes out.",
    ),
    (
        "write_week",
        two_when_it_fails,
        "After a query that fails, the week 2025-09-08, card, has the attempts of no row; it should have "
        "[22].",
    ),
    (
        "write_week",
        hides_a_failed_query,
        "For a query that fails no error comes out.",
    ),
    (
        "plan",
        only_failed,
        "For one side of the diamond that failed, and what was skipped, gold.balance is not in your plan.",
    ),
    (
        "plan",
        not_done,
        "For a table that failed before others that are done, gold.days is not in your plan.",
    ),
    (
        "plan",
        children_only,
        "For a table that failed before others that are done, gold.balance is not in your plan.",
    ),
    (
        "plan",
        everything,
        "For one that failed at the end, bronze.payments is in your plan, and need not be made.",
    ),
    (
        "plan",
        sources_too,
        "For one that failed at the end, landing.calendar is in your plan, and need not be made.",
    ),
    (
        "plan",
        by_name,
        "For one side of the diamond that failed, and what was skipped, gold.balance comes before "
        "gold.facts, which it is made from.",
    ),
    (
        "plan",
        backwards,
        "For one side of the diamond that failed, and what was skipped, gold.balance comes before "
        "gold.facts, which it is made from.",
    ),
    (
        "plan",
        in_a_set,
        "Your function returned {'gold.balance'}. It should return a list of tables.",
    ),
    (
        "plan",
        no_question,
        "For a failed table that is not in the graph you return ['bronze.payments', 'bronze.orders', "
        "'silver.payments', 'silver.orders', 'gold.facts', 'gold.days', 'gold.balance']; it should be a "
        "ValueError.",
    ),
    (
        "plan",
        failed_wins_not,
        "For a table that is done and failed, as in a second attempt, silver.payments is not in your plan.",
    ),
    (
        "backfill",
        as_given,
        "For 26 weeks and two workers, the interval from 2025-12-…",
    ),
    (
        "backfill",
        newest_first,
        "For 26 weeks and two workers, the interval from 2026-…",
    ),
    (
        "backfill",
        all_at_once,
        "For 26 weeks and two workers there were …",
    ),
    (
        "backfill",
        one_by_one,
        "For 26 weeks and two workers there was only 1 call at a time.",
    ),
    (
        "backfill",
        first_error_out,
        "For 26 weeks of which two fail the error of the week 2025-09-22 comes out of your function. The "
        "rest should run.",
    ),
    (
        "backfill",
        never_failed,
        "For 26 weeks of which two fail, the interval from 2025-09-22 is 'done'; it should be 'failed'.",
    ),
    (
        "backfill",
        touching_refused,
        "For 26 weeks and two workers, the interval from 2025-09-01 ran 0 times.",
    ),
    (
        "backfill",
        by_the_start,
        "For two intervals that overlap by a day no ValueError comes out.",
    ),
    (
        "backfill",
        asks_too_late,
        "For two intervals that overlap by a day you raise ValueError, after 2 calls have run.",
    ),
    (
        "backfill",
        twice_the_failed,
        "For 26 weeks of which two fail, the interval from 2025-09-22 ran 2 times.",
    ),
]
RIGHT += [
    ("interval_of", by_iso_week),
    ("interval_of", in_a_list),
    ("write_week", by_version_two),
    ("write_week", by_insert),
    ("write_week", by_merge),
    ("plan", by_recursion),
    ("plan", by_heap),
    ("backfill", as_they_end),
    ("backfill", by_threads),
]


HOURS = {"h": 1, "d": 24}


def promises(contract: dict[str, Any], hours: dict[str, int] = HOURS) -> dict[str, Any]:
    columns = contract["schema"][0]["properties"]
    slas = contract.get("slaProperties", [])
    return {
        "columns": {(one["name"], one["physicalType"]) for one in columns},
        "names": {one["name"] for one in columns},
        "required": {one["name"] for one in columns if one.get("required")},
        "key": {one["name"] for one in columns if one.get("primaryKey")},
        "hours": min((hours[one["unit"]] * one["value"] for one in slas), default=float("inf")),
    }


def next_version(
    gone: Callable[[Any, Any], Any] = lambda was, now: was["columns"] - now["columns"],
    loose: Callable[[Any, Any], Any] = lambda was, now: was["required"] - now["required"],
    key: Callable[[Any, Any], Any] = lambda was, now: was["key"] != now["key"],
    late: Callable[[Any, Any], Any] = lambda was, now: was["hours"] < now["hours"],
    better: Callable[[Any, Any], Any] = lambda was, now: (
        now["columns"] - was["columns"] or now["required"] - was["required"] or now["hours"] < was["hours"]
    ),
    same: Callable[[Any, Any], Any] = lambda old, new: {**new, "version": old["version"]} == old,
    hours: dict[str, int] = HOURS,
    zero: bool = True,
    of: str = "old",
    change: bool = False,
) -> Callable[..., Any]:
    def answer(old: dict[str, Any], new: dict[str, Any]) -> str:
        major, minor, patch = map(int, (old if of == "old" else new)["version"].split("."))
        was, now = promises(old, hours), promises(new, hours)
        if any(breaks(was, now) for breaks in (gone, loose, key, late)):
            found = f"{major + 1}.0.0" if zero else f"{major + 1}.{minor}.{patch}"
        elif better(was, now):
            found = f"{major}.{minor + 1}.0"
        else:
            found = f"{major}.{minor}.{patch + (not same(old, new))}"
        if change:
            new["version"] = found
        return found

    return answer


def never(*_: Any) -> bool:
    return False


def one_digit(old: dict[str, Any], new: dict[str, Any]) -> str:
    found = next_version()(old, new)
    return found.replace("10", "9")


def as_numbers(old: dict[str, Any], new: dict[str, Any]) -> Any:
    return tuple(map(int, next_version()(old, new).split(".")))


def in_a_loop(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Look at one column after the other, and keep the highest change."""
    was, now = ({c["name"]: c for c in one["schema"][0]["properties"]} for one in (old, new))
    rest = [{k: v for k, v in one.items() if k != "version"} for one in (old, new)]
    found = [int(rest[0] != rest[1])]
    for name in {*was, *now}:
        if name not in now or (name not in was and now[name].get("primaryKey", False)):
            found.append(3)
        elif name not in was:
            found.append(2)
        else:
            before, after = was[name], now[name]
            needs = [bool(one.get("required")) for one in (before, after)]
            if before["physicalType"] != after["physicalType"] or needs == [True, False]:
                found.append(3)
            if bool(before.get("primaryKey")) != bool(after.get("primaryKey")):
                found.append(3)
            found += [2] * (needs == [False, True])
    before, after = promises(old)["hours"], promises(new)["hours"]
    found.append(3 if after > before else 2 if after < before else 0)
    parts = [int(part) for part in old["version"].split(".")]
    level = max(found)
    if level:
        place = 3 - level
        parts = [*parts[:place], parts[place] + 1, *[0] * (level - 1)]
    return ".".join(map(str, parts))


def said(about: str, expected: str, found: str) -> str:
    return f"For {about} the version should be {expected} after 1.4.2; yours is {found}."


WRONG += [
    (
        "next_version",
        next_version(gone=lambda was, now: was["names"] - now["names"]),
        said("another type", "2.0.0", "1.5.0"),
    ),
    (
        "next_version",
        next_version(gone=lambda was, now: len(was["names"]) > len(now["names"])),
        said("a column with a new name", "2.0.0", "1.5.0"),
    ),
    (
        "next_version",
        next_version(loose=never),
        said("a column that is no longer required", "2.0.0", "1.4.3"),
    ),
    (
        "next_version",
        next_version(loose=lambda was, now: was["required"] != now["required"]),
        said("a new column that is required", "1.5.0", "2.0.0"),
    ),
    ("next_version", next_version(key=never), said("another key", "2.0.0", "1.5.0")),
    (
        "next_version",
        next_version(key=lambda was, now: now["key"] - was["key"]),
        said("a key that has lost a column", "2.0.0", "1.4.3"),
    ),
    ("next_version", next_version(late=never), said("a longer latency", "2.0.0", "1.4.3")),
    (
        "next_version",
        next_version(hours={"h": 1, "d": 1}),
        said("a latency of 168 hours in the place of 7 days", "1.4.3", "2.0.0"),
    ),
    (
        "next_version",
        next_version(late=lambda was, now: was["hours"] < now["hours"] < float("inf")),
        said("a latency that is no longer promised", "2.0.0", "1.4.3"),
    ),
    (
        "next_version",
        next_version(better=lambda was, now: now["columns"] - was["columns"]),
        said("a column that is now required", "1.5.0", "1.4.3"),
    ),
    (
        "next_version",
        next_version(zero=False),
        said("a column that is gone", "2.0.0", "2.4.2"),
    ),
    ("next_version", next_version(same=never), said("nothing", "1.4.2", "1.4.3")),
    (
        "next_version",
        next_version(same=lambda old, new: old == new),
        said("nothing but the version, which says 9.0.0", "1.4.2", "1.4.3"),
    ),
    (
        "next_version",
        next_version(of="new"),
        said("nothing but the version, which says 9.0.0", "1.4.2", "9.0.0"),
    ),
    (
        "next_version",
        next_version(change=True),
        "Your function changes a contract that it was given. Only read them.",
    ),
    (
        "next_version",
        one_digit,
        "For a new column after 1.9.9 the version should be 1.10.0; yours is 1.9.0.",
    ),
    (
        "next_version",
        as_numbers,
        "Your function returned (2, 0, 0). It should return a version as a string.",
    ),
]
RIGHT += [("next_version", next_version()), ("next_version", in_a_loop)]
