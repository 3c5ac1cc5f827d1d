"""How far a run has come: `<home>/cache/run.json`, so that the next one goes on where it stopped.

    {"data": "6f1…", "done": {"01": "8c4…"}, "numbers": ["01", "02"], "profile": "learn",
     "seconds": {"01": 105.2}, "unfinished": ["02"], "version": 2}

`done` has the hash of the notebook that was run, `seconds` what each chapter took here last, also after the
run has ended. A chapter stands under `unfinished` from its first cell until its last, also when a kill
comes between.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from medallion import paths
from medallion.contract import Contract
from medallion.errors import MedallionError
from medallion.files import write_text

_VERSION = 2


@dataclass
class Journal:
    """A run of the chapters `numbers`: from which data, in which profile, and how far it has come."""

    numbers: list[str] = field(default_factory=list)
    data: str = ""
    profile: str = ""
    done: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)


def file() -> Path:
    """Return the path of the journal. It need not exist."""
    return paths.home() / "cache" / "run.json"


@contextmanager
def alone() -> Iterator[None]:
    """Keep every other run off this lakehouse, until the block or the process ends.

    Raises MedallionError when another one is at work there, and when the lakehouse cannot be written.
    """
    folder = paths.writable(paths.home(), "MEDALLION_HOME") / "cache"
    folder.mkdir(exist_ok=True)
    try:
        with FileLock(folder / "run.lock", timeout=0):
            yield
    except Timeout:
        raise MedallionError(
            f"Another run is at work on {paths.home()}. Wait until it has ended, or set MEDALLION_HOME to "
            "another folder for this one."
        ) from None


def load() -> Journal:
    """Return the journal: an empty one when there is none, or none that can be read."""
    try:
        text = file().read_text(encoding="utf-8")
        if json.loads(text)["version"] != _VERSION:
            return Journal()
        return TypeAdapter(Journal).validate_json(text, strict=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Journal()  # what is lost is only the time to build what was built


def begin(chapters: Sequence[Contract], anew: bool = False) -> dict[str, str]:
    """Begin a run of chapters, and return the numbers of those that it may leave out, the first ones.

    These were built by a run of the same chapters that did not end, from the sources and the data that are
    there now and in the profile of now. With `anew` there are none.
    """
    old = load()
    numbers = [chapter.number for chapter in chapters]
    data = _hash(paths.landing() / "_manifest.json")  # it names the scale, and each file's hash
    profile = os.environ.get("MEDALLION_PROFILE") or "learn"
    journal = Journal(numbers, data, profile, seconds=old.seconds, unfinished=old.unfinished)
    if not anew and (old.numbers, old.data, old.profile) == (journal.numbers, journal.data, journal.profile):
        for chapter in takewhile(lambda one: old.done.get(one.number) == _hash(one.notebook), chapters):
            journal.done[chapter.number] = old.done[chapter.number]
    _store(journal)
    return journal.done


def starts(chapter: Contract) -> None:
    """Note that a chapter is about to run, and that nothing of it or of later ones is there."""
    journal, number = load(), chapter.number
    journal.done = {other: done for other, done in journal.done.items() if other < number}
    journal.unfinished = [*(other for other in journal.unfinished if other < number), number]
    _store(journal)


def ended(chapter: Contract, seconds: float) -> None:
    """Note that a chapter is built, and how long it took."""
    journal, number = load(), chapter.number
    journal.done[number] = _hash(chapter.notebook)
    journal.seconds[number] = round(seconds, 1)
    journal.unfinished = [other for other in journal.unfinished if other != number]
    _store(journal)


def end() -> None:
    """End a run that went well: the next one leaves nothing out."""
    old = load()
    _store(Journal(seconds=old.seconds, unfinished=old.unfinished))


def _store(journal: Journal) -> None:
    held = {"version": _VERSION, **asdict(journal)}
    write_text(file(), json.dumps(held, indent=1, sort_keys=True) + "\n")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
