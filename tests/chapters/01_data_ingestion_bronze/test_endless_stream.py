"""What the table of chapter 01 cannot say: a stream that never ends is given up."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery

import medallion


def test_a_stream_without_a_trigger(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_trigger(source: Path, table: Path, checkpoint: Path) -> StreamingQuery:
        rows = spark.readStream.schema("chargeback_id STRING").json(str(source))
        writer = rows.writeStream.format("delta").option("checkpointLocation", str(checkpoint))
        return writer.start(str(table))

    check = medallion.checks("01")
    monkeypatch.setattr(check.land_files, "seconds", 1)
    verdict = check.land_files(no_trigger)
    assert (verdict.state, verdict.message) == (
        "wrong",
        "The stream was still running after 1 seconds. Which trigger ends it?",
    )
    assert not spark.streams.active
