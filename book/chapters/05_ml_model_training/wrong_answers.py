"""Answers to the exercises of chapter 05, right but for one condition, and what the checks say of them."""

import math
from collections import Counter

import numpy as np
import pandas as pd

KNOWN = "known_at <= @day"
ENDED = "cutoff <= @latest"
LATER = "cutoff >= @first"
MONTH = pd.Timedelta(days=28)


def split(train=f"{KNOWN} and {ENDED}", test=LATER, form=tuple):
    """Return an answer to 5.1 of two queries."""

    def answer(table, day, first):
        day, first = pd.Timestamp(day), pd.Timestamp(first)
        dates = {"day": day, "first": first, "latest": first - MONTH}
        return form([table.query(query, local_dict=dates) for query in (train, test)])

    return answer


def split_by_days(table, day, first_test):
    """Answer 5.1 with whole days in the place of moments."""
    ended = (pd.Timestamp(first_test) - table["cutoff"].dt.normalize()).dt.days >= 28
    return table[(table["known_at"] <= day) & ended], table[table["cutoff"] >= first_test]


def split_of_november(table, _day, _first):
    """Answer 5.1 for the day of the lesson, whatever is asked."""
    return split()(table, "2025-11-27", "2025-11-27")


def split_in_place(table, day, first_test):
    """Answer 5.1 with a column that stays in the table."""
    table["ended"] = table["cutoff"] + MONTH
    train = table[(table["known_at"] <= day) & (table["ended"] <= first_test)]
    return train.drop(columns="ended"), table[table["cutoff"] >= first_test].drop(columns="ended")


def backwards(parts):
    """Return a list of the parts, each from its last row to its first, numbered anew."""
    return [part[::-1].reset_index(drop=True) for part in parts]


def redraw(
    among=np.unique,
    draw=lambda random, n: random.integers(0, n, n),
    count=lambda drawn, n: np.bincount(drawn, minlength=n),
):
    """Return an answer to 5.2."""

    def answer(customers, random):
        n = len(among(customers))
        different, place = np.unique(customers, return_inverse=True)
        return count(draw(random, n) % len(different), len(different))[place]

    return answer


def redraw_rows(customers, random):
    """Answer 5.2 with rows in the place of customers."""
    n = len(customers)
    return np.bincount(random.integers(0, n, n), minlength=n)


def redraw_by_rows(customers, random):
    """Answer 5.2 with a customer of a row drawn at random, so that many rows mean a higher chance."""
    different, place = np.unique(customers, return_inverse=True)
    return np.bincount(place[random.integers(0, len(place), len(different))], minlength=len(different))[place]


def redraw_from_a_set(customers, random):
    """Answer 5.2 with customers in the order of a set, which no run repeats."""
    different = list(set(customers.tolist()))
    drawn = np.bincount(random.integers(0, len(different), len(different)), minlength=len(different))
    return np.array([drawn[different.index(one)] for one in customers.tolist()])


def one_for_another(random, n):
    """Return each place once, but for one that gives way to another."""
    drawn = random.permutation(n)
    drawn[0] = drawn[1]
    return drawn


def redraw_rows_back(customers, random):
    """Answer 5.2 with the rows themselves."""
    return np.array([one for one in customers for _ in range(random.integers(0, 2))])


def redraw_as_text(customers, random):
    """Answer 5.2 with the form of the sample's ids."""
    numbers = np.array([int(one[1:]) for one in customers])
    return redraw()(numbers, random)


def redraw_with_a_counter(customers, random):
    """Answer 5.2 in plain Python."""
    different = list(dict.fromkeys(customers.tolist()))
    drawn = Counter(different[random.integers(len(different))] for _ in different)
    return [drawn[one] for one in customers.tolist()]


def redraw_with_choice(customers, random):
    """Answer 5.2 with pandas."""
    rows = pd.Series(customers)
    drawn = pd.Series(random.choice(rows.unique(), rows.nunique())).value_counts()
    return rows.map(drawn).fillna(0).astype(int)


def voucher(
    least=lambda cost, back, worth: cost / (back * worth),
    writes=np.greater,
    asked=lambda consent: consent == 1,
):
    """Return an answer to 5.3 of the least probability that pays, and of who is asked."""

    def answer(probability, consent, *costs):
        return asked(consent) & writes(probability, least(*costs))

    return answer


def passes(low, _high, margin):
    return low >= -margin


def fails_signature(before, after):
    """Return whether a challenger cannot answer what the champion can."""
    for name, (kind, required) in after.items():
        old_kind, was_required = before.get(name, (kind, False))
        if kind != old_kind or (required and not was_required):
            return True
    return False


def each_bad_column(before, after):
    """Return how many columns fail the signature."""
    return sum(fails_signature(before, {name: one}) for name, one in after.items())


def same_names_needed(before, after):
    """Return whether the signature fails, or a column that the champion requires is gone."""
    gone = any(required and name not in after for name, (_, required) in before.items())
    return gone or fails_signature(before, after)


def optional_types_only(before, after):
    """Return whether the signature fails, but for the type of a column that the champion requires."""
    return any(
        fails_signature(before, {name: one}) for name, one in after.items() if not before.get(name, (0, 0))[1]
    )


def gates(passes=passes, signature=fails_signature, missing=(math.nan, math.nan), order=sorted, loop=dict):
    """Return an answer to 5.4."""

    def answer(before, after, gains, margins):
        failed = [
            name
            for name in loop(margins if loop is dict else gains)
            if not passes(*gains.get(name, missing), margins.get(name, 0))
        ]
        return order(failed + ["signature"] * signature(before, after))

    return answer


def index(more=0.5, side="right", total=np.sum, terms=lambda e, a: (a - e) * np.log(a / e), lost="bin"):
    """Return an answer to 5.5."""

    def shares(values, edges):
        known = values if lost == "kept" else values[~np.isnan(values)]
        places = np.searchsorted(edges, known, side=side)
        counts = np.bincount(places, minlength=len(edges) + 1)
        if lost == "bin":
            counts = np.append(counts, len(values) - len(known))
        counts = counts + more
        return counts / total(counts)

    return lambda expected, actual, edges: float(
        np.sum(terms(shares(expected, edges), shares(actual, edges)))
    )


def by_the_number_of_values(expected, actual, edges):
    """Answer 5.5 with shares of the values, to which the halves do not belong."""

    def shares(values):
        places = np.searchsorted(edges, values[~np.isnan(values)], side="right")
        counts = np.append(np.bincount(places, minlength=len(edges) + 1), np.isnan(values).sum())
        return (counts + 0.5) / max(len(values), 1)

    e, a = shares(expected), shares(actual)
    return float(np.sum((a - e) * np.log(a / e)))


def bounded_index(expected, actual, edges):
    """Answer 5.5 with outer bins that end at the least and the largest value of the training."""

    def shares(values):
        known = expected[~np.isnan(expected)]
        bins = [min(known.min(), edges[0]), *edges, max(known.max(), edges[-1]) + 1]
        counts = np.append(np.histogram(values, bins)[0], np.isnan(values).sum()) + 0.5
        return counts / counts.sum()

    e, a = shares(expected), shares(actual)
    return float(np.sum((a - e) * np.log(a / e)))


def average(own=lambda x, mean: np.where(x > 0, mean, 0), weight=lambda x, p, q: p * x / (p * x + q - 1)):
    """Return an answer to 5.6."""

    def answer(x, mean, p, q, v):
        share = weight(x, p, q)
        return share * own(x, mean) + (1 - share) * p * v / (q - 1)

    return answer


def everybody_of_the_data(x, mean, p, q, v):
    """Answer 5.6 with the average of the given customers in the place of the model's."""
    share = p * x / (p * x + q - 1)
    return share * np.where(x > 0, mean, 0) + (1 - share) * np.nanmean(mean)


def in_place(x, mean, p, q, v):
    """Answer 5.6 with zeros written over the missing averages."""
    mean[x == 0] = 0
    return average()(x, mean, p, q, v)


TOLD = {
    "split": {
        split(ENDED): (
            "For the day 2025-11-27 and the first test 2025-11-27 the row with cutoff 2025-10-30 00:00, "
            "known on 2025-12-01, is in train; it belongs to neither, because its label is not known yet, "
            "and its cutoff is before the first test."
        ),
        split(KNOWN): (
            "For the day 2025-11-27 and the first test 2025-10-30 the row with cutoff 2025-10-02 12:00, "
            "known on 2025-11-03, is in train; it belongs to neither, because its label is known, but its "
            "window ends on 2025-10-30 12:00, after the first test."
        ),
        split("known_at < @day and cutoff <= @latest"): (
            "For the day 2025-11-27 and the first test 2025-11-27 the row with cutoff 2025-10-23 00:00, "
            "known on 2025-11-27, is in neither; it belongs to train, because its label is known, and its "
            "window ends on 2025-11-20 00:00."
        ),
        split("known_at.dt.normalize() <= @day and cutoff <= @latest"): (
            "For the day 2025-11-27 and the first test 2025-11-27 the row with cutoff 2025-10-23 00:00, "
            "known on 2025-11-27 09:00, is in train; it belongs to neither, because its label is not known "
            "yet, and its cutoff is before the first test."
        ),
        split("known_at <= @day and cutoff < @latest"): (
            "For the day 2025-11-27 and the first test 2025-10-30 the row with cutoff 2025-10-02 00:00, "
            "known on 2025-11-03, is in neither; it belongs to train, because its label is known, and its "
            "window ends on 2025-10-30 00:00."
        ),
        split("known_at <= @day and cutoff < @first"): (
            "For the day 2025-11-27 and the first test 2025-10-30 the row with cutoff 2025-10-02 12:00, "
            "known on 2025-11-03, is in train; it belongs to neither, because its label is known, but its "
            "window ends on 2025-10-30 12:00, after the first test."
        ),
        split(test="cutoff > @first"): (
            "For the day 2025-11-27 and the first test 2025-11-27 the row with cutoff 2025-11-27 00:00, "
            "known on 2025-12-29, is in neither; it belongs to test, because its cutoff is not before the "
            "first test."
        ),
        split(test="known_at > @day"): (
            "For the day 2025-11-27 and the first test 2025-11-27 the row with cutoff 2025-10-30 00:00, "
            "known on 2025-12-01, is in test; it belongs to neither, because its label is not known yet, "
            "and its cutoff is before the first test."
        ),
        split(test="cutoff >= @first and known_at > @day"): (
            "For the day 2025-12-20 and the first test 2025-11-13 the row with cutoff 2025-11-13 00:00, "
            "known on 2025-12-15, is in neither; it belongs to test, because its cutoff is not before the "
            "first test."
        ),
        split_by_days: (
            "For the day 2025-11-27 and the first test 2025-10-30 the row with cutoff 2025-10-02 12:00, "
            "known on 2025-11-03, is in train; it belongs to neither, because its label is known, but its "
            "window ends on 2025-10-30 12:00, after the first test."
        ),
        split_of_november: (
            "For the day 2025-11-27 and the first test 2025-10-30 the row with cutoff 2025-10-02 12:00, "
            "known on 2025-11-03, is in train; it belongs to neither, because its label is known, but its "
            "window ends on 2025-10-30 12:00, after the first test."
        ),
        split_in_place: "Your function changes the table that it is given. Work on a copy.",
        split(
            form=lambda parts: parts[0]
        ): "Your function returned a DataFrame. It should return two DataFrames, train and test.",
    },
    "redraw": {
        redraw_rows: (
            "The rows of C1 have the numbers 0 and 1 and 3. All rows of a customer should have the same: "
            "draw customers, not rows."
        ),
        redraw(draw=lambda random, n: random.permutation(n)): (
            "Every customer is drawn exactly once in each of your draws. Draw with replacement: some come "
            "twice, some not at all."
        ),
        redraw(
            draw=lambda random, n: np.random.default_rng(3).integers(0, n, n)
        ): "All your draws are the same. Do you make a generator of your own? Use `random`.",
        redraw(draw=lambda _, n: np.random.default_rng().integers(0, n, n)): (
            "With a generator of the same seed your function draws other customers. Draw with `random` "
            "only, and from customers in a fixed order."
        ),
        redraw(
            among=list
        ): "There are 7 different customers, and your draws add up to 12; draw as many as there are.",
        redraw(
            count=lambda drawn, n: (np.bincount(drawn, minlength=n) > 0).astype(int)
        ): "There are 7 different customers, and your draws add up to 3; draw as many as there are.",
        redraw_by_rows: (
            "In 400 draws C1 is drawn 3.0 times on average; it should be about 1. Each customer has the "
            "same chance, however many rows there are."
        ),
        redraw_from_a_set: (
            "For the same rows with other names of the customers, in the same order, your function draws "
            "others. The order of a set changes from run to run; draw from sorted customers."
        ),
        redraw(draw=one_for_another): (
            "In 400 draws no customer is drawn more than 2 times at once, and the variance of the counts is "
            "0.29; it should be about 0.86. Make each of the draws among all customers."
        ),
        redraw_rows_back: "Your function returned array(…",
        redraw_as_text: "Your code raised IndexError: invalid index to scalar variable. (in your line …",
        redraw(count=lambda drawn, n: np.bincount(drawn, minlength=n) / n): (
            "Your numbers are [0.42857142857142855, 0.0, 0.42857142857142855, 0.2857142857142857, 0.0, "
            "0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2857142857142857]; a customer is drawn 0, 1, 2, ... times."
        ),
    },
    "worth_writing": {
        voucher(writes=np.greater_equal): (
            "With cost 1, back 0.25 and worth 8, a customer with consent and probability 0.5 brings 1 on "
            "average; you say write."
        ),
        voucher(lambda cost, back, worth: cost / worth): (
            "With cost 1, back 0.25 and worth 8, a customer with consent and probability 0.25 brings 0.5 "
            "on average; you say write."
        ),
        voucher(lambda *_: 0.4): (
            "With cost 1, back 0.25 and worth 8, a customer with consent and probability 0.5 brings 1 on "
            "average; you say write."
        ),
        voucher(lambda cost, back, worth: 1 / (back * worth)): (
            "With cost 3, back 0.5 and worth 24, a customer with consent and probability 0.125 brings 1.5 "
            "on average; you say write."
        ),
        lambda p, consent, cost, back, worth: (consent == 1) & (np.round(p * back * worth) > cost): (
            "With cost 1, back 0.25 and worth 8, a customer with consent and probability 0.625 brings 1.25 "
            "on average; you say do not write."
        ),
        voucher(asked=lambda consent: np.array(True)): (
            "With cost 1, back 0.25 and worth 8, a customer with probability 0.75 whose consent is "
            "unknown gets a voucher. Only a consent of 1 allows it."
        ),
        voucher(asked=lambda consent: consent.astype(bool)): (
            "With cost 1, back 0.25 and worth 8, a customer with probability 0.75 whose consent is "
            "unknown gets a voucher. Only a consent of 1 allows it."
        ),
        voucher(asked=lambda consent: consent != 0): (
            "With cost 1, back 0.25 and worth 8, a customer with probability 0.75 whose consent is "
            "unknown gets a voucher. Only a consent of 1 allows it."
        ),
        lambda p, consent, cost, back, worth: np.where(consent == 1, p * back * worth - cost, 0): (
            "Your function returned [-1.0, 0.0, -0.5, 0.0, 0.0, 0.25, 0.0, 1.0, 0.0]. It should return 9 "
            "answers, True or False, one for each customer."
        ),
        lambda *_: True: (
            "Your function returned True. It should return 9 answers, True or False, one for each customer."
        ),
    },
    "failed_gates": {
        gates(signature=each_bad_column): (
            "For a challenger with two columns that it should not require the gates are right, but name "
            "each of them once: ['signature', 'signature']."
        ),
        gates(signature=same_names_needed): (
            "For a challenger without the required column orders the failed gates are []; "
            "yours are ['signature']."
        ),
        gates(signature=optional_types_only): (
            "For a challenger that takes orders as a string the failed gates are ['signature']; yours are []."
        ),
        gates(lambda low, high, margin: high >= -margin): (
            "For an interval from -0.03 to 0.05, with the margin 0.01 the failed gates are ['metric']; "
            "yours are []."
        ),
        gates(lambda low, high, margin: (low + high) / 2 >= -margin): (
            "For an interval from -0.03 to 0.05, with the margin 0.01 the failed gates are ['metric']; "
            "yours are []."
        ),
        gates(lambda low, high, margin: low > -margin): (
            "For an interval whose lower end is exactly minus the margin the failed gates are []; yours "
            "are ['metric']."
        ),
        gates(
            lambda low, high, margin: low >= 0
        ): "For a challenger that is ahead everywhere the failed gates are []; yours are ['slice: few'].",
        gates(
            lambda low, high, margin: abs(low) <= margin
        ): "For a challenger that is ahead everywhere the failed gates are []; yours are ['value'].",
        gates(lambda low, high, margin: low >= margin): (
            "For a challenger that is ahead everywhere the failed gates are []; yours are ['metric', "
            "'slice: few']."
        ),
        gates(
            lambda low, high, margin: not low < -margin
        ): "For a slice that was not measured the failed gates are ['slice: few']; yours are [].",
        gates(
            missing=(0.0, 0.0)
        ): "For a slice that was not measured the failed gates are ['slice: few']; yours are [].",
        gates(
            loop=list
        ): "For a slice that was not measured the failed gates are ['slice: few']; yours are [].",
        gates(signature=lambda before, after: before != after): (
            "For a challenger with a new column that may be missing the failed gates are []; yours are "
            "['signature']."
        ),
        gates(signature=lambda before, after: set(before) != set(after)): (
            "For a challenger with a new column that may be missing the failed gates are []; yours are "
            "['signature']."
        ),
        gates(signature=lambda before, after: list(before) != list(after)): (
            "For a challenger that takes the same columns in another order the failed gates are []; yours "
            "are ['signature']."
        ),
        gates(signature=lambda before, after: not set(before) >= set(after)): (
            "For a challenger with a new column that may be missing the failed gates are []; yours are "
            "['signature']."
        ),
        gates(signature=lambda *_: False): (
            "For a challenger with a new column that it requires the failed gates are ['signature']; "
            "yours are []."
        ),
        gates(
            signature=lambda before, after: any(
                need and not before.get(name, ("", False))[1] for name, (_, need) in after.items()
            )
        ): ("For a challenger that takes gap as a string the failed gates are ['signature']; yours are []."),
        gates(order=lambda failed: sorted(failed, reverse=True)): (
            "For a challenger that fails all four the gates are right, and not sorted: ['value', 'slice: "
            "few', 'signature', 'metric']."
        ),
    },
    "psi": {
        index(more=1e-9): (
            "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0]) the "
            "index is 0.6162; yours is 1.0986. That is as if no half were added to the bins."
        ),
        index(more=1): (
            "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0]) the "
            "index is 0.6162; yours is 0.3961. That is as if a whole value were added to each bin."
        ),
        index(side="left"): (
            "For a value that equals an edge (expected [1, 1, 3, 3], actual [2, 2, 3, 3], edges [2.0]) "
            "the index is 0.7990; yours is 0.0000."
        ),
        index(total=lambda _: 1): (
            "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0]) the "
            "index is 0.6162; yours is 3.3892. That is as if counts were compared instead of shares."
        ),
        by_the_number_of_values: (
            "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0]) the "
            "index is 0.6162; yours is 0.8473. That is as if the shares were of the number of values, "
            "without the halves."
        ),
        index(terms=lambda e, a: a * np.log(a / e)): (
            "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0]) the "
            "index is 0.6162; yours is 0.3081. That is as if each logarithm were weighted by a alone, not "
            "by a - e."
        ),
        index(terms=lambda e, a: (a - e) * np.log10(a / e)): (
            "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0]) the "
            "index is 0.6162; yours is 0.2676. That is with a logarithm to the base 10; np.log is the "
            "natural one."
        ),
        index(terms=lambda e, a: (e - a) * np.log(a / e)): (
            "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0]) the "
            "index is 0.6162; yours is -0.6162. That is with e and a exchanged in one of the two factors."
        ),
        index(terms=lambda e, a: (a - e) * np.log(a / e) / len(a)): (
            "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0]) the "
            "index is 0.6162; yours is 0.2054. That is the mean over the bins instead of the sum."
        ),
        index(lost="dropped"): (
            "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0]) the "
            "index is 0.6162; yours is 0.6778. That is as if the bin for missing values were not there, "
            "or as if its half were not in the sum of the counts."
        ),
        index(lost="kept"): (
            "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0]) the "
            "index is 0.6162; yours is 0.6778. That is as if the bin for missing values were not there, "
            "or as if its half were not in the sum of the counts."
        ),
        bounded_index: (
            "For values below and above all of the training (expected [1, 1, 3, 3], actual [-50, 900, "
            "900, 900], edges [2.0]) the index is 0.1541; yours is 0.3902."
        ),
        print: "Your function returned nothing. Does it end with return? It should return a number.",
    },
    "expected_average": {
        average(own=lambda x, mean: mean): (
            "Of a customer without a repeat purchase you expect nan, with p = 6.25, q = 3.74, v = 15.44. "
            "Nothing is known of this customer, so it should be everybody's average, 35.22."
        ),
        average(weight=lambda x, p, q: x > 0): (
            "Of a customer with 1 repeat purchase of 100.00 dollars on average you expect 100.00, with "
            "p = 6.25, q = 3.74, v = 15.44: their own average has the weight 1.00 in it. "
            "It should be 0.70, and the result 80.26."
        ),
        average(weight=lambda x, p, q: 0 * x): (
            "Of a customer with 1 repeat purchase of 100.00 dollars on average you expect 35.22, with "
            "p = 6.25, q = 3.74, v = 15.44: their own average has the weight 0.00 in it. "
            "It should be 0.70, and the result 80.26."
        ),
        average(weight=lambda x, p, q: p * x / (p * x + q)): (
            "Of a customer with 1 repeat purchase of 100.00 dollars on average you expect 75.75, with "
            "p = 6.25, q = 3.74, v = 15.44: their own average has the weight 0.63 in it. "
            "It should be 0.70, and the result 80.26."
        ),
        everybody_of_the_data: (
            "Of a customer without a repeat purchase you expect 54.25, with p = 6.25, q = 3.74, v = "
            "15.44. Nothing is known of this customer, so it should be everybody's average, 35.22."
        ),
        in_place: "Your function changes the arrays that it is given. Work on a copy.",
        average(own=lambda *_: 0, weight=lambda *_: 0): (
            "For 5 customers you return 1 number; return one for each."
        ),
    },
}
WRONG = [(name, *row) for name, told in TOLD.items() for row in told.items()]

RIGHT = [
    ("split", split(form=list)),
    ("split", split(form=backwards)),
    ("redraw", redraw()),
    ("redraw", redraw_with_a_counter),
    ("redraw", redraw_with_choice),
    ("worth_writing", voucher()),
    ("worth_writing", lambda p, consent, *costs: [int(one) for one in voucher()(p, consent, *costs)]),
    ("failed_gates", gates()),
    ("failed_gates", gates(order=lambda failed: tuple(sorted(failed)))),
    ("psi", index()),
    ("psi", lambda *given: np.float32(index()(*given))),
    ("expected_average", lambda *given: pd.Series(average()(*given))),
    ("expected_average", lambda *given: list(average()(*given))),
]
