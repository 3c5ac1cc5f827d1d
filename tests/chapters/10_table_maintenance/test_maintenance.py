"""What chapter 10 promises of maintenance: a kill loses nothing, and the next run completes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession, functions

import medallion

pytestmark = pytest.mark.usefixtures("interpreted", "no_progress")

# All but VACUUM are held where their data files are written and their commit is not
HELD = {
    "OPTIMIZE": "OPTIMIZE delta.`{}`",
    "REORG": "REORG TABLE delta.`{}` APPLY (PURGE)",
    "MERGE": "MERGE INTO delta.`{}` AS old USING (SELECT explode(sequence(90L, 109L)) AS id) AS new "
    "ON old.id = new.id WHEN MATCHED THEN UPDATE SET n = 1 "
    "WHEN NOT MATCHED THEN INSERT (id, n) VALUES (new.id, 1)",
}
STATEMENTS = {**HELD, "VACUUM": "VACUUM delta.`{}`"}
ORPHANS = 300

PROGRAM = """
import time
from collections.abc import Callable, Iterator
from pathlib import Path
import medallion
from medallion.spark import paused

spark = medallion.start()
folder, held = Path({folder!r}), {held!r}
stream = spark.readStream.format("delta").option("maxFilesPerTrigger", 1).load(str(folder / "OPTIMIZE"))
stream = stream.writeStream.option("checkpointLocation", str(folder / "checkpoint")).format("delta")
query = stream.trigger(processingTime="1 hour").start(str(folder / "sink"))
while not (folder / "sink" / "_delta_log" / "00000000000000000000.json").exists():
    time.sleep(0.05)
writers = [
    paused.before_commit(spark, lambda: spark.sql(statement.format(folder / name)))
    for name, statement in held.items()
]
print("held" if all(writer.held for writer in writers) else "not held", flush=True)
spark.sql(f"VACUUM delta.`{{folder / 'VACUUM'}}`")
time.sleep(600)
"""


def rows(spark: SparkSession, table: Path) -> list[tuple[int, int]]:
    return sorted(tuple(row) for row in spark.read.format("delta").load(str(table)).collect())


def commits(table: Path) -> int:
    return len([*(table / "_delta_log").glob("*.json")])


def files(table: Path) -> set[str]:
    return {file.name for file in table.glob("*.parquet")}


def orphans(shelf: Path) -> list[Path]:
    return [*(shelf / "VACUUM").glob("orphan-*")]


@pytest.fixture(scope="module")
def shelf(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table for each operation."""
    folder = tmp_path_factory.mktemp("killed")
    for name in STATEMENTS:
        frame = spark.range(0, 100, 1, 5).selectExpr("id", "0L AS n")
        marks = name == "REORG"
        frame.write.format("delta").option("delta.enableDeletionVectors", marks).save(str(folder / name))
    spark.sql(f"DELETE FROM delta.`{folder / 'REORG'}` WHERE id % 10 = 0")
    eight_days_ago = time.time() - 8 * 24 * 60 * 60
    for number in range(ORPHANS):
        orphan = folder / "VACUUM" / f"orphan-{number}.parquet"
        orphan.write_bytes(b"half a file")
        os.utime(orphan, (eight_days_ago, eight_days_ago))
    return folder


@pytest.fixture(scope="module")
def killed(shelf: Path, spark: SparkSession) -> dict[str, Any]:
    """The shelf as it was, after a process was killed in the middle of all four operations and a stream."""
    before = {
        name: (rows(spark, shelf / name), commits(shelf / name), files(shelf / name)) for name in STATEMENTS
    }
    program = PROGRAM.format(folder=str(shelf), held=HELD)
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "held\n"
        while len(orphans(shelf)) == ORPHANS:
            assert child.poll() is None, "it ended before VACUUM had deleted a file"
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    return before


@pytest.mark.parametrize("name", HELD)
def test_a_kill_before_the_commit_changes_no_version(
    killed: dict[str, Any], shelf: Path, spark: SparkSession, name: str
) -> None:
    before, versions, on_disk = killed[name]
    assert files(shelf / name) > on_disk, "its data files were written"
    assert commits(shelf / name) == versions, "and its commit was not"
    assert rows(spark, shelf / name) == before


def test_a_kill_of_vacuum_changes_no_row(killed: dict[str, Any], shelf: Path, spark: SparkSession) -> None:
    assert len(orphans(shelf)) < ORPHANS, "it had begun to delete"
    assert rows(spark, shelf / "VACUUM") == killed["VACUUM"][0]


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_next_run_completes(killed: dict[str, Any], shelf: Path, spark: SparkSession, name: str) -> None:
    before, versions, _ = killed[name]
    spark.sql(STATEMENTS[name].format(shelf / name))
    expected = before
    if name == "MERGE":
        expected = [(id, int(id >= 90)) for id in range(110)]
    assert rows(spark, shelf / name) == expected
    assert commits(shelf / name) > versions
    assert not orphans(shelf) or name != "VACUUM"


def test_the_stream_goes_on_and_has_each_row_once(
    killed: dict[str, Any], shelf: Path, spark: SparkSession
) -> None:
    """After the compaction too: its commit says that no data has changed."""
    spark.sql(f"OPTIMIZE delta.`{shelf / 'OPTIMIZE'}`")
    spark.sql(f"INSERT INTO delta.`{shelf / 'OPTIMIZE'}` VALUES (1000, 0)")
    stream = spark.readStream.format("delta").load(str(shelf / "OPTIMIZE")).writeStream.format("delta")
    stream = stream.option("checkpointLocation", str(shelf / "checkpoint")).trigger(availableNow=True)
    stream.start(str(shelf / "sink")).awaitTermination()
    assert rows(spark, shelf / "sink") == [*killed["OPTIMIZE"][0], (1000, 0)]


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
JOB |= {"care_for", "conflict_of", "NAMES", "digest", "settings", "run_maintenance", "marked_rows", "DELTA"}


@pytest.fixture
def job(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The job of the chapter, a table of twelve small files, and an empty ops.maintenance."""
    spark.sql("CREATE SCHEMA IF NOT EXISTS ops")
    spark.sql(
        "CREATE OR REPLACE TABLE ops.maintenance (run STRING, table_name STRING, version BIGINT, "
        "action STRING, reason STRING, files_before BIGINT, files_after BIGINT)"
    )
    spark.range(0, 100, 1, 12).write.mode("overwrite").saveAsTable("scratch.cared")
    given = {"spark": spark, "medallion": medallion, "F": functions, "TARGET": 1_000_000, "Path": Path}
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
