"""The views of the lakehouse: their definitions, kept as text beside the tables.

A view lives in the catalog of a session, and that catalog ends with the session. What is kept is a file
`<home>/<schema>/<view>.view.sql`: the statement that makes the view, after two lines that say what it is.
`start` runs the statement again.

    -- gold.sales_metrics, kept by medallion.keep_view: each session makes it anew as it starts.
    -- {"fields": [{"name": "channel", "type": "string", ...}], "type": "struct"}
    CREATE OR REPLACE VIEW gold.sales_metrics ...
"""

import json
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medallion.errors import MedallionError
from medallion.lakehouse import view_files
from medallion.spark import databricks, tracebacks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

# What Spark's log says of a view that a session makes anew, by which lineage tells it from one that is made
REGISTERING = "medallion registers the views that are kept"
_NAME = re.compile(r"\w+\.\w+")
_NOT_THERE = "TABLE_OR_VIEW_NOT_FOUND"


def keep_view(name: str) -> None:
    """Keep the definition of the view `name` ("gold.sales_metrics"), so that later sessions have it too.

    It must be a view that this session has made, plain or with metrics, whose definition names its tables
    in full, as in `gold.fact_sales`. `medallion reset` removes what is kept of the views that a chapter
    makes. On Databricks, where the catalog keeps views itself, this does nothing.

    Raises MedallionError when there is no such view, or when it could not be made again from its text.
    """
    from pyspark.sql import SparkSession

    if databricks.is_elsewhere():
        return
    spark = SparkSession.getActiveSession()
    if spark is None:
        raise MedallionError("No session runs. Begin with `spark = medallion.start()`.")
    if not _NAME.fullmatch(name):
        raise MedallionError(
            f"{name!r} is no name of a view. Give schema and view, as in gold.sales_metrics."
        )
    statement = _statement(spark, name)
    schema = spark.table(name).schema
    _prove(spark, name, statement, schema)
    head = f"-- {name}, kept by medallion.keep_view: each session makes it anew as it starts.\n"
    _write(
        view_files.path(name), f"{head}-- {json.dumps(_described(schema), ensure_ascii=False)}\n{statement}\n"
    )


def recreate(spark: "SparkSession", names: list[str]) -> None:
    """Make the kept views `names` anew in `spark`, those aside that it knows already.

    A view whose tables are not there is left out. Any other definition that fails is told in a warning
    that names its file; nothing is raised, so that a session starts whatever the files hold.
    """
    waiting = [name for name in names if not spark.catalog.tableExists(name)]
    failed: dict[str, Exception] = {}
    if waiting:
        spark.sparkContext.setJobDescription(REGISTERING)
    while waiting:
        failed = {name: error for name in waiting if (error := _make(spark, name))}
        if len(failed) == len(waiting):
            break
        waiting = list(failed)  # a view on a view may find it now
    spark.sparkContext.setJobDescription(None)  # type: ignore[arg-type]  # it may be None
    for name, error in failed.items():
        if tracebacks.reason(error) != _NOT_THERE:
            said = tracebacks.message(error).splitlines()[0]
            warnings.warn(
                f"{view_files.path(name)} does not make the view {name}: {said} "
                "Mend it, or remove it and run the chapter that makes the view.",
                stacklevel=4,  # the cell that calls `start`
            )


def _make(spark: "SparkSession", name: str) -> Exception | None:
    """Run the statement of a kept view, and return what it failed with."""
    try:
        text = view_files.path(name).read_text(encoding="utf-8")
        statement = re.sub(r"\A(--.*\n)*", "", text)
        if not statement.startswith(f"CREATE OR REPLACE VIEW {name}\n"):
            raise MedallionError(f"its statement does not begin with CREATE OR REPLACE VIEW {name}.")
        spark.sql(statement)
    except Exception as error:  # whatever Spark, Java or the file system make of somebody's text
        return error
    return None


def _statement(spark: "SparkSession", name: str) -> str:
    """Return the statement that makes a view of this session, from what the catalog holds of it.

    Raises MedallionError when there is no such view.
    """
    from pyspark.errors import PySparkException

    catalog = spark._jsparkSession.sharedState().externalCatalog()
    try:
        record = catalog.getTable(*name.split("."))
        kind = record.tableType().name()
    except PySparkException:
        kind = ""
    if kind == "METRIC_VIEW":
        said = record.comment()
        comment = f"COMMENT {_quoted(said.get())}\n" if said.isDefined() else ""
        return (
            f"CREATE OR REPLACE VIEW {name}\nWITH METRICS\nLANGUAGE YAML\n{comment}"
            f"AS $$\n{record.viewText().get().strip()}\n$$"
        )
    if kind == "VIEW":
        shown: str = spark.sql(f"SHOW CREATE TABLE {name}").collect()[0][0]
        rest = shown.strip().removeprefix(f"CREATE VIEW {name}").strip()
        return f"CREATE OR REPLACE VIEW {name}\n{rest}"
    found = "is a table, and stays without this" if kind else "is not there"
    raise MedallionError(f"{name} {found}. Give the name of a view that CREATE VIEW has made.")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _prove(spark: "SparkSession", name: str, statement: str, schema: "StructType") -> None:
    """Run `statement` as a new session would, with its own settings and no schema in use.

    It makes a view of another name, which goes again: Spark 4.2 replaces no metric view.
    Raises MedallionError when it fails, or makes a view of other columns than `schema`.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    fresh = spark.newSession()
    proof = f"{name}_to_be_kept"
    try:
        fresh.sql(statement.replace(name, proof, 1))
        made = fresh.table(proof).schema
        fresh.sql(f"DROP VIEW {proof}")
    except (PySparkException, Py4JError) as error:
        raise MedallionError(
            f"A new session could not make {name}: {tracebacks.message(error).splitlines()[0]} "
            "Name its tables in full in the definition, as in gold.fact_sales."
        ) from error
    if [(field.name, field.dataType) for field in made] != [(field.name, field.dataType) for field in schema]:
        raise MedallionError(
            f"A new session would give {name} other columns ({', '.join(made.names)}). "
            "Name the columns in the definition itself."
        )


def _described(schema: "StructType") -> dict[str, Any]:
    """Return a schema as JSON holds it, with what a metric view says of its columns as their comments."""
    described: dict[str, Any] = json.loads(schema.json())
    for field in described["fields"]:
        said = field["metadata"]
        if kind := said.get("metric_view.type"):
            expression = " ".join(said.get("metric_view.expr", "").split())
            mark = "``" if "`" in expression else "`"
            field["metadata"] = {"comment": f"{kind}: {mark}{expression}{mark}"}
    return described


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)
