"""Run chapters in order without opening them: the headless way through the course."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from medallion import build, chapters, paths, tables
from medallion.errors import MedallionError

# At a large scale the stream of the orders is a cell of many minutes.
_CELL_SECONDS = 2 * 60 * 60


@dataclass(frozen=True)
class Ran:
    """What one chapter took (seconds of wall clock) and left (rows by table; a view holds none)."""

    number: str
    name: str
    seconds: float
    rows: dict[str, int]


def run(numbers: Sequence[str], progress: bool = True) -> list[Ran]:
    """Run the chapters `numbers`, or all, in the book's order, each from the state before it.

    Each chapter begins with `reset`, so running again, also after a kill, gives the same tables.
    Raises MedallionError, naming the chapter's line, when a cell fails or a promised table is missing.
    """
    wanted = sorted({chapters.find(number).name[:2] for number in numbers}) or list(chapters.all_chapters())
    done = []
    for number in wanted:
        source = chapters.find(number)
        tables.reset(number)
        began = time.perf_counter()
        _execute(number, progress)
        seconds = time.perf_counter() - began
        missing = [table for table in chapters.makes(number) if not tables.exists(table)]
        if missing:
            raise MedallionError(f"{source.name} promises {', '.join(missing)} and did not make it.")
        rows = {table: tables.rows(table) for table in chapters.makes(number) if not tables.is_view(table)}
        done.append(Ran(number, source.stem[3:], seconds, rows))
    return done


def catch_up(number: str, progress: bool = True) -> list[Ran]:
    """Run the chapters whose tables chapter `number` needs and that are missing, and return what ran."""
    needed: set[str] = set()
    waiting = [number]
    while waiting:
        for table in chapters.needs(waiting.pop()):
            maker = chapters.maker(table)
            if maker and maker not in needed and not tables.exists(table):
                needed.add(maker)
                waiting.append(maker)
    return run(sorted(needed), progress) if needed else []


def _execute(number: str, progress: bool) -> None:
    from rich.console import Console
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
