"""The table that closes a run."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from medallion.runner import Ran


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
