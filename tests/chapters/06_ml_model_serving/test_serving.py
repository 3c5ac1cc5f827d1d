"""What chapter 06 promises of its gate, page, shadow, monitors and errors, without a server."""

import hashlib
import json
import linecache
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from medallion import contract
from press.source.chapter import parse

THURSDAY = datetime(2026, 1, 1)
ROW = pd.DataFrame({"a": [1.0]})
Names = dict[str, Any]
Run = Callable[..., Names]


# Parity ------------------------------------------------------------------------------------------


def test_the_gate_lets_only_a_complete_and_equal_answer_pass(run_cells: Run) -> None:
    batch = pd.DataFrame({"customer_id": ["C1", "C2", "C3"], "score": [0.1, 0.7, 0.4]})
    names = run_cells("06", "solution", defining=("require_parity",), batch=batch, pd=pd)
    names["require_parity"](batch.iloc[::-1])
    faulty = {
        "2 of 3 scores differ, first for C1": batch.assign(score=[0.2, 0.7, np.nan]),
        "1 of 3 scores differ, first for C3": batch.iloc[:2],
        "3 of 3 scores differ, first for C1": batch.iloc[:0],
        "1 of 3 scores differ, first for C9": pd.concat([batch, pd.DataFrame({"customer_id": ["C9"]})]),
    }
    for message, scores in faulty.items():
        with pytest.raises(ValueError) as refused:  # the message is compared below
            names["require_parity"](scores)
        assert str(refused.value) == message
    # Without the exercise's care for what is missing, the gate is the one that the text warns of
    names["differing"] = lambda one, other: [
        name
        for name, apart in zip(one["customer_id"], (one["score"] - other["score"]).abs(), strict=False)
        if apart > 1e-9
    ]
    names["require_parity"](batch.iloc[:0])


# The page ----------------------------------------------------------------------------------------


@pytest.fixture
def page(run_cells: Run) -> Names:
    """The names of the page's cells, for a batch that has a score for C1."""
    return run_cells(
        "06",
        "solution",
        defining=("sender", "cache", "stored", "Breaker", "Deadline", "page_score"),
        batch=pd.DataFrame({"customer_id": ["C1"], "score": [0.5]}),
        thursday=THURSDAY,
        timedelta=timedelta,
        time=time,
        requests=requests,
        pd=pd,
        ask=None,
    )


def answers(*script: Any) -> Callable[..., tuple[int, Any]]:
    """Return what stands in the place of `ask`: it plays the script, and repeats its end."""
    left = [*script]

    def ask(served: Any, rows: pd.DataFrame, seconds: float) -> tuple[int, Any]:
        step = left.pop(0) if len(left) > 1 else left[0]
        if step is requests.ReadTimeout:
            time.sleep(seconds)
        if isinstance(step, type):
            raise step("no answer")
        return step

    return ask


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([(200, [0.0])], (0.0, "endpoint")),
        ([requests.ConnectionError, (200, [0.9])], (0.9, "endpoint")),
        ([(503, "busy"), (200, [0.9])], (0.9, "endpoint")),
        ([(400, "a must have a value")], (0.5, "refused")),
        ([(401, None)], (0.5, "refused")),
        ([(404, "no such page")], (0.5, "refused")),
        ([(500, "KeyError in predict")], (0.5, "fallback")),
        ([requests.ConnectionError], (0.5, "fallback")),
        ([requests.ReadTimeout], (0.5, "fallback")),
        ([requests.exceptions.InvalidJSONError], (0.5, "fallback")),  # no JSON comes back
    ],
)
def test_a_page_has_a_score_within_its_budget(page: Names, script: list[Any], expected: Any) -> None:
    page["ask"] = answers(*script)
    began = time.monotonic()
    assert page["page_score"](None, "C1", ROW) == expected
    assert time.monotonic() - began < 0.5, "a quarter of a second, and as much for a busy machine"


def test_what_a_page_gets_without_a_stored_score_or_with_an_old_one(page: Names) -> None:
    page["ask"] = answers((500, "oh"))
    score = page["page_score"]
    assert score(None, "C2", ROW) == (None, "nothing")
    assert score(None, "C1", ROW, now=THURSDAY + timedelta(days=7)) == (0.5, "fallback")
    assert score(None, "C1", ROW, now=THURSDAY + timedelta(days=7, seconds=1)) == (None, "nothing")


def test_a_bug_comes_out(page: Names) -> None:
    page["ask"] = answers(KeyError)
    with pytest.raises(KeyError):
        page["page_score"](None, "C1", ROW)


def test_a_page_asks_a_frozen_endpoint_once(page: Names) -> None:
    """The time-out of `requests` ends a bit before the deadline; what is left would only add to the work."""
    asked: list[float] = []

    def ask(served: Any, rows: pd.DataFrame, seconds: float) -> None:
        asked.append(seconds)
        time.sleep(0.9 * seconds)
        raise requests.ReadTimeout

    page["ask"] = ask
    assert page["page_score"](None, "C1", ROW) == (0.5, "fallback")
    assert len(asked) == 1


def test_the_breaker_spares_the_pages_of_a_frozen_endpoint(page: Names) -> None:
    """And without it each of them waits."""
    page["ask"] = answers(requests.ReadTimeout)
    waited = {}
    for name, breaker in (("with", page["Breaker"]()), ("without", None)):
        began = time.monotonic()
        got = [page["page_score"](None, "C1", ROW, breaker=breaker, budget=0.1) for _ in range(10)]
        waited[name] = time.monotonic() - began
        assert got == [(0.5, "fallback")] * 10
    assert waited["with"] < 0.6 < 0.9 < waited["without"]


def test_the_breaker_lets_one_through_and_closes_when_it_succeeds(page: Names) -> None:
    clock = SimpleNamespace(now=100.0)
    page["time"] = SimpleNamespace(monotonic=lambda: clock.now)
    breaker = page["Breaker"]()
    for _ in range(3):
        assert breaker.lets()
        breaker.note(True)
    assert not breaker.lets()
    clock.now += 1.01
    assert [breaker.lets() for _ in range(3)] == [True, False, False]
    breaker.note(True)
    assert not breaker.lets()
    clock.now += 1.01
    assert breaker.lets()
    breaker.note(False)
    assert all(breaker.lets() for _ in range(5))
    assert page["Breaker"]().lets(), "each has a memory of its own"


def test_a_pause_is_random_and_ends_with_the_deadline(page: Names) -> None:
    slept: list[float] = []
    page["time"] = SimpleNamespace(monotonic=lambda: 5.0, sleep=slept.append)
    deadline = page["Deadline"](0.07)
    for _ in range(200):
        deadline.wait(4)
    assert 0 <= min(slept) < 0.02 and 0.05 < max(slept) <= 0.0701
    late = page["Deadline"](-1)
    late.wait(1)
    assert slept[-1] == 0


# The shadow --------------------------------------------------------------------------------------


def test_a_shadow_that_hangs_gets_eight_copies(run_cells: Run) -> None:
    goes_on = threading.Event()

    def ask(served: Any, row: Any, seconds: float) -> int:
        goes_on.wait(20)
        return 200

    names = run_cells("06", defining=("aside", "copy_to_shadow"), ask=ask, second=None)
    try:
        copies = [names["copy_to_shadow"](ROW) for _ in range(60)]
        accepted = [copy for copy in copies if copy is not None]
        assert (len(accepted), copies[:8]) == (8, accepted)
    finally:
        goes_on.set()
    assert [copy.result(20) for copy in accepted] == [200] * 8
    end = time.monotonic() + 10
    while names["places"]._value < 8 and time.monotonic() < end:
        time.sleep(0.01)
    assert names["copy_to_shadow"](ROW) is not None, "the places are free again"
    assert isinstance(names["aside"], ThreadPoolExecutor)
    names["aside"].shutdown()


# Monitors ----------------------------------------------------------------------------------------


@pytest.fixture
def monitor(run_cells: Run) -> Names:
    features = ["a", "gap"]
    training = pd.DataFrame({"a": [1.0] * 10, "gap": [None, 2.0] * 5})
    return run_cells(
        "06",
        defining=("USUAL", "health", "outcome", "LIMITS", "alarms"),
        training=training,
        FEATURES=features,
        json=json,
        np=np,
        pd=pd,
    )


def week(count: int = 2000, score: float = 0.4, days: int = 3, **lacking: float) -> pd.DataFrame:
    """Return a week of the log, in which some features are missing in a share of the rows."""
    at = pd.Timestamp("2026-01-01")
    usual = {"a": 0.0, "gap": 0.5} | lacking
    rows = [
        json.dumps({name: None if n < share * count else 1.0 for name, share in usual.items()})
        for n in range(count)
    ]
    stopped = [int(n < 0.4 * count) for n in range(count)]
    return pd.DataFrame(
        {
            "asked_at": at,
            "features_as_of": at - pd.Timedelta(days=days),
            "source": "endpoint",
            "score": score,
            "features": rows,
            "churned": stopped,
        }
    )


@pytest.mark.parametrize(
    ("rows", "rings"),
    [
        (week(), []),
        (week(score=0.42), []),
        (week(score=0.44), ["excess"]),
        (week(score=0.36), ["excess"]),
        (week(gap=0.54), []),
        (week(gap=0.6), ["nulls"]),
        (week(a=0.06), ["nulls"]),
        (week(days=7), []),
        (week(days=10), ["stale"]),
        (week().assign(source=["fallback"] * 30 + ["endpoint"] * 1970), ["fallback"]),
        (week(999), ["answers"]),
    ],
)
def test_each_alarm_rings_for_its_fault_alone(monitor: Names, rows: pd.DataFrame, rings: list[str]) -> None:
    assert monitor["alarms"](monitor["health"](rows) | monitor["outcome"](rows)) == rings


def test_a_week_without_labels_is_still_watched(monitor: Names) -> None:
    late = monitor["outcome"](week().iloc[:0])
    assert np.isnan([late["happened"], late["excess"]]).all()
    assert monitor["alarms"](monitor["health"](week(a=0.5)) | late) == ["nulls"]


def test_the_ranks_give_the_auc_of_both_versions(run_cells: Run) -> None:
    """Also with ties, and for rows that are drawn more than once."""
    lot = np.random.default_rng(1)
    stopped, both = lot.integers(0, 2, 300), lot.random((300, 2)).round(2)
    names = run_cells("06", defining=("aucs",), stopped=stopped, both=both, rankdata=rankdata)
    rows = lot.choice(np.arange(300), 300)
    expected = [roc_auc_score(stopped[rows], both[rows, place]) for place in (0, 1)]
    assert names["aucs"](rows) == pytest.approx(expected, abs=1e-12)


# Errors ------------------------------------------------------------------------------------------


@pytest.fixture
def served_class(run_cells: Run) -> Any:
    """The class of the file that is served, made of the lesson's own text."""
    complaints = run_cells("06", "solution", pd=pd)["complaints"]
    name = complaints.__code__.co_filename
    source = next(
        cell.source
        for cell in parse(contract.find("06")).cells
        if cell.role == "solution" and cell.source.startswith("def complaints")
    )
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    try:
        code = run_cells("06", defining=("LOADS", "PREDICTS"), complaints=complaints)["CODE"]
    finally:
        del linecache.cache[name]
    module: Names = {}
    exec(code, module)
    return module["Churn"]


def test_a_fault_of_the_caller_is_a_400_and_a_bug_a_500(served_class: Any) -> None:
    model = served_class()
    model.names = {"required": ["orders"], "optional": ["gap"]}
    model.trees = SimpleNamespace(
        feature_name=lambda: ["orders", "gap"], predict=lambda rows: [0.5] * len(rows)
    )
    rows = pd.DataFrame({"gap": [np.nan, 1.0], "orders": [1.0, 2.0]})
    assert model.predict(None, rows) == [0.5, 0.5]
    faulty = {
        "orders must have a value": rows.assign(orders=[np.nan, 1.0]),
        "gap is missing": rows[["orders"]],
        "gap is no number; orders is no number": rows.assign(gap=np.inf, orders=[-np.inf, 1]),
    }
    for message, sent in faulty.items():
        with pytest.raises(mlflow.MlflowException) as refused:
            model.predict(None, sent)
        assert (refused.value.get_http_status_code(), refused.value.message) == (400, message)
    model.trees = None
    with pytest.raises(mlflow.MlflowException) as failed:
        model.predict(None, rows)
    assert (failed.value.get_http_status_code(), failed.value.message) == (500, "AttributeError in predict")


# Versions ----------------------------------------------------------------------------------------


def test_the_same_content_is_registered_once(run_cells: Run) -> None:
    versions: list[SimpleNamespace] = []
    aliases: dict[str, int] = {}

    def create(name: str, uri: str, run: str, *, tags: dict[str, str], model_id: str) -> SimpleNamespace:
        versions.append(SimpleNamespace(version=len(versions) + 1, tags=tags))
        return versions[-1]

    client = SimpleNamespace(
        search_model_versions=lambda query: versions[::-1],
        create_model_version=create,
        set_registered_model_alias=lambda name, alias, version: aliases.update({alias: version}),
    )
    names = run_cells("06", defining=("register",), client=client, CODE="code", hashlib=hashlib)
    names["log_model"] = lambda trees, source: SimpleNamespace(model_uri="", run_id="", model_id="")
    trees = {name: SimpleNamespace(model_to_string=lambda name=name: name) for name in ("one", "other")}
    made = [
        names["register"](trees[name], "churn", alias)
        for name, alias in (("one", "champion"), ("other", "challenger"), ("one", "champion"))
    ]
    assert made == [1, 2, 1]
    assert aliases == {"champion": 1, "challenger": 2}
    names["CODE"] = "other code"
    assert names["register"](trees["one"], "churn", "champion") == 3
    assert {version.tags["source"] for version in versions} == {"churn"}


def test_a_router_goes_on_without_the_registry(run_cells: Run) -> None:
    found = SimpleNamespace(version="7")

    def by_alias(name: str, alias: str) -> SimpleNamespace:
        if found.version is None:
            raise mlflow.MlflowException("down")
        return found

    names = run_cells(
        "06",
        "solution",
        defining=("endpoints", "refresh", "route"),
        client=SimpleNamespace(get_model_version_by_alias=by_alias),
        MlflowException=mlflow.MlflowException,
        old=1,
        new=2,
        first=None,
        second=None,
        pd=pd,
    )
    names["refresh"]()
    found.version = None
    names["refresh"]()
    assert {names["route"](f"C{number}", 0.5) for number in range(50)} == {7}
