"""The checks of chapter 05. None of them needs Spark."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from medallion.lesson.exercise import Exercise, FunctionExercise, Verdict, other_kind, same


class Split(Exercise):
    """Exercise 5.1. Known labels to train on, later cutoffs to test on, and the rest in neither."""

    number = "5.1"
    title = "split the rows in time"
    takes = "a function of a pandas DataFrame and a day, which returns two DataFrames"
    hints = (
        "Which column says that a label may be used on the day, and which says when its question was asked?",
        "Train on known_at up to the day; test on cutoffs from the day on. What is in between waits.",
        'moment = pd.Timestamp(day), then table[table["known_at"] <= moment], '
        'table[table["cutoff"] >= moment].',
    )
    # Customer, cutoff, known_at, where the row belongs on 27 November, and why.
    rows: ClassVar[tuple[tuple[str, str, str, str, str], ...]] = (
        ("C1", "2025-10-02", "2025-11-03", "train", "its label is known"),
        ("C2", "2025-10-26", "2025-11-27", "train", "its label is known at midnight of the day"),
        ("C3", "2025-11-13", "2025-12-15", "neither", "its label is not known yet, and its cutoff is past"),
        ("C4", "2025-11-26", "2025-12-29", "neither", "its label is not known yet, and its cutoff is past"),
        ("C5", "2025-11-27", "2025-12-29", "test", "its cutoff is that day"),
        ("C6", "2025-12-11", "2026-01-12", "test", "its cutoff is later"),
    )
    day = "2025-11-27"

    def check(self, split: Callable[..., Any]) -> Verdict:
        table = pd.DataFrame([row[:3] for row in self.rows], columns=["customer_id", "cutoff", "known_at"])
        table = table.astype({"cutoff": "datetime64[ns]", "known_at": "datetime64[ns]"})
        parts = split(table.copy(), self.day)
        pair = isinstance(parts, tuple | list) and len(parts) == 2
        if not pair or not all(isinstance(part, pd.DataFrame) for part in parts):
            return self.wrong(other_kind(parts, "two DataFrames, train and test"))
        held = {}
        for name, part in zip(("train", "test"), parts, strict=True):
            if list(part.columns) != list(table.columns):
                return self.wrong(
                    f"Your {name} rows have the columns {', '.join(map(str, part.columns))}; "
                    "keep those of the table."
                )
            held[name] = list(part["customer_id"])
            if len(held[name]) > len(set(held[name])):
                return self.wrong(f"Your {name} rows hold a row of the table more than once.")
        for customer, cutoff, known, place, why in self.rows:
            found = [name for name, customers in held.items() if customer in customers] or ["neither"]
            if found != [place]:
                return self.wrong(
                    f"For the day {self.day} the row with cutoff {cutoff}, known on {known}, is in "
                    f"{' and '.join(found)}; it belongs to {place}, because {why}."
                )
        return self.right("Only known labels train, only later cutoffs test, and the rest waits.")


class WorthWriting(FunctionExercise):
    """Exercise 5.2. A voucher is worth it where what it brings on average is more than it costs."""

    number = "5.2"
    title = "decide who gets a voucher"
    takes = "a function of an array of probabilities and the numbers cost, back and worth"
    hints = (
        "What does a voucher bring on average? Two things have to happen: the customer would stop, "
        "and stays because of it.",
        "probability * back * worth is what it brings; it costs cost in any case.",
        "np.asarray(probability) * back * worth > cost",
    )
    # Cost, back and worth, the probabilities, of which the third breaks even exactly, and whether to write
    cases = tuple(
        (
            f"With cost {cost:g}, back {back:g} and worth {worth:g}",
            *(probabilities, cost, back, worth),
            [probability * back * worth > cost for probability in probabilities],
        )
        for cost, back, worth, probabilities in (
            (1.0, 0.25, 8.0, (0.0, 0.25, 0.5, 0.75, 1.0)),
            (3.0, 0.5, 24.0, (0.0, 0.125, 0.25, 0.5, 1.0)),
            (2.0, 1.0, 4.0, (0.0, 0.25, 0.5, 0.75, 1.0)),
        )
    )
    returns = "5 answers, one for each probability"
    kind = list
    praise = "A letter goes out exactly where it is expected to earn more than it costs."

    def arguments(self, probabilities: tuple[float, ...], *costs: float) -> Any:
        return np.array(probabilities), *costs

    def differs(self, about: str, given: list[Any], found: Any, expected: list[bool]) -> str | None:
        probabilities, _, back, worth = given
        if len(found) != len(expected):
            return other_kind(found, self.returns)
        for probability, answer, right in zip(probabilities, found, expected, strict=True):
            if bool(answer) != right:
                return (
                    f"{about}, a customer with probability {probability:g} brings "
                    f"{probability * back * worth:g} on average; you say "
                    f"{'write' if answer else 'do not write'}."
                )
        return None


class FailedGates(FunctionExercise):
    """Exercise 5.3. The gates that a challenger fails, sorted; equal is good enough."""

    number = "5.3"
    title = "compare a challenger with the champion"
    takes = "a function of two dictionaries, champion and challenger, which returns a list"
    hints = (
        "Four questions, each with an answer of its own: collect the names of those that fail, "
        "and sort at the end.",
        "Compare columns as sets. For the slices go through those of the champion: one that is missing "
        "in the challenger fails too.",
        'challenger["slices"].get(group, 0) < before - 0.02 for any group, before of the champion: "slice".',
    )
    champion: ClassVar[dict[str, Any]] = {
        "pr_auc": 0.5,
        "profit": 100.0,
        "columns": ["a", "b"],
        "slices": {"new": 0.7, "old": 0.8},
    }
    # What the case is about, what the challenger has otherwise, and the gates that it fails
    cases: ClassVar = (
        ("a challenger that equals the champion", {}, []),
        ("a challenger that takes the same columns in another order", {"columns": ["b", "a"]}, []),
        ("a challenger with a lower pr_auc", {"pr_auc": 0.49}, ["metric"]),
        ("a challenger with a lower profit", {"profit": 99.0}, ["value"]),
        ("a challenger that lacks a column", {"columns": ["a"]}, ["signature"]),
        ("a challenger that takes another column", {"columns": ["a", "c"]}, ["signature"]),
        ("a challenger that takes a column more", {"columns": ["a", "b", "c"]}, ["signature"]),
        ("a challenger whose slice 'new' is lower by 0.01", {"slices": {"new": 0.69, "old": 0.8}}, []),
        ("a challenger whose slice 'new' is lower by 0.05", {"slices": {"new": 0.65, "old": 0.9}}, ["slice"]),
        ("a challenger that lacks the slice 'old'", {"slices": {"new": 0.7}}, ["slice"]),
        (
            "a challenger with a slice that the champion lacks",
            {"slices": {"new": 0.7, "old": 0.8, "other": 0.1}},
            [],
        ),
        (
            "a challenger that fails all four",
            {"pr_auc": 0.4, "profit": 1.0, "columns": ["c"], "slices": {"new": 0.1, "old": 0.1}},
            ["metric", "signature", "slice", "value"],
        ),
    )

    returns = "a list"
    kind = list
    other = "For {about} the failed gates are {expected}; yours are {found}."
    praise = "Each gate closes on its own, and equal is good enough."

    def arguments(self, differently: dict[str, Any]) -> Any:
        champion = {**self.champion, "slices": dict(self.champion["slices"])}
        return champion, {**champion, **differently}

    def differs(self, about: str, given: list[Any], found: Any, expected: list[str]) -> str | None:
        if not same(found, expected) and sorted(map(str, found)) == expected:
            return f"For {about} the gates are right, and not sorted: {found}."
        return super().differs(about, given, found, expected)


class Psi(FunctionExercise):
    """Exercise 5.4. The population stability index over given bins, half a value added to each."""

    number = "5.4"
    title = "compute the population stability index"
    takes = "a function of two arrays of numbers and a list of edges"
    hints = (
        "First the counts: in which bin is each value? Then shares, with half a value more in each bin.",
        "np.searchsorted(edges, values, side='right') is the number of the bin; "
        "np.bincount(..., minlength=len(edges) + 1) counts.",
        "e and a are (counts + 0.5) / (counts + 0.5).sum(); the index is np.sum((a - e) * np.log(a / e)).",
    )
    # What the case is about; expected, actual, edges; and the index
    cases = (
        ("two equal samples", [1, 2, 3, 4], [1, 2, 3, 4], [2.5], 0.0),
        ("a sample that has moved", [1, 1, 1, 3], [1, 3, 3, 3], [2.0], 0.6778382883),
        ("samples of different size", [1, 1, 3, 3], [1, 1, 1, 1, 1, 1, 3, 3], [2.0], 0.2123358767),
        ("a value that equals an edge", [1, 1, 3, 3], [2, 2, 3, 3], [2.0], 0.8788898309),
        ("a bin that is empty in one sample", [1, 3, 5, 7], [1, 1, 3, 3], [2.0, 4.0, 6.0], 0.5364793041),
    )
    returns = "a number"
    kind = float
    other = (
        "For {about} (expected {given[0]}, actual {given[1]}, edges {given[2]}) the index is {expected:.4f}; "
        "yours is {found:.4f}."
    )
    praise = "Equal samples give 0, and no bin is empty."

    def arguments(self, expected: list[float], actual: list[float], edges: list[float]) -> Any:
        return np.array(expected, dtype=float), np.array(actual, dtype=float), edges


class ExpectedAverage(FunctionExercise):
    """Exercise 5.5. The average purchase to expect: their own average and everybody's, weighted."""

    number = "5.5"
    title = "estimate the value of the next purchase"
    takes = "a function of the arrays x and mean and the numbers p, q and v"
    hints = (
        "Of somebody who never bought again you know nothing: expect what everybody spends. The more "
        "often somebody bought, the nearer you come to their own average.",
        "weight = p * x / (p * x + q - 1) is for their own average, 1 - weight for p * v / (q - 1). "
        "What is 0 * NaN? Replace the mean where x is 0 before you multiply.",
        "weight * np.where(x > 0, mean, 0) + (1 - weight) * p * v / (q - 1)",
    )
    # The parameters p, q, v of CDNOW, and others, so that none of them can be written into the answer;
    # everybody's average follows from them.
    cases = (
        ("with p = 6.25, q = 3.74, v = 15.44", 6.25, 3.74, 15.44, 6.25 * 15.44 / 2.74),
        ("with p = 2, q = 5, v = 40", 2.0, 5.0, 40.0, 20.0),
    )
    returns = "an array"
    kind = list | float
    x = (1, 2, 20, 0, 1)
    mean = (100.0, 12.0, 100.0, math.nan, 5.0)
    praise = "Little evidence stays near everybody's average, much evidence near their own."

    def arguments(self, *parameters: float) -> Any:
        return np.array(self.x), np.array(self.mean), *parameters

    def differs(self, about: str, given: list[Any], found: Any, everybody: float) -> str | None:
        if isinstance(found, float) or len(found) != len(self.x):
            numbers = "1 number" if isinstance(found, float) or len(found) == 1 else f"{len(found)} numbers"
            return f"For {len(self.x)} customers you return {numbers}; return one for each."
        p, q, _ = given
        for x, mean, answer in zip(self.x, self.mean, found, strict=True):
            weight = p * x / (p * x + q - 1)
            right = weight * mean + (1 - weight) * everybody if x else everybody
            if same(answer, right):
                continue
            if x == 0:
                return (
                    f"Of a customer without a repeat purchase you expect {answer:.2f}, {about}. Nothing is "
                    f"known of this customer, so it should be everybody's average, {everybody:.2f}."
                )
            bought = f"{x} repeat purchase{'s' if x > 1 else ''} of {mean:.2f} dollars on average"
            return (
                f"Of a customer with {bought} you expect {answer:.2f}, {about}: their own average has the "
                f"weight {(answer - everybody) / (mean - everybody):.2f} in it. It should be {weight:.2f}, "
                f"and the result {right:.2f}."
            )
        return None


split = Split()
worth_writing = WorthWriting()
failed_gates = FailedGates()
psi = Psi()
expected_average = ExpectedAverage()
