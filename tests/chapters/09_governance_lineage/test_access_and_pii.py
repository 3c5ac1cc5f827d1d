"""What chapter 09 demonstrates of access and personal data: caches, conditions below a filter, scans, tokens.

The matrix of logins stands in outputs of the lesson, with the fix and without it; its replay compares them.
"""

import hmac
import random
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from medallion.servers import warehouse

Cells = Callable[..., dict[str, Any]]
TWO_WORDS = r"[A-ZÀ-Þ][\w-]+ [A-ZÀ-Þ][\w-]+"
PROBE = "SELECT count(*) FROM {} WHERE CASE WHEN country = 'DE' THEN CAST(last_name AS INT) END = 1"


@pytest.fixture(scope="module")
def people(spark: SparkSession) -> Iterator[str]:
    """The name of a view that shows each login its own row, over the endpoint."""
    warehouse.start()
    spark.sql("""
        CREATE OR REPLACE TABLE scratch.people_of_test AS
        SELECT * FROM VALUES ('DE', 'Peeters'), ('FR', 'Moreau') AS t(country, last_name)
    """)
    spark.sql("""
        CREATE OR REPLACE TABLE scratch.rights_of_test AS
        SELECT * FROM VALUES ('lena', 'DE'), ('marc', 'FR') AS t(login, country)
    """)
    yield mine(spark, "current_user()")
    spark.sql("DROP VIEW scratch.mine_of_test")
    spark.sql("DROP TABLE scratch.people_of_test")
    spark.sql("DROP TABLE scratch.rights_of_test")
    warehouse.stop()


def mine(spark: SparkSession, caller: str) -> str:
    """Make the view with one of the functions that name the login, and return its name."""
    spark.sql(f"""
        CREATE OR REPLACE VIEW scratch.mine_of_test AS SELECT * FROM scratch.people_of_test
        WHERE country IN (SELECT country FROM scratch.rights_of_test WHERE login = {caller})
    """)
    return "scratch.mine_of_test"


def names(ask: Any, view: str, login: str) -> list[str]:
    return ask(f"SELECT last_name FROM {view}", login)["last_name"].tolist()


@pytest.mark.parametrize("caller", ["current_user()", "session_user()", "user()"])
def test_a_cache_knows_no_login_and_the_guard_refuses_it(
    spark: SparkSession, people: str, run_cells: Cells, caller: str
) -> None:
    cells = run_cells("09", defining={"ask", "cache_shared"}, pd=pd, re=re, SMALL={})
    ask, view = cells["ask"], mine(spark, caller)
    assert names(ask, view, "marc") == ["Moreau"]
    ask(f"CACHE TABLE {view}", "lena")  # what the guard is there for
    assert names(ask, view, "marc") == ["Peeters"]
    ask(f"UNCACHE TABLE {view}")
    with pytest.raises(ValueError, match="depends on the login"):
        cells["cache_shared"](view)
    assert names(ask, view, "marc") == ["Moreau"]
    spark.sql("CREATE OR REPLACE VIEW scratch.today_of_test AS SELECT current_date() AS today")
    with pytest.raises(ValueError, match="depends on the login or the time"):
        cells["cache_shared"]("scratch.today_of_test")
    spark.sql("DROP VIEW scratch.today_of_test")
    cells["cache_shared"]("scratch.people_of_test")
    assert spark.catalog.isCached("scratch.people_of_test")
    assert names(ask, view, "marc") == ["Moreau"] and names(ask, view, "zoe") == []
    ask("UNCACHE TABLE scratch.people_of_test")


def test_a_condition_looks_below_the_filter_unless_a_limit_stands_between(
    spark: SparkSession, people: str, run_cells: Cells
) -> None:
    ask = run_cells("09", defining={"ask"}, pd=pd, SMALL={})["ask"]
    with pytest.raises(warehouse.EndpointError, match="Peeters"):
        ask(PROBE.format(people), "marc")
    spark.sql(f"CREATE OR REPLACE VIEW scratch.walled_of_test AS SELECT * FROM {people} LIMIT 2147483647")
    assert ask(PROBE.format("scratch.walled_of_test"), "marc").iloc[0, 0] == 0
    assert names(ask, "scratch.walled_of_test", "marc") == ["Moreau"]
    spark.sql("DROP VIEW scratch.walled_of_test")


@pytest.mark.parametrize(
    ("email", "opened"),
    [
        ("'***'", []),
        ("CAST(NULL AS STRING)", []),
        ("last_name", [("marc", "FR", "email")]),
        # Not the value of the table, and still the address
        ("concat(last_name, ' ')", [("marc", "FR", "email")]),
        # A column that the matrix was not told of
        ("'***' AS email, last_name", [("marc", "FR", "last_name")]),
    ],
)
def test_the_matrix_names_whatever_is_not_masked(
    spark: SparkSession, people: str, run_cells: Cells, email: str, opened: list[Any]
) -> None:
    cells = run_cells(
        "09",
        defining={"ask", "open_cells", "matrix_faults"},
        pd=pd,
        SMALL={},
        PLAIN=["country", "city"],
        LOGINS=["marc", "zoe"],
        ALLOWED={("marc", "FR", "row")},
        everything=pd.DataFrame({"country": ["DE", "FR"]}, index=["Peeters", "Moreau"]),
    )
    named = email if " AS email" in email else f"{email} AS email"
    spark.sql(f"""
        CREATE OR REPLACE VIEW scratch.matrix_of_test AS
        SELECT last_name AS customer_id, country, 'Kiel' AS city, {named} FROM {people}
    """)
    assert cells["matrix_faults"]("scratch.matrix_of_test") == {"opened": opened, "closed": []}
    spark.sql("DROP VIEW scratch.matrix_of_test")


@pytest.mark.parametrize("seed", range(20))
def test_what_is_hidden_together_holds_enough_people(run_cells: Cells, seed: int) -> None:
    hide = run_cells("09", defining={"suppress_together"})["suppress_together"]
    draw = random.Random(seed)
    cells = pd.DataFrame({"size": [draw.randrange(1, 9) for _ in range(draw.randrange(2, 8))], "sum": 1})
    hidden = cells["size"][hide(cells)["sum"].isna()]
    assert set(cells.index[cells["size"] < 5]) <= set(hidden.index)
    assert hidden.empty or hidden.sum() >= 5 or len(hidden) == len(cells)


def test_a_single_hidden_cell_is_the_total_minus_the_rest(run_cells: Cells) -> None:
    cells = pd.DataFrame({"size": [1, 9, 7], "sum": [520, 100, 30]})
    suppress = run_cells("09", defining={"suppress"})["suppress"]
    assert cells["sum"].sum() - suppress(cells)["sum"].sum() == 520


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("card 4000001234567899.", {"card"}),
        # A false alarm that the lesson names: the zeros within a number with spaces look like a phone
        ("card 4000 0012 3456 7899.", {"card", "phone"}),
        ("order 4000001234567890", set()),
        ("to DE89370400440532013000", {"iban"}),
        ("code DE88370400440532013000", set()),
        ("call +49 30 23125 001", {"phone"}),
        ("on 2025-10-12", set()),
        ("refused by root@mail01", set()),
        ("I had asked @kestrel_help", set()),
        ("a@b.example", {"email"}),
        ("Ährenweg 3, 50667 Köln", {"address"}),
        ("Regards, Zoë Weiß", {"name"}),
        ("Regards, Some Body", set()),
    ],
)
def test_a_scan_finds_kinds_and_leaves_look_alikes(run_cells: Cells, text: str, kinds: set[str]) -> None:
    wanted = {"PATTERNS", "CHECKED", "luhn", "kinds_in"}
    cells = run_cells("09", defining=wanted, re=re, NAMES={"Zoë Weiß"}, TWO_WORDS=TWO_WORDS)
    assert cells["kinds_in"](text) == kinds


def test_a_token_needs_its_key(run_cells: Cells) -> None:
    token = run_cells("09", defining={"token"}, hmac=hmac, unicodedata=unicodedata)["token"]
    assert token("Ana@Example.org ", b"k" * 32) == token("ana@example.org", b"k" * 32)
    assert token("zoe\u0308@example.org", b"k" * 32) == token("zoë@example.org", b"k" * 32)
    assert token("ana@example.org", b"k" * 32) != token("ana@example.org", b"l" * 32)
