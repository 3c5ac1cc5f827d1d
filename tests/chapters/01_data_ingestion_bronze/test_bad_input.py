"""Bad input, as chapter 01 meets it: an error that says what is wrong, or a row that is rescued."""

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import Row, SparkSession

import medallion
from medallion import contract
from medallion.errors import MedallionError
from press.source.chapter import parse

GOOD = '{"payment_id":"PY1","amount_cents":3803,"paid_at":"2025-07-01T06:57:51.626Z"}'
CUT_OFF = '{"payment_id":"PY2","amount_cents":38'
# The functions and the schemas with which chapter 01 reads
DEFINING = ("with_hints", "from_file", "parsed", "unknown_fields", "json_lines", "CUSTOMERS", "PAYMENTS")


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return run_cells("01", "setup", defining=DEFINING)


@pytest.fixture
def landing(chapter: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty landing folder, which the functions of the chapter read from now."""
    folder = tmp_path / "landing"
    folder.mkdir()
    monkeypatch.setitem(chapter, "landing", folder)
    return folder


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def png() -> bytes:
    """Return a picture of 8 × 8 black pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress((b"\0" + b"\0" * 8) * 8))
        + chunk(b"IEND", b"")
    )


def landed(chapter: dict[str, Any], tmp_path: Path) -> list[Row]:
    """Land the payments with the chapter's stream, and return the rows of the table."""
    table = str(tmp_path / "table")
    writer = chapter["json_lines"]("payments", chapter["PAYMENTS"], files=10).writeStream.format("delta")
    writer = writer.option("checkpointLocation", str(tmp_path / "checkpoint"))
    writer.trigger(availableNow=True).start(table).awaitTermination()
    rows = chapter["spark"].read.format("delta").load(table).collect()
    return sorted(rows, key=lambda row: (row._source_file, row.payment_id or "", row._corrupt_record or ""))


def test_a_line_that_was_cut_off_and_a_file_with_nothing_in_it(
    chapter: dict[str, Any], landing: Path, tmp_path: Path
) -> None:
    put(landing / "payments" / "a.jsonl", f"{GOOD}\n{CUT_OFF}")
    put(landing / "payments" / "empty.jsonl", "")
    broken, good = landed(chapter, tmp_path)
    assert (good.payment_id, good.amount_cents, good._corrupt_record) == ("PY1", 3803, None)
    assert (broken.payment_id, broken._corrupt_record) == (None, CUT_OFF)
    assert broken._source_file == "payments/a.jsonl"


def test_a_picture_that_is_named_jsonl(chapter: dict[str, Any], landing: Path, tmp_path: Path) -> None:
    put(landing / "payments" / "a.jsonl", GOOD + "\n")
    put(landing / "payments" / "b.jsonl", png())
    good, *rest = landed(chapter, tmp_path)
    assert good.payment_id == "PY1"
    assert rest and {row._source_file for row in rest} == {"payments/b.jsonl"}
    assert all(row.payment_id is None for row in rest)
    kept = [row._corrupt_record for row in rest]
    assert all(kept), "each line of it is kept, and shows as corrupt"
    assert any("PNG" in line for line in kept) and any("IHDR" in line for line in kept)


def test_only_an_empty_file(chapter: dict[str, Any], landing: Path, tmp_path: Path) -> None:
    put(landing / "payments" / "a.jsonl", "")
    assert landed(chapter, tmp_path) == []


def customers(chapter: dict[str, Any], path: Path) -> list[Row]:
    frame = chapter["spark"].read.csv(str(path), header=True, schema=chapter["CUSTOMERS"])
    return chapter["from_file"](frame).orderBy("customer_id").collect()


def test_a_csv_with_another_delimiter(chapter: dict[str, Any], landing: Path, home: Path) -> None:
    text = Path(chapter["july"]).read_text(encoding="utf-8")
    lines = text.splitlines()[:4]
    path = put(landing / "customers" / "a.csv", "\n".join(lines).replace(",", ";") + "\n")
    rows = customers(chapter, path)
    assert [row.customer_id for row in rows] == [line.replace(",", ";") for line in lines[1:]], (
        "lines are whole"
    )
    assert {row[column] for row in rows for column in ("first_name", "email", "postcode", "birth_year")} == {
        None
    }
    assert {row._source_file for row in rows} == {"customers/a.csv"}


def test_a_csv_with_nothing_in_it(chapter: dict[str, Any], landing: Path) -> None:
    assert customers(chapter, put(landing / "customers" / "a.csv", "")) == []


def test_a_text_that_is_named_parquet(
    chapter: dict[str, Any], landing: Path, home: Path, spark: SparkSession
) -> None:
    """The cell that loads the telemetry, first with good files, then with a bad one among them."""
    cells = parse(contract.find("01")).cells
    (load,) = (
        cell.source for cell in cells if cell.kind == "code" and "newer = spark.read.parquet" in cell.source
    )
    source = home / "landing" / "lockers" / "telemetry"
    newest = max(source.rglob("*.parquet"))
    for path in (newest, max(source.rglob("*.csv"))):
        put(landing / "lockers" / "telemetry" / path.name, path.read_bytes())
    names = dict(chapter)
    exec(load, names)
    table = home / "bronze" / "telemetry"
    before = DeltaTable(str(table))
    rows = before.count()
    assert rows > pq.read_metadata(newest).num_rows

    put(landing / "lockers" / "telemetry" / f"x{newest.name}", "This is a text.\n" * 20)
    with pytest.raises(Exception) as refused:
        exec(load, names)
    assert "is not a Parquet file" in medallion.reason(refused.value)
    after = DeltaTable(str(table))
    assert (after.version(), after.count()) == (before.version(), rows)
    spark.sql("DROP TABLE bronze.telemetry")


def test_a_parquet_file_that_was_cut_off(chapter: dict[str, Any], landing: Path) -> None:
    whole = landing / "whole.parquet"
    pq.write_table(pa.table({"id": list(range(1000))}), whole)
    cut = put(landing / "lockers" / "cut.parquet", whole.read_bytes()[:-40])
    with pytest.raises(Exception) as refused:
        chapter["spark"].read.parquet(str(cut)).collect()
    assert "is not a Parquet file" in medallion.reason(refused.value)


def test_a_source_that_has_not_arrived(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: SparkSession
) -> None:
    elsewhere = tmp_path / "home"
    for name in ("cdnow", "chargebacks", "customers", "lockers", "marketing", "orders", "products"):
        shutil.copytree(home / "landing" / name, elsewhere / "landing" / name)
    (elsewhere / "landing" / "web_events").mkdir()
    monkeypatch.setenv("MEDALLION_HOME", str(elsewhere))
    with pytest.raises(MedallionError) as refused:
        medallion.start("01")
    assert str(refused.value) == (
        f"Chapter 01 reads the source files in {elsewhere / 'landing'}, and landing.payments and "
        "landing.web_events are not there. Make the files with `medallion data`."
    )
    assert not (elsewhere / "bronze").exists()
