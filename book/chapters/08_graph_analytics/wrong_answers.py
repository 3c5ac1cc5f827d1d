"""Answers to the exercises of chapter 08 that are wrong, and what each is told; and others that are right.

`tests/chapters/test_every_chapter.py` says how the rows are read.
"""

import operator

import numpy as np
from pyspark.sql import functions as F

NO_FRAME = "Your function returned 'x'. It should return a DataFrame."

# 8.1

NO_END = "WHEN src IS NULL OR dst IS NULL THEN 'no end'"
LOOP = "WHEN src = dst THEN 'self-loop'"
UNKNOWN = "WHEN s IS NULL OR d IS NULL THEN 'unknown vertex'"


def judged(*cases, how="left", ids=lambda vertices: vertices.distinct()):
    """Return an answer to 8.1: edges joined to the `ids` of both ends, and a CASE of these conditions."""

    def answer(vertices, edges):
        s, d = (vertices.selectExpr(f"id AS {end}") for end in "sd")
        found = edges.join(ids(s), F.expr("src = s"), how)
        found = found.join(d.distinct(), F.expr("dst = d"), how)
        return found.withColumn("reason", F.expr(f"CASE {' '.join(cases)} END"))

    return answer


# 8.2


def counted(when, count="count(DISTINCT customer_id)", least=2):
    """Return an answer to 8.2: a count for each thing of what is used `when`; {day} stands for the day."""
    return lambda uses, day: (
        uses.where(when.format(day=day))
        .groupBy("thing")
        .agg(F.expr(count).alias("customers"))
        .where(f"customers >= {least}")
    )


# 8.3


def sizes_only(left, right):
    def sizes(labels):
        held = list(labels.values())
        return sorted(held.count(label) for label in set(held))

    return sizes(left) == sizes(right)


def one_way(left, right):
    """Every group of the left one has one label in the right one."""
    to = {}
    return all(to.setdefault(label, right.get(at)) == right.get(at) for at, label in left.items())


def common_only(left, right):
    both = left.keys() & right.keys()
    return all((left[a] == left[b]) == (right[a] == right[b]) for a in both for b in both)


def pair_by_pair(left, right):
    return left.keys() == right.keys() and common_only(left, right)


# 8.4


def sharers(arrived, used, how="left", once=True):
    """Return an answer to 8.4: what was `used`, joined to disputes that have `arrived` by the {moment}."""

    def answer(uses, disputes, moment):
        bad = disputes.where(arrived.format(moment=moment)).select("customer_id")
        bad = (bad.distinct() if once else bad).withColumn("bad", F.lit(1))
        before = uses.where(used.format(moment=moment)).select("customer_id", "thing").distinct()
        found = before.join(bad, "customer_id", how)
        return found.groupBy("thing").agg(F.count("*").alias("customers"), F.count("bad").alias("known"))

    return answer


ARRIVED, USED = "arrived_at <= '{moment}'", "paid_at < '{moment}'"

# 8.5


def united(groups):
    return set().union(*groups)


def measures(whole, nobody=None, members=united):
    """Return an answer to 8.5.

    `whole` says whether a ring is found, `nobody` is the share of no one, and `members` lists those found.
    """

    def share(some, guilty):
        return sum(one in guilty for one in some) / len(some) if some else nobody

    def answer(found, rings):
        precision = share(members(found), united(rings))
        recall = share(united(rings), united(found))
        return precision, recall, sum(whole(ring, found) for ring in rings)

    return answer


def in_one_group(ring, found):
    return any(ring <= group for group in found)


WRONG = [
    ("faults", lambda vertices, edges: "x", NO_FRAME),
    ("faults", lambda vertices, edges: edges, "The column reason is missing; yours are src, dst."),
    (
        "faults",
        judged(NO_END, LOOP, UNKNOWN, how="inner"),
        "In a graph with every fault the edge C2 -> D9 comes out not at all; it should come out once.",
    ),
    (
        "faults",
        judged(NO_END, LOOP, "WHEN d IS NULL THEN 'unknown vertex'"),
        "In a graph with every fault the edge C9 -> D1 has the reason NULL; it should be unknown vertex.",
    ),
    (
        "faults",
        judged(UNKNOWN),
        "In a graph with every fault the edge C1 -> NULL has the reason unknown vertex; it should be no end.",
    ),
    (
        "faults",
        judged(NO_END, UNKNOWN, LOOP),
        "In a graph with every fault the edge C7 -> C7 has the reason unknown vertex; "
        "it should be self-loop.",
    ),
    (
        "faults",
        judged(NO_END, LOOP, UNKNOWN, ids=lambda vertices: vertices),
        "In a graph with an id twice, and one that is NULL the edge C1 -> D1 comes out 2 times; "
        "it should come out once.",
    ),
    (
        "shared",
        counted("paid_at < '{day}' AND thing IS NOT NULL", count="count(*)"),
        "D1 has 3 customers in your answer; it should be 2: two customers used it, one of them twice.",
    ),
    (
        "shared",
        counted("paid_at <= '{day}' AND thing IS NOT NULL"),
        "You return D3 with 2; it is not shared: before 2025-12-01 only C3 used it.",
    ),
    (
        "shared",
        counted("paid_at < '{day}'"),
        "You return NULL with 2; it is not shared: a payment without a card shares nothing.",
    ),
    (
        "shared",
        counted("paid_at < '{day}' AND thing IS NOT NULL", least=3),
        "D1 is missing, and it is shared: two customers used it, one of them twice.",
    ),
    (
        "shared",
        lambda uses, day: uses.where("false").select("thing"),
        "The column customers is missing; yours are thing.",
    ),
    (
        "same_partition",
        operator.eq,
        "For other labels for the same groups, {'a': 1, 'b': 1, 'c': 2} and {'a': 7, 'b': 7, 'c': 'x'}, "
        "the answer is True; yours is False.",
    ),
    (
        "same_partition",
        sizes_only,
        "For groups of the same sizes with other members, {'a': 1, 'b': 1, 'c': 2} and "
        "{'a': 1, 'b': 2, 'c': 2}, the answer is False; yours is True.",
    ),
    (
        "same_partition",
        one_way,
        "For a group that the left one splits, {'a': 1, 'b': 2} and {'a': 1, 'b': 1}, "
        "the answer is False; yours is True.",
    ),
    (
        "same_partition",
        common_only,
        "For a vertex that the right one lacks, {'a': 1, 'b': 1, 'c': 2} and {'a': 1, 'b': 1}, "
        "the answer is False; yours is True.",
    ),
    (
        "same_partition",
        lambda left, right: "x",
        "Your function returned 'x'. It should return True or False.",
    ),
    (
        "known_sharers",
        sharers("true", USED),
        "D1 has 2 customers, 2 of them known, in your answer; it should be 2 and 1: "
        "C1 and C2 have used it by then, and of them C1 is known, by two disputes.",
    ),
    ("known_sharers", sharers(ARRIVED, "true"), "You return D4, and nobody has used it by then."),
    (
        "known_sharers",
        sharers(ARRIVED, USED, once=False),
        "D1 has 3 customers, 2 of them known, in your answer; it should be 2 and 1: "
        "C1 and C2 have used it by then, and of them C1 is known, by two disputes.",
    ),
    (
        "known_sharers",
        sharers(ARRIVED, USED, how="inner"),
        "D1 has 1 customers, 1 of them known, in your answer; it should be 2 and 1: "
        "C1 and C2 have used it by then, and of them C1 is known, by two disputes.",
    ),
    ("known_sharers", lambda uses, disputes, moment: "x", NO_FRAME),
    (
        "measured",
        measures(lambda ring, found: ring in found),
        "For a ring found with a stranger (found {a, b, x}, rings {a, b}) the number of whole rings "
        "is 1; yours is 0.",
    ),
    (
        "measured",
        measures(lambda ring, found: ring <= united(found)),
        "For a ring found in two parts (found {a, b} and {c, d}, rings {a, b, c, d}) the number of whole "
        "rings is 0; yours is 1.",
    ),
    (
        "measured",
        measures(lambda ring, found: any(ring & group for group in found)),
        "For a ring found in two parts (found {a, b} and {c, d}, rings {a, b, c, d}) the number of whole "
        "rings is 0; yours is 1.",
    ),
    (
        "measured",
        measures(in_one_group, members=lambda groups: [one for group in groups for one in group]),
        "For groups that overlap (found {a, b} and {b, x}, rings {a, b}) the precision is 0.67; "
        "yours is 0.75.",
    ),
    (
        "measured",
        measures(in_one_group, nobody=0.0),
        "For nobody found (found none, rings {a, b}) the precision is None; yours is 0.",
    ),
    (
        "measured",
        lambda found, rings: measures(in_one_group)(found, rings)[:2],
        "Your function returned (1.0, 1.0). It should return precision, recall and the number of whole "
        "rings.",
    ),
]


def the_other_way(found, rings):
    """Count with NumPy, from the last to the first."""
    precision, recall, whole = measures(in_one_group)(found[::-1], rings[::-1])
    return precision if precision is None else np.float64(precision), recall, np.int64(whole)


RIGHT = [
    (
        "faults",
        lambda vertices, edges: judged(NO_END, LOOP, UNKNOWN)(vertices, edges).select("reason", "dst", "src"),
    ),
    ("faults", judged(NO_END, LOOP, UNKNOWN, ids=lambda ids: ids.groupBy("s").count())),
    ("shared", counted("paid_at < '{day}' AND thing > ''", "size(collect_set(customer_id))")),
    ("shared", counted("paid_at < to_date('{day}') AND thing IS NOT NULL")),
    ("same_partition", pair_by_pair),
    ("same_partition", lambda left, right: np.bool_(pair_by_pair(left, right))),
    ("known_sharers", sharers(ARRIVED, USED)),
    (
        "known_sharers",
        lambda *given: sharers(ARRIVED, USED)(*given).selectExpr("int(known) AS known", "customers", "thing"),
    ),
    ("measured", the_other_way),
    ("measured", lambda found, rings: [*measures(in_one_group)(found, rings)]),
]
