"""Read `datasets/sources.toml` and refuse what the generator could not honour.

A share in the file becomes a whole number of parts per million here, so that no decision
of the generator hangs on the last digit of a floating-point number.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ValidationError, model_validator

from kestrel.errors import Refused
from kestrel.forms import MILLION, Keys, Section, length, share, whole, wrong

# Beside the code in the repository: the settings, and the real data
DATASETS = Path(__file__).resolve().parents[2] / "datasets"
# Clean rows have no defect, so no defect can be planted as clean.
Disposition = Literal["repaired", "duplicate", "superseded", "late", "quarantined"]
DISPOSITIONS = ("clean", *get_args(Disposition))
CHANNELS = ("organic_search", "paid_search", "social", "display", "email", "affiliate", "direct")
ENDS = ("conversion", "leave")
ORDER_WAYS = ("delivered", "delivered_express", "cancelled", "returned", "deleted", "deleted_delivered")
CLEAN = 0

Share = Annotated[int, share()]
Shares = Mapping[str, int]
Weight = Annotated[int, whole(0, 1_000)]
Positive = Annotated[int, whole(1, 1_000)]


class Defect(Section):
    """One planted kind: its rate in parts per million, and the disposition its rows must get."""

    rate: Share
    disposition: Disposition


Planted = Mapping[str, Defect]


def defects(kinds: str) -> Keys:
    """One line for each planted kind: `kind = { rate = …, disposition = "…" }`."""
    return Keys(dict.fromkeys(kinds.split(), Defect))


def _row(row: Section) -> dict[str, int]:
    shares: dict[str, int] = dict(row)
    if sum(shares.values()) != MILLION:
        raise ValueError(f"the row adds up to {sum(shares.values()) / MILLION:g}, and must add up to 1")
    if ENDS[0] in shares and not any(shares[end] for end in ENDS):
        raise ValueError(f"one of {', '.join(ENDS)} must be above 0, or journeys never end")
    return shares


# A Markov chain: for each state, the chance of each next state
START = Annotated[Shares, Keys(dict.fromkeys(CHANNELS, Share), _row)]
STATE = Annotated[Shares, Keys(dict.fromkeys(CHANNELS + ENDS, Share), _row)]


class ShopSettings(Section):
    # The limits keep every id within its digits at the largest scale.
    seed: Annotated[int, whole(0, 2**63 - 1)]
    customers: Annotated[int, whole(100, 8_000)]
    orders: Annotated[int, whole(1_000, 75_000)]
    products: Annotated[int, whole(40, 900)]
    sellers: Annotated[int, whole(6, 90)]
    lockers: Annotated[int, whole(6, 90)]


class SeasonSettings(Section):
    month: Annotated[tuple[Positive, ...], length(6)]
    weekday: Annotated[tuple[Positive, ...], length(7)]
    hour: Annotated[tuple[Weight, ...], length(24)]
    hour_weekend: Annotated[tuple[Weight, ...], length(24)]


class CustomerSettings(Section):
    signed_up_before: Annotated[int, share(0.95)]
    purchase_rate: Annotated[tuple[Positive, ...], length(20)]
    loyalty: Annotated[tuple[Weight, ...], length(3)]
    leaving_per_week: Annotated[tuple[Annotated[int, share(0.5)], ...], length(3)]
    fading_days: Annotated[int, whole(0, 90)]
    household: Annotated[int, share(0.6)]
    shared_card: Share
    moves_per_month: Share
    consent_changes_per_month: Share
    trip: Share
    planted: Annotated[Planted, defects("repeat unchanged date_format bad_email missing_id")]


class ProductSettings(Section):
    planted: Annotated[Planted, defects("price_text missing_category")]


class OrderSettings(Section):
    delivered: Share
    delivered_express: Share
    cancelled: Share
    returned: Share
    deleted: Share
    deleted_delivered: Share
    channel: Annotated[tuple[Weight, ...], length(3)]
    to_locker: Share
    themed_line: Share
    discounted_line: Share
    party: Share
    planted: Annotated[
        Planted,
        defects(
            "repeat stale stale_after_delete unknown_customer negative_price missing_quantity missing_total "
            "status_spelling"
        ),
    ]

    @model_validator(mode="after")
    def _ways(self) -> "OrderSettings":
        total = sum(getattr(self, way) for way in ORDER_WAYS)
        if total != MILLION:
            raise ValueError(f"{' + '.join(ORDER_WAYS)} add up to {total / MILLION:g}, and must add up to 1")
        return self


class WebEventSettings(Section):
    tracked: Share
    browsing_per_order: Annotated[int, share(5)]
    logged_in: Share
    abandoned_checkout: Share
    utm: Share
    offline: Share
    planted: Annotated[Planted, defects("late repeat broken_line unknown_field unknown_product missing_type")]


class PaymentSettings(Section):
    declined: Share
    method: Annotated[tuple[Weight, ...], length(3)]
    odd_place: Share
    rings: Annotated[int, whole(1, 60)]
    ring_declined: Share
    card_tests: Annotated[int, whole(1, 200)]
    card_test_declined: Share
    takeovers: Annotated[int, whole(1, 1_000)]
    fraud_charged_back: Share
    friendly_charged_back: Share
    planted: Annotated[Planted, defects("repeat negative_amount missing_currency")]


class ChargebackSettings(Section):
    planted: Annotated[Planted, defects("repeat unknown_payment")]


class LockerSettings(Section):
    failure: Share
    false_alarm: Share
    gap: Annotated[int, share(0.3)]


class TelemetrySettings(Section):
    planted: Annotated[Planted, defects("fahrenheit stuck repeat")]


class MaintenanceSettings(Section):
    planted: Annotated[Planted, defects("repeat unknown_locker")]


class MarketingSettings(Section):
    journeys_per_order: Annotated[int, share(5)]
    known_visitor: Share
    chain: Annotated[Mapping[str, Shares], Keys({"start": START, **dict.fromkeys(CHANNELS, STATE)})]


class TouchpointSettings(Section):
    planted: Annotated[Planted, defects("missing_utm bot repeat")]


class SpendSettings(Section):
    planted: Annotated[Planted, defects("repeat negative_spend")]


class SupportSettings(Section):
    tickets_per_order: Share
    guest: Share
    household: Share
    second_address: Share
    contact_phone: Share
    subject_name: Share
    url_email: Share
    ref_email: Share
    attached_address: Share
    spelled_email: Share
    unknown_field: Share
    broken_line: Share
    look_alike: Share
    message: Annotated[Shares, Keys(dict.fromkeys(("email", "phone", "card", "iban", "name"), Share))]
    note: Annotated[Shares, Keys(dict.fromkeys(("card", "iban", "phone", "name"), Share))]


class ParcelScanSettings(Section):
    # One in each city at least, and ids of two digits
    depots: Annotated[int, whole(20, 98)]
    through_hub: Share
    note: Share


class Settings(Section):
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
    support: SupportSettings
    parcel_scans: ParcelScanSettings

    def planted(self, table: str) -> Planted:
        """Return what is planted in a Bronze table, by kind. Nothing is planted in `cdnow`."""
        section = getattr(self, table, None)
        return getattr(section, "planted", {})

    def rate(self, table: str, kind: str) -> int:
        """Return how often a kind of defect is planted in a Bronze table, in parts per million."""
        return self.planted(table)[kind].rate

    def sha256(self) -> str:
        """Return the hash of the values: comments and line ends do not count."""
        values = json.dumps(dict(self), default=dict, sort_keys=True)
        return hashlib.sha256(values.encode()).hexdigest()


@cache
def codes(table: str) -> Mapping[str, int]:
    """Return the code that stands for each kind planted in a Bronze table; a clean row has `CLEAN`."""
    if table not in Settings.model_fields:
        return {}
    section: Any = Settings.model_fields[table].annotation
    (planted,) = section.model_fields["planted"].metadata
    return {kind: code for code, kind in enumerate(planted.forms, start=CLEAN + 1)}


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
        return Settings.model_validate(tomllib.loads(text))
    except OSError as error:
        raise Refused(
            f"The settings {file} cannot be read ({error.strerror}). "
            "Restore the file, for instance with `git restore datasets/sources.toml`."
        ) from error
    except UnicodeDecodeError as error:
        raise Refused(f"{file} is not UTF-8 text. Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{file} is not valid TOML: {error}. Fix that line.") from error
    except ValidationError as error:
        raise Refused(f"{file}, {wrong(error, text)}. Fix that line.") from None
