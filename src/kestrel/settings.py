"""Read `datasets/sources.toml` and refuse what the generator could not honour.

A share in the file becomes a whole number of parts per million here, so that no decision
of the generator hangs on the last digit of a floating-point number.
"""

import dataclasses
import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from kestrel.errors import Refused

# Beside the code in the repository: the settings, and the real data
DATASETS = Path(__file__).resolve().parents[2] / "datasets"
MILLION = 1_000_000
DISPOSITIONS = ("clean", "repaired", "duplicate", "superseded", "late", "quarantined")


class _Refused(Exception):
    """What is wrong with a value, and what is allowed. `key` is set when it is further down."""

    def __init__(self, problem: str, *key: str) -> None:
        super().__init__(problem)
        self.key = key


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def read(self, value: Any) -> int:
        if type(value) is not int or not self.low <= value <= self.high:
            raise _Refused(f"{value!r} is not a whole number from {self.low} to {self.high}")
        return value


@dataclass(frozen=True)
class Rate:
    """A share from 0 to `high`, kept in parts per million."""

    high: float = 1.0

    def read(self, value: Any) -> int:
        if type(value) not in (int, float) or not 0 <= value <= self.high:
            raise _Refused(f"{value!r} is not a number from 0 to {self.high:g}")
        return round(value * MILLION)


@dataclass(frozen=True)
class Table:
    """A list of `length` entries of one form."""

    length: int
    entry: Whole | Rate

    def read(self, value: Any) -> tuple[int, ...]:
        if not isinstance(value, list) or len(value) != self.length:
            raise _Refused(f"{value!r} is not a list of {self.length} numbers")
        numbers = tuple(self.entry.read(number) for number in value)
        if not any(numbers):
            raise _Refused("at least one of the numbers must be above 0")
        return numbers


@dataclass(frozen=True)
class Defects:
    """One line for each planted kind: `kind = { rate = …, disposition = "…" }`."""

    kinds: tuple[str, ...]

    def read(self, value: Any) -> "dict[str, Defect]":
        _require_keys(value, self.kinds)
        return {kind: self._defect(kind, value[kind]) for kind in self.kinds}

    def _defect(self, kind: str, line: Any) -> "Defect":
        _require_keys(line, ("rate", "disposition"), kind)
        # Clean rows have no defect, so no defect can be planted as clean.
        if line["disposition"] not in DISPOSITIONS[1:]:
            allowed = ", ".join(DISPOSITIONS[1:])
            raise _Refused(f"{line['disposition']!r} is not one of {allowed}", kind, "disposition")
        try:
            return Defect(Rate().read(line["rate"]), line["disposition"])
        except _Refused as refused:
            raise _Refused(str(refused), kind, "rate") from None


@dataclass(frozen=True)
class Chain:
    """A Markov chain: for each state, the chance of each next state. A row adds up to 1."""

    start: str
    states: tuple[str, ...]
    ends: tuple[str, ...]

    def read(self, value: Any) -> "dict[str, dict[str, int]]":
        rows = (self.start, *self.states)
        _require_keys(value, rows)
        return {state: self._row(state, value[state]) for state in rows}

    def _row(self, state: str, line: Any) -> dict[str, int]:
        targets = self.states if state == self.start else self.states + self.ends
        _require_keys(line, targets, state)
        try:
            row = {target: Rate().read(line[target]) for target in targets}
        except _Refused as refused:
            raise _Refused(str(refused), state) from None
        if sum(row.values()) != MILLION:
            raise _Refused(f"the row adds up to {sum(row.values()) / MILLION:g}, and must add up to 1", state)
        if state != self.start and not any(row[end] for end in self.ends):
            raise _Refused(f"one of {', '.join(self.ends)} must be above 0, or journeys never end", state)
        return row


@dataclass(frozen=True)
class Defect:
    """One planted kind: its rate in parts per million, and the disposition its rows must get."""

    rate: int
    disposition: str


Planted = Mapping[str, Defect]
Share = Annotated[int, Rate()]

CHANNELS = ("organic_search", "paid_search", "social", "display", "email", "affiliate", "direct")


@dataclass(frozen=True)
class ShopSettings:
    # The limits keep every id within its digits at the largest scale.
    seed: Annotated[int, Whole(0, 2**63 - 1)]
    customers: Annotated[int, Whole(100, 8_000)]
    orders: Annotated[int, Whole(1_000, 75_000)]
    products: Annotated[int, Whole(40, 900)]
    sellers: Annotated[int, Whole(6, 90)]
    lockers: Annotated[int, Whole(6, 90)]


@dataclass(frozen=True)
class SeasonSettings:
    month: Annotated[tuple[int, ...], Table(6, Whole(1, 1_000))]
    weekday: Annotated[tuple[int, ...], Table(7, Whole(1, 1_000))]
    hour: Annotated[tuple[int, ...], Table(24, Whole(0, 1_000))]
    hour_weekend: Annotated[tuple[int, ...], Table(24, Whole(0, 1_000))]


@dataclass(frozen=True)
class CustomerSettings:
    signed_up_before: Annotated[int, Rate(0.95)]
    purchase_rate: Annotated[tuple[int, ...], Table(20, Whole(1, 1_000))]
    loyalty: Annotated[tuple[int, ...], Table(3, Whole(0, 1_000))]
    leaving_per_week: Annotated[tuple[int, ...], Table(3, Rate(0.5))]
    fading_days: Annotated[int, Whole(0, 90)]
    household: Annotated[int, Rate(0.6)]
    shared_card: Share
    moves_per_month: Share
    consent_changes_per_month: Share
    trip: Share
    planted: Annotated[Planted, Defects(("repeat", "unchanged", "date_format", "bad_email", "missing_id"))]


@dataclass(frozen=True)
class ProductSettings:
    planted: Annotated[Planted, Defects(("price_text", "missing_category"))]


@dataclass(frozen=True)
class OrderSettings:
    delivered: Share
    delivered_express: Share
    cancelled: Share
    returned: Share
    deleted: Share
    deleted_delivered: Share
    channel: Annotated[tuple[int, ...], Table(3, Whole(0, 1_000))]
    to_locker: Share
    themed_line: Share
    discounted_line: Share
    party: Share
    planted: Annotated[
        Planted,
        Defects(
            (
                "repeat",
                "stale",
                "stale_after_delete",
                "unknown_customer",
                "negative_price",
                "missing_quantity",
                "missing_total",
                "status_spelling",
            )
        ),
    ]


@dataclass(frozen=True)
class WebEventSettings:
    tracked: Share
    browsing_per_order: Annotated[int, Rate(5)]
    logged_in: Share
    abandoned_checkout: Share
    utm: Share
    offline: Share
    planted: Annotated[
        Planted,
        Defects(("late", "repeat", "broken_line", "unknown_field", "unknown_product", "missing_type")),
    ]


@dataclass(frozen=True)
class PaymentSettings:
    declined: Share
    method: Annotated[tuple[int, ...], Table(3, Whole(0, 1_000))]
    odd_place: Share
    rings: Annotated[int, Whole(1, 60)]
    ring_declined: Share
    card_tests: Annotated[int, Whole(1, 200)]
    card_test_declined: Share
    takeovers: Annotated[int, Whole(1, 1_000)]
    fraud_charged_back: Share
    friendly_charged_back: Share
    planted: Annotated[Planted, Defects(("repeat", "negative_amount", "missing_currency"))]


@dataclass(frozen=True)
class ChargebackSettings:
    planted: Annotated[Planted, Defects(("repeat", "unknown_payment"))]


@dataclass(frozen=True)
class LockerSettings:
    failure: Share
    false_alarm: Share
    gap: Annotated[int, Rate(0.3)]


@dataclass(frozen=True)
class TelemetrySettings:
    planted: Annotated[Planted, Defects(("fahrenheit", "stuck", "repeat"))]


@dataclass(frozen=True)
class MaintenanceSettings:
    planted: Annotated[Planted, Defects(("repeat", "unknown_locker"))]


@dataclass(frozen=True)
class MarketingSettings:
    journeys_per_order: Annotated[int, Rate(5)]
    known_visitor: Share
    chain: Annotated[Mapping[str, Mapping[str, int]], Chain("start", CHANNELS, ("conversion", "leave"))]


@dataclass(frozen=True)
class TouchpointSettings:
    planted: Annotated[Planted, Defects(("missing_utm", "bot", "repeat"))]


@dataclass(frozen=True)
class SpendSettings:
    planted: Annotated[Planted, Defects(("repeat", "negative_spend"))]


@dataclass(frozen=True)
class Settings:
    """All of `sources.toml`, one section per table of the file. Shares are parts per million."""

    shop: ShopSettings
    season: SeasonSettings
    customers: CustomerSettings
    products: ProductSettings
    orders: OrderSettings
    web_events: WebEventSettings
    payments: PaymentSettings
    chargebacks: ChargebackSettings
    lockers: LockerSettings
    telemetry: TelemetrySettings
    maintenance: MaintenanceSettings
    marketing: MarketingSettings
    touchpoints: TouchpointSettings
    campaign_spend: SpendSettings

    def planted(self, table: str) -> Planted:
        """Return what is planted in a Bronze table, by kind. Nothing is planted in `cdnow`."""
        section = getattr(self, table, None)
        return getattr(section, "planted", {})

    def rate(self, table: str, kind: str) -> int:
        """Return how often a kind of defect is planted in a Bronze table, in parts per million."""
        return self.planted(table)[kind].rate

    def sha256(self) -> str:
        """Return the hash of the values: comments and line ends do not count."""
        values = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(values.encode()).hexdigest()


CLEAN = 0


@cache
def codes(table: str) -> Mapping[str, int]:
    """Return the code that stands for each kind planted in a Bronze table; a clean row has `CLEAN`."""
    section = get_type_hints(Settings).get(table)
    if section is None:
        return {}
    planted = get_type_hints(section, include_extras=True)["planted"].__metadata__[0]
    return {kind: code for code, kind in enumerate(planted.kinds, start=CLEAN + 1)}


def default_file() -> Path:
    """Return the settings file of the course."""
    return DATASETS / "sources.toml"


def load(file: Path | None = None) -> Settings:
    """Read and check a settings file (the course's own when `file` is None).

    Raises Refused that names the file, the line and key, what is wrong and what is allowed.
    """
    file = file or default_file()
    try:
        text = file.read_text(encoding="utf-8")
        tree = tomllib.loads(text)
    except OSError as error:
        raise Refused(
            f"The settings {file} cannot be read ({error.strerror}). "
            "Restore the file, for instance with `git restore datasets/sources.toml`."
        ) from error
    except UnicodeDecodeError as error:
        raise Refused(f"{file} is not UTF-8 text. Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{file} is not valid TOML: {error}. Mend that line.") from error
    try:
        return _settings(tree)
    except _Refused as refused:
        line = _line_of(text, refused.key)
        raise Refused(
            f"{file}, line {line}, {'.'.join(refused.key) or 'top level'}: {refused}. Mend that line."
        ) from None


def _settings(tree: dict[str, Any]) -> Settings:
    sections = get_type_hints(Settings)
    _require_keys(tree, tuple(sections))
    settings = Settings(**{name: _section(kind, name, tree[name]) for name, kind in sections.items()})
    ways = [value for name, value in vars(settings.orders).items() if name in ORDER_WAYS]
    if sum(ways) != MILLION:
        raise _Refused(
            f"{' + '.join(ORDER_WAYS)} add up to {sum(ways) / MILLION:g}, and must add up to 1", "orders"
        )
    return settings


ORDER_WAYS = ("delivered", "delivered_express", "cancelled", "returned", "deleted", "deleted_delivered")


def _section(kind: type, name: str, values: Any) -> Any:
    rules = {key: hint.__metadata__[0] for key, hint in get_type_hints(kind, include_extras=True).items()}
    _require_keys(values, tuple(rules), name)
    read = {}
    for key, rule in rules.items():
        try:
            read[key] = rule.read(values[key])
        except _Refused as refused:
            raise _Refused(str(refused), name, key, *refused.key) from None
    return kind(**read)


def _require_keys(values: Any, keys: tuple[str, ...], *at: str) -> None:
    if not isinstance(values, dict):
        raise _Refused(f"{values!r} is not a table with the keys {', '.join(keys)}", *at)
    for key in values:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            guess = f"; did you mean {near[0]}?" if near else ""
            raise _Refused(f"there is no such key{guess} The keys here are {', '.join(keys)}", *at, key)
    for key in keys:
        if key not in values:
            raise _Refused(f"the key {key} is missing", *at)


def _line_of(text: str, key: tuple[str, ...]) -> int:
    """Return the line that holds the longest known part of a dotted key, counted from 1."""
    found, depth = 1, 0
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[([\w.]+)\]", line):
            here = table = header[1].split(".")
        elif assignment := re.match(r"\s*([\w-]+)\s*=", line):
            here = [*table, assignment[1]]
        else:
            continue
        if len(here) > depth and tuple(here) == key[: len(here)]:
            found, depth = number, len(here)
    return found
