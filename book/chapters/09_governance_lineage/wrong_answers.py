"""What the checks of chapter 09 say of wrong answers, and other right ones."""

import hashlib
import hmac
import re
import shutil
import sqlite3
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import networkx as nx
import pyarrow as pa
from deltalake import write_deltalake
from pyspark.sql import SparkSession

Answer = Callable[..., Any]

NEEDS = ("leaves", "mentions", "drop_lines", "forget_online", "addresses_of", "digest", "names_in")

# 9.1


def view(
    *,
    login: str = "current_user()",
    country: str = "country",
    team: str = "team IN ('crm', 'support')",
    since: str = "since <= current_date()",
    until: str = "current_date() < until",
    clear: str = "bool_and(may_see_pii IS TRUE)",
    join: str = "JOIN",
    email: str = "CASE WHEN clear THEN email ELSE '***' END AS email",
) -> Answer:
    """Return an answer that differs from the right one in a part."""

    def closed_view(customers: str, rights: str) -> str:
        return f"""
            WITH mine AS (
                SELECT {country} AS country, {clear} AS clear FROM {rights}
                WHERE (login = {login}) AND ({team}) AND {since} AND {until} GROUP BY {country}
            )
            SELECT customer_id, country, city, {email}, IF(clear, birth_year, NULL) AS birth_year
            FROM {customers} {join} mine USING (country)"""

    return closed_view


def as_the_demo(customers: str, rights: str) -> str:
    return f"""
        SELECT customer_id, c.country, city,
               CASE WHEN may_see_pii = false THEN '***' ELSE email END AS email,
               CASE WHEN may_see_pii = false THEN NULL ELSE birth_year END AS birth_year
        FROM {customers} AS c JOIN {rights} AS r ON r.login = current_user() AND r.country = c.country
        WHERE team IN ('crm', 'support') AND since <= current_date() AND current_date() < until"""


def a_row_for_each_right(customers: str, rights: str) -> str:
    return f"""
        SELECT customer_id, c.country, city, IF(may_see_pii IS TRUE, email, '***') AS email,
               IF(may_see_pii IS TRUE, birth_year, NULL) AS birth_year
        FROM {customers} AS c JOIN {rights} AS r ON r.login = current_user() AND r.country = c.country
        WHERE team IN ('crm', 'support') AND since <= current_date() AND current_date() < until"""


def flags_of_all_rights(customers: str, rights: str) -> str:
    return f"""
        WITH mine AS (
            SELECT country, bool_and(may_see_pii IS TRUE) AS clear,
                   bool_or(since <= current_date() AND current_date() < until
                           AND team IN ('crm', 'support')) AS valid
            FROM {rights} WHERE login = current_user() GROUP BY country
        )
        SELECT customer_id, country, city, IF(clear, email, '***') AS email,
               IF(clear, birth_year, NULL) AS birth_year
        FROM {customers} JOIN mine USING (country) WHERE valid"""


def null_safe(customers: str, rights: str) -> str:
    return (
        view()(customers, rights)
        .replace("USING (country)", "ON c.country <=> mine.country")
        .replace("customer_id, country", "customer_id, c.country")
        .replace(f"FROM {customers} JOIN", f"FROM {customers} AS c JOIN")
    )


def prefix_of_a_country(customers: str, rights: str) -> str:
    return (
        view()(customers, rights)
        .replace("USING (country)", "ON c.country LIKE mine.country || '%'")
        .replace("customer_id, country", "customer_id, c.country")
        .replace(f"FROM {customers} JOIN", f"FROM {customers} AS c JOIN")
    )


def star(customers: str, rights: str) -> str:
    return f"SELECT * FROM ({view()(customers, rights)}) JOIN (SELECT 1 AS one)"


def with_exists(customers: str, rights: str) -> str:
    mine = f"""
        FROM {rights} AS r WHERE r.login = session_user() AND r.country = c.country
        AND array_contains(array('crm', 'support'), r.team)
        AND current_date() BETWEEN r.since AND r.until - 1"""
    barred = f"EXISTS (SELECT 1 {mine} AND NOT coalesce(r.may_see_pii, false))"
    return f"""
        SELECT customer_id, city, country, CASE WHEN {barred} THEN '***' ELSE email END AS email,
               CASE WHEN {barred} THEN NULL ELSE birth_year END AS birth_year
        FROM {customers} AS c WHERE EXISTS (SELECT 1 {mine})"""


# 9.2


def walked(
    value: Any, path: str = "", *, index: bool = False, lists: bool = True
) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from walked(inner, f"{path}.{name}" if path else name, index=index, lists=lists)
    elif isinstance(value, list) and lists:
        for place, inner in enumerate(value):
            yield from walked(inner, f"{path}[{place if index else ''}]", index=index, lists=lists)
    elif value is not None:
        yield path, value


def counting(
    text: Callable[[Any], str] = lambda value: unquote(unquote(str(value))),
    once: type = set,
    **options: bool,
) -> Answer:
    """Return an answer that searches another form of the values, or counts otherwise."""

    def personal_columns(records: list[Any], kinds_in: Answer) -> dict[str, Any]:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for record in records:
            found = [(p, k) for p, value in walked(record, **options) for k in kinds_in(text(value))]
            for path, kind in once(found):
                counts[path][kind] += 1
        return dict(counts)

    return personal_columns


def top_level(records: list[Any], kinds_in: Answer) -> dict[str, Any]:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        for name, value in record.items():
            counts[name].update(kinds_in(unquote(unquote(str(value)))))
    return {name: dict(kinds) for name, kinds in counts.items() if kinds}


def with_empty_columns(records: list[Any], kinds_in: Answer) -> dict[str, Any]:
    found = counting()(records, kinds_in)
    return {path: found.get(path, {}) for record in records for path, _ in walked(record)}


def only_kinds(records: list[Any], kinds_in: Answer) -> dict[str, Any]:
    return {path: set(kinds) for path, kinds in counting()(records, kinds_in).items()}


def strings_only(value: Any) -> str:
    return unquote(unquote(value)) if isinstance(value, str) else ""


def with_a_stack(records: list[Any], kinds_in: Answer) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    for record in records:
        todo, seen = [("", record)], set()
        while todo:
            path, value = todo.pop()
            if isinstance(value, dict):
                todo += [(f"{path}.{name}".strip("."), inner) for name, inner in value.items()]
            elif isinstance(value, list):
                todo += [(path + "[]", inner) for inner in value]
            elif value is not None:
                seen |= {(path, kind) for kind in kinds_in(unquote(unquote(f"{value}")))}
        for path, kind in seen:
            counts.setdefault(path, Counter())[kind] += 1
    return counts


# 9.3


def masking(
    *,
    normal: Callable[[str], str] = lambda value: unicodedata.normalize("NFC", value),
    shortest: int = 10,
    head: Callable[[str], str] = lambda head: head[:1] if len(head) > 1 else "",
    unknown: Callable[[str], str] = lambda value: "***",
    nothing: Any = None,
    word: Callable[[str], str] = lambda word: (word[0] if len(word) > 1 else "") + "***",
) -> Answer:
    """Return an answer that differs from the right one in a part."""

    def mask(value: str | None, kind: str) -> str | None:
        if value is None:
            return nothing
        value = normal(value)
        if kind == "email":
            parts = re.fullmatch("([^@]+)@([^@]+)", value)
            return f"{head(parts[1])}***@{parts[2]}" if parts else "***"
        if kind in ("card", "iban", "phone"):
            signs = re.sub(r"[\W_]", "", value)
            return f"***{signs[-4:]}" if len(signs) >= shortest else "***"
        if kind == "name":
            return " ".join(map(word, value.split())) or "***"
        return unknown(value)

    return mask


def last_four_as_they_stand(value: str | None, kind: str) -> str | None:
    if value and kind == "iban" and len(value) > 10:
        return "***" + value[-4:]
    if value and kind in ("card", "phone"):
        digits = re.sub(r"\D", "", value)
        return "***" + digits[-4:] if len(digits) >= 10 else "***"
    return masking()(value, kind)


def digits_only(value: str | None, kind: str) -> str | None:
    if value and kind == "iban":
        return "***" + re.sub(r"\D", "", value)[-4:]
    return masking()(value, kind)


def stars_for_each(value: str | None, kind: str) -> str | None:
    if value and kind == "email" and value.count("@") == 1:
        head, tail = value.split("@")
        return head[:1] + "*" * (len(head) - 1) + "@" + tail
    return masking()(value, kind)


def trusting(value: str | None, kind: str) -> str | None:
    if value and kind == "email" and "@" in value:
        head, _, tail = value.partition("@")
        return f"{head[:1] if len(head) > 1 else ''}***@{tail}"
    return masking()(value, kind)


def underscore_counts(value: str | None, kind: str) -> str | None:
    signs = re.sub(r"\W", "", value or "")
    return f"***{signs[-4:]}" if kind == "card" and len(signs) > 9 else masking()(value, kind)


def phone_of_digits(value: str | None, kind: str) -> str | None:
    digits = re.sub(r"\D", "", value or "") if kind == "phone" else value
    return masking()(digits, kind)


def words_of_letters(value: str | None, kind: str) -> str | None:
    words = " ".join(re.findall(r"\w+", unicodedata.normalize("NFC", value or "")))
    return masking()(words if kind == "name" else value, kind)


def split_at_spaces(value: str | None, kind: str) -> str | None:
    return masking()(value.replace("\t", "_") if value else value, kind)


def only_emails_normalised(value: str | None, kind: str) -> str | None:
    return masking(normal=str if kind == "name" else masking.__kwdefaults__["normal"])(value, kind)


def by_hand(value: str | None, kind: str) -> str | None:
    if value is None:
        return None
    value = unicodedata.normalize("NFC", value)
    match kind:
        case "email" if value.count("@") == 1 and not value.startswith("@") and not value.endswith("@"):
            place = value.index("@")
            return ("***" if place == 1 else value[0] + "***") + value[place:]
        case "card" | "iban" | "phone":
            signs = [*filter(str.isalnum, value)]
            return "***" + "".join(signs[-4:]) if len(signs) > 9 else "***"
        case "name" if value.strip():
            return " ".join("***" if len(one) == 1 else one[:1] + "***" for one in value.split())
    return "***"


# 9.4


def one_step(edges: Any, table: str, column: str) -> Any:
    certain = {
        (e["target"], to)
        for e in edges
        if e["source"] == table
        for to, of in e["columns"].items()
        if column in of
    }
    return sorted(certain), sorted({e["target"] for e in edges if e["source"] == table and not e["columns"]})


def walk(
    edges: Any,
    table: str,
    column: str,
    holds: Any = lambda e, name, to, of, held: e["source"] == name and held in of,
    unknown: Any = lambda e, possible: e["source"] in possible or not e["columns"],
    start: bool = False,
    also: bool = False,
    further: bool = True,
) -> Any:
    """Return what a right answer returns, unless one of its parts is another."""
    certain, todo = {(table, column)}, [(table, column)]
    while todo:
        name, held = todo.pop()
        for e in edges:
            made = {(e["target"], to) for to, of in e["columns"].items() if holds(e, name, to, of, held)}
            todo += made - certain
            certain |= made
    tables = {name for name, _ in certain}
    possible: set[str] = set()
    while True:
        new = {
            e["target"]
            for e in edges
            if unknown(e, possible) and e["source"] in tables | (possible if further else set())
        }
        if new <= possible:
            break
        possible |= new
    return sorted(certain - (set() if start else {(table, column)})), sorted(
        possible if also else possible - tables
    )


def walking(**other: Any) -> Answer:
    return lambda edges, table, column: walk(edges, table, column, **other)


def recursive(edges: Any, table: str, column: str) -> Any:
    def below(name: str, held: str) -> Any:
        for e in edges:
            if e["source"] == name:
                for to, of in e["columns"].items():
                    if held in of:
                        yield e["target"], to
                        yield from below(e["target"], to)

    certain = set(below(table, column))
    return sorted(certain), walk(edges, table, column)[1]


def in_one_pass(edges: Any, table: str, column: str) -> Any:
    certain = {(table, column)}
    for e in edges:
        certain |= {
            (e["target"], to)
            for to, of in e["columns"].items()
            if any((e["source"], one) in certain for one in of)
        }
    return sorted(certain - {(table, column)}), walk(edges, table, column)[1]


def with_steps(limit: int) -> Answer:
    def downstream(edges: Any, table: str, column: str) -> Any:
        certain = {(table, column)}
        for _ in range(limit):
            certain |= {
                (e["target"], to)
                for e in edges
                for to, of in e["columns"].items()
                for held in of
                if (e["source"], held) in certain
            }
        possible = walking()(edges, table, column)[1]
        return sorted(certain - {(table, column)}), possible

    return downstream


def emptying(edges: Any, table: str, column: str) -> Any:
    found = walking()(edges, table, column)
    edges.clear()
    return found


def every_table(edges: Any, table: str, column: str) -> Any:
    certain, _ = walk(edges, table, column)
    graph = nx.DiGraph((e["source"], e["target"]) for e in edges)
    below = nx.descendants(graph, table) if table in graph else set()
    return certain, sorted(below - {name for name, _ in certain})


def certain_only(edges: Any, table: str, column: str) -> Any:
    return walk(edges, table, column)[0]


def with_a_graph(edges: Any, table: str, column: str) -> Any:
    by_column, by_table = nx.DiGraph(), nx.DiGraph()
    by_column.add_node((table, column))
    by_table.add_nodes_from({name for e in edges for name in (e["source"], e["target"])})
    for e in edges:
        by_table.add_edge(e["source"], e["target"])
        for to, of in e["columns"].items():
            by_column.add_edges_from(((e["source"], one), (e["target"], to)) for one in of)
    certain = nx.descendants(by_column, (table, column))
    tables = {table} | {name for name, _ in certain}
    first = {e["target"] for e in edges if e["source"] in tables and not e["columns"]}
    possible = first.union(*(nx.descendants(by_table, name) for name in first))
    # Only paths that do not come back through a table of `certain` would differ, and those are left out
    return sorted(certain), sorted(possible - tables)


# 9.5


def mentions(value: Any, identifiers: Any) -> bool:
    text = unquote(unquote(str(value))).lower().replace(" (at) ", "@")
    return any(one.lower() in text for one in identifiers)


def rows_of(desk: Path) -> Any:
    return SparkSession.active().sql(f"SELECT * FROM delta.`{desk / 'tickets'}`").collect()


def addresses(rows: Any, customer: str) -> set[str]:
    others = {row.reply_to for row in rows if row.customer_id not in (customer, None)}
    return all_addresses(rows, customer) - others


def all_addresses(rows: Any, customer: str) -> set[str]:
    return {one.reply_to for one in rows if one.customer_id == customer and one.reply_to}


def drop(file: Path, identifiers: Any) -> int:
    lines = file.read_text("utf-8").splitlines()
    kept = [line for line in lines if not mentions(line, identifiers)]
    file.write_text("".join(f"{line}\n" for line in kept), "utf-8")
    return len(lines) - len(kept)


def forget(file: Path, customer: str) -> int:
    with closing(sqlite3.connect(file)) as store:
        gone = store.execute("DELETE FROM features WHERE customer_id = ?", [customer])
        store.commit()
        store.execute("VACUUM")
        return gone.rowcount


PURGE = ("REORG TABLE {} APPLY (PURGE)", "VACUUM {} RETAIN 0 HOURS")


def erasing(
    steps: Any = PURGE,
    condition: Any = None,
    identifiers: Any = addresses,
    files: Any = ("landing", "quarantine"),
    online: bool = True,
    tickets_first: bool = False,
    also: Any = lambda desk: None,
    proof: Any = lambda proof: proof,
) -> Answer:
    """Return an answer that is right, unless one of its parts is another.

    With `steps=None` it writes the tickets anew without Spark: quick, for a fault that is elsewhere.
    """

    def erase(desk: Path, customer: str) -> Any:
        rows = rows_of(desk)
        sought = {customer, *identifiers(rows, customer)}
        found = {"tickets": 0, "quarantine": 0, "online": 0, "landing": 0}
        if online:
            found["online"] = forget(desk / "online.sqlite", customer)

        def drop_all() -> None:
            for name in files:
                found[name] = drop(desk / f"{name}.jsonl", sought)

        if not tickets_first:
            drop_all()
        gone = [row.ticket_id for row in rows if mentions(row, sought)]
        found["tickets"] = len(gone)
        listed = ", ".join(map(repr, gone)) or "''"
        where = condition(sorted(sought)) if condition else f"ticket_id IN ({listed})"
        if steps is None:
            rewrite(desk / "tickets", [row for row in rows if row.ticket_id not in gone])
        else:
            for step in ("DELETE FROM {} WHERE " + where, *steps):
                SparkSession.active().sql(step.format(f"delta.`{desk / 'tickets'}`"))
        if tickets_first:
            drop_all()
        also(desk)
        return proof(found)

    return erase


def everybody_with_the_phone(rows: Any, customer: str) -> set[str]:
    own = {row.phone for row in rows if row.customer_id == customer and row.phone}
    return addresses(rows, customer) | own


def with_zeros(desk: Path) -> None:
    with closing(sqlite3.connect(desk / "online.sqlite")) as store, store:
        store.execute("UPDATE features SET orders = 0")


def cut_short(desk: Path) -> None:
    file = desk / "landing.jsonl"
    file.write_text("".join(f"{line[:60]}\n" for line in file.read_text("utf-8").split("\n")[:-1]), "utf-8")


def without_a_message(desk: Path) -> None:
    SparkSession.active().sql(f"UPDATE delta.`{desk / 'tickets'}` SET message = NULL")


def by_address(identifiers: list[str]) -> str:
    listed = ", ".join(f"'{one}'" for one in identifiers)
    return f"lower(reply_to) IN ({listed}) OR customer_id IN ({listed}) OR ticket_id = 'TK06'"


def in_a_new_table(desk: Path, customer: str) -> Any:
    rows = rows_of(desk)
    identifiers = [customer, *addresses(rows, customer)]
    kept = [row.ticket_id for row in rows if not mentions(row, identifiers)]
    listed = ", ".join(map(repr, kept))
    new = f"delta.`{desk / 'tickets'}_new`"
    SparkSession.active().sql(
        f"CREATE TABLE {new} USING delta AS "
        f"SELECT * FROM delta.`{desk / 'tickets'}` WHERE ticket_id IN ({listed})"
    )
    swap(desk / "tickets")
    return {
        "online": forget(desk / "online.sqlite", customer),
        "landing": drop(desk / "landing.jsonl", identifiers),
        "quarantine": drop(desk / "quarantine.jsonl", identifiers),
        "tickets": len(rows) - len(kept),
    }


def rewrite(place: Path, rows: Any) -> None:
    schema = pa.schema([(name, pa.string()) for name in rows[0].asDict()])
    table = pa.Table.from_pylist([row.asDict() for row in rows], schema=schema)
    write_deltalake(place.with_name(f"{place.name}_new"), table)
    swap(place)


def swap(place: Path) -> None:
    shutil.rmtree(place)
    place.with_name(f"{place.name}_new").rename(place)


# 9.6


def with_an_hmac_of_its_own(lines: Any, register: Any, key: bytes) -> Any:
    def is_erased(line: str) -> bool:
        found = [one.lower().encode() for one in identifiers_in(line)]
        return any(hmac.digest(key, one, "sha256").hex() in register for one in found)

    return [line for line in lines if not is_erased(line)]


NAMED = re.compile(r"\bC\d{6}\b|[\w.+-]+(?:@| \(at\) )[\w-]+(?:\.[\w-]+)+", re.IGNORECASE)


def identifiers_in(line: str) -> list[str]:
    return [one.replace(" (at) ", "@") for one in NAMED.findall(unquote(unquote(line)))]


def digest(identifier: str, key: bytes = b"only for this course") -> str:
    return hmac.new(key, identifier.strip().lower().encode(), hashlib.sha256).hexdigest()


def each_line(lines: Any, register: Any, key: bytes) -> Any:
    return [line for line in lines if not any(digest(one, key) in register for one in identifiers_in(line))]


def first_only(lines: Any, register: Any, key: bytes) -> Any:
    return [
        line for line in lines if not (found := identifiers_in(line)) or digest(found[0], key) not in register
    ]


def with_identifiers(lines: Any, register: Any, key: bytes) -> Any:
    kept = each_line(lines, register, key)
    return [line for line in kept if identifiers_in(line)]


def all_of_them(lines: Any, register: Any, key: bytes) -> Any:
    return [
        line
        for line in lines
        if not (found := identifiers_in(line)) or not all(digest(one, key) in register for one in found)
    ]


def default_key(lines: Any, register: Any, key: bytes) -> Any:
    return [line for line in lines if not any(digest(one) in register for one in identifiers_in(line))]


def each_spelling(lines: Any, register: Any, key: bytes) -> Any:
    everybody = {one for line in lines for one in identifiers_in(line)}
    erased = {one for one in everybody if digest(one, key) in register}
    return [line for line in lines if erased.isdisjoint(identifiers_in(line))]


def sorted_lines(lines: Any, register: Any, key: bytes) -> Any:
    return sorted(set(each_line(lines, register, key)))


def without_a_key(lines: Any, register: Any, key: bytes) -> Any:
    def plain_hash(one: str) -> str:
        return hashlib.sha256(one.lower().encode()).hexdigest()

    return [line for line in lines if not any(plain_hash(one) in register for one in identifiers_in(line))]


def whole_words(lines: Any, register: Any, key: bytes) -> Any:
    return [
        line
        for line in lines
        if not any(digest(word, key) in register for word in re.split(r"[\s,]+", line) if word)
    ]


def erased_first(lines: Any, register: Any, key: bytes) -> Any:
    known: dict[str, bool] = {}
    kept = []
    for line in lines:
        found = [one.lower() for one in identifiers_in(line)]
        for one in found:
            if one not in known:
                known[one] = digest(one, key) in register
        if not any(known[one] for one in found):
            kept.append(line)
    return kept


def with_a_cache(lines: Any, register: Any, key: bytes) -> Any:
    from functools import cache

    @cache
    def is_erased(one: str) -> bool:
        return digest(one, key) in register

    return tuple(line for line in lines if not any(is_erased(n.lower()) for n in identifiers_in(line)))


WRONG = [
    (
        "closed_view",
        as_the_demo,
        "nora (a right for DE, where may_see_pii is NULL) sees the email c1@example.org of "
        "C1; it should be ***.",
    ),
    (
        "closed_view",
        a_row_for_each_right,
        "quinn (two rights for FR, one without PII) sees C3 2 times; once is right.",
    ),
    (
        "closed_view",
        flags_of_all_rights,
        "tina (a right for FR with PII, and one without that is over) sees the email *** of "
        "C3; it should be c3@example.org.",
    ),
    ("closed_view", null_safe, "nick (a right without a country) sees C4 of NULL, and may not."),
    (
        "closed_view",
        star,
        "The columns of your view are customer_id, country, city, email, birth_year, one; "
        "they should be customer_id, country, city, email, birth_year.",
    ),
    ("closed_view", view(login="'lena'"), "marc (a right for FR, without PII) sees C1 of DE, and may not."),
    (
        "closed_view",
        view(country="upper(trim(country))"),
        "pia (rights for 'de', 'DE ', 'D' and 'D%') sees C1 of DE, and may not.",
    ),
    (
        "closed_view",
        view(team="team <> 'intern'"),
        "rosa (the teams temp and crm_x) sees C1 of DE, and may not.",
    ),
    (
        "closed_view",
        view(team="coalesce(team, 'crm') IN ('crm', 'support')"),
        "ruth (no team) sees C1 of DE, and may not.",
    ),
    ("closed_view", view(since="true"), "paul (a right from tomorrow on) sees C1 of DE, and may not."),
    (
        "closed_view",
        view(since="since < current_date()"),
        "olga (a right from today until tomorrow) does not see C1 of DE, and should.",
    ),
    (
        "closed_view",
        view(until="current_date() <= until"),
        "omar (a right until today) sees C1 of DE, and may not.",
    ),
    (
        "closed_view",
        view(until="current_date() < coalesce(until, DATE'9999-12-31')"),
        "sven (a right without an end) sees C1 of DE, and may not.",
    ),
    (
        "closed_view",
        view(clear="bool_or(may_see_pii IS TRUE)"),
        "quinn (two rights for FR, one without PII) sees the email c3@example.org of C3; it should be ***.",
    ),
    (
        "closed_view",
        view(clear="bool_and(may_see_pii IS NOT FALSE)"),
        "nora (a right for DE, where may_see_pii is NULL) sees the email c1@example.org of "
        "C1; it should be ***.",
    ),
    ("closed_view", view(join="LEFT JOIN"), "lena (a right for DE, with PII) sees C3 of FR, and may not."),
    (
        "closed_view",
        view(login="current_user() OR current_user() LIKE login || '%'"),
        "lena (a right for DE, with PII) sees C3 of FR, and may not.",
    ),
    (
        "closed_view",
        view(login="current_user() OR login LIKE current_user() || '%'"),
        "marc (a right for FR, without PII) sees C1 of DE, and may not.",
    ),
    (
        "closed_view",
        view(team="team LIKE 'crm%' OR team = 'support'"),
        "rosa (the teams temp and crm_x) sees C1 of DE, and may not.",
    ),
    (
        "closed_view",
        view(since="(since IS NULL OR since <= current_date())"),
        "vera (a right without a beginning) sees C1 of DE, and may not.",
    ),
    (
        "closed_view",
        view(since="since <= DATE'2026-03-04'"),
        "Your statement has the day 2026-03-04 in it, which a view keeps. Ask for current_date().",
    ),
    (
        "closed_view",
        view(clear="coalesce(bool_and(may_see_pii), false)"),
        "tom (two rights for DE, in one of which may_see_pii is NULL) sees the email c1@example.org of C1; "
        "it should be ***.",
    ),
    (
        "closed_view",
        view(clear="bool_and(bool_and(may_see_pii IS TRUE)) OVER ()"),
        "uma (a right for DE with PII, and one for FR without) sees the email *** of C1; "
        "it should be c1@example.org.",
    ),
    (
        "closed_view",
        view(clear="bool_or(bool_and(may_see_pii IS TRUE)) OVER ()"),
        "uma (a right for DE with PII, and one for FR without) sees the email c3@example.org of C3; "
        "it should be ***.",
    ),
    (
        "closed_view",
        prefix_of_a_country,
        "pia (rights for 'de', 'DE ', 'D' and 'D%') sees C1 of DE, and may not.",
    ),
    (
        "closed_view",
        view(email="coalesce(IF(clear, email, '***'), '***') AS email"),
        "lena (a right for DE, with PII) sees the email *** of C2; it should be NULL.",
    ),
    (
        "closed_view",
        view(email="IF(clear, email, NULL) AS email"),
        "marc (a right for FR, without PII) sees the email NULL of C3; it should be ***.",
    ),
    (
        "personal_columns",
        counting(text=str),
        "For [{'url': '?u=a%40b.example'}] (an encoded address) the answer is {'url': "
        "{'email': 1}}; yours is {}.",
    ),
    (
        "personal_columns",
        counting(text=lambda value: unquote(str(value))),
        "For [{'url': '?u=a%2540b.example'}] (an address that is encoded twice) the answer is "
        "{'url': {'email': 1}}; yours is {}.",
    ),
    (
        "personal_columns",
        counting(text=lambda value: str(value).replace("%2540", "@").replace("%40", "@")),
        "For [{'url': '?call=%2B49%2030%201'}] (an encoded phone number) the answer is "
        "{'url': {'phone': 1}}; yours is {}.",
    ),
    (
        "personal_columns",
        counting(text=lambda value: unquote(unquote(str(value or "")))),
        "For [{'n': 0}] (the number 0, which the check calls a zero) the answer is {'n': "
        "{'zero': 1}}; yours is {}.",
    ),
    (
        "personal_columns",
        counting(once=list),
        "For [{'files': [{'text': 'a@b.example'}, {'text': 'c@d.example'}]}] (an address in "
        "both entries of a list) the answer is {'files[].text': {'email': 1}}; yours is "
        "{'files[].text': {'email': 2}}.",
    ),
    (
        "personal_columns",
        counting(lists=False),
        "For [{'files': [{'text': 'a@b.example'}, {'text': 'c@d.example'}]}] (an address in "
        "both entries of a list) the answer is {'files[].text': {'email': 1}}; yours is "
        "{'files': {'email': 1}}.",
    ),
    (
        "personal_columns",
        counting(index=True),
        "For [{'files': [{'text': 'a@b.example'}, {'text': 'c@d.example'}]}] (an address in "
        "both entries of a list) the answer is {'files[].text': {'email': 1}}; yours is "
        "{'files[0].text': {'email': 1}, 'files[1].text': {'email': 1}}.",
    ),
    (
        "personal_columns",
        counting(text=strings_only),
        "For [{'paid': 4000001234567899}] (a card that is an integer) the answer is {'paid': "
        "{'card': 1}}; yours is {}.",
    ),
    (
        "personal_columns",
        top_level,
        "For [{'contact': {'phone': '+49 30 1', 'more': {'mail': 'a@b.example'}}}] (a field "
        "in a field) the answer is {'contact.more.mail': {'email': 1}, 'contact.phone': "
        "{'phone': 1}}; yours is {'contact': {'email': 1, 'phone': 1}}.",
    ),
    (
        "personal_columns",
        with_empty_columns,
        "For [{'note': 'hello', 'tags': ['a', 'b'], 'n': 7}] (values without personal data) "
        "the answer is {}; yours is {'n': {}, 'note': {}, 'tags[]': {}}.",
    ),
    (
        "personal_columns",
        only_kinds,
        "Your function returned {'note': {'email'}}. It should return a dict of dicts.",
    ),
    (
        "mask",
        masking(normal=str),
        "For an accent as a character of its own, 'éva@example.org', the mask is "
        "'é***@example.org'; yours is 'e***@example.org'.",
    ),
    (
        "mask",
        masking(shortest=9),
        "For a number of nine digits, '030/123-456', the mask is '***'; yours is '***3456'.",
    ),
    (
        "mask",
        masking(shortest=4),
        "For a short phone number, '030 1234', the mask is '***'; yours is '***1234'.",
    ),
    (
        "mask",
        masking(head=lambda head: head[:1]),
        "For one character before the @, 'j@example.org', the mask is '***@example.org'; "
        "yours is 'j***@example.org'.",
    ),
    (
        "mask",
        masking(unknown=str),
        "For a kind that is not agreed, '1970-05-04', the mask is '***'; yours is '1970-05-04'.",
    ),
    ("mask", masking(nothing="***"), "For nothing, None, the mask is None; yours is '***'."),
    (
        "mask",
        masking(word=lambda word: word[0] + "***"),
        "For a name with a letter as a word, 'Li X', the mask is 'L*** ***'; yours is 'L*** X***'.",
    ),
    (
        "mask",
        underscore_counts,
        "For a number with an underscore, '4000 0012 3456 7_899', the mask is '***7899'; yours is '***_899'.",
    ),
    (
        "mask",
        phone_of_digits,
        "For a phone number with letters, '0800 123 SHOP', the mask is '***SHOP'; yours is '***'.",
    ),
    (
        "mask",
        words_of_letters,
        "For a name with a hyphen, 'Anne-Marie Groß', the mask is 'A*** G***'; yours is 'A*** M*** G***'.",
    ),
    (
        "mask",
        split_at_spaces,
        "For a name with a tab, 'Ana\\tSilva', the mask is 'A*** S***'; yours is 'A***'.",
    ),
    (
        "mask",
        only_emails_normalised,
        "For a name with an accent as a character of its own, 'E\u0301 Pe\u0301rez', the mask is '*** P***'; "
        "yours is 'E*** P***'.",
    ),
    (
        "mask",
        lambda value, kind: masking()(value, kind and kind.lower()),
        "For a kind in capitals, 'jan@example.org', the mask is '***'; yours is 'j***@example.org'.",
    ),
    (
        "mask",
        last_four_as_they_stand,
        "For an IBAN, 'DE89 3704 0044 0532 0130 00', the mask is '***3000'; yours is '***0 00'.",
    ),
    (
        "mask",
        digits_only,
        "For an IBAN with letters at its end, 'MT84MALT011000012345MTLCAST001S', the mask is "
        "'***001S'; yours is '***5001'.",
    ),
    (
        "mask",
        stars_for_each,
        "For an e-mail address, 'jan@example.org', the mask is 'j***@example.org'; yours is "
        "'j**@example.org'.",
    ),
    (
        "mask",
        trusting,
        "For an address with two @, 'jan@home@example.org', the mask is '***'; yours is "
        "'j***@home@example.org'.",
    ),
    (
        "downstream",
        one_step,
        "For two steps, with another name certain lacks ('mart', 'domain'). Asked: downstream("
        "[{'source': 'raw', 'target': 'clean', 'columns': {'email': ['email'], 'city': ['city']}}, "
        "{'source': 'clean', 'target': 'mart', 'columns': {'domain': ['email', 'city'], 'town': ['city']}}], "
        "'raw', 'email').",
    ),
    (
        "downstream",
        in_one_pass,
        "For edges that stand in the opposite order certain lacks ('mart', 'domain'). Asked: …",
    ),
    (
        "downstream",
        every_table,
        "For an edge without columns from a table that does not hold it possible has 'clean', which should "
        "not be there. Asked: …",
    ),
    ("downstream", certain_only, "For one edge you return 1 things; it should be two lists. Asked: …"),
    (
        "downstream",
        walking(start=True),
        "For one edge certain has ('raw', 'email'), which should not be there. Asked: …",
    ),
    (
        "downstream",
        walking(also=True),
        "For a notebook that writes what it has read possible has 'clean', which should not be there. "
        "Asked: …",
    ),
    (
        "downstream",
        walking(holds=lambda e, name, to, of, held: held in of),
        "For a column of the same name in another table certain has ('rota', 'email'), which should not be "
        "there. Asked: …",
    ),
    (
        "downstream",
        walking(holds=lambda e, name, to, of, held: e["source"] == name and held in of and to == held),
        "For two steps, with another name certain lacks ('mart', 'domain'). Asked: …",
    ),
    (
        "downstream",
        walking(further=False),
        "For a notebook, and what it writes possible lacks 'scores'. Asked: …",
    ),
    (
        "downstream",
        walking(unknown=lambda e, possible: not e["columns"]),
        "For a table behind a notebook, of which the columns are known possible lacks 'report'. Asked: …",
    ),
    ("downstream", with_steps(3), "For six steps certain lacks ('t4', 'email'). Asked: …"),
    (
        "downstream",
        lambda edges, *of: walking()([e for e in edges if e["via"] == "02"], *of),
        "For an edge of another chapter, from a query plan certain lacks ('mart', 'email'). Asked: …",
    ),
    (
        "downstream",
        emptying,
        "For one edge your function changes the list of edges. Leave what you are given as it is. Asked: …",
    ),
    (
        "downstream",
        recursive,
        "Your code raised RecursionError: maximum recursion depth exceeded …",
    ),
    (
        "erase",
        erasing(files=("quarantine",), steps=None),
        "After your function c000001 is still in landing.jsonl.",
    ),
    (
        "erase",
        erasing(online=False, steps=None),
        "After your function c000001 is still in online.sqlite.",
    ),
    (
        "erase",
        erasing(files=("landing",), steps=None),
        "After your function c000001 is still in quarantine.jsonl.",
    ),
    (
        "erase",
        erasing(steps=PURGE[::-1]),
        "After your function c000001 is still in a data file of the table tickets.",
    ),
    (
        "erase",
        erasing(steps=PURGE[1:]),
        "After your function c000001 is still in a data file of the table tickets.",
    ),
    (
        "erase",
        erasing(condition=by_address, steps=()),
        "The log of tickets now contains the address ada.lind@example.com. Delete by ticket_id: the "
        "condition of a DELETE stays in the log.",
    ),
    (
        "erase",
        erasing(identifiers=everybody_with_the_phone, steps=None),
        "The row TK03 of tickets is gone. It is of somebody else, and should stay.",
    ),
    (
        "erase",
        erasing(identifiers=lambda rows, customer: set(), steps=None),
        "After your function ada.lind@example.com is still in landing.jsonl.",
    ),
    (
        "erase",
        erasing(proof=lambda found: sum(found.values()), steps=None),
        "Your function returned 15. It should return a dict, the proof.",
    ),
    (
        "erase",
        erasing(proof=lambda found: found | {"landing": 1}, steps=None),
        "For C000001 your proof says landing: 1; it should be 7.",
    ),
    (
        "erase",
        erasing(proof=lambda found: {"tickets": 5, "quarantine": 2, "landing": 7, "online": 1}),
        "For C000003, killed before VACUUM and asked again, your proof says tickets: 5; it should be 0.",
    ),
    (
        "erase",
        erasing(tickets_first=True),
        "Killed before VACUUM and asked again: After your function moritz@example.com is still in "
        "landing.jsonl.",
    ),
    (
        "erase",
        erasing(identifiers=all_addresses, steps=None),
        "The row TK03 of tickets is gone. It is of somebody else, and should stay.",
    ),
    (
        "erase",
        erasing(also=with_zeros, steps=None),
        "C000002 is gone from online.sqlite, or changed, and should stay as it was.",
    ),
    (
        "erase",
        erasing(also=cut_short, steps=None),
        "The line of TK01 in landing.jsonl is not there once, as it was.",
    ),
    (
        "erase",
        erasing(also=without_a_message, steps=None),
        "The row TK01 of tickets is not there once, as it was. It should stay.",
    ),
    (
        "obeying",
        each_line,
        "For 100 lines with 2 different identifiers you call digest 100 times. Hash each one once.",
    ),
    (
        "obeying",
        first_only,
        "For two identifiers, of which the second is erased you return ['C000002 for C000001']; it should be "
        "[].",
    ),
    (
        "obeying",
        with_identifiers,
        "For an empty register you return ['C000001,a', 'C000001,a']; it should be ['C000001,a', 'header', "
        "'C000001,a'].",
    ),
    (
        "obeying",
        all_of_them,
        "For two identifiers, of which the second is erased you return ['C000002 for C000001']; it should be "
        "[].",
    ),
    (
        "obeying",
        default_key,
        "For a line of an erased number you return ['C000001,a', 'C000002,b']; it should be ['C000002,b'].",
    ),
    (
        "obeying",
        sorted_lines,
        "For an empty register you return ['C000001,a', 'header']; it should be ['C000001,a', 'header', "
        "'C000001,a'].",
    ),
    (
        "obeying",
        without_a_key,
        "For a line of an erased number you return ['C000001,a', 'C000002,b']; it should be ['C000002,b'].",
    ),
    (
        "obeying",
        whole_words,
        "For an address in other spellings you return ['?u=ada.lind%40example.com', 'ada.lind (at) "
        "example.com', 'eda@example.com', 'nada.lind@example.com']; it should be ['eda@example.com', "
        "'nada.lind@example.com'].",
    ),
    (
        "obeying",
        each_spelling,
        "For 100 lines with 2 different identifiers you call digest 3 times. Hash each one once.",
    ),
]

RIGHT = [
    ("closed_view", with_exists),
    ("closed_view", view(clear="every(coalesce(may_see_pii, false))", login="user()")),
    ("personal_columns", counting()),
    ("personal_columns", with_a_stack),
    ("mask", masking()),
    ("mask", by_hand),
    ("downstream", walking()),
    ("downstream", with_a_graph),
    ("erase", erasing()),
    ("erase", in_a_new_table),
    ("obeying", erased_first),
    ("obeying", with_a_cache),
    ("obeying", partial(with_an_hmac_of_its_own)),
]
