"""What a chapter declares of itself: its number, its name, and the contract in its front matter.

A chapter is `book/chapters/NN_name.py`. Its header is a YAML block in comments; under
`jupyter.medallion` it says which tables the chapter makes and from what:

    makes:
      silver.orders: [bronze.orders]

Names are `schema.table`; `landing.orders` is the folder that the source files of `orders` arrive in. With a
table stands what it is directly made from, whoever made that: the recorded lineage is compared with it. What
a chapter needs and makes no table of stands under `reads: [ml.churn_scores]`.
What a chapter keeps beside the tables is a folder of the lakehouse, and `leaves: [mlflow]` names it.
Whoever reads a table of that chapter needs the folder too, and may add to it. Columns that differ each time
that the chapter runs, as the id of a run does, stand under `varies: {ml.runs: [run_id]}`.

Only the header is read here, so that starting a session stays quick.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from medallion import paths
from medallion.errors import MedallionError

LANDING = "landing"
# Folders of the lakehouse that are not one chapter's own
SHARED = frozenset(
    {LANDING, "bronze", "silver", "gold", "ml", "checkpoints", "cache", "scratch", "default", "logs"}
)


def folder() -> Path:
    """Return the folder that holds the chapters' sources."""
    return paths.root() / "book" / "chapters"


@cache
def all_chapters() -> dict[str, Path]:
    """Return the chapters in the book's order: their two-digit number and their source."""
    found = sorted(path for path in folder().glob("*.py") if re.match(r"\d\d_", path.name))
    return {path.name[:2]: path for path in found}


def find(number: str) -> Path:
    """Return the source of chapter `number` ("01" or "1").

    Raises MedallionError when there is no such chapter.
    """
    known = all_chapters()
    padded = str(number).zfill(2)
    if padded not in known:
        raise MedallionError(f"There is no chapter {number}. The chapters are {', '.join(known)}.")
    return known[padded]


@cache
def front_matter(path: Path) -> dict[str, Any]:
    """Return what the header of a chapter says under `jupyter.medallion`.

    Raises MedallionError when the header is missing, is not YAML, or lacks the block.
    """
    lines = []
    with path.open(encoding="utf-8") as source:
        if next(source, "").rstrip() != "# ---":
            raise MedallionError(f"{path.name}:1: a chapter begins with a header between two lines '# ---'.")
        for line in source:
            if line.rstrip() == "# ---":
                break
            lines.append(line.removeprefix("#").removeprefix(" ").rstrip("\n"))
    try:
        return yaml.safe_load("\n".join(lines))["jupyter"]["medallion"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise MedallionError(
            f"{path.name}:1: the header must be YAML with a block 'medallion' under 'jupyter' ({error})."
        ) from error


def makes(number: str) -> dict[str, list[str]]:
    """Return the tables that chapter `number` makes, each with the tables or sources it is made from."""
    return front_matter(find(number)).get("makes") or {}


def leaves(number: str) -> list[str]:
    """Return the folders of the lakehouse that chapter `number` leaves beside the tables: `["mlflow"]`.

    Raises MedallionError when its header names something else.
    """
    path = find(number)
    return leaves_of(front_matter(path), path.name)


def leaves_of(front: dict[str, Any], where: str) -> list[str]:
    """Return the folders that the header `front` of the chapter `where` names under `leaves`.

    Raises MedallionError for what is no list of single folder names, and for a folder of all chapters.
    """
    left = front.get("leaves") or []
    if not isinstance(left, list) or not all(
        isinstance(name, str) and re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) and name not in SHARED
        for name in left
    ):
        raise MedallionError(
            f"{where}:1: 'leaves' lists folders of the lakehouse that this chapter alone makes, as in "
            "'leaves: [mlflow]'. A name has small letters, digits, '_' and '-', and is none of "
            f"{', '.join(sorted(SHARED))}."
        )
    return left


def varies(table: str) -> list[str]:
    """Return the columns of `table` that differ each time that its chapter runs.

    Raises MedallionError when the header of that chapter names something else.
    """
    number = maker(table)
    if number is None:
        return []
    path = find(number)
    return varies_of(front_matter(path), path.name).get(table, [])


def varies_of(front: dict[str, Any], where: str) -> dict[str, list[str]]:
    """Return the columns that the header `front` of the chapter `where` names under `varies`, by table.

    Raises MedallionError for what is no list of columns, and for a table that the chapter does not make.
    """
    told = front.get("varies") or {}
    makes = front.get("makes") or {}
    if not isinstance(told, dict) or not all(
        table in makes and isinstance(columns, list) and all(isinstance(column, str) for column in columns)
        for table, columns in told.items()
    ):
        raise MedallionError(
            f"{where}:1: 'varies' lists, for tables that this chapter makes, the columns that differ at each "
            "run, as in 'varies: {ml.runs: [run_id]}'. Write it so."
        )
    return told


def folders(number: str) -> dict[str, str]:
    """Return the folders that chapter `number` needs beside the tables, each with the chapter that leaves it.

    They are what the makers of the tables that it reads leave: who reads scores may load the model.
    """
    makers = sorted({maker(table) or "" for table in needs(number)} - {""})
    return {name: other for other in makers for name in leaves(other)}


def needs(number: str) -> list[str]:
    """Return, sorted, what chapter `number` reads and does not make itself.

    Raises MedallionError when its header says under `reads` what is no list of tables.
    """
    path = find(number)
    return needs_of(front_matter(path), path.name)


def needs_of(front: dict[str, Any], where: str) -> list[str]:
    """Return, sorted, what the header `front` of the chapter `where` reads and does not make.

    Raises MedallionError when it says under `reads` what is no list of tables.
    """
    read, made = front.get("reads") or [], front.get("makes") or {}
    if not isinstance(read, list) or not all(
        isinstance(name, str) and re.fullmatch(r"\w+\.\w+", name) for name in read
    ):
        raise MedallionError(
            f"{where}:1: 'reads' lists tables that the chapter needs and makes no table of, as in "
            "'reads: [ml.churn_scores]'."
        )
    return sorted({*read, *(source for sources in made.values() for source in sources)} - set(made))


def maker(table: str) -> str | None:
    """Return the number of the chapter that makes `table`, or None when no chapter does."""
    return next((number for number in all_chapters() if table in makes(number)), None)
