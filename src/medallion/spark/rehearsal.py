"""A rehearsal: what a notebook does in its first minute, so that the class archive holds its classes.

Run as `python -m medallion.spark.rehearsal ARCHIVE`. It works in a temporary folder and touches no table of
anyone.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medallion import temporary

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def rehearse(archive: Path) -> None:
    """Run a short session whose JVM writes `archive` as it exits, and wait for it to exit."""
    with temporary.folder("rehearsal-") as folder:
        os.environ["MEDALLION_HOME"] = str(folder)
        from medallion import paths
        from medallion.spark import recording, session

        os.environ.pop(recording.VARIABLE, None)  # a record's listener is in no other session
        spark = session.local("learn", archive_to=archive)
        _first_minute(spark, paths.home())
        gateway: Any = spark.sparkContext._gateway
        spark.stop()
        gateway.shutdown()
        # The JVM exits when its standard input closes, and writes the archive on its way out.
        gateway.proc.stdin.close()
        gateway.proc.wait()


def _first_minute(spark: "SparkSession", folder: Path) -> None:
    from medallion.spark import catalog

    spark.sql(f"CREATE SCHEMA demo LOCATION '{catalog.sql_text(folder / 'demo')}'")
    _read(spark, folder)
    _change(spark)
    _stream(spark, folder)


def _read(spark: "SparkSession", folder: Path) -> None:
    from pyspark.sql import functions as F

    (folder / "in").mkdir()
    lines = '{"id": 1, "at": "2025-07-01T00:00:00Z", "n": {"a": [1]}}\n{"id"'
    (folder / "in" / "rows.json").write_text(lines, encoding="utf-8")
    (folder / "rows.csv").write_text("id,name\n1,a\n", encoding="utf-8")
    spark.read.option("header", True).option("inferSchema", True).csv(f"{folder}/rows.csv").collect()
    spark.read.json(f"{folder}/in").select("*", "_metadata.file_path").write.saveAsTable("demo.json")
    parsed = F.from_json("value", "id INT, n STRUCT<a: ARRAY<INT>>, _corrupt_record STRING")
    unknown = F.map_filter(F.from_json("value", "MAP<STRING, STRING>"), lambda name, _: ~name.isin(["id"]))
    text = spark.read.text(f"{folder}/in").select(parsed.alias("row"), unknown.alias("unknown"))
    text.select("row.*", "unknown", F.explode_outer("row.n.a")).write.saveAsTable("demo.text")
    spark.table("demo.text").select(F.to_json(F.struct("*"))).toPandas()
    spark.table("demo.text").select(F.count("*"), F.count("unknown")).collect()
    spark.read.text(f"{folder}/in").select(F.try_parse_json("value").alias("v")).collect()


def _change(spark: "SparkSession") -> None:
    from delta.tables import DeltaTable
    from pyspark.errors import PySparkException
    from pyspark.sql import functions as F

    spark.range(1000).withColumn("g", F.col("id") % 7).write.saveAsTable("demo.t")
    wider = spark.range(5).selectExpr("id", "1L AS g", "'x' AS note")
    try:
        wider.write.mode("append").saveAsTable("demo.t")
    except PySparkException:  # the refusal loads classes too
        wider.write.mode("append").option("mergeSchema", True).saveAsTable("demo.t")
    DeltaTable.forName(spark, "demo.t").alias("t").merge(
        spark.range(3).selectExpr("id", "2L AS g", "'y' AS note").alias("s"), "t.id = s.id"
    ).whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
    spark.sql("ALTER TABLE demo.t ADD CONSTRAINT known CHECK (id >= 0)")
    spark.sql("DELETE FROM demo.t WHERE id > 900")
    spark.sql("UPDATE demo.t SET g = 3 WHERE id = 1")
    spark.table("demo.t").groupBy("g").count().orderBy("g")._repr_html_()
    spark.sql("DESCRIBE HISTORY demo.t").toPandas()
    spark.read.option("versionAsOf", 0).table("demo.t").count()
    spark.createDataFrame([(1, "a")], "id INT, name STRING").join(spark.table("demo.t"), "id").collect()


def _stream(spark: "SparkSession", folder: Path) -> None:
    stream = spark.readStream.schema("id LONG, at TIMESTAMP").json(f"{folder}/in")
    writer = stream.writeStream.option("checkpointLocation", f"{folder}/cp").trigger(availableNow=True)
    writer.toTable("demo.s").awaitTermination()


if __name__ == "__main__":
    rehearse(Path(sys.argv[1]))
