"""What chapter 05 computes by itself, on other data than the chapter's, and without Spark."""

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from conftest import run_chapter
from mlflow.models import infer_signature
from sklearn.metrics import average_precision_score, roc_auc_score

NAMES = (
    "COST",
    "FEATURES",
    "HORIZON",
    "columns_of",
    "draws",
    "in_each_draw",
    "in_the_large",
    "interval",
    "profits",
    "shifted",
    "voucher_profit",
)


@pytest.fixture(scope="module")
def lesson() -> dict[str, Any]:
    """The functions of the chapter, and the answers to its exercises."""
    return run_chapter("05", "solution", defining=NAMES, np=np, pd=pd)


def rows_of(seed: int, customers: int = 60, most: int = 4) -> pd.DataFrame:
    """Return rows of some customers, up to `most` of each, with a label, a score with ties, and consent."""
    draw = np.random.default_rng(seed)
    who = np.repeat(np.arange(customers), draw.integers(1, most + 1, customers))
    draw.shuffle(who)
    score = draw.integers(1, 12, len(who)) / 12
    return pd.DataFrame(
        {
            "customer_id": [f"C{one:03}" for one in who],
            "churned": (draw.random(len(who)) < score).astype(int),
            "score": score,
            "consent": draw.choice([0.0, 1.0, np.nan], len(who)),
        }
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_day_of_a_test_label_is_in_a_training_label(lesson: dict[str, Any], seed: int) -> None:
    draw = random.Random(seed)
    cutoffs = [pd.Timestamp("2025-09-01") + pd.Timedelta(hours=draw.randrange(24 * 120)) for _ in range(200)]
    known = [cutoff + pd.Timedelta(days=28 + draw.randrange(10)) for cutoff in cutoffs]
    table = pd.DataFrame({"cutoff": cutoffs, "known_at": known})
    for day, first in (
        ("2025-11-13", "2025-11-13"),
        ("2025-11-27", "2025-11-13"),
        ("2025-12-15", "2025-10-30"),
    ):
        train, test = lesson["split"](table, day, first)
        assert len(train), "the property must not hold for want of rows"
        assert (train["cutoff"] + lesson["HORIZON"]).max() <= test["cutoff"].min()
        assert train["known_at"].max() <= pd.Timestamp(day)
        assert set(test.index) == set(table.index[table["cutoff"] >= pd.Timestamp(first)])


@pytest.mark.parametrize("seed", range(5))
def test_all_draws_at_once_agree_with_one_after_another(lesson: dict[str, Any], seed: int) -> None:
    rows = rows_of(seed)
    times = lesson["draws"](rows, many=20)
    found = lesson["in_each_draw"](rows["churned"], rows["score"], times)
    for drawn, auc, pr_auc in zip(times, found["auc"], found["pr_auc"], strict=True):
        weighted = {"sample_weight": drawn}
        assert auc == pytest.approx(roc_auc_score(rows["churned"], rows["score"], **weighted))
        assert pr_auc == pytest.approx(average_precision_score(rows["churned"], rows["score"], **weighted))


def test_customers_are_drawn_whole(lesson: dict[str, Any]) -> None:
    rows = rows_of(1)
    times = pd.DataFrame(lesson["draws"](rows, many=50).T)
    each = times.groupby(rows["customer_id"])
    assert (each.max() == each.min()).all(axis=None)
    assert (each.first().sum() == rows["customer_id"].nunique()).all()


def test_rows_drawn_one_by_one_promise_too_much(lesson: dict[str, Any]) -> None:
    """With ten equal rows of each customer, the interval is that of the customers, not of the rows."""
    once = rows_of(2, customers=80, most=1)
    often = pd.concat([once] * 10, ignore_index=True)
    apart = often.assign(customer_id=[f"R{one}" for one in range(len(often))])
    width = {}
    for name, rows in (("once", once), ("often", often), ("apart", apart)):
        drawn = lesson["in_each_draw"](rows["churned"], rows["score"], lesson["draws"](rows, many=200))
        low, high = lesson["interval"](drawn["auc"])
        width[name] = high - low
    assert width["often"] == pytest.approx(width["once"], rel=0.25)
    assert width["apart"] < width["once"] / 2


def test_nobody_without_consent_is_counted(lesson: dict[str, Any]) -> None:
    rows = rows_of(3)
    asked = rows[rows["consent"] == 1]
    profit = lesson["profits"](rows, rows["score"])
    assert len(profit) == len(asked)
    assert profit[-1] == pytest.approx((asked["churned"] * 2.5 - 1).sum())
    each = lesson["voucher_profit"](rows, rows["score"].to_numpy())
    assert (each[(rows["consent"] != 1).to_numpy()] == 0).all()
    assert each.sum() == pytest.approx((asked["churned"] * 2.5 - 1)[asked["score"] > 0.4].sum())


def test_a_shift_moves_the_level_and_keeps_the_order(lesson: dict[str, Any]) -> None:
    rows = rows_of(4)
    score = rows["score"].to_numpy() * 0.9
    moved = lesson["shifted"](score, -0.5)
    assert (np.argsort(moved, kind="stable") == np.argsort(score, kind="stable")).all()
    assert (moved < score).all()
    assert lesson["shifted"](moved, 0.5) == pytest.approx(score)
    exact = rows.assign(churned=1, score=1.0)
    assert lesson["in_the_large"](exact, np.full(len(exact), 0.5))["excess"] == -0.5


def test_the_index_sees_values_that_go_missing(lesson: dict[str, Any]) -> None:
    draw = np.random.default_rng(5)
    before, after = draw.normal(size=1000), draw.normal(size=1000)
    edges = np.quantile(before, [0.2, 0.4, 0.6, 0.8])
    quiet = lesson["psi"](before, after, edges)
    after[::2] = np.nan
    assert quiet < 0.1
    assert lesson["psi"](before, after, edges) > 1
    assert lesson["psi"](before, after[~np.isnan(after)], edges) < 0.1, "without them nothing is seen"


@pytest.mark.parametrize("low", [-0.02, -0.01, 0.0, 0.01])
def test_a_gate_depends_on_the_lower_end_alone(lesson: dict[str, Any], low: float) -> None:
    failed: Callable[..., list[str]] = lesson["failed_gates"]
    for high in (0.0, 0.5):
        found = failed({}, {}, {"metric": (low, high)}, {"metric": 0.01})
        assert found == (["metric"] if low < -0.01 else [])


def test_the_signature_gate_asks_what_a_model_requires(lesson: dict[str, Any]) -> None:
    """Columns are as MLflow infers them: optional where the training had missing values."""
    rows = pd.DataFrame({"a": [1.0, 2.0], "gap": [1.0, np.nan]})
    models = [
        SimpleNamespace(
            metadata=SimpleNamespace(get_input_schema=lambda given=given: infer_signature(given).inputs)
        )
        for given in (rows, rows.dropna(), rows[["a"]], rows.assign(new=[np.nan, 1.0]))
    ]
    whole, strict, fewer, more = map(lesson["columns_of"], models)
    assert whole["gap"][1] is False
    assert strict["gap"][1] is True
    failed = lesson["failed_gates"]
    assert failed(whole, strict, {}, {}) == ["signature"]
    assert failed(strict, whole, {}, {}) == failed(whole, fewer, {}, {}) == failed(whole, more, {}, {}) == []


def test_contributions_add_up_to_the_log_odds() -> None:
    """LightGBM's contributions are used as SHAP values: with the constant they add up to the raw score."""
    draw = np.random.default_rng(6)
    rows = pd.DataFrame(draw.normal(size=(300, 3)), columns=["a", "b", "c"])
    data = lightgbm.Dataset(rows, (rows["a"] + draw.normal(size=300) > 0).astype(int))
    trees = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, 10)
    parts = trees.predict(rows, pred_contrib=True)
    assert parts.sum(axis=1) == pytest.approx(trees.predict(rows, raw_score=True))
