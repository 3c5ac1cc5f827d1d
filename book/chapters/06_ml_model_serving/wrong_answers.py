"""Answers to the exercises of chapter 06, right but for one condition, and what the checks say of them.

Python's `hash` in an answer to 6.3 is not here but in the tests of this chapter: what is said of it is
another each time.
"""

import hashlib
import itertools
import random
import zlib
from functools import partial
from numbers import Real

import numpy as np
import pandas as pd


def same(given):
    """Return what is given."""
    return given


def faults(
    looked_for=None,
    strict=False,
    nan=False,
    no_numbers=(bool,),
    number=Real,
    endless=(float("inf"), -float("inf")),
    required=None,
    form=sorted,
):
    """Return an answer to 6.1."""

    def answer(row, needed, optional):
        needed = required or needed
        names = [*needed, *optional]
        wanted = looked_for or names
        found = [f"{name} is missing" for name in wanted if name not in row]
        found += [f"{name} is not known" for name in row if name not in names]
        for name, value in row.items():
            if name not in names:
                continue
            if value is None or (value != value and not nan):
                if name in needed or strict:
                    found.append(f"{name} must have a value")
            elif not isinstance(value, number) or type(value) in no_numbers or value in endless:
                found.append(f"{name} is no number")
        return form(found)

    return answer


def nan_of_python_only(row, required, optional):
    """Take NumPy's NaN of 32 bits, which is no float of Python, for a value."""
    row = {
        name: 0 if isinstance(value, np.float32) and value != value else value for name, value in row.items()
    }
    return faults()(row, required, optional)


def table_of_the_examples(row, required, optional):
    """Return the faults for one table only."""
    return faults()(row, ["orders", "spend"], ["gap"])


def first_fault(row, required, optional):
    return faults()(row, required, optional)[:1]


def apart(how="outer", agree=lambda one, other: (one - other).abs() <= 1e-9, form=sorted):
    """Return an answer to 6.2 of the condition for agreement."""

    def answer(batch, online):
        both = batch.merge(online, on="customer_id", how=how)
        return form(both["customer_id"][~agree(both["score_x"], both["score_y"])])

    return answer


def larger(one, other):
    return ~((one - other).abs() > 1e-9)


def by_position(batch, online):
    wrong = (batch["score"] - online["score"]).abs() > 1e-9
    return sorted(batch["customer_id"][wrong.reindex(batch.index, fill_value=True)])


def of_the_frames(batch, online):
    both = batch.merge(online, on="customer_id", how="outer")
    return both[~((both["score_x"] - both["score_y"]).abs() <= 1e-9)]


def by_dictionary(batch, online):
    ours = dict(zip(batch["customer_id"], batch["score"], strict=True))
    theirs = dict(zip(online["customer_id"], online["score"], strict=True))
    names = sorted(ours.keys() | theirs.keys())
    gap = {name: abs(ours.get(name, np.nan) - theirs.get(name, np.nan)) for name in names}
    return tuple(name for name in names if not gap[name] <= 1e-9)


def by_groups(batch, online):
    scores = pd.concat([batch, online]).groupby("customer_id")["score"]
    agree = (scores.count() == 2) & (scores.max() - scores.min() <= 1e-9)
    return sorted(agree.index[~agree])


def of_the_batch_only(batch, online):
    theirs = dict(zip(online["customer_id"], online["score"], strict=True))
    pairs = zip(batch["customer_id"], batch["score"], strict=True)
    return [name for name, score in pairs if not abs(score - theirs.get(name, np.nan)) <= 1e-9]


def filled(batch, online, both_missing=False):
    both = batch.merge(online, on="customer_id", how="outer").sort_values("customer_id")
    scores = both[["score_x", "score_y"]]
    gap = scores.fillna(0).diff(axis=1)["score_y"].abs()
    wrong = (gap > 1e-9) | (both_missing & scores.isna().all(axis=1))
    return list(both["customer_id"][wrong])


TURNS = itertools.cycle([False, False, True])


def place(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def hundredth(customer_id):
    return int(customer_id[1:]) % 100


def side(challenged, names=("champion", "challenger")):
    """Return an answer to 6.3 of the condition for the challenger."""
    return lambda customer_id, share, experiment: names[
        challenged(f"{experiment}-{customer_id}", customer_id, share)
    ]


def by_first_letter(customer_id, share, experiment):
    return "challenger" if place(experiment[0] + customer_id) < share else "champion"


def by_length(customer_id, share, experiment):
    return "challenger" if place(f"{len(experiment)}-{customer_id}") < share else "champion"


def by_last_digits(both, customer_id, share):
    return int(customer_id[-3:]) / 1000 < share


def by_digits_and_experiment(both, customer_id, share):
    return (hundredth(customer_id) + len(both)) % 100 / 100 < share


def by_first_digits(both, customer_id, share):
    return int(customer_id[1:5]) / 2000 < share if customer_id[1:].isdigit() else place(both) < share


def by_checksum(both, customer_id, share):
    """A checksum is linear: of two experiments, one has all those whom the other has not."""
    return zlib.crc32(both.encode()) < share * 2**32


KEYS = ["customer_id", "asked_at"]


def judged(known="known_at <= @day", on=KEYS, how="inner", log=same, form=same):
    """Return an answer to 6.4: `log` changes what is joined, and `form` what comes out."""

    def answer(answers, labels, day):
        labels = labels.query(known).rename(columns={"cutoff": "asked_at"})
        return form(log(answers).merge(labels[[*on, "churned"]], on=on, how=how))

    return answer


def by_place(answers, labels, day):
    """Look each answer's label up, instead of a join."""
    known = labels[labels["known_at"] <= day].set_index(["customer_id", "cutoff"])["churned"]
    found = known.reindex(pd.MultiIndex.from_frame(answers[KEYS])).to_numpy()
    return answers.assign(churned=found)[~np.isnan(found)]


def stored(fallback):
    return fallback(), "fallback"


def patient(
    turns=range,
    pause=lambda attempt: 2 ** (attempt - 1),
    waits_after=False,
    caught=(ConnectionError, TimeoutError),
    good=lambda status, result: status == 200,
    at_fault=frozenset(range(400, 500)) - {408, 429},
    refuse=lambda result, fallback: (fallback(), "refused"),
    answered=lambda result: (result, "endpoint"),
    late=lambda seconds: seconds <= 0,
    given=same,
    end=lambda fallback, attempts, wait: stored(fallback),
):
    """Return an answer to 6.5: `refuse` and `end` are what it does at a wrong request, and at the end."""

    def answer(send, fallback, attempts, wait, left):
        for attempt in turns(attempts):
            if attempt and not waits_after:
                wait(pause(attempt))
            seconds = left()
            if late(seconds):
                break
            try:
                status, result = send(given(seconds))
            except caught:
                if waits_after:
                    wait(pause(attempt + 1))
                continue
            if good(status, result):
                return answered(result)
            if status in at_fault:
                return refuse(result, fallback)
        return end(fallback, attempts, wait)

    return answer


def raises(result, fallback):
    raise ValueError(result)


def waits_at_the_end_too(fallback, attempts, wait):
    wait(2 ** (attempts - 1))
    return stored(fallback)


def fallback_at_hand(send, fallback, attempts, wait, left):
    spare = fallback()
    return patient()(send, lambda: spare, attempts, wait, left)


def the_pair(send, fallback, attempts, wait, left):
    return send(left())


def deadline_at_the_beginning(send, fallback, attempts, wait, left):
    seconds = left()
    return patient()(send, fallback, attempts, wait, lambda: seconds)


def left_before_the_pause(send, fallback, attempts, wait, left):
    """Look at the time, and only then wait: what the pause takes is not counted."""
    seen = []

    def wait_late(step):
        seen.append(left())
        wait(step)

    return patient()(send, fallback, attempts, wait_late, lambda: seen[-1] if seen else left())


def waits_after_a_failure(send, fallback, attempts, wait, left):
    """Wait after an attempt, if another follows; then look at the time."""
    for more in range(attempts - 1, -1, -1):
        if (seconds := left()) <= 0:
            break
        try:
            status, result = send(seconds)
        except (ConnectionError, TimeoutError):
            status, result = 0, None
        if status == 200:
            return result, "endpoint"
        if status // 100 == 4 and status not in (408, 429):
            return fallback(), "refused"
        if more:
            wait(2 ** (attempts - 1 - more))
    return fallback(), "fallback"


def request(row, told):
    return f"For the row {row}, where orders and spend are required and gap is optional, {told}"


TOLD = {
    "complaints": {
        faults(strict=True): request(
            "{'orders': 0, 'spend': 0.0, 'gap': None}",
            "you say 'gap must have a value', and that is no fault.",
        ),
        faults(nan=True): request(
            "{'orders': nan, 'spend': 12.5, 'gap': 2.0}", "you do not say 'orders must have a value'."
        ),
        nan_of_python_only: request(
            "{'orders': np.float32(nan), 'spend': 12.5, 'gap': 2.0}",
            "you do not say 'orders must have a value'.",
        ),
        faults(looked_for=["orders", "spend"]): request(
            "{'orders': 3, 'spend': 12.5}", "you do not say 'gap is missing'."
        ),
        faults(no_numbers=()): request(
            "{'orders': True, 'spend': 12.5, 'gap': 2.0}", "you do not say 'orders is no number'."
        ),
        faults(number=int | float): request(
            "{'orders': np.int64(3), 'spend': np.float32(0.5), 'gap': np.float64(nan)}",
            "you say 'orders is no number', and that is no fault.",
        ),
        faults(number=(int, float, str)): request(
            "{'orders': '3', 'spend': 12.5, 'gap': 2.0}", "you do not say 'orders is no number'."
        ),
        faults(endless=()): request(
            "{'orders': 3, 'spend': inf, 'gap': 2.0}", "you do not say 'spend is no number'."
        ),
        faults(endless=(float("inf"),)): request(
            "{'orders': 3, 'spend': 12.5, 'gap': -inf}", "you do not say 'gap is no number'."
        ),
        faults(form=list): request(
            "{'orders': None, 'gap': 'two', 'shoe': 44}", "the sentences are right, and not sorted."
        ),
        faults(form=lambda found: sorted(found) * 2): request(
            "{'orders': None, 'spend': 12.5, 'gap': 2.0}",
            "you say 'orders must have a value' more than once.",
        ),
        faults(form=set): "Your function returned set(). It should return a list.",
        faults(form=list.sort): (
            "Your function returned nothing. Does it end with return? It should return a list."
        ),
        table_of_the_examples: (
            "For the row {'age': None, 'city': 5}, with required=['age'] and optional=['city'], you do "
            "not say 'age must have a value'."
        ),
        first_fault: request(
            "{'orders': None, 'gap': 'two', 'shoe': 44}", "you do not say 'orders must have a value'."
        ),
    },
    "differing": {
        apart(how="inner"): (
            "For an answer without C2, C2 is not in your list, and the endpoint did not answer for it."
        ),
        apart(how="left"): (
            "For a customer whom the batch lacks, C9 is not in your list, and the batch lacks it."
        ),
        apart(how="right"): (
            "For an answer without C2, C2 is not in your list, and the endpoint did not answer for it."
        ),
        apart(agree=larger): (
            "For an endpoint that gives no score for C2, C2 is not in your list, and its score online is NaN."
        ),
        apart(how="inner", agree=larger): (
            "For an endpoint that gives no score for C2, C2 is not in your list, and its score online is NaN."
        ),
        apart(agree=lambda one, other: one - other <= 1e-9): (
            "For scores that are 0.000001 apart, C2 is not in your list, and the endpoint's is higher by "
            "0.000001."
        ),
        apart(agree=np.isclose): (
            "For scores that are 0.000001 apart, C1 is not in your list, and the endpoint's is lower by "
            "0.000001."
        ),
        apart(agree=lambda one, other: np.isclose(one, other, rtol=0, atol=1e-9, equal_nan=True)): (
            "For a customer without a score on both sides, C2 is not in your list, and NaN agrees with "
            "nothing."
        ),
        apart(agree=lambda one, other: one == other): (
            "For scores that are 1e-12 apart, you return 'C1', whose scores agree."
        ),
        apart(agree=lambda one, other: one.round(3) == other.round(3)): (
            "For scores that are 0.000001 apart, C1 is not in your list, and the endpoint's is lower by "
            "0.000001."
        ),
        apart(agree=lambda one, other: (one - other).abs() <= 1e-8): (
            "For scores that are 3e-9 apart, C1 is not in your list, and at most 1e-9 is allowed."
        ),
        apart(agree=lambda one, other: one.round(9) == other.round(9)): (
            "For scores that are 2e-10 apart, and different when they are rounded, you return 'C1', whose "
            "scores agree."
        ),
        apart(form=len): "Your function returned 0. It should return a list of customers.",
        apart(form=lambda found: sorted(found, reverse=True)): (
            "For scores that are 0.000001 apart, your list is ['C2', 'C1']; it should be ['C1', 'C2']."
        ),
        filled: (
            "For an endpoint that gives no score for C2, whose score in the batch is 0, C2 is not in your "
            "list, and its score online is NaN."
        ),
        partial(filled, both_missing=True): (
            "For an endpoint that gives no score for C2, whose score in the batch is 0, C2 is not in your "
            "list, and its score online is NaN."
        ),
        by_position: "For equal scores in another order, you return 'C1', whose scores agree.",
        of_the_frames: "Your function returned a DataFrame. It should return a list of customers.",
        of_the_batch_only: (
            "For a customer whom the batch lacks, C9 is not in your list, and the batch lacks it."
        ),
    },
    "side": {
        side(lambda both, customer_id, share: share > 0 and next(TURNS)): (
            "Asked twice at the share 0.1, C000000 gets both sides. Do not draw; derive the side from "
            "the customer_id."
        ),
        side(lambda both, customer_id, share: place(f"{both}{share}") < share): (
            "C000011 was with the challenger at a smaller share, and is not at 0.5. Whoever is there "
            "stays there when the share grows."
        ),
        side(lambda both, customer_id, share: place(both) >= share): (
            "At the share 0, 2000 of 2000 customers are with the challenger; it should be 0."
        ),
        side(lambda both, customer_id, share: hundredth(customer_id) <= 100 * share): (
            "At the share 0, 20 of 2000 customers are with the challenger; it should be 0."
        ),
        side(lambda both, customer_id, share: 1 + hundredth(customer_id) < 100 * share): (
            "At the share 1, 1980 of 2000 customers are with the challenger; it should be 2000."
        ),
        side(lambda both, customer_id, share: place(both) < share**2): (
            "At the share 0.1, 16 of 2000 customers are with the challenger; it should be about 200."
        ),
        side(lambda both, customer_id, share: place(both) < share, (False, True)): (
            'Your function returned False. It should return "challenger" or "champion".'
        ),
        side(by_last_digits): "Your code raised ValueError: invalid literal for int() with base 10: 'aan'…",
        side(by_digits_and_experiment): (
            "At the share 0.1, 0 of 2000 customers whose id ends in 00 are with the challenger; it "
            "should be about 200."
        ),
        side(by_first_digits): (
            "At the share 0.1, 2000 of 2000 customers are with the challenger; it should be about 200."
        ),
        side(lambda both, customer_id, share: place(customer_id) < share): (
            "994 of 2000 customers are with the challenger both in the experiment voucher and in banner, "
            "at the share 0.5; it should be about 500. Hash the complete name of the experiment along with "
            "the customer_id, by a hash of hashlib."
        ),
        by_first_letter: (
            "1004 of 2000 customers are with the challenger both in the experiment voucher and in visitor, "
            "at the share 0.5; it should be about 500. Hash the complete name of the experiment along with "
            "the customer_id, by a hash of hashlib."
        ),
        by_length: (
            "1026 of 2000 customers are with the challenger both in the experiment voucher and in visitor, "
            "at the share 0.5; it should be about 500. Hash the complete name of the experiment along with "
            "the customer_id, by a hash of hashlib."
        ),
        side(by_checksum): (
            "0 of 2000 customers are with the challenger both in the experiment voucher and in banner, "
            "at the share 0.5; it should be about 500. Hash the complete name of the experiment along with "
            "the customer_id, by a hash of hashlib."
        ),
    },
    "judged": {
        judged("known_at < '2025-12-30'"): (
            "The answer R8 of version 1 to C6 on 2025-11-27 comes out with the label 1, but its label is "
            "known only at 06:00 on 2025-12-29."
        ),
        judged(how="right"): "A row of C5 and 2025-11-13 comes out, and the log has no such answer.",
        judged(log=lambda log: log.drop_duplicates(KEYS, keep="last")): (
            "The answer R1 of version 1 to C1 on 2025-11-13 is missing; its label is known."
        ),
        judged(log=lambda log: log.drop_duplicates([*KEYS, "model_version"])): (
            "The answer R9 of version 1 to C1 on 2025-11-13 is missing; it is a second request, with an "
            "answer of its own."
        ),
        judged(log=lambda log: log.drop(columns="request_id")): (
            "The column request_id is missing; yours are customer_id, asked_at, model_version, score, "
            "note, churned."
        ),
        judged(log=lambda log: log.assign(score=log["score"].to_numpy()[::-1])): (
            "The answer R2 of version 2 to C1 on 2025-11-13 has score 0.7; in the log and the labels it "
            "is 0.1."
        ),
        judged(form=lambda found: found.drop(columns="score")): (
            "The column score is missing; yours are request_id, customer_id, asked_at, model_version, "
            "note, churned."
        ),
        judged(form=lambda found: found.drop(columns="note")): (
            "The column note is missing; yours are request_id, customer_id, asked_at, model_version, "
            "score, churned."
        ),
        judged(how="left", form=lambda found: found.dropna()): (
            "The answer R1 of version 1 to C1 on 2025-11-13 is missing; its label is known."
        ),
        judged(form=lambda found: found.astype({"asked_at": str})): (
            "The column asked_at is of the type object; leave it as it is in the log."
        ),
        judged(form=lambda found: found["churned"].tolist()): (
            "Your function returned [1, 1, 0, 0, 1]. It should return a DataFrame of pandas."
        ),
        judged("known_at < '2099-01-01'"): (
            "The answer R4 of version 1 to C2 on 2025-12-11 comes out with the label 1, but its label is "
            "not known yet on 2025-12-29."
        ),
        judged("known_at <= '2025-12-29'"): (
            "The answer R1 of version 1 to C1 on 2025-11-13 comes out with the label 1, but no label is "
            "known on 2025-12-01."
        ),
        judged("known_at < @day"): (
            "The answer R3 of version 1 to C1 on 2025-11-27 is missing; its label is known at midnight "
            "of the day."
        ),
        judged(on=["customer_id"]): (
            "The answer R1 of version 1 to C1 on 2025-11-13 comes out 2 times: join by the customer and "
            "the moment."
        ),
        judged(how="left"): (
            "The answer R4 of version 1 to C2 on 2025-12-11 comes out with the label nan, but its label "
            "is not known yet on 2025-12-29."
        ),
    },
    "patient": {
        patient(pause=lambda attempt: 1): (
            "For an endpoint that is slow twice you wait [1, 1]; it should be [1, 2]."
        ),
        patient(waits_after=True): (
            "For an endpoint that answers 503, then 200 you wait []; it should be [1]."
        ),
        patient(caught=ConnectionError): (
            "For an endpoint that is slow twice, TimeoutError comes out. Catch it and try again."
        ),
        patient(caught=Exception): (
            "When send raises a KeyError, you go on. That is a fault of the program, which nobody would "
            "see; catch ConnectionError and TimeoutError only."
        ),
        patient(caught=(OSError, ValueError)): (
            "When send raises a ValueError, you go on. That is a fault of the program, which nobody would "
            "see; catch ConnectionError and TimeoutError only."
        ),
        left_before_the_pause: (
            "For an endpoint that is gone, with 0.3 seconds at the beginning and pauses of 0.2, send is "
            "given [0.3, 0.3, 0.1]; it should be [0.3, 0.1], and nothing after that. Ask left() after each "
            "pause."
        ),
        patient(at_fault=()): (
            "For a request that is wrong (400), with attempts=3 send is called 2 times, not once."
        ),
        patient(turns=lambda attempts: range(attempts - 1)): (
            "For an endpoint that is slow twice you return ('stored', 'fallback'); it should be (0.7, "
            "'endpoint')."
        ),
        patient(good=lambda status, result: 200 <= status < 400): (
            "For an endpoint that answers 302, then 200 you return ('moved', 'endpoint'); it should be "
            "(0.7, 'endpoint')."
        ),
        patient(at_fault=(400, 422)): (
            "For a token that has expired (401), with attempts=3 send is called 2 times, not once."
        ),
        patient(at_fault=range(400, 600)): (
            "For an endpoint that answers 503, then 200 you return ('stored', 'refused'); it should be "
            "(0.7, 'endpoint')."
        ),
        patient(at_fault=range(400, 500)): (
            "For an endpoint that is asked too often (429), then answers you return ('stored', "
            "'refused'); it should be (0.7, 'endpoint')."
        ),
        patient(good=lambda status, result: status == 200 and result): (
            "For an endpoint that gives the score 0, after a lost one, with attempts=3 send is called 3 "
            "times, not 2 times."
        ),
        patient(turns=lambda attempts: itertools.count(), caught=Exception): (
            "For an endpoint that is gone, with attempts=4 send is called 5 times, not 4 times."
        ),
        patient(end=waits_at_the_end_too): (
            "For an endpoint that is gone you wait [1, 2, 4, 8]; it should be [1, 2, 4]."
        ),
        fallback_at_hand: (
            "For an endpoint that answers at once the fallback is called once; call it once, when "
            "nothing else is left."
        ),
        the_pair: (
            "For an endpoint that answers at once you return (200, 0.7); it should be (0.7, 'endpoint')."
        ),
        deadline_at_the_beginning: (
            "For an endpoint that is gone, with 0.3, 0.1 and then 0 seconds left, with attempts=5 send "
            "is called 3 times, not 2 times."
        ),
        patient(late=lambda seconds: False): (
            "For an endpoint that is gone, with 0.3, 0.1 and then 0 seconds left, with attempts=5 send "
            "is called 3 times, not 2 times."
        ),
        patient(late=lambda seconds: seconds == 0): (
            "For an endpoint that is silent until the deadline has passed by 0.02 seconds, with "
            "attempts=5 send is called 2 times, not once."
        ),
        patient(given=lambda seconds: 1): (
            "For an endpoint that answers at once send is given [1]; the seconds that are left are [9.0]."
        ),
        patient(refuse=raises): "Your code raised ValueError: trend is missing…",
        patient(refuse=lambda result, fallback: (None, "refused")): (
            "For a request that is wrong (400) you return (None, 'refused'); it should be ('stored', "
            "'refused')."
        ),
        patient(refuse=lambda result, fallback: stored(fallback)): (
            "For a request that is wrong (400) you return ('stored', 'fallback'); it should be "
            "('stored', 'refused')."
        ),
        patient(answered=same): (
            "For an endpoint that answers at once you return 0.7; it should be (0.7, 'endpoint')."
        ),
    },
}
WRONG = [(name, *row) for name, told in TOLD.items() for row in told.items()]

RIGHT = [
    ("complaints", faults()),
    ("complaints", faults(form=lambda found: sorted(set(found)))),
    ("complaints", faults(form=lambda found: np.array(sorted(found)))),
    ("differing", apart()),
    ("differing", by_dictionary),
    ("differing", by_groups),
    ("differing", apart(form=lambda found: found.sort_values().to_numpy())),
    ("side", side(lambda both, customer_id, share: place(both) < share)),
    ("side", side(lambda both, customer_id, share: random.Random(both).random() < share)),
    (
        "side",
        side(
            lambda both, customer_id, share: (
                int(hashlib.md5(both.encode()).hexdigest(), 16) % 1000 < 1000 * share
            )
        ),
    ),
    ("judged", judged()),
    ("judged", by_place),
    ("judged", judged(form=lambda found: found[::-1].astype({"churned": bool}))),
    ("patient", patient()),
    ("patient", waits_after_a_failure),
    (
        "patient",
        patient(
            turns=lambda attempts: iter(range(attempts)), caught=OSError, answered=lambda r: [r, "endpoint"]
        ),
    ),
]
