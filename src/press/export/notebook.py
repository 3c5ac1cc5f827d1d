"""A chapter as a notebook of a workspace, and the text that Databricks keeps a notebook as.

The form is that of the book: an exercise has its task, its starter, its solution and its check. What
differs stands in place of the cell, after a line of text that says why.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medallion.errors import MedallionError
from press.export import differences
from press.export.differences import Difference, Differences
from press.source import pages
from press.source.chapter import Chapter

HEADER = "# Databricks notebook source"
BREAK = "# COMMAND ----------"
MAGIC = "# MAGIC"
PRODUCED = "Produced by `medallion export databricks`: a change made here is lost with the next export."
INSTALL = "%pip install -q -r ../requirements.txt"
RESTART = "dbutils.library.restartPython()"
# Notebooks run in their own folder, beside which the bundle puts the package
SETUP = """\
import sys
from pathlib import Path

sys.path.insert(0, str(Path("../src").resolve()))

dbutils.widgets.text("catalog", "kestrel")
dbutils.widgets.text("schema", "medallion")"""
USE = """\
from medallion.spark import databricks

databricks.use(dbutils.widgets.get("catalog"), dbutils.widgets.get("schema"))"""
PREPARE = """\
dbutils.widgets.text("scale", "1")
spark = medallion.start()
brought = databricks.land(float(dbutils.widgets.get("scale")))
print(brought, "files brought to", medallion.landing())"""
_SAID = {
    "instead": "**Differs from the book:**",
    "out": "**Left out here:**",
    differences.CATALOG: "**Only with a catalog:**",
}


@dataclass(frozen=True)
class Cell:
    """One cell. `kind` is "code", "markdown" or "magic"; `line` is its line in the chapter, 0 for none."""

    kind: str
    source: str
    line: int = 0


def of(chapter: Chapter, found: Differences) -> list[Cell]:
    """Return the cells of a chapter's notebook.

    Raises MedallionError when the differences do not fit the chapter.
    """
    by_line = differences.of(chapter, found)
    page = pages.notebook_page(chapter)
    title, *rest = [
        Cell(cell.cell_type, cell.source, origin.line if origin else 0)
        for cell, origin in zip(page.notebook.cells, page.cells, strict=True)
    ]
    cells = [title, *_setup()]
    told: Difference | None = None
    for cell in rest:
        difference = by_line.get(cell.line) if cell.kind == "code" else None
        if difference is None:
            cells.append(cell)
        elif difference is not told:  # cells that stand together need one note
            cells.append(Cell("markdown", f"{_SAID[difference.kind]} {difference.why}", cell.line))
        told = difference
        if difference is None:
            continue
        if difference.kind == "instead":
            cells.append(Cell("code", difference.instead, cell.line))
        elif difference.kind == differences.CATALOG:
            cells.append(Cell("code", guarded(cell.source, difference.why), cell.line))
    return cells


def _setup() -> Iterator[Cell]:
    yield Cell("markdown", PRODUCED)
    yield Cell("magic", INSTALL)
    yield Cell("code", RESTART)
    yield Cell("code", f"{SETUP}\n\n{USE}")


def prepare() -> list[Cell]:
    """Return the cells of the notebook that runs first: it brings the source files."""
    title = "# The source files\n\nThey are generated here, and brought to the landing folder of the course."
    setup = [*_setup()]
    setup[-1] = Cell("code", f"{SETUP}\n\nimport medallion\n{USE}")
    return [Cell("markdown", title), *setup, Cell("code", PREPARE)]


def guarded(source: str, why: str) -> str:
    """Return code that runs only where there is a catalog, and says `why` where there is none.

    What its last line would show is displayed.
    """
    tree = ast.parse(source)
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        shown = ast.get_source_segment(source, last)
        assert shown is not None
        lines = source.splitlines()[: last.lineno - 1]
        source = "\n".join([*lines, f"display({shown})"])
    inside = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno
        for line in range(node.lineno + 1, node.end_lineno + 1)  # these lines are text, not code
    }
    lines = [
        line if number in inside or not line else f"    {line}"
        for number, line in enumerate(source.splitlines(), start=1)
    ]
    return "\n".join(["if databricks.has_catalog():", *lines, "else:", f"    print({why!r})"])


def text_of(cells: Sequence[Cell]) -> str:
    """Return the text of a notebook's file, from which `read` makes the same cells, their lines aside.

    Raises MedallionError when a cell has a line that the format keeps for itself.
    """
    for cell in cells:
        if any(line.startswith((HEADER, BREAK, MAGIC)) for line in cell.source.splitlines()):
            raise MedallionError(
                f"Line {cell.line}: the format of Databricks keeps lines that begin with {MAGIC!r}, "
                f"{BREAK!r} or {HEADER!r} for itself. Write this one otherwise."
            )
    parts = [cell.source if cell.kind == "code" else _magic(cell) for cell in cells]
    return f"{HEADER}\n" + f"\n\n{BREAK}\n\n".join(parts) + "\n"


def _magic(cell: Cell) -> str:
    lines = cell.source.split("\n")
    if cell.kind == "markdown":
        lines = ["%md", *lines]
    return "\n".join(f"{MAGIC} {line}".rstrip() for line in lines)


def read(text: str) -> list[Cell]:
    """Return the cells of a notebook's file.

    Raises MedallionError when the text is no notebook of Databricks.
    """
    head, _, rest = text.partition("\n")
    if head != HEADER:
        raise MedallionError(f"The first line of a notebook of Databricks is {HEADER!r}. Export it again.")
    return [_read(part.strip("\n")) for part in re.split(rf"^{BREAK}\n", rest, flags=re.MULTILINE)]


def _read(part: str) -> Cell:
    lines = part.split("\n")
    if not lines[0].startswith(MAGIC):
        return Cell("code", part)
    bare = [line.removeprefix(MAGIC).removeprefix(" ") for line in lines]
    return Cell("markdown", "\n".join(bare[1:])) if bare[0] == "%md" else Cell("magic", "\n".join(bare))
