"""A rehearsal: what a notebook does in its first minute, so that the class archive holds its classes.

Run as `python -m medallion.rehearsal ARCHIVE`. It works in a temporary folder and touches no table of anyone.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def rehearse(archive: Path) -> None:
    """Run a short session whose JVM writes `archive` as it exits, and wait for it to exit."""
    with tempfile.TemporaryDirectory(prefix="medallion-rehearsal-") as folder:
        os.environ["MEDALLION_HOME"] = folder
        from medallion import session

        spark = session.local("learn", archive_to=archive)
        _first_minute(spark, Path(folder))
        gateway = spark.sparkContext._gateway
        spark.stop()
        gateway.shutdown()
        # The JVM exits when its standard input closes, and writes the archive on its way out.
        gateway.proc.stdin.close()
        gateway.proc.wait()


def _first_minute(spark: "SparkSession", folder: Path) -> None:
    from delta.tables import DeltaTable
    from pyspark.sql import functions as F

    spark.sql(f"CREATE SCHEMA demo LOCATION '{folder}/demo'")
    (folder / "in").mkdir()
    (folder / "in" / "rows.json").write_text('{"id": 1, "at": "2025-07-01T00:00:00Z", "n": {"a": [1]}}\n{"id"', "utf-8")
    rows = spark.read.option("columnNameOfCorruptRecord", "_corrupt_record").json(f"{folder}/in")
    rows.cache().count()
    rows.select("*", "_metadata.file_path").collect()
    (folder / "rows.csv").write_text("id,name\n1,a\n", encoding="utf-8")
    spark.read.option("header", True).option("inferSchema", True).csv(f"{folder}/rows.csv").collect()
    spark.range(1000).withColumn("g", F.col("id") % 7).write.saveAsTable("demo.t")
    spark.range(5).withColumn("g", F.lit(1).cast("long")).write.mode("append").saveAsTable("demo.t")
    DeltaTable.forName(spark, "demo.t").alias("t").merge(
        spark.range(3).withColumn("g", F.lit(2).cast("long")).alias("s"), "t.id = s.id"
    ).whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
    spark.sql("DELETE FROM demo.t WHERE id > 900")
    spark.table("demo.t").groupBy("g").count().orderBy("g")._repr_html_()
    spark.sql("DESCRIBE HISTORY demo.t").toPandas()
    spark.read.option("versionAsOf", 0).table("demo.t").count()
    spark.createDataFrame([(1, "a")], "id INT, name STRING").join(spark.table("demo.t"), "id").collect()
    stream = spark.readStream.schema("id LONG, at TIMESTAMP").json(f"{folder}/in")
    writer = stream.writeStream.option("checkpointLocation", f"{folder}/cp").trigger(availableNow=True)
    writer.toTable("demo.s").awaitTermination()


if __name__ == "__main__":
    rehearse(Path(sys.argv[1]))
