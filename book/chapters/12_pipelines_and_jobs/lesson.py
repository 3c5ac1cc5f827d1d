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
#       gold.weekly_payments: [silver.payments]
#       ops.runs: []
#     reads: [bronze.payments, silver.payments, silver.payments_quarantine, silver.orders, gold.daily_sales]
#     grain:
#       gold.weekly_payments: one method of payment in one week
#       ops.runs: one attempt of one job for one interval
#     minutes: {read: 60, practise: 90}
#     summary: the way to Gold stated as tables, scheduled jobs, backfills, an orchestrator, data contracts
#     outline: >-
#       A declarative pipeline over the same files, equal to the chapters before it row by row. A job with a logical
#       date: idempotent writes, retries, a run log, repair, backfill, late data, freshness. The same graph in
#       Dagster. A data contract, targets, secrets, and rollback.
#     objectives:
#     - state tables in place of steps, and say what a refresh does to their readers
#     - write a job that can run twice, be killed, and run for another date, with the same table each time
#     - plan a repair and a backfill from the graph of the tables and the log of the runs
#     - hand the same graph to an orchestrator
#     - promise a table to another team, and stop a change that breaks the promise
# ---

# %% [markdown]
# # Pipelines and jobs
#
# So far a person has run the notebooks from the top to the bottom, in the order of their numbers. In a company nobody
# sits there: the tables must be filled at night, in the right order, for the right week, also after a failure. The
# chapter has three parts:
#
# - **Pipelines.** We state each table as a query, and an engine derives the order.
# - **Jobs.** We write a job that may run twice, fail half-way and work for an earlier week, and read from a log what it did.
# - **Operation.** An orchestrator starts the job; a data contract, targets and a way back protect those who read the table.
#
# ![Where we are in the flow: beside Bronze, Silver and Gold, where their work is started](../book/figures/flow-12.svg)

# %% tags=["setup"]
from pyspark.sql import functions as F

import medallion

check = medallion.checks("12")  # the file checks.py beside this lesson
spark = medallion.start("12")

# %% [markdown]
# PART A: declarative pipelines

# %% [markdown]
# PART A ends

# %% [markdown]
# PART B: jobs

# %% [markdown]
# PART B ends

# %% [markdown]
# PART C: orchestrator, contract, targets

# %% [markdown]
# PART C ends

# %% [markdown]
# ## Check yourself
#
# Choose an answer to see what it would mean.

# %%
from medallion.lesson import quiz

quiz.show("12")

# %% [markdown]
# ## What we know now
#
# PART A knows
#
# PART A knows ends
#
# PART B knows
#
# PART B knows ends
#
# PART C knows
#
# PART C knows ends
