"""What the checks of chapter 11 say of wrong answers, and other right ones."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from medallion.servers import warehouse

Answer = Callable[..., Any]

# 11.1


def rows_of(connect: Any, statement: str) -> Any:
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def first_row(connect: Any, statement: str) -> Any:
    return rows_of(connect, statement)[0]


def first_value(connect: Any, statement: str) -> Any:
    return rows_of(connect, statement)[0][0]


def first_of_any(connect: Any, statement: str) -> Any:
    rows = rows_of(connect, statement)
    if not rows:
        raise ValueError("no row")
    return rows[0][0]


def counts_rows_only(connect: Any, statement: str) -> Any:
    rows = rows_of(connect, statement)
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} rows")
    return rows[0][0]


def counts_different_rows(connect: Any, statement: str) -> Any:
    rows = set(rows_of(connect, statement))
    if len(rows) != 1 or len(next(iter(rows))) != 1:
        raise ValueError(f"{len(rows)} rows")
    return next(iter(rows))[0]


def null_is_nothing(connect: Any, statement: str) -> Any:
    rows = rows_of(connect, statement)
    if len(rows) != 1 or len(rows[0]) != 1 or rows[0][0] is None:
        raise ValueError("no value")
    return rows[0][0]


def as_a_number(connect: Any, statement: str) -> Any:
    return float(first_value(connect, statement))


def stays_open(connect: Any, statement: str) -> Any:
    cursor = connect().cursor()
    cursor.execute(statement)
    rows = cursor.fetchall()
    if len(rows) != 1 or len(rows[0]) != 1:
        raise ValueError
    return rows[0][0]


def closes_in_the_end(connect: Any, statement: str) -> Any:
    connection = connect()
    cursor = connection.cursor()
    cursor.execute(statement)
    rows = cursor.fetchall()
    connection.close()
    if len(rows) != 1 or len(rows[0]) != 1:
        raise ValueError
    return rows[0][0]


def under_its_own_name(connect: Any, statement: str) -> Any:
    return first_value(lambda: warehouse.connect("lena"), statement)


def keeps_errors(connect: Any, statement: str) -> Any:
    try:
        rows = rows_of(connect, statement)
    except Exception:
        return None
    if len(rows) != 1 or len(rows[0]) != 1:
        raise ValueError
    return rows[0][0]


def by_hand(connect: Any, statement: str) -> Any:
    connection = connect()
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        row, another = cursor.fetchone(), cursor.fetchone()
    finally:
        connection.close()
    if row is None or another is not None:
        raise ValueError("not one row")
    (value,) = row  # this raises ValueError for two columns
    return value


def unpacked(connect: Any, statement: str) -> Any:
    ((value,),) = rows_of(connect, statement)
    return value


# 11.2


def sql(statement: str, **args: Any) -> DataFrame:
    return SparkSession.active().sql(statement, args=args or None)


def glued(view: str, name: Any) -> DataFrame:
    return sql(f"SELECT last_name, city FROM {view} WHERE last_name = '{name}'")


def escaped_quotes(view: str, name: Any) -> DataFrame:
    escaped = str(name).replace("'", "\\'")
    return sql(f"SELECT last_name, city FROM {view} WHERE last_name = '{escaped}'")


def in_double_quotes(view: str, name: Any) -> DataFrame:
    return sql(f'SELECT last_name, city FROM {view} WHERE last_name = "{name}"')


def like(view: str, name: Any) -> DataFrame:
    return sql(f"SELECT last_name, city FROM {view} WHERE last_name LIKE :name", name=name)


def null_equals_null(view: str, name: Any) -> DataFrame:
    return sql(f"SELECT last_name, city FROM {view} WHERE last_name <=> :name", name=name)


def any_case(view: str, name: Any) -> DataFrame:
    return sql(f"SELECT last_name, city FROM {view} WHERE lower(last_name) = lower(:name)", name=name)


def cleaned(view: str, name: Any) -> DataFrame:
    plain = None if name is None else "".join(one for one in name if one not in "'\"\\")
    return sql(f"SELECT last_name, city FROM {view} WHERE last_name = :name", name=plain)


def all_columns_once(view: str, name: Any) -> DataFrame:
    return sql(f"SELECT DISTINCT last_name FROM {view} WHERE last_name = :name", name=name)


def as_a_frame(view: str, name: Any) -> DataFrame:
    return SparkSession.active().table(view).where(F.col("last_name") == F.lit(name))


def by_position(view: str, name: Any) -> DataFrame:
    statement = "SELECT city, last_name FROM IDENTIFIER(?) WHERE last_name = ?"
    return SparkSession.active().sql(statement, args=[view, name])


def glued_view(view: str, name: Any) -> DataFrame:
    return sql(f"SELECT last_name, city FROM {view} WHERE last_name = :name", name=name)


def escaped_fully(view: str, name: Any) -> DataFrame:
    escaped = "" if name is None else name.replace("\\", "\\\\").replace("'", "\\'")
    is_one = "last_name IS NULL AND false" if name is None else f"last_name = '{escaped}'"
    return sql(f"SELECT last_name, city FROM {view} WHERE {is_one}")


# 11.3


def with_totals(
    level: Callable[[], Any], *, change: Callable[[DataFrame], DataFrame] = lambda sales: sales
) -> Answer:
    def answer(sales: DataFrame) -> DataFrame:
        grouped = change(sales).rollup("week", "channel")
        return grouped.agg(level().cast("int").alias("level"), F.sum("cents").alias("cents"))

    return answer


def by_null(sales: DataFrame) -> DataFrame:
    """Take each row without a channel for a total."""
    level = F.when(F.isnull("week") & F.isnull("channel"), 3).when(F.isnull("channel"), 1).otherwise(0)
    sums = sales.rollup("week", "channel").agg(F.sum("cents").alias("cents"))
    return sums.withColumn("level", level)


def cube(sales: DataFrame) -> DataFrame:
    sums = sales.cube("week", "channel")
    return sums.agg(F.grouping_id().cast("int").alias("level"), F.sum("cents").alias("cents"))


def only_groups(sales: DataFrame) -> DataFrame:
    return sales.groupBy("week", "channel").agg(F.lit(0).alias("level"), F.sum("cents").alias("cents"))


def other_order(sales: DataFrame) -> DataFrame:
    sums = sales.rollup("channel", "week")
    sums = sums.agg(F.grouping_id().cast("int").alias("level"), F.sum("cents").alias("cents"))
    return sums.select("week", "channel", "level", "cents")


def in_sql(sales: DataFrame) -> DataFrame:
    return SparkSession.active().sql(
        "SELECT week, channel, CAST(grouping_id() AS INT) AS level, sum(cents) AS cents "
        "FROM {sales} GROUP BY ROLLUP (week, channel)",
        sales=sales,
    )


def in_three_queries(sales: DataFrame) -> DataFrame:
    cents = F.sum("cents").alias("cents")
    nothing = F.lit(None).cast("string").alias("channel")
    lines = sales.groupBy("week", "channel").agg(cents).withColumn("level", F.lit(0))
    weeks = sales.groupBy("week").agg(cents).select("week", nothing, "cents", F.lit(1).alias("level"))
    no_week = F.lit(None).cast("date").alias("week")
    whole = sales.agg(cents).select(no_week, nothing, "cents", F.lit(3).alias("level"))
    return lines.union(weeks).union(whole)


# 11.4


def faults(
    *, empty: bool = True, columns: Any = None, grain: Any = None, null: Any = None, total: Any = None
) -> Answer:
    """Return an answer to 11.4 that tests one thing otherwise."""

    def answer(tile: Any, rows: Any, truth: Any) -> list[str]:
        promised = {*tile["grain"], *tile["number"]}
        if empty and not rows:
            return ["empty"]
        if (columns or (lambda: any(set(row) != promised for row in rows)))():
            return ["columns"]
        first = tile["number"][0]
        keys = {tuple(row.get(name) for name in tile["grain"]) for row in rows}
        found = {
            "grain": (grain or (lambda: len(keys) < len(rows)))(),
            "null": (null or (lambda: any(row[name] is None for row in rows for name in tile["number"])))(),
            "total": (total or (lambda: sum(row[first] or 0 for row in rows) != truth))(),
        }
        return [name for name, is_so in found.items() if is_so]

    return answer


def first_row_only(tile: Any, rows: Any, total: Any) -> list[str]:
    if rows and set(rows[0]) != {*tile["grain"], *tile["number"]}:
        return ["columns"]
    return faults(columns=lambda: False)(tile, rows, total)


def missing_only(tile: Any, rows: Any, total: Any) -> list[str]:
    promised = {*tile["grain"], *tile["number"]}
    if rows and any(not promised <= set(row) for row in rows):
        return ["columns"]
    return faults(columns=lambda: False)(tile, rows, total)


def first_number_only(tile: Any, rows: Any, total: Any) -> list[str]:
    first = tile["number"][0]
    return faults(null=lambda: any(row[first] is None for row in rows))(tile, rows, total)


def zero_is_nothing(tile: Any, rows: Any, total: Any) -> list[str]:
    first = tile["number"][0]
    return faults(null=lambda: any(not row.get(first) for row in rows))(tile, rows, total)


def without_null_keys(tile: Any, rows: Any, total: Any) -> list[str]:
    keys = [row.get(tile["grain"][-1]) for row in rows]
    return faults(grain=lambda: len(set(keys)) < len(keys))(tile, rows, total)


def first_fault_only(tile: Any, rows: Any, total: Any) -> list[str]:
    return faults()(tile, rows, total)[:1]


def nearly(tile: Any, rows: Any, total: Any) -> list[str]:
    added = sum(row[tile["number"][0]] or 0 for row in rows) if rows else 0
    return faults(total=lambda: abs(float(added) - float(total)) > 5)(tile, rows, total)


def whole_rows(tile: Any, rows: Any, total: Any) -> list[str]:
    return faults(grain=lambda: any(rows.count(row) > 1 for row in rows))(tile, rows, total)


def to_the_euro(tile: Any, rows: Any, total: Any) -> list[str]:
    added = sum(row.get(tile["number"][0]) or 0 for row in rows)
    return faults(total=lambda: round(added) != round(total))(tile, rows, total)


def with_pandas(tile: Any, rows: Any, total: Any) -> Any:
    import pandas as pd

    frame = pd.DataFrame(rows)
    if frame.empty:
        return ("empty",)
    promised = [*tile["grain"], *tile["number"]]
    if any(sorted(row) != sorted(promised) for row in rows):
        return ("columns",)
    wrong = []
    if frame.duplicated(tile["grain"]).any():
        wrong.append("grain")
    if frame[tile["number"]].isna().any(axis=None):
        wrong.append("null")
    if frame[tile["number"][0]].dropna().sum() != total:
        wrong.append("total")
    return tuple(wrong)


# 11.5


def alert(
    *,
    silent: Callable[..., bool] = lambda value, as_of: value is None or value != value or as_of is None,
    late: Callable[[int, int], bool] = lambda age, days: age > days,
    low: Callable[[Any, Any], bool] = lambda value, limit: value < limit,
) -> Answer:
    """Return an answer to 11.5 that decides one thing otherwise."""

    def answer(value: Any, limit: Any, as_of: Any, today: Any, days: int) -> str:
        if silent(value, as_of) or late((today - as_of).days, days):
            return "silent"
        return "alert" if low(value, limit) else "ok"

    return answer


def threshold_first(value: Any, limit: Any, as_of: Any, today: Any, days: int) -> str:
    if value is not None and value < limit:
        return "alert"
    return alert()(value, limit, as_of, today, days)


def naive(value: Any, limit: Any, as_of: Any, today: Any, days: int) -> str:
    return "alert" if value is not None and value < limit else "ok"


def by_the_day_of_the_month(value: Any, limit: Any, as_of: Any, today: Any, days: int) -> str:
    if value is None or value != value or as_of is None or today.day - as_of.day > days:
        return "silent"
    return "alert" if value < limit else "ok"


def with_timedelta(value: Any, limit: Any, as_of: Any, today: Any, days: int) -> str:
    try:
        fresh = as_of + timedelta(days=days) >= today
        known = value >= limit or value < limit  # NaN is neither
    except TypeError:
        return "silent"
    if not (fresh and known):
        return "silent"
    return "ok" if value >= limit else "alert"


# 11.6


def refresh(
    pool: Callable[[str], str | None] = lambda name: name,
    limit: bool = True,
    keeps: tuple[type[Exception], ...] = (Exception,),
    late: Any = None,
    empty: Any = (),
) -> Answer:
    """Return an answer to 11.6: the pool of a tile, whether the server ends it, and what errors become."""

    def answer(connect: Any, tiles: Any, seconds: int) -> dict[str, Any]:
        def asked(name: str) -> Any:
            with connect() as connection, connection.cursor() as cursor:
                if pool(name):
                    cursor.execute(f"SET spark.sql.thriftserver.scheduler.pool = {pool(name)}")
                if limit:
                    cursor.execute(f"SET spark.sql.thriftServer.queryTimeout = {seconds}")
                try:
                    cursor.execute(tiles[name])
                    rows = cursor.fetchall()
                    return rows or (list(empty) if empty == () else empty)
                except keeps:
                    return late

        with ThreadPoolExecutor(len(tiles)) as at_once:
            return dict(zip(tiles, at_once.map(asked, tiles), strict=True))

    return answer


def frames(connect: Any, tiles: Any, seconds: int) -> Any:
    return list(refresh()(connect, tiles, seconds).values())


def without_the_late(connect: Any, tiles: Any, seconds: int) -> Any:
    return {name: rows for name, rows in refresh()(connect, tiles, seconds).items() if rows}


kept_open = []
# What an operation of HiveServer2 is before it has ended: initialized, running, pending
RUNS = (0, 1, 7)


def left_running(connect: Any, tiles: Any, seconds: int) -> dict[str, Any]:
    """Give up on a slow tile, and leave it to the server."""
    import time

    answers: dict[str, Any] = {}
    for name in tiles:
        kept_open.append(connect().cursor())
        cursor = kept_open[-1]
        cursor.execute(f"SET spark.sql.thriftserver.scheduler.pool = {name}")
        end = time.monotonic() + seconds
        cursor.execute(tiles[name], async_=True)
        while (state := cursor.poll().operationState) in RUNS and time.monotonic() < end:
            time.sleep(0.05)
        answers[name] = cursor.fetchall() if state == 2 else None
    return answers


def one_after_the_other(connect: Any, tiles: Any, seconds: int) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for name in tiles:
        answers |= refresh()(connect, {name: tiles[name]}, seconds)
    return answers


def polled(connect: Any, tiles: Any, seconds: int) -> dict[str, Any]:
    """Start all, and look again and again what has ended."""
    import time

    cursors = {name: connect().cursor() for name in tiles}
    end = time.monotonic() + seconds
    for number, (name, cursor) in enumerate(cursors.items()):
        cursor.execute(f"SET spark.sql.thriftserver.scheduler.pool = polled_{number}")
        cursor.execute(tiles[name], async_=True)
    answers: dict[str, Any] = {}
    while len(answers) < len(tiles):
        for name in cursors.keys() - answers.keys():
            state = cursors[name].poll().operationState
            if state in RUNS and time.monotonic() < end:
                continue
            if state in RUNS:
                cursors[name].cancel()
            answers[name] = cursors[name].fetchall() if state == 2 else None
        time.sleep(0.05)
    return answers


def with_threads(connect: Any, tiles: Any, seconds: int) -> dict[str, Any]:
    from threading import Thread

    answers: dict[str, Any] = {}
    threads = [
        Thread(target=lambda name=name: answers.update(refresh()(connect, {name: tiles[name]}, seconds)))
        for name in tiles
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


WRONG = [
    ("one", first_row, "For SELECT 3 you return (3,); it should be 3."),
    ("one", as_a_number, "For SELECT 3 you return 3.0; it should be 3."),
    ("one", first_value, "For no row you raise IndexError; it should be ValueError."),
    ("one", first_of_any, "For two rows (SELECT id FROM range(2)) you return 0; it should be a ValueError."),
    ("one", counts_rows_only, "For two columns (SELECT 1, 2) you return 1; it should be a ValueError."),
    (
        "one",
        counts_different_rows,
        "For two equal rows (SELECT 7 FROM range(2)) you return 7; it should be a ValueError.",
    ),
    ("one", null_is_nothing, "Your code raised ValueError: no value…"),
    ("one", stays_open, "The value is right, and the connection stays open. Close it."),
    (
        "one",
        closes_in_the_end,
        "After an error, or a ValueError, the connection stays open. Close it there too.",
    ),
    ("one", under_its_own_name, "You did not call connect(), so the statement went nowhere."),
    ("one", keeps_errors, "For a statement that the server refuses you return a value. Let its error out."),
    (
        "named",
        glued,
        "Your code raised ParseException: [PARSE_SYNTAX_ERROR] Syntax error at or near 'Brien'. …",
    ),
    ("named", escaped_quotes, "For the name back\\slash you do not return back\\slash of Hamm."),
    ("named", in_double_quotes, "For the name back\\slash you do not return back\\slash of Hamm."),
    ("named", like, "For the name % you return O'Brien of Kiel, who has another name."),
    ("named", null_equals_null, "For the name NULL you return NULL of Mainz, who has another name."),
    ("named", any_case, "For the name meier you return Meier of Bonn, who has another name."),
    ("named", cleaned, "For the name O'Brien you do not return O'Brien of Kiel."),
    (
        "named",
        glued_view,
        "The view 'people_of_check WHERE true --' does not exist, and you return rows: the name of the view "
        "becomes part of your statement. Bind it with IDENTIFIER(:view).",
    ),
    (
        "named",
        escaped_fully,
        "With spark.sql.parser.escapedStringLiterals = true you no longer find O'Brien: the name becomes "
        "part of your statement.",
    ),
    ("named", all_columns_once, "The column city is missing; yours are last_name."),
    ("totals", by_null, "You do not return the row of week 2025-07-14, channel NULL, level 0."),
    ("totals", cube, "You return a row of week NULL, channel app, level 2, which should not be there."),
    ("totals", only_groups, "You do not return the row of week 2025-07-07, channel NULL, level 1."),
    ("totals", other_order, "You do not return the row of week 2025-07-07, channel NULL, level 1."),
    (
        "totals",
        with_totals(lambda: F.grouping("channel")),
        "You return 2 times a row of week NULL, channel NULL, level 1: it is the total of the "
        "lines without a week.",
    ),
    (
        "totals",
        with_totals(F.grouping_id, change=lambda sales: sales.dropna()),
        "You do not return the row of week 2025-07-14, channel NULL, level 0.",
    ),
    (
        "totals",
        with_totals(F.grouping_id, change=lambda sales: sales.fillna("unknown")),
        "You do not return the row of week 2025-07-14, channel NULL, level 0.",
    ),
    (
        "totals",
        with_totals(F.grouping_id, change=lambda sales: sales.distinct()),
        "The row of week 2025-07-07, channel web, level 0 has 500 cents; it should have 1000, "
        "because both lines of the web count, also if they are equal.",
    ),
    ("faults", faults(empty=False), "For a tile without rows the faults are ['empty']; yours are []."),
    (
        "faults",
        first_row_only,
        "For a strange column in the last row the faults are ['columns']; yours are [].",
    ),
    ("faults", missing_only, "For a column that nobody promised the faults are ['columns']; yours are []."),
    (
        "faults",
        first_number_only,
        "For a second number that is missing in a row the faults are ['null']; yours are [].",
    ),
    ("faults", zero_is_nothing, "For a number of 0 the faults are []; yours are ['null']."),
    (
        "faults",
        without_null_keys,
        "For two rows without a channel in two weeks the faults are []; yours are ['grain'].",
    ),
    (
        "faults",
        first_fault_only,
        "For a row that is there twice (and the total is of each once) the faults are ['grain', "
        "'total']; yours are ['grain'].",
    ),
    (
        "faults",
        whole_rows,
        "For two rows of one week and channel, with different numbers the faults are ['grain']; yours are "
        "[].",
    ),
    (
        "faults",
        to_the_euro,
        "For money that is a cent short the faults are ['total']; yours are [].",
    ),
    ("faults", nearly, "For a total that is a cent off the faults are ['total']; yours are []."),
    ("alert", naive, "For no number at all the state is 'silent'; yours is 'ok'."),
    (
        "alert",
        threshold_first,
        "For a low number in data that are too old the state is 'silent'; yours is 'alert'.",
    ),
    (
        "alert",
        lambda value, limit, as_of, today, days: alert()(value, limit, as_of, today, 2),
        "For data of ten days ago, where fourteen may pass the state is 'ok'; yours is 'silent'.",
    ),
    ("alert", by_the_day_of_the_month, "For data of another year the state is 'silent'; yours is 'ok'."),
    (
        "alert",
        alert(late=lambda age, days: age >= days),
        "For data of two days ago, where two may pass the state is 'ok'; yours is 'silent'.",
    ),
    (
        "alert",
        alert(low=lambda value, limit: value <= limit),
        "For a number at the limit the state is 'ok'; yours is 'alert'.",
    ),
    (
        "alert",
        alert(silent=lambda value, as_of: value is None or as_of is None),
        "For a number that is NaN the state is 'silent'; yours is 'ok'.",
    ),
    (
        "alert",
        alert(silent=lambda value, as_of: not value or value != value or as_of is None),
        "For a sale of 0 (which is a number) the state is 'alert'; yours is 'silent'.",
    ),
    (
        "alert",
        alert(silent=lambda value, as_of: value is None or value != value),
        "Your code raised TypeError: unsupported operand type(s) for -: 'datetime.date' and 'NoneType' …",
    ),
    (
        "refresh",
        refresh(pool=lambda name: None),
        "Your tiles were answered when the long query had ended. Give each tile a pool.",
    ),
    (
        "refresh",
        refresh(pool=lambda name: "dashboard"),
        "The tile a waited for the slow one. Ask all at the same time, each in a pool of its own.",
    ),
    (
        "refresh",
        refresh(limit=False),
        "For a tile that takes too long the tile stuck should be None; yours is [(640,)].",
    ),
    (
        "refresh",
        refresh(keeps=()),
        "Your code raised EndpointError: [TABLE_OR_VIEW_NOT_FOUND] The table or view `nowhere` "
        "cannot be found. …",
    ),
    ("refresh", refresh(late=[]), "For a tile that fails the tile c should be None; yours is []."),
    (
        "refresh",
        frames,
        "Your function returned [[('a', 5)], [('b', 5)]]. It should return a dict with an "
        "answer for each tile.",
    ),
    (
        "refresh",
        without_the_late,
        "For a tile that fails you return ['a', 'b']; the tiles are ['a', 'b', 'c', 'empty'].",
    ),
    (
        "refresh",
        one_after_the_other,
        "The tile a waited for the slow one. Ask all at the same time, each in a pool of its own.",
    ),
    (
        "refresh",
        refresh(late=None, empty=None),
        "For a tile that fails the tile empty should be []; yours is None.",
    ),
    ("refresh", left_running, "The tile that takes too long still runs on the server. End it there too."),
]

RIGHT = [
    ("one", by_hand),
    ("one", unpacked),
    ("named", as_a_frame),
    ("named", by_position),
    ("totals", in_sql),
    ("totals", in_three_queries),
    ("faults", faults()),
    ("faults", with_pandas),
    ("alert", alert()),
    ("alert", with_timedelta),
    ("refresh", polled),
    ("refresh", with_threads),
]
