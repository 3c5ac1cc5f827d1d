"""What differs in a workspace, chapter by chapter: `book/databricks.yml`, read and held against the chapters.

    chapters:
      "01":
        - cells: ["import os\\nimport signal"]
          why: A second Spark is killed in the middle of its work.

A cell is named by its text, or by how that begins where it is the only one that begins so. An entry leaves
its cells out; with `instead` its one cell has that code, and with `only: catalog` its cells run with Unity
Catalog only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medallion import paths
from medallion.errors import MedallionError
from press.source.chapter import Cell, Chapter

FILE = "book/databricks.yml"
CATALOG = "catalog"


@dataclass(frozen=True)
class Difference:
    """Some code cells of a chapter, by how they begin, and what a workspace gets in their place."""

    cells: tuple[str, ...]
    why: str
    instead: str = ""
    with_catalog: bool = False

    @property
    def kind(self) -> str:
        """One of "instead", "catalog" and "out"."""
        return "instead" if self.instead else CATALOG if self.with_catalog else "out"


@dataclass(frozen=True)
class Differences:
    """The whole file.

    `runtime` is the version of the Databricks Runtime as a cluster names it, `named` as people do, and
    `source` the page that lists its packages; `modules` are those of them that the course imports. `installs`
    are the packages that come on top, each with a reason.
    """

    runtime: str
    named: str
    source: str
    modules: frozenset[str]
    installs: dict[str, str]
    chapters: dict[str, tuple[Difference, ...]]


def load(root: Path | None = None) -> Differences:
    """Read `book/databricks.yml` below `root`, the repository.

    Raises MedallionError when it is not there, is no YAML, or lacks a part or has one too many.
    """
    path = (root or paths.root()) / FILE
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        runtime = dict(held.pop("runtime"))
        found = Differences(
            runtime=runtime.pop("version"),
            named=runtime.pop("name"),
            source=runtime.pop("source"),
            modules=frozenset(runtime.pop("modules")),
            installs={name: _line(why) for name, why in held.pop("installs").items()},
            chapters={number: tuple(map(_read, entries)) for number, entries in held.pop("chapters").items()},
        )
        if stray := [*runtime, *held]:
            raise ValueError(f"{stray[0]} is not known")
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MedallionError(f"{FILE} cannot be read ({reason}). Mend it.") from error
    return found


def _read(entry: dict[str, Any]) -> Difference:
    only = entry.get("only", "")
    if stray := set(entry) - {"cells", "why", "instead", "only"}:
        raise ValueError(f"{stray.pop()} is not known")
    if only not in ("", CATALOG) or (only and "instead" in entry):
        raise ValueError(f"'only' is {CATALOG!r}, and without 'instead'")
    cells = tuple(cell.strip("\n") for cell in entry["cells"])
    if not cells or ("instead" in entry and len(cells) > 1):
        raise ValueError("an entry has cells, and with 'instead' exactly one")
    return Difference(cells, _line(entry["why"]), entry.get("instead", "").strip("\n"), bool(only))


def _line(text: str) -> str:
    return " ".join(text.split())


def of(chapter: Chapter, differences: Differences) -> dict[int, Difference]:
    """Return the differences of a chapter by the line in which their cells begin.

    Raises MedallionError when the file has no entry for the chapter, or when what an entry says is the
    beginning of no cell, of several, or of one that another entry names.
    """
    if chapter.number not in differences.chapters:
        raise MedallionError(f"{FILE} has no chapter {chapter.number}. Add it, with [] if nothing differs.")
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
    return MedallionError(f"{FILE}: chapter {chapter.number}: {begin.splitlines()[0]!r} {what}. Correct it.")
