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
from medallion.errors import MedallionError

GOOD = '{"payment_id":"PY1","amount_cents":3803,"paid_at":"2025-07-01T06:57:51.626Z"}'
CUT_OFF = '{"payment_id":"PY2","amount_cents":38'
# The functions and the schemas with which chapter 01 reads
DEFINING = (
    *(
        "Path",
        "time",
        "from_file",
        "new_files",
        "load",
        "csv_reader",
        "csv_rows",
        "parquet_rows",
        "TELEMETRY",
        "CUSTOMERS",
    ),
    *(
        "parsed",
        "rescued",
        "objects_in",
        "has_unknown",
        "any_unknown",
        "rescued_in",
        "in_object",
        "in_array",
        "unknown_fields",
        "json_lines",
        "PAYMENTS",
        "ORDERS",
    ),
    *("patiently", "is_busy"),
)


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


def landed(chapter: dict[str, Any], tmp_path: Path, source: str = "payments") -> list[Row]:
    """Land a source with the chapter's stream, and return the rows of the table."""
    table = str(tmp_path / "table")
    writer = chapter["json_lines"](source, chapter[source.upper()], files=10).writeStream.format("delta")
    writer = writer.option("checkpointLocation", str(tmp_path / "checkpoint"))
    writer.trigger(availableNow=True).start(table).awaitTermination()
    rows = chapter["spark"].read.format("delta").load(table).collect()
    return sorted(rows, key=lambda row: (row._source_file, row[0] or "", row._line))


def test_a_line_that_was_cut_off_and_a_file_with_nothing_in_it(
    chapter: dict[str, Any], landing: Path, tmp_path: Path
) -> None:
    put(landing / "payments" / "a.jsonl", f"{GOOD}\n{CUT_OFF}")
    put(landing / "payments" / "empty.jsonl", "")
    broken, good = landed(chapter, tmp_path)
    assert (good.payment_id, good.amount_cents, good._corrupt_record) == ("PY1", 3803, None)
    assert (broken.payment_id, broken._corrupt_record) == (None, CUT_OFF)
    assert broken._source_file == "payments/a.jsonl"
    assert (good._line, broken._line) == (GOOD, CUT_OFF), "the line is kept as it was sent"
    assert (good._rescued, broken._rescued) == (None, None)


def test_a_wrong_type_keeps_the_line_and_the_other_fields(
    chapter: dict[str, Any], landing: Path, tmp_path: Path
) -> None:
    wrong = '{"payment_id":"PY3","amount_cents":"much","city":"Berlin"}'
    put(landing / "payments" / "a.jsonl", f"{GOOD}\n{wrong}\n")
    _, row = landed(chapter, tmp_path)
    assert (row.payment_id, row.amount_cents, row.city) == ("PY3", None, "Berlin")
    assert row._corrupt_record == row._line == wrong


def test_a_wrong_type_deep_in_a_line_is_noticed(
    chapter: dict[str, Any], landing: Path, tmp_path: Path
) -> None:
    wrong = '{"event_id":"E1","after":{"order_id":"O1","lines":[{"line_no":"first"}]}}'
    put(landing / "orders" / "a.jsonl", wrong)
    (row,) = landed(chapter, tmp_path, "orders")
    assert (row.event_id, row._corrupt_record) == ("E1", wrong)


def test_unknown_fields_are_rescued_at_any_depth(
    chapter: dict[str, Any], landing: Path, tmp_path: Path
) -> None:
    known = '{"event_id":"E1","before":null,"after":{"order_id":"O1","lines":[{"line_no":1}]}}'
    new = (
        '{"event_id":"E2","note":null,"before":{"order_id":"O1","was":1},'
        '"after":{"gift_note":"For you","lines":[{"line_no":1},{"line_no":2,"wrap":"red"}]}}'
    )
    put(landing / "orders" / "a.jsonl", f"{known}\n{new}\n")
    plain, odd = landed(chapter, tmp_path, "orders")
    assert (plain._rescued, plain._corrupt_record, plain._line) == (None, None, known)
    assert odd._corrupt_record is None and odd._line == new
    assert odd._rescued == {
        "note": None,
        "before.was": "1",
        "after.gift_note": "For you",
        "after.lines[*]": '[{},{"wrap":"red"}]',
    }


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
    return chapter["csv_rows"](chapter["CUSTOMERS"])([str(path)]).orderBy("customer_id").collect()


def two_customers(chapter: dict[str, Any]) -> list[str]:
    """Return the heading of July's customers and two rows."""
    return Path(chapter["july"]).read_text(encoding="utf-8").splitlines()[:3]


@pytest.mark.parametrize("change", ["swapped", "renamed", "another delimiter", "a column more", "one less"])
def test_a_csv_with_another_heading_is_refused(chapter: dict[str, Any], landing: Path, change: str) -> None:
    rows = [line.split(",") for line in two_customers(chapter)]
    for number, row in enumerate(rows):
        if change == "swapped":
            row[3], row[4] = row[4], row[3]
        elif change == "renamed" and not number:
            row[3] = "mail"
        elif change == "a column more":
            row.insert(3, "nickname" if not number else "Bo")
        elif change == "one less":
            row.pop()
    glue = ";" if change == "another delimiter" else ","
    path = put(landing / "customers" / "a.csv", "\n".join(map(glue.join, rows)) + "\n")
    with pytest.raises(Exception) as refused:
        customers(chapter, path)
    assert "CSV header does not conform to the schema" in medallion.reason(refused.value) or (
        "Number of column in CSV header is not equal to number of fields in the schema"
        in medallion.reason(refused.value)
    )


def test_a_csv_row_that_does_not_fit_is_kept_complete(chapter: dict[str, Any], landing: Path) -> None:
    heading, good, other = two_customers(chapter)
    fields = other.split(",")
    year = int(fields[7])
    odd_year = ",".join([*fields[:7], "MCMLXXX", *fields[8:]])
    surplus = "X" + other.removeprefix("C") + ",surplus"
    path = put(landing / "customers" / "a.csv", "\n".join([heading, good, odd_year, surplus]) + "\n")
    fine, wrong, long = customers(chapter, path)
    assert (fine._corrupt_record, fine.customer_id) == (None, good.partition(",")[0])
    assert (wrong._corrupt_record, wrong.birth_year, wrong.city) == (odd_year, None, fields[4])
    assert (long._corrupt_record, long.birth_year) == (surplus, year)


def test_a_csv_with_nothing_in_it(chapter: dict[str, Any], landing: Path) -> None:
    assert customers(chapter, put(landing / "customers" / "a.csv", "")) == []


def test_a_text_that_is_named_parquet(
    chapter: dict[str, Any], landing: Path, home: Path, spark: SparkSession
) -> None:
    """The loads of the telemetry, first of good files, then of a bad one: the table stays as it was."""

    def load() -> list[int]:
        folder = "lockers/telemetry/*/*"
        return [
            chapter["load"](chapter["new_files"]("telemetry", f"{folder}.{ending}"), read, "telemetry")
            for ending, read in (
                ("csv", chapter["csv_rows"](chapter["TELEMETRY"])),
                ("parquet", chapter["parquet_rows"]),
            )
        ]

    source = home / "landing" / "lockers" / "telemetry"
    newest = max(source.rglob("*.parquet"))
    there = landing / "lockers" / "telemetry" / "2025-07"
    for path in (newest, max(source.rglob("*.csv"))):
        put(there / path.name, path.read_bytes())
    assert load() == [1, 1]
    assert load() == [0, 0], "each file is loaded once"
    before = DeltaTable(str(home / "bronze" / "telemetry"))
    rows = before.count()
    assert rows > pq.read_metadata(newest).num_rows

    put(there / f"x{newest.name}", "This is a text.\n" * 20)
    with pytest.raises(Exception) as refused:
        load()
    assert "is not a Parquet file" in medallion.reason(refused.value)
    after = DeltaTable(str(home / "bronze" / "telemetry"))
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


def test_a_call_is_repeated_after_a_passing_error_only(chapter: dict[str, Any]) -> None:
    calls: list[str] = []

    def fails(kind: type[Exception], times: int) -> str:
        calls.append(kind.__name__)
        if len(calls) <= times:
            raise kind("no")
        return "yes"

    def patiently(kind: type[Exception], times: int) -> str:
        calls.clear()
        passes = lambda error: isinstance(error, OSError)  # noqa: E731
        return chapter["patiently"](lambda: fails(kind, times), passes, attempts=3, pause=0.001)

    assert (patiently(OSError, 2), len(calls)) == ("yes", 3)
    with pytest.raises(OSError, match="no"):
        patiently(OSError, 3)
    assert len(calls) == 3, "a limited number of times"
    with pytest.raises(ValueError, match="no"):
        patiently(ValueError, 1)
    assert len(calls) == 1, "another error is not repeated"
