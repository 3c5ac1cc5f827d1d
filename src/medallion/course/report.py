"""What the terminal shows of the course: the table that closes a run, and which exercises are done."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medallion.course.runner import Ran
from medallion.lesson import checks, progress
from medallion.lesson.progress import Record
from medallion.lesson.signs import SIGNS


def print_ran(ran: Sequence[Ran], console: Console | None = None) -> None:
    """Print chapter, seconds, number of tables and rows of what ran, with a line that sums up.

    Chapters that were built before an interruption have a star, and count too.
    """
    caption = "* built before the run was interrupted" if any(one.earlier for one in ran) else None
    table = Table(title="What ran", caption=caption, show_footer=True)
    table.add_column("chapter", footer=f"{len(ran)} chapters")
    table.add_column("seconds", footer=f"{sum(one.seconds for one in ran):.0f}", justify="right")
    table.add_column("tables", footer=f"{sum(len(one.rows) for one in ran)}", justify="right")
    table.add_column("rows", footer=f"{sum(sum(one.rows.values()) for one in ran):,}", justify="right")
    for one in ran:
        rows = sum(one.rows.values())
        star = "*" if one.earlier else ""
        table.add_row(f"{one.number} {one.name}{star}", f"{one.seconds:.0f}", str(len(one.rows)), f"{rows:,}")
    (console or Console()).print(table)


def show(console: Console | None = None) -> None:
    """Print a table with a line for each exercise of each chapter that has any, ✓ for done and ○ for open.

    Raises MedallionError when the file of the progress is damaged.
    """
    console = console or Console()
    done = progress.everything()
    chapters = checks.chapters()
    if not chapters:
        console.print("There are no exercises yet.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("Exercise", "", "Done"):
        table.add_column(heading)
    for heading in ("Checked", "Hints"):
        table.add_column(heading, justify="right")
    for chapter in chapters:
        records = {one: done.get(one.number, Record()) for one in checks.exercises(chapter)}
        passed = sum(record.passed is not None for record in records.values())
        table.add_row(f"Chapter {chapter}", "", f"{passed} of {len(records)}", style="bold")
        for exercise, record in records.items():
            table.add_row(
                f"{SIGNS['right' if record.passed else 'open']} {exercise.number}",
                Text(exercise.title),
                record.passed[:10] if record.passed else "",
                str(record.attempts or ""),
                str(record.hints or ""),
            )
    console.print(table)
