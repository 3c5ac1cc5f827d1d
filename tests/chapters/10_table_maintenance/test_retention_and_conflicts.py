"""What chapter 10 shows of retention and conflicts also fails without what it shows."""

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from delta import exceptions
from deltalake import write_deltalake
from pyspark.errors import AnalysisException
from pyspark.sql import Row, SparkSession, functions

import medallion
from medallion.errors import MedallionError
from medallion.spark import event_log, paused

HELPERS = {"error_of", "read_error_of", "settings", "NO_CHECK", "conflict_of", "NAMES", "CONFLICTS"}
HELPERS |= {"facts_of", "unused_files", "marked_rows"}
INSERT = "INSERT INTO scratch.tested VALUES (100)"
TOTAL = "SELECT sum(id) FROM scratch.tested"

pytestmark = pytest.mark.usefixtures("interpreted", "no_progress")


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return run_cells("10", defining=HELPERS, spark=spark, medallion=medallion, re=re, Path=Path, F=functions)


@pytest.fixture
def tested(spark: SparkSession) -> Iterator[str]:
    """A table of three rows in one file."""
    spark.range(3).coalesce(1).write.mode("overwrite").saveAsTable("scratch.tested")
    yield "scratch.tested"
    spark.sql("DROP TABLE scratch.tested")


def test_vacuum_with_0_hours_takes_the_files_of_a_running_write(
    chapter: dict[str, Any], tested: str, spark: SparkSession
) -> None:
    writer = paused.before_commit(spark, lambda: spark.sql(INSERT))
    with chapter["settings"](chapter["NO_CHECK"]):
        spark.sql(f"VACUUM {tested} RETAIN 0 HOURS")
    assert writer.finish() is None, "it commits"
    assert chapter["read_error_of"](lambda: spark.sql(TOTAL).collect()) == "FAILED_READ_FILE.FILE_NOT_EXIST"


def test_vacuum_with_the_default_retention_leaves_them(tested: str, spark: SparkSession) -> None:
    writer = paused.before_commit(spark, lambda: spark.sql(INSERT))
    spark.sql(f"VACUUM {tested}")
    assert writer.finish() is None
    assert spark.sql(TOTAL).collect() == [(103,)]


def test_a_retention_that_is_too_short_is_refused_and_nothing_changes(
    chapter: dict[str, Any], tested: str, spark: SparkSession
) -> None:
    folder = medallion.scratch() / "tested"
    before = sorted(folder.rglob("*"))
    with pytest.raises(Exception, match="DELTA_VACUUM_RETENTION_PERIOD_TOO_SHORT"):
        spark.sql(f"VACUUM {tested} RETAIN 0 HOURS")
    assert sorted(folder.rglob("*")) == before
    with chapter["settings"](chapter["NO_CHECK"]):
        spark.sql(f"VACUUM {tested} RETAIN 0 HOURS DRY RUN")
    with pytest.raises(Exception, match="DELTA_VACUUM_RETENTION_PERIOD_TOO_SHORT"):
        spark.sql(f"VACUUM {tested} RETAIN 0 HOURS DRY RUN")


class Java:
    """A Java exception that is only played, as Py4J hands it on."""

    def __init__(self, name: str, cause: "Java | None" = None) -> None:
        self.name, self.cause = name, cause

    def getClass(self) -> "Java":
        return self

    def getSimpleName(self) -> str:
        return self.name

    def getCause(self) -> "Java | None":
        return self.cause


@pytest.mark.parametrize("held", ["OPTIMIZE scratch.tested", "DELETE FROM scratch.tested WHERE id = 1"])
def test_a_conflict_changes_nothing_and_may_be_tried_again(
    chapter: dict[str, Any], tested: str, spark: SparkSession, held: str
) -> None:
    spark.sql(INSERT)
    writer = paused.before_commit(spark, lambda: spark.sql(held))
    spark.sql(f"DELETE FROM {tested} WHERE id = 2")
    error = writer.finish()
    assert isinstance(error, chapter["CONFLICTS"]) and chapter["conflict_of"](error)
    assert spark.sql(TOTAL).collect() == [(101,)]
    spark.sql(held)


def test_a_conflict_is_found_as_a_cause(chapter: dict[str, Any]) -> None:
    error = OSError("the error of a stream")
    error.java_exception = Java("SparkException", Java("ConcurrentDeleteReadException"))  # type: ignore[attr-defined]
    assert chapter["conflict_of"](error) == "ConcurrentDeleteRead"


@pytest.mark.parametrize("error", [None, OSError("x"), exceptions.MetadataChangedException("x")])
def test_another_error_is_no_conflict(chapter: dict[str, Any], error: Exception | None) -> None:
    assert chapter["conflict_of"](error) is None


def test_a_write_that_fails_before_its_commit_is_not_held(tested: str, spark: SparkSession) -> None:
    writer = paused.before_commit(spark, lambda: spark.sql(f"INSERT INTO {tested} SELECT raise_error('no')"))
    assert not writer.held
    assert writer.finish() is not None


def test_what_is_no_write_is_told_as_its_error(tested: str, spark: SparkSession) -> None:
    writer = paused.before_commit(spark, lambda: spark.sql("INSERT INTO scratch.nowhere VALUES (1)"))
    assert isinstance(writer.finish(), AnalysisException)


def test_a_block_refuses_what_has_no_commit(tested: str, spark: SparkSession) -> None:
    failing = paused.before_commit(spark, lambda: spark.sql(f"INSERT INTO {tested} SELECT raise_error('no')"))
    with pytest.raises(MedallionError, match="without coming to a commit") as told, failing:
        pass
    assert told.value.__cause__ is not None


def test_a_block_that_fails_lets_the_write_go_on(tested: str, spark: SparkSession) -> None:
    with pytest.raises(KeyboardInterrupt), paused.before_commit(spark, lambda: spark.sql(INSERT)) as writer:
        raise KeyboardInterrupt
    assert writer.finish() is None
    assert spark.sql(TOTAL).collect() == [(103,)]


def test_a_write_that_is_not_waited_for_ends(
    tested: str, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paused, "_SECONDS", 0)
    with pytest.raises(MedallionError, match="did not come to its commit"):
        paused.before_commit(spark, lambda: spark.sql(INSERT))
    monkeypatch.undo()
    end = time.monotonic() + 60
    while spark.sql(TOTAL).collect() != [(103,)]:
        assert time.monotonic() < end, "it is still held"


def test_settings_are_afterwards_as_they_were(chapter: dict[str, Any], spark: SparkSession) -> None:
    """Also those that the session had when it began: `unset` gives Spark's default, 200 tasks."""
    name, other = "spark.sql.shuffle.partitions", "spark.sql.adaptive.skewJoin.skewedPartitionFactor"
    before = spark.conf.get(name)
    assert before != "200"
    with pytest.raises(OSError, match="x"), chapter["settings"]({name: 8, other: 2}):
        assert spark.conf.get(name) == "8"
        raise OSError("x")
    assert spark.conf.get(name) == before
    assert spark.conf.get(other, None) is None


def test_what_other_writers_append_is_counted(
    chapter: dict[str, Any], tested: str, spark: SparkSession
) -> None:
    folder = medallion.scratch() / "tested"
    for number in range(3):
        write_deltalake(str(folder), pa.table({"id": pa.array([number], pa.int64())}), mode="append")
    facts = chapter["facts_of"](tested)
    assert (facts["files"], facts["rows"], facts["deleted"], facts["unused"]) == (4, 6, None, 0)


def test_a_table_of_another_writer_has_facts(chapter: dict[str, Any], tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "t"), pa.table({"id": [1, 2]}))
    facts = chapter["facts_of"](f"delta.`{tmp_path / 't'}`")
    assert (facts["files"], facts["rows"], facts["deleted"]) == (1, 2, None)


def aged(file: Path) -> Path:
    eight_days_ago = time.time() - 8 * 24 * 60 * 60
    os.utime(file, (eight_days_ago, eight_days_ago))
    return file


def test_an_unused_file_in_a_partition_is_counted(
    chapter: dict[str, Any], spark: SparkSession, tmp_path: Path
) -> None:
    frame = spark.range(4).selectExpr("id", "id % 2 AS day").write.format("delta").partitionBy("day")
    frame.save(str(tmp_path / "t"))
    orphan = tmp_path / "t" / "day=0" / "orphan.parquet"
    orphan.write_bytes(b"half a file")
    aged(orphan)
    assert chapter["facts_of"](f"delta.`{tmp_path / 't'}`")["unused"] == 1


def test_the_folder_of_a_change_feed_is_no_unused_file(
    chapter: dict[str, Any], spark: SparkSession, tmp_path: Path
) -> None:
    table = f"delta.`{tmp_path / 't'}`"
    frame = spark.range(4).coalesce(1).write.format("delta").option("delta.enableChangeDataFeed", True)
    frame.save(str(tmp_path / "t"))
    spark.sql(f"UPDATE {table} SET id = 9 WHERE id = 1")
    aged(tmp_path / "t" / "_change_data")
    assert spark.sql(f"VACUUM {table} DRY RUN").count() > 0, "it names the folder"
    assert chapter["facts_of"](table)["unused"] == 0


def test_a_table_that_fails_stops_no_other_and_is_named(
    run_cells: Callable[..., dict[str, Any]], tested: str, spark: SparkSession
) -> None:
    job = run_cells("10", defining={"run_maintenance"}, spark=spark, medallion=medallion)
    done: list[str] = []
    written: list[list[Row]] = []

    def care_for(table: str, run: str) -> None:
        if table == "scratch.nowhere":
            raise OSError("no such table")
        done.append(table)

    job["care_for"] = care_for
    job["notes_of"] = lambda table: spark.sql(f"SELECT '{table}' AS note")
    job["record"] = lambda notes: written.append(notes.collect())
    with pytest.raises(RuntimeError, match=r"scratch\.nowhere.*no such table"):
        job["run_maintenance"](["scratch.nowhere", tested], "a run")
    assert done == [tested] and written == [[Row(note=tested)]], "it is recorded too"


@pytest.mark.parametrize("rewrites", [False, True], ids=["compacts", "rewrites"])
def test_a_stream_passes_over_a_compaction_and_stops_at_a_rewrite(
    spark: SparkSession, tmp_path: Path, rewrites: bool
) -> None:
    table = str(tmp_path / "t")
    spark.range(0, 100, 1, 4).write.format("delta").save(table)
    stream = spark.readStream.format("delta").load(table).writeStream.format("delta")
    stream = stream.option("checkpointLocation", str(tmp_path / "c")).trigger(availableNow=True)
    stream.start(str(tmp_path / "copy")).awaitTermination()
    if rewrites:
        rows = spark.read.format("delta").load(table).coalesce(1)
        rows.write.format("delta").mode("overwrite").save(table)
        with pytest.raises(Exception, match="DELTA_SOURCE_TABLE_IGNORE_CHANGES"):
            stream.start(str(tmp_path / "copy")).awaitTermination()
        return
    spark.sql(f"OPTIMIZE delta.`{table}`")
    stream.start(str(tmp_path / "copy")).awaitTermination()
    assert spark.read.format("delta").load(str(tmp_path / "copy")).count() == 100


def test_an_event_log_has_what_ran_in_its_block(spark: SparkSession) -> None:
    with event_log.recorded(spark) as log:
        spark.range(5).selectExpr("sum(id)").collect()
    said = log.read_text("utf-8")
    spark.range(5).selectExpr("max(id)").collect()
    assert "SparkListenerTaskEnd" in said and log.read_text("utf-8") == said
    with event_log.recorded(spark) as empty:
        pass
    assert empty != log and "SparkListenerTaskEnd" not in empty.read_text("utf-8")
