"""What chapter 10 promises of maintenance: a kill loses nothing, and the next run completes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pytest
from conftest import INTERPRETED
from deltalake import DeltaTable, write_deltalake
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession, functions

import medallion

pytestmark = pytest.mark.usefixtures("interpreted", "no_progress")

# These are held where their data files are written and their commit is not
HELD = {
    "OPTIMIZE": "OPTIMIZE delta.`{}`",
    "REORG": "REORG TABLE delta.`{}` APPLY (PURGE)",
    "MERGE": "MERGE INTO delta.`{}` AS old USING (SELECT explode(sequence(90L, 109L)) AS id) AS new "
    "ON old.id = new.id WHEN MATCHED THEN UPDATE SET n = 1 "
    "WHEN NOT MATCHED THEN INSERT (id, n) VALUES (new.id, 1)",
}
STATEMENTS = {**HELD, "VACUUM": "VACUUM delta.`{}`"}
BEFORE = {name: [(id, 0) for id in range(100) if name != "REORG" or id % 10] for name in STATEMENTS}
AFTER = {**BEFORE, "MERGE": [(id, int(id >= 90)) for id in range(110)]}
ORPHANS = 5_000

# A stream follows the three tables. Its second batch is written to the sink, and does not end
PROGRAM = """
import time
from functools import reduce
from pathlib import Path
from pyspark.sql import DataFrame
import medallion
from medallion.spark import paused

spark = medallion.start()
for setting in {settings!r}.items():
    spark.conf.set(*setting)
folder, held = Path({folder!r}), {held!r}


def hold(statement):
    return paused.before_commit(spark, lambda: spark.sql(statement))


def write(batch, number):
    to = batch.write.format("delta").mode("append")
    to.option("txnAppId", "followed").option("txnVersion", number).save(str(folder / "sink"))
    if number == 1:
        (folder / "in flight").touch()
        time.sleep(600)


def followed(name):
    stream = spark.readStream.format("delta").option("maxFilesPerTrigger", 1)
    return stream.load(str(folder / name)).selectExpr(f"'{{name}}' AS name", "*")


where = f"delta.`{{folder / 'REORG'}}`"
spark.sql(f"ALTER TABLE {{where}} SET TBLPROPERTIES (delta.enableDeletionVectors = true)")
spark.sql(f"DELETE FROM {{where}} WHERE id % 10 = 0")
stream = reduce(DataFrame.unionByName, map(followed, held)).writeStream.foreachBatch(write)
stream.option("checkpointLocation", str(folder / "checkpoint")).start()
while not (folder / "in flight").exists():
    time.sleep(0.05)
writers = [hold(statement.format(folder / name)) for name, statement in held.items()]
print("held" if all(writer.held for writer in writers) else "not held", flush=True)
spark.sql(f"VACUUM delta.`{{folder / 'VACUUM'}}`")
time.sleep(600)
"""


def rows(spark: SparkSession, table: Path) -> list[tuple[int, int]]:
    return sorted(tuple(row) for row in spark.read.format("delta").load(str(table)).collect())


def commits(table: Path) -> int:
    return len([*(table / "_delta_log").glob("*.json")])


def uncommitted(spark: SparkSession, table: Path) -> set[str]:
    """Return the data files in a folder that are not of the table as it is."""
    used = spark.read.format("delta").load(str(table)).inputFiles()
    names = {Path(unquote(urlparse(file).path)).name for file in used}
    return {file.name for file in table.glob("part-*.parquet")} - names


def orphans(shelf: Path) -> int:
    return sum(entry.name.startswith("orphan-") for entry in os.scandir(shelf / "VACUUM"))


@dataclass
class Found:
    """What a killed process has left of a table."""

    rows: list[tuple[int, int]]
    commits: int
    uncommitted: set[str]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table for each operation, all of five files with twenty rows each."""
    folder = tmp_path_factory.mktemp("killed")
    for name in STATEMENTS:
        for first in range(0, 100, 20):
            columns = {"id": [*range(first, first + 20)], "n": [0] * 20}
            write_deltalake(str(folder / name), pa.table(columns), mode="append")
    eight_days_ago = time.time() - 8 * 24 * 60 * 60
    for number in range(ORPHANS):
        orphan = folder / "VACUUM" / f"orphan-{number}.parquet"
        orphan.touch()
        os.utime(orphan, (eight_days_ago, eight_days_ago))
    return folder


@pytest.fixture(scope="module")
def killed(shelf: Path, spark: SparkSession) -> dict[str, Found]:
    """What is left after a process was killed in the middle of four operations and a stream."""
    program = PROGRAM.format(folder=str(shelf), held=HELD, settings=INTERPRETED)
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "held\n"
        changed = (shelf / "VACUUM").stat().st_mtime_ns
        while (shelf / "VACUUM").stat().st_mtime_ns == changed:
            assert child.poll() is None, "it ended before VACUUM had deleted a file"
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    return {
        name: Found(rows(spark, shelf / name), commits(shelf / name), uncommitted(spark, shelf / name))
        for name in STATEMENTS
    }


@pytest.fixture(scope="module")
def left_by_vacuum(killed: dict[str, Found], shelf: Path) -> tuple[int, str]:
    """How many orphans the killed VACUUM has left, and what the last commit is."""
    return orphans(shelf), DeltaTable(str(shelf / "VACUUM")).history(1)[0]["operation"]


@pytest.fixture(scope="module")
def completed(
    killed: dict[str, Found], left_by_vacuum: tuple[int, str], shelf: Path, spark: SparkSession
) -> None:
    """The next run of each operation, in another process than the killed one."""
    for name, statement in STATEMENTS.items():
        spark.sql(statement.format(shelf / name))


@pytest.mark.parametrize("name", HELD)
def test_a_kill_before_the_commit_changes_no_version(killed: dict[str, Found], name: str) -> None:
    assert killed[name].uncommitted, "its data files were written"
    assert killed[name].commits == (7 if name == "REORG" else 5), "and its commit was not"
    assert killed[name].rows == BEFORE[name]


def test_a_kill_of_vacuum_changes_no_row(killed: dict[str, Found], left_by_vacuum: tuple[int, str]) -> None:
    left, operation = left_by_vacuum
    assert 0 < left < ORPHANS, "it had begun to delete, and had not ended"
    assert operation == "VACUUM START"
    assert killed["VACUUM"].rows == BEFORE["VACUUM"]


@pytest.mark.usefixtures("completed")
@pytest.mark.parametrize("name", STATEMENTS)
def test_the_next_run_completes(
    killed: dict[str, Found], shelf: Path, spark: SparkSession, name: str
) -> None:
    assert rows(spark, shelf / name) == AFTER[name]
    assert commits(shelf / name) > killed[name].commits
    assert name != "VACUUM" or not orphans(shelf)


@pytest.mark.usefixtures("completed")
def test_the_stream_goes_on_and_has_each_row_once(shelf: Path, spark: SparkSession) -> None:
    """The batch that was in flight comes again, from files that the tables no longer have.

    Compaction and purge commit that no data has changed, so no row is sent twice. The stream passes over the
    MERGE only because it is told to.
    """
    kinds = ("offsets", "commits")
    begun = {kind: len([*(shelf / "checkpoint" / kind).glob("[0-9]*")]) for kind in kinds}
    assert begun == {"offsets": 2, "commits": 1}, "the second batch had begun, and had not ended"
    sink = str(shelf / "sink")
    assert spark.read.format("delta").load(sink).count() == 20 + 20 + 18 + 20 + 20 + 18, "it was written"

    def write(batch: DataFrame, number: int) -> None:
        to = batch.write.format("delta").mode("append").option("txnAppId", "followed")
        to.option("txnVersion", number).save(sink)

    def followed(name: str) -> DataFrame:
        stream = spark.readStream.format("delta").option("skipChangeCommits", name == "MERGE")
        return stream.load(str(shelf / name)).selectExpr(f"'{name}' AS name", "*")

    for name in HELD:
        spark.sql(f"INSERT INTO delta.`{shelf / name}` VALUES (1000, 0)")
    stream = reduce(DataFrame.unionByName, map(followed, HELD)).writeStream.foreachBatch(write)
    stream = stream.option("checkpointLocation", str(shelf / "checkpoint")).trigger(availableNow=True)
    stream.start().awaitTermination()
    expected = sorted((name, *row) for name in HELD for row in [*BEFORE[name], (1000, 0)])
    assert sorted(map(tuple, spark.read.format("delta").load(sink).collect())) == expected


JOB = {
    "unused_files",
    "facts_of",
    "state_of",
    "STATEMENTS",
    "settings_for",
    "act_on",
    "NOTE",
    "notes_of",
    "record",
}
JOB |= {
    "care_for",
    "conflict_of",
    "NAMES",
    "digest",
    "settings",
    "run_maintenance",
    "marked_rows",
    "DELTA",
}


@pytest.fixture
def job(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The job of the chapter, a table of twelve small files, and an empty ops.maintenance."""
    spark.sql("CREATE SCHEMA IF NOT EXISTS ops")
    spark.sql(
        "CREATE OR REPLACE TABLE ops.maintenance (run STRING, table_name STRING, version BIGINT, "
        "action STRING, reason STRING, files_before BIGINT, files_after BIGINT)"
    )
    spark.range(0, 100, 1, 12).write.mode("overwrite").saveAsTable("scratch.cared")
    given = {
        "spark": spark,
        "medallion": medallion,
        "F": functions,
        "Path": Path,
        "TARGET": 1_000_000,
        "COMPILED": {},
    }
    yield run_cells("10", "solution", defining=JOB, **given)
    for table in ("ops.maintenance", "scratch.cared"):
        spark.sql(f"DROP TABLE {table}")


def recorded(spark: SparkSession) -> list[tuple[Any, ...]]:
    table = spark.table("ops.maintenance").select("run", "action", "reason", "files_before", "files_after")
    return [tuple(row) for row in table.orderBy("version").collect()]


def test_a_job_that_dies_before_it_records_is_recorded_by_the_next(
    job: dict[str, Any], spark: SparkSession
) -> None:
    before, record = job["digest"]("scratch.cared"), job["record"]

    def die(notes: Any) -> None:
        raise OSError("killed")

    job["record"] = die
    with pytest.raises(OSError, match="killed"):
        job["run_maintenance"](["scratch.cared"], "first")
    assert recorded(spark) == []
    job["record"] = record
    expected = [("first", "compact", "12 small files", 12, 1)]
    for run in ("second", "third"):
        job["run_maintenance"](["scratch.cared"], run)
        assert recorded(spark) == expected, "and once only"
    assert job["digest"]("scratch.cared") == before


def test_the_settings_of_an_action_end_with_it(job: dict[str, Any], spark: SparkSession) -> None:
    job["STATEMENTS"]["compact"] = "OPTIMIZE {} WHERE nowhere = 1"
    with pytest.raises(AnalysisException):
        job["act_on"]("scratch.cared", "a run", "compact", {"files": 12})
    for name in ("commitInfo.userMetadata", "optimize.maxFileSize"):
        assert spark.conf.get(f"spark.databricks.delta.{name}", None) is None
