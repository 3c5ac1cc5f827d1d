"""A chapter read from its source: cells that know their tags and the line they come from.

The source is jupytext's `py:percent`. jupytext reads it; what it drops, the line numbers, is
found again here, because every complaint about a chapter names its line.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import jupytext

from medallion import contract
from medallion.errors import MedallionError
from press.source import header
from press.source.header import Header

_CELL = re.compile(r"# %%(\s|$)")
_HEADING = re.compile(r"#+\s*Exercise\s+(\d+\.\d+)\s*:\s*(.+)")


@dataclass(frozen=True)
class Problem:
    """Something that the author of a chapter has to fix: where, what is wrong, and the fix."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Cell:
    """One cell of a chapter. `line` is the line of its first line of text in the file, from 1."""

    kind: str
    source: str
    line: int
    tags: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    costly: str = ""  # why it may cost more than a cell may

    @property
    def role(self) -> str:
        """The tag that decides where the cell goes: setup, exercise, solution, check, predict or ""."""
        return next((tag for tag in self.tags if tag in ROLES), "")

    @property
    def exercise(self) -> tuple[str, str] | None:
        """The number and the title that the heading of an exercise names, or None."""
        found = _HEADING.search(self.source) if self.kind == "markdown" else None
        return (found[1], found[2].strip()) if found else None


@dataclass(frozen=True)
class Chapter:
    """A chapter: `where` is its path as messages show it, `sha256` the hash of its text.

    `needs`, sorted, is what it reads and does not make itself; `said` is what its header says for readers.
    """

    path: Path
    where: str
    number: str
    name: str
    title: str
    makes: dict[str, list[str]]
    needs: tuple[str, ...]
    said: Header
    cells: tuple[Cell, ...]
    sha256: str

    def problem(self, line: int, text: str) -> Problem:
        """Return the complaint about one line of this chapter."""
        return Problem(self.where, line, text)

    def link(self, root: str) -> str:
        """Return a link in Markdown to the notebook; `root` leads from the page to the repository."""
        return f"[{self.number} {self.title}]({root}notebooks/{self.name}.ipynb)"


def refuse(problems: Iterable[Problem]) -> None:
    """Raise MedallionError with a line for each problem, if there is one."""
    if lines := [str(problem) for problem in problems]:
        raise MedallionError("\n".join(lines))


ROLES = ("setup", "exercise", "solution", "check", "predict")


def parse(path: Path) -> Chapter:
    """Read the lesson at `path`, `lesson.py` in the folder `NN_name` of its chapter.

    Raises MedallionError, naming the line, when the file is not a chapter: no UTF-8, a header that is not as
    `contract` and `header` have it, no title, or text outside of a cell.
    """
    where = contract.shown(path)
    if not re.fullmatch(r"\d\d_\w+", path.parent.name):
        raise MedallionError(f"{where}:1: a chapter's folder is named NN_name. Rename it.")
    try:
        text = path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise MedallionError(f"{where}:{line}: this is not UTF-8. Save the file as UTF-8.") from error
    try:
        notebook = jupytext.reads(text, fmt={"extension": ".py", "format_name": "percent"})
    except Exception as error:  # jupytext lets the YAML and the token errors of its parsers through
        raise MedallionError(f"{where}:1: jupytext cannot read this file: {_first_line(error)}.") from error

    front = contract.header(path)
    promised = contract.of(path, front)
    cells = _cells(text, notebook.cells, where)
    return Chapter(
        path=path,
        where=where,
        number=promised.number,
        name=promised.name,
        title=_title(cells, where),
        makes=promised.makes,
        needs=tuple(promised.reads),
        said=header.of(front, promised),
        cells=cells,
        sha256=sha256(text.encode()).hexdigest(),
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _cells(text: str, read: list[Any], where: str) -> tuple[Cell, ...]:
    """Return jupytext's cells with the line where the text of each begins.

    Raises MedallionError when the markers in the file are not the cells that jupytext made.
    """
    lines = text.splitlines()
    header_end = next((n for n, line in enumerate(lines) if n and line.rstrip() == "# ---"), 0)
    markers = [n for n, line in enumerate(lines) if n > header_end and _CELL.match(line)]
    if len(markers) != len(read):
        stray = header_end + 2
        raise MedallionError(
            f"{where}:{stray}: {len(markers)} lines begin with '# %%' but jupytext finds {len(read)} cells. "
            "Begin every cell with '# %%' and keep that text out of strings."
        )
    cells = []
    for marker, cell in zip(markers, read, strict=True):
        empty = ("",) if cell.cell_type == "code" else ("", "#")
        first = marker + 1
        while first < len(lines) - 1 and lines[first].strip() in empty:
            first += 1
        cells.append(
            Cell(
                kind=cell.cell_type,
                source=cell.source.strip("\n"),
                line=first + 1,
                tags=tuple(cell.metadata.get("tags", ())),
                given=tuple(str(number) for number in cell.metadata.get("given", ())),
                costly=str(cell.metadata.get("costly", "")),
            )
        )
    return tuple(cells)


def _title(cells: tuple[Cell, ...], where: str) -> str:
    first = cells[0] if cells else None
    if first is None or first.kind != "markdown" or not first.source.startswith("# "):
        line = first.line if first else 1
        raise MedallionError(f"{where}:{line}: a chapter begins with a markdown cell '# Title'. Add it.")
    return first.source.splitlines()[0].removeprefix("# ").strip()
