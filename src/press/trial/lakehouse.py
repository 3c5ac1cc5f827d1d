"""What a replay leaves in its lakehouse: the tables that were recorded, and a way back from each chapter.

A state is what the lakehouse holds: each file with the hash of its bytes. What belongs to no chapter, such as
logs, caches, the learner's progress and the key of the SQL endpoint, is no part of it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from medallion import contract, paths
from medallion.errors import MedallionError
from medallion.lakehouse import tables
from medallion.lakehouse.reset import reset
from press.recorded import digests, schemas
from press.source.chapter import Problem

State = dict[str, str]
_ASIDE = frozenset({"cache", "default", "logs", "scratch", "sql"})
_SHOWN = 5


def state() -> State:
    """Return what the lakehouse in force holds: the hash of each file, by its path."""
    home = paths.home()
    found = {}
    for place in (place for place in home.iterdir() if place.is_dir() and place.name not in _ASIDE):
        for file in (file for file in place.rglob("*") if file.is_file()):
            with file.open("rb") as stream:
                found[file.relative_to(home).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def other_tables(number: str) -> list[Problem]:
    """Return the tables of chapter `number` whose rows are not those of its last build."""
    held = schemas.load(paths.root())
    told = (_other(table, held[table], number) for table in contract.read(number).makes if table in held)
    return [_problem(number, text) for text in told if text]


def _other(table: str, recorded: dict[str, Any], number: str) -> str | None:
    """Return in which way a table is another than the recorded one, and the fix; None when it is not."""
    if "rows" not in recorded:
        return None  # a view
    if "digest" not in recorded:
        return f"{schemas.FILE} has no digest of {table}. Run './medallion build {number}'."
    try:
        digest, rows = digests.of(table), tables.rows(table)
    except MedallionError as error:
        return str(error)
    if digest == recorded["digest"]:
        return None
    than = (
        "as recorded, but not the same" if rows == recorded["rows"] else f"recorded are {recorded['rows']:,}"
    )
    return (
        f"{table} has {rows:,} rows, {than}. If that is meant, run './medallion build {number}'; if each run "
        "gives other rows, fix the cell."
    )


def touched(number: str, before: State, after: State) -> list[Problem]:
    """Return what chapter `number` has changed and must not: what earlier chapters or the sources hold.

    To a folder that an earlier chapter leaves, as that of the models, it may add: `reset` takes that back.
    """
    there = {_name(path) for path in before} - set(contract.read(number).folders)
    changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    names = _names(path for path in changed if _name(path) in there)
    if not names:
        return []
    return [_problem(number, f"it changes {names}, which is not its own. Work in the scratch schema.")]


def way_back(states: Mapping[str, State]) -> list[Problem]:
    """Reset the chapters of `states`, from the last one, and return where that is not the state before them.

    `states` has, by chapter, what the lakehouse held before it. A file is told once, with the last chapter.
    """
    found, told = [], set[str]()
    for number in sorted(states, reverse=True):
        reset(number)
        for what, differing in _differences(states[number], state()).items():
            if files := [path for path in differing if path not in told]:
                told.update(files)
                text = f"'medallion reset {number}' {what} {_names(files)}. Fix lakehouse/reset.py."
                found.append(_problem(number, text))
    return found


def _differences(was: State, now: State) -> dict[str, list[str]]:
    return {
        "leaves": sorted(set(now) - set(was)),
        "also removes": sorted(set(was) - set(now)),
        "changes": sorted(path for path in set(was) & set(now) if was[path] != now[path]),
    }


def _problem(number: str, text: str) -> Problem:
    return Problem(f"notebooks/{contract.read(number).name}.ipynb", 1, text)


def _names(found: Iterable[str]) -> str:
    """Return which tables and folders paths belong to: "gold.funnel, checkpoints/03 and 2 more"."""
    named = dict.fromkeys(_name(path) for path in found)
    shown = ", ".join(list(named)[:_SHOWN])
    return f"{shown} and {len(named) - _SHOWN} more" if len(named) > _SHOWN else shown


def _name(path: str) -> str:
    first, *rest = path.split("/")
    if first in contract.SCHEMAS and rest:
        return f"{first}.{rest[0]}"
    return "/".join([first, *rest[:1]]) if first == "checkpoints" else first
