"""Write landing files so that their bytes never depend on the machine, and list them as they close."""

import hashlib
import os
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kestrel import calendar

_CHUNK = 20_000
Progress: TypeAlias = Callable[[int], None]


class Landing:
    """A landing folder in the making. Every file's path, size, rows and hash end up in `files`.

    A file's arrival is the end of the period that it covers. It is listed, and set as the modification time:
    readers that take the oldest file first then see the files in the order in which they arrived.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder = folder
        self.files: list[dict[str, Any]] = []
        self._progress = progress

    def text(self, path: str, encoding: str = "utf-8") -> "TextFile":
        """Open a text file, to be closed by the caller."""
        return TextFile(self._make_room(path), encoding, self._progress)

    def write(
        self, path: str, lines: Iterable[str], arrived: int, header: str = "", encoding: str = "utf-8"
    ) -> None:
        """Write one text file whole. A header is not counted as a row."""
        file = self.text(path, encoding)
        if header:
            file.write([header], rows=0)
        file.write(lines)
        self.close(path, file, arrived)

    def close(self, path: str, file: "TextFile", arrived: int) -> None:
        """Close a text file and list it. `arrived` is the stamp of its arrival."""
        written = {"bytes": file.close(), "rows": file.rows, "sha256": file.sha256()}
        self._list(path, written, arrived)

    def copy(self, path: str, source: Path, rows: int, arrived: int) -> None:
        """Copy a file byte for byte and list it."""
        content = source.read_bytes()
        self._make_room(path).write_bytes(content)
        self._progress(len(content))
        written = {"bytes": len(content), "rows": rows, "sha256": hashlib.sha256(content).hexdigest()}
        self._list(path, written, arrived)

    def parquet(self, path: str, columns: dict[str, np.ndarray], schema: pa.Schema, arrived: int) -> None:
        """Write a Parquet file and list it by a hash of its values: its bytes depend on the library."""
        table = pa.table(columns, schema=schema)
        file = self._make_room(path)
        # Python opens the file: in a C locale pyarrow cannot spell a path with accents.
        with file.open("wb") as sink:
            pq.write_table(table, sink)
        self._progress(file.stat().st_size)
        written = {"rows": table.num_rows, "content_sha256": content_sha256(table)}
        self._list(path, written, arrived)

    def _make_room(self, path: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _list(self, path: str, written: dict[str, Any], arrived: int) -> None:
        (moment,) = calendar.text(np.array([arrived]), "s")
        self.files.append({"path": path, "arrived": moment, **written})
        seconds = calendar.posix(arrived)
        os.utime(self.folder / path, (seconds, seconds))


class TextFile:
    """A text file that is hashed while it is written."""

    def __init__(self, path: Path, encoding: str, progress: Progress) -> None:
        self.rows = 0
        self._file = path.open("wb")
        self._encoding = encoding
        self._progress = progress
        self._hash = hashlib.sha256()

    def write(self, lines: Iterable[str], rows: int | None = None) -> None:
        """Append lines, each closed by a line feed; `rows` is how many rows they hold, if not one each."""
        lines = iter(lines)
        while chunk := list(islice(lines, _CHUNK)):
            content = ("\n".join(chunk) + "\n").encode(self._encoding)
            self._file.write(content)
            self._hash.update(content)
            self._progress(len(content))
            self.rows += len(chunk) if rows is None else rows

    def close(self) -> int:
        """Close the file and return its size in bytes."""
        size = self._file.tell()
        self._file.close()
        return size

    def sha256(self) -> str:
        return self._hash.hexdigest()


class Rolling:
    """A source whose rows arrive in time and go to one file per week, month or half-day."""

    def __init__(self, landing: Landing, header: str = "") -> None:
        self._landing = landing
        self._header = header
        self._path = ""
        self._arrived = 0
        self._file: TextFile | None = None

    def write(self, path: str, lines: list[str], arrived: int) -> None:
        """Append lines to the file at `path`; a new path closes the file before it.

        Where nothing arrives, no file appears.
        """
        if not lines:
            return
        if path != self._path:
            self.close()
            self._path = path
            self._file = self._landing.text(path)
            if self._header:
                self._file.write([self._header], rows=0)
        assert self._file is not None
        self._file.write(lines)
        self._arrived = arrived

    def close(self) -> None:
        """Close and list the open file, if there is one."""
        if self._file is not None:
            self._landing.close(self._path, self._file, self._arrived)
            self._file = None


def content_sha256(table: pa.Table) -> str:
    """Return a hash of a table's columns, types and values that no writer's version can change."""
    digest = hashlib.sha256()
    for field in table.schema:
        digest.update(f"{field.name} {field.type}\n".encode())
        column = table.column(field.name)
        values = (column.cast(pa.int64()) if pa.types.is_timestamp(field.type) else column).to_pylist()
        digest.update("\n".join(map(repr, values)).encode())
    return digest.hexdigest()
