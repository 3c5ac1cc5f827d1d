"""The checks of chapter 11."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from typing import Any, ClassVar

import pandas as pd
from pyspark.sql import SparkSession

from medallion.lesson.exercise import Exercise, FunctionExercise, Verdict, plain
from medallion.lesson.frames import WHOLE, Case, FrameExercise, frame_of
from medallion.servers import warehouse

# With Delta 4.4.0, Spark 4.2.0 binds parameters only so: see the lesson
BINDS = "spark.sql.legacy.parameterSubstitution.constantsOnly"
ESCAPES = "spark.sql.parser.escapedStringLiterals"


class One(Exercise):
    """Exercise 11.1. The only value of a statement, and a connection that is closed whatever happens."""

    number = "11.1"
    title = "read one number over DB-API"
    takes = "a function of a function that connects, and a statement"
    hints = (
        "fetchall() returns a list of rows, and a row is a tuple. What is the value in [(3,)]?",
        "A with block closes a connection of this course at its end, also when something in it fails: "
        "with connect() as connection, connection.cursor() as cursor.",
        "Fetch the rows inside the block. After it, count the rows, and the values in the first row.",
    )
    values: ClassVar = (
        ("SELECT 3", 3),
        ("SELECT 0", 0),
        ("SELECT 'a, b'", "a, b"),
        ("SELECT 12.50BD", Decimal("12.50")),
        ("SELECT CAST(NULL AS INT)", None),
        ("SELECT current_user()", "check"),
    )
    others: ClassVar = (
        ("SELECT id FROM range(3) WHERE id > 5", "no row"),
        ("SELECT id FROM range(2)", "two rows"),
        ("SELECT 7 FROM range(2)", "two equal rows"),
        ("SELECT 1, 2", "two columns"),
    )

    def check(self, answer: Callable[..., Any]) -> Verdict:
        warehouse.start()
        opened: list[warehouse.Connection] = []

        def connect() -> warehouse.Connection:
            opened.append(warehouse.connect("check"))
            return opened[-1]

        try:
            return self.judge(answer, connect, opened)
        finally:
            for connection in opened:
                if not connection.closed:
                    connection.close()

    def judge(self, answer: Callable[..., Any], connect: Any, opened: list[Any]) -> Verdict:
        for statement, expected in self.values:
            found = plain(answer(connect, statement))
            if not opened:
                return self.wrong("You did not call connect(), so the statement went nowhere.")
            if found != expected or type(found) is not type(expected):
                return self.wrong(f"For {statement} you return {found!r}; it should be {expected!r}.")
        if not all(connection.closed for connection in opened):
            return self.wrong("The value is right, and the connection stays open. Close it.")
        for statement, what in self.others:
            try:
                found = answer(connect, statement)
            except ValueError:
                continue
            except Exception as error:
                return self.wrong(f"For {what} you raise {type(error).__name__}; it should be ValueError.")
            return self.wrong(f"For {what} ({statement}) you return {found!r}; it should be a ValueError.")
        try:
            answer(connect, "SELECT nothing FROM nowhere")
            return self.wrong(
                "For a statement that the server refuses you return a value. Let its error out."
            )
        except ValueError:
            return self.wrong(
                "For a statement that the server refuses you raise ValueError. Let its own error out."
            )
        except Exception:
            if not all(connection.closed for connection in opened):
                return self.wrong(
                    "After an error, or a ValueError, the connection stays open. Close it there too."
                )
        return self.right("One value, or an error, and no connection is left open.")


class Named(FrameExercise):
    """Exercise 11.2. The rows of a name, whatever characters are in it."""

    number = "11.2"
    title = "bind parameters"
    takes = "a function of the name of a view and a last name"
    hints = (
        "A value that is written into the statement can end the string around it. spark.sql has an argument "
        "for values: look at the cell with by_name.",
        "spark.sql(statement, args={'name': name}) binds :name. The name of a view is bound with "
        "IDENTIFIER(:view).",
        "The statement is SELECT last_name, city FROM IDENTIFIER(:view) WHERE last_name = :name, "
        "and args has a value for view and one for name.",
    )
    only = True
    keys = ("last_name", "city")
    kinds: ClassVar = {"last_name": "STRING", "city": "STRING"}
    what = "{last_name} of {city}"
    lost = "For the name {about} you do not return {what}."
    doubled = "For the name {about} you return {what} {times}."
    strange = "For the name {about} you return {what}, who has another name."
    praise = "Quotes, backslashes and an injection are only names, and find what has that name."
    people: ClassVar = (
        ("O'Brien", "Kiel"),
        ("O'Brien", "Ulm"),
        ("Meier", "Bonn"),
        ("x' OR '1'='1", "Jena"),
        ("back\\slash", "Hamm"),
        ("\\", "Rheine"),
        ("100%", "Emden"),
        ("", "Trier"),
        (None, "Mainz"),
    )
    names: ClassVar = (
        "Meier", "meier", "O'Brien", "x' OR '1'='1", "nobody' OR true --", "100%", "%", "Me_er",
        "back\\slash", "\\", "", "\\' OR true -- ", None,
    )  # fmt: skip

    def cases(self) -> Iterator[Case]:
        for name in self.names:
            rows = [(*one, "") for one in self.people if name is not None and one[0] == name]
            yield Case(("people_of_check", name), rows, "NULL" if name is None else name)

    def check(self, answer: Any) -> Verdict:
        people = frame_of(self.people, "last_name STRING, city STRING")
        people.createOrReplaceTempView("people_of_check")
        settings = people.sparkSession.conf
        before = settings.get(BINDS)
        try:
            settings.set(BINDS, "true")
            verdict = super().check(answer)
            return self.bound(answer, settings) if verdict.state == "right" else verdict
        finally:
            settings.set(BINDS, before)
            people.sparkSession.catalog.dropTempView("people_of_check")

    def bound(self, answer: Any, settings: Any) -> Verdict:
        """Judge what only an answer that binds both can do."""
        escapes = settings.get(ESCAPES)
        try:
            settings.set(ESCAPES, "true")
            found = len(answer("people_of_check", "O'Brien").collect())
        except Exception:
            found = 0
        finally:
            settings.set(ESCAPES, escapes)
        if found != 2:
            return self.wrong(
                f"With {ESCAPES} = true you no longer find O'Brien: the name becomes part of your statement."
            )
        try:
            answer("people_of_check WHERE true --", "nobody").collect()
        except Exception:
            return self.right(self.praise)
        return self.wrong(
            "The view 'people_of_check WHERE true --' does not exist, and you return rows: the name of the "
            "view becomes part of your statement. Bind it with IDENTIFIER(:view)."
        )


class Totals(FrameExercise):
    """Exercise 11.3. Sums by week and channel, by week, and of all, with their level."""

    number = "11.3"
    title = "totals with ROLLUP"
    takes = "a function of a DataFrame with week, channel and cents"
    hints = (
        "GROUP BY ROLLUP (week, channel) groups three times. Which columns are NULL in the rows of a total?",
        "A row without a channel has NULL there too. grouping_id() says which columns were rolled up.",
        "sales.rollup('week', 'channel').agg(F.sum('cents').alias('cents'), "
        "F.grouping_id().cast('int').alias('level'))",
    )
    only = True
    keys = ("week", "channel", "level")
    kinds: ClassVar = {"week": "DATE", "channel": "STRING", "level": WHOLE, "cents": WHOLE}
    what = "week {week}, channel {channel}, level {level}"
    lost = "You do not return the row of {what}."
    doubled = "You return {times} a row of {what}: {why}."
    other = "The row of {what} has {mine[cents]} cents; it should have {ours[cents]}, because {why}."
    strange = "You return a row of {what}, which should not be there."
    praise = "Each total is told apart from a row without a channel, and all add up."
    sales: ClassVar = (
        ("2025-07-07", "web", 500),
        ("2025-07-07", "web", 500),
        ("2025-07-07", "app", 300),
        ("2025-07-14", "web", 200),
        ("2025-07-14", None, 100),
        ("2025-07-14", None, -30),
        (None, "web", 7),
    )
    rows: ClassVar = (
        ("2025-07-07", "web", 0, 1000, "both lines of the web count, also if they are equal"),
        ("2025-07-07", "app", 0, 300, "the app has one line"),
        ("2025-07-07", None, 1, 1300, "it is the total of the week"),
        ("2025-07-14", "web", 0, 200, "the web has one line"),
        ("2025-07-14", None, 0, 70, "lines without a channel are a group of their own"),
        ("2025-07-14", None, 1, 270, "it is the total of the week"),
        (None, "web", 0, 7, "a line without a week is a line"),
        (None, None, 1, 7, "it is the total of the lines without a week"),
        (None, None, 3, 1577, "it is the total of all"),
    )

    def cases(self) -> Iterator[Case]:
        yield Case((frame_of(self.sales, "week DATE, channel STRING, cents BIGINT"),), self.rows)


class Faults(FunctionExercise):
    """Exercise 11.4. What is wrong with the rows of a tile: a list of faults by name."""

    number = "11.4"
    title = "test a tile against the metric view"
    takes = "a function of a tile, its rows and the true total"
    hints = (
        "Begin with what makes the other tests meaningless: no rows, then columns that are not as promised.",
        "The grain: as many different tuples of the grain's columns as rows. sum() of no row is 0, which "
        "is a number: test for emptiness first.",
        "columns is what the tile promises: {*tile['grain'], *tile['number']}. if not rows: return "
        "['empty']; if any(set(row) != columns for row in rows): return ['columns']; then collect 'grain', "
        "'null' and 'total' in a list. The total leaves out what is None.",
    )
    returns = "a list of names of faults"
    kind = list
    other = "For {about} the faults are {expected}; yours are {found}."
    praise = "An empty tile, a wrong column, a double row, a hole and a wrong total are each called by name."
    tile: ClassVar = {"grain": ["week", "channel"], "number": ["cents"]}
    good: ClassVar = [
        {"week": "2025-07-07", "channel": "web", "cents": 500},
        {"week": "2025-07-07", "channel": "app", "cents": 300},
        {"week": "2025-07-14", "channel": None, "cents": 200},
    ]
    cases = (
        ("a tile that is right", tile, good, 1000, []),
        ("a tile without rows", tile, [], 0, ["empty"]),
        ("a tile without rows, where there should be some", tile, [], 1000, ["empty"]),
        ("a total that is a cent off", tile, good, 1001, ["total"]),
        ("a row that is there twice", tile, [*good, good[0]], 1500, ["grain"]),
        (
            "a row that is there twice (and the total is of each once)",
            tile,
            [*good, good[0]],
            1000,
            ["grain", "total"],
        ),
        (
            "two rows without a channel in two weeks",
            tile,
            [{"week": "2025-07-07", "channel": None, "cents": 1}, good[2]],
            201,
            [],
        ),
        (
            "a row without a number",
            tile,
            [*good, {"week": "W", "channel": "web", "cents": None}],
            1000,
            ["null"],
        ),
        ("a number of 0", tile, [*good, {"week": "W", "channel": "web", "cents": 0}], 1000, []),
        ("a missing column", tile, [{"week": "2025-07-07", "cents": 1000}], 1000, ["columns"]),
        ("a column that nobody promised", tile, [{**good[0], "customer_id": "C1"}], 500, ["columns"]),
        ("a strange column in the last row", tile, [*good[:2], {**good[2], "email": "x"}], 1000, ["columns"]),
        (
            "a second number that is missing in a row",
            {"grain": ["week"], "number": ["cents", "orders"]},
            [{"week": "W1", "cents": 600, "orders": 3}, {"week": "W2", "cents": 400, "orders": None}],
            1000,
            ["null"],
        ),
        (
            "euros and cents of money that is exact",
            {"grain": ["day"], "number": ["euros"]},
            [{"day": n, "euros": Decimal("0.10")} for n in range(10)],
            Decimal("1.00"),
            [],
        ),
        (
            "money that is a cent short",
            {"grain": ["day"], "number": ["euros"]},
            [{"day": n, "euros": Decimal("0.10")} for n in range(10)],
            Decimal("1.01"),
            ["total"],
        ),
        ("a total that is a cent too high", tile, good, 999, ["total"]),
        (
            "two rows of one week and channel, with different numbers",
            tile,
            [*good, {**good[0], "cents": 5}],
            1005,
            ["grain"],
        ),
        (
            "keys that are equal only when they are glued together",
            tile,
            [{"week": "1", "channel": "2x", "cents": 1}, {"week": "12", "channel": "x", "cents": 1}],
            2,
            [],
        ),
        (
            "two rows of one grain, of which one has no number",
            tile,
            [*good, {**good[0], "cents": None}],
            1000,
            ["grain", "null"],
        ),
        (
            "a row without a number, and a total that is wrong",
            tile,
            [*good, {"week": "W", "channel": "web", "cents": None}],
            900,
            ["null", "total"],
        ),
        ("columns in another order", tile, [dict(reversed(row.items())) for row in good], 1000, []),
    )


class Alert(FunctionExercise):
    """Exercise 11.5. Three states of a number: in order, too low, or silent."""

    number = "11.5"
    title = "an alert on a threshold and on silence"
    takes = "a function of a value, a limit, the day of the data, today, and how many days may pass"
    hints = (
        "Which of the two questions comes first: is the number too low, or is there a number at all?",
        "None < 5 raises an error, and NaN < 5 is False: both would never fire. Old data are no news either.",
        "if value is None or value != value or as_of is None or (today - as_of).days > days: 'silent'; "
        "then 'alert' if value < limit, else 'ok'.",
    )
    returns = "'ok', 'alert' or 'silent'"
    kind = str
    other = "For {about} the state is {expected!r}; yours is {found!r}."
    praise = "It fires on a low number, and on silence, which is the worse of the two."
    day, today = date(2025, 12, 29), date(2025, 12, 30)
    cases = (
        ("a number above the limit", 120, 100, day, today, 2, "ok"),
        ("a number at the limit", 100, 100, day, today, 2, "ok"),
        ("a number below the limit", 99, 100, day, today, 2, "alert"),
        ("a sale of 0 (which is a number)", 0, 100, day, today, 2, "alert"),
        ("no number at all", None, 100, day, today, 2, "silent"),
        ("a number that is NaN", math.nan, 100, day, today, 2, "silent"),
        ("data of two days ago, where two may pass", 120, 100, date(2025, 12, 28), today, 2, "ok"),
        ("data of three days ago, where two may pass", 120, 100, date(2025, 12, 27), today, 2, "silent"),
        ("a low number in data that are too old", 5, 100, date(2025, 12, 1), today, 2, "silent"),
        ("a number without a day", 120, 100, None, today, 2, "silent"),
        ("data of another year", 120, 100, date(2024, 12, 29), today, 2, "silent"),
        ("a limit below zero", -5, -10, day, today, 2, "ok"),
        ("data of ten days ago, where fourteen may pass", 120, 100, date(2025, 12, 20), today, 14, "ok"),
        ("data of yesterday, where no day may pass", 120, 100, date(2025, 12, 29), today, 0, "silent"),
        ("a day in June", 120, 100, date(2025, 6, 1), date(2025, 6, 2), 2, "ok"),
        ("a number just above the limit", Decimal("100.40"), Decimal("100.20"), day, today, 2, "ok"),
    )


WAIT = (
    "SELECT count(s) AS {name} FROM (SELECT reflect('java.lang.Thread', 'sleep', 50L) AS s "
    "FROM range(0, {tasks}, 1, {tasks}))"
)


def cores() -> int:
    """Return how many tasks run at once, so that a query takes as long on any machine."""
    return SparkSession.active().sparkContext.defaultParallelism


class Refresh(Exercise):
    """Exercise 11.6. All tiles at once, beside a long query, and none of them for ever."""

    number = "11.6"
    title = "keep a dashboard quick beside a long query"
    takes = "a function of a function that connects, a dict of statements, and seconds"
    hints = (
        "Before the tile's statement, set two things on its connection: the pool and the timeout. Which cell "
        "asked several clients at the same time?",
        "SET spark.sql.thriftserver.scheduler.pool = … gives the tile a share of the cores, and "
        "SET spark.sql.thriftServer.queryTimeout = … ends it on the server. Within a pool the older query "
        "goes first, so each tile needs a pool of its own.",
        "from concurrent.futures import ThreadPoolExecutor. Let at_once.map call a function for "
        "each name: it "
        "connects, sends both SETs (the pool named after the tile), executes, and returns fetchall(). Where "
        "does its try begin, and what does it return on an error?",
    )

    def check(self, refresh: Callable[..., Any]) -> Verdict:
        warehouse.start()
        quick = {name: f"SELECT '{name}' AS name, count(*) AS n FROM range(5)" for name in ("a", "b")}
        with self.long_query() as runs:
            answers = refresh(self.connect, quick, 20)
            waited = not runs()
        right = {name: [(name, 5)] for name in quick}
        if wrong := self.differs(answers, right, "two quick tiles"):
            return self.wrong(wrong)
        if waited:
            return self.wrong(
                "Your tiles were answered when the long query had ended. Give each tile a pool."
            )
        bad = quick | {"c": "SELECT nothing FROM nowhere", "empty": "SELECT 1 AS one WHERE false"}
        expected = right | {"c": None, "empty": []}
        if wrong := self.differs(refresh(self.connect, bad, 20), expected, "a tile that fails"):
            return self.wrong(wrong)
        # Its first part takes a moment, so it cannot be through before the other one begins
        part = WAIT.format(name="eight", tasks=8)
        begun = f"SELECT 'a' AS name, count(*) AS n FROM range(5) WHERE id >= ({part}) - 8"
        # So many seconds that a busy machine can answer the other tile, and a slow tile of twice as many
        tiles = {"stuck": WAIT.format(name="stuck", tasks=320 * cores()), "a": begun}
        answers = refresh(self.connect, tiles, 8)
        answered = answers["a"] if isinstance(answers, dict) and "a" in answers else None
        expected = {"stuck": None, "a": right["a"] if answered else None}
        if wrong := self.differs(answers, expected, "a tile that takes too long"):
            return self.wrong(wrong)
        asked = warehouse.history()
        asked["ended"] = asked["started"] + pd.to_timedelta(asked["seconds"], unit="s")
        slow, other = (asked[asked["statement"] == tiles[name]].iloc[-1] for name in ("stuck", "a"))
        if slow["state"] == "running":
            return self.wrong("The tile that takes too long still runs on the server. End it there too.")
        if answered is None or other["ended"] > slow["ended"]:
            return self.wrong(
                "The tile a waited for the slow one. Ask all at the same time, each in a pool of its own."
            )
        return self.right("Quick tiles stay quick, a slow one is ended, and one that fails fails alone.")

    @staticmethod
    def connect() -> warehouse.Connection:
        return warehouse.connect("check")

    @contextmanager
    def long_query(self) -> Iterator[Callable[[], bool]]:
        """Run a query of some seconds in the default pool; yield a function that says whether much is left.

        Within a pool a later query begins as the last tasks of the earlier one still run, so a tenth of the
        tasks has to be left.
        """
        with self.connect() as connection, connection.cursor() as cursor:
            tasks = 240 * cores()
            cursor.execute(WAIT.format(name="long_one", tasks=tasks), async_=True)

            def done() -> int | None:
                tracker = SparkSession.active().sparkContext.statusTracker()
                stages = map(tracker.getStageInfo, tracker.getActiveStageIds())
                found = (stage.numCompletedTasks for stage in stages if stage and stage.numTasks == tasks)
                return next(found, None)

            end = time.monotonic() + 60
            while done() is None and time.monotonic() < end:
                time.sleep(0.02)
            yield lambda: (number := done()) is not None and number < 0.9 * tasks
            cursor.cancel()

    def differs(self, answers: Any, right: dict[str, Any], about: str) -> str | None:
        """Say what is wrong with the answers to some tiles, or None."""
        if not isinstance(answers, dict):
            return (
                f"Your function returned {answers!r}. It should return a dict with an answer for each tile."
            )
        if set(answers) != set(right):
            return f"For {about} you return {sorted(answers)}; the tiles are {sorted(right)}."
        for name, rows in right.items():
            found = answers[name] if answers[name] is None else [tuple(row) for row in answers[name]]
            if found != rows:
                return f"For {about} the tile {name} should be {rows}; yours is {found}."
        return None


one = One()
named = Named()
totals = Totals()
faults = Faults()
alert = Alert()
refresh = Refresh()
