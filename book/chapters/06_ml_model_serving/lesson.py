# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
#   medallion:
#     makes:
#       ml.served_scores: [ml.customer_features]
#       ml.inference_log: [ml.churn_training]
#       ml.serving_quality: [ml.inference_log, ml.churn_labels]
#     reads: [ml.churn_scores]
#     grain:
#       ml.served_scores: one customer as of 29 December, scored by Spark
#       ml.inference_log: one row of a request, as one version of the model answered it
#       ml.serving_quality: one version of the model, and one of two groups of customers
#     minutes: {read: 40, practise: 45}
#     summary: a model behind HTTP, equal to the batch, and what happens when it dies
#     outline: >-
#       Batch scoring with `spark_udf` and an HTTP endpoint, with equal answers. Bad input refused by name.
#       Feature lookup at serving time, and the age of the features. Shadow deployment, a traffic split of
#       champion and challenger, and rollback by alias. An inference table that is judged when the labels
#       come. Latency under load, and time-out, retry and fallback when the endpoint dies.
#     objectives:
#     - serve one model in a batch and by HTTP, and show that both give the same scores
#     - refuse bad input with a message that the caller can act on
#     - run a new version in the shadow, split the traffic, and roll back by an alias
#     - measure latency under load, and keep answering when the endpoint dies
# ---

# %% [markdown]
# # Model serving
#
# A score in a table is as old as its last run. When a customer opens the shop, the page asks *now* whether to show a
# voucher, and needs the answer before it is drawn. In this chapter the model answers over HTTP, with features from
# the online store. It gives the same scores as the batch and refuses bad input. A new version is tried out of sight,
# and the page is drawn even when the model is gone.
#
# Only the time in a request is fresh (`days_since`, `overdue`). The stored features are of the last weekly run, so an
# order of ten minutes ago is not seen.
#
# ![Where we are in the flow: from models to an endpoint and to scores](../book/figures/flow-06.svg)
#
# This chapter starts two servers beside Spark. Together they need about 2.3 GB of memory; on Binder, which gives 2,
# it may be stopped.

# %% tags=["setup"]
import pandas as pd

import medallion

check = medallion.checks("06")  # the file checks.py beside this lesson
spark = medallion.start("06")

# %% [markdown]
# ## Batch scoring with `spark_udf`
#
# The simplest way to serve a model is a batch: score everyone once a day, and let programs read the table. For that,
# Spark loads the model on its workers, as a function of columns (a UDF). (MLflow warns that it does not rebuild the
# environment of the training; ours is that of the course's lock.) Each worker that scores a partition first imports
# MLflow and loads the model. For a few thousand rows that takes longer than the scores, so `coalesce(1)` puts them
# into one partition. A table of millions of rows stays in many. (Our table keeps neither version nor moment; one that
# others read needs both, as in chapter 05.)

# %%
import logging

import mlflow
from mlflow import pyfunc

from medallion.servers import tracking

tracking.use("serving")
client = mlflow.MlflowClient()
champion = pyfunc.load_model("models:/churn@champion")
FEATURES = champion.metadata.get_input_schema().input_names()
logging.getLogger("mlflow.pyfunc").setLevel(logging.ERROR)
score = pyfunc.spark_udf(
    spark, "models:/churn@champion", env_manager="local", result_type="double"
)
", ".join(FEATURES)

# %%
asked = spark.sql("""
    SELECT *, (unix_timestamp(TIMESTAMP'2025-12-29 09:00:00')
               - unix_timestamp(last_order_at)) / 86400 AS days_since
    FROM ml.customer_features WHERE as_of = '2025-12-29'
""").selectExpr("*", "days_since / gap_days AS overdue")
columns = [asked[name].cast("double").alias(name) for name in FEATURES]
inputs = asked.select("customer_id", *columns).coalesce(1)
served = inputs.select("customer_id", score(*FEATURES).alias("churn_probability"))
served.write.mode("overwrite").option("overwriteSchema", True).saveAsTable(
    "ml.served_scores"
)

# %% [markdown]
# The last chapter scored the same customers with pandas. We compare the two for every customer. This tests agreement,
# not quality: on that Monday morning some customers have a `days_since` below all training values, as chapter 05
# found.

# %%
batch = spark.sql("""
    SELECT customer_id, s.churn_probability, c.churn_probability AS by_pandas
    FROM ml.served_scores AS s LEFT JOIN ml.churn_scores AS c USING (customer_id)
    ORDER BY customer_id
""").toPandas()
equal = (batch["churn_probability"] - batch["by_pandas"]).abs() <= 1e-9
{"customers": len(batch), "different": int((~equal).sum())}

# %% [markdown]
# ## Input validation: refuse bad values by name
#
# A model signature checks names and types. In the last chapter we saw one thing that it lets pass:

# %%
known = inputs.orderBy("customer_id").limit(3).toPandas()[FEATURES]
without = known.assign(orders_28=float("nan"))
champion.predict(known).round(3), champion.predict(without).round(3)

# %% [markdown]
# Without the number of orders the model still answers, with another number, and the caller cannot notice. A missing
# value is right where it means something: a customer with one order has no usual gap. Elsewhere a missing value is a
# mistake of the caller, and the caller should be told.

# %% [markdown] tags=["exercise"]
# ### Exercise 6.1: name the faults of a request
#
# Write `complaints(row, required, optional)`. `row` is a dictionary of feature names and values, as a request brings
# it; `required` and `optional` are lists of names. Return a sorted list of sentences, one for each fault:
#
# - `"NAME is missing"` for a name of either list that is not in the row;
# - `"NAME must have a value"` for a required one that is `None` or NaN;
# - `"NAME is no number"` for a value of either list that is neither a number nor `None` (a boolean is no number
#   here);
# - `"NAME is not known"` for a name that is in neither list.


# %% tags=["solution"]
def complaints(row, required, optional):
    """Return the sorted faults of a request, as sentences."""
    ### BEGIN SOLUTION
    names = [*required, *optional]
    faults = [f"{name} is missing" for name in names if name not in row]
    faults += [f"{name} is not known" for name in row if name not in names]
    for name in (name for name in names if name in row):
        value = row[name]
        if value is None or value != value:
            faults += [f"{name} must have a value"] if name in required else []
        elif isinstance(value, bool) or not isinstance(value, int | float):
            faults.append(f"{name} is no number")
    return sorted(faults)
    ### END SOLUTION


# %% tags=["check"]
check.complaints(complaints)

# %% [markdown]
# The signature already checks names and types, so our code checks the values only. It stands inside the model, where
# no caller can go around it. The code below will be served; the trees are those of the champion.

# %%
CODE = """
import lightgbm
import mlflow
import pandas as pd

OPTIONAL = {"gap_days", "overdue", "account_days", "consent"}

class Churn(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.trees = lightgbm.Booster(model_file=context.artifacts["trees"])
"""

# %%
CODE += """
    def predict(self, context, model_input: pd.DataFrame, params=None):
        rows = model_input[self.trees.feature_name()]
        empty = rows.columns[rows.isna().any()].difference(list(OPTIONAL))
        if len(empty):
            raise mlflow.MlflowException.invalid_parameter_value(
                f"{', '.join(empty)} must have a value in every row."
            )
        return self.trees.predict(rows.astype(float))

mlflow.models.set_model(Churn())
"""

# %% [markdown]
# We register two versions as `churn_api`: the champion of the last chapter as version 1, and its predecessor as
# version 2. The older model plays the challenger, so the winner is known; we show the mechanics. (A model of this
# name from an earlier run is deleted first. In production nobody deletes that history.)

# %%
from importlib import metadata
from pathlib import Path

PARTS = ("mlflow", "lightgbm", "pandas")
REQUIREMENTS = [f"{part}=={metadata.version(part)}" for part in PARTS]


# %%
def wrap(alias):
    """Keep the trees of a version of churn with our code, and register the result."""
    place = medallion.scratch()
    (place / "model.py").write_text(CODE, encoding="utf-8")
    source = mlflow.artifacts.download_artifacts(f"models:/churn@{alias}")
    trees = next(Path(source).rglob("trees.txt"))
    signature = mlflow.models.get_model_info(f"models:/churn@{alias}").signature
    with mlflow.start_run(run_name=alias) as run:
        kept = pyfunc.log_model(
            name="model", python_model=str(place / "model.py"), signature=signature,
            artifacts={"trees": str(trees)}, pip_requirements=REQUIREMENTS,
            input_example=known.head(2),
        )  # fmt: skip
    return client.create_model_version("churn_api", kept.model_uri, run.info.run_id)


# %%
from contextlib import suppress

from mlflow.exceptions import MlflowException

with suppress(MlflowException):
    client.delete_registered_model("churn_api")
client.create_registered_model("churn_api")
old, new = wrap("champion").version, wrap("previous").version
client.set_registered_model_alias("churn_api", "champion", old)
client.set_registered_model_alias("churn_api", "challenger", new)
old, new

# %% [markdown]
# ## HTTP endpoint: `mlflow models serve`
#
# `mlflow models serve` loads a model and answers requests. `endpoint`, a module of this course, starts the same
# scoring server, waits until it answers, and ends it with the notebook, also after an error. MLflow's scoring server
# asks for no password, so it listens on this machine only. In a company a gateway in front of it checks who may ask.

# %%
from medallion.servers import endpoint

first = endpoint.start("models:/churn_api@champion")
first.running

# %% [markdown]
# We ask it as any program would, with rows in JSON.

# %%
import requests


def ask(served, rows, seconds=5):
    """Send rows to an endpoint; return the status and the scores or the complaint."""
    values = rows.astype(object).where(rows.notna(), None)
    body = {"dataframe_split": values.to_dict("split", index=False)}
    answer = requests.post(served.url, json=body, timeout=seconds)
    said = answer.json()
    return answer.status_code, said.get("predictions") or said.get("message")


status, scores = ask(first, known)
status, [round(score, 3) for score in scores]

# %% [markdown]
# Next come three faulty requests: a number is missing, a column is missing, and a word stands in place of a number.

# %%
bad = {
    "no value": known.assign(orders_28=None),
    "no column": known.drop(columns="trend"),
    "a word": known.astype(object).assign(trend="up"),
}
for what, rows in bad.items():
    status, told = ask(first, rows)
    named = [
        part for part in told.split(". ") if "trend" in part or "orders_28" in part
    ]
    print(f"{what}: {status} {named[-1].split('Error: ')[-1]}")

# %% [markdown]
# All three get 400, the status for a faulty request, and each message names the column. We print only the end of the
# message, because MLflow 3.17 repeats the request's features in it. In this version a 400 can also be a bug, since
# any exception in `predict` that is not MLflow's own becomes one. In production, wrap those as `INTERNAL_ERROR`,
# which gives a `500`.

# %% [markdown]
# ## Feature lookup at serving time
#
# The page of the shop does not know how often a customer has ordered in 84 days. It knows the customer and the time.
# The stored features come from the online store of chapter 04. The two on-demand features are computed by the
# function that was registered there.

# %%
import warnings

from feast import FeatureStore, RepoConfig

place = medallion.home() / "feast"
config = RepoConfig(
    project="kestrel",
    provider="local",
    registry=str(place / "registry.db"),
    offline_store={"type": "spark"},
    online_store={"type": "sqlite", "path": str(place / "online.db")},
    entity_key_serialization_version=3,
)
store = FeatureStore(config=config)
warnings.filterwarnings("ignore", ".*experimental feature", RuntimeWarning)

# %%
from datetime import datetime, timedelta

ON_DEMAND = {"days_since", "overdue"}
REFERENCES = [
    f"{'at_request' if name in ON_DEMAND else 'customer_features'}:{name}"
    for name in FEATURES
]


def look_up(customers, asked_at):
    """Return the features of customers from the online store, one row each."""
    rows = [{"customer_id": one, "asked_at": asked_at} for one in customers]
    found = store.get_online_features(features=REFERENCES, entity_rows=rows)
    return found.to_df(include_event_timestamps=True)


# %%
nine = datetime(2025, 12, 29, 9)
look_up(["C000004"], nine)[["customer_id", "orders_84", "gap_days", "days_since"]]

# %% [markdown]
# In chapter 04 the online store returned features of any age. So the caller checks the time that comes with them. A
# customer who is unknown, or whose features are too old, gets no score. The page then shows what it shows to
# everybody.


# %%
def fresh(found, asked_at, days=14):
    """Return for each row whether its stored features are there and not too old."""
    written = pd.to_datetime(found["orders_84__ts"], unit="s")
    return found["orders_84"].notna() & (written >= asked_at - timedelta(days=days))


longest_gone = spark.sql("""
    SELECT customer_id FROM ml.customer_features GROUP BY customer_id
    HAVING max(as_of) = TIMESTAMP'2025-10-27' ORDER BY customer_id LIMIT 1
""").first()[0]
trio = look_up(["C000004", longest_gone, "nobody"], nine)
trio["fresh"] = fresh(trio, nine)
trio[["customer_id", "orders_84", "fresh"]]

# %% [markdown]
# ## Parity: batch equals online
#
# Now we score all customers of 29 December, with features from SQLite, over HTTP. The scores have to be those of the
# table.

# %%
online = look_up(batch["customer_id"], nine)
online["score"] = ask(first, online[FEATURES].astype(float), seconds=30)[1]
compared = batch.merge(online, on="customer_id")
apart = (compared["score"] - compared["churn_probability"]).abs()
len(compared), bool((apart < 1e-9).all())

# %% [markdown]
# All 3,170 scores agree with the batch to within `1e-9`. This comparison is worth running every day. It finds the
# fault of the failure lab below.
#
# ## Failure lab: training and serving skew
#
# Another team builds a page of its own. It takes the stored features and computes the other two itself: in whole
# days, and by the clock in Berlin, in winter an hour ahead of ours. So the model meets other values than in training.
# This is **training and serving skew**.

# %%
theirs = online[FEATURES].astype(float).copy()
last = online["days_since"].astype(float)
theirs["days_since"] = (last + 1 / 24).round()
theirs["overdue"] = theirs["days_since"] / theirs["gap_days"]
status, skewed = ask(first, theirs, seconds=30)
wrong = pd.Series(skewed)
letters = (online["score"] > 0.4) != (wrong > 0.4)
(
    status,
    len(wrong),
    int((wrong - online["score"]).abs().gt(0.01).sum()),
    int(letters.sum()),
)

# %% [markdown]
# The status is 200, every value is a number and every name is right, so no signature can see it. 89 of the 3,170
# scores are more than 0.01 apart, and 7 vouchers are given or withheld wrongly: few enough that nobody complains.
#
# The same comparison sees it. We make it an assertion that a page has to pass before it goes live. (This short one
# lets a missing score pass, because `NaN > 1e-9` is false. A real one joins by customer and refuses NaN.)


# %%
def require_parity(scores):
    """Raise ValueError if scores are not those of the batch."""
    apart = (pd.Series(scores) - batch["churn_probability"]).abs()
    if (apart > 1e-9).any():
        worst = batch["customer_id"][apart.idxmax()]
        raise ValueError(f"{(apart > 1e-9).sum()} scores differ, most for {worst}")


try:
    require_parity(skewed)
except ValueError as error:
    refused = str(error)
refused

# %% [markdown]
# The fix is to compute once: on-demand features belong to the store, and both teams ask it.

# %%
require_parity(
    ask(first, look_up(batch["customer_id"], nine)[FEATURES].astype(float))[1]
)

# %% [markdown]
# ## Shadow deployment
#
# The challenger gets an endpoint of its own. Before it answers anybody, it runs in the **shadow**: each request goes
# to both versions, the champion's answer is returned, and the challenger's is only logged. The visitors are those of
# 27 November, the last cutoff with known labels.

# %%
second = endpoint.start("models:/churn_api@challenger")
day = spark.table("ml.churn_training").where("cutoff = '2025-11-27'")
visitors = day.orderBy("customer_id").toPandas()
ago = (visitors["cutoff"] - visitors["last_order_at"]).dt.total_seconds()
visitors["days_since"] = ago / 86400
visitors["overdue"] = visitors["days_since"] / visitors["gap_days"]
visitors[FEATURES] = visitors[FEATURES].astype(float)
len(visitors)

# %% [markdown]
# A shadow must cost the visitor neither time nor an answer. So another thread sends its request, and nobody waits for
# the result. (The queue of this executor has no limit, so a shadow that hangs would fill it. In production, limit the
# queue, and drop requests beyond it.)

# %%
from concurrent.futures import ThreadPoolExecutor

aside = ThreadPoolExecutor(2)


def serve(row):
    """Return the champion's score, and what the shadow will have said some day."""
    later = aside.submit(ask, second, row)
    return ask(first, row)[1][0], later


# %%
fifty = [visitors[FEATURES].iloc[[place]] for place in range(50)]
told = [serve(row) for row in fifty]
shadowed = [later.result() for _, later in told]
len(told), sum(status == 200 for status, _ in shadowed)

# %% [markdown]
# All fifty requests reached the shadow too. Below we kill an endpoint, and see what a visitor notices of a dead
# shadow. Here we send all visitors in one request for each version, to keep it short.
#
# ## Inference table: requests and answers in Delta
#
# An **inference table** has a row for each answer: the customer, the moment, the version, whether the answer was
# used, and the features. Without it, nobody can explain later what the model did. We overwrite ours so that the
# chapter can be repeated. A real one is only appended to, and needs a rule for access and retention.


# %%
def answered(rows, served, version, role):
    """Return the log of rows that an endpoint has scored."""
    status, scores = ask(served, rows[FEATURES], seconds=30)
    if status != 200:
        raise RuntimeError(scores)
    return pd.DataFrame(
        {
            "customer_id": rows["customer_id"],
            "asked_at": rows["cutoff"],
            "model_version": int(version),
            "role": role,
            "score": scores,
            "features": rows[FEATURES].apply(lambda row: row.to_json(), axis=1),
        }
    )


# %%
log = pd.concat(
    [
        answered(visitors, first, old, "champion"),
        answered(visitors, second, new, "shadow"),
    ]
)
spark.createDataFrame(log).write.mode("overwrite").saveAsTable("ml.inference_log")
wide = log.pivot(index="customer_id", columns="role", values="score")
len(log), len(wide)

# %% [markdown]
# The two versions were trained a month apart, and their AUC differs by about a hundredth. Of the 3,026 customers, how
# many get a different decision from the two versions? Write down a number, then open the output.

# %% tags=["predict"]
change = (wide["shadow"] - wide["champion"]).abs()
letters = (wide["shadow"] > 0.4) != (wide["champion"] > 0.4)
round(float(change.mean()), 3), int(letters.sum())

# %% [markdown]
# It is 243, one in twelve, although the scores differ by only 0.051 on average. Many customers stand near 0.4, the
# score from which a voucher pays. No visitor has noticed anything, and we already know how many decisions a promotion
# would change.
#
# ## Traffic split: champion and challenger
#
# A shadow shows which answers the challenger would give. Whether more customers stay shows only when its answers are
# used, by a part of the customers. A voucher on one page and none on the next is annoying, so each customer needs the
# same version every time, on every server, without a list.

# %% [markdown] tags=["exercise"]
# ### Exercise 6.2: split the traffic by a hash
#
# Write `side(customer_id, share)`, which returns `"challenger"` for about the share `share` of all customers (a
# number from 0 to 1), and `"champion"` for the others. The same customer gets the same answer in every process. A
# customer who is with the challenger at one share stays there when the share grows.


# %% tags=["solution"]
def side(customer_id, share):
    """Return which model answers a customer."""
    ### BEGIN SOLUTION
    import hashlib

    digest = hashlib.sha256(customer_id.encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return "challenger" if place < share else "champion"
    ### END SOLUTION


# %% tags=["check"]
check.side(side)

# %% [markdown]
# Python's own `hash` does not fit, because for strings it differs from process to process. Ours is the same
# everywhere:

# %%
import hashlib


def place_of(customer_id):
    """Return a customer's place between 0 and 1, the same in every process."""
    digest = hashlib.sha256(f"voucher-{customer_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


places = visitors["customer_id"].map(place_of)
{share: round(float((places < share).mean()), 3) for share in (0.1, 0.3, 1.0)}

# %% [markdown]
# The name `voucher` is hashed along with the customer, so that an experiment with another name splits the customers
# anew.
#
# The side gives the alias, and the registry gives the version behind it, so the caller never names a version. Here we
# ask the registry at every request. A real router remembers the answer for some seconds, so that it can do without
# the registry.

# %%
endpoints = {old: first, new: second}


def route(customer_id, share=0.0):
    """Return the version that answers a customer now."""
    alias = "challenger" if place_of(customer_id) < share else "champion"
    return client.get_model_version_by_alias("churn_api", alias).version


# %% [markdown]
# Three hundred visitors come back, and three in ten should get the challenger's answer.

# %%
back_again = visitors.head(300)


def split(rows, share):
    """Answer each row by the version on whose side its customer is; return the log."""
    versions = pd.Series([route(one, share) for one in rows["customer_id"]], rows.index)
    parts = rows.groupby(versions)
    logs = [answered(part, endpoints[v], v, "split") for v, part in parts]
    return pd.concat(logs, ignore_index=True)


answers = split(back_again, 0.3)
spark.createDataFrame(answers).write.mode("append").saveAsTable("ml.inference_log")
answers["model_version"].value_counts().to_dict()

# %%
again = split(back_again.head(100), 0.3)
before = answers[answers["customer_id"].isin(again["customer_id"])]
len(again), before.reset_index(drop=True).equals(again)

# %% [markdown]
# 81 get the challenger's answer. The first 100 ask a second time, and each gets the same answer from the same
# version. (This shows the routing. An effect on how many stay takes far more visitors, and a confidence interval.)
#
# ## Rollback by alias
#
# What if the challenger turns out bad, perhaps after it became the champion? Promotion and rollback are both a change
# of an alias.

# %%
someone = visitors[FEATURES].head(1)
answers = []
for champion_now in (old, new, old):
    client.set_registered_model_alias("churn_api", "champion", champion_now)
    version = route("C000004")
    answers.append((version, round(ask(endpoints[version], someone)[1][0], 3)))
answers

# %% [markdown]
# Each step was one change in the registry, while both endpoints and the caller went on running.
#
# ## Monitoring: judging answers when labels come
#
# Four weeks later the labels of 27 November are known. We join them to the inference table by customer and moment. So
# both versions are judged on what they answered, by what the customers did.

# %% [markdown] tags=["exercise"]
# ### Exercise 6.3: join the answers to their labels
#
# Write `judged(log, labels, day)`. `log` is a pandas DataFrame with `customer_id`, `asked_at`, `model_version` and
# `score`; `labels` has `customer_id`, `cutoff`, `churned` and `known_at`. Return the rows of `log` whose label is
# known on `day` (a string; at 00:00 of that day at the latest), with all columns of `log` and the column `churned`. A
# label belongs to an answer with the same customer and `cutoff` equal to `asked_at`.


# %% tags=["solution"]
def judged(log, labels, day):
    """Return the answers whose label is known on a day, with the label."""
    ### BEGIN SOLUTION
    known = labels[labels["known_at"] <= pd.Timestamp(day)]
    known = known.rename(columns={"cutoff": "asked_at"})
    columns = ["customer_id", "asked_at", "churned"]
    return log.merge(known[columns], on=["customer_id", "asked_at"])
    ### END SOLUTION


# %% tags=["check"]
check.judged(judged)

# %%
import json

from sklearn.metrics import average_precision_score, roc_auc_score

labels = spark.table("ml.churn_labels").withColumnRenamed("cutoff", "asked_at")
logged = spark.table("ml.inference_log").join(labels, ["customer_id", "asked_at"])
late = logged.where("role != 'split' AND known_at <= '2025-12-29'").toPandas()
orders = late["features"].map(lambda text: json.loads(text)["orders_84"])
late["group"] = orders.le(2).map({True: "one or two", False: "more"})

# %%
quality = []
for (version, group), rows in late.groupby(["model_version", "group"]):
    auc = roc_auc_score(rows["churned"], rows["score"])
    precision = average_precision_score(rows["churned"], rows["score"])
    said, happened = rows["score"].mean(), rows["churned"].mean()
    quality.append((version, group, len(rows), auc, precision, said, happened))
names = ["model_version", "orders", "answers", "auc", "pr_auc", "said", "happened"]
quality = pd.DataFrame(quality, columns=names)
spark.createDataFrame(quality).write.mode("overwrite").saveAsTable("ml.serving_quality")
quality.round(3)

# %% [markdown]
# Version 1, the champion, has the higher AUC in both groups, by little more than a hundredth. That may be chance, but
# no gate would open for the challenger. `said` is the mean score, `happened` the share that stopped. In all four rows
# `said` is higher, for version 1 0.592 against 0.566 and 0.223 against 0.211: the models expect more to stop than do.
# `happened` is as late as the labels; a drift of `said` alone shows earlier.
#
# In our replay nobody got a voucher. Once vouchers go out, a customer who stays because of one has the label 0, and
# the better model looks wrong. So a few customers, drawn at random, get none, and the model is judged on them.
#
# ## Load test: latency p50, p95 and p99
#
# One request takes some milliseconds. How long do many at once take? We send 96 requests from 1, 4 and 16 threads
# each. We look at the median (p50), and at the times that 5 and 1 of a hundred requests exceed (p95, p99), because an
# average hides the slowest. (Of 96 requests only one is beyond p99. A real measurement sends many thousands.)

# %%
import time

row = visitors[FEATURES].head(1).astype(object)
body = {"dataframe_split": row.where(row.notna(), None).to_dict("split", index=False)}


def caller(count):
    """Send so many requests, one after the other; return the seconds of each."""
    seconds = []
    with requests.Session() as session:
        for _ in range(count):
            began = time.perf_counter()
            session.post(first.url, json=body, timeout=10).raise_for_status()
            seconds.append(time.perf_counter() - began)
    return seconds


# %%
def load(callers, total=96):
    """Return the seconds of all requests, sent by so many callers at once."""
    with ThreadPoolExecutor(callers) as pool:
        parts = pool.map(caller, [total // callers] * callers)
        return [seconds for part in parts for seconds in part]


# %% [markdown]
# The first requests warm the server up and are not counted. Then we measure once for each number of callers.

# %%
load(2, total=100)
measured = []
for callers in (1, 4, 16):
    began = time.perf_counter()
    seconds = pd.Series(load(callers))
    rate = len(seconds) / (time.perf_counter() - began)
    for name, share in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items():
        measured.append((callers, name, 1000 * seconds.quantile(share), rate))
measured = pd.DataFrame(measured, columns=["callers", "share", "ms", "per_second"])
bool(measured["ms"].gt(0).all()), len(measured)

# %% tags=["nbval-ignore-output"]
rates = measured.groupby("callers")["per_second"].first()
measured.pivot(index="callers", columns="share", values="ms").assign(
    per_second=rates
).round(1)

# %%
import plotly.express as px

from medallion.lesson import charts

figure = px.line(
    measured,
    x="callers",
    y="ms",
    color="share",
    markers=True,
    title="Latency by the number of callers at once",
)

# %% tags=["nbval-ignore-output"]
figure.update_xaxes(type="category", title="callers at once")
figure.update_yaxes(title="milliseconds until the answer", rangemode="tozero")
figure.update_layout(legend_title=None)
charts.show(
    figure,
    alt="Line chart of the 50th, 95th and 99th percentile of the latency for 1, 4 and "
    "16 callers at once. In our run all three rise with the callers, and most from 4 "
    "to 16.",
)

# %% [markdown]
# Table and chart are of one run on the machine that built this book. Each caller waits for its answer before it asks
# again (a closed loop), and shares the machine with the server. Real visitors do not wait for each other, so at the
# same rate their longest times are usually longer. The endpoint is one process. Once it is busy all the time, more
# callers get hardly more answers in a second, and each waits longer: compare 4 and 16 callers. With one caller, one
# disturbance changes p95 and p99 of 96 requests. A server can take as many callers as keep p99 below the time that
# the page can wait.
#
# ## When the endpoint dies: time-out, retry, fallback
#
# Processes end: a machine is replaced, memory runs out. The page should be drawn all the same, and a caller needs
# three things for that. A **time-out** ends the waiting for a server that is gone. A **retry**, a few times and with
# a growing pause, helps against faults that pass. A **fallback** is a worse answer that is always there; ours is the
# score of the last batch.

# %% [markdown] tags=["exercise"]
# ### Exercise 6.4: retry, then fall back
#
# Write `patient(send, fallback, attempts, wait)`. It calls `send()`, which returns a status and a result, or raises
# `ConnectionError` or `TimeoutError`. With the status 200, return the result. With a status from 400 to 499, raise
# `ValueError` with the result as its text, because repeating does not help. The exceptions are 408 (it took too long)
# and 429 (too many requests). For these and for anything else try again, at most `attempts` times in all. Before the
# second attempt call `wait(1)`, before the third `wait(2)`, then `wait(4)`, and so on. When all attempts are used up,
# return `fallback()`.


# %% tags=["solution"]
def patient(send, fallback, attempts, wait):
    """Return what is sent back, or the fallback when nothing comes."""
    ### BEGIN SOLUTION
    for attempt in range(attempts):
        if attempt:
            wait(2 ** (attempt - 1))
        try:
            status, result = send()
        except (ConnectionError, TimeoutError):
            continue
        if status == 200:
            return result
        if 400 <= status <= 499 and status not in (408, 429):
            raise ValueError(result)
    return fallback()
    ### END SOLUTION


# %% tags=["check"]
check.patient(patient)

# %% [markdown]
# Ours also returns where an answer came from. The batch scores stand in a dictionary, as in a page's cache; a
# customer who is not in it gets no score. Each attempt has a time-out of one second. `requests` applies it to the
# connection and to each wait for data, so three attempts can take longer than three seconds. In production, add a
# deadline for all attempts, random pauses (jitter), a circuit breaker, and a limit to the age of the fallback.

# %%
yesterday = dict(zip(batch["customer_id"], batch["churn_probability"]))


def score_now(served, customer, rows, attempts=3):
    """Return a score and where it came from: the endpoint, or the last batch."""
    for attempt in range(attempts):
        if attempt:
            time.sleep(0.02 * 2 ** (attempt - 1))
        try:
            status, scores = ask(served, rows, seconds=1)
        except requests.RequestException:
            continue
        if status == 200:
            return scores[0], "endpoint"
        if 400 <= status <= 499 and status not in (408, 429):
            raise ValueError(scores)
    return yesterday.get(customer), "last batch"


# %% [markdown]
# A hundred customers ask, four at a time. After some thirty answers we kill the endpoint with `kill -9`, in the
# middle of its work.

# %%
asking = online[online["customer_id"].isin(yesterday)].head(100)


def one_visit(place):
    """Ask for one customer; the thirtieth takes the endpoint's life with it."""
    row = asking.iloc[[place]]
    customer = row["customer_id"].iloc[0]
    found = score_now(second, customer, row[FEATURES].astype(float))
    if place == 30:
        second.kill()
    return found


with ThreadPoolExecutor(4) as pool:
    found = list(pool.map(one_visit, range(len(asking))))

# %%
sources = pd.Series([source for _, source in found])
all_answered = len(found) == 100 and all(0 <= score <= 1 for score, _ in found)
first_ones = bool((sources.head(20) == "endpoint").all())
last_ones = bool((sources.tail(50) == "last batch").all())
all_answered, first_ones, last_ones, second.running

# %% [markdown]
# All 100 have a score. The first came from the endpoint, the last from the batch, and no caller saw an error. (We
# measure neither how long they waited nor a server that hangs.) A caller without these three things sees:

# %%
try:
    ask(second, known, seconds=1)
except requests.RequestException as error:
    seen = type(error).__name__
seen

# %% [markdown]
# The endpoint that died also served the shadow. Does a visitor of the champion notice? We serve the same fifty once
# more.

# %%
again = [serve(row) for row in fifty]
lost = [later.exception() is not None for _, later in again]
sum(lost), [score for score, _ in again] == [score for score, _ in told]

# %% [markdown]
# All 50 requests to the shadow failed, and every visitor got the same answer as before.
#
# A request that gets a 400 is not repeated. Ours raises `ValueError`, so that we see the fault; a page would count it
# and show the fallback:

# %%
try:
    score_now(first, "C000004", known.assign(orders_28=None))
except ValueError as error:
    complaint = str(error)
complaint.split("rror: ")[-1]

# %% [markdown]
# In production a supervisor restarts dead processes. Until then a router that checks the health of its endpoints
# sends everybody to the one that still runs. Ours does not check, so we ask the first endpoint ourselves, and the
# page gets a model's answer again. (The challenger's customers then get the champion's score. The log has to record
# that, or the comparison of the two is wrong.) Then we stop what still runs.

# %%
source = score_now(first, "C000004", known.head(1))[1]
first.stop()
second.stop()
source, first.running, second.running

# %% [markdown]
# ## Check yourself

# %%
from medallion.lesson import quiz

quiz.show("06")

# %% [markdown]
# ## What we know now
#
# - A batch and an endpoint are two ways to one number. Compare them, for everyone, every day.
# - The signature checks names and types. The model itself checks values, where no caller can go around it.
# - Bad input gets a 400 with the name of the column, and is not repeated. In MLflow 3.17 a bug in `predict` gets one
#   too.
# - Features are looked up, not computed again, and the caller checks their age.
# - A new version runs in the shadow first, then for a part of the customers, who keep their side. A rollback is one
#   change of an alias.
# - An inference table keeps each answer with version and features. It is judged when the labels come.
# - Look at p99, not at the average. A time-out, few retries and a fallback keep the page alive.
#
# **On Databricks** Model Serving hosts the endpoint, and asks for a token. Two versions share the traffic by
# `traffic_config`, and an inference table is switched on for the endpoint. The model itself looks up its features if
# it was logged with the feature engineering client.
