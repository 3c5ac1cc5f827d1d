"""Arrivals written as files, so that a stream reads them in the order in which they came.

    arrivals.write(lines, arrived, folder, hours=24)

A stream that takes files from a folder takes the oldest first. Each file here holds what arrived in one
period, is named after the period's end and has it as its modification time, so the order is the same on
every machine and does not depend on when the files were written.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medallion.spark import databricks

__all__ = ["write"]


def write(lines: Sequence[str], arrived: Sequence[pd.Timestamp], folder: Path, hours: float) -> list[Path]:
    """Write lines into `folder`, a file for each period of `hours` in which any arrived; return the files.

    `arrived` has the moment at which each line arrived, in UTC; periods are counted from 1970. Within a
    file the lines are in the order of arrival, and those that arrived together in the order given.

    Raises ValueError when there are more lines than moments or fewer, or when a moment is missing.
    """
    moments = pd.DatetimeIndex(arrived)
    if len(moments) != len(lines):
        raise ValueError(f"There are {len(lines)} lines and {len(moments)} moments.")
    if moments.hasnans:
        raise ValueError("A line has no moment of arrival.")
    folder.mkdir(parents=True, exist_ok=True)
    rows = pd.DataFrame({"line": list(lines), "arrived": moments}).sort_values("arrived", kind="stable")
    ends = rows["arrived"].dt.floor(pd.Timedelta(hours=hours)) + pd.Timedelta(hours=hours)
    files = []
    for end, part in rows.groupby(ends, sort=True):
        hidden = folder / f"_{end:%Y-%m-%dT%H%M%S}.json"  # Spark passes over names that begin with _
        hidden.write_text("".join(f"{line}\n" for line in part["line"]), encoding="utf-8")
        if not databricks.chosen():  # cloud storage sets the time itself, and we write in the right order
            os.utime(hidden, (end.timestamp(), end.timestamp()))
        files.append(hidden.rename(folder / hidden.name[1:]))
    return files
