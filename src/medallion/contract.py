"""The contract of a chapter: what it makes, from what, what it reads, and what it leaves.

A chapter is a folder `book/chapters/NN_name` with its lesson, `lesson.py`. The lesson's header is a YAML
block in comments; under `jupyter.medallion` it says which tables the chapter makes and from what:

    makes:
      silver.orders: [bronze.orders]

Names are `schema.table`; `landing.orders` is the folder that the source files of `orders` arrive in. With a
table stands what it is directly made from, whoever made that: the recorded lineage is compared with it. What
a chapter needs and makes no table of stands under `reads: [ml.churn_scores]`.
What a chapter keeps beside the tables is a folder of the lakehouse, and `leaves: [mlflow]` names it.
Whoever reads a table of that chapter needs the folder too, and may add to it.

`read("02")` returns the contract as one object, which is handed on. Only the header is read, so that
starting a session stays quick.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from medallion import paths
from medallion.errors import MedallionError

LANDING = "landing"
# The layers, in the order of the flow; `ops` has tables about the running of the lakehouse itself
SCHEMAS = ("bronze", "silver", "gold", "ml", "ops")
# The folders of the lakehouse that are not one chapter's own
SHARED = frozenset({LANDING, *SCHEMAS, "checkpoints", "cache", "scratch", "default", "logs", "sql", "work"})
LESSON = "lesson.py"
_FOLDER = re.compile(r"[a-z0-9][a-z0-9_-]*")
_TABLE = re.compile(r"\w+\.\w+")


@dataclass(frozen=True)
class Contract:
    """What one chapter promises.

    `name` is that of its folder ("02_data_quality_silver") and `path` its lesson. `makes` has the tables it
    makes, each with what it is made from; `reads`, sorted, what it reads and does not make; `leaves` the
    folders of the lakehouse that it keeps beside the tables.
    """

    number: str
    name: str
    path: Path
    makes: dict[str, list[str]]
    reads: list[str]
    leaves: list[str]

    @property
    def notebook(self) -> Path:
        """The executed notebook that is made of the lesson. It need not exist."""
        return paths.root() / "notebooks" / f"{self.name}.ipynb"

    @property
    def folders(self) -> dict[str, str]:
        """The folders beside the tables that the chapter needs, each with the chapter that leaves it.

        They are what the makers of the tables that it reads leave: who reads scores may load the model.
        """
        makers = sorted({other for table in self.reads if (other := maker(table))})
        return {name: other for other in makers for name in chapters()[other].leaves}


def folder() -> Path:
    """Return the folder that holds the folders of the chapters."""
    return paths.root() / "book" / "chapters"


def lessons(below: Path | None = None) -> dict[str, Path]:
    """Return the lessons by two-digit number, in order; `below` is another folder than the book's."""
    found = sorted((below or folder()).glob(f"[0-9][0-9]_*/{LESSON}"))
    return {path.parent.name[:2]: path for path in found}


@cache
def chapters() -> dict[str, Contract]:
    """Return the contracts of all chapters, by number, in the book's order.

    Raises MedallionError for a header that is wrong.
    """
    return {number: of(path, header(path)) for number, path in lessons().items()}


def number_of(text: str) -> str:
    """Return the number of a chapter as the folders have it: "01" for "1".

    Raises MedallionError for an empty text, as of a variable that is not set: it would be chapter 00.
    """
    if not str(text).strip():
        raise MedallionError("The number of the chapter is empty. Give one, such as 01.")
    return str(text).zfill(2)


def find(number: str) -> Path:
    """Return the lesson of chapter `number` ("01" or "1").

    Raises MedallionError when there is no such chapter.
    """
    known = lessons()
    padded = number_of(number)
    if padded not in known:
        raise MedallionError(
            f"There is no chapter {number}. The chapters are {', '.join(known) or 'none yet'}."
        )
    return known[padded]


def read(number: str) -> Contract:
    """Return the contract of chapter `number` ("01" or "1").

    Raises MedallionError when there is no such chapter, and for a header that is wrong.
    """
    return chapters()[find(number).parent.name[:2]]


def maker(table: str) -> str | None:
    """Return the number of the chapter that makes `table`, or None when no chapter does."""
    return next((number for number, one in chapters().items() if table in one.makes), None)


def leaver(name: str) -> str | None:
    """Return the number of the chapter that leaves the folder `name` beside the tables, or None."""
    return next((number for number, one in chapters().items() if name in one.leaves), None)


def how_to_make(name: str) -> str:
    """Return a sentence on who makes a table, or leaves a folder beside them, and by which commands."""
    number = maker(name) or leaver(name)
    if number is None:
        return "No chapter makes it: write it yourself."
    return f"Chapter {number} makes it: `medallion catch-up {number}`, then `medallion run {number}`."


def header(path: Path) -> dict[str, Any]:
    """Return what the header of a lesson says under `jupyter.medallion`.

    Raises MedallionError when the header is missing, is not YAML, or lacks the block.
    """
    lines = []
    with path.open(encoding="utf-8") as source:
        if next(source, "").rstrip() != "# ---":
            raise _wrong(path, "a chapter begins with a header between two lines '# ---'.")
        for line in source:
            if line.rstrip() == "# ---":
                break
            lines.append(line.removeprefix("#").removeprefix(" ").rstrip("\r\n"))
    try:
        return dict(yaml.safe_load("\n".join(lines))["jupyter"]["medallion"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise _wrong(
            path, f"the header must be YAML with a block 'medallion' under 'jupyter' ({error})."
        ) from error


def of(path: Path, front: dict[str, Any]) -> Contract:
    """Return the contract that the header `front` of the lesson `path` states.

    Raises MedallionError when `makes`, `reads` or `leaves` is not what it has to be.
    """
    makes = front.get("makes") or {}
    if "makes" not in front or not isinstance(makes, dict) or not all(map(_is_table_list, makes.values())):
        raise _wrong(
            path,
            "the header lacks 'makes', the tables that the chapter makes and from what. "
            "Add for example 'makes: {silver.orders: [bronze.orders]}', or 'makes: {}'.",
        )
    declared, leaves = front.get("reads") or [], front.get("leaves") or []
    if not _is_table_list(declared):
        raise _wrong(
            path,
            "'reads' lists tables that the chapter needs and makes no table of, as in "
            "'reads: [ml.churn_scores]'.",
        )
    if not isinstance(leaves, list) or not all(map(_is_own_folder, leaves)):
        raise _wrong(
            path,
            "'leaves' lists folders of the lakehouse that this chapter alone makes, as in "
            "'leaves: [mlflow]'. A name has small letters, digits, '_' and '-', and is none of "
            f"{', '.join(sorted(SHARED))}.",
        )
    reads = sorted({*declared, *(source for sources in makes.values() for source in sources)} - set(makes))
    return Contract(path.parent.name[:2], path.parent.name, path, makes, reads, leaves)


def _is_table_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and _TABLE.fullmatch(name) for name in value)


def _is_own_folder(name: Any) -> bool:
    return isinstance(name, str) and bool(_FOLDER.fullmatch(name)) and name not in SHARED


def shown(path: Path) -> str:
    """Return the path of a lesson as messages show it: from the repository's root where it lies inside."""
    full = path.absolute()
    return full.relative_to(paths.root()).as_posix() if full.is_relative_to(paths.root()) else str(path)


def _wrong(path: Path, text: str) -> MedallionError:
    return MedallionError(f"{shown(path)}:1: {text}")
