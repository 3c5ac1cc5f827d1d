"""The checks of chapter 08. Small graphs, with the cases that real ones hide."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from medallion.lesson.exercise import FunctionExercise, Verdict, other_kind, same
from medallion.lesson.frames import ANY, LEFT_OUT, Case, FrameExercise, frame_of


class Faults(FrameExercise):
    """Exercise 8.1. Each edge once, with the reason why it is none, or NULL."""

    number = "8.1"
    title = "find the rows that are no edge"
    takes = "a function of two DataFrames, vertices and edges, which returns a DataFrame"
    hints = (
        "Judge the edges in the order of the reasons: an edge without an end has no vertex to look up.",
        "Join the edges to the ids from the left, once by src and once by dst: a vertex that is not there "
        "leaves NULL. Make the ids distinct first, and rename them.",
        "CASE WHEN src IS NULL OR dst IS NULL THEN 'no end' WHEN src = dst THEN 'self-loop' "
        "WHEN s IS NULL OR d IS NULL THEN 'unknown vertex' END, where s and d are the ids that were found.",
    )
    keys = ("src", "dst")
    kinds: ClassVar = {"src": ANY, "dst": ANY, "reason": ANY}
    what = "the edge {src} -> {dst}"
    lost = "In {about} {what} comes out not at all; it should come out once."
    doubled = "In {about} {what} comes out {times}; it should come out once."
    other = "In {about} {what} has the reason {found}; it should be {expected}."
    strange = "In {about} you return {what}, which is not in it."
    praise = "Every edge comes out once, and each that is none says why."
    # What the graph is, its ids, and its edges with their reason
    graphs: ClassVar = (
        (
            "a graph with every fault",
            ("C1", "C2", "D1"),
            (
                ("C1", "D1", None),
                ("C2", "D9", "unknown vertex"),
                ("C9", "D1", "unknown vertex"),
                ("C8", "D8", "unknown vertex"),
                ("C1", None, "no end"),
                (None, "D1", "no end"),
                (None, None, "no end"),
                ("C2", "C2", "self-loop"),
                ("C7", "C7", "self-loop"),
            ),
        ),
        ("a graph with one vertex", ("C1",), (("C1", "C1", "self-loop"), ("C1", "D1", "unknown vertex"))),
        (
            "a graph with an id twice, and one that is NULL",
            ("C1", "C1", "D1", None),
            (("C1", "D1", None), ("C1", None, "no end")),
        ),
        ("a graph without edges", ("C1", "D1"), ()),
    )

    def check(self, answer: Any) -> Verdict:
        # All graphs side by side take one query, and the empty one another. Only an answer that is wrong
        # there meets them one by one.
        case = self.together()
        empty = next(one for one in self.cases() if not one.rows)
        wrong = self.wrong_in(self.answered(answer, case), case)
        wrong = wrong or self.wrong_in(self.answered(answer, empty), empty)
        if not wrong:
            return self.right(self.praise)
        apart = super().check(answer)
        return self.wrong(wrong) if apart.ok else apart

    def together(self) -> Case:
        """Return one case of all graphs, each with ids of its own."""

        def own(graph: int, ids: Iterable[str | None]) -> list[str | None]:
            return [one and f"{one} of graph {graph}" for one in ids]

        graphs = [*enumerate(self.graphs)]
        ids = [one for n, (_, ids, _) in graphs for one in own(n, ids)]
        edges = [(*own(n, ends), reason) for n, (*_, edges) in graphs for *ends, reason in edges]
        return self.case("all graphs together", ids, edges)

    def cases(self) -> Iterator[Case]:
        for about, ids, edges in self.graphs:
            yield self.case(about, ids, edges)

    def case(self, about: str, ids: Iterable[str | None], edges: Sequence[tuple[Any, ...]]) -> Case:
        """Return the case of a graph."""
        vertices = frame_of([(one,) for one in ids], "id STRING")
        given = vertices, frame_of(edges, "src STRING, dst STRING")
        return Case(given, [(*edge, "") for edge in edges], about)


class Shared(FrameExercise):
    """Exercise 8.2. The things that several customers used before a day."""

    number = "8.2"
    title = "find the things that customers share"
    takes = "a function of a DataFrame and a day, which returns a DataFrame"
    hints = (
        "A customer who pays twice with one card is still one customer.",
        "Keep what is before the day, group by thing, and count the different customers.",
        'uses.where(F.col("paid_at") < day).groupBy("thing")'
        '.agg(F.countDistinct("customer_id").alias("customers")), then keep those with more than one.',
    )
    keys = ("thing",)
    kinds: ClassVar = {"thing": ANY, "customers": ANY}
    what = "{thing}"
    lost = "{what} is missing, and it is shared: {why}."
    doubled = "{what} comes out {times}; it should come out once."
    other = "{what} has {found} customers in your answer; it should be {expected}: {why}."
    left_out = "You return {what} with {found}; it is not shared: {why}."
    strange = "You return {what} with {found}; nobody used it."
    praise = "A thing is shared when different customers have used it by then."
    day = "2025-12-01"
    uses = (
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
    only_one = ("D2", LEFT_OUT, "only C1 used it")
    rows = (
        ("D1", 2, "two customers used it, one of them twice"),
        only_one,
        ("D3", LEFT_OUT, f"before {day} only C3 used it"),
        ("D4", 3, "three customers used it"),
        (None, LEFT_OUT, "a payment without a card shares nothing"),
    )

    def cases(self) -> Iterator[Case]:
        for uses, rows in ((self.uses, self.rows), (self.uses[3:5], [self.only_one]), ((), ())):
            frame = frame_of(uses, "customer_id STRING, thing STRING, paid_at TIMESTAMP")
            yield Case((frame, self.day), rows)


class SamePartition(FunctionExercise):
    """Exercise 8.3. Two labelings that put the same vertices together."""

    number = "8.3"
    title = "compare two partitions of a graph"
    takes = "a function of two dictionaries from a vertex to its label"
    hints = (
        "Forget the labels. Which vertices are together?",
        "Turn each dictionary into the set of its groups: one frozenset of vertices for each label.",
        "groups = {}; for vertex, label in left.items(): groups.setdefault(label, set()).add(vertex); "
        "then compare {frozenset(group) for group in groups.values()} of both.",
    )
    # What the pair is, the two labelings, and whether they are the same partition
    cases = (
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

    returns = "True or False"
    kind = bool
    other = "For {about}, {given[0]} and {given[1]}, the answer is {expected}; yours is {found}."
    praise = "Names of groups are labels; what counts is who is together."


class KnownSharers(FrameExercise):
    """Exercise 8.4. How many of a thing's customers are known for fraud, as of a moment."""

    number = "8.4"
    title = "count known sharers as of a moment"
    takes = "a function of the DataFrames uses and disputes and a moment, which returns a DataFrame"
    hints = (
        "Two things have to be in the past: the use, and the arrival of the dispute.",
        "Make both sides distinct before you join them, or somebody with two disputes counts twice. "
        "A thing whose customers are all unknown to the disputes stays, with 0.",
        'known = disputes.where(F.col("arrived_at") <= moment).select("customer_id").distinct()'
        '.withColumn("bad", F.lit(1)), then the distinct uses before the moment, joined to it from the left.',
    )
    keys = ("thing",)
    kinds: ClassVar = {"thing": ANY, "customers": ANY, "known": ANY}
    what = "{thing}"
    lost = "{what} comes out not at all; it should come out once.{about}"
    doubled = "{what} comes out {times}; it should come out once.{about}"
    other = (
        "{what} has {mine[customers]} customers, {mine[known]} of them known, in your answer; "
        "it should be {ours[customers]} and {ours[known]}: {why}.{about}"
    )
    left_out = "You return {what}, and {why}.{about}"
    strange = "You return {what}, and it was never used.{about}"
    praise = "Only what had happened and had arrived is counted, and everybody once."
    day = "2025-12-01"
    uses = (
        ("C1", "D1", "2025-11-01"),
        ("C1", "D1", "2025-11-08"),
        ("C2", "D1", "2025-11-02"),
        ("C3", "D1", "2025-12-05"),
        ("C2", "D2", "2025-11-02"),
        ("C4", "D3", "2025-11-03"),
        ("C5", "D3", "2025-12-01"),
        ("C3", "D4", "2025-12-05"),
    )
    disputes = (
        ("C1", "2025-11-20"),
        ("C1", "2025-12-01"),
        ("C3", "2025-11-20"),
        ("C4", "2025-12-30"),
        ("C2", "2025-12-30"),
        ("C9", "2025-11-20"),
    )
    unused = ("D4", LEFT_OUT, "nobody has used it by then")
    rows = (
        unused,
        ("D1", 2, 1, "C1 and C2 have used it by then, and of them C1 is known, by two disputes"),
        ("D2", 1, 0, "C2 has used it, and the dispute of C2 comes later"),
        (
            *("D3", 1, 0),
            "C4 has used it by then, and the dispute of C4 comes later; C5 uses it at the moment itself",
        ),
    )
    nobody_known = (
        unused,
        ("D1", 2, 0, "nobody is known"),
        ("D2", 1, 0, "nobody is known"),
        ("D3", 1, 0, "nobody is known"),
    )

    def cases(self) -> Iterator[Case]:
        for uses, disputes, rows, about in (
            (self.uses, self.disputes, self.rows, ""),
            (self.uses, (), self.nobody_known, " Here there are no disputes."),
            ((), self.disputes, (), ""),
        ):
            used = frame_of(uses, "customer_id STRING, thing STRING, paid_at TIMESTAMP")
            disputed = frame_of(disputes, "customer_id STRING, arrived_at TIMESTAMP")
            yield Case((used, disputed, self.day), rows, about)


class Measured(FunctionExercise):
    """Exercise 8.5. Precision and recall of members, and how many rings were found whole."""

    number = "8.5"
    title = "measure precision and recall of rings"
    takes = "a function of two lists of sets, found and rings"
    hints = (
        "Precision and recall are about customers: put all the sets of each list together first.",
        "Nobody found means no precision, which is None and not 0. A ring is whole if all its members are in "
        "one of the sets found.",
        "hits = len(set().union(*found) & set().union(*rings)); a ring is whole if "
        "any(ring <= group for group in found).",
    )
    # What the case is, found, rings, and (precision, recall, whole)
    cases = (
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

    returns = "precision, recall and the number of whole rings"
    kind = list
    praise = "Members are counted once, and a ring in pieces is not whole."

    def differs(self, about: str, given: list[Any], found: Any, expected: tuple[Any, ...]) -> str | None:
        if len(found) != len(expected):
            return other_kind(found, self.returns)
        names = ("precision", "recall", "number of whole rings")
        for name, value, right in zip(names, found, expected, strict=True):
            if not same(value, right):
                return (
                    f"For {about} (found {_sets(given[0])}, rings {_sets(given[1])}) the {name} is "
                    f"{_number(right)}; yours is {_number(value)}."
                )
        return None


def _sets(groups: Sequence[set[str]]) -> str:
    return " and ".join("{" + ", ".join(sorted(group)) + "}" for group in groups) or "none"


def _number(value: float | None) -> str:
    return "None" if value is None else f"{value:.2f}".removesuffix(".00")


faults = Faults()
shared = Shared()
same_partition = SamePartition()
known_sharers = KnownSharers()
measured = Measured()
