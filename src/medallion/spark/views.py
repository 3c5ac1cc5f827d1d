"""The views of the lakehouse: the statements that make them, kept as text beside the tables.

A view lives in the catalog of a session, and that catalog ends with the session. What is kept is a file
`<home>/<schema>/<view>.view.sql`: the statement that makes the view, after two lines that say what it is.
`start` runs the statement again.

    -- gold.sales_metrics, kept by medallion.keep_view: each session makes it anew as it starts.
    -- {"fields": [{"name": "channel", "type": "string", ...}], "type": "struct"}
    CREATE OR REPLACE VIEW gold.sales_metrics ...
"""

import json
import re
import warnings
from typing import TYPE_CHECKING, Any

from medallion import files
from medallion.errors import MedallionError
from medallion.lakehouse import tables, view_files
from medallion.spark import databricks, tracebacks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

# What Spark's log says of a view that a session makes anew, by which lineage tells it from one that is made
REGISTERING = "medallion registers the views that are kept"
_STATEMENT = re.compile(r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?VIEW\s+(\w+\.\w+)(?=[\s(])(.*)", re.DOTALL | re.I)
_NOT_THERE = "TABLE_OR_VIEW_NOT_FOUND"


def keep_view(statement: str) -> None:
    """Keep the statement that has made a view, so that later sessions have the view too.

    It begins with `CREATE VIEW gold.sales_metrics` or the like, and names its tables in full too, as in
    `gold.fact_sales`. `medallion reset` removes what is kept of the views that a chapter makes. On
    Databricks, where the catalog keeps views itself, this does nothing.

    Raises MedallionError when this session has no such view, or when another could not make it.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    if databricks.is_elsewhere():
        return
    spark = SparkSession.getActiveSession()
    if spark is None:
        raise MedallionError("No session runs. Begin with `spark = medallion.start()`.")
    found = _STATEMENT.match(statement)
    if found is None:
        raise MedallionError(
            "This statement makes no view of a schema. Begin it with CREATE VIEW, schema and view, as in "
            "CREATE VIEW gold.sales_metrics."
        )
    name, rest = found[1], found[2].strip()
    if name in tables.present() or not spark.catalog.tableExists(name):
        raise MedallionError(
            f"This session has no view {name}. Make it first, with spark.sql and the statement."
        )
    # With no schema in use, as a later session will be; and under another name, since Spark 4.2 replaces no
    # metric view.
    fresh, proof = spark.newSession(), f"{name}_to_be_kept"
    try:
        fresh.sql(f"CREATE VIEW {proof}\n{rest}")
        schema = json.dumps(_described(fresh.table(proof).schema), ensure_ascii=False)
        fresh.sql(f"DROP VIEW {proof}")
    except (PySparkException, Py4JError) as error:
        raise MedallionError(
            f"A new session could not make {name}: {tracebacks.message(error).splitlines()[0]} "
            "Name its tables in full in the definition, as in gold.fact_sales."
        ) from error
    head = f"-- {name}, kept by medallion.keep_view: each session makes it anew as it starts."
    files.write_text(view_files.path(name), f"{head}\n-- {schema}\nCREATE OR REPLACE VIEW {name}\n{rest}\n")


def recreate(spark: "SparkSession", names: list[str]) -> None:
    """Make the kept views `names` anew in `spark`, those aside that it knows already.

    A view whose tables are not there is left out. Any other definition that fails is told in a warning
    that names its file; nothing is raised, so that a session starts whatever the files hold.
    """
    waiting = [name for name in names if not spark.catalog.tableExists(tables.quoted(name))]
    if not waiting:
        return
    spark.sparkContext.setJobDescription(REGISTERING)
    while failed := {name: error for name in waiting if (error := _make(spark, name))}:
        if len(failed) == len(waiting):
            break
        waiting = list(failed)  # a view on a view may find it now
    spark.sparkContext.setJobDescription(None)  # type: ignore[arg-type]  # it may be None
    for name, error in failed.items():
        if tracebacks.reason(error) != _NOT_THERE:
            said = tracebacks.message(error).strip().splitlines()[0]
            warnings.warn(
                f"{view_files.path(name)} does not make the view {name}: {said} "
                "Fix it, or remove it and run the chapter that makes the view.",
                stacklevel=4,  # the cell that calls `start`
            )


def _make(spark: "SparkSession", name: str) -> Exception | None:
    """Run the statement of a kept view, and return what it failed with."""
    try:
        statement = re.sub(r"\A(--.*\n)*", "", view_files.path(name).read_text(encoding="utf-8"))
        if not statement.startswith(f"CREATE OR REPLACE VIEW {name}\n"):
            raise MedallionError(f"its statement does not begin with CREATE OR REPLACE VIEW {name}.")
        spark.sql(statement)
    except Exception as error:  # whatever Spark, Java or the file system make of somebody's text
        return error
    return None


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
