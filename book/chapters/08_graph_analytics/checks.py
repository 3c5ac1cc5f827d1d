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
    keys = ("src", "dst", "times")
    kinds: ClassVar = {"src": ANY, "dst": ANY, "times": ANY, "reason": ANY}
    what = "the edge {src} -> {dst}"
    lost = "In {about} {what} with times {ours[times]} comes out not at all; it should come out once."
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
                ("C1", "D1", None),
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
        counted = [(src, dst, times) for times, (src, dst, _) in enumerate(edges, 1)]
        given = vertices, frame_of(counted, "src STRING, dst STRING, times INT")
        rows = [(src, dst, times, reason, "") for times, (src, dst, reason) in enumerate(edges, 1)]
        return Case(given, rows, about)


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
        ("C10", "D5", "2025-11-30 23:59:59"),
        ("C11", "D5", "2025-11-30 12:00:00"),
        ("C5", None, "2025-11-02"),
        ("C6", None, "2025-11-03"),
        ("C7", "D4", "2025-11-01"),
        ("C8", "D4", "2025-11-01"),
        ("C9", "D4", "2025-11-30"),
        ("C9", "D4", "2025-12-05"),
        ("C12", "D6", "2025-07-05"),
        ("C13", "D6", "2025-07-20"),
    )
    only_one = ("D2", LEFT_OUT, "only C1 used it")
    in_july = ("D6", 2, "two customers used it in July")
    rows = (
        ("D1", 2, "two customers used it, one of them twice"),
        only_one,
        ("D3", LEFT_OUT, f"before {day} only C3 used it"),
        ("D4", 3, "three customers used it"),
        ("D5", 2, f"two customers used it on the day before {day}"),
        in_july,
        (None, LEFT_OUT, "a payment without a card shares nothing"),
    )

    def cases(self) -> Iterator[Case]:
        later = "2025-12-03"
        on_another_day = (
            ("D1", 2, "two customers used it, one of them twice"),
            self.only_one,
            ("D3", 3, f"before {later} three customers used it"),
            ("D4", 3, "three customers used it"),
            ("D5", 2, f"two customers used it before {later}"),
            self.in_july,
            (None, LEFT_OUT, "a payment without a card shares nothing"),
        )
        for uses, day, rows in (
            (self.uses, self.day, self.rows),
            (self.uses, later, on_another_day),
            (self.uses[3:5], self.day, [self.only_one]),
            ((), self.day, ()),
        ):
            frame = frame_of(uses, "customer_id STRING, thing STRING, paid_at TIMESTAMP")
            yield Case((frame, day), rows)


class Measured(FunctionExercise):
    """Exercise 8.3. Precision and recall of members, and how many rings were found whole."""

    number = "8.3"
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
        ("rings that share a member", [{"a", "b"}], [{"a", "b"}, {"b", "c"}], (1.0, 2 / 3, 1)),
        ("a ring in two groups", [{"a", "b"}, {"a", "b", "x"}], [{"a", "b"}], (2 / 3, 1.0, 1)),
        ("nobody found and no rings", [], [], (None, None, 0)),
        ("a group found without members", [set()], [{"a", "b"}], (None, 0.0, 0)),
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
                ours, mine = _number(right), _number(value)
                if ours == mine:  # rounded
                    ours, mine = f"{right:.6g}", f"{value:.6g}"
                return (
                    f"For {about} (found {_sets(given[0])}, rings {_sets(given[1])}) the {name} is "
                    f"{ours}; yours is {mine}."
                )
        return None


class SamePartition(FunctionExercise):
    """Exercise 8.4. Two labelings that put the same vertices together."""

    number = "8.4"
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
        (
            "equal groups in another order of the vertices",
            {"a": 1, "b": 1, "c": 2},
            {"c": 2, "a": 1, "b": 1},
            True,
        ),
        (
            "other groups in another order of the vertices",
            {"a": 1, "b": 1, "c": 2},
            {"b": 2, "c": 2, "a": 1},
            False,
        ),
        ("another vertex with the same label", {"a": 1, "b": 1}, {"a": 1, "c": 1}, False),
        ("a label that is 0", {"a": 0, "b": 1}, {"a": 1, "b": 0}, True),
        ("one vertex", {"a": 1}, {"a": 0}, True),
        ("no vertices", {}, {}, True),
        ("no vertices on the right", {"a": 1}, {}, False),
        ("groups of one, and another vertex", {"a": 1, "b": 2}, {"a": 1, "c": 2}, False),
        (
            "two members that have changed places",
            {"a": 1, "b": 1, "d": 1, "c": 2, "e": 2},
            {"a": 1, "b": 1, "e": 1, "c": 2, "d": 2},
            False,
        ),
        ("names that look alike when they are joined", {"a": 1, "bc": 1}, {"ab": 1, "c": 1}, False),
    )

    returns = "True or False"
    kind = bool
    other = "For {about}, {given[0]} and {given[1]}, the answer is {expected}; yours is {found}."
    praise = "Names of groups are labels; what counts is who is together."


class KnownSharers(FrameExercise):
    """Exercise 8.5. How many of a thing's customers are known for fraud, as of a moment."""

    number = "8.5"
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
        ("C2", "D1", "2025-12-05"),
        ("C2", "D2", "2025-11-02"),
        ("C4", "D3", "2025-11-03"),
        ("C5", "D3", "2025-12-01"),
        ("C3", "D4", "2025-12-05"),
        ("C6", "D5", "2025-11-03"),
        ("C7", "D5", "2025-11-04"),
        ("C8", "D5", "2025-11-30 23:59:59"),
        ("C9", "D6", "2025-11-05"),
        ("C1", "D6", "2025-11-06"),
    )
    disputes = (
        ("C1", "2025-11-20"),
        ("C1", "2025-12-01"),
        ("C1", "2025-12-30"),
        ("C3", "2025-11-20"),
        ("C4", "2025-12-30"),
        ("C2", "2025-12-30"),
        ("C9", "2025-11-20"),
        ("C6", "2025-12-01"),
        ("C7", "2025-12-01 00:00:01"),
        ("C10", "2025-11-20"),
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
        (
            *("D5", 3, 1),
            "C6, C7 and C8 have used it by then; the dispute of C6 arrives at the moment itself, and that of "
            "C7 a second later",
        ),
        ("D6", 2, 2, "C9 and C1 have used it by then, and both are known"),
    )
    later = "2025-12-06"
    rows_later = (
        ("D1", 3, 2, "C1, C2 and C3 have used it by then, and C1 and C3 are known"),
        ("D2", 1, 0, "C2 has used it, and the dispute of C2 comes later"),
        ("D3", 2, 0, "C4 and C5 have used it by then, and the dispute of C4 comes later"),
        ("D4", 1, 1, "C3 has used it by then, and is known"),
        ("D5", 3, 2, "C6, C7 and C8 have used it by then, and C6 and C7 are known"),
        ("D6", 2, 2, "C9 and C1 have used it by then, and both are known"),
    )
    nobody_known = (
        unused,
        ("D1", 2, 0, "nobody is known"),
        ("D2", 1, 0, "nobody is known"),
        ("D3", 1, 0, "nobody is known"),
        ("D5", 3, 0, "nobody is known"),
        ("D6", 2, 0, "nobody is known"),
    )

    def cases(self) -> Iterator[Case]:
        then = f" Here the moment is {self.later}."
        for uses, disputes, moment, rows, about in (
            (self.uses, self.disputes, self.day, self.rows, ""),
            (self.uses, (), self.day, self.nobody_known, " Here there are no disputes."),
            (self.uses, self.disputes, self.later, self.rows_later, then),
            ((), self.disputes, self.day, (), ""),
        ):
            used = frame_of(uses, "customer_id STRING, thing STRING, paid_at TIMESTAMP")
            disputed = frame_of(disputes, "customer_id STRING, arrived_at TIMESTAMP")
            yield Case((used, disputed, moment), rows, about)


class RowsOf(FunctionExercise):
    """Exercise 8.6. The rows of groups that were drawn with replacement."""

    number = "8.6"
    title = "draw whole groups"
    takes = "a function of two lists, groups and drawn"
    hints = (
        "A row is not drawn by itself. First find out which rows each group has.",
        "Collect the positions of each group in a dictionary, with enumerate. Then go through drawn, not "
        "through the rows: what is drawn twice comes twice.",
        "places = {}; for place, group in enumerate(groups): places.setdefault(group, []).append(place); "
        "then [place for group in drawn for place in places.get(group, [])].",
    )
    # What the draw is, the groups, what is drawn, and the positions
    cases = (
        ("a draw of one group", ["a", "b", "a", "c"], ["a"], [0, 2]),
        ("a group that is drawn twice", ["a", "b", "a"], ["a", "b", "a"], [0, 2, 1, 0, 2]),
        ("a group that is drawn twice in a row", ["a", "b", "a"], ["a", "a"], [0, 2, 0, 2]),
        ("groups drawn in another order than their rows", ["a", "b", "c"], ["c", "a"], [2, 0]),
        ("a group whose rows are apart", ["b", "a", "b", "a", "b"], ["b", "a"], [0, 2, 4, 1, 3]),
        ("a name without rows", ["a", "b"], ["x", "b"], [1]),
        ("a name that is the beginning of another", ["a", "ab", "a"], ["ab", "a"], [1, 0, 2]),
        ("nothing drawn", ["a", "b"], [], []),
        ("no rows", [], ["a"], []),
    )

    returns = "a list of positions"
    kind = list
    other = "For {about}, groups {given[0]} and drawn {given[1]}, the rows are {expected}; yours are {found}."
    praise = "Every draw brings its whole group, as often as it was drawn."


def _sets(groups: Sequence[set[str]]) -> str:
    return " and ".join("{" + ", ".join(sorted(group)) + "}" for group in groups) or "none"


def _number(value: float | None) -> str:
    return "None" if value is None else f"{value:.2f}".removesuffix(".00")


faults = Faults()
shared = Shared()
measured = Measured()
same_partition = SamePartition()
known_sharers = KnownSharers()
rows_of = RowsOf()
