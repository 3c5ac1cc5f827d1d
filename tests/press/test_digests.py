"""The digest of a table: equal for equal rows however they are kept, and another for each real difference."""

import math
import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from medallion.errors import MedallionError
from medallion.lakehouse import tables
from press.recorded import digests

NOON = datetime(2025, 7, 1, 12, tzinfo=UTC)
LINE = pa.struct([("no", pa.int32()), ("tags", pa.list_(pa.string())), ("price", pa.decimal128(9, 2))])
KINDS = pa.schema(
    [
        ("id", pa.int64()),
        ("text", pa.string()),
        ("share", pa.float64()),
        ("good", pa.bool_()),
        ("price", pa.decimal128(9, 2)),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", "UTC")),
        ("raw", pa.binary()),
        ("tags", pa.list_(pa.string())),
        ("rest", pa.map_(pa.string(), pa.int32())),
        ("lines", pa.list_(LINE)),
        ("who", pa.struct([("name", pa.string()), ("place", pa.struct([("lat", pa.float64())]))])),
    ]
)
FULL = {
    "id": 1,
    "text": "grün",
    "share": 0.1,
    "good": True,
    "price": Decimal("9.90"),
    "day": date(1969, 12, 31),
    "at": NOON,
    "raw": b"\0\xff",
    "tags": ["a", "b"],
    "rest": [("x", 1), ("y", 2)],
    "lines": [{"no": 1, "tags": ["new", None], "price": Decimal("1.00")}, None],
    "who": {"name": "Anna", "place": {"lat": 48.1}},
}
EMPTY = dict.fromkeys(KINDS.names)


def rows(*held: dict[str, object], schema: pa.Schema = KINDS) -> pa.Table:
    return pa.Table.from_pylist(list(held), schema=schema)


def digest(*held: dict[str, object]) -> str:
    return digests.digest(rows(*held))


def one(value: object, kind: pa.DataType) -> str:
    """Return the digest of a table with one value."""
    return digests.digest(pa.table({"value": pa.array([value], kind)}))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "Kurs für Anfänger"))
    return tmp_path


def test_it_is_the_same_on_every_machine_and_with_every_version_of_the_libraries() -> None:
    assert digest(FULL, EMPTY) == "beba6fae9e76663ae9fe0377e7cd17ae"
    assert digest() == "bc93507e6fbf0e87af0cc962c7c284e3"


def test_the_order_of_rows_and_columns_and_the_files_play_no_part(home: Path) -> None:
    both = rows(FULL, EMPTY, FULL)
    write_deltalake(tables.folder("silver.once"), both)
    turned = pa.schema(list(KINDS)[::-1])
    for _ in range(2):  # the second time over what is there
        write_deltalake(tables.folder("silver.parts"), rows(EMPTY, schema=turned), mode="overwrite")
        write_deltalake(tables.folder("silver.parts"), rows(FULL, FULL, schema=turned), mode="append")
    DeltaTable(tables.folder("silver.parts")).optimize.compact()
    assert digests.of("silver.once") == digests.of("silver.parts") == digests.digest(both)


def test_neither_does_the_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Pandas on Spark sets it in the process that imports it: Arrow then takes a clock's time for UTC.
    monkeypatch.delenv("PYARROW_IGNORE_TIMEZONE", raising=False)
    berlin = pa.schema([("at", pa.timestamp("us", "Europe/Berlin"))])
    here = digests.digest(rows({"at": NOON}, schema=pa.schema([("at", pa.timestamp("us", "UTC"))])))
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert digests.digest(rows({"at": there}, schema=berlin)) == here


def test_nor_the_last_digits_of_a_number_nor_how_wide_it_is() -> None:
    double = pa.float64()
    assert one(0.1 + 0.2, double) == one(0.3, double)
    assert one(1e-300 * (1 + 1e-13), double) == one(1e-300, double)
    assert one(-0.0, double) == one(0.0, double)
    other_nan = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000001))[0]
    assert one(other_nan, double) == one(math.nan, double)
    assert one(7, pa.int16()) == one(7, pa.int64())


def test_nor_the_order_within_a_map_and_the_fields_of_a_struct() -> None:
    assert digest({**FULL, "rest": FULL["rest"][::-1]}) == digest(FULL)
    turned = pa.struct([("b", pa.int32()), ("a", pa.int32())])
    assert one({"a": 1, "b": 2}, turned) == one({"a": 1, "b": 2}, pa.struct(list(turned)[::-1]))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", 2),
        ("text", "grun"),
        ("text", ""),
        ("text", "null"),
        ("share", 0.10000001),
        ("share", math.nan),
        ("share", math.inf),
        ("share", -0.1),
        ("good", False),
        ("price", Decimal("9.91")),
        ("day", date(1970, 1, 1)),
        ("at", NOON + timedelta(microseconds=1)),
        ("raw", b"\0\xfe"),
        ("tags", ["b", "a"]),
        ("tags", ["a,b"]),
        ("tags", ["a", None]),
        ("tags", []),
        ("rest", [("x", 2), ("y", 1)]),
        ("rest", [("x", 1)]),
        ("rest", []),
        ("lines", [{"no": 1, "tags": ["new", None], "price": Decimal("1.01")}, None]),
        ("lines", [{"no": 1, "tags": ["new"], "price": Decimal("1.00")}, None]),
        ("lines", [None, {"no": 1, "tags": ["new", None], "price": Decimal("1.00")}]),
        ("who", {"name": "Anna", "place": {"lat": 48.2}}),
        ("who", {"name": "Anna", "place": None}),
        ("who", {"name": None, "place": {"lat": 48.1}}),
    ]
    + [(name, None) for name in KINDS.names],
)
def test_another_value_is_another_digest(column: str, value: object) -> None:
    assert digest({**FULL, column: value}) != digest(FULL)
    if value is not None:
        assert digest({**EMPTY, column: value}) != digest(EMPTY)


def test_rows_count_as_often_as_they_are_there() -> None:
    assert len({digest(), digest(FULL), digest(FULL, FULL), digest(FULL, EMPTY), digest(EMPTY)}) == 5


def test_values_that_changed_places_are_others() -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.string())])
    before = rows({"a": "x", "b": "y"}, {"a": "z", "b": "w"}, schema=schema)
    across = rows({"a": "x", "b": "w"}, {"a": "z", "b": "y"}, schema=schema)
    swapped = rows({"a": "y", "b": "x"}, {"a": "w", "b": "z"}, schema=schema)
    renamed = before.rename_columns(["a", "c"])
    split = [rows({"a": a, "b": b}, schema=schema) for a, b in (("x,1:y", "z"), ("x", "1:y,z"))]
    assert len({digests.digest(table) for table in (before, across, swapped, renamed, *split)}) == 6


def test_what_cannot_be_read_or_is_not_known_is_told(home: Path) -> None:
    with pytest.raises(MedallionError, match=r"^silver\.none is not there as a table\. Run the chapter that"):
        digests.of("silver.none")
    with pytest.raises(MedallionError, match=r"^no digest is known for the type time32\[s\]\. Teach it to"):
        one(None, pa.time32("s"))
    write_deltalake(tables.folder("silver.rows"), rows(FULL))
    next(tables.folder("silver.rows").glob("*.parquet")).unlink()
    with pytest.raises(MedallionError, match=r"^silver\.rows cannot be read \(.*\)\. Run the chapter"):
        digests.of("silver.rows")
