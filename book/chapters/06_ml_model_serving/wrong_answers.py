"""Answers to the exercises of chapter 06, right but for one condition, and what the checks say of them.

Python's `hash` in an answer to 6.2 is not here but in the tests of this chapter: what is said of it is
another each time.
"""

import hashlib
import itertools
import zlib


def same(given):
    """Return what is given."""
    return given


def faults(looked_for=None, strict=False, nan=False, no_numbers=(bool,), form=sorted):
    """Return an answer to 6.1."""

    def answer(row, required, optional):
        names = [*required, *optional]
        wanted = looked_for or names
        found = [f"{name} is missing" for name in wanted if name not in row]
        found += [f"{name} is not known" for name in row if name not in names]
        for name, value in row.items():
            if name not in names:
                continue
            if value is None or (value != value and not nan):
                if name in required or strict:
                    found.append(f"{name} must have a value")
            elif not isinstance(value, int | float) or type(value) in no_numbers:
                found.append(f"{name} is no number")
        return form(found)

    return answer


TURNS = itertools.cycle([False, False, True])


def place(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def hundredth(customer_id):
    return int(customer_id[1:]) % 100


def side(challenged, names=("champion", "challenger")):
    """Return an answer to 6.2 of the condition for the challenger."""
    return lambda customer_id, share: names[challenged(customer_id, share)]


KEYS = ["customer_id", "asked_at"]


def judged(known="known_at <= @day", on=KEYS, how="inner", log=same, form=same):
    """Return an answer to 6.3: `log` changes what is joined, and `form` what comes out."""

    def answer(answers, labels, day):
        labels = labels.query(known).rename(columns={"cutoff": "asked_at"})
        return form(log(answers).merge(labels[[*on, "churned"]], on=on, how=how))

    return answer


def as_told(result, fallback):
    raise ValueError(result)


def without_its_text(result, fallback):
    raise ValueError("bad request")


def of_another_kind(result, fallback):
    raise RuntimeError(result)


def patient(
    turns=range,
    pause=lambda attempt: 2 ** (attempt - 1),
    waits_after=False,
    caught=(ConnectionError, TimeoutError),
    good=lambda status, result: status == 200,
    at_fault=frozenset(range(400, 500)) - {408, 429},
    refuse=as_told,
    end=lambda fallback, attempts, wait: fallback(),
):
    """Return an answer to 6.4: `refuse` and `end` are what it does at a wrong request, and at the end."""

    def answer(send, fallback, attempts, wait):
        for attempt in turns(attempts):
            if attempt and not waits_after:
                wait(pause(attempt))
            try:
                status, result = send()
            except caught:
                if waits_after:
                    wait(pause(attempt + 1))
                continue
            if good(status, result):
                return result
            if status in at_fault:
                return refuse(result, fallback)
        return end(fallback, attempts, wait)

    return answer


def waits_at_the_end_too(fallback, attempts, wait):
    wait(2 ** (attempts - 1))
    return fallback()


def fallback_at_hand(send, fallback, attempts, wait):
    spare = fallback()
    return patient()(send, lambda: spare, attempts, wait)


def the_pair(send, fallback, attempts, wait):
    return send()


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
        faults(looked_for=["orders", "spend"]): request(
            "{'orders': 3, 'spend': 12.5}", "you do not say 'gap is missing'."
        ),
        faults(no_numbers=()): request(
            "{'orders': True, 'spend': 12.5, 'gap': 2.0}", "you do not say 'orders is no number'."
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
    },
    "side": {
        side(lambda customer_id, share: share > 0 and next(TURNS)): (
            "Asked twice at the share 0.1, C000000 gets both sides. "
            "Do not draw; derive the side from the customer_id."
        ),
        side(lambda customer_id, share: place(f"{customer_id}{share}") < share): (
            "C000003 was with the challenger at a smaller share, and is not at 0.5. "
            "Whoever is there stays there when the share grows."
        ),
        side(lambda customer_id, share: place(customer_id) >= share): (
            "At the share 0, 2000 of 2000 customers are with the challenger; it should be 0."
        ),
        side(lambda customer_id, share: hundredth(customer_id) <= 100 * share): (
            "At the share 0, 20 of 2000 customers are with the challenger; it should be 0."
        ),
        side(lambda customer_id, share: 1 + hundredth(customer_id) < 100 * share): (
            "At the share 1, 1980 of 2000 customers are with the challenger; it should be 2000."
        ),
        side(lambda customer_id, share: place(customer_id) < share**2): (
            "At the share 0.1, 16 of 2000 customers are with the challenger; it should be about 200."
        ),
        side(lambda customer_id, share: place(customer_id) < share, (False, True)): (
            'Your function returned False. It should return "challenger" or "champion".'
        ),
    },
    "judged": {
        judged("known_at < '2025-12-30'"): (
            "The answer of version 1 to C6 on 2025-11-27 comes out with the label 1, "
            "but its label is known only at 06:00 on 2025-12-29."
        ),
        judged(how="right"): ("A row of C5 and 2025-11-13 comes out, and the log has no such answer."),
        judged(log=lambda log: log.drop_duplicates(KEYS, keep="last")): (
            "The answer of version 1 to C1 on 2025-11-13 is missing; its label is known."
        ),
        judged(log=lambda log: log.assign(score=log["score"].to_numpy()[::-1])): (
            "The answer of version 1 to C1 on 2025-11-13 has score 0.7; in the log and the labels it is 0."
        ),
        judged(form=lambda found: found.drop(columns="score")): (
            "The column score is missing; yours are customer_id, asked_at, model_version, churned."
        ),
        judged(form=lambda found: found.astype({"asked_at": str})): (
            "The column asked_at is of the type object; leave it as it is in the log."
        ),
        judged(form=lambda found: found["churned"].tolist()): (
            "Your function returned [1, 1, 0, 0]. It should return a DataFrame of pandas."
        ),
        judged("known_at < '2099-01-01'"): (
            "The answer of version 1 to C2 on 2025-12-11 comes out with the label 1, "
            "but its label is not known yet on 2025-12-29."
        ),
        judged("known_at < @day"): (
            "The answer of version 1 to C1 on 2025-11-27 is missing; "
            "its label is known at midnight of the day."
        ),
        judged(on=["customer_id"]): (
            "The answer of version 1 to C1 on 2025-11-13 comes out 2 times: "
            "join by the customer and the moment."
        ),
        judged(how="left"): (
            "The answer of version 1 to C2 on 2025-12-11 comes out with the label nan, "
            "but its label is not known yet on 2025-12-29."
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
        patient(at_fault=()): (
            "For a request that is wrong (400), with attempts=3 send is called 2 times, not once."
        ),
        patient(turns=lambda attempts: range(attempts - 1)): (
            "For an endpoint that is slow twice you return 'fallback'; it should be 'score'."
        ),
        patient(good=lambda status, result: 200 <= status < 400): (
            "For an endpoint that answers 302, then 200 you return 'moved'; it should be 'score'."
        ),
        patient(at_fault=(400, 422)): (
            "For a request that is wrong (499), with attempts=3 send is called 2 times, not once."
        ),
        patient(at_fault=range(400, 600)): (
            "For an endpoint that answers 503, then 200 a ValueError comes out: busy."
        ),
        patient(at_fault=range(400, 500)): (
            "For an endpoint that is asked too often (429), then answers a ValueError comes out: slow."
        ),
        patient(good=lambda status, result: status == 200 and result): (
            "For an endpoint that gives the score 0, after a lost one, with attempts=3 "
            "send is called 3 times, not 2 times."
        ),
        # Nothing but an answer ends this; the check has to end all the same.
        patient(turns=lambda attempts: itertools.count(), caught=Exception): (
            "For an endpoint that is gone, with attempts=4 send is called 5 times, not 4 times."
        ),
        patient(end=waits_at_the_end_too): (
            "For an endpoint that is gone you wait [1, 2, 4, 8]; it should be [1, 2, 4]."
        ),
        fallback_at_hand: (
            "For an endpoint that answers at once the fallback is called once; "
            "call it once, when nothing else is left."
        ),
        patient(refuse=lambda result, fallback: fallback()): (
            "For a request that is wrong (400) you return 'fallback'; raise ValueError('trend is missing')."
        ),
        patient(refuse=without_its_text): (
            "For a request that is wrong (400) the ValueError says 'bad request'; "
            "it should say 'trend is missing'."
        ),
        the_pair: "For an endpoint that answers at once you return (200, 'score'); it should be 'score'.",
        patient(refuse=of_another_kind): (
            "Your code raised RuntimeError: trend is missing (in your line "
            f"{of_another_kind.__code__.co_firstlineno + 1}: raise RuntimeError(result))"
        ),
    },
}
WRONG = [(name, *row) for name, told in TOLD.items() for row in told.items()]

RIGHT = [
    ("complaints", faults()),
    ("complaints", faults(form=lambda found: sorted(set(found)))),
    ("side", side(lambda name, share: place(name) < share)),
    ("side", side(lambda name, share: zlib.crc32(name.encode()) < share * 2**32)),
    ("judged", judged()),
    ("judged", judged(form=lambda found: found[::-1].astype({"churned": bool}))),
    ("patient", patient()),
    ("patient", patient(turns=lambda attempts: iter(range(attempts)), caught=OSError)),
]
