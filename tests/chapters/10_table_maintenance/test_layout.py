"""What the first half of chapter 10 promises of layouts: the same rows whatever the files, and clear errors.

How many files a query reads before and after a change of layout stands in outputs of the lesson; its replay
compares them. Here small tables stand for what no output shows.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from deltalake.exceptions import CommitFailedError
from pyspark.sql import DataFrame, SparkSession

from medallion.paths import scratch

HELPERS = {"files_read", "read_cost", "optimized", "refused", "settings", "UNCOMPRESSED"}

pytestmark = pytest.mark.usefixtures("interpreted", "no_progress")


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return run_cells("10", defining=HELPERS, spark=spark, COMPILED={})  # these tables are small


@pytest.fixture
def folder(spark: SparkSession, request: pytest.FixtureRequest) -> Path:
    """A folder with a space and an accent in its name, in the schema of this session."""
    return scratch() / f"Büch 1 {request.node.name}"


def write(folder: Path, files: int = 8, rows: int = 100) -> None:
    """Write a table of some files, in which no file can be skipped by `place`."""
    for file in range(files):
        number = list(range(file * rows, (file + 1) * rows))
        columns = {"number": number, "place": [n * 37 % 40 for n in number], "note": ["n"] * rows}
        write_deltalake(
            str(folder),
            pa.table(columns),
            mode="append",
            configuration={"delta.dataSkippingStatsColumns": "number,place"},
        )


def table(spark: SparkSession, folder: Path) -> DataFrame:
    return spark.read.format("delta").load(str(folder))


def rows(spark: SparkSession, folder: Path) -> list[Any]:
    return sorted(map(tuple, table(spark, folder).collect()))


def test_the_cost_is_counted_in_a_folder_with_any_name(
    spark: SparkSession, chapter: dict[str, Any], folder: Path
) -> None:
    write(folder, files=2)
    cost = chapter["read_cost"](table(spark, folder).where("number = 5"))
    assert (cost["files"], cost["rows"]) == (1, 100)
    assert chapter["files_read"](table(spark, folder)) == 2


def test_a_key_without_statistics_is_refused_and_the_table_is_as_it_was(
    spark: SparkSession, chapter: dict[str, Any], folder: Path
) -> None:
    write(folder, files=2)
    before = DeltaTable(str(folder)).version(), rows(spark, folder)
    message = chapter["refused"](f"ALTER TABLE delta.`{folder}` CLUSTER BY (note)")
    assert message.startswith("[DELTA_CLUSTERING_COLUMN_MISSING_STATS]") and "'note'" in message
    five = folder.with_name(folder.name + " 5")
    write_deltalake(str(five), pa.table({name: [1] for name in "abcde"}))
    message = chapter["refused"](f"ALTER TABLE delta.`{five}` CLUSTER BY (a, b, c, d, e)")
    assert message.startswith("[DELTA_CLUSTER_BY_INVALID_NUM_COLUMNS]")
    analyzed = chapter["refused"](f"ANALYZE TABLE delta.`{folder}` COMPUTE DELTA STATISTICS")
    assert "[PARSE_SYNTAX_ERROR]" in analyzed
    assert (DeltaTable(str(folder)).version(), rows(spark, folder)) == before


def test_each_layout_answers_the_same(spark: SparkSession, chapter: dict[str, Any], folder: Path) -> None:
    write(folder)
    before, where = rows(spark, folder), f"delta.`{folder}`"
    assert chapter["files_read"](table(spark, folder).where("place = 7")) == 8
    spark.sql(f"ALTER TABLE {where} CLUSTER BY (place)")
    assert chapter["files_read"](table(spark, folder).where("place = 7")) == 8  # nothing moves by a name
    removed, added = chapter["optimized"](f"OPTIMIZE {where}", 2)
    assert removed == 8 and chapter["files_read"](table(spark, folder).where("place = 7")) < added
    assert rows(spark, folder) == before
    assert chapter["optimized"](f"OPTIMIZE {where}", 2) == (0, 0)
    spark.sql(f"ALTER TABLE {where} CLUSTER BY (number)")
    assert chapter["optimized"](f"OPTIMIZE {where}", 2) == (0, 0)  # it needs FULL
    assert chapter["optimized"](f"OPTIMIZE {where} FULL", 2)[0] == added
    assert rows(spark, folder) == before


def test_compaction_is_no_change_of_data_to_a_stream(spark: SparkSession, folder: Path) -> None:
    write(folder, files=4)
    seen: list[int] = []

    def count(batch: DataFrame, number: int) -> None:
        seen.append(batch.count())

    def read() -> int:
        seen.clear()
        stream = spark.readStream.format("delta").load(str(folder)).writeStream.foreachBatch(count)
        place = str(folder.with_name(folder.name + " checkpoint"))
        stream.option("checkpointLocation", place).trigger(availableNow=True).start().awaitTermination()
        return sum(seen)

    assert read() == 400
    spark.sql(f"OPTIMIZE delta.`{folder}`")
    assert len(table(spark, folder).inputFiles()) == 1 and read() == 0
    # A commit that says that its rows are new is sent again: why OPTIMIZE must not say so
    table(spark, folder).coalesce(1).write.format("delta").mode("append").save(str(folder))
    assert read() == 400


def test_vectors_lock_the_reader_with_pyarrow_out_until_the_feature_is_dropped(
    spark: SparkSession, folder: Path
) -> None:
    """The query engine of deltalake reads vectors. Its writer does not know what a dropped feature leaves."""
    write(folder, files=2)
    where = f"delta.`{folder}`"
    spark.sql(f"ALTER TABLE {where} SET TBLPROPERTIES (delta.enableDeletionVectors = true)")
    spark.sql(f"DELETE FROM {where} WHERE number = 5")
    with pytest.raises(Exception, match="deletionVectors"):
        DeltaTable(str(folder)).to_pyarrow_dataset()
    engine = QueryBuilder().register("t", DeltaTable(str(folder)))
    counted = pa.table(engine.execute("SELECT count(*) AS n FROM t").read_all())
    assert counted.to_pylist() == [{"n": 199}]
    marked = DeltaTable(str(folder)).version()
    spark.sql(f"REORG TABLE {where} APPLY (PURGE)")
    with pytest.raises(Exception, match="deletionVectors"):
        DeltaTable(str(folder)).to_pyarrow_dataset()
    spark.sql(f"ALTER TABLE {where} SET TBLPROPERTIES (delta.enableDeletionVectors = false)")
    spark.sql(f"ALTER TABLE {where} DROP FEATURE deletionVectors")
    data = DeltaTable(str(folder)).to_pyarrow_table()
    assert data.num_rows == 199
    with pytest.raises(Exception, match="deletionVectors"):
        DeltaTable(str(folder), version=marked).to_pyarrow_dataset()
    with pytest.raises(CommitFailedError, match="checkpointProtection"):
        write_deltalake(str(folder), data.slice(0, 1), mode="append")


def test_deltalake_reads_a_clustered_table_and_cannot_write_it(spark: SparkSession, folder: Path) -> None:
    write(folder, files=2)
    spark.sql(f"ALTER TABLE delta.`{folder}` CLUSTER BY (number)")
    data = DeltaTable(str(folder)).to_pyarrow_table()
    assert data.num_rows == 200
    with pytest.raises(CommitFailedError, match="ClusteredTable"):
        write_deltalake(str(folder), data.slice(0, 1), mode="append")


def test_one_run_of_optimize_is_not_always_enough(
    spark: SparkSession, chapter: dict[str, Any], folder: Path
) -> None:
    write(folder, files=40, rows=1)
    size = max(file.stat().st_size for file in folder.glob("*.parquet"))
    runs = []
    while not runs or runs[-1][0]:
        runs.append(chapter["optimized"](f"OPTIMIZE delta.`{folder}`", -(-4 * size // 1000)))
    assert runs[0][0] == 40 and runs[1][0] > 1 and len(runs) > 2
    assert [row[0] for row in rows(spark, folder)] == list(range(40))


def test_a_key_with_few_values_counts_for_little_beside_one_with_many(
    spark: SparkSession, chapter: dict[str, Any], folder: Path
) -> None:
    """The values of a key are numbered in up to 1,000 ranges, and the curve looks at large numbers first."""
    read = {}
    for ranges in ("1000", "40"):
        one = folder / ranges
        write(one)
        spark.sql(f"ALTER TABLE delta.`{one}` CLUSTER BY (place, number)")
        with chapter["settings"]({"spark.databricks.io.skipping.mdc.rangeId.max": ranges}):
            chapter["optimized"](f"OPTIMIZE delta.`{one}`", 2)
        files = chapter["files_read"](table(spark, one))
        read[ranges] = chapter["files_read"](table(spark, one).where("place = 7")), files
    assert read["1000"][0] == read["1000"][1]
    assert read["40"][0] < read["40"][1], read
