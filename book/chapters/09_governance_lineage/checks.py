"""The checks of chapter 09."""

import copy
import hashlib
import hmac
import json
import re
import shutil
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, unquote

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

import medallion
from medallion.lesson.exercise import Exercise, FunctionExercise, Verdict, other_kind, plain
from medallion.lesson.frames import session, set_to, shown
from medallion.servers import warehouse

# For a few rows it takes longer to generate and compile code than to interpret: without it an erasure takes a
# third less of the processor
WITHOUT_COMPILING = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


class ClosedView(Exercise):
    """Exercise 9.1. A view that shows each login what its valid rights allow, and nothing else."""

    number = "9.1"
    title = "a view that fails closed"
    takes = "a function of two names of tables that returns a SELECT statement as a string"
    hints = (
        "Begin with the rights, not with the customers: which rights of current_user() are valid today? "
        "Each condition has to list what is allowed.",
        "A login may have several valid rights for a country. GROUP BY country makes one row of them, and a "
        "flag that is NULL is not true: may_see_pii IS TRUE.",
        "WITH mine AS (SELECT country, bool_and(may_see_pii IS TRUE) AS clear FROM … WHERE login = "
        "current_user() AND team IN (…) AND since <= current_date() AND current_date() < until GROUP BY "
        "country), then JOIN mine USING (country), and a CASE with ELSE for the email.",
    )
    columns = ("customer_id", "country", "city", "email", "birth_year")
    customers = (
        ("C1", "DE", "Kiel", "c1@example.org", 1970),
        ("C2", "DE", "Ulm", None, 1980),
        ("C3", "FR", "Lyon", "c3@example.org", 1990),
        ("C4", None, "Bonn", "c4@example.org", 1960),
    )
    # The last two numbers are days from today
    rights = """
        SELECT login, team, country, may_see_pii, date_add(current_date(), since) AS since,
               date_add(current_date(), until) AS until, 'ines' AS granted_by, 'a reason' AS reason
        FROM VALUES
        ('lena', 'crm', 'DE', true, -9, 9), ('len', 'crm', 'FR', true, -9, 9),
        ('marc', 'crm', 'FR', false, -9, 9), ('marcel', 'crm', 'DE', true, -9, 9),
        ('nora', 'crm', 'DE', NULL, -9, 9), ('quinn', 'crm', 'FR', true, -9, 9),
        ('quinn', 'support', 'FR', false, -9, 9), ('omar', 'crm', 'DE', true, -9, 0),
        ('olga', 'support', 'DE', true, 0, 1), ('paul', 'crm', 'DE', true, 1, 9),
        ('pia', 'crm', 'de', true, -9, 9), ('pia', 'crm', 'DE ', true, -9, 9),
        ('pia', 'crm', 'D', true, -9, 9), ('pia', 'crm', 'D%', true, -9, 9),
        ('rosa', 'temp', 'DE', true, -9, 9), ('rosa', 'crm_x', 'DE', true, -9, 9),
        ('ruth', NULL, 'DE', true, -9, 9), ('vera', 'crm', 'DE', true, NULL, 9),
        ('sven', 'crm', 'DE', true, -9, NULL), ('tina', 'crm', 'FR', true, -9, 9),
        ('tina', 'crm', 'FR', false, -9, -1), ('nick', 'crm', NULL, true, -9, 9),
        ('tom', 'crm', 'DE', true, -9, 9), ('tom', 'support', 'DE', NULL, -9, 9),
        ('uma', 'crm', 'DE', true, -9, 9), ('uma', 'crm', 'FR', false, -9, 9)
        AS t(login, team, country, may_see_pii, since, until)"""
    # The login, what is special about it, the countries it sees, and those of them in clear
    asked: ClassVar = (
        ("lena", "a right for DE, with PII", ("DE",), ("DE",)),
        ("marc", "a right for FR, without PII", ("FR",), ()),
        ("zoe", "no right", (), ()),
        ("nora", "a right for DE, where may_see_pii is NULL", ("DE",), ()),
        ("quinn", "two rights for FR, one without PII", ("FR",), ()),
        ("omar", "a right until today", (), ()),
        ("olga", "a right from today until tomorrow", ("DE",), ("DE",)),
        ("paul", "a right from tomorrow on", (), ()),
        ("pia", "rights for 'de', 'DE ', 'D' and 'D%'", (), ()),
        ("rosa", "the teams temp and crm_x", (), ()),
        ("ruth", "no team", (), ()),
        ("sven", "a right without an end", (), ()),
        ("vera", "a right without a beginning", (), ()),
        ("tina", "a right for FR with PII, and one without that is over", ("FR",), ("FR",)),
        ("tom", "two rights for DE, in one of which may_see_pii is NULL", ("DE",), ()),
        ("uma", "a right for DE with PII, and one for FR without", ("DE", "FR"), ("DE",)),
        ("nick", "a right without a country", (), ()),
    )
    # By port and login. To log in takes longer than to ask, and a learner asks more than once.
    _connections: ClassVar[dict[tuple[int, str], warehouse.Connection]] = {}

    def check(self, answer: Callable[..., Any]) -> Verdict:
        self.port = warehouse.start()
        names = {
            part: f"scratch.check_{part}" for part in ("customers_of_all", "rights_of_all", "view_of_yours")
        }
        sql = session().sql
        rows = ", ".join(f"({', '.join(map(in_sql, row))})" for row in self.customers)
        customers = f"SELECT * FROM VALUES {rows} AS t({', '.join(self.columns)})"
        try:
            sql(f"CREATE OR REPLACE VIEW {names['customers_of_all']} AS {customers}")
            sql(f"CREATE OR REPLACE VIEW {names['rights_of_all']} AS {self.rights}")
            statement = answer(names["customers_of_all"], names["rights_of_all"])
            if not isinstance(statement, str):
                return self.wrong(other_kind(statement, "a SELECT statement as a string"))
            if day := re.search(r"\b20\d\d-\d\d-\d\d\b", statement):
                return self.wrong(
                    f"Your statement has the day {day[0]} in it, which a view keeps. Ask for current_date()."
                )
            sql(f"CREATE OR REPLACE VIEW {names['view_of_yours']} AS {statement}")
            for four in (self.asked[first : first + 4] for first in range(0, len(self.asked), 4)):
                if wrong := self.wrong_rows(names["view_of_yours"], four):
                    return self.wrong(wrong)
        finally:
            for name in names.values():
                sql(f"DROP VIEW IF EXISTS {name}")
        return self.right("Each of the logins sees what its valid rights allow, and nothing else.")

    def wrong_rows(self, view: str, asked: Sequence[Any]) -> str | None:
        """Ask with a few logins at once; return the first thing that is wrong with what they see, or None."""
        with ThreadPoolExecutor(len(asked)) as at_once:
            seen = [*at_once.map(lambda login: self.seen(view, login), (login for login, *_ in asked))]
        if sorted(columns := seen[0][0]) != sorted(self.columns):
            return (
                f"The columns of your view are {', '.join(columns)}; "
                f"they should be {', '.join(self.columns)}."
            )
        for (login, what, countries, clear), (_, found) in zip(asked, seen, strict=True):
            if wrong := self.wrong_customers(found, countries, clear):
                return f"{login} ({what}) {wrong}"
        return None

    def seen(self, view: str, login: str) -> tuple[list[str], list[dict[str, Any]]]:
        """Return the columns and the rows that a login gets."""
        key = self.port, login
        if key not in self._connections:
            self._connections[key] = warehouse.connect(
                login,
                configuration={f"set:hiveconf:{name}": value for name, value in WITHOUT_COMPILING.items()},
            )
        with self._connections[key].cursor() as cursor:
            cursor.execute(f"SELECT * FROM {view}")
            names = [column[0].rpartition(".")[2] for column in cursor.description]
            rows = sorted(cursor.fetchall(), key=str)
        return names, [dict(zip(names, row, strict=True)) for row in rows]

    def wrong_customers(
        self, found: list[dict[str, Any]], countries: tuple[str, ...], clear: tuple[str, ...]
    ) -> str | None:
        """Return the first thing that is wrong with the rows that a login sees, or None."""
        for row in self.customers:
            real = dict(zip(self.columns, row, strict=True))
            seen = [one for one in found if one["customer_id"] == real["customer_id"]]
            country = real["country"]
            if wrong := self.wrong_customer(real, seen, country in countries, country in clear):
                return wrong
        return None

    def wrong_customer(
        self, real: dict[str, Any], seen: list[dict[str, Any]], may: bool, clear: bool
    ) -> str | None:
        """Return what is wrong with the rows of a customer, or None."""
        name = real["customer_id"]
        if seen and not may:
            return f"sees {name} of {shown(real['country'])}, and may not."
        if may and not seen:
            return f"does not see {name} of {real['country']}, and should."
        if len(seen) > 1:
            return f"sees {name} {len(seen)} times; once is right."
        hidden = {} if clear else {"email": "***", "birth_year": None}
        for column in self.columns if seen else ():
            right = hidden.get(column, real[column])
            if seen[0][column] != right:
                return f"sees the {column} {shown(seen[0][column])} of {name}; it should be {shown(right)}."
        return None


def in_sql(value: Any) -> str:
    """Return a value as SQL writes it."""
    return "NULL" if value is None else repr(value)


class PersonalColumns(FunctionExercise):
    """Exercise 9.2. The number of records with each kind of personal data, by path."""

    number = "9.2"
    title = "find the columns with personal data by content"
    takes = "a function of a list of records and a function that finds kinds in a string"
    hints = (
        "leaves(record) gives each path with its value. Make a string of the value before you search it.",
        "Collect the pairs (path, kind) of one record in a set before you count: then a record counts once.",
        "found = {(path, kind) for path, value in leaves(record) for kind in "
        "kinds_in(unquote(unquote(str(value))))}, then add 1 for each pair in a dict of dicts.",
    )
    returns = "a dict of dicts"
    kind = dict
    other = "For {given[0]} ({about}) the answer is {expected}; yours is {found}."
    praise = "Nested, in a list, encoded twice or a number: each is found, and each record counts once."
    cases = (
        ("an e-mail address", [{"note": "to a@b.example"}], {"note": {"email": 1}}),
        ("no record", [], {}),
        ("values without personal data", [{"note": "hello", "tags": ["a", "b"], "n": 7}], {}),
        ("None", [{"note": None, "contact": None, "tags": [None]}], {}),
        (
            "a field in a field",
            [{"contact": {"phone": "+49 30 1", "more": {"mail": "a@b.example"}}}],
            {"contact.phone": {"phone": 1}, "contact.more.mail": {"email": 1}},
        ),
        (
            "an address in both entries of a list",
            [{"files": [{"text": "a@b.example"}, {"text": "c@d.example"}]}],
            {"files[].text": {"email": 1}},
        ),
        ("a list of strings", [{"tags": ["x", "a@b.example"]}], {"tags[]": {"email": 1}}),
        ("a list in a list", [{"rows": [["x"], ["a@b.example"]]}], {"rows[][]": {"email": 1}}),
        ("a card that is an integer", [{"paid": 4000001234567899}], {"paid": {"card": 1}}),
        ("an encoded address", [{"url": "?u=a%40b.example"}], {"url": {"email": 1}}),
        ("an address that is encoded twice", [{"url": "?u=a%2540b.example"}], {"url": {"email": 1}}),
        ("an encoded phone number", [{"url": "?call=%2B49%2030%201"}], {"url": {"phone": 1}}),
        ("the number 0, which the check calls a zero", [{"n": 0}], {"n": {"zero": 1}}),
        (
            "two kinds in a field, and two records",
            [{"note": "a@b.example"}, {"note": "a@b.example or +49 30 1"}],
            {"note": {"email": 2, "phone": 1}},
        ),
        ("records with other fields", [{"a": "x@y"}, {"b": "x@y"}], {"a": {"email": 1}, "b": {"email": 1}}),
    )

    def arguments(self, *given: Any) -> Sequence[Any]:
        simple = {"email": r"\w@\w", "phone": r"\+\d\d ", "card": r"^\d{16}$", "zero": "^0$"}

        def kinds_in(text: str) -> set[str]:
            return {kind for kind, pattern in simple.items() if re.search(pattern, text)}

        return given[0], kinds_in

    def differs(self, about: str, given: list[Any], found: Any, expected: Any) -> str | None:
        """Compare plain dicts, so that a Counter is as good as a dict."""
        try:
            mine = ordered({path: dict(kinds) for path, kinds in found.items()})
        except (TypeError, ValueError):
            return other_kind(found, self.returns)
        return super().differs(about, given, mine, ordered(expected))


def ordered(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return counts by path and kind in the order of their names, as plain numbers."""
    return {
        path: {kind: plain(kinds[kind]) for kind in sorted(kinds, key=str)}
        for path, kinds in sorted(found.items(), key=str)
    }


class Mask(FunctionExercise):
    """Exercise 9.3. A masked value shows what is agreed, and nothing of a value that is too short."""

    number = "9.3"
    title = "mask a value by its kind"
    takes = "a function of a value and a kind"
    hints = (
        "Begin with what hides everything: let the last line of the function return '***'. A form that you "
        "recognise returns earlier.",
        "For an email, partition('@') gives three parts. For numbers keep the characters with isalnum() and "
        "look at how many there are.",
        "value = unicodedata.normalize('NFC', value) comes first, after None (import unicodedata). A head of "
        "one character is hidden: head[:1] if len(head) > 1 else ''. Words of a name: value.split().",
    )
    returns = "a string, or None for None"
    kind = str | None
    other = "For {about}, {given[0]!r}, the mask is {expected!r}; yours is {found!r}."
    praise = "Short, empty and foreign values show no more than is agreed."
    cases = (
        ("an e-mail address", "jan@example.org", "email", "j***@example.org"),
        ("nothing", None, "email", None),
        ("an empty string", "", "email", "***"),
        ("an address without @", "jan.example.org", "email", "***"),
        ("one character before the @", "j@example.org", "email", "***@example.org"),
        ("two characters before the @", "jo@example.org", "email", "j***@example.org"),
        ("an address with two @", "jan@home@example.org", "email", "***"),
        ("nothing before the @", "@example.org", "email", "***"),
        ("nothing after the @", "jan@", "email", "***"),
        ("an address that is not ASCII", "zoë@example.org", "email", "z***@example.org"),
        ("an accent as a character of its own", "e\u0301va@example.org", "email", "é***@example.org"),
        ("é as two characters before the @", "e\u0301@example.org", "email", "***@example.org"),
        ("a card", "4000 0012 3456 7899", "card", "***7899"),
        ("an IBAN", "DE89 3704 0044 0532 0130 00", "iban", "***3000"),
        ("an IBAN with letters at its end", "MT84MALT011000012345MTLCAST001S", "iban", "***001S"),
        ("a phone number", "+49 (30) 23125-001", "phone", "***5001"),
        ("a short phone number", "030 1234", "phone", "***"),
        ("a number of nine digits", "030/123-456", "phone", "***"),
        ("a number of ten digits", "030/1234-567", "phone", "***4567"),
        ("a number with an underscore", "4000 0012 3456 7_899", "card", "***7899"),
        ("a phone number with letters", "0800 123 SHOP", "phone", "***SHOP"),
        ("a name", "Zoë Österle", "name", "Z*** Ö***"),
        ("a name with a hyphen", "Anne-Marie Groß", "name", "A*** G***"),
        ("a name with a tab", "Ana\tSilva", "name", "A*** S***"),
        ("a name with a letter as a word", "Li X", "name", "L*** ***"),
        ("a name with an accent as a character of its own", "E\u0301 Pe\u0301rez", "name", "*** P***"),
        ("a name with spaces around it", "  Ana  Silva ", "name", "A*** S***"),
        ("only spaces", "   ", "name", "***"),
        ("a kind that is not agreed", "1970-05-04", "birth_date", "***"),
        ("a kind in capitals", "jan@example.org", "EMAIL", "***"),
        ("no kind", "jan@example.org", None, "***"),
        ("a nothing of a kind that is not agreed", None, "birth_date", None),
    )


# VACUUM with 0 hours needs it to be off: see the lesson
RETENTION = "spark.databricks.delta.retentionDurationCheck.enabled"


def edge(source: str, target: str, **columns: list[str]) -> dict[str, Any]:
    """Return an edge of a lineage; without columns nobody knows them."""
    return {"source": source, "target": target, "via": "02", "kind": "spark", "columns": columns}


class Downstream(FunctionExercise):
    """Exercise 9.4. What holds something of a column for certain, and what may hold it."""

    number = "9.4"
    title = "find what is downstream of a column"
    takes = "a function of a list of edges, a table and a column"
    hints = (
        "Begin with certain. Which columns does one step reach? Then take the same step from each of these.",
        "Keep what you have reached in a set, and a list of what is still to do. What is in the set already "
        "is not done again, so a cycle ends.",
        "For certain, one step from (name, held) is (edge['target'], to) for each edge whose source is "
        "name, and each to, of in edge['columns'].items() with held in of. For possible, repeat until the "
        "set stops growing: the source is in a table of certain or the table itself, and the edge has no "
        "columns; or the source is possible, whatever the edge has.",
    )
    returns = "a pair of two lists"
    kind = list
    praise = "Every step counts, cycles end, and what nobody recorded is possible and not certain."
    mail, raw, clean = ("raw", "email"), "raw", "clean"
    one_step: ClassVar = [edge(raw, clean, email=["email"], city=["city"])]
    chain: ClassVar = [*one_step, edge(clean, "mart", domain=["email", "city"], town=["city"])]
    notebook: ClassVar = [*one_step, edge(clean, "notebook"), edge("notebook", "scores")]
    steps: ClassVar = [
        edge("raw", "t1", email=["email"]),
        *(edge(f"t{number}", f"t{number + 1}", email=["email"]) for number in range(1, 6)),
    ]
    cases: ClassVar[Sequence[tuple[Any, ...]]] = (
        ("one edge", one_step, *mail, [[("clean", "email")], []]),
        ("a column that nothing is made of", chain, "mart", "town", [[], []]),
        ("two steps, with another name", chain, *mail, [[("clean", "email"), ("mart", "domain")], []]),
        (
            "edges that stand in the opposite order",
            chain[::-1],
            *mail,
            [[("clean", "email"), ("mart", "domain")], []],
        ),
        (
            "a column of the same name in another table",
            [*one_step, edge("staff", "rota", email=["email"])],
            *mail,
            [[("clean", "email")], []],
        ),
        (
            "a table that is made of two others, of which one has the column",
            [*one_step, edge("prices", "clean", price=["email"])],
            *mail,
            [[("clean", "email")], []],
        ),
        (
            "a cycle",
            [*one_step, edge(clean, raw, email=["email"], old=["email"])],
            *mail,
            [[("clean", "email"), ("raw", "old")], []],
        ),
        ("an edge without columns", [edge(raw, "notebook")], *mail, [[], ["notebook"]]),
        (
            "a notebook, and what it writes",
            notebook,
            *mail,
            [[("clean", "email")], ["notebook", "scores"]],
        ),
        (
            "a table behind a notebook, of which the columns are known",
            [*notebook, edge("scores", "report", score=["score"])],
            *mail,
            [[("clean", "email")], ["notebook", "report", "scores"]],
        ),
        (
            "an edge without columns from a table that does not hold it",
            [edge(raw, clean, city=["city"]), edge(clean, "notebook")],
            *mail,
            [[], []],
        ),
        (
            "a notebook that writes what it has read",
            [*notebook, edge("notebook", clean), edge("notebook", raw)],
            *mail,
            [[("clean", "email")], ["notebook", "scores"]],
        ),
        ("six steps", steps, *mail, [[(f"t{number}", "email") for number in range(1, 7)], []]),
        (
            "an edge of another chapter, from a query plan",
            [*one_step, edge(clean, "mart", email=["email"]) | {"via": "07", "kind": "plan"}],
            *mail,
            [[("clean", "email"), ("mart", "email")], []],
        ),
        ("no edges", [], *mail, [[], []]),
    )

    def arguments(self, *given: Any) -> Sequence[Any]:
        self.given, self.before = given[0], copy.deepcopy(given[0])
        return given

    def differs(self, about: str, given: list[Any], found: Any, expected: Any) -> str | None:
        if wrong := self.wrong_lists(about, found, expected):
            edges = [{name: edge[name] for name in ("source", "target", "columns")} for edge in self.before]
            return f"{wrong} Asked: downstream({edges}, {given[1]!r}, {given[2]!r})."
        return None

    def wrong_lists(self, about: str, found: Any, expected: Any) -> str | None:
        """Return the first thing that is wrong with the pair, or None."""
        if len(found) != 2:
            return f"For {about} you return {len(found)} things; it should be two lists."
        if self.given != self.before:
            return f"For {about} your function changes the list of edges. Leave what you are given as it is."
        for what, mine, ours in zip(("certain", "possible"), found, expected, strict=True):
            mine = [tuple(one) if isinstance(one, list) else one for one in mine]
            if lost := [one for one in ours if one not in mine]:
                return f"For {about} {what} lacks {lost[0]!r}."
            if strange := [one for one in mine if one not in ours]:
                return f"For {about} {what} has {strange[0]!r}, which should not be there."
            if mine != ours:
                return f"For {about} {what} is {mine}; sorted and each once it is {ours}."
        return None


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def without_vacuum(killing: bool = False) -> Iterator[list[str]]:
    """Leave out each VACUUM, or end the run at the first; yield the statements."""
    kind: Any = type(SparkSession.active())
    sql, vacuumed = kind.sql, []

    def instead(self: Any, statement: str, *args: Any, **named: Any) -> Any:
        if not statement.lstrip().upper().startswith("VACUUM"):
            return sql(self, statement, *args, **named)
        vacuumed.append(statement)
        if killing:
            raise Killed
        return None

    kind.sql = instead
    try:
        yield vacuumed
    finally:
        kind.sql = sql


class Erase(Exercise):
    """Exercise 9.5. A person is gone from tables, files and store, and nobody else is."""

    number = "9.5"
    title = "erase a person in every place"
    takes = "a function of a folder and a customer number"
    hints = (
        "Collect the identifiers first: the number and the addresses. Which files, tables and stores are "
        "there, and which tickets can a DELETE by customer_id not reach?",
        "Delete the tickets by ticket_id. Which of REORG and VACUUM has to come first? What does a second "
        "run still know, if the first one is killed after the tickets were deleted?",
        "drop_lines for landing.jsonl and quarantine.jsonl, forget_online, and the tickets last: SELECT * "
        "and collect; gone is the ticket_id of each row that mentions an identifier; DELETE … WHERE "
        "ticket_id IN (…), if there are any; REORG TABLE … APPLY (PURGE); vacuum_now.",
    )
    phone = "030 23125 017"
    identifiers: ClassVar = {
        "C000001": ("c000001", "ada.lind@example.com", "lind.ada@post.example"),
        "C000003": ("c000003", "moritz@example.com"),
    }
    # ticket, customer, address, phone, message
    tickets: ClassVar = (
        ("TK01", "C000003", "moritz@example.com", None, "Where is my order?"),
        ("TK02", "C000001", "ada.lind@example.com", phone, "Arrived broken"),
        ("TK03", "C000002", "ben.lind@example.com", phone, "The same parcel as my wife's"),
        ("TK04", "C000001", "lind.ada@post.example", None, "I cannot log in"),
        ("TK05", None, "lind.ada@post.example", None, "I have no account any more"),
        ("TK06", None, "cleo@example.org", None, "Write to ADA.Lind (at) example.com, who is my aunt"),
        ("TK07", "C000010", "zoe@example.com", None, "Hello"),
        ("TK11", "C000001", "ben.lind@example.com", phone, "Answer to my husband, please"),
        ("TK13", "C000010", "abel@example.com", None, "You were quick"),
        ("TK12", None, None, None, "No reply to moritz@example.com yet"),
    )
    broken: ClassVar = (
        ("TK08", '{"ticket_id": "TK08", "page_url": "?u=ada.lind%2540example.com", "tags": ["ur'),
        ("TK09", '{"ticket_id": "TK09", "customer_id": "C000002", "phone": "' + phone),
        ("TK10", '{"ticket_id": "TK10", "customer_id": "C000001", "message": "Hel'),
    )
    features: ClassVar = {"C000001": 7, "C000002": 7, "C000003": 1, "C000010": 2}
    proof: ClassVar = {"tickets": 5, "quarantine": 2, "landing": 7, "online": 1}
    second_proof: ClassVar = {"tickets": 2, "quarantine": 0, "landing": 2, "online": 1}
    gone: ClassVar = {
        "C000001": ("TK02", "TK04", "TK05", "TK06", "TK08", "TK10", "TK11"),
        "C000003": ("TK01", "TK12"),
    }
    _numbers = count()

    def check(self, answer: Callable[..., Any]) -> Verdict:
        with set_to(WITHOUT_COMPILING | {RETENTION: "false"}):
            desk = self.desk()
            try:
                return self.judge(answer, desk)
            finally:
                shutil.rmtree(desk)

    def judge(self, answer: Callable[..., Any], desk: Path) -> Verdict:
        first, second = self.gone
        returned = answer(desk, first)
        if wrong := (
            self.left(desk, first) or self.others(desk, first) or self.told(returned, self.proof, first)
        ):
            return self.wrong(wrong)
        with without_vacuum(killing=True) as vacuumed, suppress(Killed):
            returned = answer(desk, second)
        proof, about, again = self.second_proof, second, ""
        if killed := bool(vacuumed):
            with without_vacuum() as vacuumed:
                returned = answer(desk, second)
            if not vacuumed:
                return self.wrong(
                    "Killed before VACUUM and asked again, your function does not come to VACUUM."
                )
            again = "Killed before VACUUM and asked again: "
            proof, about = {"tickets": 0}, f"{second}, killed before VACUUM and asked again,"
        if wrong := self.left(desk, second, data=not killed) or self.others(desk, first, second):
            return self.wrong(again + wrong)
        if wrong := self.told(returned, proof, about):
            return self.wrong(wrong)
        return self.right(
            "The person is gone from every file but the log, and everybody else is still there."
        )

    def desk(self) -> Path:
        """Return the folder of a new service desk with three customers and some who are none."""
        kept = medallion.scratch() / f"desk_of_check_{SparkSession.active().sparkContext.applicationId}"
        if not kept.exists():
            self.write(kept)
        desk = medallion.scratch() / f"desk_{next(self._numbers)}"
        shutil.rmtree(desk, ignore_errors=True)
        return Path(shutil.copytree(kept, desk))

    def write(self, desk: Path) -> None:
        spark = SparkSession.active()
        on = "TBLPROPERTIES (delta.enableDeletionVectors = true)"
        values = ", ".join(f"({', '.join(map(literal, row))})" for row in self.tickets)
        columns = "ticket_id, customer_id, reply_to, phone, message"
        spark.sql(
            f"CREATE TABLE delta.`{desk / 'tickets'}` USING delta {on} "
            f"AS SELECT /*+ COALESCE(1) */ * FROM VALUES {values} AS t({columns})"
        )
        for name, held in self.lines().items():
            (desk / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in held), "utf-8")
        with closing(sqlite3.connect(desk / "online.sqlite")) as store, store:
            store.execute("CREATE TABLE features (customer_id TEXT, orders INT)")
            store.executemany("INSERT INTO features VALUES (?, ?)", self.features.items())

    def lines(self, *without: str) -> dict[str, list[str]]:
        """Return the lines of both files, without some persons."""
        gone = {ticket for person in without for ticket in self.gone[person]}
        fields = ("ticket_id", "customer_id", "reply_to", "phone", "message")
        tickets = [
            json.dumps(dict(zip(fields, row, strict=True))) for row in self.tickets if row[0] not in gone
        ]
        broken = [raw for ticket, raw in self.broken if ticket not in gone]
        return {"landing": tickets + broken, "quarantine": broken}

    def left(self, desk: Path, person: str, data: bool = True) -> str | None:
        """Say where a person still is, or None; without `data`, not in files that VACUUM would delete."""
        for file in sorted(desk.rglob("*")):
            place = file.relative_to(desk)
            if not file.is_file() or file.suffix == ".bin" or not (data or file.suffix != ".parquet"):
                continue
            in_log = "_delta_log" in place.parts
            hits = [name for name in self.identifiers[person][in_log:] if name in text_of(file)]
            if in_log and hits and place.name != f"{0:020}.json" and not place.name.endswith(".crc"):
                return (
                    f"The log of {place.parts[0]} now contains the address {hits[0]}. Delete by ticket_id: "
                    "the condition of a DELETE stays in the log."
                )
            if hits and not in_log:
                where = f"a data file of the table {place.parts[0]}" if len(place.parts) > 1 else place.name
                return f"After your function {hits[0]} is still in {where}."
        return None

    def others(self, desk: Path, *without: str) -> str | None:
        """Say who else is gone or changed, or None."""
        gone = {ticket for person in without for ticket in self.gone[person]}
        frame = SparkSession.active().sql(f"SELECT * FROM delta.`{desk / 'tickets'}`")
        rows = sorted((tuple(row) for row in frame.collect()), key=str)
        stay = [row for row in self.tickets if row[0] not in gone]
        for row in stay:
            if row[0] not in {one[0] for one in rows}:
                return f"The row {row[0]} of tickets is gone. It is of somebody else, and should stay."
            if rows.count(row) != 1:
                return f"The row {row[0]} of tickets is not there once, as it was. It should stay."
        if len(rows) != len(stay):
            return f"tickets has {len(rows)} rows; {len(stay)} are of others."
        for name, lines in self.lines(*without).items():
            found = (desk / f"{name}.jsonl").read_text("utf-8").split("\n")
            for line in lines:
                if found.count(line) != 1:
                    ticket = line.split("TK")[1][:2]
                    return f"The line of TK{ticket} in {name}.jsonl is not there once, as it was."
            if (many := len([line for line in found if line])) != len(lines):
                return f"{name}.jsonl has {many} lines; {len(lines)} are of others."
        with closing(sqlite3.connect(desk / "online.sqlite")) as store:
            held = dict(store.execute("SELECT customer_id, orders FROM features"))
        for customer, orders in self.features.items():
            if customer not in without and held.get(customer) != orders:
                return f"{customer} is gone from online.sqlite, or changed, and should stay as it was."
        return None

    def told(self, returned: Any, proof: dict[str, int], about: str) -> str | None:
        """Say what is wrong with the proof, or None."""
        if not isinstance(returned, dict):
            return other_kind(returned, "a dict, the proof")
        found = {name: plain(number) for name, number in returned.items()}
        if set(found) != set(self.proof):
            return f"Your proof has the keys {sorted(found)}; they should be {sorted(self.proof)}."
        for name, number in proof.items():
            if found[name] != number:
                return f"For {about} your proof says {name}: {found[name]}; it should be {number}."
        return None


def literal(value: str | None) -> str:
    return "CAST(NULL AS STRING)" if value is None else "'" + value.replace("'", "\\'") + "'"


def text_of(file: Path) -> str:
    """Return the content of a file in small letters; Parquet decoded, addresses in one spelling."""
    if file.suffix == ".parquet":
        with pq.ParquetFile(file) as held:
            text = f"{held.read().to_pylist()} {held.metadata.to_dict()}"
    else:
        text = file.read_bytes().decode("utf-8", "replace")
    return unquote(unquote(text)).lower().replace(" (at) ", "@")


def keyed_hash(identifier: str, key: bytes) -> str:
    """Return what the lesson's digest returns."""
    text = unicodedata.normalize("NFC", identifier.strip().lower())
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class Obeying(Exercise):
    """Exercise 9.6. What comes in after an erasure: no line with an identifier of an erased person."""

    number = "9.6"
    title = "a rebuild that obeys the erasure register"
    takes = "a function of a list of lines, a set of digests and a key"
    hints = (
        "A line without identifiers stays. A line can have several, and one that is erased is enough.",
        "digest(identifier, key) needs the key that was given. How many different identifiers are there, in "
        "small letters?",
        "everybody = {one.lower() for line in lines for one in identifiers_in(line)}; erased are those whose "
        "digest is in the register; keep a line if none of its identifiers is erased.",
    )
    mail = "ada.lind@example.com"
    cases: ClassVar[Sequence[tuple[Any, ...]]] = (
        ("a line of an erased number", ["C000001,a", "C000002,b"], ("c000001",), ["C000002,b"]),
        (
            "an empty register",
            ["C000001,a", "header", "C000001,a"],
            (),
            ["C000001,a", "header", "C000001,a"],
        ),
        (
            "lines without an identifier, one of them empty",
            ["id,x", "", "C000001,a"],
            ("c000001",),
            ["id,x", ""],
        ),
        (
            "equal lines, in their order",
            ["C000003", "C000002", "C000003"],
            ("c000001",),
            ["C000003", "C000002", "C000003"],
        ),
        ("a number in small letters", ["c000001,a", "C000002"], ("c000001",), ["C000002"]),
        ("two identifiers, of which the second is erased", ["C000002 for C000001"], ("c000001",), []),
        ("two identifiers, of which the first is erased", ["C000001 and C000002"], ("c000001",), []),
        (
            "an address in other spellings",
            [
                f"C000009,{mail.upper()}",
                f"?u={quote(mail)}",
                "ada.lind (at) example.com",
                "eda@example.com",
                f"n{mail}",
            ],
            (mail,),
            ["eda@example.com", f"n{mail}"],
        ),
        (
            "a number that begins as an erased one",
            ["C000010,a", "C000100"],
            ("c000001",),
            ["C000010,a", "C000100"],
        ),
        ("no lines", [], ("c000001",), []),
    )  # fmt: skip

    def check(self, answer: Callable[..., Any]) -> Verdict:
        calls: list[str] = []
        names = getattr(answer, "__globals__", {})
        if "digest" not in names:  # an HMAC of the learner's own
            return self.judge(answer, keyed_hash, calls)
        digest = names["digest"]

        def counted(identifier: str, *key: bytes) -> str:
            calls.append(identifier.strip().lower())
            return str(digest(identifier, *key))

        answer.__globals__["digest"] = counted
        try:
            return self.judge(answer, digest, calls)
        finally:
            answer.__globals__["digest"] = digest

    def judge(self, answer: Any, digest: Any, calls: list[str]) -> Verdict:
        for about, lines, erased, expected in self.cases:
            register = {digest(one, b"another key") for one in erased}
            for key, right in ((b"another key", expected), (b"a third key", lines)):
                found = answer(list(lines), set(register), key)
                if not isinstance(found, list | tuple):
                    return self.wrong(other_kind(found, "a list of lines"))
                if list(found) != right:
                    of = "" if key == b"another key" else ", and a register of another key,"
                    return self.wrong(
                        f"For {about}{of} you return {list(found)}; it should be {list(right)}."
                    )
        calls.clear()
        answer(["C000001,a", "c000001,a", "C000002,b", "C000002,b"] * 25, {digest("c000003", b"k")}, b"k")
        if len(calls) > 2:
            return self.wrong(
                f"For 100 lines with 2 different identifiers you call digest {len(calls)} times. "
                "Hash each one once."
            )
        return self.right("Whoever is in the register stays out, in each spelling, and all others come in.")


closed_view = ClosedView()
personal_columns = PersonalColumns()
mask = Mask()
downstream = Downstream()
erase = Erase()
obeying = Obeying()
