"""What is no graph is refused, with its reason; and the memory of an algorithm is given back."""

import pytest
from pyspark.sql import DataFrame, SparkSession

from medallion.errors import MedallionError
from medallion.lesson import graphs


def vertices(spark: SparkSession, *ids: str | None) -> DataFrame:
    return spark.createDataFrame([(one,) for one in ids], "id STRING")


def edges(spark: SparkSession, *pairs: tuple[str | None, str | None]) -> DataFrame:
    rows = [(src, dst, "uses", number) for number, (src, dst) in enumerate(pairs)]
    return spark.createDataFrame(rows, "src STRING, dst STRING, kind STRING, times INT")


@pytest.mark.parametrize(
    ("edge", "reason"),
    [
        (("C1", "D9"), "unknown vertex"),
        (("C9", "D1"), "unknown vertex"),
        (("C1", "C1"), "self-loop"),
        (("C9", "C9"), "self-loop"),
        (("C1", None), "no end"),
        ((None, "D1"), "no end"),
        ((None, None), "no end"),
        (("C1", "D1"), "repeated"),
    ],
)
def test_an_edge_that_is_none_is_set_aside(
    spark: SparkSession, edge: tuple[str | None, str | None], reason: str
) -> None:
    kept, refused = graphs.set_aside(vertices(spark, "C1", "D1"), edges(spark, ("C1", "D1"), edge))
    assert [tuple(row) for row in kept.collect()] == [("C1", "D1", "uses", 0)]
    assert [tuple(row) for row in refused.collect()] == [(*edge, "uses", 1, reason)]


def test_the_same_ends_may_be_tied_in_two_ways(spark: SparkSession) -> None:
    tie = edges(spark, ("C1", "D1"))
    other = spark.createDataFrame([("C1", "D1", "owns", 1)], tie.schema)
    kept, refused = graphs.set_aside(vertices(spark, "C1", "D1"), tie.union(other))
    assert (kept.count(), refused.count()) == (2, 0)


def test_an_id_that_is_null_makes_no_unknown_vertex_known(spark: SparkSession) -> None:
    _, refused = graphs.set_aside(vertices(spark, "C1", None), edges(spark, ("C1", None), ("C1", "D1")))
    assert sorted(row.reason for row in refused.collect()) == ["no end", "unknown vertex"]


def test_the_guard_names_every_fault(spark: SparkSession) -> None:
    with pytest.raises(MedallionError) as refused:
        graphs.require_graph(
            vertices(spark, "C1", "C1", "D1", None),
            edges(spark, ("C1", "D9"), ("C1", "C1"), (None, "D1"), ("C1", "D1"), ("C1", "D1")),
        )
    assert str(refused.value) == (
        "This is not a graph yet. It has 1 vertices without an id; 1 vertices whose id is there already; "
        "1 edges: no end (NULL -> D1); 1 edges: repeated (C1 -> D1); 1 edges: self-loop (C1 -> C1); "
        "1 edges: unknown vertex (C1 -> D9)."
    )


@pytest.mark.parametrize("ids", [(), ("C1",), ("C1", "D1")])
def test_a_graph_without_edges_passes(spark: SparkSession, ids: tuple[str, ...]) -> None:
    graphs.require_graph(vertices(spark, *ids), edges(spark))


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
