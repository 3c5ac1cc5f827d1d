"""The checks of chapter 10."""

import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from delta import exceptions as delta_errors
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from medallion.lesson.exercise import Exercise, FunctionExercise, Verdict, other_kind, plain
from medallion.lesson.frames import session
from medallion.spark import event_log

# STUB


class Stub(FunctionExercise):
    """STUB."""

    title = "stub"
    hints = ("one", "two", "three")
    returns = "a number"
    kind = int
    praise = "Right."
    cases = (("one", 1, 1),)


class First(Stub):
    number = "10.1"


class Second(Stub):
    number = "10.2"


class Third(Stub):
    number = "10.3"


first, second, third = First(), Second(), Third()


def care(target: int = 1_000_000, **facts: int | None) -> tuple[dict[str, int | None], int]:
    """Return the facts of a table in order, with some of them other, and a target size."""
    usual = {"files": 3, "bytes": 2_700_000, "rows": 90_000, "deleted": 0, "unused": 0}
    return usual | facts, target


class NeedsCare(FunctionExercise):
    """Exercise 10.4. Which actions a table needs, from its metadata."""

    number = "10.4"
    title = "decide from metadata what a table needs"
    takes = "a function of a dict of facts and a target size"
    hints = (
        "Begin with an empty list, and write one if for each action, in the order compact, purge, vacuum.",
        "The files hold facts['rows'] + facts['deleted'] rows. Multiply instead of dividing, and an empty "
        "table divides nothing by zero: facts['bytes'] < facts['files'] * target / 4.",
        "deleted = facts['deleted'] or 0. Purge if deleted and deleted >= 0.05 * (facts['rows'] + deleted). "
        "Compact if facts['files'] >= 10 and the mean is below target / 4. Vacuum if facts['unused'].",
    )
    returns = "a list"
    kind = list
    other = "For {about} the actions are {expected}; yours are {found}."
    praise = "Each action has its reason in the metadata, and a table in order is left alone."
    cases = (
        ("a table in order", *care(), []),
        ("10 files of 200,000 bytes", *care(files=10, bytes=2_000_000), ["compact"]),
        ("9 files of 200,000 bytes", *care(files=9, bytes=1_800_000), []),
        ("10 files of a quarter of the target", *care(files=10, bytes=2_500_000), []),
        ("10 files, a byte less than a quarter each", *care(files=10, bytes=2_499_990), ["compact"]),
        ("10 files of 200,000 bytes, target 400,000", *care(400_000, files=10, bytes=2_000_000), []),
        ("a table without a file", *care(files=0, bytes=0, rows=0), []),
        ("5 marked rows of 100 in the files", *care(rows=95, deleted=5), ["purge"]),
        ("5 marked rows beside 100 others", *care(rows=100, deleted=5), []),
        ("a table whose rows are all marked", *care(rows=0, deleted=40), ["purge"]),
        ("a number of marked rows that nobody knows", *care(deleted=None), []),
        ("one file that VACUUM would delete", *care(unused=1), ["vacuum"]),
        (
            "a table that needs everything",
            *care(files=40, bytes=400_000, rows=60, deleted=40, unused=3),
            ["compact", "purge", "vacuum"],
        ),
    )


# A shuffle that a check can count: eight partitions, no broadcast, and no AQE that changes them
EIGHT: dict[str, str] = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    "spark.sql.shuffle.partitions": "8",
}


@contextmanager
def with_settings(spark: SparkSession, settings: dict[str, str]) -> Iterator[None]:
    """Have some settings in force while the block runs, and then those from before."""
    before = {name: spark.conf.get(name, None) for name in settings}
    for name, value in settings.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, old)


def shuffled_rows(log: Path) -> dict[int, list[int]]:
    """Return for each stage of an event log how many rows each of its tasks has read from a shuffle."""
    stages: dict[int, list[int]] = {}
    for line in log.read_text("utf-8").splitlines():
        event = json.loads(line)
        if event["Event"] == "SparkListenerTaskEnd":
            read = event["Task Metrics"]["Shuffle Read Metrics"]["Total Records Read"]
            stages.setdefault(event["Stage ID"], []).append(read)
    return stages


class EvenJoin(Exercise):
    """Exercise 10.5. A join with a hot key whose tasks have nearly the same work."""

    number = "10.5"
    title = "fix a skewed join"
    takes = "a function of two DataFrames that returns the joined DataFrame"
    hints = (
        "All scans of one station go to one task, because the station alone decides. A second column in the "
        "join condition spreads them: a salt.",
        "Each scan gets one salt, from its scan_id. Each station needs a row for every salt, or the join "
        "loses scans.",
        "Salt the scans with F.pmod('scan_id', F.lit(32)), the stations with F.explode(F.sequence(F.lit(0), "
        "F.lit(31))). Both are of the type BIGINT or INT: cast one. Join on ['station_id', 'salt'], and drop "
        "the salt.",
    )
    rows, hub = 20_000, "ST99"
    columns = ("scan_id", "station_id", "weight_g", "kind")

    def check(self, answer: Callable[..., Any]) -> Verdict:
        spark = session()
        with with_settings(spark, EIGHT):
            joined = answer(*self.frames(spark))
            if type(joined).__name__ != "DataFrame":
                return self.wrong(other_kind(joined, "a DataFrame"))
            if missing := [name for name in self.columns if name not in joined.columns]:
                return self.wrong(
                    f"Your join has no column {missing[0]}; it has {', '.join(joined.columns)}."
                )
            sums = joined.groupBy("station_id", "kind").agg(
                F.count("*").alias("rows"), F.sum("scan_id").alias("ids"), F.sum("weight_g").alias("grams")
            )
            with event_log.recorded(spark) as log:
                found = {(row.station_id, row.kind): tuple(row)[2:] for row in sums.collect()}
            plan = sums._jdf.queryExecution().executedPlan().toString()
        if wrong := self.other_rows(found):
            return self.wrong(wrong)
        if "Broadcast" in plan:
            return self.wrong(
                "The rows are right, but the plan has a broadcast. Suppose that both sides are too large."
            )
        for read in shuffled_rows(log).values():
            middle = statistics.median(read)
            if sum(read) >= self.rows / 2 and max(read) >= 2 * middle:
                return self.wrong(
                    f"The rows are right. But the largest of {len(read)} tasks reads {max(read):,} rows from "
                    f"the shuffle, and the median is {middle:,.0f}."
                )
        return self.right("Equal rows, and no task reads twice as many as the median.")

    def frames(self, spark: SparkSession) -> tuple[DataFrame, DataFrame]:
        """Return scans, of which two in five are at the hub, and stations, one of them without a scan."""
        station = f"CASE WHEN id % 101 = 0 THEN NULL WHEN id % 5 < 2 THEN '{self.hub}' ELSE {self.depot} END"
        scans = spark.range(0, self.rows, 1, 2).selectExpr(
            "id AS scan_id", f"{station} AS station_id", "CAST(id % 997 AS INT) AS weight_g"
        )
        names = f"SELECT concat('ST', lpad(id + 1, 2, '0')) AS station_id, 'depot' AS kind FROM range({40})"
        return scans, spark.sql(f"{names} UNION ALL SELECT '{self.hub}', 'hub'")

    depot = "concat('ST', lpad(id % 37 + 1, 2, '0'))"

    def other_rows(self, found: dict[tuple[str, str], tuple[int, ...]]) -> str | None:
        """Return the first thing that is wrong with the sums by station, or None."""
        right: dict[tuple[str, str], list[int]] = {}
        for scan in range(self.rows):
            if scan % 101:
                at_hub = scan % 5 < 2
                station = self.hub if at_hub else f"ST{scan % 37 + 1:02}"
                sums = right.setdefault((station, "hub" if at_hub else "depot"), [0, 0, 0])
                for place, value in enumerate((1, scan, scan % 997)):
                    sums[place] += value
        for key in sorted(right):
            rows, ids, grams = found.get(key, (0, 0, 0))
            if rows != right[key][0]:
                return f"The station {key[0]} has {rows:,} joined rows; {right[key][0]:,} scans are there."
            if [ids, grams] != right[key][1:]:
                return f"The station {key[0]} has other scans or weights than before the join."
        if more := sorted(map(str, set(found) - set(right))):
            return f"Your join has rows of {more[0]}, which the plain join has not."
        return None


class Conflict(delta_errors.ConcurrentDeleteReadException):
    """What another writer causes in the check."""


class Cause:
    """A Java exception that is only played, as Py4J hands it on."""

    def __init__(self, name: str, cause: "Cause | None" = None) -> None:
        self.name, self.cause = name, cause

    def getClass(self) -> "Cause":
        return self

    def getSimpleName(self) -> str:
        return self.name

    def getCause(self) -> "Cause | None":
        return self.cause


class Wrapped(Exception):
    """A conflict that arrives as the cause of another exception, as in a stream."""

    java_exception = Cause("SparkException", Cause("ConcurrentDeleteReadException"))


class Maintain(Exercise):
    """Exercise 10.6. Maintenance beside other writers: after a conflict the facts are others."""

    number = "10.6"
    title = "maintain a table beside other writers"
    takes = "a function of look, decide, act and attempts"
    hints = (
        "Write the attempts as a loop: `for attempt in range(attempts)`. Each begins with "
        "decide(look()), because a conflict means that the table has changed.",
        "Write `except Exception as error:` and raise it again with a plain `raise` if "
        "conflict_of(error) is None, or if this was the last attempt.",
        "done = [], and in each attempt: for action in decide(look()): if action not in done: act(action), "
        "then done.append(action). When the for loop ends without a conflict, return done.",
    )

    def check(self, answer: Callable[..., Any]) -> Verdict:
        for about, scenario, expected in self.scenarios:
            told = scenario_of(answer, *scenario)
            if told != expected:
                return self.wrong(f"{about}: {told_as(expected)} is right; yours: {told_as(told)}.")
        return self.right("It decides again after a conflict, does nothing twice, and gives up in time.")

    # What each look decides; for each call of act its error or None; the attempts. Then the calls in their
    # order, and what is returned or raised
    scenarios: ClassVar = (
        ("Nothing to do", ([[]], [], 3), ("look", "[]")),
        (
            "Two actions",
            ([["compact", "vacuum"]], [None, None], 3),
            ("look compact vacuum", "['compact', 'vacuum']"),
        ),
        (
            "A conflict in the first of three attempts",
            ([["compact"], ["compact"]], [Conflict, None], 3),
            ("look compact look compact", "['compact']"),
        ),
        (
            "A conflict that is the cause of another exception",
            ([["compact"], ["compact"]], [Wrapped, None], 3),
            ("look compact look compact", "['compact']"),
        ),
        (
            "After the conflict the table needs nothing",
            ([["compact"], []], [Conflict], 3),
            ("look compact look", "[]"),
        ),
        (
            "After the conflict the table needs something else",
            ([["compact"], ["purge"]], [Conflict, None], 3),
            ("look compact look purge", "['purge']"),
        ),
        (
            "A conflict in the second action",
            ([["compact", "purge"], ["compact", "purge"]], [None, Conflict, None], 3),
            ("look compact purge look purge", "['compact', 'purge']"),
        ),
        (
            "A conflict in each of two attempts",
            ([["compact"], ["compact"], ["compact"]], [Conflict, Conflict, None], 2),
            ("look compact look compact", "Conflict"),
        ),
        ("A conflict in the only attempt", ([["compact"]], [Conflict], 1), ("look compact", "Conflict")),
        (
            "An error that is no conflict",
            ([["compact"], ["compact"]], [OSError, None], 3),
            ("look compact", "OSError"),
        ),
        (
            "A change of the table's columns by another writer",
            ([["compact"], ["compact"]], [delta_errors.MetadataChangedException, None], 3),
            ("look compact", "MetadataChangedException"),
        ),
    )


def scenario_of(
    answer: Callable[..., Any], looks: list[list[str]], outcomes: list[Any], attempts: int
) -> tuple[str, str]:
    """Run the answer with a table that is only played; return its calls, and what it returns or raises."""
    calls: list[str] = []
    decisions, left = iter(looks), iter(outcomes)

    def look() -> dict[str, Any]:
        calls.append("look")
        return {"decide": list(next(decisions, []))}

    def decide(facts: dict[str, Any]) -> list[str]:
        return list(facts["decide"])

    def act(action: str) -> None:
        calls.append(action)
        if len(calls) > 20:
            raise RuntimeError("more than 20 calls")
        if (error := next(left, None)) is not None:
            raise error("another writer was first")

    try:
        found = plain(answer(look, decide, act, attempts))
        ended = repr([*found] if isinstance(found, tuple) else found)
    except Exception as error:
        if not isinstance(
            error, Conflict | Wrapped | OSError | delta_errors.MetadataChangedException | RuntimeError
        ):
            raise
        ended = type(error).__name__
    return " ".join(calls), ended


def told_as(told: tuple[str, str]) -> str:
    """Say which calls were made and how it ended."""
    calls, ended = told
    return f"calls {calls or 'nothing'}, and ends with {ended}"


needs_care = NeedsCare()
even_join = EvenJoin()
maintain = Maintain()
