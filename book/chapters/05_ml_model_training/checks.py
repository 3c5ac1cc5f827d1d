"""The checks of chapter 05. None of them needs Spark."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from medallion.lesson.exercise import Exercise, FunctionExercise, Verdict, other_kind, plain, same


class Split(Exercise):
    """Exercise 5.1. Known labels that have ended train, later cutoffs test, and the rest is in neither."""

    number = "5.1"
    title = "split the rows in time, and purge"
    takes = "a function of a pandas DataFrame and two days, which returns two DataFrames"
    hints = (
        "Three questions: which labels are known on the day, which windows have ended by the first test, "
        "and which cutoffs are not earlier than it?",
        "Train needs known_at up to day and cutoff + pd.Timedelta(days=28) up to first_test; "
        "test needs cutoff from first_test on. What fits neither is left out.",
        'known = table["known_at"] <= pd.Timestamp(day); ended = table["cutoff"] + pd.Timedelta(days=28) <= '
        'pd.Timestamp(first_test); then table[known & ended], table[table["cutoff"] >= pd.Timestamp('
        "first_test)].",
    )
    # Customer, cutoff, known_at; the ids sort otherwise than the rows
    rows: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("C8", "2025-10-02 00:00", "2025-11-03"),
        ("C3", "2025-10-02 12:00", "2025-11-03"),
        ("C5", "2025-10-16 00:00", "2025-11-17"),
        ("C1", "2025-10-30 00:00", "2025-12-01"),
        ("C9", "2025-10-23 00:00", "2025-11-27"),
        ("C6", "2025-10-23 00:00", "2025-11-27 09:00"),
        ("C2", "2025-11-13 00:00", "2025-12-15"),
        ("C7", "2025-11-27 00:00", "2025-12-29"),
        ("C4", "2025-12-11 06:00", "2026-01-12"),
    )
    # The day, the first test, and whom each part holds
    asked: ClassVar[tuple[tuple[str, str, str, str], ...]] = (
        ("2025-11-27", "2025-11-27", "C8 C3 C5 C9", "C7 C4"),
        ("2025-11-27", "2025-10-30", "C8", "C1 C2 C7 C4"),
        ("2025-12-01", "2025-11-13", "C8 C3 C5", "C2 C7 C4"),
        ("2025-11-28", "2025-11-27", "C8 C3 C5 C9 C6", "C7 C4"),
        ("2025-11-03", "2025-12-11", "C8 C3", "C4"),
        ("2025-12-20", "2025-11-13", "C8 C3 C5", "C2 C7 C4"),
    )

    def check(self, split: Callable[..., Any]) -> Verdict:
        table = pd.DataFrame(self.rows, columns=["customer_id", "cutoff", "known_at"])
        table = table.astype({"cutoff": "datetime64[ns]", "known_at": "datetime64[ns]"})
        for day, first, *expected in self.asked:
            given = table.copy()
            parts = split(given, day, first)
            if not given.equals(table):
                return self.wrong("Your function changes the table that it is given. Work on a copy.")
            if wrong := self.wrong_in(parts, table, day, first, expected):
                return self.wrong(wrong)
        return self.right("Known labels that have ended train, later cutoffs test, and the rest waits.")

    def wrong_in(
        self, parts: Any, table: pd.DataFrame, day: str, first: str, expected: list[str]
    ) -> str | None:
        pair = isinstance(parts, tuple | list) and len(parts) == 2
        if not pair or not all(isinstance(part, pd.DataFrame) for part in parts):
            return other_kind(parts, "two DataFrames, train and test")
        held = {}
        for name, part in zip(("train", "test"), parts, strict=True):
            if list(part.columns) != list(table.columns):
                columns = ", ".join(map(str, part.columns))
                return f"Your {name} rows have the columns {columns}; keep those of the table."
            held[name] = list(part["customer_id"])
            if len(held[name]) > len(set(held[name])):
                return f"Your {name} rows hold a row of the table more than once."
        for customer, cutoff, known in self.rows:
            right = [n for n, who in zip(held, expected, strict=True) if customer in who.split()]
            found = [name for name, customers in held.items() if customer in customers]
            if found != right:
                return (
                    f"For the day {day} and the first test {first} the row with cutoff {cutoff}, known on "
                    f"{known}, is in {' and '.join(found) or 'neither'}; it belongs to "
                    f"{' and '.join(right) or 'neither'}, because {self.why(cutoff, known, day, first)}."
                )
        return None

    @staticmethod
    def why(cutoff: str, known: str, day: str, first: str) -> str:
        """Say what decides where a row belongs."""
        asked = pd.Timestamp(cutoff)
        if asked >= pd.Timestamp(first):
            return "its cutoff is not before the first test"
        if pd.Timestamp(known) > pd.Timestamp(day):
            return "its label is not known yet, and its cutoff is before the first test"
        ends = asked + pd.Timedelta(days=28)
        if ends > pd.Timestamp(first):
            return f"its label is known, but its window ends on {ends:%Y-%m-%d %H:%M}, after the first test"
        return f"its label is known, and its window ends on {ends:%Y-%m-%d %H:%M}"


class Redraw(Exercise):
    """Exercise 5.2. How often the customer of each row is drawn, of as many draws as there are customers."""

    number = "5.2"
    title = "draw the customers anew"
    takes = "a function of an array of customers and a generator of NumPy"
    hints = (
        "First the different customers, and for each row the place of its customer among them. "
        "Then the draws, then a count for each customer.",
        "np.unique(customers, return_inverse=True) gives both; random.integers(0, n, n) draws; "
        "np.bincount(drawn, minlength=n) counts, also those with no draw.",
        "different, place = np.unique(customers, return_inverse=True), n = len(different), and "
        "np.bincount(random.integers(0, n, n), minlength=n)[place].",
    )
    # Customers with one row, two rows and five, mixed
    customers = ("C7", "C2", "C7", "C9", "C1", "C1", "C4", "C1", "C5", "C1", "C1", "C8")
    many = 400

    def check(self, redraw: Callable[..., Any]) -> Verdict:
        customers = np.array(self.customers)
        random, again = np.random.default_rng(7), np.random.default_rng(7)
        drawn = []
        for _ in range(self.many):
            counts = redraw(customers.copy(), random)
            if wrong := self.wrong_in(counts):
                return self.wrong(wrong)
            drawn.append([int(count) for count in counts])
        if drawn != [[int(count) for count in redraw(customers.copy(), again)] for _ in range(self.many)]:
            return self.wrong(
                "With a generator of the same seed your function draws other customers. "
                "Draw with `random` only, and from customers in a fixed order."
            )
        # Other names in the same order: only a set, whose order depends on the names, draws others
        named, again = np.array([f"D{one[1:]}" for one in self.customers]), np.random.default_rng(7)
        if drawn != [[int(count) for count in redraw(named.copy(), again)] for _ in range(self.many)]:
            return self.wrong(
                "For the same rows with other names of the customers, in the same order, your function "
                "draws others. The order of a set changes from run to run; draw from sorted customers."
            )
        numbers = redraw(np.array([40, 7, 40, 7, 9]), np.random.default_rng(7))
        if len(numbers) != 5 or int(numbers[0]) + int(numbers[1]) + int(numbers[4]) != 3:
            return self.wrong(
                f"For the customers 40, 7, 40, 7, 9, which are numbers, you return {plain(list(numbers))}. "
                "The counts of 40, 7 and 9 should add up to 3."
            )
        if wrong := self.told(np.array(drawn)):
            return self.wrong(wrong)
        return self.right("Customers are drawn whole, with replacement.")

    def wrong_in(self, counts: Any) -> str | None:
        """Say what one draw shows, or None."""
        try:
            found = [float(count) for count in counts]
        except (TypeError, ValueError):
            return other_kind(counts, "an array with a number for each row")
        if len(found) != len(self.customers):
            return (
                f"For {len(self.customers)} rows you return {len(found)} numbers; return one for each row, "
                "how often its customer is drawn."
            )
        for customer in dict.fromkeys(self.customers):
            own = {count for count, other in zip(found, self.customers, strict=True) if other == customer}
            if len(own) > 1:
                numbers = " and ".join(f"{count:g}" for count in sorted(own))
                return (
                    f"The rows of {customer} have the numbers {numbers}. All rows of a customer should have "
                    "the same: draw customers, not rows."
                )
        each = dict(zip(self.customers, found, strict=True))
        if any(count != int(count) or count < 0 for count in found):
            return f"Your numbers are {found}; a customer is drawn 0, 1, 2, ... times."
        if sum(each.values()) != len(each):
            return (
                f"There are {len(each)} different customers, and your draws add up to "
                f"{sum(each.values()):g}; draw as many as there are."
            )
        return None

    def told(self, drawn: Any) -> str | None:
        """Say what many draws show together, or None."""
        first = [self.customers.index(customer) for customer in dict.fromkeys(self.customers)]
        drawn = drawn[:, first]
        if drawn.max() == 1:
            return (
                "Every customer is drawn exactly once in each of your draws. Draw with replacement: "
                "some come twice, some not at all."
            )
        if (drawn == drawn[0]).all():
            return "All your draws are the same. Do you make a generator of your own? Use `random`."
        means = drawn.mean(axis=0)
        if abs(means - 1).max() > 0.3:
            rare = int(np.argmax(abs(means - 1)))
            customer = list(dict.fromkeys(self.customers))[rare]
            return (
                f"In {self.many} draws {customer} is drawn {means[rare]:.1f} times on average; it should be "
                "about 1. Each customer has the same chance, however many rows there are."
            )
        if drawn.max() < 3 or not 0.6 < drawn.var() < 1.15:
            return (
                f"In {self.many} draws no customer is drawn more than {drawn.max()} times at once, and the "
                f"variance of the counts is {drawn.var():.2f}; it should be about 0.86. Make each of the "
                "draws among all customers."
            )
        return None


class WorthWriting(FunctionExercise):
    """Exercise 5.3. A voucher goes to who consents, where it brings more on average than it costs."""

    number = "5.3"
    title = "decide who gets a voucher"
    takes = "a function of the arrays probability and consent and the numbers cost, back and worth"
    hints = (
        "Two conditions, of which consent comes first. What does a voucher bring on average? Two things "
        "have to happen: the customer would churn, and stays because of it.",
        "probability * back * worth is what it brings. NaN is neither 1 nor 0, but it counts as true: "
        "compare consent with 1.",
        "(np.asarray(consent) == 1) & (np.asarray(probability) * back * worth > cost)",
    )
    # Of each pair of equal probabilities one consents; the third pair breaks even exactly
    consents = (1.0, 0.0, 1.0, math.nan, 1.0, 1.0, 0.0, 1.0, math.nan)
    cases = tuple(
        (
            f"With cost {cost:g}, back {back:g} and worth {worth:g}",
            *(probabilities, cost, back, worth),
            [
                asked == 1 and probability * back * worth > cost
                for asked, probability in zip(
                    (1.0, 0.0, 1.0, math.nan, 1.0, 1.0, 0.0, 1.0, math.nan), probabilities, strict=True
                )
            ],
        )
        for cost, back, worth, probabilities in (
            (1.0, 0.25, 8.0, (0.0, 0.0, 0.25, 0.75, 0.5, 0.625, 0.625, 1.0, 1.0)),
            (3.0, 0.5, 24.0, (0.0, 0.5, 0.125, 0.5, 0.25, 0.5, 0.125, 1.0, 0.125)),
            (2.0, 1.0, 4.0, (0.0, 1.0, 0.25, 0.75, 0.5, 0.75, 0.5, 1.0, 0.25)),
        )
    )
    returns = "9 answers, True or False, one for each customer"
    kind = list
    praise = "A voucher goes to those who consent, and only where it should earn more than it costs."

    def arguments(self, probabilities: tuple[float, ...], *costs: float) -> Any:
        return np.array(probabilities), np.array(self.consents), *costs

    def differs(self, about: str, given: list[Any], found: Any, expected: list[bool]) -> str | None:
        probabilities, _, back, worth = given
        if len(found) != len(expected) or not all(answer in (True, False) for answer in found):
            return other_kind(found, self.returns)
        rows = zip(probabilities, self.consents, found, expected, strict=True)
        for probability, asked, answer, right in rows:
            if bool(answer) == right:
                continue
            if answer and asked != 1:
                known = "is unknown" if math.isnan(asked) else "is 0"
                return (
                    f"{about}, a customer with probability {probability:g} whose consent {known} gets a "
                    "voucher. Only a consent of 1 allows it."
                )
            return (
                f"{about}, a customer with consent and probability {probability:g} brings "
                f"{probability * back * worth:g} on average; you say {'write' if answer else 'do not write'}."
            )
        return None


class FailedGates(FunctionExercise):
    """Exercise 5.4. The gates that a challenger fails, by the lower ends of its intervals; sorted."""

    number = "5.4"
    title = "compare a challenger with the champion"
    takes = "a function of four dictionaries, which returns a list"
    hints = (
        "Go through the margins: each names a gate, and asks for the lower end of its interval. "
        "The signature is a question of its own. Sort at the end.",
        "A gate passes only if its interval is there and low >= -margin; NaN is not >= anything. For the "
        "signature go through the challenger's columns and look for each in the champion's.",
        'low = gains.get(name, (float("nan"),))[0], and "not low >= -margin" fails. A column (kind, '
        "required) of the challenger fails if the champion has another kind, or if required is True and the "
        "champion does not require it.",
    )
    before: ClassVar[dict[str, tuple[str, bool]]] = {"orders": ("double", True), "gap": ("double", False)}
    gains: ClassVar[dict[str, tuple[float, float]]] = {
        "metric": (0.002, 0.04),
        "value": (5.0, 60.0),
        "slice: few": (-0.01, 0.03),
    }
    margins: ClassVar[dict[str, float]] = {"metric": 0.01, "value": 0.0, "slice: few": 0.02}
    # What the case is about, the gains and the columns that differ (None takes one away), and what fails
    cases: ClassVar = (
        ("a challenger that is ahead everywhere", {}, {}, []),
        ("an interval whose lower end is exactly minus the margin", {"metric": (-0.01, 0.02)}, {}, []),
        (
            "an interval from -0.03 to 0.05, with the margin 0.01",
            {"metric": (-0.03, 0.05)},
            {},
            ["metric"],
        ),
        ("an interval from 0.03 to 0.05, with the margin 0.01", {"metric": (0.03, 0.05)}, {}, []),
        (
            "an interval from -0.05 to -0.03, with the margin 0.01",
            {"metric": (-0.05, -0.03)},
            {},
            ["metric"],
        ),
        ("a profit from -2 to 60, with the margin 0", {"value": (-2.0, 60.0)}, {}, ["value"]),
        ("a slice from -0.015 to 0, with the margin 0.02", {"slice: few": (-0.015, 0.0)}, {}, []),
        (
            "a slice from -0.03 to 0.01, with the margin 0.02",
            {"slice: few": (-0.03, 0.01)},
            {},
            ["slice: few"],
        ),
        ("a slice that was not measured", {"slice: few": None}, {}, ["slice: few"]),
        ("an interval of NaN", {"value": (math.nan, math.nan)}, {}, ["value"]),
        ("an interval without a margin", {"slice: other": (-0.5, -0.4)}, {}, []),
        ("a challenger that takes the same columns in another order", {}, "turned", []),
        ("a challenger with a new column that may be missing", {}, {"visits": ("double", False)}, []),
        ("a challenger with a new column that it requires", {}, {"visits": ("double", True)}, ["signature"]),
        (
            "a challenger that requires gap, which may be missing",
            {},
            {"gap": ("double", True)},
            ["signature"],
        ),
        ("a challenger that no longer requires orders", {}, {"orders": ("double", False)}, []),
        ("a challenger without the column gap", {}, {"gap": None}, []),
        ("a challenger that takes gap as a string", {}, {"gap": ("string", False)}, ["signature"]),
        ("a challenger without the required column orders", {}, {"orders": None}, []),
        ("a challenger that takes orders as a string", {}, {"orders": ("string", True)}, ["signature"]),
        (
            "a challenger with two columns that it should not require",
            {},
            {"visits": ("double", True), "gap": ("double", True)},
            ["signature"],
        ),
        (
            "a challenger that fails all four",
            {"metric": (-1.0, 0.0), "value": (-9.0, 0.0), "slice: few": (-1.0, 0.0)},
            {"visits": ("double", True)},
            ["metric", "signature", "slice: few", "value"],
        ),
    )

    returns = "a list"
    kind = list
    other = "For {about} the failed gates are {expected}; yours are {found}."
    praise = "Each gate asks for the lower end, and the signature for what callers send."

    def arguments(self, gains: dict[str, Any], columns: Any) -> Any:
        after = dict(reversed(self.before.items())) if columns == "turned" else {**self.before, **columns}
        after = {name: one for name, one in after.items() if one}
        gained = {name: one for name, one in {**self.gains, **gains}.items() if one}
        return dict(self.before), after, gained, dict(self.margins)

    def differs(self, about: str, given: list[Any], found: Any, expected: list[str]) -> str | None:
        if sorted(set(map(str, found))) == expected and len(found) > len(expected):
            return f"For {about} the gates are right, but name each of them once: {found}."
        if not same(found, expected) and sorted(map(str, found)) == expected:
            return f"For {about} the gates are right, and not sorted: {found}."
        return super().differs(about, given, found, expected)


def _index(expected: Any, actual: Any, **otherwise: Any) -> float:
    """Return the index of two lists of counts, right or wrong in one way."""
    more, log = otherwise.get("more", 0.5), otherwise.get("log", np.log)
    e, a = (np.array(counts, dtype=float) + more for counts in (expected, actual))
    if otherwise.get("shares", True):
        e, a = (counts / (sum(counts) - otherwise.get("less", 0)) for counts in (e, a))
    with np.errstate(all="ignore"):
        terms = {"index": (a - e) * log(a / e), "kl": a * log(a / e), "turned": (e - a) * log(a / e)}
    terms = terms[otherwise.get("terms", "index")]
    return float(terms.mean() if otherwise.get("mean") else terms.sum())


class Psi(FunctionExercise):
    """Exercise 5.5. The population stability index over given bins and one for NaN, half a value in each."""

    number = "5.5"
    title = "compute the population stability index"
    takes = "a function of two arrays of numbers and a list of edges"
    hints = (
        "First the counts: in which bin is each value, and how many are missing? Then shares, "
        "with half a value more in each bin.",
        "known = values[~np.isnan(values)]; np.searchsorted(edges, known, side='right') is the number of the "
        "bin; np.bincount(..., minlength=len(edges) + 1) counts; np.append adds the count of NaN.",
        "e and a are (counts + 0.5) / (counts + 0.5).sum(); the index is np.sum((a - e) * np.log(a / e)).",
    )
    _nan = math.nan
    # What the case is about; expected, actual, edges; and the index
    cases = tuple(
        (about, expected, actual, edges, _index(one, other))
        for about, expected, actual, edges, one, other in (
            ("two equal samples", [1, 2, 3, 4], [1, 2, 3, 4], [2.5], [2, 2, 0], [2, 2, 0]),
            ("a sample that has moved", [1, 1, 1, 3], [1, 3, 3, 3], [2.0], [3, 1, 0], [1, 3, 0]),
            (
                "samples of different size",
                *([1, 1, 3, 3], [1, 1, 1, 1, 1, 1, 3, 3], [2.0], [2, 2, 0], [6, 2, 0]),
            ),
            ("a value that equals an edge", [1, 1, 3, 3], [2, 2, 3, 3], [2.0], [2, 2, 0], [0, 4, 0]),
            (
                "a bin that is empty in one sample",
                *([1, 3, 5, 7], [1, 1, 3, 3], [2.0, 4.0, 6.0], [1, 1, 1, 1, 0], [2, 2, 0, 0, 0]),
            ),
            (
                "values below and above all of the training",
                *([1, 1, 3, 3], [-50, 900, 900, 900], [2.0], [2, 2, 0], [1, 3, 0]),
            ),
            ("values that go missing", [1, 1, 3, 3], [1, _nan, 3, _nan], [2.0], [2, 2, 0], [1, 1, 2]),
            (
                "values that were missing before",
                *([1, _nan, 3, _nan], [1, 1, 3, 3], [2.0], [1, 1, 2], [2, 2, 0]),
            ),
            ("a sample without a value", [1, 1, 3, 3], [], [2.0], [2, 2, 0], [0, 0, 0]),
        )
    )
    returns = "a number"
    kind = float
    other = (
        "For {about} (expected {given[0]}, actual {given[1]}, edges {given[2]}) the index is {expected:.4f}; "
        "yours is {found:.4f}."
    )
    praise = "Equal samples give 0, no bin is empty, and what is missing counts."
    # What one plausible fault makes of the sample that has moved
    faults = (
        ({"more": 1e-9}, "as if no half were added to the bins"),
        ({"more": 1}, "as if a whole value were added to each bin"),
        ({"shares": False}, "as if counts were compared instead of shares"),
        ({"less": 1.5}, "as if the shares were of the number of values, without the halves"),
        ({"log": np.log10}, "with a logarithm to the base 10; np.log is the natural one"),
        ({"log": np.log2}, "with a logarithm to the base 2; np.log is the natural one"),
        ({"terms": "kl"}, "as if each logarithm were weighted by a alone, not by a - e"),
        ({"terms": "turned"}, "with e and a exchanged in one of the two factors"),
        ({"mean": True}, "the mean over the bins instead of the sum"),
    )

    def arguments(self, expected: list[float], actual: list[float], edges: list[float]) -> Any:
        return np.array(expected, dtype=float), np.array(actual, dtype=float), edges

    def differs(self, about: str, given: list[Any], found: Any, expected: float) -> str | None:
        wrong = super().differs(about, given, found, expected)
        if wrong is None or about != "a sample that has moved":
            return wrong
        for otherwise, how in self.faults:
            if same(found, _index([3, 1, 0], [1, 3, 0], **otherwise)):
                return f"{wrong} That is {how}."
        if same(found, _index([3, 1], [1, 3])):
            return (
                f"{wrong} That is as if the bin for missing values were not there, or as if its half were "
                "not in the sum of the counts."
            )
        return wrong


class ExpectedAverage(FunctionExercise):
    """Exercise 5.6. The average purchase to expect: their own average and everybody's, weighted."""

    number = "5.6"
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
    # Nobody's own average first: what is wrong there is wrong in everybody's
    x = (0, 1, 2, 20, 1)
    mean = (math.nan, 100.0, 12.0, 100.0, 5.0)
    praise = "Little evidence stays near everybody's average, much evidence near their own."

    def check(self, function: Callable[..., Any]) -> Verdict:
        verdict = super().check(function)
        x, mean = np.array(self.x), np.array(self.mean)
        function(x, mean, 2.0, 5.0, 40.0)
        if verdict.ok and not (np.array_equal(x, self.x) and np.array_equal(mean, self.mean, equal_nan=True)):
            return self.wrong("Your function changes the arrays that it is given. Work on a copy.")
        return verdict

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
redraw = Redraw()
worth_writing = WorthWriting()
failed_gates = FailedGates()
psi = Psi()
expected_average = ExpectedAverage()
