"""The catalog of a session: every table of the lakehouse, known to Spark under its name.

A session registers them in its in-memory catalog as it starts, so two notebooks never wait for each other's
metastore.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medallion import paths
from medallion.contract import SCHEMAS
from medallion.lakehouse import tables, view_files
from medallion.spark import views

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def sql_text(path: Path) -> str:
    """Return a path as it stands between single quotes in SQL."""
    return str(path).replace("\\", "\\\\").replace("'", "\\'")


def register(spark: "SparkSession") -> None:
    """Make every table that is there known to `spark`, as a managed table of its schema, and every view.

    Tables and views that this session knows already are left as they are. One whose folder is gone, removed
    by a `medallion reset` in a terminal, is forgotten.
    """
    known = set()
    for schema in SCHEMAS:
        place = sql_text(paths.home() / schema)
        spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema} LOCATION '{place}'")
        known |= {f"{schema}.{name}" for name in _external(spark).listTables(schema).mkString("\n").split()}
    present = tables.present()
    for name in known.difference(present):
        _forget_if_gone(spark, name)
    new = [table for table in present if table not in known]
    if new:
        _register(spark, new)
    views.recreate(spark, [view for schema in SCHEMAS for view in view_files.kept(schema)])


def _external(spark: "SparkSession") -> Any:
    return spark._jsparkSession.sharedState().externalCatalog()


def _forget_if_gone(spark: "SparkSession", name: str) -> None:
    """Remove a table from the catalog when its folder is not there any more; a view has none and stays."""
    record = _external(spark).getTable(*name.split("."))
    place = record.storage().locationUri()
    if place.isEmpty() or Path(place.get().getPath()).exists():
        return
    jvm: Any = spark._jvm
    # As one that is elsewhere: with a managed table Spark would remove what another process makes there now
    elsewhere = jvm.org.apache.spark.sql.catalyst.catalog.CatalogTableType.EXTERNAL()
    _external(spark).alterTable(_copier(record)(tableType=elsewhere))
    spark.sql(f"DROP TABLE {tables.quoted(name)}")


def _register(spark: "SparkSession", names: list[str]) -> None:
    """Register the folders of tables as managed tables, so that DROP TABLE also removes their files.

    SQL can only register a folder that holds data as an external table, and takes a twentieth of a second
    for each. In the in-memory catalog a table is an immutable record that says nothing of its columns,
    which are in the Delta log. So one record made by SQL is the pattern for all.
    """
    first = names[0]
    pattern = adopt(spark, first, tables.folder(first))
    record, identifier, storage = map(_copier, (pattern, pattern.identifier(), pattern.storage()))
    catalog = _external(spark)
    jvm: Any = spark._jvm
    some = jvm.scala.Option.apply
    managed = _managed(spark)
    for name in names[1:]:
        schema, _, table = name.partition(".")
        place = jvm.java.net.URI("file", None, str(tables.folder(name)), None)
        registered = record(
            identifier=identifier(table=table, database=some(schema)),
            tableType=managed,
            storage=storage(locationUri=some(place)),
        )
        catalog.createTable(registered, True)  # True: another thread of this session may have been quicker


def adopt(spark: "SparkSession", name: str, folder: Path) -> Any:
    """Register a folder that holds a Delta table as a managed table; return its record, still external."""
    spark.sql(f"CREATE TABLE {tables.quoted(name)} USING delta LOCATION '{sql_text(folder)}'")
    found = _external(spark).getTable(*name.split("."))
    _external(spark).alterTable(_copier(found)(tableType=_managed(spark)))
    return found


def _managed(spark: "SparkSession") -> Any:
    jvm: Any = spark._jvm
    return jvm.org.apache.spark.sql.catalyst.catalog.CatalogTableType.MANAGED()


def _copier(record: Any) -> Callable[..., Any]:
    """Return a function that copies a Scala case class with the fields changed that it is given by name."""
    names = record.productElementNames().mkString(",").split(",")
    values = {name: record.productElement(place) for place, name in enumerate(names)}
    return lambda **changes: record.copy(*(values | changes).values())
