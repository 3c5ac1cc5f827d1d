"""Undoing chapters: the lakehouse as it was before one of them ran."""

import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from medallion import contract, paths
from medallion.contract import Contract
from medallion.lakehouse import snapshots, tables, view_files


def reset(number: str) -> list[str]:
    """Return the lakehouse to the state before chapter `number`, and return the tables and folders that went.

    What that chapter and all later ones make is removed: tables, kept views, checkpoints, and the folders
    that they leave beside these. What they added to a folder of an earlier chapter, as runs and models in
    `mlflow`, goes too: the copy that was kept as they started takes its place (see `snapshots` for when
    there is none). gold.lineage loses what it says of these chapters. Source files stay, and so does what no
    chapter makes.
    Raises MedallionError for no chapter, and when a header names folders that are not its chapter's own.
    """
    first, undone = _undone(number)
    gone = _forget_lineage([one.number for one in undone])
    for later in undone:
        for name, places in _made(later).items():
            removed = [_remove(place) for place in places]
            if any(removed):
                gone.append(name)
        _remove(tables.checkpoints(later.number))
    for name, copy in snapshots.before(first).items():
        _remove(paths.home() / name)
        copy.rename(paths.home() / name)
    for copy in snapshots.taken(first):
        _remove(copy)
    return gone


def plan(number: str) -> list[str]:
    """Return what of tables and folders `reset` would remove or put back, a line for each: [] for none.

    Raises MedallionError like `reset`.
    """
    first, undone = _undone(number)
    lines = []
    for later in undone:
        there = {name: list(filter(Path.exists, places)) for name, places in _made(later).items()}
        names = [name for name, places in there.items() if places]
        if names:
            size = sum(_size(place) for places in there.values() for place in places)
            lines.append(f"{later.number}: {', '.join(names)} ({size / 1e6:,.1f} MB)")
    back = f"goes back to what it held before chapter {first} was first started"
    return lines + [f"{name} {back}" for name in snapshots.before(first)]


def _undone(number: str) -> tuple[str, list[Contract]]:
    first = contract.read(number).number
    return first, [one for other, one in contract.chapters().items() if other >= first]


def _made(chapter: Contract) -> dict[str, list[Path]]:
    """Return where the tables, the views and the folders of a chapter are, or would be, by their names."""
    made = {table: [tables.folder(table), view_files.path(table)] for table in chapter.makes}
    return made | {name: [paths.home() / name] for name in chapter.leaves}


def _size(place: Path) -> int:
    files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _forget_lineage(numbers: Iterable[str]) -> list[str]:
    """Remove from gold.lineage what it says of chapters; return its name when nothing is left of it."""
    if not tables.exists(tables.LINEAGE) or forget_lineage(numbers):
        return []
    _remove(tables.folder(tables.LINEAGE))
    return [tables.LINEAGE]


def forget_lineage(numbers: Iterable[str]) -> bool:
    """Remove the rows of the chapters `numbers` from gold.lineage, and return whether any is left."""
    from deltalake import DeltaTable

    if not tables.exists(tables.LINEAGE):
        return False
    table = DeltaTable(str(tables.folder(tables.LINEAGE)))
    listed = ", ".join(f"'{number}'" for number in numbers)
    table.delete(f"via IN ({listed})")
    return bool(table.count())


def _remove(place: Path) -> bool:
    """Remove a folder or a file so that a kill half-way leaves no half of it where it was.

    Return whether there was one.
    """
    if not place.exists():
        return False
    bin_ = paths.home() / "cache" / "removed"
    bin_.mkdir(parents=True, exist_ok=True)
    shutil.move(place, bin_ / f"{place.parent.name}-{place.name}-{os.getpid()}-{time.time_ns()}")
    shutil.rmtree(bin_, ignore_errors=True)
    return True
