"""The streams of chapter 07 on bad input, and on the same input cut into other batches."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import run_chapter
from pyspark.errors import PySparkException
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming import StatefulProcessor
from test_crash import functions

from medallion import temporary
from medallion.lesson import arrivals

HOUR = 3_600_000
ROCKS = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
GOOD = {
    "payment_id": "P1", "customer_id": "C1", "card_id": None, "device_id": "D1", "amount_cents": 500,
    "status": "authorised", "paid_at": "2025-11-28T10:00:00Z", "lat": 50.0, "lon": 8.0,
    "received_at": "2025-11-28T10:00:02Z",
}  # fmt: skip
BAD = {
    "no_device": {"device_id": None},
    "no_amount": {"amount_cents": 0},
    "future": {"paid_at": "2099-01-01T00:00:00Z"},
    "old": {"paid_at": "2001-01-01T00:00:00Z"},
}


@pytest.fixture
def rocks(spark: SparkSession) -> Iterator[None]:
    spark.conf.set("spark.sql.streaming.stateStore.providerClass", ROCKS)
    yield
    spark.conf.unset("spark.sql.streaming.stateStore.providerClass")


def test_each_bad_payment_is_set_aside_with_its_reason(spark: SparkSession, tmp_path: Path) -> None:
    names = functions()
    tables = {name: f"delta.`{tmp_path / name}`" for name in ("live", "alerts", "aside", "disputes")}
    names["prepare"](spark, tables)
    ddl = "device_id STRING, arrived TIMESTAMP, disputed_at TIMESTAMP"
    spark.createDataFrame([], ddl).write.format("delta").save(str(tmp_path / "disputes"))
    rows = [GOOD | {"payment_id": reason, **change} for reason, change in BAD.items()]
    lines = [json.dumps(row) for row in (GOOD, *rows)]
    lines += [json.dumps(GOOD)[:60], '{"payment_id": "P7", "amount_cents": "much"}', "", json.dumps(GOOD)]
    stamp = pd.Timestamp("2025-11-28 10:00")
    arrivals.write(lines, [stamp] * len(lines), tmp_path / "files", hours=1)
    names["follow"](spark, tmp_path / "files", tables, tmp_path / "notes", "bad")
    aside = spark.table(tables["aside"]).toPandas()
    named = aside[aside["reason"] != "unreadable"]
    assert dict(zip(named["payment_id"], named["reason"], strict=True)) == {reason: reason for reason in BAD}
    broken = aside[aside["reason"] == "unreadable"]["_corrupt_record"]
    assert sorted(broken) == sorted([lines[5], lines[6]]), "the line is kept as it came"
    assert [row.payment_id for row in spark.table(tables["live"]).collect()] == ["P1"]


@pytest.fixture(scope="module")
def lockers() -> dict[str, Any]:
    """The chapter's functions of the lockers."""
    given = {"F": F, "Row": Row, "StatefulProcessor": StatefulProcessor}
    names = ("HOUR", "reading", "Memory", "Watchman", "alerts", "watch_all")
    return run_chapter("07", defining=names, **given)


def test_a_clock_that_jumps_back_changes_nothing(lockers: dict[str, Any]) -> None:
    step = lockers["reading"]
    state, said = step((None, False, None, False), 100 * HOUR, 4.0)
    assert said == []
    assert step(state, 90 * HOUR, 12.0) == (state, []), "older than the last reading"
    assert step(state, 100 * HOUR, 12.0) == (state, []), "the same once more"
    later, said = step(state, 107 * HOUR, 4.0)
    assert said == [("offline", 106 * HOUR), ("back", 107 * HOUR)]
    assert later[0] == 107 * HOUR


def test_warm_for_four_hours_is_told_once(lockers: dict[str, Any]) -> None:
    step, state, told = lockers["reading"], (None, False, None, False), []
    for hour, temperature in [(0, 9), (2, 9), (4, 9), (6, 9), (8, 4), (10, 9), (12, 7), (14, 9), (18, 9)]:
        state, said = step(state, hour * HOUR, temperature)
        told += said
    assert told == [("hot", 4 * HOUR), ("hot", 18 * HOUR)]


@pytest.mark.parametrize("hours", [16, 30, 500])
def test_the_watchman_says_the_same_in_any_batches(
    spark: SparkSession, rocks: None, lockers: dict[str, Any], tmp_path: Path, hours: int
) -> None:
    """Readings of a week with gaps and warm spells, cut into batches of some hours; and all at once."""
    draw, rows = random.Random(5), []
    for number in range(6):
        for hour in range(number % 2, 168, 2):
            if not (number < 4 and 20 + 30 * number <= hour < 20 + 30 * number + draw.choice([8, 20])):
                warm = 10.0 if 50 <= hour % 100 < 60 and number % 3 == 0 else 4.0
                rows.append((f"LK{number}", pd.Timestamp("2025-12-15") + pd.Timedelta(hours=hour), warm))
    rows.append(("LK9", pd.Timestamp("2025-12-23"), 4.0))  # moves the watermark on
    readings = pd.DataFrame(rows, columns=["locker_id", "measured_at", "temperature"])
    lines = readings.assign(measured_at=readings["measured_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    lines = lines.to_json(orient="records", lines=True).splitlines()
    arrivals.write(lines, readings["measured_at"], tmp_path / "files", hours=hours)
    schema = "locker_id STRING, measured_at TIMESTAMP, temperature DOUBLE"
    stream = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).json(str(tmp_path / "files"))
    said = lockers["alerts"](
        stream.withWatermark("measured_at", "2 hours"), lockers["Watchman"](), "EventTime"
    )
    found: list[tuple[Any, ...]] = []

    def keep(part: Any, number: int) -> None:
        found.extend(map(tuple, part.withColumn("at", F.unix_millis("at")).collect()))

    writer = said.writeStream.foreachBatch(keep).option("checkpointLocation", str(tmp_path / "notes"))
    writer.trigger(availableNow=True).start().awaitTermination()
    readings["at"] = readings["measured_at"].astype("datetime64[ms]").astype("int64")
    readings = readings.sort_values("measured_at")
    expected = lockers["watch_all"](readings, int(readings["at"].max()) - 2 * HOUR)
    assert sorted(found) == expected
    assert {what for _, what, _ in expected} == {"offline", "back", "hot"}


def test_the_state_is_read_from_a_folder_with_a_space_and_an_accent(
    spark: SparkSession, tmp_path: Path
) -> None:
    source, notes = tmp_path / "source", tmp_path / "Kurs für Anfänger" / "notes"
    source.mkdir()
    (source / "rows.json").write_text('{"id": 1}\n{"id": 1}\n{"id": 2}\n', encoding="utf-8")
    counted = spark.readStream.schema("id INT").json(str(source)).groupBy("id").count()
    writer = counted.writeStream.outputMode("update").format("noop").option("checkpointLocation", str(notes))
    writer.trigger(availableNow=True).start().awaitTermination()
    reader = spark.read.format("statestore")
    with pytest.raises(PySparkException, match="STDS_COMMITTED_BATCH_UNAVAILABLE"):
        reader.load(str(notes)).count()  # once this is read, plain_path has no use any more
    found = reader.load(temporary.plain_path(notes)).selectExpr("key.id", "value.count").orderBy("id")
    assert [tuple(row) for row in found.collect()] == [(1, 2), (2, 1)]
    assert temporary.plain_path(source) == str(source), "a plain path stays as it is"
