"""Answers to the exercises of chapter 05, right but for one condition, and what the checks say of them."""

import operator

import numpy as np
import pandas as pd


def split(train="known_at <= @day", test="cutoff >= @day", form=tuple):
    """Return an answer to 5.1 of two queries."""

    def answer(table, day):
        return form([table.query(train), table.query(test)])

    return answer


def backwards(parts):
    """Return a list of the parts, each from its last row to its first, numbered anew."""
    return [part[::-1].reset_index(drop=True) for part in parts]


def voucher(least=lambda cost, back, worth: cost / (back * worth), writes=np.greater):
    """Return an answer to 5.2 of the least probability that pays."""
    return lambda probability, *costs: writes(probability, least(*costs))


def gates(columns=set, bound=0.02, missing=0, order=sorted, worse=operator.lt):
    """Return an answer to 5.3."""

    def answer(champion, challenger):
        measures = (("metric", "pr_auc"), ("value", "profit"))
        failed = [gate for gate, key in measures if worse(challenger[key], champion[key])]
        if columns(challenger["columns"]) != columns(champion["columns"]):
            failed.append("signature")
        for group, before in champion["slices"].items():
            if challenger["slices"].get(group, missing) < before - bound:
                failed.append("slice")
                break
        return order(failed)

    return answer


def index(more=0.5, side="right", sign=1, total=np.sum, moved=np.subtract):
    """Return an answer to 5.4."""

    def shares(values, edges):
        places = np.searchsorted(edges, values, side=side)
        counts = np.bincount(places, minlength=len(edges) + 1) + more
        return counts / total(counts)

    def answer(expected, actual, edges):
        e, a = shares(expected, edges), shares(actual, edges)
        return float(sign * np.sum(moved(a, e) * np.log(a / e)))

    return answer


def average(own=lambda x, mean: np.where(x > 0, mean, 0), weight=lambda x, p, q: p * x / (p * x + q - 1)):
    """Return an answer to 5.5."""

    def answer(x, mean, p, q, v):
        share = weight(x, p, q)
        return share * own(x, mean) + (1 - share) * p * v / (q - 1)

    return answer


ROW = "For the day 2025-11-27 the row with cutoff"
CASE = "With cost 1, back 0.25 and worth 8, a customer with probability"
MOVED = "For a sample that has moved (expected [1, 1, 1, 3], actual [1, 3, 3, 3], edges [2.0])"

TOLD = {
    "split": {
        split("cutoff < @day"): (
            f"{ROW} 2025-11-13, known on 2025-12-15, is in train; "
            "it belongs to neither, because its label is not known yet, and its cutoff is past."
        ),
        split("known_at < @day"): (
            f"{ROW} 2025-10-26, known on 2025-11-27, is in neither; "
            "it belongs to train, because its label is known at midnight of the day."
        ),
        split(test="cutoff > @day"): (
            f"{ROW} 2025-11-27, known on 2025-12-29, is in neither; "
            "it belongs to test, because its cutoff is that day."
        ),
        split(test="known_at > @day"): (
            f"{ROW} 2025-11-13, known on 2025-12-15, is in test; "
            "it belongs to neither, because its label is not known yet, and its cutoff is past."
        ),
        split("cutoff < @day", form=lambda parts: parts[0]): (
            "Your function returned a DataFrame. It should return two DataFrames, train and test."
        ),
    },
    "worth_writing": {
        voucher(writes=np.greater_equal): (f"{CASE} 0.5 brings 1 on average; you say write."),
        voucher(lambda cost, back, worth: cost / worth): (
            f"{CASE} 0.25 brings 0.5 on average; you say write."
        ),
        voucher(lambda *_: 0.4): f"{CASE} 0.5 brings 1 on average; you say write.",
        voucher(lambda cost, back, worth: 1 / (back * worth)): (
            "With cost 3, back 0.5 and worth 24, a customer with probability 0.125 brings 1.5 on average; "
            "you say write."
        ),
        voucher(writes=lambda *_: True): (
            "Your function returned True. It should return 5 answers, one for each probability."
        ),
    },
    "failed_gates": {
        gates(columns=list): (
            "For a challenger that takes the same columns in another order the failed gates are []; "
            "yours are ['signature']."
        ),
        gates(columns=len): (
            "For a challenger that takes another column the failed gates are ['signature']; yours are []."
        ),
        gates(worse=operator.le): (
            "For a challenger that equals the champion the failed gates are []; "
            "yours are ['metric', 'value']."
        ),
        gates(bound=0): (
            "For a challenger whose slice 'new' is lower by 0.01 the failed gates are []; "
            "yours are ['slice']."
        ),
        gates(missing=1): (
            "For a challenger that lacks the slice 'old' the failed gates are ['slice']; yours are []."
        ),
        gates(order=list): (
            "For a challenger that fails all four the gates are right, and not sorted: "
            "['metric', 'value', 'signature', 'slice']."
        ),
    },
    "psi": {
        index(more=1e-9): f"{MOVED} the index is 0.6778; yours is 1.0986.",
        index(side="left"): (
            "For a value that equals an edge (expected [1, 1, 3, 3], actual [2, 2, 3, 3], edges [2.0]) "
            "the index is 0.8789; yours is 0.0000."
        ),
        index(total=lambda _: 1): f"{MOVED} the index is 0.6778; yours is 3.3892.",
        index(moved=lambda a, e: a): f"{MOVED} the index is 0.6778; yours is 0.3389.",
        print: "Your function returned nothing. Does it end with return? It should return a number.",
        index(sign=-1): f"{MOVED} the index is 0.6778; yours is -0.6778.",
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
        average(own=lambda *_: 0, weight=lambda *_: 0): (
            "For 5 customers you return 1 number; return one for each."
        ),
    },
}
WRONG = [(name, *row) for name, told in TOLD.items() for row in told.items()]

RIGHT = [
    ("split", split(form=list)),
    ("split", split(form=backwards)),
    ("worth_writing", voucher()),
    ("worth_writing", voucher(writes=lambda p, least: [int(one > least) for one in p])),
    ("failed_gates", gates()),
    ("failed_gates", gates(order=lambda failed: tuple(sorted(failed)))),
    ("psi", index()),
    ("psi", lambda *given: np.float32(index()(*given))),
    ("expected_average", lambda *given: pd.Series(average()(*given))),
    ("expected_average", lambda *given: list(average()(*given))),
]
