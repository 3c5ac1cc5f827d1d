"""The memory of an algorithm is given back."""

import pytest
from pyspark.sql import DataFrame, SparkSession

from medallion.lesson import graphs


def vertices(spark: SparkSession, *ids: str) -> DataFrame:
    return spark.createDataFrame([(one,) for one in ids], "id STRING")


def edges(spark: SparkSession, *pairs: tuple[str, str]) -> DataFrame:
    return spark.createDataFrame([*pairs], "src STRING, dst STRING")


def test_one_vertex_is_a_component(spark: SparkSession) -> None:
    from graphframes import GraphFrame

    found = GraphFrame(vertices(spark, "C1"), edges(spark)).connectedComponents(algorithm="graphx")
    assert [row.id for row in found.collect()] == ["C1"]


def test_memory_is_given_back_and_what_was_there_stays(spark: SparkSession) -> None:
    from graphframes import GraphFrame

    context = spark.sparkContext._jsc
    mine = vertices(spark, "C1", "C2", "D1").localCheckpoint()
    before = set(context.getPersistentRDDs())
    graph = GraphFrame(mine, edges(spark, ("C1", "D1"), ("C2", "D1")))
    with graphs.released(spark):
        found = graph.connectedComponents(algorithm="graphx")
        assert len({row.component for row in found.collect()}) == 1
        assert set(context.getPersistentRDDs()) - before
    assert set(context.getPersistentRDDs()) == before
    assert mine.count() == 3


def test_memory_is_given_back_after_an_error(spark: SparkSession) -> None:
    before = set(spark.sparkContext._jsc.getPersistentRDDs())
    with pytest.raises(ValueError, match="stop"), graphs.released(spark):
        vertices(spark, "C1").localCheckpoint()
        raise ValueError("stop")
    assert set(spark.sparkContext._jsc.getPersistentRDDs()) == before
