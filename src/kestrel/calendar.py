"""The 26 weeks of Kestrel Market as whole numbers: days from 0 to 181, and milliseconds in UTC.

All stamps inside the generator are milliseconds since 2025-07-01T00:00Z.
"""

from datetime import date, timedelta
from typing import TypeAlias

import numpy as np

FIRST = date(2025, 7, 1)
DAYS = 182
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
END = DAYS * DAY

_EPOCH = np.datetime64(FIRST.isoformat(), "ms")
Stamps: TypeAlias = np.ndarray


def day(number: int) -> date:
    """Return the date of a day of the period."""
    return FIRST + timedelta(days=number)


def number(of: date) -> int:
    """Return the day number of a date; it is below 0 for a date before the period."""
    return (of - FIRST).days


def week(number: int) -> str:
    """Return the ISO week of a day, as in `2025-W27`."""
    iso = day(number).isocalendar()
    return f"{iso.year}-W{iso.week:02d}"


def month(number: int) -> str:
    """Return the month of a day, as in `2025-07`."""
    return f"{day(number):%Y-%m}"


def text(stamps: Stamps, unit: str = "ms") -> list[str]:
    """Return stamps as ISO 8601 text that ends in Z, to the millisecond (`ms`) or second (`s`)."""
    exact = _EPOCH + np.asarray(stamps).astype("timedelta64[ms]")
    return [f"{stamp}Z" for stamp in np.datetime_as_string(exact.astype(f"datetime64[{unit}]")).tolist()]


def datetimes(stamps: Stamps) -> np.ndarray:
    """Return stamps as NumPy `datetime64[ms]`, for Parquet."""
    return _EPOCH + np.asarray(stamps).astype("timedelta64[ms]")


def posix(stamp: int) -> int:
    """Return a stamp as whole seconds since 1970, for the time of a file."""
    return (stamp // 1000) + int(_EPOCH.astype("datetime64[s]").astype(np.int64))


WEEKS = tuple(dict.fromkeys(week(number) for number in range(DAYS)))
MONTHS = tuple(dict.fromkeys(month(number) for number in range(DAYS)))
MONTH_STARTS = tuple(number(date.fromisoformat(f"{name}-01")) for name in MONTHS)
MONTH_OF_DAY = tuple(MONTHS.index(month(number)) for number in range(DAYS))
