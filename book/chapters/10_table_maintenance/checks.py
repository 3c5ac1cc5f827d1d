"""The checks of chapter 10."""

import json
import shutil
import statistics
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlparse

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from delta import exceptions as delta_errors
from deltalake import WriterProperties, write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from medallion.lesson.exercise import Exercise, FunctionExercise, Verdict, as_kind, other_kind, plain
from medallion.lesson.frames import frame_of, session, set_to
from medallion.paths import scratch
from medallion.spark import event_log
from medallion.spark.tracebacks import message

# Files of some kB, so that a small table has several; and, with the same rows, the same files at any time
OF_SOME_KB = {
    "spark.databricks.delta.optimize.maxFileSize": "18500",
    "spark.databricks.delta.optimize.minFileSize": "18500",
    "spark.databricks.io.skipping.mdc.addNoise": "false",
    "spark.sql.execution.rangeExchange.sampleSizePerPartition": "100000",
    "spark.sql.parquet.compression.codec": "uncompressed",
}


def table_of_files(name: str, files: Iterable[Mapping[str, Any]], partition_by: str | None = None) -> Path:
    """Return the folder of a Delta table with a data file for each of some columns.

    It is made once in a session: a `check_…` would be a table that a check has to remove.
    """
    folder = scratch() / f"kept_{name}"
    if not folder.exists():
        begun = folder.with_name(f"{folder.name}_{uuid.uuid4().hex[:8]}")
        for columns in files:
            write_deltalake(
                str(begun),
                pa.table(columns),
                mode="append",
                partition_by=partition_by,
                writer_properties=WriterProperties(compression="UNCOMPRESSED"),
            )
        begun.rename(folder)
    return folder


@contextmanager
def copy_of(folder: Path) -> Iterator[Path]:
    """Yield the folder of a copy of a table, which is removed after the block."""
    copy = folder.with_name(f"check_{uuid.uuid4().hex[:8]}")
    shutil.copytree(folder, copy)
    try:
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def read_from(folder: Path) -> DataFrame:
    return session().read.format("delta").load(str(folder))


@contextmanager
def failed_jobs() -> Iterator[list[int]]:
    """Yield a list, which holds after the block the Spark jobs that failed in it."""
    context = session().sparkContext
    group, failed = uuid.uuid4().hex, list[int]()
    before = context.getLocalProperty("spark.jobGroup.id"), context.getLocalProperty("spark.job.description")
    context.setJobGroup(group, "a check")
    try:
        yield failed
    finally:
        context.setLocalProperty("spark.jobGroup.id", before[0])
        context.setLocalProperty("spark.job.description", before[1])
        context._jsc.sc().listenerBus().waitUntilEmpty()
        tracker = context.statusTracker()
        jobs = {job: tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group)}
        failed += [job for job, info in jobs.items() if info and info.status == "FAILED"]


class FilesRead(Exercise):
    """Exercise 10.1. The data files that a query reads after pruning, without running it."""

    number = "10.1"
    title = "count the files that a query reads"
    takes = "a function of a DataFrame that returns a number"
    hints = (
        "The number is in the plan: the query need not run. Which method of a DataFrame lists files?",
        "frame.inputFiles() returns a list. Look at it for a table, and for the same table with a filter.",
        "return len(frame.inputFiles())",
    )

    def check(self, files_read: Callable[..., Any]) -> Verdict:
        days = [{"day": pa.array([10 * n, 10 * n + 5]), "area": pa.array(["a", "b"])} for n in range(4)]
        areas = [{"area": pa.array([name]), "depot": pa.array([1])} for name in "abc"]
        first = read_from(table_of_files("days", days))
        second = read_from(table_of_files("areas", areas, "area"))
        cases = self.cases(first, second)
        # A function that runs its query is found out before it has run them all
        wrong = (
            self.miscounts(files_read, islice(cases, 3))
            or self.runs(files_read, first)
            or self.miscounts(files_read, cases)
        )
        if wrong:
            return self.wrong(wrong)
        return self.right("Pruned files do not count, each other file counts once, and nothing runs.")

    @staticmethod
    def miscounts(
        files_read: Callable[..., Any], cases: Iterable[tuple[str, DataFrame, int, str]]
    ) -> str | None:
        """Return the first case that is counted wrong, or None."""
        for about, frame, expected, why in cases:
            returned = files_read(frame)
            try:
                found = as_kind(returned, int)
            except TypeError:
                return other_kind(returned, "a whole number")
            if found != expected:
                return f"For {about} it is {expected}, because {why}; yours is {found}."
        return None

    @staticmethod
    def runs(files_read: Callable[..., Any], days: DataFrame) -> str | None:
        """Return what is wrong with the count of a query that fails when it runs, or None."""
        runs = "Your function runs the query: one that fails when it runs fails in your function. "
        unsound = days.where("day = 5").where("assert_true(area = 'none') IS NULL")
        try:
            with failed_jobs() as failed:
                found = files_read(unsound)
        except Exception:
            return f"{runs}The plan knows the files."
        if failed:
            return f"{runs}The plan knows the files; an except only hides it."
        if found != 1:
            return f"For a query that fails when it runs it is 1, as the plan knows; yours is {found}."
        return None

    @staticmethod
    def cases(days: DataFrame, areas: DataFrame) -> Iterator[tuple[str, DataFrame, int, str]]:
        yield "a table of four files", days, 4, "nothing is filtered"
        yield "a filter on one day", days.where("day = 15"), 1, "the other three files are pruned"
        yield (
            "a filter that one file may meet, and no row does", days.where("day = 12"), 1,
            "this file has to be read to know that it has no such row",
        )  # fmt: skip
        yield "a filter that no file can meet", days.where("day > 99"), 0, "all four are pruned"
        yield "a filter on a partition", areas.where("area = 'b'"), 1, "a partition has one file"
        yield (
            "a join of two tables", days.where("day < 9").join(areas, "area"), 4,
            "it reads one file of the first and three of the second",
        )  # fmt: skip
        yield "a union of a table with itself", days.union(days), 4, "each file counts once"
        yield "an aggregation", days.groupBy("area").count(), 4, "it reads all rows"
        yield "a count of all rows", days.groupBy().count(), 0, "Delta knows it from its log"
        yield "rows in memory", frame_of([(1,)], "n INT"), 0, "they come from no file"


class Skipping(Exercise):
    """Exercise 10.2. Four predicates that keep the same rows and let files be skipped."""

    number = "10.2"
    title = "rewrite predicates so that files are skipped"
    takes = "a dict with a predicate, as a string, for each of the four names"
    hints = (
        "A statistic knows the smallest and the largest value of a column. Put the column alone on one side, "
        "and compare it with constants.",
        "A month, and a whole number of kilograms, is a range: from a first value, which is in it, to a "
        "first value that is not. Rows with NULL: which of the four predicates keeps them?",
        "scanned_at >= '2025-09-01' AND scanned_at < …; weight_g >= 2000 AND …; weight_g < 500 OR …; "
        "parcel_id LIKE …",
    )
    slow: ClassVar = {
        "month": ("date_format(scanned_at, 'yyyy-MM') = '2025-09'", 1),
        "kilos": ("floor(weight_g / 1000) = 2", 2),
        "light": ("coalesce(weight_g, 0) < 500", 2),
        "prefix": ("substring(parcel_id, 1, 4) = 'PA03'", 1),
    }

    def check(self, predicates: Any) -> Verdict:
        if not isinstance(predicates, Mapping):
            return self.wrong(f"Your predicates are {predicates!r}. They should be a dict of four strings.")
        if more := [str(name) for name in predicates if name not in self.slow]:
            return self.wrong(f"{more[0]} is none of the names. They are {', '.join(self.slow)}.")
        if missing := [name for name in self.slow if name not in predicates]:
            return self.wrong(f"{missing[0]} is missing. The names are {', '.join(self.slow)}.")
        if strange := [name for name, text in predicates.items() if not isinstance(text, str)]:
            return self.wrong(f"{strange[0]} is {predicates[strange[0]]!r}. It should be a string.")
        table = read_from(table_of_files("months", self.files()))
        for name in self.slow:
            if wrong := self.unusable(table, name, predicates[name]):
                return self.wrong(wrong)
        flags = [
            F.expr(f"coalesce(({text}), false)").alias(f"{name}_{whose}")
            for name in self.slow
            for whose, text in (("ours", self.slow[name][0]), ("mine", predicates[name]))
        ]
        try:
            rows = sorted(table.select("*", *flags).collect(), key=lambda row: row.scan_id)
        except Exception:
            for name in self.slow:
                if wrong := self.unusable(table, name, predicates[name], run=True):
                    return self.wrong(wrong)
            raise
        for name, (slow, bound) in self.slow.items():
            if wrong := self.differs(name, rows):
                return self.wrong(wrong)
            found = len(table.where(predicates[name]).inputFiles())
            if found > bound:
                return self.wrong(
                    f"{name} keeps the same rows as {slow}, and reads {found} of 8 files. "
                    f"It can read {bound}."
                )
        return self.right("The same rows, NULL and boundaries included, from a part of the files.")

    @staticmethod
    def unusable(table: DataFrame, name: str, text: str, *, run: bool = False) -> str | None:
        """Say why a predicate cannot be used, in the words of Spark for what it refuses, or None."""
        try:
            # In brackets, or the AND of `x >= 2 AND` would be taken for a name
            kind = table.select(F.expr(f"({text})")).dtypes[0][1]
            if kind == "boolean":
                kept = table.where(f"({text})")
                _ = kept.collect() if run else kept.schema
        except Exception as error:
            first = next((line.strip() for line in message(error).splitlines() if line.strip()), "")
            return f"{name} cannot be used: {first}"
        return (
            None
            if kind == "boolean"
            else f"{name} cannot be used: it is no condition, but of the type {kind}."
        )

    @staticmethod
    def differs(name: str, rows: Sequence[Any]) -> str | None:
        column = {"month": "scanned_at", "prefix": "parcel_id"}.get(name, "weight_g")
        for row in rows:
            ours, mine = row[f"{name}_ours"], row[f"{name}_mine"]
            value = "NULL" if row[column] is None else str(row[column])
            if ours and not mine:
                return f"{name} loses the scan with {column} {value}, which the slow predicate keeps."
            if mine and not ours:
                return f"{name} keeps the scan with {column} {value}, which the slow predicate does not."
        return None

    @staticmethod
    def files() -> Iterator[Mapping[str, Any]]:
        """Yield the columns of eight files: a month each, from May, and half a kilogram more in each.

        The scan_id follows none of them. In the first file is a scan of another September, with a weight
        below zero; in the last one a scan without a time and a parcel.
        """
        for file in range(8):
            first = datetime(2025, 5 + file, 1, tzinfo=UTC)
            last = datetime(2025 + (5 + file) // 12, (5 + file) % 12 + 1, 1, tzinfo=UTC)
            at: list[datetime | None] = [
                first,
                first + timedelta(days=9),
                first + timedelta(days=20, hours=7),
            ]
            at += [last - timedelta(days=1), last - timedelta(milliseconds=500), first + timedelta(days=15)]
            weights: list[int | None] = [500 * file + more for more in (0, 120, 260, 400, 499, 300)]
            if file in (0, 3):
                weights[1] = None
            parcels: list[str | None] = [f"PA0{file}", *(f"PA0{file}{n}11" for n in range(5, 9))]
            parcels += [f"PA0{file}999999"]
            if file == 0:
                at[5], weights[5] = datetime(2024, 9, 10, tzinfo=UTC), -5
            if file == 7:
                at[5], parcels[5] = None, None
            yield {
                "scan_id": pa.array(range(file, 48, 8)),
                "scanned_at": pa.array(at, pa.timestamp("us", tz="UTC")),
                "weight_g": pa.array(weights, pa.int32()),
                "parcel_id": pa.array(parcels),
            }


class ClusterKeys(Exercise):
    """Exercise 10.3. Keys of a clustered table for three queries: a bound of rows for each."""

    number = "10.3"
    title = "choose clustering keys"
    takes = "a list of names of columns"
    hints = (
        "A key helps the queries that filter on it. Which columns do the three queries filter on?",
        "Each further key leaves fewer parts for the others. Which column is in two of the queries, so that "
        "a third key is not needed?",
        "Two keys are enough: one for the query of a parcel, and one for the two queries of a customer.",
    )
    queries: ClassVar = (
        "parcel_id = 'PA10425000'",
        "customer_id = 417",
        "customer_id = 417 AND scanned_at >= '2025-07-05' AND scanned_at < '2025-07-06'",
    )
    filtered = ("parcel_id", "customer_id", "scanned_at")
    rows = 8_000
    bound = 35  # per cent
    read: ClassVar[dict[frozenset[str], list[int]]] = {}

    def check(self, keys: Any) -> Verdict:
        wanted = [*keys] if isinstance(keys, list | tuple | set | frozenset) else []
        if not wanted or not all(isinstance(key, str) for key in wanted):
            return self.wrong(f"Your keys are {keys!r}. They should be a list of names of columns.")
        names = [*next(self.files())]
        chosen = [key.lower() for key in wanted]  # as Spark compares names
        for place, key in enumerate(chosen):
            if key not in names:
                return self.wrong(f"{wanted[place]!r} is no column of the table. It has {', '.join(names)}.")
            if key in chosen[:place]:
                return self.wrong(f"The key {key} is there more than once.")
            if key not in self.filtered:
                return self.wrong(
                    f"{key} is in no query. Each further key leaves less for the others, so a key that no "
                    "query filters on only costs."
                )
        keys_read = self.read.get(frozenset(chosen)) or self.measured(frozenset(chosen))
        shown = ", ".join(chosen if isinstance(keys, list | tuple) else sorted(chosen))
        for query, found in zip(self.queries, keys_read, strict=True):
            if 100 * found > self.bound * self.rows:
                return self.wrong(
                    f"With the keys {shown}, the query {query} reads {found} of {self.rows} rows. "
                    f"It should read at most {self.bound} % of them. "
                    "Each further key leaves less for the others."
                )
        return self.right(f"Each of the three queries reads at most {self.bound} % of the rows.")

    def measured(self, keys: frozenset[str]) -> list[int]:
        """Cluster a copy of the table by some keys, and return and keep how many rows each query reads."""
        with copy_of(table_of_files("scans", self.files())) as folder, set_to(OF_SOME_KB):
            session().sql(f"ALTER TABLE delta.`{folder}` CLUSTER BY ({', '.join(sorted(keys))})")
            session().sql(f"OPTIMIZE delta.`{folder}`")
            table = read_from(folder)
            found = []
            for query in self.queries:
                files = [unquote(urlparse(uri).path) for uri in table.where(query).inputFiles()]
                found.append(sum(pq.read_metadata(file).num_rows for file in files))
        self.read[keys] = found
        return found

    @staticmethod
    def files() -> Iterator[Mapping[str, Any]]:
        """Yield the columns of four files in the order of arrival: no customer lets one be skipped."""
        number = np.arange(ClusterKeys.rows)
        drawn = number * 2_654_435_761 % 2**32
        start = np.datetime64("2025-07-01", "us")
        columns = {
            "scan_id": number,
            "scanned_at": start + (number * 60).astype("timedelta64[s]"),
            "parcel_id": np.char.mod("PA%08d", (drawn >> 3) % 4000 * 25_000),
            "station_id": np.char.mod("ST%02d", (drawn >> 9) % 40),
            "scan_type": np.array(["accepted", "sorted", "delivered"])[(drawn >> 5) % 3],
            "weight_g": 100 + (drawn >> 7) % 5000,
            "customer_id": (drawn >> 11) % 3000,
        }
        for part in np.array_split(number, 4):
            arrays = {name: pa.array(values[part]) for name, values in columns.items()}
            yield arrays | {"scanned_at": arrays["scanned_at"].cast(pa.timestamp("us", tz="UTC"))}


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
        ("a table whose files are all unused", *care(files=0, bytes=0, rows=0, unused=3), ["vacuum"]),
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


class Log:
    """What an event log says of the joins: their tasks, by the SQL metrics that name their stage."""

    joins = ("SortMergeJoin", "ShuffledHashJoin")

    def __init__(self, file: Path) -> None:
        events = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        self.nodes = [node for event in events for node in nodes_of(event.get("sparkPlanInfo"))]
        self.tasks = [event for event in events if event["Event"] == "SparkListenerTaskEnd"]

    def has(self, node: str) -> bool:
        """Say whether a plan has a node whose name begins so."""
        return any(other["nodeName"].startswith(node) for other in self.nodes)

    def joined(self, rows: float) -> list[list[int]]:
        """Return, for each stage whose joins have at least some rows, what each task reads by a shuffle."""
        outputs = {
            metric["accumulatorId"]
            for node in self.nodes
            for metric in node["metrics"]
            if node["nodeName"].startswith(self.joins) and metric["name"] == "number of output rows"
        }
        stages: dict[int, list[int]] = {}
        found: Counter[int] = Counter()
        for task in self.tasks:
            stage = task["Stage ID"]
            metrics = task["Task Metrics"]["Shuffle Read Metrics"]
            stages.setdefault(stage, []).append(metrics["Total Records Read"])
            for value in task["Task Info"]["Accumulables"]:
                if value["ID"] in outputs:
                    found[stage] += int(value["Update"])
        return [stages[stage] for stage in sorted(found) if found[stage] >= rows]


def nodes_of(plan: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan in an event log."""
    if plan is not None:
        yield plan
        for child in plan["children"]:
            yield from nodes_of(child)


class EvenJoin(Exercise):
    """Exercise 10.5. A join with a hot key whose tasks have nearly the same work."""

    number = "10.5"
    title = "fix a skewed join"
    takes = "a function of two DataFrames that returns the joined DataFrame"
    hints = (
        "All scans of one station go to one task, because the station alone decides. A second column in the "
        "join condition spreads them: a salt.",
        "Each scan gets one salt, from its scan_id: a salt that is drawn by chance is another one when a "
        "task is tried again. Each station needs a row for every salt, or the join loses scans.",
        "Salt the scans with F.pmod('scan_id', F.lit(32)), the stations with F.explode(F.sequence(F.lit(0), "
        "F.lit(31))). Both are of the type BIGINT or INT: cast one. Join on ['station_id', 'salt'], and drop "
        "the salt.",
    )
    rows, hub = 20_000, "ST999"
    columns = ("scan_id", "station_id", "weight_g", "kind")

    def check(self, answer: Callable[..., Any]) -> Verdict:
        spark = session()
        # What the function itself runs counts too: it may keep the joined rows
        with set_to(EIGHT), event_log.recorded(spark) as file:
            joined = answer(*self.frames(spark))
            if not isinstance(joined, DataFrame):
                told = other_kind(joined, "a DataFrame of Spark")
                return self.wrong(told.replace("a DataFrame.", "a DataFrame of pandas."))
            if missing := [name for name in self.columns if name not in joined.columns]:
                return self.wrong(
                    f"Your join has no column {missing[0]}; it has {', '.join(joined.columns)}."
                )
            sums = joined.groupBy("station_id", "kind").agg(
                F.count("*").alias("rows"), F.sum("scan_id").alias("ids"), F.sum("weight_g").alias("grams")
            )
            found = {(row.station_id, row.kind): tuple(row)[2:] for row in sums.collect()}
        if wrong := self.other_rows(found) or self.other_work(Log(file)):
            return self.wrong(wrong)
        return self.right("Equal rows, and no task reads twice as many as the median.")

    def other_work(self, log: Log) -> str | None:
        """Return what is wrong with the tasks of the join, or None."""
        if log.has("Adaptive"):
            return "The rows are right, but the plan is adaptive. Solve it without AQE: leave the settings."
        if log.has("Broadcast"):
            return "The rows are right, but the plan has a broadcast. Suppose that both sides are too large."
        stages = log.joined(self.rows / 4)
        if not stages:
            return (
                "The rows are right, but no stage joins the scans with the stations. Suppose that both "
                "sides are too large for the driver, and leave the join to Spark."
            )
        for read in stages:
            if len(read) < 8:
                tasks = "1 task" if len(read) == 1 else f"{len(read)} tasks"
                return f"The rows are right. But the join has {tasks}; leave it the 8 partitions that it has."
            if max(read) >= 2 * (middle := statistics.median(read)):
                return (
                    f"The rows are right. But the largest of {len(read)} tasks reads {max(read):,} rows from "
                    f"the shuffle, and the median is {middle:,.0f}."
                )
        return None

    def frames(self, spark: SparkSession) -> tuple[DataFrame, DataFrame]:
        """Return scans, of which two in five are at the hub, and stations, some of them without a scan.

        The filter keeps all; it makes other frames than those of the last check, which may be cached.
        """
        station = f"CASE WHEN id % 101 = 0 THEN NULL WHEN id % 5 < 2 THEN '{self.hub}' ELSE {self.depot} END"
        weight = "CAST(nullif(id % 997, 0) AS INT) AS weight_g"
        scans = spark.range(0, self.rows, 1, 2).where(f"'{uuid.uuid4().hex}' <> ''")
        names = "SELECT concat('ST', lpad(id + 1, 3, '0')) AS station_id, 'depot' AS kind FROM range(400)"
        stations = spark.sql(f"{names} UNION ALL SELECT '{self.hub}', 'hub'")
        return scans.selectExpr("id AS scan_id", f"{station} AS station_id", weight), stations

    depot = "concat('ST', lpad(id % 397 + 1, 3, '0'))"

    def other_rows(self, found: dict[tuple[str, str], tuple[int, ...]]) -> str | None:
        """Return the first thing that is wrong with the sums by station, or None."""
        right: dict[tuple[str, str], list[int]] = {}
        for scan in range(self.rows):
            if scan % 101:
                at_hub = scan % 5 < 2
                station = self.hub if at_hub else f"ST{scan % 397 + 1:03}"
                sums = right.setdefault((station, "hub" if at_hub else "depot"), [0, 0, 0])
                for place, value in enumerate((1, scan, scan % 997)):
                    sums[place] += value
        for key in sorted(right):
            rows, ids, grams = found.get(key, (0, 0, 0))
            if rows != right[key][0]:
                return f"The station {key[0]} has {rows:,} joined rows; {right[key][0]:,} scans are there."
            if [ids, grams] != right[key][1:]:
                return f"The station {key[0]} has other scans or weights than before the join."
        if more := sorted("NULL" if key[0] is None else key[0] for key in set(found) - set(right)):
            return f"Your join has rows with the station_id {more[0]}, which the plain join has not."
        return None


class Conflict(delta_errors.ConcurrentDeleteReadException):
    """What another writer causes in the check."""


class Appended(delta_errors.ConcurrentAppendException):
    """A second kind of conflict."""


class Deleted(delta_errors.ConcurrentDeleteDeleteException):
    """A third kind of conflict."""


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


class Failed(Exception):
    """An error of Spark that no conflict has caused."""

    java_exception = Cause("SparkException", Cause("FileNotFoundException"))


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
            "Two actions in another order",
            ([["vacuum", "compact"]], [None, None], 3),
            ("look vacuum compact", "['vacuum', 'compact']"),
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
            "Conflicts of two other kinds",
            ([["compact"]] * 3, [Appended, Deleted, None], 3),
            ("look compact look compact look compact", "['compact']"),
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
        (
            "A conflict in each of two attempts, of two actions",
            ([["compact", "purge"]] * 3, [Conflict, None, Conflict, None], 2),
            ("look compact look compact purge", "Conflict"),
        ),
        ("A conflict in the only attempt", ([["compact"]], [Conflict], 1), ("look compact", "Conflict")),
        (
            "An error that is no conflict",
            ([["compact"], ["compact"]], [OSError, None], 3),
            ("look compact", "OSError"),
        ),
        (
            "Another error that is no conflict",
            ([["compact"], ["compact"]], [ValueError, None], 3),
            ("look compact", "ValueError"),
        ),
        (
            "An error of Spark that no conflict has caused",
            ([["compact"], ["compact"]], [Failed, None], 3),
            ("look compact", "Failed"),
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
    raised: list[Exception] = []
    decisions, left = iter(looks), iter(outcomes)

    def look() -> dict[str, Any]:
        calls.append("look")
        return {"decide": list(next(decisions, []))}

    def decide(facts: dict[str, Any]) -> list[str]:
        return list(facts["decide"])

    def act(action: str) -> None:
        calls.append(action)
        error = RuntimeError if len(calls) > 20 else next(left, None)
        if error is not None:
            raised.append(error("another writer was first"))
            raise raised[-1]

    try:
        found = plain(answer(look, decide, act, attempts))
        ended = repr([*found] if isinstance(found, tuple) else found)
    except Exception as error:
        if error not in raised and error.__context__ not in raised:
            raise
        ended = type(error).__name__
    return " ".join(calls), ended


def told_as(told: tuple[str, str]) -> str:
    """Say which calls were made and how it ended."""
    calls, ended = told
    return f"calls {calls or 'nothing'}, and ends with {ended}"


files_read = FilesRead()
skipping = Skipping()
keys = ClusterKeys()
needs_care = NeedsCare()
even_join = EvenJoin()
maintain = Maintain()
