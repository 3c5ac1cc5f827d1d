"""Readings of the refrigerated parcel lockers, one file per locker and month, and the maintenance log."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from kestrel import calendar
from kestrel.draws import Draws, Numbers, rows_of
from kestrel.planted import Truth
from kestrel.planting import plant, repeated
from kestrel.settings import CLEAN, MILLION, codes
from kestrel.shop import Shop, locker_id
from kestrel.writing import Landing

EVERY = 2 * calendar.HOUR
READINGS = calendar.END // EVERY
_A_WEEK = 84
_WEEKS = READINGS // _A_WEEK
_WEAR = 21 * 12

HEADER = "locker_id,measured_at,temperature,humidity,door_opens,battery_v,compressor_a"
SCHEMA = pa.schema(
    [
        ("locker_id", pa.string()),
        ("measured_at", pa.timestamp("us", tz="UTC")),
        ("temperature", pa.float64()),
        ("humidity", pa.float64()),
        ("door_opens", pa.int32()),
        ("battery_v", pa.float64()),
        ("compressor_a", pa.float64()),
    ]
)
_KIND = codes("telemetry")
_LOG_KIND = codes("maintenance")
_MAINTENANCE_HEADER = "maintenance_id,locker_id,at,kind,part,note"

# Hundredths of an ampere that the cooling needs on top of its base load
_MONTH_LOAD = (60, 55, 38, 22, 10, 4)
_HOUR_LOAD = (0, 0, 2, 8, 16, 26, 34, 38, 34, 24, 12, 4)
# Doors opened in two hours
_DOORS = (0, 0, 0, 1, 3, 4, 5, 5, 7, 9, 6, 2)


@dataclass(frozen=True)
class _Readings:
    """All readings of one locker, in time order: tenths of a degree and per cent, hundredths of V and A."""

    at: Numbers
    temperature: Numbers
    humidity: Numbers
    door_opens: Numbers
    battery: Numbers
    current: Numbers
    kind: Numbers


@dataclass(frozen=True)
class _Entry:
    """An entry of the maintenance log."""

    at: int
    locker: int
    kind: str
    part: str
    note: str


def write(shop: Shop, landing: Landing, truth: Truth) -> None:
    """Write telemetry and maintenance log. Two lockers in three send CSV, the others Parquet."""
    log: list[_Entry] = []
    failures: list[dict[str, str]] = []
    missing = 0
    for locker in range(shop.lockers):
        draws = Draws(shop.seed, "lockers", locker)
        failed = _failures(shop, draws)
        readings, lost = _readings(shop, draws, truth, failed)
        missing += lost
        log += _visits(draws, locker, failed)
        stamps = calendar.text(np.array(failed, dtype=np.int64) * EVERY, "s")
        failures += [{"locker_id": locker_id(locker), "failed_at": stamp} for stamp in stamps]
        _write_months(landing, locker, readings, as_csv=3 * locker < 2 * shop.lockers)
        truth.count("telemetry", readings.kind.tolist())
    _write_log(shop, landing, truth, log)
    truth.facts["lockers"] = {"failures": failures, "missing_readings": missing}


def _failures(shop: Shop, draws: Draws) -> list[int]:
    """Draw the reading at which the locker fails, at most once in each half of the period."""
    halves = ((26 * 12, 88 * 12), (112 * 12, 176 * 12))
    breaks = draws.chance(shop.settings.lockers.failure, 2).tolist()
    return [int(draws.whole(*half, 1)[0]) for half, broken in zip(halves, breaks, strict=True) if broken]


def _readings(shop: Shop, draws: Draws, truth: Truth, failed: list[int]) -> tuple[_Readings, int]:
    """Draw the readings of one locker that arrive, and count those that do not."""
    index = np.arange(READINGS)
    month = np.array(calendar.MONTH_OF_DAY)[index // 12]
    minute = int(draws.whole(0, 29, 1)[0])
    wear = _wear(failed)
    fridge = int(draws.whole(32, 48, 1)[0])
    load = np.array(_MONTH_LOAD)[month] + np.array(_HOUR_LOAD)[index % 12]
    doors = draws.below(np.array(_DOORS)[index % 12] * int(draws.whole(1, 3, 1)[0]) + 1)
    # Worn units lose the cold only in their last days; before that the current alone tells.
    warm = np.maximum(wear - 190, 0)
    temperature = np.clip(fridge + load // 8 + doors // 2 + warm + draws.whole(-4, 4, READINGS), 5, 240)
    humidity = 480 + 2 * doors + draws.whole(0, 90, READINGS)
    # Even readings have even tenths: two neighbours never agree by chance, only when a sensor is stuck.
    humidity += (humidity + index) & 1
    current = (
        180 + load + wear * wear // 500 + _false_alarm(shop, draws, failed) + draws.whole(-12, 12, READINGS)
    )
    battery = 1290 - index * int(draws.whole(10, 60, 1)[0]) // 1000 + draws.whole(-3, 3, READINGS)
    kinds, gone = _runs(shop, draws, failed, temperature, humidity)
    kept = np.flatnonzero(~gone)
    again = kept[repeated(shop.settings, "telemetry", draws, kinds[kept] == CLEAN)]
    rows = np.sort(np.concatenate([kept, again]))
    kinds = np.where(np.diff(rows, prepend=-1) == 0, _KIND["repeat"], kinds[rows])
    at = index * EVERY + minute * calendar.MINUTE
    readings = _Readings(
        at[rows], temperature[rows], humidity[rows], doors[rows], battery[rows], current[rows], kinds
    )
    return readings, int(gone.sum())


def _wear(failed: list[int]) -> Numbers:
    """Return the wear at each reading: it rises from 0 to 252 over the three weeks before a failure."""
    wear = np.zeros(READINGS, dtype=np.int64)
    for reading in failed:
        wear[reading - _WEAR : reading] = np.arange(1, _WEAR + 1)
    return wear


def _false_alarm(shop: Shop, draws: Draws, failed: list[int]) -> Numbers:
    """Draw a rise of the current that looks like wear and ends by itself."""
    extra = np.zeros(READINGS, dtype=np.int64)
    start, length = (int(draws.whole(*bounds, 1)[0]) for bounds in ((0, READINGS - 120), (36, 110)))
    near = any(reading - _WEAR <= start + length and start <= reading for reading in failed)
    if draws.chance(shop.settings.lockers.false_alarm, 1)[0] and not near:
        extra[start : start + length] = np.minimum(np.arange(length), 70)
    return extra


def _runs(
    shop: Shop, draws: Draws, failed: list[int], temperature: Numbers, humidity: Numbers
) -> tuple[Numbers, Numbers]:
    """Plant at most one run per week, in place: degrees Fahrenheit, a stuck sensor, or a gap.

    Returns the code of each reading, and which readings are missing (those after a failure too).
    """
    kinds = np.full(READINGS, CLEAN)
    gone = np.zeros(READINGS, dtype=bool)
    for reading in failed:
        gone[reading : reading + int(draws.whole(4, 12, 1)[0])] = True
    rates = [shop.settings.rate("telemetry", kind) for kind in ("fahrenheit", "stuck")]
    rates.append(shop.settings.lockers.gap)
    chosen = draws.pick((max(0, MILLION - sum(rates)), *rates), _WEEKS)
    # Odd lengths: with the parity of the humidity, the first reading after a stuck run is different.
    length = draws.whole(6, 18, _WEEKS) * 2 + 1
    start = np.arange(_WEEKS) * _A_WEEK + 1 + draws.below(_A_WEEK - 2 - length)
    for what, low, high in rows_of(chosen, start, start + length):
        run = slice(low, high)
        if gone[low - 1 : high + 1].any():
            continue
        if what == 1:
            temperature[run] = (temperature[run] * 9 + 2) // 5 + 320
            kinds[run] = _KIND["fahrenheit"]
        elif what == 2:
            temperature[run], humidity[run] = temperature[low], humidity[low]
            kinds[run] = _KIND["stuck"]
        elif what == 3:
            gone[low : low + length[low // _A_WEEK] // 2] = True
    return kinds, gone


def _write_months(landing: Landing, locker: int, readings: _Readings, as_csv: bool) -> None:
    name = locker_id(locker)
    bounds = [start * calendar.DAY for start in (*calendar.MONTH_STARTS, calendar.DAYS)]
    cuts = np.searchsorted(readings.at, bounds).tolist()
    for month, low, high, end in zip(calendar.MONTHS, cuts[:-1], cuts[1:], bounds[1:], strict=True):
        part = _Readings(**{field: column[low:high] for field, column in vars(readings).items()})
        path = f"lockers/telemetry/{month}/{name}"
        if as_csv:
            landing.write(f"{path}.csv", _csv(name, part), end, HEADER)
        else:
            landing.parquet(f"{path}.parquet", _columns(name, part), SCHEMA, end)


@cache
def _decimal(number: int, digits: int) -> str:
    return f"{number / 10**digits:.{digits}f}"


def _csv(name: str, readings: _Readings) -> list[str]:
    return [
        f"{name},{at},{_decimal(temperature, 1)},{_decimal(humidity, 1)},{doors},"
        f"{_decimal(battery, 2)},{_decimal(current, 2)}"
        for at, temperature, humidity, doors, battery, current in rows_of(
            calendar.text(readings.at, "s"),
            readings.temperature,
            readings.humidity,
            readings.door_opens,
            readings.battery,
            readings.current,
        )
    ]


def _columns(name: str, readings: _Readings) -> dict[str, pa.Array]:
    return {
        "locker_id": pa.array([name] * len(readings.at), pa.string()),
        "measured_at": pa.array(calendar.datetimes(readings.at)).cast(SCHEMA.field("measured_at").type),
        "temperature": pa.array(readings.temperature / 10),
        "humidity": pa.array(readings.humidity / 10),
        "door_opens": pa.array(readings.door_opens.astype("int32")),
        "battery_v": pa.array(readings.battery / 100),
        "compressor_a": pa.array(readings.current / 100),
    }


def _visits(draws: Draws, locker: int, failed: list[int]) -> list[_Entry]:
    """Draw the log of one locker: a repair after each failure, and routine visits."""
    entries = [
        _Entry(
            reading * EVERY + hours * calendar.HOUR,
            locker,
            "repair",
            "compressor",
            "Unit warm; compressor replaced",
        )
        for reading, hours in zip(failed, draws.whole(6, 30, len(failed)).tolist(), strict=True)
    ]
    routine = (
        ("inspection", "", "Nothing to report"),
        ("inspection", "", "Seal worn, still tight"),
        ("cleaning", "condenser", "Dust removed"),
        ("replacement", "battery", "Battery replaced, as planned"),
    )
    day = int(draws.whole(2, 40, 1)[0])
    while day < calendar.DAYS:
        kind, part, note = routine[int(draws.pick((8, 3, 4, 2), 1)[0])]
        at = day * calendar.DAY + int(draws.whole(7 * 60, 16 * 60, 1)[0]) * calendar.MINUTE
        entries.append(_Entry(at, locker, kind, part, note))
        day += int(draws.whole(25, 70, 1)[0])
    return entries


def _write_log(shop: Shop, landing: Landing, truth: Truth, log: list[_Entry]) -> None:
    draws = Draws(shop.seed, "maintenance")
    log.sort(key=lambda entry: (entry.at, entry.locker))
    kinds = np.full(len(log), CLEAN)
    plant(shop.settings, "maintenance", draws, kinds, unknown_locker=np.ones(len(log), dtype=bool))
    again = set(repeated(shop.settings, "maintenance", draws, kinds == CLEAN).tolist())
    stamps = calendar.text(np.array([entry.at for entry in log], dtype=np.int64), "s")
    lines = []
    for k, (entry, at) in enumerate(zip(log, stamps, strict=True)):
        # No locker has a number above 900.
        name = locker_id(900 + k % 99) if kinds[k] else locker_id(entry.locker)
        line = f"M{k + 1:05d},{name},{at},{entry.kind},{entry.part},{entry.note}"
        lines.append(line)
        if k in again:
            lines.append(line)
    truth.count("maintenance", kinds.tolist())
    truth.count("maintenance", [_LOG_KIND["repeat"]] * len(again))
    landing.write("lockers/maintenance/maintenance.csv", lines, calendar.END, _MAINTENANCE_HEADER)
