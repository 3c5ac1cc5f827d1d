"""The checks of chapter 08. Small graphs, with the cases that real ones hide."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from pyspark.sql import DataFrame

from medallion.lesson.exercise import Exercise, Verdict
from medallion.lesson.frames import frame_of, missing, other_kind

Edge = tuple[str | None, str | None]


def _edge(edge: Edge) -> str:
    return " -> ".join("NULL" if end is None else end for end in edge)


class Faults(Exercise):
    """Exercise 8.1. Each edge once, with the reason why it is none, or NULL."""

    number = "8.1"
    title = "what is no edge"
    takes = "a function of two DataFrames, vertices and edges, which returns a DataFrame"
    hints = (
        "Judge the edges in the order of the reasons: an edge without an end has no vertex to look up.",
        "Join the edges to the ids from the left, once by src and once by dst: a vertex that is not there "
        "leaves NULL. Make the ids distinct first, and rename them.",
        "CASE WHEN src IS NULL OR dst IS NULL THEN 'no end' WHEN src = dst THEN 'self-loop' "
        "WHEN s IS NULL OR d IS NULL THEN 'unknown vertex' END, where s and d are the ids that were found.",
    )
    # What the graph is, its ids, and its edges with their reason
    cases: ClassVar[tuple[tuple[str, tuple[str | None, ...], tuple[tuple[Edge, str | None], ...]], ...]] = (
        (
            "a graph with every fault",
            ("C1", "C2", "D1"),
            (
                (("C1", "D1"), None),
                (("C2", "D9"), "unknown vertex"),
                (("C9", "D1"), "unknown vertex"),
                (("C8", "D8"), "unknown vertex"),
                (("C1", None), "no end"),
                ((None, "D1"), "no end"),
                ((None, None), "no end"),
                (("C2", "C2"), "self-loop"),
                (("C7", "C7"), "self-loop"),
            ),
        ),
        ("a graph with one vertex", ("C1",), ((("C1", "C1"), "self-loop"), (("C1", "D1"), "unknown vertex"))),
        (
            "a graph with an id twice, and one that is NULL",
            ("C1", "C1", "D1", None),
            ((("C1", "D1"), None), (("C1", None), "no end")),
        ),
        ("a graph without edges", ("C1", "D1"), ()),
    )

    def check(self, faults: Callable[..., Any]) -> Verdict:
        for about, ids, edges in self.cases:
            vertices = frame_of([(one,) for one in ids], "id STRING")
            answer = faults(vertices, frame_of([edge for edge, _ in edges], "src STRING, dst STRING"))
            if lacking := missing(answer, ("src", "dst", "reason")):
                return self.wrong(lacking)
            found: dict[Edge, list[str | None]] = {}
            for row in answer.select("src", "dst", "reason").collect():
                found.setdefault((row.src, row.dst), []).append(row.reason)
            for edge, reason in edges:
                reasons = found.pop(edge, [])
                if len(reasons) != 1:
                    times = f"{len(reasons)} times" if reasons else "not at all"
                    return self.wrong(
                        f"In {about} the edge {_edge(edge)} comes out {times}; it should come out once."
                    )
                if reasons[0] != reason:
                    return self.wrong(
                        f"In {about} the edge {_edge(edge)} has the reason {reasons[0] or 'NULL'}; "
                        f"it should be {reason or 'NULL'}."
                    )
            if found:
                return self.wrong(
                    f"In {about} you return the edge {_edge(min(found, key=str))}, which is not in it."
                )
        return self.right("Every edge comes out once, and each that is none says why.")


class Shared(Exercise):
    """Exercise 8.2. The things that several customers used before a day."""

    number = "8.2"
    title = "whom do many share?"
    takes = "a function of a DataFrame and a day, which returns a DataFrame"
    hints = (
        "A customer who pays twice with one card is still one customer.",
        "Keep what is before the day, group by thing, and count the different customers.",
        'uses.where(F.col("paid_at") < day).groupBy("thing")'
        '.agg(F.countDistinct("customer_id").alias("customers")), then keep those with more than one.',
    )
    day = "2025-12-01"
    uses: ClassVar[tuple[tuple[str, str | None, str], ...]] = (
        ("C1", "D1", "2025-11-01"),
        ("C2", "D1", "2025-11-05"),
        ("C1", "D1", "2025-11-09"),
        ("C1", "D2", "2025-11-02"),
        ("C1", "D2", "2025-11-03"),
        ("C3", "D3", "2025-11-30"),
        ("C4", "D3", "2025-12-01"),
        ("C5", "D3", "2025-12-02"),
        ("C5", None, "2025-11-02"),
        ("C6", None, "2025-11-03"),
        ("C7", "D4", "2025-11-01"),
        ("C8", "D4", "2025-11-01"),
        ("C9", "D4", "2025-11-30"),
        ("C9", "D4", "2025-12-05"),
    )
    expected: ClassVar[dict[str, int]] = {"D1": 2, "D4": 3}
    why: ClassVar[dict[str | None, str]] = {
        "D1": "two customers used it, one of them twice",
        "D2": "only C1 used it",
        "D3": f"before {day} only C3 used it",
        "D4": "three customers used it",
        None: "a payment without a card shares nothing",
    }

    def check(self, shared: Callable[..., Any]) -> Verdict:
        schema = "customer_id STRING, thing STRING, paid_at TIMESTAMP"
        rows = [(who, thing, datetime.fromisoformat(at)) for who, thing, at in self.uses]
        for some, expected in ((rows, self.expected), (rows[3:5], {}), ([], {})):
            answer = shared(frame_of(some, schema), self.day)
            if lacking := missing(answer, ("thing", "customers")):
                return self.wrong(lacking)
            found = [(row.thing, row.customers) for row in answer.select("thing", "customers").collect()]
            counted = Counter(thing for thing, _ in found)
            for thing, customers in sorted(found, key=str):
                shown = thing or "NULL"
                if counted[thing] > 1:
                    return self.wrong(f"{shown} comes out {counted[thing]} times; it should come out once.")
                if thing not in expected:
                    return self.wrong(
                        f"You return {shown} with {customers}; it is not shared: {self.why[thing]}."
                    )
                if customers != expected[thing]:
                    return self.wrong(
                        f"{shown} has {customers} customers in your answer; it should be {expected[thing]}: "
                        f"{self.why[thing]}."
                    )
            for thing in sorted(expected.keys() - counted.keys()):
                return self.wrong(f"{thing} is missing, and it is shared: {self.why[thing]}.")
        return self.right("A thing is shared when different customers have used it by then.")


class SamePartition(Exercise):
    """Exercise 8.3. Two labelings that put the same vertices together."""

    number = "8.3"
    title = "the same groups, whatever they are called"
    takes = "a function of two dictionaries from a vertex to its label"
    hints = (
        "Forget the labels. Which vertices are together?",
        "Turn each dictionary into the set of its groups: one frozenset of vertices for each label.",
        "groups = {}; for vertex, label in left.items(): groups.setdefault(label, set()).add(vertex); "
        "then compare {frozenset(group) for group in groups.values()} of both.",
    )
    # What the pair is, the two labelings, and whether they are the same partition
    cases: ClassVar[tuple[tuple[str, dict[str, Any], dict[str, Any], bool], ...]] = (
        ("equal labels", {"a": 1, "b": 1, "c": 2}, {"a": 1, "b": 1, "c": 2}, True),
        ("other labels for the same groups", {"a": 1, "b": 1, "c": 2}, {"a": 7, "b": 7, "c": "x"}, True),
        ("labels that have changed places", {"a": 1, "b": 2, "c": 2}, {"a": 2, "b": 1, "c": 1}, True),
        (
            "groups of the same sizes with other members",
            {"a": 1, "b": 1, "c": 2},
            {"a": 1, "b": 2, "c": 2},
            False,
        ),
        ("a group that the left one splits", {"a": 1, "b": 2}, {"a": 1, "b": 1}, False),
        ("a group that the right one splits", {"a": 1, "b": 1}, {"a": 1, "b": 2}, False),
        ("a vertex that the right one lacks", {"a": 1, "b": 1, "c": 2}, {"a": 1, "b": 1}, False),
        ("a vertex that the left one lacks", {"a": 1}, {"a": 1, "b": 2}, False),
        ("one vertex", {"a": 1}, {"a": 0}, True),
        ("no vertices", {}, {}, True),
    )

    def check(self, same_partition: Callable[..., Any]) -> Verdict:
        for about, left, right, same in self.cases:
            answer = same_partition(dict(left), dict(right))
            if not isinstance(answer, bool):
                return self.wrong(other_kind(answer, "True or False"))
            if answer != same:
                return self.wrong(
                    f"For {about}, {left} and {right}, the answer is {same}; yours is {answer}."
                )
        return self.right("Names of groups are labels; what counts is who is together.")


class KnownSharers(Exercise):
    """Exercise 8.4. How many of a thing's customers are known for fraud, as of a moment."""

    number = "8.4"
    title = "what is known of the neighbours"
    takes = "a function of the DataFrames uses and disputes and a moment, which returns a DataFrame"
    hints = (
        "Two things have to be in the past: the use, and the arrival of the dispute.",
        "Make both sides distinct before you join them, or somebody with two disputes counts twice. "
        "A thing whose customers are all unknown to the disputes stays, with 0.",
        'known = disputes.where(F.col("arrived_at") <= moment).select("customer_id").distinct()'
        '.withColumn("bad", F.lit(1)), then the distinct uses before the moment, joined to it from the left.',
    )
    moment = "2025-12-01"
    uses: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("C1", "D1", "2025-11-01"),
        ("C1", "D1", "2025-11-08"),
        ("C2", "D1", "2025-11-02"),
        ("C3", "D1", "2025-12-05"),
        ("C2", "D2", "2025-11-02"),
        ("C4", "D3", "2025-11-03"),
        ("C5", "D3", "2025-12-01"),
        ("C3", "D4", "2025-12-05"),
    )
    disputes: ClassVar[tuple[tuple[str, str], ...]] = (
        ("C1", "2025-11-20"),
        ("C1", "2025-12-01"),
        ("C3", "2025-11-20"),
        ("C4", "2025-12-30"),
        ("C2", "2025-12-30"),
        ("C9", "2025-11-20"),
    )
    expected: ClassVar[dict[str, tuple[int, int]]] = {"D1": (2, 1), "D2": (1, 0), "D3": (1, 0)}
    why: ClassVar[dict[str, str]] = {
        "D1": "C1 and C2 have used it by then, and of them C1 is known, by two disputes",
        "D2": "C2 has used it, and the dispute of C2 comes later",
        "D3": "C4 has used it by then, and the dispute of C4 comes later; C5 uses it at the moment itself",
        "D4": "nobody has used it by then",
    }

    def check(self, known_sharers: Callable[..., Any]) -> Verdict:
        uses = [(who, thing, datetime.fromisoformat(at)) for who, thing, at in self.uses]
        disputes = [(who, datetime.fromisoformat(at)) for who, at in self.disputes]
        nobody = {thing: (customers, 0) for thing, (customers, _) in self.expected.items()}
        for used, disputed, expected in (
            (uses, disputes, self.expected),
            (uses, [], nobody),
            ([], disputes, {}),
        ):
            told = self._wrong_in(known_sharers, used, disputed, expected)
            if told:
                without = " Here there are no disputes." if not disputed else ""
                return self.wrong(f"{told}{without}")
        return self.right("Only what had happened and had arrived is counted, and everybody once.")

    def _wrong_in(
        self,
        known_sharers: Callable[..., Any],
        uses: Sequence[tuple[Any, ...]],
        disputes: Sequence[tuple[Any, ...]],
        expected: Mapping[str, tuple[int, int]],
    ) -> str | None:
        answer = known_sharers(
            frame_of(uses, "customer_id STRING, thing STRING, paid_at TIMESTAMP"),
            frame_of(disputes, "customer_id STRING, arrived_at TIMESTAMP"),
            self.moment,
        )
        if lacking := missing(answer, ("thing", "customers", "known")):
            return lacking
        assert isinstance(answer, DataFrame)
        found: dict[str, list[tuple[int, int]]] = {}
        for row in answer.select("thing", "customers", "known").collect():
            found.setdefault(row.thing, []).append((row.customers, row.known))
        for thing in sorted(found.keys() - expected.keys()):
            return f"You return {thing}, and {self.why['D4'] if thing == 'D4' else 'it was never used'}."
        for thing, pair in expected.items():
            rows = found.get(thing, [])
            if len(rows) != 1:
                times = f"{len(rows)} times" if rows else "not at all"
                return f"{thing} comes out {times}; it should come out once."
            if rows[0] != pair:
                has, ought = rows[0], f"{pair[0]} and {pair[1]}"
                why = self.why[thing] if disputes else "nobody is known"
                return (
                    f"{thing} has {has[0]} customers, {has[1]} of them known, in your answer; "
                    f"it should be {ought}: {why}."
                )
        return None


class Measured(Exercise):
    """Exercise 8.5. Precision and recall of members, and how many rings were found whole."""

    number = "8.5"
    title = "how good is a list of rings?"
    takes = "a function of two lists of sets, found and rings"
    hints = (
        "Precision and recall are about customers: put all the sets of each list together first.",
        "Nobody found means no precision, which is None and not 0. A ring is whole if all its members are in "
        "one of the sets found.",
        "hits = len(set().union(*found) & set().union(*rings)); a ring is whole if "
        "any(ring <= group for group in found).",
    )
    # What the case is, found, rings, and (precision, recall, whole)
    cases: ClassVar[
        tuple[tuple[str, list[set[str]], list[set[str]], tuple[float | None, float | None, int]], ...]
    ] = (
        ("two rings found exactly", [{"a", "b"}, {"c", "d"}], [{"c", "d"}, {"a", "b"}], (1.0, 1.0, 2)),
        ("a ring found with a stranger", [{"a", "b", "x"}], [{"a", "b"}], (2 / 3, 1.0, 1)),
        ("a ring found in two parts", [{"a", "b"}, {"c", "d"}], [{"a", "b", "c", "d"}], (1.0, 1.0, 0)),
        ("a ring of which one member is missing", [{"a", "b", "c"}], [{"a", "b", "c", "d"}], (1.0, 0.75, 0)),
        ("two rings in one group", [{"a", "b", "c", "d"}], [{"a", "b"}, {"c", "d"}], (1.0, 1.0, 2)),
        ("a family", [{"x", "y", "z"}, {"a", "b"}], [{"a", "b"}], (0.4, 1.0, 1)),
        ("groups that overlap", [{"a", "b"}, {"b", "x"}], [{"a", "b"}], (2 / 3, 1.0, 1)),
        ("nobody found", [], [{"a", "b"}], (None, 0.0, 0)),
        ("no rings", [{"x", "y"}], [], (0.0, None, 0)),
    )

    def check(self, measured: Callable[..., Any]) -> Verdict:
        names = ("precision", "recall", "number of whole rings")
        for about, found, rings, expected in self.cases:
            answer = measured([set(group) for group in found], [set(ring) for ring in rings])
            if not isinstance(answer, tuple | list) or len(answer) != 3:
                return self.wrong(other_kind(answer, "precision, recall and the number of whole rings"))
            for name, value, right in zip(names, answer, expected, strict=True):
                if value is not right and (
                    value is None or right is None or abs(float(value) - right) > 1e-6
                ):
                    return self.wrong(
                        f"For {about} (found {_sets(found)}, rings {_sets(rings)}) the {name} is "
                        f"{_number(right)}; yours is {_number(value)}."
                    )
        return self.right("Members are counted once, and a ring in pieces is not whole.")


def _sets(groups: Sequence[set[str]]) -> str:
    return " and ".join("{" + ", ".join(sorted(group)) + "}" for group in groups) or "none"


def _number(value: float | None) -> str:
    return (
        "None"
        if value is None
        else f"{float(value):g}"
        if float(value).is_integer()
        else f"{float(value):.2f}"
    )


faults = Faults()
shared = Shared()
same_partition = SamePartition()
known_sharers = KnownSharers()
measured = Measured()
