"""What checks need of Spark: the session of the notebook, and a table for a moment."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pyspark.sql import SparkSession


def session() -> SparkSession:
    """Return the session of the notebook."""
    return SparkSession.active()


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
