"""What differs in a workspace: `databricks.yml` beside the lesson of a chapter, held against its cells.

    - cells: ["import os\\nimport signal"]
      why: A second Spark is killed in the middle of its work.

A cell is named by its text, or by how that begins where it is the only one that begins so. An entry leaves
its cells out; with `instead` its one cell has that code, and with `only: catalog` its cells run with Unity
Catalog only. `[]` says that nothing differs; a chapter without the file is not exported. What the chapters
have in common, the runtime and what is installed on top of it, is in `book/databricks.yml`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from medallion import contract, paths
from medallion.errors import MedallionError
from press.source import forms
from press.source.chapter import Cell, Chapter
from press.source.forms import Form, Line

FILE = "book/databricks.yml"
NAME = "databricks.yml"
CATALOG = "catalog"

_Code = Annotated[str, Field(min_length=1), AfterValidator(lambda text: text.strip("\n"))]


class Difference(Form):
    """Some code cells of a chapter, by how they begin, and what a workspace gets in their place."""

    cells: Annotated[tuple[_Code, ...], Field(min_length=1, strict=False)]
    why: Line
    instead: _Code = ""
    only: Literal["catalog"] | None = None

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Difference":
        if self.instead and self.only:
            raise ValueError("'only' stands without 'instead'. Take one away.")
        if self.instead and len(self.cells) > 1:
            raise ValueError("'instead' is for exactly one cell. Name one.")
        return self

    @property
    def kind(self) -> str:
        """One of "instead", "catalog" and "out"."""
        return "instead" if self.instead else self.only or "out"


class Runtime(Form):
    """The Databricks Runtime.

    `version` is as a cluster names it and `name` as people do; `source` is the page that lists its packages,
    and `modules` are those of them that the course imports.
    """

    version: str
    name: str
    source: str
    modules: Annotated[frozenset[str], Field(strict=False)]


class Common(Form):
    """What the chapters have in common; `installs` are the packages that come on top, each with a reason."""

    runtime: Runtime
    installs: dict[str, Line]


@dataclass(frozen=True)
class Differences:
    """What the chapters have in common, and what differs in each that is exported, by its number."""

    common: Common
    chapters: dict[str, tuple[Difference, ...]]


_COMMON = TypeAdapter(Common)
_ENTRIES = TypeAdapter(Annotated[tuple[Difference, ...], Field(strict=False)])


def load(root: Path | None = None) -> Differences:
    """Read `book/databricks.yml` below `root`, the repository, and that of each chapter which has one.

    Raises MedallionError when the first is not there, and when one is no YAML, lacks a part or has one too
    many.
    """
    root = root or paths.root()
    found = sorted((root / "book" / "chapters").glob(f"[0-9][0-9]_*/{NAME}"))
    chapters = {path.parent.name[:2]: forms.read(path, _ENTRIES, "entry") for path in found}
    return Differences(forms.read(root / FILE, _COMMON, "entry"), chapters)


def file(chapter: Chapter) -> str:
    """Return the path of a chapter's differences as messages show it."""
    return contract.shown(chapter.path.with_name(NAME))


def of(chapter: Chapter, differences: Differences) -> dict[int, Difference]:
    """Return the differences of a chapter by the line in which their cells begin.

    Raises MedallionError when the chapter has no file, or when what an entry says is the beginning of no
    cell, of several, or of one that another entry names.
    """
    if chapter.number not in differences.chapters:
        raise MedallionError(f"{file(chapter)} is not there. Add it, with [] if nothing differs.")
    code = [cell for cell in chapter.cells if cell.kind == "code"]
    found: dict[int, Difference] = {}
    for difference in differences.chapters[chapter.number]:
        for begin in difference.cells:
            cell = _only(chapter, code, begin)
            if cell.line in found:
                raise _wrong(chapter, begin, "is named twice")
            found[cell.line] = difference
    return found


def _only(chapter: Chapter, code: list[Cell], begin: str) -> Cell:
    fits = [cell for cell in code if cell.source == begin]
    fits = fits or [cell for cell in code if cell.source.startswith(begin)]
    if len(fits) != 1:
        raise _wrong(chapter, begin, f"begins {len(fits)} cells, and must begin one")
    return fits[0]


def _wrong(chapter: Chapter, begin: str, what: str) -> MedallionError:
    return MedallionError(f"{file(chapter)}: {begin.splitlines()[0]!r} {what}. Correct it.")
