"""What chapter 12 promises of declarative pipelines: readers keep the last good version, and no row is lost.

The pipeline of the shop and its equality with chapters 01 to 03 stand in outputs of the lesson; its replay
compares them. Here a pipeline of two views stands for what a failed run does to readers.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import medallion
from medallion.lesson.frames import frame_of
from medallion.paths import scratch

pytestmark = pytest.mark.usefixtures("no_progress", "interpreted")

VIEWS = """
from pyspark import pipelines as dp
from pyspark.sql import SparkSession
spark = SparkSession.active()
@dp.materialized_view
def a_kept():
    return spark.read.table("scratch.a_came").selectExpr("if(n > 0, n, raise_error('not positive')) AS n")
@dp.materialized_view
def a_report():
    return spark.read.table("a_kept")
@dp.materialized_view
def a_kept_too():
    return spark.range(1)
"""


@pytest.fixture(scope="module")
def chapter(
    spark: SparkSession, interpreted: None, run_cells: Callable[..., dict[str, Any]]
) -> dict[str, Any]:
    folder = scratch() / "a_pipeline"
    folder.mkdir(parents=True)
    names = {"SETTINGS", "PAYMENTS", "specify", "pipeline", "states_of", "commits", "publish"}
    given = {"spark": spark, "folder": folder, "medallion": medallion, "shutil": shutil}
    return run_cells("12", defining=names | {"only_in", "balance"}, **given)


def rows(spark: SparkSession, table: str) -> list[int]:
    return sorted(n for (n,) in spark.table(table).collect())


def test_readers_of_the_last_good_version_keep_it_and_readers_of_the_table_do_not(
    spark: SparkSession, chapter: dict[str, Any]
) -> None:
    folder, publish, commits = chapter["folder"], chapter["publish"], chapter["commits"]
    (Path(folder) / "views.py").write_text(VIEWS)
    spec = chapter["specify"]("views", ["views.py"], "scratch", folder)
    spark.sql("CREATE TABLE scratch.a_came AS SELECT 1 AS n")
    good = chapter["pipeline"]("run", spec)
    assert good.returncode == 0, good.stdout + good.stderr
    publish("scratch.a_published", "scratch.a_report", good)
    spark.sql("INSERT INTO scratch.a_came VALUES (-1)")
    bad = chapter["pipeline"]("run", spec)
    assert bad.returncode == 1 and "not positive" in bad.stdout
    assert chapter["states_of"](bad) == {"a_kept": "FAILED", "a_kept_too": "COMPLETED", "a_report": "SKIPPED"}
    publish("scratch.a_published", "scratch.a_report", bad)
    assert rows(spark, "scratch.a_report") == [] and rows(spark, "scratch.a_published") == [1]
    assert [name for name, _ in commits("scratch.a_report")][:3] == ["CREATE TABLE", "WRITE", "TRUNCATE"]
    # A run of another table ends with 0, and does not fill the report
    other = chapter["pipeline"]("run", spec, "--refresh", "a_kept_too")
    assert other.returncode == 0 and chapter["states_of"](other)["a_report"] == "EXCLUDED"
    publish("scratch.a_published", "scratch.a_report", other)
    assert rows(spark, "scratch.a_published") == [1]
    assert [name for name, _ in commits("scratch.a_report")][-1] != "WRITE"
    spark.sql("RESTORE TABLE scratch.a_report TO VERSION AS OF 1")
    assert rows(spark, "scratch.a_report") == [1]


def test_a_comparison_counts_both_ways_and_duplicates(spark: SparkSession, chapter: dict[str, Any]) -> None:
    frame_of([("a", 1), ("a", 1), ("b", None)], "x STRING, y INT").createOrReplaceTempView("a_ours")
    frame_of([("a", 1), ("b", None), ("c", 3)], "x STRING, y INT").createOrReplaceTempView("a_theirs")
    assert chapter["only_in"]("a_ours", "a_theirs", ["x", "y"]) == (1, 1)
    assert chapter["only_in"]("a_ours", "a_ours", ["x", "y"]) == (0, 0)


def test_a_lost_row_is_the_rest_of_the_balance(spark: SparkSession, chapter: dict[str, Any]) -> None:
    def sent(name: str) -> tuple[Any, ...]:
        return (name, *[None] * (len(chapter["SENT"]) - 1))

    tables = {"payments_raw": ["P1", "P1", "P2", "P3"], "payments": ["P1"], "payments_quarantine": ["P2"]}
    for table, names in tables.items():
        frame = frame_of([sent(name) for name in names], chapter["PAYMENTS"])
        frame.write.saveAsTable(f"scratch.{table}")
    assert tuple(chapter["balance"]("scratch").first()) == (4, 1, 1, 1, 1)
