"""Run chapters in order without opening them: the headless way through the course."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import takewhile

from rich.console import Console

from medallion import build, chapters, durations, journal, paths, tables
from medallion.errors import MedallionError
from medallion.lineage import observed
from medallion.lineage import table as lineage_table

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


def run(
    numbers: Sequence[str], progress: bool = True, anew: bool = False, lineage: bool = False
) -> list[Ran]:
    """Run the chapters `numbers`, or all, in the book's order, each from the state before it.

    Each chapter begins with `reset`, so running again, also after a kill, gives the same tables. After an
    interruption the same call goes on with the chapter that was interrupted, unless `anew` is set: what was
    built is left out as long as its source, the data, the profile and its tables are as they were.
    What is returned has all of them, in order. With `lineage` what each reads and writes is recorded, and
    kept in gold.lineage; what was built without a record is then built again.

    Raises MedallionError, naming the chapter's line, when a cell fails or a promised table is missing, and
    when another run is at work on this lakehouse.
    """
    wanted = sorted({chapters.find(number).name[:2] for number in numbers}) or list(chapters.all_chapters())
    console = Console(stderr=True, quiet=not progress)
    with journal.alone():
        done = journal.begin(wanted, anew)
        built = list(takewhile(lambda number: number in done and _is_complete(number, lineage), wanted))
        rest = wanted[len(built) :]
        if built:
            were = "was" if len(built) == 1 else "were"
            then = f"going on with {rest[0]}" if rest else "nothing is left to do"
            _say(console, f"{_spans(built)} {were} built before the run was interrupted; {then}.")
            _say(console, "`medallion run --anew` begins again.")
        if rest:
            take = "Chapter {} takes" if len(rest) == 1 else "Chapters {} take"
            _say(console, f"{take.format(_spans(rest))} {durations.estimate(rest)}.")
        ran = [_ran(number, done[number].seconds, earlier=True) for number in built]
        ran += [_run(number, progress, lineage) for number in rest]
        journal.end()
    return ran


def catch_up(number: str, progress: bool = True) -> list[Ran]:
    """Run the chapters that make what chapter `number` needs and what is missing, and return what ran.

    Missing are a table, a folder beside the tables, and all that an interrupted run had begun to make.
    Raises MedallionError like `run`.
    """
    needed = missing_makers(number)
    if not needed:
        return []
    console = Console(stderr=True, quiet=not progress)
    makes = "makes" if len(needed) == 1 else "make"
    _say(console, f"Chapter {number.zfill(2)} needs what {_spans(needed)} {makes}.")
    return run(needed, progress)


def missing_makers(number: str) -> list[str]:
    """Return the chapters that have to run before chapter `number` can, in the book's order."""
    unfinished = journal.load().unfinished
    needed: set[str] = set()
    waiting = [number]
    while waiting:
        reader = waiting.pop()
        makers = {maker for table in chapters.needs(reader) if (maker := chapters.maker(table))}
        absent = {maker for maker in tables.missing(reader).values() if maker}
        new = (absent | makers.intersection(unfinished)) - needed
        needed |= new
        waiting += new
    return sorted(needed)


def _run(number: str, progress: bool, lineage: bool = False) -> Ran:
    tables.reset(number)
    journal.starts(number)
    began = time.perf_counter()
    with observed.observing(number) if lineage else nullcontext() as seen:
        _execute(number, progress)
        seconds = time.perf_counter() - began
        edges = seen().edges if seen else None
    missing = [table for table in chapters.makes(number) if not tables.exists(table)]
    if missing:
        raise MedallionError(
            f"{chapters.find(number).name} promises {', '.join(missing)} and did not make it."
        )
    if edges is not None:
        lineage_table.keep(number, edges)
    journal.ended(number, seconds)
    durations.remember(number, seconds)
    return _ran(number, seconds)


def _ran(number: str, seconds: float, earlier: bool = False) -> Ran:
    rows = {table: tables.rows(table) for table in chapters.makes(number) if not tables.is_view(table)}
    return Ran(number, chapters.find(number).stem[3:], seconds, rows, earlier)


def _is_complete(number: str, lineage: bool) -> bool:
    """Return whether all that chapter `number` makes and leaves is there, with `lineage` its edges too."""
    if lineage and chapters.makes(number) and number not in lineage_table.recorded():
        return False
    made = all(tables.exists(table) for table in chapters.makes(number))
    return made and all(tables.is_left(name) for name in chapters.leaves(number))


def _spans(numbers: Sequence[str]) -> str:
    """Return chapter numbers as we say them: "00 to 04", "01, 03"."""
    known = list(chapters.all_chapters())
    spans: list[list[str]] = []
    for number in numbers:
        if spans and known.index(number) == known.index(spans[-1][-1]) + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ", ".join(f"{span[0]} to {span[-1]}" if len(span) > 1 else span[0] for span in spans)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _execute(number: str, progress: bool) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, quiet=not progress)) as bar:
        task = bar.add_task(f"Chapter {number}", total=None)
        build.run(
            build.parse(chapters.find(number)),
            cwd=paths.root() / "notebooks",
            on_cell=lambda done, of: bar.update(task, completed=done, total=of),
            seconds=_CELL_SECONDS,
        )
