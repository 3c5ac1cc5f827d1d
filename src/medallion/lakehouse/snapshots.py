"""What earlier chapters left beside the tables, kept as it was when a later chapter began.

A folder that one chapter leaves, others add to: chapter 05 makes `mlflow`, and chapters 06 and 08 register
models of their own there. So each chapter that reads such a folder copies it as it first starts, to
`<home>/cache/before/NN`, and `reset NN` puts the copy back.

A copy says which commits the tables of the earlier chapters had. When one of these has run again since, its
runs and models belong to its new tables: the copy is then no longer what was before, and is not put back.
"""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from medallion import contract, paths
from medallion.contract import Contract

_COMMITS = "commits.json"
_SQLITE = b"SQLite format 3\0"


def take(chapter: Contract) -> None:
    """Copy what a chapter finds of the folders that it needs, unless there is a copy already."""
    target = _copy(chapter.number)
    places = [paths.home() / name for name in chapter.folders]
    there = [place for place in places if place.is_dir()]
    if target.exists() or not there:
        return
    partial = target.with_name(f".{chapter.number}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for place in there:
        _copy_at_rest(place, partial / place.name)
    (partial / _COMMITS).write_text(json.dumps(_commits(_earlier(chapter.number))), encoding="utf-8")
    with suppress(OSError):  # another notebook of this chapter was quicker
        partial.rename(target)
    shutil.rmtree(partial, ignore_errors=True)


def before(number: str) -> dict[str, Path]:
    """Return the copies that hold the state before chapter `number`: by folder of the lakehouse, where.

    Of the chapters from `number` on that have started, the copy of the first one to do so.
    """
    earlier = _earlier(number)
    own = {name for other in earlier for name in contract.read(other).leaves}
    fitting = [copy for copy in taken(number) if _is_of(copy, earlier)]
    if not fitting:
        return {}
    oldest = min(fitting, key=lambda copy: (copy / _COMMITS).stat().st_mtime_ns)
    return {place.name: place for place in oldest.iterdir() if place.name in own}


def taken(number: str) -> list[Path]:
    """Return where the copies of chapter `number` and of all later ones are."""
    numbers = (other for other in contract.chapters() if other >= number)
    return [_copy(other) for other in numbers if _copy(other).exists()]


def _copy(number: str) -> Path:
    return paths.home() / "cache" / "before" / number


def _copy_at_rest(place: Path, target: Path) -> None:
    """Copy a folder while nobody writes to the SQLite databases in it."""
    with ExitStack() as stack:
        for file in place.glob("*.db"):
            with file.open("rb") as stream:
                is_database = stream.read(len(_SQLITE)) == _SQLITE
            if is_database:
                connection = stack.enter_context(closing(sqlite3.connect(file, timeout=20)))
                with suppress(sqlite3.Error):  # a damaged one is no reason not to begin a chapter
                    connection.execute("BEGIN IMMEDIATE")
        shutil.copytree(place, target)


def _earlier(number: str) -> list[str]:
    """Return the chapters before `number`, from the first that leaves a folder."""
    others = [other for other in contract.chapters() if other < number]
    leaving = [other for other in others if contract.read(other).leaves]
    return [other for other in others if leaving and other >= leaving[0]]


def _commits(numbers: Iterable[str]) -> dict[str, str]:
    """Return, for each table of the chapters `numbers` that is there, the hash of its last commit."""
    found = {}
    for table in (table for number in numbers for table in contract.read(number).makes):
        schema, _, name = table.partition(".")
        log = sorted((paths.home() / schema / name / "_delta_log").glob("*.json"))
        if log:
            found[table] = hashlib.sha256(log[-1].read_bytes()).hexdigest()
    return found


def _is_of(copy: Path, numbers: Iterable[str]) -> bool:
    """Return whether the tables of the chapters `numbers` are those that were there for the copy."""
    made = {table for number in numbers for table in contract.read(number).makes}
    try:
        held = json.loads((copy / _COMMITS).read_text(encoding="utf-8"))
        return {table: commit for table, commit in held.items() if table in made} == _commits(numbers)
    except (OSError, ValueError, AttributeError):
        return False
