"""Run chapters in order without opening them: the headless way through the course."""

import hashlib
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

import nbformat
from nbformat import NotebookNode
from rich.console import Console

from medallion import contract
from medallion.contract import Contract
from medallion.course import durations, journal
from medallion.course.execute import CellFailed, execute, shown
from medallion.errors import MedallionError
from medallion.lakehouse import tables
from medallion.lakehouse.reset import reset

# Nothing of a run may show in the learner's own progress.
_ENVIRONMENT = {"MEDALLION_PROGRESS": "off"}
# At a large scale the stream of the orders is a cell of many minutes.
_CELL_SECONDS = 2 * 60 * 60


@dataclass(frozen=True)
class Ran:
    """What one chapter took (seconds of wall clock) and left (rows by table; a view holds none).

    `earlier` tells that it was built before the run was interrupted.
    """

    number: str
    name: str
    seconds: float
    rows: dict[str, int]
    earlier: bool = False


class Recorder(Protocol):
    """What records how tables come to be: `medallion run --lineage` brings one, and no other run needs it."""

    def observing(self, number: str) -> AbstractContextManager[object]:
        """Record what chapter `number` reads and writes while the block runs, and keep it at its end."""

    def recorded(self) -> set[str]:
        """Return the chapters of which a record is kept."""


def run(
    numbers: Sequence[str], progress: bool = True, anew: bool = False, recorder: Recorder | None = None
) -> list[Ran]:
    """Run the chapters `numbers`, or all, in the book's order, each from the state before it.

    Each chapter begins with `reset`, so running again, also after a kill, gives the same tables. After an
    interruption the same call goes on with the chapter that was interrupted, unless `anew` is set: what was
    built is left out as long as its source, the data, the profile and its tables are as they were.
    What is returned has all of them, in order. With a `recorder` what each reads and writes is recorded; what
    was built without a record is then built again.

    Raises MedallionError, naming the notebook's cell, when a cell fails, and when a promised table is
    missing, a notebook is not that of its lesson, or another run is at work on this lakehouse.
    """
    chosen = {contract.read(number).number for number in numbers}
    wanted = [one for number, one in contract.chapters().items() if not chosen or number in chosen]
    console = Console(stderr=True, quiet=not progress)
    with journal.alone():
        done = journal.begin(wanted, anew)
        built = list(takewhile(lambda one: one.number in done and _is_complete(one, recorder), wanted))
        rest = wanted[len(built) :]
        if built:
            were = "was" if len(built) == 1 else "were"
            then = f"going on with {rest[0].number}" if rest else "nothing is left to do"
            _say(console, f"{_spans(built)} {were} built before the run was interrupted; {then}.")
            _say(console, "`medallion run --anew` begins again.")
        if rest:
            take = "Chapter {} takes" if len(rest) == 1 else "Chapters {} take"
            _say(console, f"{take.format(_spans(rest))} {durations.estimate([one.number for one in rest])}.")
        took = journal.load().seconds
        ran = [_ran(one, took.get(one.number, 0.0), earlier=True) for one in built]
        for place, one in enumerate(rest, 1):
            ran.append(_run(one, progress, recorder))
            to_come = [other.number for other in rest[place:]]
            if to_come and (left := durations.left({past.number: past.seconds for past in ran}, to_come)):
                _say(console, f"Left: {left}, at the pace so far.")
        journal.end()
    return ran


def catch_up(number: str, progress: bool = True) -> list[Ran]:
    """Run the chapters that make what chapter `number` needs and what is missing, and return what ran.

    Missing are a table, a folder beside the tables, and all that an interrupted run had begun to make.
    Raises MedallionError like `run`.
    """
    chapter = contract.read(number)
    needed = missing_makers(chapter)
    if not needed:
        return []
    console = Console(stderr=True, quiet=not progress)
    makes = "makes" if len(needed) == 1 else "make"
    _say(console, f"Chapter {chapter.number} needs what {_spans(needed)} {makes}.")
    return run([one.number for one in needed], progress)


def missing_makers(chapter: Contract) -> list[Contract]:
    """Return the chapters that have to run before a chapter can, in the book's order."""
    unfinished = journal.load().unfinished
    needed: set[str] = set()
    waiting = [chapter]
    while waiting:
        reader = waiting.pop()
        makers = {maker for table in reader.reads if (maker := contract.maker(table))}
        absent = {maker for maker in tables.missing(reader).values() if maker}
        new = (absent | makers.intersection(unfinished)) - needed
        needed |= new
        waiting += map(contract.read, new)
    return [contract.read(number) for number in sorted(needed)]


def _run(chapter: Contract, progress: bool, recorder: Recorder | None = None) -> Ran:
    reset(chapter.number)
    journal.starts(chapter)
    began = time.perf_counter()
    with recorder.observing(chapter.number) if recorder else nullcontext():
        _execute(chapter, progress)
        seconds = time.perf_counter() - began
        if missing := [table for table in chapter.makes if not tables.exists(table)]:
            raise MedallionError(f"Chapter {chapter.name} promises {', '.join(missing)} and did not make it.")
    journal.ended(chapter, seconds)
    return _ran(chapter, seconds)


def _ran(chapter: Contract, seconds: float, earlier: bool = False) -> Ran:
    rows = {table: tables.rows(table) for table in chapter.makes if not tables.is_view(table)}
    return Ran(chapter.number, chapter.name[3:], seconds, rows, earlier)


def _is_complete(chapter: Contract, recorder: Recorder | None) -> bool:
    """Return whether all that a chapter makes and leaves is there, and with a recorder its record too."""
    if recorder and chapter.makes and chapter.number not in recorder.recorded():
        return False
    return all(map(tables.exists, chapter.makes)) and all(map(tables.is_left, chapter.leaves))


def _spans(chapters: Sequence[Contract]) -> str:
    """Return the numbers of chapters as we say them: "00 to 04", "01, 03"."""
    known = list(contract.chapters())
    spans: list[list[str]] = []
    for number in (chapter.number for chapter in chapters):
        if spans and known.index(number) == known.index(spans[-1][-1]) + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ", ".join(f"{span[0]} to {span[-1]}" if len(span) > 1 else span[0] for span in spans)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _execute(chapter: Contract, progress: bool) -> None:
    """Run the notebook of a chapter, which stays as it is.

    Raises MedallionError for a cell that fails, and for a notebook that is missing or of another lesson.
    """
    notebook, name = _notebook(chapter), f"notebooks/{chapter.notebook.name}"
    if notebook is None:
        raise MedallionError(
            f"{name} is not that of {contract.shown(chapter.path)}. "
            f"Make it with `medallion build {chapter.number}`, or restore both with `git restore`."
        )
    console = Console(stderr=True, quiet=not progress)
    with shown(f"Chapter {chapter.number}", console) as on_cell:
        try:
            execute(notebook, chapter.notebook.parent, on_cell, _ENVIRONMENT, _CELL_SECONDS)
        except CellFailed as failed:
            count = sum(cell.cell_type == "code" for cell in notebook.cells[: failed.index + 1])
            raise MedallionError(
                f"{name}: line {failed.line} of code cell {count} fails: {failed.short.rstrip('.')}. "
                "`medallion doctor` looks for what this machine lacks."
            ) from failed


def _notebook(chapter: Contract) -> NotebookNode | None:
    """Return the notebook of a chapter; None where there is none that was made of the lesson as it is."""
    try:
        notebook = nbformat.reads(chapter.notebook.read_text(encoding="utf-8"), as_version=4)
    except (OSError, ValueError):
        return None
    lesson = chapter.path.read_bytes().replace(b"\r\n", b"\n")
    made_of = notebook.metadata.get("medallion", {}).get("source_sha256")
    return notebook if made_of == hashlib.sha256(lesson).hexdigest() else None
