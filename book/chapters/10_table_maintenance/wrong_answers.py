"""What the checks of chapter 10 say of wrong answers, and other right ones."""

from collections.abc import Callable
from typing import Any

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
)
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

Answer = Callable[..., Any]
Facts = dict[str, Any]

# 10.4


def caring(
    *,
    least_files: int = 10,
    small: Callable[[float, float], bool] = lambda mean, target: mean < target / 4,
    marked: Callable[[int, int], bool] = lambda deleted, rows: deleted >= 0.05 * (rows + deleted),
    order: tuple[str, ...] = ("compact", "purge", "vacuum"),
) -> Answer:
    """Return an answer that differs from the right one in a part."""

    def needs_care(facts: Facts, target: int) -> list[str]:
        deleted = facts["deleted"] or 0
        mean = facts["bytes"] / max(facts["files"], 1)
        needed = {
            "compact": facts["files"] >= least_files and small(mean, target),
            "purge": deleted > 0 and marked(deleted, facts["rows"]),
            "vacuum": facts["unused"] > 0,
        }
        return [action for action in order if needed[action]]

    return needs_care


def unknown_is_purged(facts: Facts, target: int) -> list[str]:
    return (["purge"] if facts["deleted"] is None else []) + caring()(facts, target)


def mean_by_division(facts: Facts, target: int) -> list[str]:
    mean = facts["bytes"] / facts["files"]
    return ["compact"] if facts["files"] >= 10 and mean < target / 4 else []


def first_only(facts: Facts, target: int) -> list[str]:
    return caring()(facts, target)[:1]


def one_name(facts: Facts, target: int) -> str:
    return ", ".join(caring()(facts, target))


def fixed_target(facts: Facts, target: int) -> list[str]:
    return caring()(facts, 1_000_000)


def as_a_tuple(facts: Facts, target: int) -> tuple[str, ...]:
    return tuple(caring()(facts, target))


def with_shares(facts: Facts, target: int) -> list[str]:
    in_files = facts["rows"] + (facts["deleted"] or 0)
    actions = []
    if facts["files"] > 9 and 4 * facts["bytes"] < facts["files"] * target:
        actions.append("compact")
    if in_files and (facts["deleted"] or 0) / in_files >= 0.05:
        actions.append("purge")
    return actions + ["vacuum"] * (facts["unused"] > 0)


# 10.5


def salting(salts: int = 32, copies: int | None = None, drop: bool = True, by: str = "scan_id") -> Answer:
    """Return an answer that salts the scans, and copies the stations, with other numbers."""

    def even(scans: DataFrame, stations: DataFrame) -> DataFrame:
        salted = scans.withColumn("salt", F.expr(f"CAST(pmod({by}, {salts}) AS INT)"))
        every = F.sequence(F.lit(0), F.lit((copies or salts) - 1))
        joined = salted.join(stations.withColumn("salt", F.explode(every)), ["station_id", "salt"])
        return joined.drop("salt") if drop else joined

    return even


def plain_join(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return scans.join(stations, "station_id")


def broadcast(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return scans.join(F.broadcast(stations), "station_id")


def spread_before(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return scans.repartition(8).join(stations, "station_id")


def spread_after(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return scans.join(stations, "station_id").repartition(8)


def copies_without_salt(scans: DataFrame, stations: DataFrame) -> DataFrame:
    every = F.explode(F.sequence(F.lit(0), F.lit(31)))
    return scans.join(stations.withColumn("salt", every), "station_id").drop("salt")


def without_stations(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return salting()(scans, stations).drop("kind")


def left(scans: DataFrame, stations: DataFrame) -> DataFrame:
    salted = scans.withColumn("salt", F.expr("CAST(pmod(scan_id, 32) AS INT)"))
    every = F.explode(F.sequence(F.lit(0), F.lit(31)))
    return salted.join(stations.withColumn("salt", every), ["station_id", "salt"], "left")


def named_hub(scans: DataFrame, stations: DataFrame) -> DataFrame:
    salt = F.when(F.col("station_id") == "ST41", F.expr("CAST(pmod(scan_id, 32) AS INT)")).otherwise(0)
    every = F.explode(F.sequence(F.lit(0), F.lit(31)))
    return scans.withColumn("salt", salt).join(stations.withColumn("salt", every), ["station_id", "salt"])


def only_the_hot(scans: DataFrame, stations: DataFrame) -> DataFrame:
    counts = scans.where("station_id IS NOT NULL").groupBy("station_id").count()
    hot = counts.orderBy(F.desc("count")).first().station_id
    salt = F.when(F.col("station_id") == hot, F.expr("CAST(pmod(scan_id, 64) AS INT)")).otherwise(F.lit(0))
    copies = F.when(F.col("station_id") == hot, F.sequence(F.lit(0), F.lit(63)))
    every = F.explode(F.coalesce(copies, F.array(F.lit(0))))
    return scans.withColumn("salt", salt).join(stations.withColumn("salt", every), ["station_id", "salt"])


# 10.6

CAUGHT = (ConcurrentAppendException, ConcurrentDeleteReadException, ConcurrentDeleteDeleteException)


def conflicts(error: Exception) -> bool:
    """Say whether an error is a conflict, or was caused by one."""
    cause = getattr(error, "java_exception", None)
    while cause is not None and not cause.getClass().getSimpleName().startswith("Concurrent"):
        cause = cause.getCause()
    return cause is not None or isinstance(error, CAUGHT)


def maintaining(
    *,
    caught: Answer = conflicts,
    more: int = 0,
    again: bool = False,
    forgets: bool = False,
    silent: bool = False,
) -> Answer:
    """Return an answer that differs from the right one in a part."""

    def maintain(look: Answer, decide: Answer, act: Answer, attempts: int) -> list[str]:
        done: list[str] = []
        for attempt in range(attempts + more):
            try:
                for action in decide(look()):
                    if again or action not in done:
                        act(action)
                        done.append(action)
            except Exception as error:
                if not caught(error):
                    raise
                if forgets:
                    done = []
                if attempt + 1 == attempts + more and not silent:
                    raise
            else:
                break
        return done

    return maintain


def decides_once(look: Answer, decide: Answer, act: Answer, attempts: int) -> list[str]:
    actions = decide(look())
    for action in actions:
        for attempt in range(attempts):
            try:
                act(action)
                break
            except Exception as error:
                if not conflicts(error) or attempt + 1 == attempts:
                    raise
    return list(actions)


def returns_nothing(look: Answer, decide: Answer, act: Answer, attempts: int) -> None:
    maintaining()(look, decide, act, attempts)


def recursive(look: Answer, decide: Answer, act: Answer, attempts: int) -> list[str]:
    done: list[str] = []

    def attempt(left: int) -> list[str]:
        try:
            for action in decide(look()):
                if action not in done:
                    act(action)
                    done.append(action)
        except Exception as error:
            if not conflicts(error) or left == 1:
                raise
            return attempt(left - 1)
        return done

    return attempt(attempts)


def while_loop(look: Answer, decide: Answer, act: Answer, attempts: int) -> list[str]:
    done: dict[str, None] = {}
    left = attempts
    while True:
        try:
            for action in [name for name in decide(look()) if name not in done]:
                act(action)
                done[action] = None
            return [*done]
        except Exception as error:
            left -= 1
            if not conflicts(error) or not left:
                raise


NEEDS = ("CONFLICTS", "conflict_of")

WRONG = [
    (
        "needs_care",
        caring(least_files=11),
        "For 10 files of 200,000 bytes the actions are ['compact']; yours are [].",
    ),
    (
        "needs_care",
        caring(small=lambda mean, target: mean <= target / 4),
        "For 10 files of a quarter of the target the actions are []; yours are ['compact'].",
    ),
    (
        "needs_care",
        caring(marked=lambda deleted, rows: deleted > 0.05 * (rows + deleted)),
        "For 5 marked rows of 100 in the files the actions are ['purge']; yours are [].",
    ),
    (
        "needs_care",
        caring(marked=lambda deleted, rows: deleted >= 0.05 * rows),
        "For 5 marked rows beside 100 others the actions are []; yours are ['purge'].",
    ),
    (
        "needs_care",
        unknown_is_purged,
        "For a number of marked rows that nobody knows the actions are []; yours are ['purge'].",
    ),
    (
        "needs_care",
        mean_by_division,
        "Your code raised ZeroDivisionError: division by zero…",
    ),
    (
        "needs_care",
        caring(order=("vacuum", "purge", "compact")),
        "For a table that needs everything the actions are ['compact', 'purge', 'vacuum']; yours are "
        "['vacuum', 'purge', 'compact'].",
    ),
    (
        "needs_care",
        first_only,
        "For a table that needs everything the actions are ['compact', 'purge', 'vacuum']; yours are "
        "['compact'].",
    ),
    ("needs_care", one_name, "Your function returned ''. It should return a list."),
    (
        "needs_care",
        fixed_target,
        "For 10 files of 200,000 bytes, target 400,000 the actions are []; yours are ['compact'].",
    ),
    ("even_join", plain_join, "The rows are right. But the largest of 8 tasks reads …"),
    ("even_join", spread_before, "The rows are right. But the largest of 8 tasks reads …"),
    ("even_join", spread_after, "The rows are right. But the largest of 8 tasks reads …"),
    ("even_join", salting(2), "The rows are right. But the largest of 8 tasks reads …"),
    ("even_join", named_hub, "The rows are right. But the largest of 8 tasks reads …"),
    (
        "even_join",
        broadcast,
        "The rows are right, but the plan has a broadcast. Suppose that both sides are too large.",
    ),
    ("even_join", salting(32, copies=16), "The station ST01 has …"),
    ("even_join", copies_without_salt, "The station ST01 has …"),
    ("even_join", left, "Your join has rows of …"),
    ("even_join", without_stations, "Your join has no column kind; it has …"),
    (
        "maintain",
        maintaining(caught=lambda error: True),
        "An error that is no conflict: calls look compact, and ends with OSError is right; yours: calls look "
        "compact look compact, and ends with ['compact'].",
    ),
    (
        "maintain",
        maintaining(caught=lambda error: conflicts(error) or isinstance(error, MetadataChangedException)),
        "A change of the table's columns by another writer: calls look compact, and ends with "
        "MetadataChangedException is right; yours: calls look compact look compact, and ends with "
        "['compact'].",
    ),
    (
        "maintain",
        maintaining(caught=lambda error: isinstance(error, DeltaConcurrentModificationException)),
        "A conflict in the first of three attempts: calls look compact look compact, and ends with "
        "['compact'] is right; yours: calls look compact, and ends with Conflict.",
    ),
    (
        "maintain",
        maintaining(caught=lambda error: isinstance(error, CAUGHT)),
        "A conflict that is the cause of another exception: calls look compact look "
        "compact, and ends with ['compact'] is right; yours: calls look compact, and ends with Wrapped.",
    ),
    (
        "maintain",
        maintaining(more=1),
        "A conflict in each of two attempts: calls look compact look compact, and ends with Conflict is "
        "right; yours: calls look compact look compact look compact, and ends with ['compact'].",
    ),
    (
        "maintain",
        maintaining(again=True),
        "A conflict in the second action: calls look compact purge look purge, and ends with ['compact', "
        "'purge'] is right; yours: calls look compact purge look compact purge, and ends with ['compact', "
        "'compact', 'purge'].",
    ),
    (
        "maintain",
        maintaining(forgets=True),
        "A conflict in the second action: calls look compact purge look purge, and ends with ['compact', "
        "'purge'] is right; yours: calls look compact purge look compact purge, and ends with ['compact', "
        "'purge'].",
    ),
    (
        "maintain",
        maintaining(silent=True),
        "A conflict in each of two attempts: calls look compact look compact, and ends with Conflict is "
        "right; yours: calls look compact look compact, and ends with [].",
    ),
    (
        "maintain",
        decides_once,
        "A conflict in the first of three attempts: calls look compact look compact, and ends with "
        "['compact'] is right; yours: calls look compact compact, and ends with ['compact'].",
    ),
    (
        "maintain",
        returns_nothing,
        "Nothing to do: calls look, and ends with [] is right; yours: calls look, and ends with None.",
    ),
]

RIGHT = [
    ("needs_care", as_a_tuple),
    ("needs_care", with_shares),
    ("even_join", salting(64, drop=False)),
    ("even_join", only_the_hot),
    ("maintain", recursive),
    ("maintain", while_loop),
]
