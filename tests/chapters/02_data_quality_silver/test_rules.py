"""The one mechanism of the chapter, tried where the shop's data has nothing to show."""

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import run_chapter
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

import medallion

NAMES = (
    "with_reasons", "plausible", "PAYMENT_RULES", "GIVES", "named", "disposition_of", "judge", "INGEST",
    "fingerprint", "copies_of", "compared", "usual", "tally", "MOST_ASIDE", "arrivals_in", "gate",
    "volume_gate", "ASIDE", "ADDED", "for_quarantine", "set_aside", "books", "version_of", "in_time",
    "continues", "in_celsius", "TELEMETRY_RULES", "breach", "TRACKED", "placed", "by_snapshot",
    "with_neighbours", "CUSTOMER_RULES", "MAIL", "people_rules", "dated", "versions", "METRICS",
    "append_metrics", "require_fresh", "cents",
)  # fmt: skip
ROWS = "payment_id STRING, amount_cents INT, currency STRING, status STRING, paid_at TIMESTAMP"
ROWS += ", _source_file STRING, _arrived_at TIMESTAMP"
ACCOUNTS = "customer_id STRING, first_name STRING, last_name STRING, email STRING, city STRING"
ACCOUNTS += ", postcode STRING, signup_date STRING, birth_year INT, marketing_consent BOOLEAN"
ACCOUNTS += ", _source_file STRING, _arrived_at TIMESTAMP"


@pytest.fixture(scope="module")
def silver(spark: SparkSession, home: Path) -> Iterator[dict[str, Any]]:
    """The chapter's own functions, over small Bronze tables."""
    snapshots(spark, {}).write.mode("overwrite").saveAsTable("bronze.customers")
    payments(spark, []).write.mode("overwrite").saveAsTable("bronze.payments")
    accounts = [account("C0", month) for month in (7, 8, 9)]
    spark.createDataFrame(accounts, ACCOUNTS).write.mode("overwrite").saveAsTable("bronze.customers")
    given = {"medallion": medallion, "spark": spark, "F": F, "Window": Window, "DeltaTable": DeltaTable}
    given |= {"hashlib": hashlib, "json": json}
    yield run_chapter("02", defining=NAMES, RUN="2025-12-30", **given)
    for table in ("bronze.customers", "bronze.payments", "silver.payments_quarantine", "scratch.metrics"):
        spark.sql(f"DROP TABLE IF EXISTS {table}")


def payments(spark: SparkSession, rows: list[tuple[Any, ...]]) -> DataFrame:
    """Return payments, each given as id, amount and day of arrival."""
    full = [
        (id_, cents, "EUR", "authorised", "2025-07-01 10:00:00", f"file {day}", f"2025-07-{day:02} 00:00:00")
        for id_, cents, day in rows
    ]
    text = ROWS.replace("TIMESTAMP", "STRING")
    frame = spark.createDataFrame(full, text)
    return frame.withColumns({name: F.col(name).cast("timestamp") for name in ("paid_at", "_arrived_at")})


def account(
    customer: str, month: int, city: str | None = "Gent", signed: str = "2025-07-01"
) -> tuple[Any, ...]:
    file = f"customers/customers_2025-{month:02}-01.csv"
    return (customer, "A", "B", "a@b.be", city, "9000", signed, 1980, True, file, None)


def snapshots(spark: SparkSession, cities: dict[int, str | None]) -> DataFrame:
    return spark.createDataFrame([account("C1", month, city) for month, city in cities.items()], ACCOUNTS)


def judged(silver: dict[str, Any], rows: DataFrame) -> DataFrame:
    copies = silver["compared"](rows, "payment_id")
    return silver["judge"](copies, [*silver["usual"](copies, ["payment_id"]), *silver["PAYMENT_RULES"]])


def test_copies_conflicts_and_rows_without_a_key(spark: SparkSession, silver: dict[str, Any]) -> None:
    rows = [("P1", 5, 1), ("P1", 5, 2), ("P1", 6, 3), ("P2", 5, 1), (None, 5, 1), (None, 5, 2), (None, 6, 2)]
    found = judged(silver, payments(spark, rows)).select("payment_id", "_kind", "_row_id").collect()
    assert sorted((row.payment_id or "", row["_kind"] or "") for row in found) == [
        ("", "missing_id"), ("", "missing_id"), ("", "missing_id"),
        ("P1", ""), ("P1", "conflict"), ("P1", "repeat"), ("P2", ""),
    ]  # fmt: skip
    assert len({row["_row_id"] for row in found if row.payment_id is None}) == 3


def test_a_new_column_of_nulls_changes_no_fingerprint(spark: SparkSession, silver: dict[str, Any]) -> None:
    rows = payments(spark, [("P1", 5, 1), (None, 5, 1)])
    wider = rows.withColumn("tip", F.lit(None).cast("int"))
    ids = [silver["compared"](frame, "payment_id").orderBy("payment_id") for frame in (rows, wider)]
    before, after = ([row["_row_id"] for row in frame.select("_row_id").collect()] for frame in ids)
    assert before == after
    tipped = silver["compared"](rows.withColumn("tip", F.lit(0)), "payment_id").orderBy("payment_id")
    assert not set(before) & {row["_row_id"] for row in tipped.select("_row_id").collect()}


def test_a_rule_that_fails_comes_first(spark: SparkSession, silver: dict[str, Any]) -> None:
    rules = [("negative", "quarantine", "amount_cents > 0"), ("euros", "fail", "currency = 'EUR'")]
    rows = payments(spark, [("P1", -5, 1)]).withColumn("currency", F.lit("USD"))
    assert silver["judge"](rows, rules).first()["_disposition"] == "failed"


def arrived(*weeks: dict[str, int]) -> list[tuple[Any, ...]]:
    """Return counts as `tally` does, of one arrival after the other."""
    return [
        (datetime(2025, 7, day), disposition, None, count, 0)
        for day, counts in enumerate(weeks, 1)
        for disposition, count in counts.items()
    ]


GOOD_WEEK = {"clean": 1000}


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([{"clean": 90, "quarantined": 10}], None),
        ([{"clean": 89, "quarantined": 11}], "2025-07-01: 11 of 100 rows would be set aside"),
        ([{"clean": 89, "quarantined": 6, "late": 5}], "2025-07-01: 11 of 100 rows would be set aside"),
        ([{"clean": 3, "quarantined": 6}], None),
        ([GOOD_WEEK, {"clean": 999, "failed": 1}], "2025-07-02: 1 rows break a rule that must hold"),
        ([GOOD_WEEK] * 9 + [{"quarantined": 400}], "2025-07-10: 400 of 400 rows would be set aside"),
        ([], None),
    ],
)
def test_an_arrival_that_must_stop_the_run(
    silver: dict[str, Any], counts: list[dict[str, int]], told: str | None
) -> None:
    if told is None:
        silver["gate"]("payments", arrived(*counts))
        return
    with pytest.raises(ValueError, match=re.escape(f"payments, {told}")):
        silver["gate"]("payments", arrived(*counts))


def test_a_newest_arrival_that_is_far_too_small(silver: dict[str, Any]) -> None:
    check = silver["volume_gate"]
    check("payments", arrived({"clean": 5}, GOOD_WEEK, GOOD_WEEK, {"clean": 100}))
    check("payments", arrived({"clean": 50}, {"clean": 50}, {"clean": 1}))  # a share of few says little
    with pytest.raises(ValueError, match="payments: 99 rows came last, and usually 1000"):
        check("payments", arrived(GOOD_WEEK, GOOD_WEEK, GOOD_WEEK, {"clean": 99}))


def test_a_quarantine_keeps_what_a_person_decided_and_releases_what_passes(
    spark: SparkSession, silver: dict[str, Any]
) -> None:
    def status() -> dict[str, str]:
        return dict(spark.table("silver.payments_quarantine").select("payment_id", "_status").collect())

    bad = [("P1", -1, 1), ("P2", -1, 1), ("P3", -1, 1)]
    silver["set_aside"]("payments", judged(silver, payments(spark, bad)))
    assert status() == {"P1": "open", "P2": "open", "P3": "open"}
    spark.sql("UPDATE silver.payments_quarantine SET _status = 'rejected' WHERE payment_id = 'P2'")
    later = payments(spark, [*bad[1:], ("P1", 5, 1), ("P4", -1, 2)])
    silver["set_aside"]("payments", judged(silver, later))
    assert status() == {"P1": "released", "P2": "rejected", "P3": "open", "P4": "open"}
    silver["set_aside"]("payments", judged(silver, payments(spark, [])), complete=False)
    assert status()["P3"] == "open"
    silver["set_aside"]("payments", judged(silver, payments(spark, bad)))
    assert status()["P1"] == "open", "it breaks a rule again"


def test_metrics_are_appended_once_for_a_run_and_a_version_of_the_rules(
    spark: SparkSession, silver: dict[str, Any]
) -> None:
    books = silver["books"]
    books.clear()
    rules, counts = [*silver["PAYMENT_RULES"]], [(None, "clean", None, 7, 2)]
    for _ in range(2):
        books["payments"] = rules, counts
        silver["append_metrics"](books, "scratch.metrics")
    assert spark.table("scratch.metrics").count() == 1
    books["payments"] = [*rules, ("other", "warn", "true")], counts
    silver["append_metrics"](books, "scratch.metrics")
    versions = spark.table("scratch.metrics").select("rules_version").distinct()
    assert (spark.table("scratch.metrics").count(), versions.count()) == (2, 2)


def celsius(
    spark: SparkSession, silver: dict[str, Any], values: list[float], hours: int = 1
) -> list[tuple[float, str]]:
    rows = [("LK1", f"2025-07-01 {hours * at:02}:00:00", value, 1, 1) for at, value in enumerate(values)]
    names = "locker_id STRING, measured_at STRING, temperature DOUBLE, _copy INT, _same INT"
    frame = silver["in_celsius"](spark.createDataFrame(rows, names))
    found = silver["judge"](frame, silver["TELEMETRY_RULES"]).orderBy("measured_at")
    return [
        (row["_celsius"], row["_disposition"]) for row in found.select("_celsius", "_disposition").collect()
    ]


def test_a_unit_is_repaired_and_an_incident_is_not(spark: SparkSession, silver: dict[str, Any]) -> None:
    switch = celsius(spark, silver, [4.0, 39.2, 41.0, 4.0])
    assert switch == [(4.0, "clean"), (4.0, "repaired"), (5.0, "repaired"), (4.0, "clean")]
    assert celsius(spark, silver, [4.0, 39.2, 50.0])[1:] == [(4.0, "repaired"), (10.0, "repaired")]
    assert celsius(spark, silver, [20.0, 27.0, 33.0, 20.0])[2] == (33.0, "quarantined")
    assert celsius(spark, silver, [5.0, 35.0, 5.0])[1] == (35.0, "quarantined"), "35 °F would be 1.7 °C"
    assert celsius(spark, silver, [40.0, 41.0])[0] == (40.0, "quarantined"), "nothing was before it"
    back = celsius(spark, silver, [41.0, 41.2, 5.0, 5.1])
    assert back[2:] == [(5.0, "clean"), (5.1, "clean")], "the way back alone makes no unit"
    assert celsius(spark, silver, [5.0, 39.5, 41.0], hours=6)[1] == (39.5, "quarantined"), "after a silence"


def history(
    spark: SparkSession, silver: dict[str, Any], cities: dict[int, str | None]
) -> list[tuple[int, Any]]:
    people = silver["judge"](
        silver["with_neighbours"](silver["placed"](snapshots(spark, cities))), silver["people_rules"]
    )
    rows = silver["dated"](people).orderBy("valid_from").collect()
    return [(row.valid_from.month, row.valid_to and row.valid_to.month) for row in rows]


def test_versions_end_where_a_customer_moves_or_is_missing(
    spark: SparkSession, silver: dict[str, Any]
) -> None:
    assert history(spark, silver, {7: "Gent", 8: "Gent", 9: "Gent"}) == [(7, None)]
    assert history(spark, silver, {7: "Gent", 8: "Turin", 9: "Turin"}) == [(7, 8), (8, None)]
    assert history(spark, silver, {7: "Gent", 8: "Gent"}) == [(7, 9)]
    assert history(spark, silver, {7: "Gent", 9: "Gent"}) == [(7, 8), (9, None)]
    assert history(spark, silver, {7: "Gent", 8: None, 9: None}) == [(7, 8), (8, None)]


def test_a_date_in_another_form_makes_no_version(spark: SparkSession, silver: dict[str, Any]) -> None:
    rows = [account("C1", 7), account("C1", 8, signed="01/07/2025"), account("C1", 9, signed="2 Jul 2025")]
    people = silver["with_neighbours"](silver["placed"](spark.createDataFrame(rows, ACCOUNTS)))
    found = silver["judge"](people, silver["people_rules"]).orderBy("_source_file")
    assert [row["_kind"] for row in found.collect()] == [None, "unchanged", "date_format"]


def test_a_month_that_was_set_aside_is_no_month_to_compare_with(
    spark: SparkSession, silver: dict[str, Any]
) -> None:
    """What Silver does not hold makes nothing unchanged; a return to what it holds brings nothing new."""
    for signed, kinds in (
        (["2025-07-01", "?", "2025-07-01"], [None, "impossible_date", "unchanged"]),
        (["?", "?", "2025-07-01"], ["impossible_date", "impossible_date", None]),
    ):
        rows = [account("C1", month, signed=day) for month, day in zip((7, 8, 9), signed, strict=True)]
        people = silver["with_neighbours"](silver["placed"](spark.createDataFrame(rows, ACCOUNTS)))
        found = silver["judge"](people, silver["people_rules"]).orderBy("_source_file").collect()
        assert [row["_kind"] for row in found] == kinds


def test_prices_that_can_be_read(spark: SparkSession, silver: dict[str, Any]) -> None:
    sent = {"5.29": 529, "5,29": 529, "-3.5": -350, "12": 1200, "1,299": None, "1.234,50": None, "": None}
    rows = spark.createDataFrame([(text,) for text in sent], "_amount STRING")
    assert dict(rows.selectExpr("_amount", f"{silver['cents']} AS cents").collect()) == sent


def test_gold_is_not_built_from_a_table_that_is_too_old(silver: dict[str, Any]) -> None:
    verdicts = pd.DataFrame({"table_name": ["a", "b", "c"], "verdict": ["fresh", "warn", "fresh"]})
    silver["require_fresh"](verdicts)
    with pytest.raises(ValueError, match=r"too old for Gold: \['c'\]"):
        silver["require_fresh"](verdicts.assign(verdict=["fresh", "warn", "fail"]))


def test_a_contract_names_what_is_wrong_with_a_header(silver: dict[str, Any]) -> None:
    breach = silver["breach"]
    assert breach(["a", "b"], ["a", "b"]) is None
    assert breach(["a"], ["a", "b"]) == "missing ['b'], not in the contract []"
    assert breach(["a", "b", "c"], ["a", "b"]) == "missing [], not in the contract ['c']"
    assert breach(["b", "a"], ["a", "b"]) == "in another order: b,a"
