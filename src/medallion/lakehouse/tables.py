"""The tables of the lakehouse: folders `<home>/<schema>/<table>`, and what each chapter needs of them.

A view has a file there instead, which keeps its definition: see `view_files`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from medallion import contract, paths
from medallion.contract import SCHEMAS, Contract
from medallion.errors import MedallionError
from medallion.lakehouse import view_files

# What the chapters were seen to do; no chapter makes it. `run --lineage` writes it
LINEAGE = "gold.lineage"
# As Spark names tables, and their folders: in small letters. What else is there, such as a copy, is no table
_NAME = re.compile(r"[a-z0-9_]+")
_FULL_NAME = re.compile(r"\w+\.\w+")


def folder(table: str) -> Path:
    """Return the folder of `table` ("bronze.orders"), or of a source ("landing.orders").

    Raises MedallionError for what is no name of a table.
    """
    if not _FULL_NAME.fullmatch(table):
        raise MedallionError(f"{table!r} is no name of a table. Give schema and table, as in bronze.orders.")
    schema, _, name = table.partition(".")
    return paths.home() / schema / name


def quoted(name: str) -> str:
    """Return the name of a table or a view as SQL takes it whatever it is: `bronze`.`2025`."""
    return ".".join(f"`{part}`" for part in name.split("."))


def exists(table: str) -> bool:
    """Return whether a Delta table has its first commit, or a source has arrived at all.

    A view is there when its definition is kept, and what its chapter says it is made from is there too.
    """
    place = folder(table)
    if table.startswith(f"{contract.LANDING}."):
        return place.is_dir() and any(place.iterdir())
    return _is_delta(place) or (is_view(table) and all(exists(source) for source in _made_from(table)))


def is_view(table: str) -> bool:
    """Return whether `table` is no Delta table, but a view whose definition is kept."""
    return view_files.path(table).exists() and not _is_delta(folder(table))


def _made_from(table: str) -> list[str]:
    maker = contract.maker(table)
    return contract.read(maker).makes[table] if maker else []


def _is_delta(place: Path) -> bool:
    log = place / "_delta_log"
    return log.is_dir() and any(log.glob("*.json"))


def present() -> list[str]:
    """Return the Delta tables that are there, sorted, as `schema.table`. Views are not among them."""
    return sorted(
        f"{schema}.{place.name}"
        for schema in SCHEMAS
        for place in (paths.home() / schema).glob("*")
        if _NAME.fullmatch(place.name) and _is_delta(place)
    )


def missing(chapter: Contract) -> dict[str, str | None]:
    """Return what a chapter reads and what is not there: tables and sources, and then folders.

    Each comes with the chapter that makes it, or None for a source. Folders are those beside the tables, as
    that of the runs and models.
    """
    read = {table: contract.maker(table) for table in chapter.reads if not exists(table)}
    return read | {name: maker for name, maker in chapter.folders.items() if not is_left(name)}


def is_left(name: str) -> bool:
    """Return whether the folder `name`, which a chapter leaves beside the tables, holds something."""
    place = paths.home() / name
    return place.is_dir() and any(place.iterdir())


def require(chapter: Contract) -> None:
    """Check that what a chapter reads is there: tables, sources, and folders beside them.

    Raises MedallionError that names what is missing, who makes it, and the command that catches up.
    """
    absent = missing(chapter)
    if not absent:
        return
    # Where tables are missing too, they are enough to say
    absent = {name: maker for name, maker in absent.items() if "." in name} or absent
    are = "is" if len(absent) == 1 else "are"
    if all(table.startswith(f"{contract.LANDING}.") for table in absent):
        raise MedallionError(
            f"Chapter {chapter.number} reads the source files in {paths.landing()}, and {_listed(absent)} "
            f"{are} not there. Make the files with `medallion data`."
        )
    # Catching up makes the source files too
    made = {name: maker for name, maker in absent.items() if maker}
    makers = sorted(set(made.values()))
    make = f"chapter {makers[0]} makes" if len(makers) == 1 else f"chapters {_listed(makers)} make"
    raise MedallionError(
        f"Chapter {chapter.number} reads {_listed(made)}, which {make}. "
        f"Catch up with `medallion catch-up {chapter.number}`."
    )


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def rows(table: str) -> int:
    """Return the number of rows of a Delta table, read from its log without Spark.

    Raises MedallionError for a view, which holds none.
    """
    from deltalake import DeltaTable

    if is_view(table):
        raise MedallionError(f"{table} is a view: it holds no rows. Count those of a query on it.")
    return DeltaTable(str(folder(table))).count()


def checkpoints(number: str) -> Path:
    """Return the folder for the streaming checkpoints of chapter `number`."""
    return paths.home() / "checkpoints" / contract.number_of(number)
