"""Memory that the algorithms of GraphFrames take, given back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

__all__ = ["released"]


@contextmanager
def released(spark: SparkSession) -> Iterator[None]:
    """Give back, at the end of the block, the memory that was taken within it.

    GraphX, which runs most algorithms of GraphFrames, leaves the graphs of its last steps in memory. Save
    or collect a result before the block ends. What was cached earlier stays.
    """
    context = spark.sparkContext._jsc  # no public way leads to the RDDs that the JVM keeps
    before = set(context.getPersistentRDDs())
    try:
        yield
    finally:
        for number, kept in dict(context.getPersistentRDDs()).items():
            if number not in before:
                kept.unpersist()
