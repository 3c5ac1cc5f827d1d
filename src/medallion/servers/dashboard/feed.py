"""What the table says now: read from its log and files, and read again only after a commit.

The query runs in the reader itself. Nothing of it needs pyarrow or pandas, which would double the memory of
the page's process.
"""

import re
import sys
import threading
import traceback
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from deltalake import DeltaTable, QueryBuilder

from medallion import contract
from medallion.errors import MedallionError
from medallion.lakehouse import tables
from medallion.spark import recording

_WHOLE = ("byte", "short", "integer", "long")
# What each column may be, in Delta's names, and how SQL calls the first of them
_COLUMNS = {
    "hour": (("timestamp", "timestamp_ntz"), "TIMESTAMP"),
    "channel": (("string",), "STRING"),
    "orders": (_WHOLE, "BIGINT"),
    "revenue_cents": (_WHOLE, "BIGINT"),
}
_COMMIT = re.compile(r"\d{20}\.json")
# Bars by the hour can be told apart for some days
_HOURLY = timedelta(days=4)


@dataclass(frozen=True)
class Part:
    """The sales of one channel in the hour or the day that begins at `at` (UTC)."""

    at: datetime
    channel: str
    orders: int
    revenue_cents: int


@dataclass(frozen=True)
class Sales:
    """What the table holds at a version. `unit` is "hour" or "day", whichever the parts are by."""

    version: int
    rows: int
    orders: int
    revenue_cents: int
    unit: str
    parts: tuple[Part, ...]

    def channels(self) -> dict[str, list[Part]]:
        """Return the parts of each channel, by its name and in the order of their times."""
        names = sorted({part.channel for part in self.parts})
        return {name: [part for part in self.parts if part.channel == name] for name in names}


@dataclass(frozen=True)
class Seen:
    """What a look at the table has shown. `note` says what is amiss; each change has another `stamp`."""

    stamp: str
    sales: Sales | None = None
    note: str = ""

    def state(self) -> dict[str, Any]:
        """Return this as JSON holds it, without the parts."""
        numbers = ("version", "rows", "orders", "revenue_cents")
        return {"stamp": self.stamp, "note": self.note} | {
            name: getattr(self.sales, name, None) for name in numbers
        }


class Feed:
    """The table `table` of the lakehouse, looked at by any number of threads."""

    def __init__(self, table: str) -> None:
        self.table = table
        self._waiting = Seen("waiting", note=f"Waiting for {table}. {contract.how_to_make(table)}")
        self._lock = threading.Lock()
        self._commit: tuple[str, int] | None = None
        self._seen = self._waiting

    def look(self) -> Seen:
        """Return what the table says now. This raises nothing: what is amiss is the note.

        Where a read fails, what was seen last is kept, and the next look tries again.
        """
        with self._lock:
            commit = _last_commit(tables.folder(self.table))
            if commit is None:
                self._seen = self._waiting
            elif commit != self._commit:
                self._seen, commit = self._read(commit)
            self._commit = commit
            return self._seen

    def _read(self, commit: tuple[str, int]) -> tuple[Seen, tuple[str, int] | None]:
        stamp = f"{commit[0]} {commit[1]}"
        try:
            sales = read(self.table)
            if self._seen.sales is None:
                recording.note(recording.DASHBOARD, tables.folder(self.table))
            return Seen(stamp, sales), commit
        except MedallionError as error:
            return Seen(stamp, note=str(error)), commit
        except Exception as error:  # half a table fails in many ways, and the reader has no one name for them
            last = self._seen.sales
            shown = f"The numbers are those of version {last.version}." if last else ""
            note = f"{self.table} cannot be read just now. {shown} The next try is under way."
            if note != self._seen.note:
                traceback.print_exception(error, file=sys.stderr)
            return Seen(f"{stamp} {note}", last, " ".join(note.split())), None


def _last_commit(folder: Path) -> tuple[str, int] | None:
    """Return the name of the newest commit of a Delta table and when it was written; None without a table.

    A table that was removed and made again can have the same versions: the time tells them apart.
    """
    try:
        last = max(path for path in (folder / "_delta_log").iterdir() if _COMMIT.fullmatch(path.name))
        return last.name, last.stat().st_mtime_ns
    except (OSError, ValueError):  # no folder, no commit in it, or one that is going just now
        return None


def read(table: str) -> Sales:
    """Return what `table` of the lakehouse holds at its newest version.

    Raises MedallionError when it lacks a column, or one is of another type; whatever else goes wrong in
    reading passes through.
    """
    delta = DeltaTable(str(tables.folder(table)))
    _check(table, delta)
    first, last, rows, orders, revenue = _query(
        delta, "SELECT min(hour), max(hour), count(*), sum(orders), sum(revenue_cents) FROM sales"
    )[0]
    unit = "hour" if first is None or last - first < _HOURLY else "day"
    parts = _query(
        delta,
        f"SELECT date_trunc('{unit}', hour) AS at, coalesce(channel, 'unknown') AS channel, "
        "coalesce(sum(orders), 0) AS orders, coalesce(sum(revenue_cents), 0) AS revenue_cents "
        "FROM sales WHERE hour IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
    )
    return Sales(
        delta.version(), rows, orders or 0, revenue or 0, unit, tuple(Part(*values) for values in parts)
    )


def _query(delta: DeltaTable, sql: str) -> list[tuple[Any, ...]]:
    answer = QueryBuilder().register("sales", delta).execute(sql).read_all()
    columns = [answer.column(position).to_pylist() for position in range(answer.num_columns)]
    return list(zip(*columns, strict=True))


def _check(table: str, delta: DeltaTable) -> None:
    found = {one.name: getattr(one.type, "type", "") for one in delta.schema().fields}
    wrong = [name for name, (kinds, _) in _COLUMNS.items() if found.get(name) not in kinds]
    if wrong:
        needed = ", ".join(f"{name} {sql}" for name, (_, sql) in _COLUMNS.items())
        raise MedallionError(
            f"{table} has no {' and no '.join(wrong)} of the right type. The page shows a table of {needed}: "
            "write it so."
        )
