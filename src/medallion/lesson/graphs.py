"""A graph as two DataFrames, checked before GraphFrames sees it, and memory given back afterwards.

Vertices have a column `id`; edges have `src`, `dst` and `kind`. Ids are strings.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from medallion.errors import MedallionError

__all__ = ["released", "require_graph", "set_aside"]


def set_aside(vertices: DataFrame, edges: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Return the edges that may stay, and the others with the first `reason` that holds.

    `no end`: src or dst is NULL. `self-loop`: both are the same. `unknown vertex`: one of them is not
    among the ids of the vertices. `repeated`: src, dst and kind were there already; one of them stays.
    """
    known = vertices.select("id").where("id IS NOT NULL").distinct()
    rest = [name for name in edges.columns if name not in ("src", "dst", "kind")]
    again = Window.partitionBy("src", "dst", "kind").orderBy(F.struct(*rest) if rest else F.lit(0))
    judged = (
        edges.withColumn("_copy", F.row_number().over(again))
        .join(known.select(F.col("id").alias("_src")), F.expr("src = _src"), "left")
        .join(known.select(F.col("id").alias("_dst")), F.expr("dst = _dst"), "left")
        .withColumn(
            "reason",
            F.expr("""CASE WHEN src IS NULL OR dst IS NULL THEN 'no end'
                WHEN src = dst THEN 'self-loop'
                WHEN _src IS NULL OR _dst IS NULL THEN 'unknown vertex'
                WHEN _copy > 1 THEN 'repeated' END"""),
        )
    )
    kept = judged.where("reason IS NULL").select(*edges.columns)
    return kept, judged.where("reason IS NOT NULL").select(*edges.columns, "reason")


def require_graph(vertices: DataFrame, edges: DataFrame) -> None:
    """Raise MedallionError when the vertices and edges are no graph, with each fault and its count.

    A graph has vertices with one id each, and edges that `set_aside` would let stay.
    """
    counts = vertices.agg(F.expr("count_if(id IS NULL)"), F.expr("count(id) - count(DISTINCT id)")).collect()[
        0
    ]
    told = ("vertices without an id", "vertices whose id is there already")
    faults = [f"{count} {fault}" for count, fault in zip(counts, told, strict=True) if count]
    refused = set_aside(vertices, edges)[1]
    counted = refused.groupBy("reason").agg(
        F.count("*").alias("edges"),
        F.expr("min(concat(coalesce(src, 'NULL'), ' -> ', coalesce(dst, 'NULL')))").alias("first"),
    )
    faults += [
        f"{row.edges} edges: {row.reason} ({row.first})" for row in counted.orderBy("reason").collect()
    ]
    if faults:
        raise MedallionError(f"This is not a graph yet. It has {'; '.join(faults)}.")


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
