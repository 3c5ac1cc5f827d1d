"""The generator, judged from outside: what its files hold is counted again without its help."""

import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest
from filelock import FileLock

import kestrel
from kestrel import cdnow, landing, settings, writing

SCALE = 0.25
SMALLEST = 0.02
# The manifest lists the hash of every file. When this hash changes on purpose, raise
# `landing.GENERATOR`, so that landing folders of the older generator are made anew.
MANIFEST_SHA256 = "f4264ca2d152784404cb7260630e889079a30cd82e3bd6af6ef56adcc5d30658"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("Kurs für Anfänger") / "landing"
    kestrel.generate(target, SCALE)
    return target


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest landing folder. Do not write to it."""
    target = tmp_path_factory.mktemp("small") / "landing"
    kestrel.generate(target, SMALLEST)
    return target


@pytest.fixture(scope="session")
def tables(folder: Path) -> dict[str, list]:
    return {name: read(folder) for name, read in READERS.items()}


# Reading the files back, in the order in which they arrive -------------------------------------


def _files(folder: Path, pattern: str) -> list[Path]:
    files = sorted(folder.glob(pattern))
    assert files, pattern
    return files


def _lines(path: Path, encoding: str = "utf-8") -> list[str]:
    text = path.read_bytes().decode(encoding)
    assert text.endswith("\n") and "\r" not in text
    return text[:-1].split("\n")


def _json_lines(pattern: str):
    """Read (file number, row) pairs; a line that is not JSON becomes None."""

    def read(folder: Path) -> list:
        return [
            (number, _parsed(line))
            for number, path in enumerate(_files(folder, pattern))
            for line in _lines(path)
        ]

    return read


def _parsed(line: str) -> dict | None:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _csv_rows(pattern: str):
    def read(folder: Path) -> list:
        return [
            (number, row)
            for number, path in enumerate(_files(folder, pattern))
            for row in csv.DictReader(io.StringIO(_decoded(path)))
        ]

    return read


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _telemetry(folder: Path) -> list:
    rows = [row for _, row in _csv_rows("lockers/telemetry/*/*.csv")(folder)]
    for row in rows:
        row["measured_at"] = _stamp(row["measured_at"])
        for column in ("temperature", "humidity", "battery_v", "compressor_a"):
            row[column] = float(row[column])
        row["door_opens"] = int(row["door_opens"])
    for path in _files(folder, "lockers/telemetry/*/*.parquet"):
        rows += pq.read_table(path).to_pylist()
    return sorted(rows, key=lambda row: (row["locker_id"], row["measured_at"]))


def _products(folder: Path) -> list:
    document = json.loads((folder / "products/products_2025-07-01.json").read_text(encoding="utf-8"))
    return [
        product | {"seller_id": seller["seller_id"]}
        for seller in document["sellers"]
        for product in seller["products"]
    ]


def _cdnow(folder: Path) -> list:
    lines = (folder / "cdnow/CDNOW_master.txt").read_bytes().decode("ascii").split("\r\n")
    return [(line[1:6], line[7:15], int(line[15:18]), line[18:].strip()) for line in lines[1:-1]]


READERS = {
    "customers": _csv_rows("customers/*.csv"),
    "products": _products,
    "orders": _json_lines("orders/*.jsonl"),
    "web_events": _json_lines("web_events/*/*.jsonl"),
    "payments": _json_lines("payments/*.jsonl"),
    "chargebacks": _json_lines("chargebacks/*.jsonl"),
    "telemetry": _telemetry,
    "maintenance": _csv_rows("lockers/maintenance/*.csv"),
    "touchpoints": _csv_rows("marketing/touchpoints/*.csv"),
    "campaign_spend": _csv_rows("marketing/campaign_spend/*.csv"),
    "cdnow": _cdnow,
}


def _stamp(text: str) -> datetime:
    return datetime.fromisoformat(text)


# The rules of datasets/README.md, one function per table: the kind of each row ------------------


def _customer_kinds(tables: dict) -> Counter:
    kinds: Counter = Counter()
    before: dict = {}
    for _, snapshot in groupby(tables["customers"], key=lambda pair: pair[0]):
        here: dict = {}
        for _, row in snapshot:
            key = row["customer_id"]
            if not key:
                kinds["missing_id"] += 1
                continue
            if key in here:
                assert row == here[key]
                kinds["repeat"] += 1
                continue
            here[key] = row
            if row == before.get(key):
                kinds["unchanged"] += 1
            elif not re.fullmatch(r"\d{4}-\d\d-\d\d", row["signup_date"]):
                kinds["date_format"] += 1
            elif not re.fullmatch(r"[^@\s]+@[^@\s]+\.[a-z]+", row["email"]):
                kinds["bad_email"] += 1
            else:
                kinds["clean"] += 1
        assert before.keys() <= here.keys()
        before = here
    return kinds


def _product_kinds(tables: dict) -> Counter:
    kinds: Counter = Counter()
    for product in tables["products"]:
        if isinstance(product["price"]["amount"], str):
            kinds["price_text"] += 1
        elif product.get("category") is None:
            kinds["missing_category"] += 1
        else:
            kinds["clean"] += 1
    return kinds


def _order_kinds(tables: dict) -> Counter:
    customers = {row["customer_id"] for _, row in tables["customers"]}
    history: dict = {}
    seen = set()
    first = []
    kinds: Counter = Counter()
    for file, event in tables["orders"]:
        if event["event_id"] in seen:
            kinds["repeat"] += 1
            continue
        seen.add(event["event_id"])
        first.append((file, event))
        order = (event["after"] or event["before"])["order_id"]
        history.setdefault(order, []).append((event["sequence"], file, event["op"]))
    for events in history.values():
        events.sort()
    for file, event in first:
        after = event["after"]
        later = [
            entry for entry in history[(after or event["before"])["order_id"]] if entry[0] > event["sequence"]
        ]
        if after and after["customer_id"] not in customers:
            kinds["unknown_customer"] += 1
        elif after and any(line["unit_price_cents"] <= 0 for line in after["lines"]):
            kinds["negative_price"] += 1
        elif after and any(line["quantity"] is None for line in after["lines"]):
            kinds["missing_quantity"] += 1
        elif any(arrived < file for _, arrived, _ in later):
            kinds["stale_after_delete" if later[0][2] == "d" else "stale"] += 1
        elif after and after["total_cents"] is None:
            kinds["missing_total"] += 1
        elif after and after["status"] not in {"placed", "packed", "delivered", "cancelled", "returned"}:
            kinds["status_spelling"] += 1
        else:
            kinds["clean"] += 1
    return kinds


WEB_FIELDS = {
    "event_id", "event_time", "received_at", "session_id", "customer_id",
    "device_id", "type", "product_id", "url", "order_id",
}  # fmt: skip


def _web_event_kinds(tables: dict) -> Counter:
    products = {product["product_id"] for product in tables["products"]}
    kinds: Counter = Counter()
    seen = set()
    for _, event in tables["web_events"]:
        if event is None:
            kinds["broken_line"] += 1
        elif event["event_id"] in seen:
            kinds["repeat"] += 1
        else:
            seen.add(event["event_id"])
            kinds[_web_event_kind(event, products)] += 1
    return kinds


def _web_event_kind(event: dict, products: set) -> str:
    if _stamp(event["received_at"]) - _stamp(event["event_time"]) > timedelta(hours=24):
        return "late"
    if event["type"] is None:
        return "missing_type"
    if event["product_id"] is not None and event["product_id"] not in products:
        return "unknown_product"
    return "unknown_field" if event.keys() - WEB_FIELDS else "clean"


def _payment_kinds(tables: dict) -> Counter:
    kinds: Counter = Counter()
    seen = set()
    for _, payment in tables["payments"]:
        if payment["payment_id"] in seen:
            kinds["repeat"] += 1
        elif payment["amount_cents"] <= 0:
            kinds["negative_amount"] += 1
        elif payment["currency"] is None:
            kinds["missing_currency"] += 1
        else:
            kinds["clean"] += 1
        seen.add(payment["payment_id"])
    return kinds


def _chargeback_kinds(tables: dict) -> Counter:
    payments = {payment["payment_id"] for _, payment in tables["payments"]}
    kinds: Counter = Counter()
    seen = set()
    for _, row in tables["chargebacks"]:
        if row["chargeback_id"] in seen:
            kinds["repeat"] += 1
        else:
            kinds["clean" if row["payment_id"] in payments else "unknown_payment"] += 1
        seen.add(row["chargeback_id"])
    return kinds


def _telemetry_kinds(tables: dict) -> Counter:
    kinds: Counter = Counter()
    unique = []
    for row in tables["telemetry"]:
        if unique and row == unique[-1]:
            kinds["repeat"] += 1
        else:
            unique.append(row)
    for _, run in groupby(unique, key=lambda row: (row["locker_id"], row["temperature"], row["humidity"])):
        rows = list(run)
        if len(rows) >= 6:
            kinds["stuck"] += len(rows)
        else:
            kinds["fahrenheit" if rows[0]["temperature"] > 30 else "clean"] += len(rows)
    return kinds


def _maintenance_kinds(tables: dict) -> Counter:
    lockers = {row["locker_id"] for row in tables["telemetry"]}
    kinds: Counter = Counter()
    seen = set()
    for _, row in tables["maintenance"]:
        if row["maintenance_id"] in seen:
            kinds["repeat"] += 1
        else:
            kinds["clean" if row["locker_id"] in lockers else "unknown_locker"] += 1
        seen.add(row["maintenance_id"])
    return kinds


BOT = "(?i)bot|crawler|spider|headless"


def _touchpoint_kinds(tables: dict) -> Counter:
    kinds: Counter = Counter()
    seen = set()
    for _, touch in tables["touchpoints"]:
        if touch["touch_id"] in seen:
            kinds["repeat"] += 1
        elif re.search(BOT, touch["user_agent"]):
            kinds["bot"] += 1
        elif touch["campaign_id"] and not touch["utm_source"]:
            kinds["missing_utm"] += 1
        else:
            kinds["clean"] += 1
        seen.add(touch["touch_id"])
    return kinds


def _spend_kinds(tables: dict) -> Counter:
    kinds: Counter = Counter()
    seen = set()
    for _, row in tables["campaign_spend"]:
        key = (row["day"], row["campaign_id"])
        if key in seen:
            kinds["repeat"] += 1
        else:
            kinds["negative_spend" if int(row["spend_cents"]) < 0 else "clean"] += 1
        seen.add(key)
    return kinds


def _cdnow_kinds(tables: dict) -> Counter:
    return Counter({"clean": len(tables["cdnow"])})


RULES = {
    "customers": _customer_kinds,
    "products": _product_kinds,
    "orders": _order_kinds,
    "web_events": _web_event_kinds,
    "payments": _payment_kinds,
    "chargebacks": _chargeback_kinds,
    "telemetry": _telemetry_kinds,
    "maintenance": _maintenance_kinds,
    "touchpoints": _touchpoint_kinds,
    "campaign_spend": _spend_kinds,
    "cdnow": _cdnow_kinds,
}


@pytest.mark.parametrize("table", RULES)
def test_the_kinds_found_in_the_files_are_the_kinds_in_the_truth(table, folder, tables):
    truth = kestrel.truth(folder)["tables"][table]
    planted = {kind: entry["rows"] for kind, entry in truth["kinds"].items()}
    planted["clean"] = truth["dispositions"]["clean"]
    assert RULES[table](tables) == planted
    assert all(rows > 0 for rows in planted.values())


@pytest.mark.parametrize("table", RULES)
def test_the_six_dispositions_add_up_to_the_rows_in_the_files(table, folder, tables):
    truth = kestrel.truth(folder)["tables"][table]
    assert tuple(truth["dispositions"]) == kestrel.DISPOSITIONS
    assert sum(truth["dispositions"].values()) == truth["rows"] == len(tables[table])
    by_kind = Counter({"clean": truth["dispositions"]["clean"]})
    for entry in truth["kinds"].values():
        by_kind[entry["disposition"]] += entry["rows"]
    assert by_kind == Counter(truth["dispositions"])


def test_the_manifest_lists_every_file_with_its_rows_and_hash(folder):
    listed = {file["path"]: file for file in kestrel.manifest(folder)["files"]}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert present == listed.keys() | {kestrel.MANIFEST, kestrel.TRUTH}
    for path, file in listed.items():
        if path.endswith(".parquet"):
            table = pq.read_table(folder / path)
            assert (table.num_rows, writing.content_sha256(table)) == (file["rows"], file["content_sha256"])
        else:
            content = (folder / path).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
            headers = path.endswith((".csv", ".txt"))
            if not path.startswith("products/"):
                assert content.count(b"\n") - headers == file["rows"]
    content = (folder / kestrel.TRUTH).read_bytes()
    assert hashlib.sha256(content).hexdigest() == kestrel.manifest(folder)["truth_sha256"]


def test_the_bytes_are_the_pinned_ones(folder):
    assert hashlib.sha256((folder / kestrel.MANIFEST).read_bytes()).hexdigest() == MANIFEST_SHA256


# Personal data in the tickets ---------------------------------------------------------------------

CARD = r"(?<!\d)(?:\d[ -]?){14}\d(?:[ -]?\d)?(?!\d)"
IBAN = r"\b(?:DE|AT|NL)\d{2}(?:[ -]?[A-Z0-9]{1,4})+"
EMAIL = r"[\w.]+@\w+(?:\.\w+)+"
PHONE = r"(?:(?:\+|00)(?:49|33|44|46) ?|\(?0)(?:30|40|221|1|6|20|7700|8)\)?[ /]?\d[\d -]+\d"
# The ranges that are kept for fiction, without country code
FICTION = (
    r"(30 23125 \d{3}|40 66969 \d{3}|221 4710 \d{3}|1 9900 \d{4}|6 3998 \d{4}"
    r"|20 79460 \d{3}|7700 900 \d{3}|8 465004 \d{2})$"
).replace(" ", "")
NAME = r"(?:Kind regards|Viele Grüße), |Complaint of |Beschwerde von |Deliver to: |Spoke with "


def _luhn(number: str) -> bool:
    """Luhn's check as a table, not as the generator computes it."""
    twice = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    digits = [int(digit) for digit in number if digit.isdigit()][::-1]
    return (sum(digits[::2]) + sum(twice[digit] for digit in digits[1::2])) % 10 == 0


def _mod_97(code: str) -> bool:
    plain = re.sub("[ -]", "", code)
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def _texts(value, path: str = ""):
    """Yield path and text of each value of a ticket."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, f"{path}.{name}".strip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, f"{path}[]")
    elif isinstance(value, str):
        yield path, value


def _kinds_in(path: str, text: str) -> list[str]:
    """Return the kinds of personal data in a text, found by their form."""
    plain = unquote(unquote(text)).replace(" (at) ", "@")
    cards = [number for number in re.findall(CARD, text) if re.match(r"4000.?00|5555.?55|3782.?82", number)]
    phones = [number for number in re.findall(PHONE, text) if re.search(FICTION, re.sub(r"\D", "", number))]
    found = ["email"] * len(re.findall(EMAIL, plain)) + ["phone"] * len(phones)
    found += ["card"] * sum(map(_luhn, cards)) + ["iban"] * sum(map(_mod_97, re.findall(IBAN, text)))
    found += ["address"] * len(re.findall(r" \d{1,2}, \d{5} ", text))
    found += ["name"] * (len(re.findall(NAME, text)) + (path == "contact.name"))
    return sorted(found)


@pytest.fixture(scope="session")
def tickets(folder: Path) -> dict[str, dict]:
    """The tickets by their ids; a broken line is closed by hand."""
    found = {}
    for path in _files(folder, "support/*.jsonl"):
        for number, line in enumerate(_lines(path), start=1):
            ends = ("", "]}", '"]}')
            (ticket,) = [one for one in (_parsed(line + end) for end in ends) if one]
            found[ticket["ticket_id"]] = ticket
            ticket["place"] = f"support/{path.name}:{number}" if _parsed(line) is None else ""
    return found


def test_the_personal_data_found_in_the_tickets_are_those_in_the_truth(folder, tickets):
    truth = kestrel.truth(folder)["support"]
    found = {}
    for name, ticket in tickets.items():
        kinds = {path: kinds for path, text in _texts(ticket) if (kinds := _kinds_in(path, text))}
        if ticket["place"]:
            kinds = {"_corrupt_record": sorted(kind for each in kinds.values() for kind in each)}
        found[name] = kinds
    told = {
        name: {path: sorted(kinds) for path, kinds in paths.items()}
        for name, paths in truth["personal"].items()
    }
    assert found == told
    assert {name: ticket["place"] for name, ticket in tickets.items() if ticket["place"]} == truth["broken"]
    counted = Counter(kind for paths in found.values() for kinds in paths.values() for kind in kinds)
    assert counted == truth["counts"] and all(truth["counts"].values())
    assert sum("extra" in ticket for ticket in tickets.values()) == truth["unknown_field"] > 0
    assert len(tickets) == truth["rows"]


def test_look_alikes_are_none(folder, tickets):
    told = kestrel.truth(folder)["support"]["look_alike_counts"]
    text = "\n".join(text for ticket in tickets.values() for _, text in _texts(ticket))
    orders, chances = re.findall(r"\b2025\d{12}\b", text), re.findall(r"\b9\d{15}\b", text)
    assert not any(map(_luhn, orders)) and all(map(_luhn, chances))
    hosts = re.findall(r"\w+@[\w-]+(?![\w.-]*\.\w)", re.sub(EMAIL, "", text))
    found = {
        "order_number": len(orders),
        "luhn_by_chance": len(chances),
        "iban_like": sum(not _mod_97(code) for code in re.findall(IBAN, text)),
        "tracking": len(re.findall(r"\b00\d{18}\b", text)),
        "product_number": len(re.findall(r"\b2\d{12}\b|\b0000-\d{6}\b", text)),
        "user_at_host": len(hosts),
        "handle": len(re.findall(r"(?<!\S)@kestrel", text)),
        "date": len(re.findall(r"\d\d[./]\d\d[./]2025|2025-\d\d-\d\d 12:30", text)),
    }
    assert found == told and all(found.values())


def test_nobody_in_the_tickets_can_be_reached(tickets):
    text = "\n".join(text for ticket in tickets.values() for _, text in _texts(ticket))
    text = unquote(unquote(text)).replace(" (at) ", "@")
    assert {mail.split("@")[1] for mail in re.findall(EMAIL, text)} == {
        "example.com", "example.org", "example.net", "guest.example", "post.example",
    }  # fmt: skip
    assert {re.sub("[ -]", "", code)[4:8] for code in re.findall(IBAN, text)} == {"0000", "XXXX"}


def test_tickets_refer_to_customers_and_orders(folder, tables, tickets):
    customers = {row["customer_id"]: row for _, row in tables["customers"]}
    orders = {
        event["after"]["order_id"]: event["after"]["customer_id"]
        for _, event in tables["orders"]
        if event["after"]
    }
    truth = kestrel.truth(folder)["support"]
    for name, ticket in tickets.items():
        who = ticket["customer_id"]
        assert who is None or orders[ticket["order_id"]] == who
        mail = ticket["contact"]["reply_to"]
        about = truth["persons"].get(name, [who] if who else [])
        known = {customers[one]["email"] for one in about}
        known |= {
            truth["second_addresses"][one]["email"] for one in about if one in truth["second_addresses"]
        }
        if mail and about and not any(row.count("@") != 1 or " " in row or row[-1] == "@" for row in known):
            assert mail in known
    seconds = {entry["email"] for entry in truth["second_addresses"].values()}
    assert seconds and not seconds & {row["email"] for row in customers.values()}
    assert any(len(about) == 2 for about in truth["persons"].values())


# Parcel scans -------------------------------------------------------------------------------------

SCAN_TYPES = ["accepted", "received", "sorted", "loaded", "delivered", "collected"]


@pytest.fixture(scope="session")
def scans(folder: Path) -> list[dict]:
    """All scans, in the order in which they arrive."""
    return [
        row for path in _files(folder, "parcel_scans/*.parquet") for row in pq.read_table(path).to_pylist()
    ]


def test_scans_are_in_the_file_of_their_day_in_the_order_of_time(folder, scans):
    files = _files(folder, "parcel_scans/*.parquet")
    assert len(files) == 182
    for path in files:
        days = {f"{row['scanned_at']:%Y-%m-%d}" for row in pq.read_table(path).to_pylist()}
        assert days == {path.stem.removeprefix("scans_")}
    moments = [row["scanned_at"] for row in scans]
    assert moments == sorted(moments)
    assert [row["scan_id"] for row in scans] == list(range(1, len(scans) + 1))


def test_scans_refer_to_orders_customers_and_stations(folder, tables, scans):
    orders = {event["after"]["order_id"]: event["after"] for _, event in tables["orders"] if event["after"]}
    deleted = {event["before"]["order_id"] for _, event in tables["orders"] if not event["after"]}
    delivered = {
        event["after"]["order_id"]: event["committed_at"]
        for _, event in tables["orders"]
        if event["after"] and event["after"]["status"].strip().lower() == "delivered"
    }
    stations = {row["station_id"]: row for _, row in _csv_rows("parcel_stations/*.csv")(folder)}
    assert len(stations) == 41 and Counter(row["kind"] for row in stations.values())["hub"] == 1
    for row in scans:
        assert orders[row["order_id"]]["customer_id"] == f"C{row['customer_id']:06d}"
        assert row["order_id"] not in deleted and row["station_id"] in stations
        if row["scan_type"] == "delivered":
            assert row["scanned_at"] == _stamp(delivered[row["order_id"]])
        elif row["scan_type"] == "collected":
            assert orders[row["order_id"]]["locker_id"]
    assert len({row["customer_id"] for row in scans}) > 0.7 * len(
        {row["customer_id"] for _, row in tables["customers"]} - {""}
    )


def test_a_parcel_is_scanned_in_the_order_of_the_types(scans):
    parcels: dict = {}
    for row in scans:
        parcels.setdefault(row["parcel_id"], []).append(row)
    for way in parcels.values():
        types = [row["scan_type"] for row in way]
        assert types == SCAN_TYPES[: len(types)]
        assert len({(row["order_id"], row["customer_id"], row["weight_g"]) for row in way}) == 1
        assert 0 < way[0]["weight_g"] <= 30_000
    assert len({way[0]["order_id"] for way in parcels.values()}) == len(parcels)


def test_one_station_is_the_hot_key_of_the_truth(folder, scans):
    truth = kestrel.truth(folder)["parcel_scans"]
    counted = Counter(row["station_id"] for row in scans)
    (hub, most), (_, next_most) = counted.most_common(2)
    assert truth == {
        "rows": len(scans),
        "parcels": len({row["parcel_id"] for row in scans}),
        "hub": hub,
        "hub_rows": most,
        "hub_share": round(most / len(scans), 3),
    }
    assert 0.38 < truth["hub_share"] < 0.43 and next_most < 0.1 * most
    (kind,) = [
        row["kind"] for _, row in _csv_rows("parcel_stations/*.csv")(folder) if row["station_id"] == hub
    ]
    assert kind == "hub"
    noted = sum(row["note"] is not None for row in scans)
    assert 0.01 < noted / len(scans) < 0.03


# What else the data promises ------------------------------------------------------------------


def test_references_hold_except_where_planted(tables):
    customers = {row["customer_id"] for _, row in tables["customers"]}
    products = {row["product_id"] for row in tables["products"]}
    lockers = {row["locker_id"] for row in tables["telemetry"]}
    campaigns = {row["campaign_id"] for _, row in tables["campaign_spend"]}
    orders = {}
    for _, event in tables["orders"]:
        if (after := event["after"]) and after["customer_id"] in customers:
            orders[after["order_id"]] = after["customer_id"]
            assert {line["product_id"] for line in after["lines"]} <= products
            assert after["locker_id"] is None or after["locker_id"] in lockers
    for _, payment in tables["payments"]:
        assert orders[payment["order_id"]] == payment["customer_id"]
    for _, event in tables["web_events"]:
        if event and event["type"] == "purchase":
            assert orders[event["order_id"]] == event["customer_id"]
        if event and event["customer_id"]:
            assert event["customer_id"] in customers
    for _, touch in tables["touchpoints"]:
        assert not touch["customer_id"] or touch["customer_id"] in customers
        assert not touch["campaign_id"] or touch["campaign_id"] in campaigns


def test_order_totals_are_the_sum_of_their_lines(tables):
    sums = [
        (after["total_cents"], sum(line["quantity"] * line["unit_price_cents"] for line in after["lines"]))
        for _, event in tables["orders"]
        if (after := event["after"])
        and after["total_cents"] is not None
        and all(line["quantity"] is not None and line["unit_price_cents"] > 0 for line in after["lines"])
    ]
    assert len(sums) > 10_000
    assert all(total == lines for total, lines in sums)


def test_the_order_source_changes_half_way(tables):
    first_file = {True: None, False: None}
    for file, event in tables["orders"]:
        wide = event["sequence"] > 2**31
        if first_file[wide] is None:
            first_file[wide] = file
        if event["after"] and "delivery_slot" in event["after"]:
            assert wide
    # 2025-W40 is the fourteenth file.
    assert first_file == {False: 0, True: 13}
    committed = sorted({(event["sequence"], event["committed_at"]) for _, event in tables["orders"]})
    assert [at for _, at in committed] == sorted(at for _, at in committed)


def test_files_hold_what_arrived_in_their_period(folder, tables):
    for path in _files(folder, "web_events/*/*.jsonl"):
        half = f"{path.parent.name}T{'0' if path.stem.endswith('00') else '1'}"
        received = [event["received_at"] for line in _lines(path) if (event := _parsed(line))]
        assert received == sorted(received)
        assert all(at[:10] == path.parent.name and (at[11:13] < "12") == (half[-1] == "0") for at in received)
    for path in _files(folder, "payments/*.jsonl"):
        year, week, _ = datetime.fromtimestamp(path.stat().st_mtime - 1, UTC).isocalendar()
        assert path.stem == f"payments_{year}-W{week:02d}"
    for path in _files(folder, "marketing/touchpoints/*.csv"):
        assert {line.split(",")[3][:7] for line in _lines(path)[1:]} == {path.stem[-7:]}
    touched = [touch["touched_at"] for _, touch in tables["touchpoints"]]
    assert touched == sorted(touched)


def test_every_customer_file_has_accents_and_one_is_latin_1(folder):
    latin_1 = kestrel.truth(folder)["files"]["latin_1"]
    assert latin_1 == ["customers/customers_2025-09-01.csv"]
    for path in _files(folder, "customers/*.csv"):
        encoding = "latin-1" if path.relative_to(folder).as_posix() in latin_1 else "utf-8"
        text = path.read_bytes().decode(encoding)
        assert "Müller" in text and "José" in text
        if encoding == "latin-1":
            assert "�" in path.read_bytes().decode("utf-8", errors="replace")


def test_customers_change_and_people_leave(tables):
    cities: dict = {}
    for _, row in tables["customers"]:
        cities.setdefault(row["customer_id"], set()).add(row["city"])
    assert sum(len(seen) > 1 for seen in cities.values()) > 20
    last_order: dict = {}
    for _, event in tables["orders"]:
        if event["after"]:
            who, at = event["after"]["customer_id"], event["after"]["ordered_at"][:10]
            last_order[who] = max(last_order.get(who, ""), at)
    silent = sum(at < "2025-10-01" for at in last_order.values())
    assert 0.1 < silent / len(last_order) < 0.6


def test_fraud_is_there_and_cannot_be_told_by_one_sign(folder, tables):
    fraud = kestrel.truth(folder)["fraud"]
    payments = {payment["payment_id"]: payment for _, payment in tables["payments"]}
    ringed = set()
    for ring in fraud["rings"]:
        paid = [payments[name] for name in ring["payment_ids"]]
        ringed |= {payment["device_id"] for payment in paid}
        assert {payment["customer_id"] for payment in paid} <= set(ring["customer_ids"])
        assert len({payment["card_id"] for payment in paid}) <= 4 < len(ring["customer_ids"])
    for burst in fraud["card_testing"]:
        paid = [payments[name] for name in burst["payment_ids"]]
        assert len({payment["device_id"] for payment in paid}) == 1
        assert len({payment["card_id"] for payment in paid}) == len(paid) >= 12
        assert max(payment["amount_cents"] for payment in paid) < 200
    far = {"Reykjavík", "New York", "Toronto", "São Paulo", "Dubai", "Singapore", "Sydney", "Tokyo"}
    assert {payments[name]["city"] for name in fraud["impossible_travel"]} <= far
    known = {name for ring in fraud["rings"] for name in ring["payment_ids"]}
    known |= {name for burst in fraud["card_testing"] for name in burst["payment_ids"]}
    known |= set(fraud["impossible_travel"])
    honest = [payment for name, payment in payments.items() if name not in known]
    users: dict = {}
    for payment in honest:
        users.setdefault(payment["device_id"], set()).add(payment["customer_id"])
    assert sum(len(seen) > 1 for seen in users.values()) > 20
    assert sum(payment["city"] in far for payment in honest) > 20
    charged_back = {row["payment_id"] for _, row in tables["chargebacks"]}
    assert charged_back & known and charged_back - known and known - charged_back


def test_lockers_run_hot_before_they_fail(folder, tables):
    failures = kestrel.truth(folder)["lockers"]["failures"]
    assert failures
    current: dict = {}
    for row in tables["telemetry"]:
        current.setdefault(row["locker_id"], []).append((row["measured_at"], row["compressor_a"]))
    for failure in failures:
        failed = _stamp(failure["failed_at"])
        readings = current[failure["locker_id"]]
        worn = [amps for at, amps in readings if timedelta() < failed - at < timedelta(days=2)]
        fresh = [amps for at, amps in readings if timedelta(days=22) < failed - at < timedelta(days=26)]
        assert min(worn) > max(fresh) - 0.1
        silence = [at for at, _ in readings if timedelta() <= at - failed < timedelta(hours=7)]
        assert not silence


def test_missing_readings_are_counted(folder, tables):
    read = Counter(row["locker_id"] for row in tables["telemetry"])
    repeats = kestrel.truth(folder)["tables"]["telemetry"]["kinds"]["repeat"]["rows"]
    expected = len(read) * 182 * 12
    assert expected - (read.total() - repeats) == kestrel.truth(folder)["lockers"]["missing_readings"]


def test_journeys_follow_the_chain_of_the_settings(tables):
    chain = settings.load().marketing.chain
    journeys: dict = {}
    seen = set()
    for _, touch in tables["touchpoints"]:
        if touch["touch_id"] not in seen and not re.search(BOT, touch["user_agent"]):
            journeys.setdefault(touch["visitor_id"], []).append(touch)
        seen.add(touch["touch_id"])
    steps: Counter = Counter()
    for touches in journeys.values():
        path = ["start", *(touch["channel"] for touch in touches)]
        path.append("conversion" if touches[-1]["converted"] == "1" else "leave")
        steps.update(pairwise(path))
    for state, row in chain.items():
        total = sum(count for (source, _), count in steps.items() if source == state)
        assert total > 300
        for target, share in row.items():
            assert steps[state, target] / total == pytest.approx(share / 1e6, abs=0.07)


def test_cdnow_is_the_published_file(tables):
    assert len(tables["cdnow"]) == 69_659
    assert len({row[0] for row in tables["cdnow"]}) == 23_570


def test_the_dictionary_has_every_planted_kind_with_its_disposition():
    text = (settings.default_file().parent / "README.md").read_text(encoding="utf-8")
    values = settings.load()
    for table in RULES:
        section = text.split(f"\n## {table}\n")[1].split("\n## ")[0]
        rows = re.findall(r"^\| (\w+) \| (\w+) \|", section, re.MULTILINE)
        for kind, defect in values.planted(table).items():
            assert (kind, defect.disposition) in rows


def test_cdnow_is_documented_by_its_hashes():
    folder = cdnow.master().parent
    text = (folder / "README.md").read_text(encoding="utf-8")
    for file in sorted(folder.glob("*.txt")):
        content = file.read_bytes()
        assert f"| `{file.name}` | {len(content):,} | `{hashlib.sha256(content).hexdigest()}` |" in text


def test_a_cdnow_file_with_other_line_ends_is_refused(tmp_path, monkeypatch):
    changed = tmp_path / "CDNOW_master.txt"
    changed.write_bytes(cdnow.master().read_bytes().replace(b"\r\n", b"\n"))
    for file in (changed, tmp_path / "none.txt"):
        monkeypatch.setattr(cdnow, "master", lambda file=file: file)
        with pytest.raises(kestrel.Refused, match="git restore datasets/cdnow"):
            kestrel.generate(tmp_path / "landing", SMALLEST)


# Settings --------------------------------------------------------------------------------------

BAD_LINES = {
    "not TOML": ("orders = 40000", "orders = ", None, "is not valid TOML"),
    "unknown key": ("trip = 0.3", "tripp = 0.3", "customers.tripp", "did you mean trip?"),
    "a rate above 1": ("to_locker = 0.45", "to_locker = 45", "orders.to_locker", "a number from 0 to 1"),
    "a rate that is text": ("logged_in = 0.55", 'logged_in = "0.55"', "web_events.logged_in", "'0.55'"),
    "not a whole number": ("customers = 5000", "customers = 5000.5", "shop.customers", "from 100 to 8000"),
    "a short list": ("channel = [52, 40, 8]", "channel = [52, 40]", "orders.channel", "a list of 3 numbers"),
    "all weights 0": ("loyalty = [45, 35, 20]", "loyalty = [0, 0, 0]", "customers.loyalty", "above 0"),
    "a disposition that is none": (
        'late = { rate = 0.012, disposition = "late" }',
        'late = { rate = 0.012, disposition = "dropped" }',
        "web_events.planted.late.disposition",
        "repaired, duplicate, superseded, late, quarantined",
    ),
    "a defect that is clean": (
        'bot = { rate = 0.004, disposition = "quarantined" }',
        'bot = { rate = 0.004, disposition = "clean" }',
        "touchpoints.planted.bot.disposition",
        "'clean' is not one of",
    ),
    "a defect's rate": (
        'stuck = { rate = 0.03, disposition = "quarantined" }',
        'stuck = { rate = -1, disposition = "quarantined" }',
        "telemetry.planted.stuck.rate",
        "-1 is not a number from 0 to 1",
    ),
    "a missing disposition": (
        'broken_line = { rate = 0.002, disposition = "quarantined" }',
        "broken_line = { rate = 0.002 }",
        "web_events.planted.broken_line",
        "the key disposition is missing",
    ),
    "a chain that leaks": ("direct = 0.08 }", "direct = 0.18 }", "marketing.chain.start", "adds up to 1.1"),
    "shares that do not add up": ("cancelled = 0.075", "cancelled = 0.175", "orders", "must add up to 1"),
    "a section that is a value": (
        "[lockers]",
        "lockers = 3\n[x]",
        "x",
        "there is no such key. The keys here are",
    ),
}


@pytest.mark.parametrize(("line", "bad", "key", "problem"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_named(tmp_path, line, bad, key, problem):
    text = settings.default_file().read_text(encoding="utf-8")
    assert text.count(line) == 1
    file = tmp_path / "sources.toml"
    file.write_text(text.replace(line, bad), encoding="utf-8")
    with pytest.raises(kestrel.Refused) as raised:
        kestrel.generate(tmp_path / "landing", SMALLEST, settings=file)
    message = str(raised.value)
    number = text[: text.index(line)].count("\n") + 1
    assert str(file) in message and problem in message
    if key is None:
        assert f"line {number}" in message
    elif key == "orders":
        assert f"line {text[: text.index('[orders]')].count(chr(10)) + 1}, orders:" in message
    elif key == "x":
        assert f"line {number + 1}, x:" in message
    else:
        assert f"line {number}, {key}:" in message
    assert [path.name for path in tmp_path.iterdir()] == ["sources.toml"]


def test_a_missing_section_is_named(tmp_path):
    text = settings.default_file().read_text(encoding="utf-8")
    file = tmp_path / "sources.toml"
    file.write_text(text.replace("[season]", "[seasons]"), encoding="utf-8")
    with pytest.raises(kestrel.Refused, match=r"seasons: there is no such key; did you mean season\?"):
        settings.load(file)
    file.write_bytes(text.encode("utf-16"))
    with pytest.raises(kestrel.Refused, match="Save it as UTF-8"):
        settings.load(file)
    with pytest.raises(kestrel.Refused, match="cannot be read"):
        settings.load(tmp_path / "none.toml")


def test_a_rate_in_the_settings_reaches_the_data(tmp_path):
    text = settings.default_file().read_text(encoding="utf-8")
    file = tmp_path / "sources.toml"
    line = 'broken_line = { rate = 0.002, disposition = "quarantined" }'
    file.write_text(text.replace(line, line.replace("0.002", "0")), encoding="utf-8")
    kestrel.generate(tmp_path / "landing", SMALLEST, settings=file)
    kinds = _web_event_kinds(
        {name: READERS[name](tmp_path / "landing") for name in ("products", "web_events")}
    )
    assert kinds["broken_line"] == 0
    assert kinds["repeat"] > 0


@pytest.mark.parametrize("scale", [0, 0.019, 101, float("nan")])
def test_a_scale_out_of_range_is_refused(tmp_path, scale):
    with pytest.raises(kestrel.Refused, match=r"Choose one from 0\.02 to 100"):
        kestrel.generate(tmp_path / "landing", scale)


# Writing whole or not at all ---------------------------------------------------------------------

GENERATE = """
import sys
from pathlib import Path
import kestrel
kestrel.generate(Path(sys.argv[1]), float(sys.argv[2]))
"""


def _snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_bytes_do_not_depend_on_time_zone_language_or_hash_seed(tmp_path, small):
    there = tmp_path / "Kurs für Anfänger" / "landing"
    there.parent.mkdir()
    odd = {"TZ": "Asia/Kolkata", "LANG": "C", "LC_ALL": "C", "PYTHONHASHSEED": "7", "PYTHONUTF8": "0"}
    run = [sys.executable, "-c", GENERATE, str(there), str(SMALLEST)]
    subprocess.run(run, check=True, env=os.environ | odd)
    assert (there / kestrel.MANIFEST).read_bytes() == (small / kestrel.MANIFEST).read_bytes()
    for file in kestrel.manifest(small)["files"]:
        if "bytes" in file:
            assert (there / file["path"]).read_bytes() == (small / file["path"]).read_bytes()


@pytest.mark.parametrize("old_one", [False, True], ids=["nothing before", "a landing before"])
def test_a_kill_half_way_leaves_the_old_folder_or_none(tmp_path, small, old_one):
    target = tmp_path / "landing"
    if old_one:
        shutil.copytree(small, target)
    before = _snapshot(target)
    run = subprocess.Popen([sys.executable, "-c", GENERATE, str(target), "0.25"])
    partial = tmp_path / ".landing.partial"
    deadline = time.monotonic() + 60
    while len(list(partial.glob("*/*/*"))) < 20 and time.monotonic() < deadline:
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert partial.exists()
    assert _snapshot(target) == before
    assert kestrel.generate(target, SMALLEST) == kestrel.manifest(small)
    assert not old_one or _snapshot(target) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".landing.lock", "landing"]


def test_a_kill_between_the_two_renames_is_undone(tmp_path, small):
    old = tmp_path / ".landing.old"
    shutil.copytree(small, old)
    before = _snapshot(old)
    kestrel.generate(tmp_path / "landing", SMALLEST)
    assert _snapshot(tmp_path / "landing") == before
    assert not old.exists()


def test_a_second_run_changes_nothing(tmp_path, small):
    before = _snapshot(small)
    assert kestrel.generate(small, SMALLEST) == kestrel.manifest(small)
    assert _snapshot(small) == before


def _times(folder: Path) -> dict[str, float]:
    return {
        file["path"]: (folder / file["path"]).stat().st_mtime for file in kestrel.manifest(folder)["files"]
    }


def _copied(small: Path, tmp_path: Path) -> Path:
    """A copy as `cp -r` makes it: the bytes, and the time of now."""
    return Path(shutil.copytree(small, tmp_path / "landing", copy_function=shutil.copyfile))


@pytest.mark.parametrize("how", ["repair", "generate"])
def test_a_copy_gets_back_when_its_files_arrived(tmp_path, small, how):
    target = _copied(small, tmp_path)
    assert not _times(target).items() & _times(small).items()
    if how == "repair":
        count = len(kestrel.manifest(small)["files"])
        told = f"{count} source files had lost the time of their arrival, as copies do; they have it again."
        assert kestrel.repair(target) == [told]
    else:
        before = _snapshot(target)
        assert kestrel.generate(target, SMALLEST) == kestrel.manifest(small)
        assert _snapshot(target) == before, "no file is made again"
    assert _times(target) == _times(small)
    assert kestrel.repair(target) == []


@pytest.mark.parametrize(
    "file", ["payments/payments_2025-W30.jsonl", "lockers/telemetry/2025-08/LK008.parquet"]
)
@pytest.mark.parametrize("change", ["missing", "a line less", "as long as before"])
def test_source_files_that_have_changed_are_refused(tmp_path, small, file, change):
    target = Path(shutil.copytree(small, tmp_path / "landing"))
    content = (target / file).read_bytes()
    (target / file).unlink()
    if change == "a line less":
        (target / file).write_bytes(content[: content.rindex(b"\n", 0, -1) + 1])
    elif change == "as long as before":
        (target / file).write_bytes(content.replace(b"1", b"2", 1) if file.endswith("l") else content[::-1])
    with pytest.raises(kestrel.Refused) as refused:
        kestrel.repair(target)
    assert str(refused.value) == (
        f"{target} does not hold what the generator wrote: {file} is missing or changed. "
        "Make the source files anew with `medallion data --force --scale 0.02`."
    )


def test_what_the_generator_did_not_write_is_told(tmp_path, small):
    target = Path(shutil.copytree(small, tmp_path / "landing"))
    for name in ("desktop.ini", "a.jsonl:Zone.Identifier", ".DS_Store", "_SUCCESS"):
        (target / "orders" / name).touch()
    (target / "mine").mkdir()
    (target / "mine" / "thesis.txt").touch()
    assert kestrel.repair(target) == [
        f"In {target} orders/a.jsonl:Zone.Identifier and 1 more are not from the generator. "
        "Spark reads what is there as data: move it away, unless that is meant."
    ]


def test_a_time_that_cannot_be_set_is_told(tmp_path, small, monkeypatch):
    target = _copied(small, tmp_path)

    def forbidden(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "utime", forbidden)
    with pytest.raises(kestrel.Refused, match=r"cannot be set \(Operation not permitted\)\. .* `cp -a`"):
        kestrel.repair(target)


def test_a_folder_of_an_older_generator_is_left_alone(tmp_path):
    (tmp_path / kestrel.MANIFEST).write_text('{"generator": 1, "files": [{"path": "orders/a.jsonl"}]}')
    assert kestrel.repair(tmp_path) == []
    assert kestrel.repair(tmp_path / "nothing") == []


@pytest.mark.parametrize("link", ["lake", "lake/landing"])
def test_a_link_to_a_disk_that_is_not_there_is_refused(tmp_path, link):
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "disk" / "landing")
    with pytest.raises(kestrel.Refused) as refused:
        kestrel.generate(tmp_path / "lake" / "landing", SMALLEST)
    assert str(refused.value) == (
        f"{tmp_path / link} is a link to {tmp_path / 'disk' / 'landing'}, which is not there. "
        "Mount its disk, or remove the link."
    )
    assert not (tmp_path / "disk").exists()


@pytest.mark.parametrize(
    "file", ["payments/payments_2025-W30.jsonl", "lockers/telemetry/2025-08/LK008.parquet"]
)
def test_a_damaged_file_is_made_again(tmp_path, small, file):
    target = tmp_path / "landing"
    shutil.copytree(small, target)
    content = (target / file).read_bytes()
    (target / file).write_bytes(content.replace(b"1", b"2") if file.endswith("jsonl") else b"{}\n")
    assert kestrel.generate(target, SMALLEST) == kestrel.manifest(small)
    assert _times(target) == _times(small)
    sizes = [{path: size for path, (_, size) in _snapshot(where).items()} for where in (target, small)]
    assert sizes[0] == sizes[1]


def test_a_folder_of_someone_else_is_left_alone(tmp_path):
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "thesis.txt").write_text("mine")
    with pytest.raises(kestrel.Refused, match="Move them away, or set MEDALLION_HOME"):
        kestrel.generate(tmp_path / "landing", SMALLEST)
    assert (tmp_path / "landing" / "thesis.txt").read_text() == "mine"


def test_two_runs_at_once_are_refused(tmp_path):
    with FileLock(tmp_path / ".landing.lock"), pytest.raises(kestrel.Refused, match="Another run is writing"):
        kestrel.generate(tmp_path / "landing", SMALLEST)


def test_a_disk_without_room_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**7))
    with pytest.raises(kestrel.Refused, match=r"needs 130 MB, and only 10 MB are free.*MEDALLION_HOME"):
        kestrel.generate(tmp_path / "landing", 1)
    assert [path.name for path in tmp_path.iterdir()] == [".landing.lock"]


def test_a_disk_that_fills_half_way_leaves_nothing(tmp_path, monkeypatch):
    write = writing.TextFile.write

    def full(self, lines, rows=None):
        if "web_events" in self._file.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, lines, rows)

    monkeypatch.setattr(writing.TextFile, "write", full)
    with pytest.raises(kestrel.Refused, match=r"filled the disk half-way.*MEDALLION_HOME"):
        kestrel.generate(tmp_path / "landing", SMALLEST)
    assert [path.name for path in tmp_path.iterdir()] == [".landing.lock"]


def test_the_room_that_is_asked_for_is_honest(folder):
    blocks = sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())
    assert blocks <= landing.bytes_needed(SCALE) <= 1.35 * blocks
