"""What the columns mean, as the data dictionary of the sources, `datasets/README.md`, says.

Its sections are named after tables, and hold tables whose first column names columns and whose last
is headed "meaning".
"""

import re
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

FILE = "datasets/README.md"
# The section on the columns that the lakehouse itself adds to every source
ADDED = "What Bronze and Silver add"


def meanings(target: Path) -> dict[str, dict[str, str]]:
    """Return, by section of the dictionary below the repository `target`, what each column means.

    Columns are named as in a table: `after.order_id`. Those without a meaning are left out.
    """
    tokens = MarkdownIt("commonmark").enable("table").parse((target / FILE).read_text(encoding="utf-8"))
    found: dict[str, dict[str, str]] = {}
    section, heading = "", False
    row: list[str] = []
    header: list[str] = []
    for token in tokens:
        if token.type == "heading_open":
            heading = token.tag == "h2"
        elif token.type == "inline" and heading:
            section, heading = token.content, False
            found[section] = {}
        elif token.type == "tr_open":
            row = []
        elif token.type == "inline" and token.level > 2:
            row.append(_one_line(token))
        elif token.type == "thead_close":
            header = row
        elif token.type == "tr_close" and header and header[-1] == "meaning" and row[-1] and row != header:
            found[section] |= dict.fromkeys(_columns(row[0]), row[-1])
        elif token.type == "table_close":
            header = []
    return found


def _one_line(token: Token) -> str:
    return token.content.replace("\n", " ").strip()


def _columns(cell: str) -> list[str]:
    """Return the columns that "lat, lon" or "sellers[].products[].tags" names, as the table calls them."""
    return [re.split(r"\[\]\.|… \.", name)[-1].strip(" `.").removesuffix("[]") for name in cell.split(",")]
