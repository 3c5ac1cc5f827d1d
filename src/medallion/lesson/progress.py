"""What this learner has done: a small file in the lakehouse folder, `progress.json`.

    {"exercises": {"1.3": {"attempts": 2, "hints": 1, "passed": "2026-03-01T09:30:00Z"}}, "version": 1}

`MEDALLION_PROGRESS=off` keeps it in memory only: builds and tests leave no trace.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from medallion import faults, paths
from medallion.errors import MedallionError
from medallion.files import write_text

_VERSION = 1
_LOCK_SECONDS = 10
_in_memory: dict[str, "Record"] = {}


@dataclass(frozen=True)
class Record:
    """One exercise: checks run, the strongest hint seen (0 to 3), when it first passed (UTC) or None."""

    attempts: int = 0
    hints: int = 0
    passed: str | None = None


@dataclass(frozen=True)
class _Kept:
    """What the file holds, beside its version."""

    exercises: dict[str, Record]


def file() -> Path:
    """Return the path of the progress file. It need not exist yet."""
    return paths.home() / "progress.json"


def read(number: str) -> Record:
    """Return what was done of the exercise `number` ("1.3").

    Raises MedallionError when the file is damaged or cannot be read.
    """
    return everything().get(number, Record())


def attempted(number: str, passed: bool) -> None:
    """Count one check of the exercise `number`, and note the time when it first passes.

    Raises MedallionError when the file is damaged or cannot be written.
    """

    def change(record: Record) -> Record:
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if passed else None
        return Record(record.attempts + 1, record.hints, record.passed or when)

    _update(number, change)


def hinted(number: str, level: int) -> None:
    """Note that the hint `level` (1 to 3) of the exercise `number` was seen.

    Raises MedallionError when the file is damaged or cannot be written.
    """
    _update(number, lambda record: Record(record.attempts, max(record.hints, level), record.passed))


def _off() -> bool:
    return os.environ.get("MEDALLION_PROGRESS") == "off"


def everything() -> dict[str, Record]:
    """Return what was done, by the number of the exercise.

    Raises MedallionError when the file is damaged or cannot be read.
    """
    return dict(_in_memory) if _off() else _load(file())


@faults.told()
def _update(number: str, change: Callable[[Record], Record]) -> None:
    if _off():
        _in_memory[number] = change(_in_memory.get(number, Record()))
        return
    path = file()
    paths.writable(path.parent, "MEDALLION_HOME")
    with FileLock(path.with_suffix(".lock"), timeout=_LOCK_SECONDS):
        records = _load(path)
        records[number] = change(records.get(number, Record()))
        held = {one: asdict(record) for one, record in records.items()}
        text = json.dumps({"version": _VERSION, "exercises": held}, indent=1, sort_keys=True)
        write_text(path, f"{text}\n")


@faults.told()
def _load(path: Path) -> dict[str, Record]:
    try:
        return TypeAdapter(_Kept).validate_json(path.read_bytes(), strict=True).exercises
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise MedallionError(
            f"{path} is damaged ({what}). Move it away to begin your progress anew; your answers are safe."
        ) from error
