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
#       ml.churn_labels: [silver.orders_history]
#       ml.customer_features: [silver.orders_history, silver.web_events, gold.dim_customer]
#       ml.churn_training: [ml.churn_labels, ml.customer_features]
#       ml.payment_features: [silver.payments, silver.chargebacks]
#       ml.fraud_labels: [silver.payments, silver.chargebacks]
#       ml.cdnow_rfm: [silver.cdnow]
#     leaves: [feast]
#     grain:
#       ml.churn_labels: one customer at one cutoff
#       ml.customer_features: one customer at one Monday, as one run computed it
#       ml.churn_training: one customer at one cutoff, with label and features
#       ml.payment_features: one attempt to pay
#       ml.fraud_labels: one attempt to pay that was authorised
#       ml.cdnow_rfm: one customer of CDNOW at the end of September 1997
#     minutes: {read: 40, practise: 50}
#     summary: customers and payments as rows of numbers that were known at a moment
#     outline: >-
#       Labels that say on which day they are known. Features of customers from what was known at a moment,
#       which is not what had happened; features of payments over windows that leave the payment out. The
#       join as of a moment, first by hand, then by a feature store, equal row by row. A store that answers
#       for one customer. A test that finds leakage.
#     objectives:
#     - state a prediction as an entity, a moment and a horizon, and keep its labels in a table of their own
#     - tell when something happened from when it was known, and build features from what was known
#     - join features as of a moment, by hand and with a feature store, and prove the two equal
#     - catch a feature that sees the future, and show what it would have cost
# ---

# %% [markdown]
# # Feature engineering
#
# Who will stop buying? The shop would like to know while there is still time to write to them. Before any model can
# answer, each customer has to become a row of numbers, and the numbers have to be those that the shop could have known
# at that moment. A model that was trained on numbers that came too late looks splendid, and disappoints in production.
# In this chapter we build features that could have been known, and a test that says so.
#
# ![Where we are in the flow: from Silver and Gold to the features](../book/figures/flow-04.svg)

# %% tags=["setup"]
from pyspark.sql import Window
from pyspark.sql import functions as F

import medallion

check = medallion.checks("04")  # the file checks.py beside this lesson
spark = medallion.start("04")

# %% [markdown]
# ## A question with a moment
#
# Every second Thursday, Kestrel Market decides whom to write to. The question has three parts: about whom (the
# **entity**, a customer), at which moment (the **cutoff**), and how far ahead (the **horizon**, four weeks). With all
# three it has an answer that can be looked up later: did the customer order within four weeks of the cutoff, or not?
#
# The orders, as they were placed. Besides the time of the order we keep the time at which its file arrived. Many cells
# ask for them, so `cache` keeps them in memory.

# %% tags=["setup"]
placed = spark.sql("""
    SELECT order_id, customer_id, ordered_at, total_cents, _arrived_at AS arrived_at
    FROM silver.orders_history WHERE op = 'c'
""").cache()

# %%
cutoffs = spark.sql("""
    SELECT explode(sequence(TIMESTAMP'2025-09-04', TIMESTAMP'2025-11-27',
                            INTERVAL 14 DAYS)) AS cutoff
""")
placed.count(), [f"{row.cutoff:%a %d %b}" for row in cutoffs.collect()]

# %% [markdown]
# About whom do we ask? Somebody who has not ordered for half a year has left, and no model is needed to say so. We ask
# about everyone of whom an order of the last twelve weeks is known at the cutoff.

# %%
people = spark.sql(
    """
    SELECT DISTINCT customer_id, cutoff FROM {cutoffs} JOIN {placed}
    ON arrived_at <= cutoff AND ordered_at >= cutoff - INTERVAL 84 DAYS
    """,
    cutoffs=cutoffs,
    placed=placed,
)
people.count()

# %% [markdown]
# ## Labels have a table of their own
#
# The answer is called a **label**. Here it is 1 for a customer who has stopped, and that is somebody with *no* row in
# the orders. The first thing to get wrong is a join that finds only those who have one.

# %% [markdown] tags=["exercise"]
# ### Exercise 4.1: who has stopped
#
# Write `churned(people, orders)`. `people` has `customer_id` and `cutoff`; `orders` has `order_id`, `customer_id` and
# `ordered_at`. Return each row of `people` once, with a column `churned`: 0 if the customer placed an order in the 28
# days that begin with the cutoff, and 1 if not. An order at the very moment of the cutoff counts, one exactly 28 days
# later does not.


# %% tags=["solution"]
def churned(people, orders):
    """Return the people with a column that says whether they stopped ordering."""
    ### BEGIN SOLUTION
    late = orders.select(F.col("customer_id").alias("who"), "ordered_at")
    within = "who = customer_id AND ordered_at >= cutoff"
    within += " AND ordered_at < cutoff + INTERVAL 28 DAYS"
    joined = people.join(late, F.expr(within), "left")
    stopped = F.when(F.count("who") == 0, 1).otherwise(0)
    return joined.groupBy("customer_id", "cutoff").agg(stopped.alias("churned"))
    ### END SOLUTION


# %% tags=["check"]
check.churned(churned)

# %% [markdown]
# In the pipeline we write it in SQL. A label is known later than the cutoff: its four weeks have to pass, and then the
# files of the last of these days have to arrive, which they do on Mondays. `known_at` says when. An order that comes with
# a later file still does not change the label any more: it is what was known on that day. Whoever trains on 27 November
# may use a label only if its day is past.

# %%
spark.sql(
    """
    CREATE OR REPLACE TABLE ml.churn_labels AS
    SELECT p.customer_id, p.cutoff, if(count(o.order_id) = 0, 1, 0) AS churned,
           CAST(next_day(p.cutoff + INTERVAL 27 DAYS, 'MON') AS TIMESTAMP) AS known_at
    FROM {people} AS p LEFT JOIN {placed} AS o ON o.customer_id = p.customer_id
        AND o.ordered_at >= p.cutoff AND o.ordered_at < p.cutoff + INTERVAL 28 DAYS
        AND o.arrived_at <= next_day(p.cutoff + INTERVAL 27 DAYS, 'MON')
    GROUP BY p.customer_id, p.cutoff
    """,
    people=people,
    placed=placed,
)
labels = spark.table("ml.churn_labels").cache()

# %%
labels.groupBy("cutoff", "known_at").agg(
    F.count("*").alias("customers"), F.round(F.avg("churned"), 3).alias("churned")
).orderBy("cutoff")

# %% [markdown]
# A little more than a third of the customers place no order in the four weeks after a cutoff. There are 19,084 labels.
# An inner join would have kept only those who did order, and a model trained on them would never have seen anybody stop.

# %% [markdown]
# ## A feature that changes overnight
#
# The best known feature of a buyer is **recency**: for how long has there been no order? It is often written like
# this:


# %%
def recency(now):
    """Return the days since each customer's last order, for some idea of now."""
    days = F.expr(f"datediff({now}, max(ordered_at))").alias("days")
    return placed.groupBy("customer_id").agg(days)


today, tomorrow = recency("now()"), recency("now() + INTERVAL 1 DAY")
both = today.join(tomorrow.withColumnRenamed("days", "a_day_later"), "customer_id")
both.agg(F.count("*"), F.count_if(F.expr("a_day_later <> days")))

# %% [markdown]
# Run on another day, the function gives everyone another number, although nobody has done anything. That is the small
# fault. The big one is in `max(ordered_at)`. We ask how many of the customers of the first cutoff had their "last order"
# after it, and set it beside the label.

# %%
last = placed.groupBy("customer_id").agg(F.max("ordered_at").alias("last_order"))
first = labels.where("cutoff = '2025-09-04'").join(last, "customer_id")
first.groupBy("churned").agg(
    F.count("*").alias("customers"),
    F.expr("count_if(last_order >= cutoff) AS `last order after the cutoff`"),
).orderBy("churned")

# %% [markdown]
# Of the 1,463 who did not churn, all have their last order after the cutoff: that is what the label says. The feature
# knows the answer. Nothing fails, and a model that is trained on it looks splendid.
#
# So there are two rules. The moment is an argument, never the clock. And nothing from after the moment may come in.

# %% [markdown]
# ## Happened, and known
#
# "After the moment" has two meanings. An order *happened* when the customer placed it. The shop's lakehouse *knows* it
# when its file has arrived.

# %%
waiting = (F.unix_timestamp("arrived_at") - F.unix_timestamp("ordered_at")) / 3600
placed.select(F.round(waiting, 1).alias("hours")).agg(
    F.min("hours").alias("shortest"),
    F.median("hours").alias("median"),
    F.max("hours").alias("longest"),
)

# %% [markdown]
# The files of the orders come once a week, so half of the orders wait for more than three days, and a few are missing in
# their week's file and come with a later one, after up to 390.6 hours. At a Thursday's cutoff nothing is known of Monday,
# Tuesday and Wednesday. A query on last year's tables does not show that: there, everything
# has long arrived.
#
# Take the cutoff of 16 October and the simplest of features, the number of orders in the four weeks before. Of the 2,773
# customers, for how many does it make a difference whether we count what had happened or what was known? Write down a
# number, then open the output.

# %% tags=["predict"]
four_weeks = "ordered_at < '2025-10-16' AND ordered_at >= '2025-09-18'"
happened = F.expr(f"count_if({four_weeks})")
known = F.expr(f"count_if({four_weeks} AND arrived_at <= '2025-10-16')")
asked = labels.where("cutoff = '2025-10-16'").select("customer_id")
counted = placed.join(asked, "customer_id").groupBy("customer_id")
counted.agg((happened != known).alias("differs")).groupBy("differs").count().orderBy(
    "differs"
)

# %% [markdown]
# 450 customers, one in six, would enter the training with a number that nobody had on that Thursday. The model would
# learn that orders of the last three days matter, and in production it would never see one.
#
# It is the same with what changes later. An order that is returned has the status `returned` in Silver, at whatever date
# we ask. The history knows when the shop learned of it.

# %%
known_late = spark.sql("""
    SELECT status, count(*) AS events, CAST(median(datediff(_arrived_at, ordered_at))
        AS INT) AS days_until_known
    FROM silver.orders_history WHERE status IN ('cancelled', 'returned') GROUP BY status
""")
known_late.orderBy("status")

# %% [markdown]
# ## The features of a customer
#
# Now we build them. A **moment** has two times: `as_of`, the time that the features speak about, and `known_by`, up to
# which arrived files may be used. They are the same in the weekly run, and we will need them apart later. The function
# takes the events of the orders, keeps what was known, and notes for each order whether its last known status is
# cancelled or returned (`undone`).


# %%
def order_features(moments, events):
    """Return what the orders of twelve weeks, as they were known, say of a customer."""
    known = spark.sql(
        """
        SELECT as_of, order_id, customer_id, min(ordered_at) AS at,
               min(total_cents) AS cents,
               max_by(status IN ('cancelled', 'returned'), sequence) AS undone
        FROM {moments} JOIN {events} ON arrived_at <= known_by AND ordered_at < as_of
            AND ordered_at >= as_of - INTERVAL 84 DAYS
        GROUP BY as_of, order_id, customer_id
        """,
        moments=moments,
        events=events,
    )
    return spark.sql(RECENT, known=known)


# %%
RECENT = """
    SELECT customer_id, as_of, date_trunc('SECOND', max(at)) AS last_order_at,
           count_if(at >= as_of - INTERVAL 28 DAYS) AS orders_28, count(*) AS orders_84,
           2 * count_if(at >= as_of - INTERVAL 28 DAYS)
               - count_if(at >= as_of - INTERVAL 56 DAYS) AS trend,
           sum(cents) AS spend_84_cents,
           round((unix_timestamp(max(at)) - unix_timestamp(min(at))) / 86400
               / nullif(count(*) - 1, 0), 3) AS gap_days,
           count_if(undone) AS undone_84
    FROM {known} GROUP BY customer_id, as_of
"""

# %% [markdown]
# This is the family that is called **RFM**: recency (`last_order_at`), frequency (`orders_28`, `orders_84`) and monetary
# value (`spend_84_cents`). Beside it stand the `trend`, the orders of the last four weeks minus those of the four weeks
# before, the usual gap between two orders, and how many orders were undone. We keep the time of the last order, not the
# days since: those would be wrong an hour later.

# %%
events = spark.sql("""
    SELECT order_id, customer_id, ordered_at, total_cents, status, sequence,
           _arrived_at AS arrived_at
    FROM silver.orders_history WHERE op <> 'd'
""")
mondays = spark.sql("""
    SELECT monday AS as_of, monday AS known_by FROM (SELECT explode(sequence(
        TIMESTAMP'2025-08-04', TIMESTAMP'2025-12-29', INTERVAL 7 DAYS)) AS monday)
""")
one = mondays.where("as_of = '2025-10-13'")
order_features(one, events).orderBy("customer_id").limit(3)

# %% [markdown]
# Orders are not all that a shop knows. Visits without an order say something too, and so does the age of the account.


# %%
def visit_features(moments):
    """Return how often each logged-in customer came in the four weeks before."""
    return spark.sql(
        """
        SELECT customer_id, as_of, count(DISTINCT session_id) AS visits_28
        FROM {moments} JOIN silver.web_events ON customer_id IS NOT NULL
            AND _arrived_at <= known_by AND event_time < as_of
            AND event_time >= as_of - INTERVAL 28 DAYS
        GROUP BY customer_id, as_of
        """,
        moments=moments,
    )


# %%
def account_features(moments):
    """Return the account's age and consent by the version that was valid and known."""
    return spark.sql(
        """
        SELECT customer_id, as_of, datediff(as_of, signup_date) AS account_days,
               CAST(marketing_consent AS INT) AS consent
        FROM {moments} JOIN gold.dim_customer ON known_from <= known_by
            AND valid_from <= as_of AND (valid_to > as_of OR valid_to IS NULL)
        """,
        moments=moments,
    )


# %%
def customer_features(moments, events):
    """Return the features of everyone with a known order in twelve weeks."""
    key = ["customer_id", "as_of"]
    joined = order_features(moments, events).join(visit_features(moments), key, "left")
    joined = joined.join(account_features(moments), key, "left")
    return joined.fillna(0, "visits_28")


# %% [markdown]
# The joins are left ones. No visit is a zero, so we say so. A customer who is in no snapshot yet has no age of the
# account: that is not zero, it is unknown, and stays NULL.
#
# The weekly run starts when the files are in, at midnight, and is done at five. `created_at` says so. One of our 22 runs
# goes wrong: in our story, the one of 13 October fails, and is repeated on Friday.

# %%
finished = F.expr("""
    as_of + if(as_of = '2025-10-13', INTERVAL 101 HOURS, INTERVAL 5 HOURS)
""")
weekly = customer_features(mondays, events).withColumn("created_at", finished)
weekly.write.mode("overwrite").option("overwriteSchema", True).saveAsTable(
    "ml.customer_features"
)
features = spark.table("ml.customer_features")
features.agg(F.count("*").alias("rows"), F.countDistinct("as_of").alias("runs"))

# %% [markdown]
# ## Blindfolded: a test for leaks
#
# How do we know that nothing of the future came in? By reading the code, and by a test that knows no code at all: hide
# everything that arrived after the moment, build the features again, and compare. Features that do not look do not
# notice the blindfold.

# %% [markdown] tags=["exercise"]
# ### Exercise 4.2: the blindfold
#
# Write `leaks(build, events, moment)`. `build(events, moment)` returns a DataFrame with a row for each `customer_id` and
# some feature columns; `events` has at least `arrived_at`; `moment` is a text such as `'2025-10-13'`. Return the sorted
# list of the feature columns in which at least one customer's value changes when the events that arrived after the
# moment are hidden. Two NULLs are equal, and a customer who is in only one of the two results has changed in every
# column.


# %% tags=["solution"]
def leaks(build, events, moment):
    """Return the columns that change when the future is hidden."""
    ### BEGIN SOLUTION
    blind = events.where(F.col("arrived_at") <= F.lit(moment).cast("timestamp"))
    names = [name for name in build(events, moment).columns if name != "customer_id"]
    left = build(events, moment).withColumn("there", F.lit(True))
    right = build(blind, moment).withColumn("there", F.lit(True))
    both = left.alias("l").join(right.alias("r"), "customer_id", "full")
    alone = "l.there IS NULL OR r.there IS NULL"
    same = [f"count_if({alone} OR NOT l.`{n}` <=> r.`{n}`) AS `{n}`" for n in names]
    changed = both.selectExpr(*same).first()
    return sorted(name for name in names if changed[name])
    ### END SOLUTION


# %% tags=["check"]
check.leaks(leaks)

# %% [markdown]
# The pipeline has a shorter form, `exceptAll` for all columns at once. We put the blindfold on the orders of one of the
# 22 Mondays, and count the rows that differ. (One is enough to show it. A pipeline does it for every run, because a leak
# may show on some days only.)


# %%
def differences(build, day):
    """Return how many rows a build gives with the future in sight, and not without."""
    moment = mondays.where(f"as_of = '{day}'")
    blind = events.where(f"arrived_at <= '{day}'")
    return build(moment, events).exceptAll(build(moment, blind)).count()


differences(order_features, "2025-10-13")

# %% [markdown]
# Nothing differs. A test that always says 0 may be asleep, so we show it features that look ahead: the same function,
# told that everything is known.


# %%
def careless(moments, events):
    """Return order features that count what arrives later too."""
    later = moments.withColumn("known_by", F.expr("TIMESTAMP'2099-01-01'"))
    return order_features(later, events)


# %%
differences(careless, "2025-10-13")

# %% [markdown]
# ## The join as of a moment
#
# Labels have cutoffs on Thursdays, features are of Mondays. Each label should get the newest features that were there:
# of a Monday not after the cutoff, *and* written not after it. And they should not be too old. How old they may be is
# called their **time to live**, TTL; when all have run out, it is better to know nothing (NULL) than to believe what was
# true a month ago.

# %% [markdown] tags=["exercise"]
# ### Exercise 4.3: as of a moment
#
# Write `as_of(questions, features, days)`. `questions` has `customer_id` and `cutoff`; `features` has `customer_id`,
# `as_of`, `created_at` and `orders_28`. Return each question once, with the `orders_28` of the row with the newest
# `as_of` that is not after the cutoff, was created not after the cutoff, and is not more than `days` days before it. If
# two such rows have the same `as_of`, the one created later wins. Where there is none, `orders_28` is NULL.


# %% tags=["solution"]
def as_of(questions, features, days):
    """Return the questions with the newest features that were there and fresh."""
    ### BEGIN SOLUTION
    known = features.withColumnRenamed("customer_id", "who")
    found = "who = customer_id AND as_of <= cutoff AND created_at <= cutoff"
    found += f" AND as_of >= cutoff - INTERVAL {days} DAYS"
    joined = questions.join(known, F.expr(found), "left")
    newest = Window.partitionBy("customer_id", "cutoff").orderBy(
        F.desc("as_of"), F.desc("created_at")
    )
    ranked = joined.withColumn("place", F.row_number().over(newest))
    return ranked.where("place = 1").select("customer_id", "cutoff", "orders_28")
    ### END SOLUTION


# %% tags=["check"]
check.as_of(as_of)

# %% [markdown]
# Ours does the same for all columns. Spark's `max_by` can take a whole row: the one with the greatest pair of `as_of`
# and `created_at`.


# %%
NEWEST = """
    SELECT customer_id, cutoff, row.* EXCEPT (customer_id) FROM (
        SELECT q.customer_id, q.cutoff,
               max_by(struct(f.*), struct(f.as_of, f.created_at)) AS row
        FROM {questions} AS q LEFT JOIN {features} AS f
            ON f.customer_id = q.customer_id AND f.as_of <= q.cutoff
            AND f.created_at <= q.cutoff
            AND f.as_of >= q.cutoff - make_dt_interval({days})
        GROUP BY q.customer_id, q.cutoff)
"""


def known_at(questions, features, days):
    """Return the questions with all columns of the newest features known and fresh."""
    return spark.sql(NEWEST, questions=questions, features=features, days=days)


# %% [markdown]
# How many labels find nothing, with a TTL of two weeks, and of one? One join answers both: where the newest features of
# two weeks are older than a week, a TTL of a week finds nothing.

# %%
questions = labels.select("customer_id", "cutoff")
found = known_at(questions, features, 14)
too_old = "as_of IS NULL OR as_of < cutoff - INTERVAL 7 DAYS"
found.groupBy("cutoff").agg(
    F.expr(f"count_if({too_old}) AS `none in 7 days`"),
    F.expr("count_if(as_of IS NULL) AS `none in 14 days`"),
).orderBy("cutoff")

# %% [markdown]
# On 16 October the new features were not there yet. With a TTL of a week nobody had any; with two weeks everyone who had
# been there the Monday before still had those. So the TTL follows from the operation: it should survive one run that
# goes wrong. We take 14 days. What remains are customers whose first known order came with the very last run.
#
# ## The training set is a snapshot
#
# What a model was trained on has to be found again a year later. We write labels and features into one table, and into
# its commit the versions of the tables that it was made of.

# %%
import json


def version(table):
    """Return the newest version of a Delta table."""
    return spark.sql(f"DESCRIBE HISTORY {table} LIMIT 1").first().version


# %%
training = found.join(labels, ["customer_id", "cutoff"])
training = training.where("as_of IS NOT NULL").drop("created_at")
sources = ("ml.churn_labels", "ml.customer_features")
made_of = json.dumps({name: version(name) for name in sources} | {"ttl_days": 14})
training.write.mode("overwrite").option("overwriteSchema", True).option(
    "userMetadata", made_of
).saveAsTable("ml.churn_training")

# %%
spark.sql("DESCRIBE HISTORY ml.churn_training").select("operation", "userMetadata")

# %% [markdown]
# ## A backfill, and what it does to the past
#
# At the beginning of November somebody decides that the features of 29 September should be computed again, now that the
# late files are in. The rows have the same `as_of` and a new `created_at`.

# %%
again = spark.sql("""
    SELECT TIMESTAMP'2025-09-29' AS as_of, TIMESTAMP'2025-11-03' AS known_by
""")
created = F.expr("TIMESTAMP'2025-11-03 05:00:00'").alias("created_at")
backfill = customer_features(again, events).select("*", created)
backfill.write.mode("append").saveAsTable("ml.customer_features")

# %% [markdown]
# Whoever builds the training set again, by the rules above, gets the same rows as before, although the table has changed.
# Whoever does not ask when a row was created gets the new ones, for a cutoff at which nobody had them. The rows are few
# enough for pandas, which compares them by a `merge` on all columns. (It does not see a row that came twice. At scale we
# use `exceptAll` in both directions, which does.)


# %%
def changed(found):
    """Return how many labels would get other features than we trained on."""
    found = found.dropna(subset="as_of").drop(columns=["as_of", "created_at"])
    compared = found.merge(trained, "left", on=list(found.columns), indicator=True)
    return int((compared["_merge"] == "left_only").sum())


trained = spark.table("ml.churn_training").toPandas()
features = spark.table("ml.customer_features").cache()
by_hand = known_at(questions, features, 14).toPandas()
changed(by_hand)

# %%
newest = Window.partitionBy("customer_id", "as_of").orderBy(F.desc("created_at"))
latest_only = features.withColumn("place", F.row_number().over(newest))
latest_only = latest_only.where("place = 1").drop("place")
careless_join = latest_only.withColumn("created_at", F.col("as_of"))
changed(known_at(questions, careless_join, 14).toPandas())

# %% [markdown]
# The careful join finds no change. The careless one gives other features to 2,989 labels: to those of 2 October whose
# orders came in late files, and to nearly all of 16 October, whose run it believes to have been in time.

# %% [markdown]
# ## A feature store
#
# What we have built by hand, tables with two times and a join as of a moment, is what a **feature store** keeps for a
# whole company. It adds two things: a **registry**, in which everybody can see which features there are, and an
# **online store**, a small fast database that answers for one customer in milliseconds. We use Feast. It reads our Delta
# table through our Spark session, keeps its registry in a file, and its online store in SQLite.

# %%
from feast import FeatureStore, RepoConfig

place = medallion.home() / "feast"
place.mkdir(exist_ok=True)
config = RepoConfig(
    project="kestrel",
    provider="local",
    registry=str(place / "registry.db"),
    offline_store={"type": "spark"},
    online_store={"type": "sqlite", "path": str(place / "online.db")},
    entity_key_serialization_version=3,
)
store = FeatureStore(config=config)

# %% [markdown]
# Feast says in warnings that its Spark store and its features on demand are experimental. We have read them, and keep
# them out of the outputs from here on.

# %%
import warnings

warnings.filterwarnings("ignore", ".*experimental feature", RuntimeWarning)

# %% [markdown]
# The **entity** says by which key features are found. The **feature view** says where they are, which column is which
# time, and the TTL.

# %%
from datetime import timedelta

from feast import Entity, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import (
    SparkSource,
)
from feast.types import Float64, Int64, UnixTimestamp

COUNTS = ["orders_28", "orders_84", "trend", "spend_84_cents", "undone_84"]
COUNTS += ["visits_28", "account_days", "consent"]
customer = Entity(
    name="customer", join_keys=["customer_id"], value_type=ValueType.STRING
)

# %%
view = FeatureView(
    name="customer_features",
    entities=[customer],
    ttl=timedelta(days=14),
    schema=[Field(name=name, dtype=Int64) for name in COUNTS]
    + [Field(name="last_order_at", dtype=UnixTimestamp)]
    + [Field(name="gap_days", dtype=Float64)],
    source=SparkSource(
        table="ml.customer_features",
        timestamp_field="as_of",
        created_timestamp_column="created_at",
    ),
)
store.apply([customer, view])
[feature.name for feature in store.get_feature_view("customer_features").features]

# %% [markdown]
# Now the same questions to the store. It calls the moment `event_timestamp`. That a row has to be *created* before the
# moment has to be asked for, with `filter_by_created_timestamp`.


# %%
def from_store(**how):
    """Return the features that the store finds for the questions, as of each cutoff."""
    asked = questions.withColumnRenamed("cutoff", "event_timestamp")
    names = [f"customer_features:{field.name}" for field in view.features]
    job = store.get_historical_features(entity_df=asked, features=names, **how)
    return job.to_spark_df().withColumnRenamed("event_timestamp", "cutoff")


# %% costly="two retrievals by the feature store, which joins table by table"
def apart(found):
    """Return how many rows only the store has, and how many only we have."""
    ours = by_hand[found.columns]
    only = found.merge(ours, "outer", indicator=True)["_merge"].value_counts()
    return int(only["left_only"]), int(only["right_only"])


careful = from_store(filter_by_created_timestamp=True).toPandas()
apart(careful), apart(from_store().toPandas())

# %% [markdown]
# With the filter both agree, row by row, on all 19,084 questions. Without it, which is how the store behaves unless told
# otherwise, 2,989 rows differ: it is our careless join again.
#
# ## Features that are computed when they are asked for
#
# How long ago was the last order? That depends on when we ask, so it cannot be stored. A feature **on demand** is a
# function of stored features and of what the request brings along, here its time. The store runs the same function for
# training and for serving.

# %%
import pandas as pd
from feast import RequestSource
from feast.on_demand_feature_view import on_demand_feature_view

request = RequestSource(
    name="request", schema=[Field(name="asked_at", dtype=UnixTimestamp)]
)
DERIVED = [Field(name=name, dtype=Float64) for name in ("days_since", "overdue")]


@on_demand_feature_view(sources=[view, request], schema=DERIVED)
def at_request(inputs: pd.DataFrame) -> pd.DataFrame:
    """Days since the last order, and how many of the usual gaps that is."""
    days = (inputs["asked_at"] - inputs["last_order_at"]).dt.total_seconds() / 86400
    return pd.DataFrame({"days_since": days, "overdue": days / inputs["gap_days"]})


# %%
store.apply([customer, view, at_request])
asked = questions.withColumns(
    {"event_timestamp": F.col("cutoff"), "asked_at": F.col("cutoff")}
).drop("cutoff")
demand = ["customer_features:gap_days", "at_request:days_since", "at_request:overdue"]
derived = store.get_historical_features(
    entity_df=asked, features=demand, filter_by_created_timestamp=True
).to_df()
derived[["days_since", "overdue"]].quantile([0.25, 0.5, 0.75]).round(2)

# %% [markdown]
# Half of the customers of a cutoff have been silent for 16.25 days or more. `overdue` is the more telling number: after
# ten days of silence, somebody who orders every three days is overdue, and somebody who orders every month is not.
#
# ## The online store
#
# `materialize` copies the newest row of each customer into SQLite, from a span of time. We take the span of the TTL,
# because what is older should not be served.

# %%
import io
from contextlib import redirect_stdout
from datetime import datetime

now = datetime(2025, 12, 29, 9)
with redirect_stdout(io.StringIO()):  # it tells what it does, with the clock's time
    store.materialize(start_date=now - timedelta(days=14), end_date=now)

# %%
names = [f"customer_features:{name}" for name in ["orders_28", "gap_days"]] + demand[1:]
rows = [{"customer_id": "C000004", "asked_at": now}]
answer = store.get_online_features(features=names, entity_rows=rows).to_dict()
{name: values[0] for name, values in sorted(answer.items())}

# %% [markdown]
# One customer, answered at once. But is it the same as in the table? A model that is trained on one and served from the
# other has to be able to rely on it, so we compare everyone.

# %%
current = features.where("as_of = '2025-12-29'").drop("as_of", "created_at")
offline = current.orderBy("customer_id").toPandas().set_index("customer_id")
rows = [{"customer_id": key} for key in offline.index]
names = [f"customer_features:{name}" for name in offline.columns]
online = store.get_online_features(features=names, entity_rows=rows).to_df()
online = online.set_index("customer_id")[offline.columns]
online["last_order_at"] = online["last_order_at"].dt.tz_localize(None)
same = (online == offline) | (online.isna() & offline.isna())
len(same), int((~same).sum().sum())

# %% [markdown]
# All values of all customers are equal. It was not so in our first version: SQLite gave back whole seconds, and the
# orders have milliseconds. The comparison said so, and `date_trunc('SECOND', …)` above is the mend.
#
# One difference remains between the two stores. The offline one minds the TTL. Let us see whether the online one does,
# with a customer whose last features are of October. We put them in as an old run would have, and ask for today.

# %%
gone = features.groupBy("customer_id").agg(F.max("as_of").alias("last_seen"))
gone = gone.where("last_seen = '2025-10-27'").orderBy("customer_id").first()
with redirect_stdout(io.StringIO()):
    store.materialize(start_date=datetime(2025, 10, 27), end_date=gone.last_seen)
row = [{"customer_id": gone.customer_id}]
answer = store.get_online_features(
    features=["customer_features:orders_84"], entity_rows=row
).to_dict(include_event_timestamps=True)
written = datetime.fromtimestamp(answer["orders_84__ts"][0])
answer["orders_84"], f"{written:%d %B}", now - written > timedelta(days=14)

# %% [markdown]
# It answers, with features that are two months old, and no word of warning. Whoever asks the online store has to look at
# the time of the answer.
#
# The old run did more harm than that. We ask for everyone of the last Monday, and count whose answer is older than two
# weeks.


# %%
def stale():
    """Return how many of the current customers get features older than the TTL."""
    rows = [{"customer_id": key} for key in offline.index]
    asked = ["customer_features:orders_84"]
    found = store.get_online_features(features=asked, entity_rows=rows)
    times = found.to_df(include_event_timestamps=True)["orders_84__ts"]
    written = pd.to_datetime(times, unit="s")
    return int((written < now - timedelta(days=14)).sum())


before = stale()
with redirect_stdout(io.StringIO()):
    store.materialize(start_date=now - timedelta(days=14), end_date=now)
before, stale()

# %% [markdown]
# The store keeps what was written last, not what is newest. A run for an old span replaces what is current, so after a
# backfill the current span is written once more.

# %% [markdown]
# ## Features of an event: leave out the event itself
#
# The second model of this course has another entity. It has to say of each *payment*, as it is made, whether it is
# fraud. There are no cutoffs here: each payment is its own moment, and its features look back from it. The payment
# service sees every attempt at once, so known and happened are the same, and a window is all that we need.
#
# A window in SQL includes the current row unless told otherwise. We compare the usual amount of a customer with and
# without the payment that is being judged, for those who have paid once before or not at all.

# %%
windows = spark.sql("""
    SELECT amount_cents, count(*) OVER before AS earlier,
           amount_cents / avg(amount_cents) OVER with_it AS with_itself,
           amount_cents / avg(amount_cents) OVER before AS without
    FROM silver.payments WINDOW
        with_it AS (PARTITION BY customer_id ORDER BY paid_at),
        before AS (PARTITION BY customer_id ORDER BY unix_micros(paid_at)
                   RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
""")
windows.groupBy("earlier").agg(
    F.expr("CAST(max(with_itself) AS DECIMAL(9, 2)) AS `largest with itself`"),
    F.expr("CAST(max(without) AS DECIMAL(9, 2)) AS `largest without`"),
).orderBy("earlier").limit(3)

# %% [markdown]
# With itself in the average, a first payment is always exactly usual, and a second can be at most twice the usual,
# however large it is. What was to be noticed has hidden itself. Without it the first has no usual amount, and NULL says
# so.

# %% [markdown] tags=["exercise"]
# ### Exercise 4.4: the hour before
#
# Write `attempts_before(payments)`. `payments` has `payment_id`, `device_id` and `paid_at`. Return each payment once,
# with all its columns and one more, `attempts`: the number of payments of the same device in the hour before it. One
# that is exactly an hour older counts; the payment itself does not, and neither does another one at the same
# microsecond.


# %% tags=["solution"]
def attempts_before(payments):
    """Return the payments with the number of attempts in the hour before."""
    ### BEGIN SOLUTION
    hour = Window.partitionBy("device_id").orderBy(F.unix_micros("paid_at"))
    before = hour.rangeBetween(-3_600_000_000, -1)
    return payments.withColumn("attempts", F.count("*").over(before))
    ### END SOLUTION


# %% tags=["check"]
check.attempts_before(attempts_before)

# %% [markdown]
# The features of a payment: how busy its device was in the last hour, how many of these attempts were declined, how many
# cards and customers the device and the card have seen, how the amount compares with the usual, and how fast the
# customer has travelled since the last payment.

# %%
WINDOWS = """
    hour AS (PARTITION BY device_id ORDER BY unix_micros(paid_at)
             RANGE BETWEEN 3600000000 PRECEDING AND 1 PRECEDING),
    day AS (PARTITION BY device_id ORDER BY unix_micros(paid_at)
            RANGE BETWEEN 86400000000 PRECEDING AND 1 PRECEDING),
    month AS (PARTITION BY device_id ORDER BY unix_micros(paid_at)
              RANGE BETWEEN 2592000000000 PRECEDING AND 1 PRECEDING),
    card AS (PARTITION BY card_id ORDER BY unix_micros(paid_at)
             RANGE BETWEEN 2592000000000 PRECEDING AND 1 PRECEDING),
    before AS (PARTITION BY customer_id ORDER BY unix_micros(paid_at)
               RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
"""

# %%
behind = spark.sql(f"""
    SELECT payment_id, paid_at, device_id, amount_cents, lat, lon,
           count(*) OVER hour AS attempts_1h,
           count_if(status = 'declined') OVER hour AS declined_1h,
           size(collect_set(card_id) OVER day) AS cards_24h,
           size(collect_set(customer_id) OVER month) AS device_customers_30d,
           if(card_id IS NULL, 0, size(collect_set(customer_id) OVER card))
               AS card_customers_30d,
           round(amount_cents / avg(amount_cents) OVER before, 3) AS amount_ratio,
           count(*) OVER before AS earlier,
           max_by(struct(paid_at, lat, lon), paid_at) OVER before AS last
    FROM silver.payments WINDOW {WINDOWS}
""")

# %% [markdown]
# The speed is the way along the globe, by the haversine formula with a radius of 6,371 kilometres, over the time since
# the customer's last payment. Less than a kilometre is no travel, less than a minute counts as a minute, and a
# first payment has no speed.

# %%
behind = behind.withColumns(
    {
        "half": F.expr("""pow(sin(radians(lat - last.lat) / 2), 2) + cos(radians(lat))
            * cos(radians(last.lat)) * pow(sin(radians(lon - last.lon) / 2), 2)"""),
        "hours": F.expr("(unix_millis(paid_at) - unix_millis(last.paid_at)) / 3.6e6"),
    }
).withColumn("km", F.expr("2 * 6371 * asin(sqrt(least(half, 1)))"))
fastest = "round(km / greatest(hours, 1 / 60), 1)"
moved = f"CASE WHEN km < 1 THEN 0 WHEN hours IS NOT NULL THEN {fastest} END"
speed = F.expr(f"{moved} AS km_per_hour")

# %% [markdown]
# One feature needs another source. A **chargeback** says that a payment was fraud, and it comes weeks later, in a monthly
# file. For a payment today, only those count that have arrived.

# %%
disputes = spark.sql("""
    SELECT device_id AS device, c._arrived_at AS arrived, paid_at AS disputed_at
    FROM silver.chargebacks AS c JOIN silver.payments USING (payment_id)
    WHERE reason = 'fraud'
""")
on_device = behind.select("payment_id", "device_id", "paid_at").join(
    disputes, F.expr("device_id = device AND disputed_at < paid_at")
)

# %%
chargebacks = (
    on_device.groupBy("payment_id")
    .agg(
        F.expr("count_if(arrived <= paid_at) AS chargebacks_known"),
        F.count("*").alias("chargebacks_ever"),
    )
    .cache()
)
chargebacks.agg(
    F.expr("count_if(chargebacks_known > 0) AS `payments with one known`"),
    F.count("*").alias("with one that came sooner or later"),
)

# %% [markdown]
# 531 payments come from a device on which a fraud was known by then. In hindsight it would be 1,774: a model trained on
# those would lean on a feature that is mostly empty when the payment is made.

# %%
payment_features = behind.join(
    chargebacks.select("payment_id", "chargebacks_known"), "payment_id", "left"
).fillna(0, "chargebacks_known")
payment_features.select(
    "payment_id", "paid_at", "amount_cents", "attempts_1h", "declined_1h", "cards_24h",
    "device_customers_30d", "card_customers_30d", "amount_ratio", "earlier", speed,
    "chargebacks_known",
).write.mode("overwrite").saveAsTable("ml.payment_features")  # fmt: skip
busy = F.desc("attempts_1h")
spark.table("ml.payment_features").drop("paid_at").orderBy(busy, "payment_id").limit(3)

# %% [markdown]
# And the labels, with the day on which they are known. A fraud is known when its chargeback arrives. That a payment is
# *no* fraud is never known for sure. A chargeback may be filed for nine weeks, and comes with the file of its month, so
# we say so when nine weeks have passed and the monthly file after them is in.

# %%
spark.sql("""
    CREATE OR REPLACE TABLE ml.fraud_labels AS
    SELECT p.payment_id, p.paid_at, if(c.payment_id IS NULL, 0, 1) AS fraud,
           coalesce(c.arrived, CAST(add_months(trunc(p.paid_at + INTERVAL 63 DAYS,
               'MM'), 1) AS TIMESTAMP)) AS known_at
    FROM silver.payments AS p LEFT JOIN (
        SELECT payment_id, min(_arrived_at) AS arrived FROM silver.chargebacks
        WHERE reason = 'fraud' GROUP BY payment_id) AS c ON c.payment_id = p.payment_id
    WHERE p.status = 'authorised'
""")
spark.table("ml.fraud_labels").groupBy("fraud").agg(
    F.count("*").alias("payments"),
    F.expr("CAST(avg(datediff(known_at, paid_at)) AS INT) AS days_until_known"),
).orderBy("fraud")

# %% [markdown] given=["39"]
# ## The real buyers: recency, frequency, value
#
# For the customers of CDNOW we want one row each, as of the end of September 1997, 39 weeks after the first of them
# bought. What the model of the next chapter needs is older than any feature store: `x`, on how many days the customer
# bought *again*; `t_x`, in which week after the first purchase that happened last; and `T`, for how many weeks we have
# watched. What comes after that day is what will be predicted, so it is kept apart, in `holdout`.

# %% [markdown] tags=["exercise"]
# ### Exercise 4.5: x, t_x and T
#
# Write `rfm(purchases, end)`. `purchases` has `customer_id` and `purchased_on` (a day), and some days twice; `end` is a
# text such as `'1997-09-30'`. For each customer who bought by then, return `customer_id`, `x` (the days with a purchase
# after the first day, up to and including `end`), `t_x` (weeks from the first to the last of these days, 0 without any)
# and `T` (weeks from the first day to `end`). A week is 7 days, and weeks are not rounded.


# %% tags=["solution"]
def rfm(purchases, end):
    """Return how often, how recently, and for how long each customer bought."""
    ### BEGIN SOLUTION
    seen = purchases.where(F.col("purchased_on") <= F.lit(end).cast("date"))
    first, last = F.min("purchased_on"), F.max("purchased_on")
    return seen.groupBy("customer_id").agg(
        (F.countDistinct("purchased_on") - 1).alias("x"),
        (F.datediff(last, first) / 7).alias("t_x"),
        (F.datediff(F.lit(end).cast("date"), first) / 7).alias("T"),
    )
    ### END SOLUTION


# %% tags=["check"]
check.rfm(rfm)

# %% [markdown]
# The published figures that we want to reproduce were made on a sample of one customer in ten. The file that names them
# comes with the course. It has the customer's number in the first five characters of a line, after a blank.

# %%
lines = medallion.dataset("cdnow/CDNOW_sample.txt").read_text(encoding="ascii")
chosen = sorted({line[1:6] for line in lines.splitlines()})
sample = spark.createDataFrame([(name,) for name in chosen], "customer_id STRING")
len(chosen)

# %%
days = spark.sql("""
    SELECT customer_id, purchased_on AS day, sum(amount_cents) AS cents,
           min(purchased_on) OVER (PARTITION BY customer_id) AS first
    FROM silver.cdnow GROUP BY customer_id, purchased_on
""")

# %%
rows = spark.sql(
    """
    SELECT customer_id, count_if(day > first AND day <= DATE'1997-09-30') AS x,
           datediff(max(day) FILTER (WHERE day <= DATE'1997-09-30'), first) / 7 AS t_x,
           datediff(DATE'1997-09-30', first) / 7 AS T,
           avg(cents) FILTER (WHERE day > first AND day <= DATE'1997-09-30')
               AS mean_cents,
           count_if(day > DATE'1997-09-30') AS holdout
    FROM {days} GROUP BY customer_id, first
    """,
    days=days,
)

# %%
sampled = sample.withColumn("sampled", F.lit(True))
rows = rows.join(sampled, "customer_id", "left").fillna(False, "sampled")
rows.write.mode("overwrite").saveAsTable("ml.cdnow_rfm")

# %%
spark.table("ml.cdnow_rfm").groupBy("sampled").agg(
    F.count("*").alias("customers"),
    F.count_if(F.col("x") > 0).alias("bought again"),
    F.round(F.avg("x"), 2).alias("mean x"),
    F.round(F.avg("T"), 1).alias("mean T"),
).orderBy("sampled")

# %% [markdown] given=["39"]
# The literature gives 2,357 customers for the sample, and 946 who bought again in these 39 weeks. Ours are the same.

# %% [markdown]
# ## Failure lab: a leak that everybody likes
#
# The shop has a monthly report: orders by customer and month. Somebody joins it to the training set, by customer and the
# month of the cutoff. It is a Gold table, it is well tested, and for a cutoff of 18 September it holds the whole of
# September. We make the column twice: as the report has it now, and as it was known at the cutoff.

# %%
monthly = spark.sql(
    """
    SELECT customer_id, cutoff, count(order_id) AS month_orders,
           count_if(arrived_at <= cutoff) AS month_known
    FROM ml.churn_labels JOIN {placed} USING (customer_id)
    WHERE date_trunc('month', ordered_at) = date_trunc('month', cutoff)
    GROUP BY customer_id, cutoff
    """,
    placed=placed,
)
table = spark.table("ml.churn_training").join(
    monthly, ["customer_id", "cutoff"], "left"
)

# %%
seconds = F.unix_timestamp("cutoff") - F.unix_timestamp("last_order_at")
table = table.withColumn("days_since", seconds / 86400)
table = table.fillna(0, ["month_orders", "month_known"])
table = table.orderBy("cutoff", "customer_id").toPandas()

# %% [markdown]
# We train twice, with and without the column, on labels that were known on 27 November. One row in three is kept aside
# to validate. The measure is the **AUC**, the chance that a customer who stopped is ranked above one who did
# not: 0.5 is guessing, 1 is never wrong.

# %%
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HONEST = [*COUNTS, "gap_days", "days_since"]
LEAKY = [*HONEST, "month_orders"]
past = table[table["known_at"] <= "2025-11-27"]
aside = past.index % 3 == 0


def auc(columns, rows):
    """Train on the past, without the rows kept aside, and return the AUC on rows."""
    known = SimpleImputer(strategy="median", add_indicator=True)
    model = make_pipeline(known, StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(past.loc[~aside, columns], past.loc[~aside, "churned"])
    return roc_auc_score(rows["churned"], model.predict_proba(rows[columns])[:, 1])


# %%
{name: round(auc(columns, past[aside]), 2) for name, columns in
 {"honest": HONEST, "leaky": LEAKY}.items()}  # fmt: skip

# %% [markdown]
# From 0.78 to 0.94 with one column: whoever presents that gets applause. Then the model goes into production. There the
# month is not over, and the column holds what is known on that day. We replay it, on the cutoffs that came later.

# %%
results = [("validation", auc(HONEST, past[aside]), auc(LEAKY, past[aside]))]
for cutoff, rows in table[table["known_at"] > "2025-11-27"].groupby("cutoff"):
    live = rows.assign(month_orders=rows["month_known"])
    results.append((f"{cutoff:%d %B}", auc(HONEST, rows), auc(LEAKY, live)))
auc_table = pd.DataFrame(results, columns=["tested on", "honest", "leaky"]).round(2)
auc_table

# %%
import plotly.express as px

from medallion.lesson import charts

title = "The same two models, in validation and in production"
both = ["honest", "leaky"]
figure = px.line(auc_table, x="tested on", y=both, markers=True, title=title)
figure.update_yaxes(title="AUC", range=[0.5, 1])
figure.update_xaxes(title=None)
figure.update_layout(legend_title=None)
charts.show(
    figure,
    alt="Lines of the AUC of two models. In validation the leaky one is ahead, 0.94 "
    "to 0.78. On the three later cutoffs it falls behind the honest one.",
)

# %% [markdown]
# In validation the leaky model is far ahead, and on every later cutoff it is behind. Such a split could not warn us:
# the rows kept aside carry the same leak. What warns is the blindfold, which needs no model at all.


# %%
def by_month(events, moment):
    """Return the orders in the month of the moment, as the report counts them."""
    same = f"date_trunc('month', ordered_at) = date_trunc('month', DATE'{moment}')"
    return events.where(same).groupBy("customer_id").agg(F.count("*").alias("orders"))


def blindfold(build, moment):
    """Raise ValueError if features change when later files are hidden."""
    blind = placed.where(F.col("arrived_at") <= F.lit(moment).cast("timestamp"))
    changed = build(placed, moment).exceptAll(build(blind, moment)).count()
    if changed:
        raise ValueError(f"{changed} customers change when the future is hidden")


# %%
try:
    blindfold(by_month, "2025-09-18")
except ValueError as error:
    caught = str(error)
caught


# %% [markdown]
# The mend is one condition, and the test agrees.


# %%
def month_to_date(events, moment):
    """Return the orders in the month of the moment that are known at the moment."""
    known = F.col("arrived_at") <= F.lit(moment).cast("timestamp")
    return by_month(events.where(known), moment)


blindfold(month_to_date, "2025-09-18")

# %% [markdown]
# ## Check yourself

# %%
from medallion.lesson import quiz

quiz.show("04")

# %% [markdown]
# ## What we know now
#
# - A prediction is about an entity, at a moment, for a horizon. Its labels have a table of their own, with the day on
#   which each is known, and those who do nothing stay in it.
# - Happened is not known. A feature may use what had arrived, as it was then.
# - The moment is an argument. A feature that asks the clock cannot be repeated.
# - The join as of a moment takes the newest row that was written in time and is not too old. A feature store does the
#   same, if we tell it when rows were created.
# - A training set is a snapshot that names the version it was made of. A backfill must not change it.
# - A window for an event leaves the event out.
# - Hide the future and build again: what changes is a leak. Rows kept aside do not find it.
#
# **On Databricks** a table with a primary key and a time-series column is a feature table of Unity Catalog.
# `FeatureLookup` with `timestamp_lookup_key` is the join as of a moment; it knows one time for a row, so let that be when
# the row was written. The Online Feature Store takes the place of SQLite, and on-demand features are Python functions in
# the catalog.
