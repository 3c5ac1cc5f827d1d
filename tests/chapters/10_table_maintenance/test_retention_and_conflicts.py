"""What chapter 10 shows of retention and conflicts also fails without what it shows."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from delta import exceptions
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

import medallion
from medallion.errors import MedallionError
from medallion.spark import event_log, paused

HELPERS = {"error_of", "without_retention_check", "conflict_of", "NAMES", "CONFLICTS"}
INSERT = "INSERT INTO scratch.tested VALUES (100)"
TOTAL = "SELECT sum(id) FROM scratch.tested"

pytestmark = pytest.mark.usefixtures("interpreted", "no_progress")


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return run_cells("10", defining=HELPERS, spark=spark, medallion=medallion)


@pytest.fixture
def tested(spark: SparkSession) -> Iterator[str]:
    """A table of three rows in one file."""
    spark.range(3).coalesce(1).write.mode("overwrite").saveAsTable("scratch.tested")
    yield "scratch.tested"
    spark.sql("DROP TABLE scratch.tested")


def test_vacuum_with_0_hours_takes_the_files_of_a_running_write(
    chapter: dict[str, Any], tested: str, spark: SparkSession
) -> None:
    writer = paused.before_commit(lambda: spark.sql(INSERT))
    with chapter["without_retention_check"]():
        spark.sql(f"VACUUM {tested} RETAIN 0 HOURS")
    assert writer.finish() is None, "it commits"
    assert "does not exist" in chapter["error_of"](lambda: spark.sql(TOTAL).collect())


def test_vacuum_with_the_default_retention_leaves_them(tested: str, spark: SparkSession) -> None:
    writer = paused.before_commit(lambda: spark.sql(INSERT))
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
    with chapter["without_retention_check"]():
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
    writer = paused.before_commit(lambda: spark.sql(held))
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
    writer = paused.before_commit(lambda: spark.sql(f"INSERT INTO {tested} SELECT raise_error('no')"))
    assert not writer.held
    assert writer.finish() is not None


def test_what_is_no_write_is_told_as_its_error(tested: str, spark: SparkSession) -> None:
    writer = paused.before_commit(lambda: spark.sql("INSERT INTO scratch.nowhere VALUES (1)"))
    assert isinstance(writer.finish(), AnalysisException)


def test_nothing_is_held_without_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    with pytest.raises(MedallionError, match=r"medallion\.start"):
        paused.before_commit(lambda: None)


def test_an_event_log_has_what_ran_in_its_block(spark: SparkSession) -> None:
    with event_log.recorded(spark) as log:
        spark.range(5).selectExpr("sum(id)").collect()
    said = log.read_text("utf-8")
    spark.range(5).selectExpr("max(id)").collect()
    assert "SparkListenerTaskEnd" in said and log.read_text("utf-8") == said
    with event_log.recorded(spark) as empty:
        pass
    assert empty != log and "SparkListenerTaskEnd" not in empty.read_text("utf-8")
