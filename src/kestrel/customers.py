"""Customers as full snapshots, one CSV file on the first of each month."""

import unicodedata
from collections.abc import Iterator
from datetime import date
from functools import cache

import numpy as np

from kestrel import calendar
from kestrel.draws import Draws, Flags, rows_of
from kestrel.names import CITIES, FIRST_NAMES, LAST_NAMES
from kestrel.planted import Truth
from kestrel.planting import repeated
from kestrel.settings import CLEAN, codes
from kestrel.shop import Shop, customer_id
from kestrel.writing import Landing

HEADER = "customer_id,first_name,last_name,email,city,postcode,signup_date,birth_year,marketing_consent"
# The export of this month came from a machine that still writes Latin-1.
LATIN_1_MONTH = "2025-09"

_PROVIDERS = ("example.com", "example.org", "example.net")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_KIND = codes("customers")


def write(shop: Shop, landing: Landing, truth: Truth) -> None:
    """Write the six snapshots."""
    draws = Draws(shop.seed, "customers")
    count = len(shop.people)
    odd_date = draws.chance(shop.settings.rate("customers", "date_format"), count)
    # Styles 1 and 2 are the odd ones, 0 is ISO 8601.
    date_style = np.where(odd_date, draws.whole(1, 2, count), 0)
    bad_email = draws.chance(shop.settings.rate("customers", "bad_email"), count) & ~odd_date
    latin_1 = []
    for month, name in enumerate(calendar.MONTHS):
        path = f"customers/customers_{name}-01.csv"
        encoding = "utf-8"
        if name == LATIN_1_MONTH:
            encoding = "latin-1"
            latin_1.append(path)
        lines = _snapshot(shop, truth, month, date_style, bad_email)
        landing.write(path, lines, calendar.MONTH_STARTS[month] * calendar.DAY, HEADER, encoding)
    truth.facts["files"] = {"latin_1": latin_1}


def _snapshot(
    shop: Shop, truth: Truth, month: int, date_style: np.ndarray, bad_email: Flags
) -> Iterator[str]:
    """Yield the rows of a month: everyone who signed up before its first day."""
    draws = Draws(shop.seed, "customers", month)
    known = int(np.searchsorted(shop.people.signed_up, calendar.MONTH_STARTS[month]))
    kinds = np.select(
        [_unchanged(shop, month, known), date_style[:known] > 0, bad_email[:known]],
        [_KIND["unchanged"], _KIND["date_format"], _KIND["bad_email"]],
        CLEAN,
    )
    plain = (date_style == 0)[:known] & ~bad_email[:known]
    again = set(repeated(shop.settings, "customers", draws, plain).tolist())
    without_id = (draws.chance(shop.settings.rate("customers", "missing_id"), known) & plain).tolist()
    truth.count("customers", kinds.tolist())
    truth.count("customers", [_KIND["repeat"]] * len(again))
    truth.count("customers", [_KIND["missing_id"]] * sum(without_id))
    for account, row in enumerate(_rows(shop, month, known, date_style, bad_email)):
        yield row
        if account in again:
            yield row
        if without_id[account]:
            yield row[row.index(",") :]


def _unchanged(shop: Shop, month: int, known: int) -> Flags:
    """Return who stands in the snapshot before with the same values."""
    if month == 0:
        return np.zeros(known, dtype=bool)
    people = shop.people
    same = people.signed_up[:known] < calendar.MONTH_STARTS[month - 1]
    for trait in (people.city, people.street, people.consent):
        same &= trait[month, :known] == trait[month - 1, :known]
    return same


def _rows(shop: Shop, month: int, known: int, date_style: np.ndarray, bad_email: Flags) -> Iterator[str]:
    people = shop.people
    part = slice(known)
    for account, first, last, city, street, signed_up, born, consent, style, bad in rows_of(
        range(known),
        people.first_name[part],
        people.last_name[part],
        people.city[month, part],
        people.street[month, part],
        people.signed_up[part],
        people.birth_year[part],
        people.consent[month, part],
        date_style[part],
        bad_email[part],
    ):
        yield (
            f"{customer_id(account)},{FIRST_NAMES[first]},{LAST_NAMES[last]},"
            f"{email(account, first, last, bad)},"
            f"{CITIES[city].name},{CITIES[city].postcode}{street},{_date(calendar.day(signed_up), style)},"
            f"{born},{'true' if consent else 'false'}"
        )


def email(account: int, first: int, last: int, bad: bool = False) -> str:
    """Return the address that the shop has of an account, or one that is none."""
    name = plain(f"{FIRST_NAMES[first]}.{LAST_NAMES[last]}")
    provider = _PROVIDERS[account % 3]
    if not bad:
        return f"{name}.{account % 97}@{provider}"
    return (f"{name}(at){provider}", f"{name}@", f"{name} @{provider}")[account % 3]


@cache
def plain(name: str) -> str:
    """Return a name in lower-case ASCII."""
    letters = unicodedata.normalize("NFKD", name.replace("ß", "ss").replace("Ø", "O").replace("ø", "o"))
    return letters.encode("ascii", "ignore").decode().lower()


def _date(day: date, style: int) -> str:
    # No strftime: its month names follow the locale.
    if style == 0:
        return day.isoformat()
    if style == 1:
        return f"{day.day:02d}/{day.month:02d}/{day.year}"
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
