"""The checks of chapter 08: the blank, the chapter's own solutions, and what wrong answers are told."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from verdicts import NOT_DONE, wrong

import medallion
from medallion.lakehouse import tables

ch08 = medallion.checks("08")

NO_FRAME = "Your function returned 'x'. It should return a DataFrame."
NAMES = ("faults", "shared", "same_partition", "known_sharers", "measured")


pytestmark = pytest.mark.usefixtures("no_progress")


@pytest.fixture(scope="module")
def chapter(spark: SparkSession, run_cells: Callable[..., dict[str, Any]]) -> SimpleNamespace:
    """The chapter's first cell, which binds spark, and its solutions. None of them reads a table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "require", lambda number: None)
        return SimpleNamespace(**run_cells("08", "setup", "solution"))


@pytest.mark.parametrize("name", NAMES)
def test_blank_and_solution(name: str, chapter: SimpleNamespace) -> None:
    def blank(*_: object) -> object: ...

    exercise = getattr(ch08, name)
    verdict = exercise(blank)
    assert (verdict.state, verdict.message) == ("open", NOT_DONE)
    assert exercise(getattr(chapter, name)).ok


# 8.1 ---------------------------------------------------------------------------------------------

REASON = """CASE WHEN src IS NULL OR dst IS NULL THEN 'no end' WHEN src = dst THEN 'self-loop'
    WHEN s IS NULL OR d IS NULL THEN 'unknown vertex' END"""


def judged(vertices: DataFrame, edges: DataFrame, reason: str = REASON, how: str = "left") -> DataFrame:
    ids = vertices.select("id").distinct()
    found = edges.join(ids.withColumnRenamed("id", "s"), F.expr("src = s"), how)
    found = found.join(ids.withColumnRenamed("id", "d"), F.expr("dst = d"), how)
    return found.withColumn("reason", F.expr(reason)).drop("s", "d")


def inner(vertices: DataFrame, edges: DataFrame) -> DataFrame:
    return judged(vertices, edges, how="inner")


def only_dst(vertices: DataFrame, edges: DataFrame) -> DataFrame:
    return judged(vertices, edges, REASON.replace("s IS NULL OR d IS NULL", "d IS NULL"))


def unknown_first(vertices: DataFrame, edges: DataFrame) -> DataFrame:
    return judged(vertices, edges, "CASE WHEN s IS NULL OR d IS NULL THEN 'unknown vertex' END")


def loops_later(vertices: DataFrame, edges: DataFrame) -> DataFrame:
    reason = """CASE WHEN src IS NULL OR dst IS NULL THEN 'no end'
        WHEN s IS NULL OR d IS NULL THEN 'unknown vertex' WHEN src = dst THEN 'self-loop' END"""
    return judged(vertices, edges, reason)


def ids_twice(vertices: DataFrame, edges: DataFrame) -> DataFrame:
    ids = vertices.select("id")
    found = edges.join(ids.withColumnRenamed("id", "s"), F.expr("src = s"), "left")
    found = found.join(ids.distinct().withColumnRenamed("id", "d"), F.expr("dst = d"), "left")
    return found.withColumn("reason", F.expr(REASON))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda vertices, edges: "x", NO_FRAME),
        (
            lambda vertices, edges: edges,
            "The column reason is missing; yours are src, dst.",
        ),
        (
            inner,
            "In a graph with every fault the edge C2 -> D9 comes out not at all; it should come out once.",
        ),
        (
            only_dst,
            "In a graph with every fault the edge C9 -> D1 has the reason NULL; it should be unknown vertex.",
        ),
        (
            unknown_first,
            "In a graph with every fault the edge C1 -> NULL has the reason unknown vertex; "
            "it should be no end.",
        ),
        (
            loops_later,
            "In a graph with every fault the edge C7 -> C7 has the reason unknown vertex; "
            "it should be self-loop.",
        ),
        (
            ids_twice,
            "In a graph with an id twice, and one that is NULL the edge C1 -> D1 comes out 2 times; "
            "it should come out once.",
        ),
    ],
)
def test_faults_wrong(spark: SparkSession, answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch08.faults(answer)) == told


# 8.2 ---------------------------------------------------------------------------------------------


def counted(uses: DataFrame, when: str, customers: str = "count(DISTINCT customer_id)") -> DataFrame:
    groups = uses.where(when).groupBy("thing").agg(F.expr(customers).alias("customers"))
    return groups.where("customers > 1")


def payments_counted(uses: DataFrame, day: str) -> DataFrame:
    return counted(uses, f"paid_at < '{day}' AND thing IS NOT NULL", "count(*)")


def with_the_day(uses: DataFrame, day: str) -> DataFrame:
    return counted(uses, f"paid_at <= '{day}' AND thing IS NOT NULL")


def with_null(uses: DataFrame, day: str) -> DataFrame:
    return counted(uses, f"paid_at < '{day}'")


def three_or_more(uses: DataFrame, day: str) -> DataFrame:
    return counted(uses, f"paid_at < '{day}' AND thing IS NOT NULL").where("customers > 2")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            payments_counted,
            "D1 has 3 customers in your answer; it should be 2: two customers used it, one of them twice.",
        ),
        (
            with_the_day,
            "You return D3 with 2; it is not shared: before 2025-12-01 only C3 used it.",
        ),
        (with_null, "You return NULL with 2; it is not shared: a payment without a card shares nothing."),
        (three_or_more, "D1 is missing, and it is shared: two customers used it, one of them twice."),
        (
            lambda uses, day: uses.where("false").select("thing"),
            "The column customers is missing; yours are thing.",
        ),
    ],
)
def test_shared_wrong(spark: SparkSession, answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch08.shared(answer)) == told


# 8.3 ---------------------------------------------------------------------------------------------


def sizes_only(left: dict[str, Any], right: dict[str, Any]) -> bool:
    def sizes(labels: dict[str, Any]) -> list[int]:
        held = list(labels.values())
        return sorted(held.count(label) for label in set(held))

    return sizes(left) == sizes(right)


def one_way(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Every group of the left one has one label in the right one."""
    to: dict[Any, Any] = {}
    return all(to.setdefault(label, right.get(vertex)) == right.get(vertex) for vertex, label in left.items())


def common_only(left: dict[str, Any], right: dict[str, Any]) -> bool:
    both = left.keys() & right.keys()
    return all((left[a] == left[b]) == (right[a] == right[b]) for a in both for b in both)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            lambda left, right: left == right,
            "For other labels for the same groups, {'a': 1, 'b': 1, 'c': 2} and {'a': 7, 'b': 7, 'c': 'x'}, "
            "the answer is True; yours is False.",
        ),
        (
            sizes_only,
            "For groups of the same sizes with other members, {'a': 1, 'b': 1, 'c': 2} and "
            "{'a': 1, 'b': 2, 'c': 2}, the answer is False; yours is True.",
        ),
        (
            one_way,
            "For a group that the left one splits, {'a': 1, 'b': 2} and {'a': 1, 'b': 1}, "
            "the answer is False; yours is True.",
        ),
        (
            common_only,
            "For a vertex that the right one lacks, {'a': 1, 'b': 1, 'c': 2} and {'a': 1, 'b': 1}, "
            "the answer is False; yours is True.",
        ),
        (
            lambda left, right: "x",
            "Your function returned 'x'. It should return True or False.",
        ),
    ],
)
def test_same_partition_wrong(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch08.same_partition(answer)) == told


# 8.4 ---------------------------------------------------------------------------------------------


def sharers(
    uses: DataFrame,
    disputes: DataFrame,
    arrived: str,
    used: str,
    how: str = "left",
    once: bool = True,
) -> DataFrame:
    bad = disputes.where(arrived).select("customer_id")
    bad = (bad.distinct() if once else bad).withColumn("bad", F.lit(1))
    before = uses.where(used).select("customer_id", "thing").distinct()
    found = before.join(bad, "customer_id", how)
    return found.groupBy("thing").agg(F.count("*").alias("customers"), F.count("bad").alias("known"))


def ever_known(uses: DataFrame, disputes: DataFrame, moment: str) -> DataFrame:
    return sharers(uses, disputes, "true", f"paid_at < '{moment}'")


def ever_used(uses: DataFrame, disputes: DataFrame, moment: str) -> DataFrame:
    return sharers(uses, disputes, f"arrived_at <= '{moment}'", "true")


def disputes_counted(uses: DataFrame, disputes: DataFrame, moment: str) -> DataFrame:
    return sharers(uses, disputes, f"arrived_at <= '{moment}'", f"paid_at < '{moment}'", once=False)


def known_things_only(uses: DataFrame, disputes: DataFrame, moment: str) -> DataFrame:
    return sharers(uses, disputes, f"arrived_at <= '{moment}'", f"paid_at < '{moment}'", how="inner")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            ever_known,
            "D1 has 2 customers, 2 of them known, in your answer; it should be 2 and 1: "
            "C1 and C2 have used it by then, and of them C1 is known, by two disputes.",
        ),
        (ever_used, "You return D4, and nobody has used it by then."),
        (
            disputes_counted,
            "D1 has 3 customers, 2 of them known, in your answer; it should be 2 and 1: "
            "C1 and C2 have used it by then, and of them C1 is known, by two disputes.",
        ),
        (
            known_things_only,
            "D1 has 1 customers, 1 of them known, in your answer; it should be 2 and 1: "
            "C1 and C2 have used it by then, and of them C1 is known, by two disputes.",
        ),
        (lambda uses, disputes, moment: "x", NO_FRAME),
    ],
)
def test_known_sharers_wrong(spark: SparkSession, answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch08.known_sharers(answer)) == told


# 8.5 ---------------------------------------------------------------------------------------------


def scored(found: list[set[str]], rings: list[set[str]], nobody: float | None = None) -> tuple[Any, Any]:
    listed: set[str] = set().union(*found)
    guilty: set[str] = set().union(*rings)
    hits = len(listed & guilty)
    return (hits / len(listed) if listed else nobody), (hits / len(guilty) if guilty else nobody)


def zero_for_nobody(found: list[set[str]], rings: list[set[str]]) -> Any:
    return *scored(found, rings, 0.0), sum(any(ring <= group for group in found) for ring in rings)


def equal_groups(found: list[set[str]], rings: list[set[str]]) -> Any:
    return *scored(found, rings), sum(ring in found for ring in rings)


def touched(found: list[set[str]], rings: list[set[str]]) -> Any:
    return *scored(found, rings), sum(any(ring & group for group in found) for ring in rings)


def pieces_joined(found: list[set[str]], rings: list[set[str]]) -> Any:
    listed: set[str] = set().union(*found)
    return *scored(found, rings), sum(ring <= listed for ring in rings)


def counted_twice(found: list[set[str]], rings: list[set[str]]) -> Any:
    guilty: set[str] = set().union(*rings)
    listed = [one for group in found for one in group]
    hits = sum(one in guilty for one in listed)
    precision = hits / len(listed) if listed else None
    return precision, scored(found, rings)[1], sum(any(ring <= g for g in found) for ring in rings)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            equal_groups,
            "For a ring found with a stranger (found {a, b, x}, rings {a, b}) the number of whole rings "
            "is 1; yours is 0.",
        ),
        (
            pieces_joined,
            "For a ring found in two parts (found {a, b} and {c, d}, rings {a, b, c, d}) the number of whole "
            "rings is 0; yours is 1.",
        ),
        (
            touched,
            "For a ring found in two parts (found {a, b} and {c, d}, rings {a, b, c, d}) the number of whole "
            "rings is 0; yours is 1.",
        ),
        (
            counted_twice,
            "For groups that overlap (found {a, b} and {b, x}, rings {a, b}) the precision is 0.67; "
            "yours is 0.75.",
        ),
        (
            zero_for_nobody,
            "For nobody found (found none, rings {a, b}) the precision is None; yours is 0.",
        ),
        (
            lambda found, rings: scored(found, rings),
            "Your function returned (1.0, 1.0). It should return precision, recall and the number of whole "
            "rings.",
        ),
    ],
)
def test_measured_wrong(answer: Callable[..., Any], told: str) -> None:
    assert wrong(ch08.measured(answer)) == told
