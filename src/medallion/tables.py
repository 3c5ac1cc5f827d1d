"""The tables of the lakehouse: folders `<home>/<schema>/<table>`, and what each chapter needs of them.

A view has a file there instead, which keeps its definition: see `views`.

A session registers them in its in-memory catalog as it starts, so two notebooks never wait for each
other's metastore. The contracts come from the chapters' headers.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medallion import before, chapters, paths, views
from medallion.errors import MedallionError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMAS = ("bronze", "silver", "gold", "ml")
# What the chapters were seen to do; no chapter makes it. See `lineage.table`
LINEAGE = "gold.lineage"


def folder(table: str) -> Path:
    """Return the folder of `table` ("bronze.orders"), or of a source ("landing.orders")."""
    schema, _, name = table.partition(".")
    return paths.home() / schema / name


def exists(table: str) -> bool:
    """Return whether a Delta table has its first commit, or a source has arrived at all.

    A view is there when its definition is kept, and what its chapter says it is made from is there too.
    """
    place = folder(table)
    if table.startswith(f"{chapters.LANDING}."):
        return place.is_dir() and any(place.iterdir())
    return _is_delta(place) or (is_view(table) and all(exists(source) for source in _made_from(table)))


def is_view(table: str) -> bool:
    """Return whether `table` is no Delta table, but a view whose definition is kept."""
    return views.path(table).exists() and not _is_delta(folder(table))


def _made_from(table: str) -> list[str]:
    maker = chapters.maker(table)
    return chapters.makes(maker)[table] if maker else []


def _is_delta(place: Path) -> bool:
    log = place / "_delta_log"
    return log.is_dir() and any(log.glob("*.json"))


def present() -> list[str]:
    """Return the Delta tables that are there, sorted, as `schema.table`. Views are not among them."""
    return sorted(
        f"{schema}.{place.name}"
        for schema in SCHEMAS
        for place in (paths.home() / schema).glob("*")
        if _is_delta(place)
    )


def missing(number: str) -> dict[str, str | None]:
    """Return what chapter `number` reads and what is not there: tables and sources, and then folders.

    Each comes with the chapter that makes it, or None for a source. Folders are those beside the tables, as
    that of the runs and models.
    """
    read = {table: chapters.maker(table) for table in chapters.needs(number) if not exists(table)}
    return read | {name: maker for name, maker in chapters.folders(number).items() if not is_left(name)}


def is_left(name: str) -> bool:
    """Return whether the folder `name`, which a chapter leaves beside the tables, holds something."""
    place = paths.home() / name
    return place.is_dir() and any(place.iterdir())


def require(number: str) -> None:
    """Check that what chapter `number` reads is there: tables, sources, and folders beside them.

    Raises MedallionError that names what is missing, who makes it, and the command that catches up.
    """
    absent = missing(number)
    if not absent:
        return
    # Where tables are missing too, they are enough to say
    absent = {name: maker for name, maker in absent.items() if "." in name} or absent
    padded = number.zfill(2)
    are = "is" if len(absent) == 1 else "are"
    if all(table.startswith(f"{chapters.LANDING}.") for table in absent):
        raise MedallionError(
            f"Chapter {padded} reads the source files in {paths.landing()}, and {_listed(absent)} "
            f"{are} not there. Make the files with `medallion data`."
        )
    # Catching up makes the source files too
    made = {name: maker for name, maker in absent.items() if maker}
    makers = sorted(set(made.values()))
    make = f"chapter {makers[0]} makes" if len(makers) == 1 else f"chapters {_listed(makers)} make"
    raise MedallionError(
        f"Chapter {padded} reads {_listed(made)}, which {make}. Catch up with `medallion catch-up {padded}`."
    )


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def sql_text(path: Path) -> str:
    """Return a path as it stands between single quotes in SQL."""
    return str(path).replace("\\", "\\\\").replace("'", "\\'")


def register(spark: "SparkSession") -> None:
    """Make every table that is there known to `spark`, as a managed table of its schema, and every view.

    Tables and views that this session knows already are left as they are.
    """
    catalog = spark._jsparkSession.sharedState().externalCatalog()
    known = set()
    for schema in SCHEMAS:
        place = sql_text(paths.home() / schema)
        spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema} LOCATION '{place}'")
        known |= {f"{schema}.{name}" for name in catalog.listTables(schema).mkString("\n").split("\n")}
    new = [table for table in present() if table not in known]
    if new:
        _register(spark, new)
    views.recreate(spark, [view for schema in SCHEMAS for view in views.kept(schema)])


def _register(spark: "SparkSession", names: list[str]) -> None:
    """Register the folders of tables as managed tables, so that DROP TABLE also removes their files.

    SQL can only register a folder that holds data as an external table, and takes a twentieth of a second
    for each. In the in-memory catalog a table is an immutable record that says nothing of its columns,
    which are in the Delta log. So one record made by SQL is the pattern for all.
    """
    first = names[0]
    spark.sql(f"CREATE TABLE {first} USING delta LOCATION '{sql_text(folder(first))}'")
    catalog = spark._jsparkSession.sharedState().externalCatalog()
    pattern = catalog.getTable(*first.split("."))
    record, identifier, storage = map(_copier, (pattern, pattern.identifier(), pattern.storage()))
    jvm: Any = spark._jvm
    some = jvm.scala.Option.apply
    managed = jvm.org.apache.spark.sql.catalyst.catalog.CatalogTableType.MANAGED()
    catalog.alterTable(record(tableType=managed))
    for name in names[1:]:
        schema, _, table = name.partition(".")
        place = jvm.java.net.URI("file", None, str(folder(name)), None)
        registered = record(
            identifier=identifier(table=table, database=some(schema)),
            tableType=managed,
            storage=storage(locationUri=some(place)),
        )
        catalog.createTable(registered, True)  # True: another thread of this session may have been quicker


def _copier(record: Any) -> Callable[..., Any]:
    """Return a function that copies a Scala case class with the fields changed that it is given by name."""
    names = record.productElementNames().mkString(",").split(",")
    values = {name: record.productElement(place) for place, name in enumerate(names)}
    return lambda **changes: record.copy(*(values | changes).values())


def rows(table: str) -> int:
    """Return the number of rows of a Delta table, read from its log without Spark.

    Raises MedallionError for a view, which holds none.
    """
    from deltalake import DeltaTable

    if is_view(table):
        raise MedallionError(f"{table} is a view: it holds no rows. Count those of a query on it.")
    return DeltaTable(str(folder(table))).count()


def reset(number: str) -> list[str]:
    """Return the lakehouse to the state before chapter `number`, and return the tables and folders that went.

    What that chapter and all later ones make is removed: tables, kept views, checkpoints, and the folders
    that they leave beside these. What they added to a folder of an earlier chapter, as runs and models in
    `mlflow`, goes too: the copy that was kept as they started takes its place (see `before` for when there
    is none). gold.lineage loses what it says of these chapters. Source files stay, and so does what no
    chapter makes.
    Raises MedallionError for no chapter, and when a header names folders that are not its chapter's own.
    """
    first = chapters.find(number).name[:2]
    undone = [other for other in chapters.all_chapters() if other >= first]
    left = {later: chapters.leaves(later) for later in undone}  # a wrong header is told before anything goes
    gone = _forget_lineage(undone)
    for later in undone:
        for table in chapters.makes(later):
            held = [place for place in (folder(table), views.path(table)) if place.exists()]
            for place in held:
                _remove(place)
            if held:
                gone.append(table)
        if checkpoints(later).exists():
            _remove(checkpoints(later))
        for name in left[later]:
            if (paths.home() / name).exists():
                _remove(paths.home() / name)
                gone.append(name)
    for name, copy in before.copies(first).items():
        if (paths.home() / name).exists():
            _remove(paths.home() / name)
        copy.rename(paths.home() / name)
    for copy in before.kept(first):
        _remove(copy)
    return gone


def _forget_lineage(undone: Iterable[str]) -> list[str]:
    """Remove from gold.lineage what it says of chapters; return its name when nothing is left of it."""
    if not exists(LINEAGE):
        return []
    from medallion.lineage import table

    if table.forget(undone):
        return []
    _remove(folder(LINEAGE))
    return [LINEAGE]


def _remove(place: Path) -> None:
    """Remove a folder or a file so that a kill half-way leaves no half of it where it was."""
    bin_ = paths.home() / "cache" / "removed"
    bin_.mkdir(parents=True, exist_ok=True)
    shutil.move(place, bin_ / f"{place.parent.name}-{place.name}-{os.getpid()}-{time.time_ns()}")
    shutil.rmtree(bin_, ignore_errors=True)


def checkpoints(number: str) -> Path:
    """Return the folder for the streaming checkpoints of chapter `number`."""
    return paths.home() / "checkpoints" / number.zfill(2)
