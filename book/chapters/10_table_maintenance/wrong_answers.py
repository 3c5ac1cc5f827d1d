"""What the checks of chapter 10 say of wrong answers, and other right ones."""

from collections.abc import Callable
from contextlib import suppress
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

# 10.1


def with_a_row_in_it(frame: DataFrame) -> int:
    if not frame.inputFiles():
        return 0
    return frame.select(F.col("_metadata.file_path")).distinct().count()


def as_text(frame: DataFrame) -> str:
    return str(len(frame.inputFiles()))


def folders(frame: DataFrame) -> int:
    return len({file.rsplit("/", 1)[0] for file in frame.inputFiles()})


def at_least_one(frame: DataFrame) -> int:
    return max(len(frame.inputFiles()), 1)


def rows(frame: DataFrame) -> int:
    return frame.count()


def runs_it_first(frame: DataFrame) -> int:
    frame.collect()
    return len(frame.inputFiles())


def counts_first(frame: DataFrame) -> int:
    frame.count()
    return len(frame.inputFiles())


def is_empty_first(frame: DataFrame) -> int:
    return 0 if frame.isEmpty() and not frame.inputFiles() else len(frame.inputFiles())


def hides_the_run(frame: DataFrame) -> int:
    with suppress(Exception):
        frame.collect()
    return len(frame.inputFiles())


def forgets_return(frame: DataFrame) -> None:
    len(frame.inputFiles())


def in_a_set(frame: DataFrame) -> int:
    return len({*frame.inputFiles()})


def of_the_jvm(frame: DataFrame) -> int:
    return len(list(frame._jdf.inputFiles()))


# 10.2

RIGHT_ONES = {
    "month": "scanned_at >= '2025-09-01' AND scanned_at < '2025-10-01'",
    "kilos": "weight_g >= 2000 AND weight_g < 3000",
    "light": "weight_g < 500 OR weight_g IS NULL",
    "prefix": "parcel_id LIKE 'PA03%'",
}
OTHER_RIGHT_ONES = {
    "month": "date(scanned_at) BETWEEN '2025-09-01' AND '2025-09-30'",
    "kilos": "weight_g BETWEEN 2000 AND 2999",
    "light": "weight_g IS NULL OR NOT (weight_g >= 500)",
    "prefix": "startswith(parcel_id, 'PA03')",
}


def predicates(**changed: Any) -> dict[str, Any]:
    """Return the right predicates with some of them changed."""
    return RIGHT_ONES | changed


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


def nothing_without_files(facts: Facts, target: int) -> list[str]:
    return caring()(facts, target) if facts["files"] else []


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
    every = F.explode(F.sequence(F.lit(0), F.lit(3)))
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


def by_weight(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return salting(by="weight_g")(scans, stations)


def one_partition(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return scans.repartition(1, "station_id").join(stations.repartition(1, "station_id"), "station_id")


def one_task(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return scans.coalesce(1).join(stations.coalesce(1), "station_id")


def one_task_and_spread(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return one_task(scans, stations).repartition(8)


def other_setting(scans: DataFrame, stations: DataFrame) -> DataFrame:
    scans.sparkSession.conf.set("spark.sql.shuffle.partitions", "1")
    return plain_join(scans, stations)


def with_aqe(scans: DataFrame, stations: DataFrame) -> DataFrame:
    scans.sparkSession.conf.set("spark.sql.adaptive.enabled", "true")
    return plain_join(scans, stations)


def kept_in_memory(scans: DataFrame, stations: DataFrame) -> DataFrame:
    joined = plain_join(scans, stations).cache()
    joined.count()
    return joined


def with_a_checkpoint(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return plain_join(scans, stations).localCheckpoint()


def collected(scans: DataFrame, stations: DataFrame) -> DataFrame:
    kinds = {row.station_id: row.kind for row in stations.collect()}
    pairs = F.create_map(*[F.lit(part) for pair in kinds.items() for part in pair])
    return scans.where(F.col("station_id").isin([*kinds])).withColumn("kind", pairs[F.col("station_id")])


def broadcast_before(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return broadcast(scans, stations).localCheckpoint()


def of_pandas(scans: DataFrame, stations: DataFrame) -> Any:
    return salting()(scans, stations).toPandas()


def hot_beside_plain(scans: DataFrame, stations: DataFrame) -> DataFrame:
    """Salt the hot keys, join the others as they are, and put both together."""
    counts = scans.where("station_id IS NOT NULL").groupBy("station_id").count()
    hot = F.col("station_id").isin([row.station_id for row in counts.where("count > 2000").collect()])
    plain = scans.where(~hot).join(stations, "station_id")
    return plain.unionByName(salting()(scans.where(hot), stations.where(hot)))


def with_a_hash_join(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return salting()(scans, stations.hint("shuffle_hash"))


def salted_and_kept(scans: DataFrame, stations: DataFrame) -> DataFrame:
    return salting()(scans, stations).localCheckpoint()


# 10.6

OTHER_KINDS = (ConcurrentAppendException, ConcurrentDeleteDeleteException)
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


def in_order_of_names(look: Answer, decide: Answer, act: Answer, attempts: int) -> list[str]:
    return maintaining()(look, lambda facts: sorted(decide(facts)), act, attempts)


def counts_by_action(look: Answer, decide: Answer, act: Answer, attempts: int) -> list[str]:
    done: list[str] = []
    failed: dict[str, int] = {}
    while True:
        for action in [name for name in decide(look()) if name not in done]:
            try:
                act(action)
            except Exception as error:
                failed[action] = failed.get(action, 0) + 1
                if not conflicts(error) or failed[action] == attempts:
                    raise
                break
            done.append(action)
        else:
            return done


def counts_anew(look: Answer, decide: Answer, act: Answer, attempts: int) -> list[str]:
    done: list[str] = []
    left = attempts
    while True:
        try:
            for action in [name for name in decide(look()) if name not in done]:
                act(action)
                done.append(action)
                left = attempts
            return done
        except Exception as error:
            left -= 1
            if not conflicts(error) or not left:
                raise


def other_error(look: Answer, decide: Answer, act: Answer, attempts: int) -> list[str]:
    try:
        return maintaining()(look, decide, act, attempts)
    except Exception as error:
        raise RuntimeError("gave up") from error


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

LARGEST = (
    "The rows are right. But the largest of 8 tasks reads {} rows from the shuffle, and the median is {}."
)
UNEVEN = LARGEST.format("9,349", "1,574")
ONE_TASK = "The rows are right. But the join has 1 task; leave it the 8 partitions that it has."
BROADCAST = "The rows are right, but the plan has a broadcast. Suppose that both sides are too large."

WRONG = [
    (
        "files_read",
        with_a_row_in_it,
        "For a filter that one file may meet, and no row does it is 1, because this file has to be read to "
        "know that it has no such row; yours is 0.",
    ),
    ("files_read", as_text, "Your function returned '4'. It should return a whole number."),
    (
        "files_read",
        folders,
        "For a table of four files it is 4, because nothing is filtered; yours is 1.",
    ),
    (
        "files_read",
        at_least_one,
        "For a filter that no file can meet it is 0, because all four are pruned; yours is 1.",
    ),
    ("files_read", rows, "For a table of four files it is 4, because nothing is filtered; yours is 8."),
    (
        "files_read",
        runs_it_first,
        "Your function runs the query: one that fails when it runs fails in your function. "
        "The plan knows the files.",
    ),
    (
        "files_read",
        counts_first,
        "Your function runs the query: one that fails when it runs fails in your function. "
        "The plan knows the files.",
    ),
    (
        "files_read",
        is_empty_first,
        "Your function runs the query: one that fails when it runs fails in your function. "
        "The plan knows the files.",
    ),
    (
        "files_read",
        hides_the_run,
        "Your function runs the query: one that fails when it runs fails in your function. "
        "The plan knows the files; an except only hides it.",
    ),
    (
        "files_read",
        forgets_return,
        "Your function returned nothing. Does it end with return? It should return a whole number.",
    ),
    (
        "keys",
        ["parcel_id"],
        "With the keys parcel_id, the query customer_id = 417 "
        "reads 8000 of 8000 rows. It should read at most 35 % of them. "
        "Each further key leaves less for the others.",
    ),
    (
        "keys",
        ["customer_id"],
        "With the keys customer_id, the query parcel_id = 'PA10425000' "
        "reads 8000 of 8000 rows. It should read at most 35 % of them. "
        "Each further key leaves less for the others.",
    ),
    (
        "keys",
        ["customer_id", "scanned_at"],
        "With the keys customer_id, scanned_at, the query parcel_id = 'PA10425000' "
        "reads 8000 of 8000 rows. It should read at most 35 % of them. "
        "Each further key leaves less for the others.",
    ),
    (
        "keys",
        ["parcel_id", "customer_id", "scanned_at"],
        "With the keys parcel_id, customer_id, scanned_at, the query parcel_id = 'PA10425000' "
        "reads 3200 of 8000 rows. It should read at most 35 % of them. "
        "Each further key leaves less for the others.",
    ),
    (
        "keys",
        ["scanned_at", "PARCEL_ID"],
        "With the keys scanned_at, parcel_id, the query customer_id = 417 "
        "reads 8000 of 8000 rows. It should read at most 35 % of them. "
        "Each further key leaves less for the others.",
    ),
    (
        "keys",
        ["parcel_id", "customer_id", "scanned_at", "weight_g"],
        "weight_g is in no query. Each further key leaves less for the others, so a key that no query "
        "filters on only costs.",
    ),
    (
        "keys",
        ["scan_type"],
        "scan_type is in no query. Each further key leaves less for the others, so a key that no query "
        "filters on only costs.",
    ),
    (
        "keys",
        ["station_id", "customer_id"],
        "station_id is in no query. Each further key leaves less for the others, so a key that no query "
        "filters on only costs.",
    ),
    (
        "keys",
        ["customer_id", "parcel_id", "scan_type", "station_id"],
        "scan_type is in no query. Each further key leaves less for the others, so a key that no query "
        "filters on only costs.",
    ),
    (
        "keys",
        ["customer_id", "parcel_id", "station_id"],
        "station_id is in no query. Each further key leaves less for the others, so a key that no query "
        "filters on only costs.",
    ),
    ("keys", ["parcel_id", "customer_id", "Parcel_ID"], "The key parcel_id is there more than once."),
    ("keys", [], "Your keys are []. They should be a list of names of columns."),
    (
        "keys",
        "parcel_id, customer_id",
        "Your keys are 'parcel_id, customer_id'. They should be a list of names of columns.",
    ),
    (
        "keys",
        ["parcel", "customer_id"],
        "'parcel' is no column of the table. It has scan_id, scanned_at, parcel_id, station_id, scan_type, "
        "weight_g, customer_id.",
    ),
    (
        "skipping",
        predicates(month="scanned_at BETWEEN '2025-09-01' AND '2025-10-01'"),
        "month keeps the scan with scanned_at 2025-10-01 00:00:00, which the slow predicate does not.",
    ),
    (
        "skipping",
        predicates(month="scanned_at BETWEEN '2025-09-01' AND '2025-09-30 23:59:59'"),
        "month loses the scan with scanned_at 2025-09-30 23:59:59.500000, which the slow predicate keeps.",
    ),
    (
        "skipping",
        predicates(month="year(scanned_at) = 2025 AND month(scanned_at) = 9"),
        "month keeps the same rows as date_format(scanned_at, 'yyyy-MM') = '2025-09', and reads 8 of 8 "
        "files. It can read 1.",
    ),
    (
        "skipping",
        predicates(kilos="weight_g BETWEEN 2000 AND 3000"),
        "kilos keeps the scan with weight_g 3000, which the slow predicate does not.",
    ),
    (
        "skipping",
        predicates(kilos="weight_g > 2000 AND weight_g < 3000"),
        "kilos loses the scan with weight_g 2000, which the slow predicate keeps.",
    ),
    (
        "skipping",
        predicates(light="weight_g < 500"),
        "light loses the scan with weight_g NULL, which the slow predicate keeps.",
    ),
    (
        "skipping",
        predicates(light="weight_g <= 500 OR weight_g IS NULL"),
        "light keeps the scan with weight_g 500, which the slow predicate does not.",
    ),
    (
        "skipping",
        predicates(prefix="parcel_id BETWEEN 'PA03' AND 'PA04'"),
        "prefix keeps the scan with parcel_id PA04, which the slow predicate does not.",
    ),
    (
        "skipping",
        predicates(prefix="parcel_id > 'PA03' AND parcel_id < 'PA04'"),
        "prefix loses the scan with parcel_id PA03, which the slow predicate keeps.",
    ),
    (
        "skipping",
        predicates(prefix="parcel_id LIKE '%03%'"),
        "prefix keeps the same rows as substring(parcel_id, 1, 4) = 'PA03', and reads 8 of 8 files. "
        "It can read 1.",
    ),
    ("skipping", predicates(light=500), "light is 500. It should be a string."),
    (
        "skipping",
        {"month": "true"},
        "kilos is missing. The names are month, kilos, light, prefix.",
    ),
    (
        "skipping",
        predicates(weight="weight_g = 1"),
        "weight is none of the names. They are month, kilos, light, prefix.",
    ),
    (
        "skipping",
        predicates(month="scan_id BETWEEN 40 AND 44"),
        "month loses the scan with scanned_at 2025-09-01 00:00:00, which the slow predicate keeps.",
    ),
    (
        "skipping",
        predicates(month="scanned_at >= '2025-09-01' AND scanned_at < '2025-10-01' OR scanned_at IS NULL"),
        "month keeps the scan with scanned_at NULL, which the slow predicate does not.",
    ),
    (
        "skipping",
        predicates(month="month(scanned_at) = 9"),
        "month keeps the scan with scanned_at 2024-09-10 00:00:00, which the slow predicate does not.",
    ),
    (
        "skipping",
        predicates(prefix="parcel_id BETWEEN 'PA03' AND 'PA039'"),
        "prefix loses the scan with parcel_id PA03999999, which the slow predicate keeps.",
    ),
    (
        "skipping",
        predicates(prefix="parcel_id LIKE 'PA03%' OR parcel_id IS NULL"),
        "prefix keeps the scan with parcel_id NULL, which the slow predicate does not.",
    ),
    (
        "skipping",
        predicates(light="weight_g BETWEEN 0 AND 499 OR weight_g IS NULL"),
        "light loses the scan with weight_g -5, which the slow predicate keeps.",
    ),
    (
        "skipping",
        predicates(kilos="weight_g"),
        "kilos cannot be used: it is no condition, but of the type int.",
    ),
    (
        "skipping",
        predicates(kilos="weight_g >= 2000 AND"),
        "kilos cannot be used: [PARSE_SYNTAX_ERROR] …",
    ),
    (
        "skipping",
        predicates(kilos="weight >= 2000"),
        "kilos cannot be used: [UNRESOLVED_COLUMN.WITH_SUGGESTION] …",
    ),
    (
        "skipping",
        predicates(kilos="CAST(parcel_id AS INT) = 2"),
        "kilos cannot be used: [CAST_INVALID_INPUT] The value 'PA…",
    ),
    (
        "skipping",
        [*RIGHT_ONES.values()],
        f"Your predicates are {[*RIGHT_ONES.values()]!r}. They should be a dict of four strings.",
    ),
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
    (
        "needs_care",
        nothing_without_files,
        "For a table whose files are all unused the actions are ['vacuum']; yours are [].",
    ),
    ("needs_care", one_name, "Your function returned ''. It should return a list."),
    (
        "needs_care",
        fixed_target,
        "For 10 files of 200,000 bytes, target 400,000 the actions are []; yours are ['compact'].",
    ),
    ("even_join", plain_join, UNEVEN),
    ("even_join", spread_before, UNEVEN),
    ("even_join", spread_after, UNEVEN),
    ("even_join", salting(2), LARGEST.format("5,703", "1,666")),
    ("even_join", named_hub, LARGEST.format("10,932", "3,121")),
    ("even_join", kept_in_memory, UNEVEN),
    ("even_join", with_a_checkpoint, UNEVEN),
    ("even_join", one_partition, ONE_TASK),
    ("even_join", one_task, ONE_TASK),
    ("even_join", one_task_and_spread, ONE_TASK),
    ("even_join", other_setting, ONE_TASK),
    (
        "even_join",
        with_aqe,
        "The rows are right, but the plan is adaptive. Solve it without AQE: leave the settings.",
    ),
    ("even_join", broadcast, BROADCAST),
    ("even_join", broadcast_before, BROADCAST),
    (
        "even_join",
        collected,
        "The rows are right, but no stage joins the scans with the stations. Suppose that both sides are too "
        "large for the driver, and leave the join to Spark.",
    ),
    ("even_join", by_weight, "The station ST010 has 30 joined rows; 31 scans are there."),
    ("even_join", salting(32, copies=16), "The station ST001 has 7 joined rows; 30 scans are there."),
    ("even_join", copies_without_salt, "The station ST001 has 120 joined rows; 30 scans are there."),
    ("even_join", left, "Your join has rows with the station_id NULL, which the plain join has not."),
    ("even_join", without_stations, "Your join has no column kind; it has station_id, scan_id, weight_g."),
    (
        "even_join",
        of_pandas,
        "Your function returned a DataFrame of pandas. It should return a DataFrame of Spark.",
    ),
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
        maintaining(caught=lambda error: conflicts(error) and not isinstance(error, OTHER_KINDS)),
        "Conflicts of two other kinds: calls look compact look compact look compact, and ends with "
        "['compact'] is right; yours: calls look compact, and ends with Appended.",
    ),
    (
        "maintain",
        maintaining(caught=lambda error: conflicts(error) or hasattr(error, "java_exception")),
        "An error of Spark that no conflict has caused: calls look compact, and ends with Failed is right; "
        "yours: calls look compact look compact, and ends with ['compact'].",
    ),
    (
        "maintain",
        maintaining(caught=lambda error: not isinstance(error, OSError | MetadataChangedException)),
        "Another error that is no conflict: calls look compact, and ends with ValueError is right; yours: "
        "calls look compact look compact, and ends with ['compact'].",
    ),
    (
        "maintain",
        in_order_of_names,
        "Two actions in another order: calls look vacuum compact, and ends with ['vacuum', 'compact'] is "
        "right; yours: calls look compact vacuum, and ends with ['compact', 'vacuum'].",
    ),
    (
        "maintain",
        counts_by_action,
        "A conflict in each of two attempts, of two actions: calls look compact look compact purge, and ends "
        "with Conflict is right; yours: calls look compact look compact purge look purge, and ends with "
        "['compact', 'purge'].",
    ),
    (
        "maintain",
        counts_anew,
        "A conflict in each of two attempts, of two actions: calls look compact look compact purge, and ends "
        "with Conflict is right; yours: calls look compact look compact purge look purge, and ends with "
        "['compact', 'purge'].",
    ),
    (
        "maintain",
        other_error,
        "A conflict in each of two attempts: calls look compact look compact, and ends with Conflict is "
        "right; yours: calls look compact look compact, and ends with RuntimeError.",
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
    ("files_read", in_a_set),
    ("files_read", of_the_jvm),
    ("keys", ["customer_id", "parcel_id"]),
    ("keys", ("parcel_id", "customer_id")),
    ("keys", {"parcel_id", "customer_id"}),
    ("keys", ["PARCEL_ID", "Customer_Id"]),
    ("skipping", OTHER_RIGHT_ONES),
    ("skipping", dict(reversed(RIGHT_ONES.items()))),
    ("needs_care", as_a_tuple),
    ("needs_care", with_shares),
    ("even_join", salting(64, drop=False)),
    ("even_join", only_the_hot),
    ("even_join", hot_beside_plain),
    ("even_join", with_a_hash_join),
    ("even_join", salted_and_kept),
    ("maintain", recursive),
    ("maintain", while_loop),
]
