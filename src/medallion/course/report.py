"""What the terminal shows of the course: the table that closes a run, and which exercises are done."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    table = Table("chapter", title="What ran", caption=caption, show_footer=True)
    table.columns[0].footer = f"{len(ran)} chapters"
    total = (sum(one.seconds for one in ran), sum(len(one.rows) for one in ran), _rows(ran))
    for name, footer in zip(
        ("seconds", "tables", "rows"), (f"{total[0]:.0f}", f"{total[1]}", f"{total[2]:,}"), strict=True
    ):
        table.add_column(name, footer=footer, justify="right")
    for one in ran:
        rows = sum(one.rows.values())
        star = "*" if one.earlier else ""
        table.add_row(f"{one.number} {one.name}{star}", f"{one.seconds:.0f}", str(len(one.rows)), f"{rows:,}")
    (console or Console()).print(table)


def _rows(ran: Sequence[Ran]) -> int:
    return sum(sum(one.rows.values()) for one in ran)


@dataclass(frozen=True)
class Line:
    """One exercise in the summary: its number, its title and what was done."""

    number: str
    title: str
    record: Record


def summary() -> dict[str, list[Line]]:
    """Return every chapter that has exercises ("01") with a line for each of them, in the book's order.

    Raises MedallionError when the file is damaged.
    """
    done = progress.everything()
    return {
        chapter: [
            Line(exercise.number, exercise.title, done.get(exercise.number, Record()))
            for exercise in checks.exercises(chapter)
        ]
        for chapter in checks.chapters()
    }


def show(console: Console | None = None) -> None:
    """Print the summary: a table with a line for each exercise, ✓ for done and ○ for open.

    Raises MedallionError when the file is damaged.
    """
    console = console or Console()
    chapters = summary()
    if not chapters:
        console.print("There are no exercises yet.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("Exercise", "", "Done"):
        table.add_column(heading)
    for heading in ("Checked", "Hints"):
        table.add_column(heading, justify="right")
    for chapter, lines in chapters.items():
        passed = sum(line.record.passed is not None for line in lines)
        table.add_row(f"Chapter {chapter}", "", f"{passed} of {len(lines)}", style="bold")
        for line in lines:
            record = line.record
            table.add_row(
                f"{SIGNS['right' if record.passed else 'open']} {line.number}",
                Text(line.title),
                record.passed[:10] if record.passed else "",
                str(record.attempts or ""),
                str(record.hints or ""),
            )
    console.print(table)
