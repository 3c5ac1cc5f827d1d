"""What checks need of Spark: the session of the notebook, small frames, and a table for a moment."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from medallion.paths import scratch
from medallion.spark import databricks


def session() -> SparkSession:
    """Return the session of the notebook."""
    return SparkSession.active()


def other_session() -> SparkSession:
    """Return a new session as a stream hands one over: without the views of the notebook's."""
    other = session().newSession()
    other.catalog.setCurrentCatalog(session().catalog.currentCatalog())
    return other


def arrow_of(table: str) -> Any:
    """Return the rows of a small table of the schema scratch, as an Arrow table.

    On a laptop Spark does not read it: it takes a second for the few rows of a table that has just changed.
    """
    if databricks.chosen():
        return session().table(table).toArrow()
    from deltalake import DeltaTable

    return DeltaTable(str(scratch() / table.removeprefix("scratch."))).to_pyarrow_table()


def frame_of(rows: Iterable[Sequence[Any]], schema: str) -> DataFrame:
    """Return a frame of some rows in memory, with a schema in DDL."""
    return session().createDataFrame([tuple(row) for row in rows], schema)


def missing(answer: Any, columns: Iterable[str]) -> str | None:
    """Say that an answer is no DataFrame, or which of the columns it lacks or has twice; None for neither."""
    if not isinstance(answer, DataFrame):
        return other_kind(answer, "a DataFrame")
    for column in columns:
        if column not in answer.columns:
            return f"The column {column} is missing; yours are {', '.join(answer.columns)}."
        if answer.columns.count(column) > 1:
            return f"Your rows have the column {column} more than once. Keep one of them."
    return None


def other_kind(answer: Any, expected: str) -> str:
    """Say what a learner's function returned in the place of what was `expected`: "a DataFrame"."""
    if answer is None:
        return f"Your function returned nothing. Does it end with return? It should return {expected}."
    shown = "a DataFrame" if isinstance(answer, DataFrame) else repr(answer)
    return f"Your function returned {shown}. It should return {expected}."


@contextmanager
def scratch_table(schema: str, rows: Sequence[tuple[Any, ...]] = ()) -> Iterator[str]:
    """Make a scratch table with a schema in DDL for the length of the block, and yield its name."""
    name = f"scratch.check_{uuid.uuid4().hex[:8]}"
    if rows:
        session().createDataFrame(rows, schema).write.saveAsTable(name)
    else:
        session().sql(f"CREATE TABLE {name} ({schema}) USING delta")
    try:
        yield name
    finally:
        session().sql(f"DROP TABLE IF EXISTS {name}")
