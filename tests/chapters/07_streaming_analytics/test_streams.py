"""The streams of chapter 07 on bad input, and on the same input cut into other batches."""

import json
import random
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from conftest import run_chapter
from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming import StatefulProcessor, TwsTester
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
    tables = {name: f"delta.`{tmp_path / name}`" for name in ("live", "alerts", "aside")}
    names["prepare"](spark, tables)
    rows = [GOOD | {"payment_id": reason, **change} for reason, change in BAD.items()]
    lines = [json.dumps(row) for row in (GOOD, *rows)]
    lines += [json.dumps(GOOD)[:60], '{"payment_id": "P7", "amount_cents": "much"}', "", json.dumps(GOOD)]
    stamp = pd.Timestamp("2025-11-28 10:00")
    arrivals.write(lines, [stamp] * len(lines), tmp_path / "files", hours=1)
    names["follow"](spark, str(tmp_path / "files"), tables, tmp_path / "notes")
    aside = spark.table(tables["aside"]).toPandas()
    named = aside[aside["reason"] != "unreadable"]
    assert dict(zip(named["payment_id"], named["reason"], strict=True)) == {reason: reason for reason in BAD}
    broken = aside[aside["reason"] == "unreadable"]["_corrupt_record"]
    assert sorted(broken) == sorted([lines[5], lines[6]]), "the line is kept as it came"
    assert [row.payment_id for row in spark.table(tables["live"]).collect()] == ["P1"]


def test_a_micro_batch_without_a_good_payment(spark: SparkSession, tmp_path: Path) -> None:
    names = functions()
    tables = {name: f"delta.`{tmp_path / name}`" for name in ("live", "alerts", "aside")}
    names["prepare"](spark, tables)
    bad = json.dumps(GOOD | BAD["no_amount"])
    arrivals.write([bad], [pd.Timestamp("2025-11-28 10:00")], tmp_path / "files", hours=1)
    names["follow"](spark, str(tmp_path / "files"), tables, tmp_path / "notes")
    assert [spark.table(tables[name]).count() for name in ("live", "alerts", "aside")] == [0, 0, 1]


def test_only_a_payment_with_one_before_it_and_two_places_breaks_the_rule_of_travel(
    spark: SparkSession,
) -> None:
    """The first payment of a customer has no speed, nor has one whose place is not known."""
    rows = [
        ("P1", "C1", "2025-11-28 10:00", 50.0, 8.0),
        ("P2", "C1", "2025-11-28 11:00", 10.0, 8.0),
        ("P3", "C2", "2025-11-28 10:00", 50.0, 8.0),
        ("P4", "C2", "2025-11-29 10:01", 10.0, 8.0),
        ("P5", "C3", "2025-11-28 10:00", 50.0, 8.0),
        ("P6", "C3", "2025-11-28 10:10", None, None),
        ("P7", "C3", "2025-11-28 10:20", 50.0, 8.0),
    ]
    columns = "payment_id STRING, customer_id STRING, at STRING, lat DOUBLE, lon DOUBLE"
    payments = spark.createDataFrame(rows, columns).selectExpr(
        "*", "payment_id AS device_id", "CAST(at AS TIMESTAMP) AS paid_at", "paid_at AS received_at"
    )
    found = {row["payment_id"]: row for row in functions()["with_rules"](payments.drop("at")).collect()}
    assert {name for name, row in found.items() if row["rule"] == "travel"} == {"P2"}
    assert found["P2"]["km_per_hour"] == pytest.approx(4447.8, abs=0.1)
    assert {name for name, row in found.items() if row["km_per_hour"] is None} == {*found} - {"P2"}


def test_what_arrived_later_is_not_known(spark: SparkSession) -> None:
    """Three earlier attempts, of which one arrives after the payment; its own moment still counts."""
    rows = [("P1", 0, 0), ("P2", 1, 5), ("P3", 2, 2), ("P4", 4, 4), ("P5", 5, 5)]
    payments = spark.createDataFrame(rows, "payment_id STRING, paid INT, came INT").selectExpr(
        "payment_id", "'D1' AS device_id", "'C1' AS customer_id", "50D AS lat", "8D AS lon",
        *(f"TIMESTAMP'2025-11-28' + make_interval(0, 0, 0, 0, 0, {name}) AS {moment}"
          for name, moment in (("paid", "paid_at"), ("came", "received_at"))),
    )  # fmt: skip
    found = functions()["with_rules"](payments).select("payment_id", "attempts_1h", "rule").collect()
    assert {row[0]: row[1] for row in found} == {"P1": 0, "P2": 1, "P3": 1, "P4": 2, "P5": 4}
    assert {row[0] for row in found if row[2]} == {"P5"}


MINUTE = 60_000
Attempts = list[tuple[str, str, int, int]]  # device, payment, when it was made, when it came


@pytest.fixture(scope="module")
def velocity() -> dict[str, Any]:
    """The chapter's functions of the devices, with those that its exercises define."""
    given = {
        "F": F, "Row": Row, "StatefulProcessor": StatefulProcessor, "DeltaTable": DeltaTable,
    }  # fmt: skip
    names = ("MINUTE", "remember", "Device", "Velocity", "bursts", "PAYMENT")
    return run_chapter("07", "solution", defining=names, **given)


def made(seed: int) -> Attempts:
    """Return attempts on some devices: alone, in bursts, late, and some lines twice."""
    draw, found = random.Random(seed), []
    for n in range(60):
        device, begin = f"D{draw.randrange(6)}", draw.randrange(2 * 1440)
        for k in range(draw.choice([1, 1, 2, 3, 5, 9])):
            at = (begin + k * draw.choice([0, 1, 4, 9])) * MINUTE + draw.randrange(1000)
            late = draw.choice([0, 0, 0, 3, 40, 1199]) * MINUTE
            found.append((device, f"P{n}-{k}", at, at + late + 2000))
            if draw.random() < 0.1:
                found.append((device, f"P{n}-{k}", at, at + late + 15 * MINUTE))
    return found


def said(names: dict[str, Any], attempts: Attempts, minutes: int) -> set[tuple[Any, ...]]:
    """Return what the processor reports of attempts that come in micro-batches of some minutes."""
    tester = TwsTester(names["Velocity"](), timeMode="EventTime", eventTimeExtractor=lambda row: row["at"])
    found, mark = [], 0
    ordered = sorted(attempts, key=lambda one: one[3] // (minutes * MINUTE))
    for _, batch in groupby(ordered, key=lambda one: one[3] // (minutes * MINUTE)):
        rows = [Row(device_id=d, payment_id=name, at=at, came=came) for d, name, at, came in batch]
        random.Random(len(found)).shuffle(rows)  # within a micro-batch Spark promises no order
        for device in {row["device_id"] for row in rows}:
            found += tester.test(device, [row for row in rows if row["device_id"] == device])
        newest = max(row["at"] for row in rows) - 20 * 60 * MINUTE
        if newest > mark:
            mark = newest
            assert tester.setWatermark(mark) == [], "a timer only forgets"
    assert len(found) == len(set(found)), "a burst is reported once"
    return set(map(tuple, found))


@pytest.mark.parametrize("seed", range(20))
def test_the_bursts_are_the_same_in_micro_batches_of_a_minute_an_hour_and_a_day(
    velocity: dict[str, Any], seed: int
) -> None:
    attempts = made(seed)
    by_minute = said(velocity, attempts, 1)
    assert by_minute
    assert said(velocity, attempts, 60) == by_minute
    assert said(velocity, attempts, 1440) == by_minute


@pytest.mark.parametrize("seed", range(20))
def test_every_three_attempts_close_together_are_in_a_burst_that_was_reported(
    velocity: dict[str, Any], seed: int
) -> None:
    """No attack is missed, late attempts or not; and no device without one is reported."""
    attempts = made(seed)
    attacked = set()
    for device in {one[0] for one in attempts}:
        times = sorted({name: at for one, name, at, _ in attempts if one == device}.values())
        if any(last - first < 10 * MINUTE for first, last in zip(times, times[2:], strict=False)):
            attacked.add(device)
    assert {device for device, *_ in said(velocity, attempts, 60)} == attacked


def test_a_device_is_forgotten_when_no_attempt_can_be_near_its_last_one(velocity: dict[str, Any]) -> None:
    tester = TwsTester(velocity["Velocity"](), timeMode="EventTime", eventTimeExtractor=lambda row: row["at"])
    for number, at in enumerate((1, 3 * 60 * MINUTE)):
        tester.test("D1", [Row(device_id="D1", payment_id=f"P{number}", at=at, came=at)])
    for newest, there in ((1, True), (3 * 60 * MINUTE - 1, True), (3 * 60 * MINUTE, False)):
        tester.setWatermark(newest + velocity["MEMORY"])
        assert (tester.peekValueState("memory", "D1") is not None) == there


@pytest.mark.parametrize("hours", [4, 24])
def test_spark_reports_the_bursts_that_python_does(
    spark: SparkSession, rocks: None, velocity: dict[str, Any], tmp_path: Path, hours: int
) -> None:
    attempts = [(device, name, at, min(came, at + 19 * 60 * MINUTE)) for device, name, at, came in made(3)]
    lines = [
        json.dumps(GOOD | {"payment_id": name, "device_id": device, "paid_at": moment(at),
                           "received_at": moment(came)})
        for device, name, at, came in attempts
    ]  # fmt: skip
    arrived = [pd.Timestamp("2025-11-01") + pd.Timedelta(came, "ms") for *_, came in attempts]
    arrivals.write(lines, arrived, tmp_path / "files", hours=hours)
    velocity["spark"] = spark
    stream = velocity["bursts"](str(tmp_path / "files"), velocity["Velocity"](), files=1)
    found: list[tuple[Any, ...]] = []
    writer = stream.writeStream.foreachBatch(lambda rows, number: found.extend(map(tuple, rows.collect())))
    writer = writer.option("checkpointLocation", str(tmp_path / "notes")).trigger(availableNow=True)
    writer.start().awaitTermination()
    zero = pd.Timestamp("2025-11-01").value // 1_000_000
    shifted = {(device, began - zero, noticed - zero) for device, began, noticed in found}
    assert shifted == said(velocity, attempts, 1)


def moment(at: int) -> str:
    """Return a moment of a made attempt as the gateway writes it."""
    stamp = pd.Timestamp("2025-11-01") + pd.Timedelta(at, "ms")
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@pytest.fixture(scope="module")
def lockers() -> dict[str, Any]:
    """The chapter's functions of the lockers."""
    given = {"F": F, "Row": Row, "StatefulProcessor": StatefulProcessor, "NamedTuple": NamedTuple}
    names = (
        "MINUTE", "Locker", "silence_before", "heat", "reading",
        "Memory", "Watchman", "alerts", "locker_stream",
    )  # fmt: skip
    return run_chapter("07", defining=names, **given)


def watch_all(names: dict[str, Any], readings: pd.DataFrame, end: int) -> list[tuple[Any, ...]]:
    """Return what there is to report of all readings up to a moment, as a batch query would."""
    said, limit = [], names["SILENCE"]
    for locker, rows in readings.groupby("locker_id"):
        state = names["Locker"]()
        for at, temperature in zip(rows["at"], rows["temperature"], strict=True):
            state, news = names["reading"](state, at, temperature)
            said += [(locker, *one) for one in news]
        if end - state.last > limit:
            said.append((locker, "offline", state.last + limit))
    return sorted(said)


def test_a_clock_that_jumps_back_changes_nothing(lockers: dict[str, Any]) -> None:
    step = lockers["reading"]
    state, said = step(lockers["Locker"](), 100 * HOUR, 4.0)
    assert said == []
    assert step(state, 90 * HOUR, 12.0) == (state, []), "older than the last reading"
    assert step(state, 100 * HOUR, 12.0) == (state, []), "the same once more"
    later, said = step(state, 107 * HOUR, 4.0)
    assert said == [("offline", 106 * HOUR), ("back", 107 * HOUR)]
    assert later.last == 107 * HOUR
    assert step(state, 106 * HOUR, 4.0)[1] == [], "a gap of exactly six hours is no silence"


def test_six_hours_are_no_silence_and_a_millisecond_more_are(lockers: dict[str, Any]) -> None:
    tester = TwsTester(lockers["Watchman"](), timeMode="EventTime", eventTimeExtractor=lambda row: row["at"])
    tester.test("LK1", [Row(at=1, temperature=4.0)])
    assert tester.setWatermark(1 + 6 * HOUR) == []
    assert tester.setWatermark(2 + 6 * HOUR) == [Row(locker_id="LK1", what="offline", at=1 + 6 * HOUR)]
    back = tester.test("LK1", [Row(at=9 * HOUR, temperature=4.0)])
    assert back == [Row(locker_id="LK1", what="back", at=9 * HOUR)], "the silence is not reported again"


def test_warm_for_four_hours_is_told_once(lockers: dict[str, Any]) -> None:
    step, state, told = lockers["reading"], lockers["Locker"](), []
    for hour, temperature in [(0, 9), (2, 9), (4, 9), (6, 9), (8, 4), (10, 9), (12, 7), (14, 9), (18, 9)]:
        state, said = step(state, hour * HOUR, temperature)
        told += said
    assert told == [("hot", 4 * HOUR), ("hot", 18 * HOUR)]


@pytest.mark.parametrize("hours", [16, 30, 500])
def test_the_watchman_says_the_same_in_any_batches(
    spark: SparkSession, rocks: None, lockers: dict[str, Any], tmp_path: Path, hours: int
) -> None:
    """Readings of a week with gaps, warm spells and a clock in 2099, cut into micro-batches, and at once."""
    draw, rows = random.Random(5), []
    for number in range(6):
        for hour in range(number % 2, 168, 2):
            if not (number < 4 and 20 + 30 * number <= hour < 20 + 30 * number + draw.choice([8, 20])):
                warm = 10.0 if 50 <= hour % 100 < 60 and number % 3 == 0 else 4.0
                rows.append((f"LK{number}", pd.Timestamp("2025-12-15") + pd.Timedelta(hours=hour), warm))
    rows.append(("LK9", pd.Timestamp("2025-12-23"), 4.0))  # moves the watermark on
    readings = pd.DataFrame(rows, columns=["locker_id", "measured_at", "temperature"])
    stamped = readings["measured_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = readings.assign(measured_at=stamped, received_at=stamped)
    lines = lines.to_json(orient="records", lines=True).splitlines()
    clock = {"locker_id": "LK0", "measured_at": "2099-01-01T00:00:00Z", "temperature": 4.0}
    lines.insert(1, json.dumps(clock | {"received_at": "2025-12-15T02:00:00Z"}))
    arrived = [readings["measured_at"][0], *readings["measured_at"]]
    arrivals.write(lines, arrived, tmp_path / "files", hours=hours)
    lockers["spark"] = spark
    stream = lockers["locker_stream"](tmp_path / "files")
    said = lockers["alerts"](stream, lockers["Watchman"](), "EventTime")
    found: list[tuple[Any, ...]] = []

    def keep(part: Any, number: int) -> None:
        found.extend(map(tuple, part.withColumn("at", F.unix_millis("at")).collect()))

    writer = said.writeStream.foreachBatch(keep).option("checkpointLocation", str(tmp_path / "notes"))
    writer.trigger(availableNow=True).start().awaitTermination()
    readings["at"] = readings["measured_at"].astype("datetime64[ms]").astype("int64")
    readings = readings.sort_values("measured_at")
    expected = watch_all(lockers, readings, int(readings["at"].max()) - 2 * HOUR)
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
