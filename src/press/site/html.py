"""Small pieces of HTML that several parts of a page share."""

from collections.abc import Iterable, Sequence
from html import escape


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[bool]) -> str:
    """Return a table with one row of column heads; `numeric[i]` sets column i to the right."""
    mark = [' class="number"' if right else "" for right in numeric]
    heads = "".join(f'<th scope="col"{m}>{escape(h)}</th>' for h, m in zip(head, mark, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{m}>{escape(cell)}</td>" for cell, m in zip(row, mark, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def scroller(inner: str, name: str) -> str:
    """Return `inner` in a box that scrolls sideways by itself, by keyboard too, with a name for it."""
    return f'<div class="scroller" role="group" tabindex="0" aria-label="{escape(name)}">\n{inner}\n</div>'


def fold(kind: str, summary: str, inner: str) -> str:
    """Return `inner` folded under `summary`, which is text; `kind` is its class."""
    return f'<details class="fold {kind}"><summary>{escape(summary)}</summary>\n{inner}\n</details>'


def is_number(text: str) -> bool:
    """Say whether a cell of a table holds a number, with or without separators and a sign."""
    bare = text.strip().replace(",", "").replace("\u202f", "").lstrip("+-\u2212")
    return bool(bare) and bare.replace(".", "", 1).replace("e-", "", 1).replace("e+", "", 1).isdigit()
