"""Plan the fraud before anything is written: who, when, with which devices and cards.

Three schemes: rings of accounts that share devices and cards, bursts of card testing, and
stolen cards that are used far from their owner. The plan is drawn for the whole period,
because fraud is rare; orders and payments follow it.
"""

from dataclasses import dataclass

import numpy as np

from kestrel import calendar
from kestrel.draws import Draws, Numbers
from kestrel.people import LAST_SIGN_UP
from kestrel.settings import PaymentSettings

_RING_SIZE = (5, 12)
_RING_DAYS = (16, 36)


@dataclass(frozen=True)
class Rings:
    """Rings of accounts. The k-th account belongs to ring `ring[k]`, which starts on day `starts[k]`."""

    ring: Numbers
    starts: Numbers
    signed_up: Numbers


@dataclass(frozen=True)
class Plan:
    """Orders that fraudsters will place, one entry each, sorted by `at` (a stamp)."""

    at: Numbers
    account: Numbers
    ring: Numbers


def draw_rings(settings: PaymentSettings, seed: int, size: float) -> Rings:
    """Draw the rings and their accounts; `size` multiplies the number of rings."""
    draws = Draws(seed, "rings")
    rings = max(1, round(settings.rings * size))
    members = draws.whole(*_RING_SIZE, rings)
    starts = draws.whole(12, calendar.DAYS - _RING_DAYS[1], rings)
    ring = np.repeat(np.arange(rings), members)
    signed_up = np.minimum(starts[ring] - draws.whole(1, 25, len(ring)), LAST_SIGN_UP)
    return Rings(ring, starts[ring], signed_up)


def ring_orders(rings: Rings, accounts: Numbers, seed: int) -> Plan:
    """Draw the orders of all rings. `accounts[k]` is the account number of the k-th member."""
    draws = Draws(seed, "ring orders")
    orders = draws.whole(3, 9, len(accounts))
    member = np.repeat(np.arange(len(accounts)), orders)
    length = draws.whole(*_RING_DAYS, int(rings.ring.max()) + 1)[rings.ring[member]]
    days = rings.starts[member] + draws.below(length)
    at = days * calendar.DAY + draws.whole(0, calendar.DAY - 1, len(days))
    return _sorted(Plan(at, accounts[member], rings.ring[member]))


def draw_testers(settings: PaymentSettings, seed: int, size: float) -> tuple[Numbers, Numbers]:
    """Draw the bursts of card testing: the sign-up day of each account, and the stamp of its burst."""
    draws = Draws(seed, "card tests")
    bursts = max(1, round(settings.card_tests * size))
    at = draws.whole(3 * calendar.DAY, calendar.END - 1, bursts)
    signed_up = np.minimum(at // calendar.DAY - draws.whole(0, 3, bursts), LAST_SIGN_UP)
    return signed_up, at


def tester_orders(at: Numbers, accounts: Numbers) -> Plan:
    """Return one order per burst of card testing."""
    return _sorted(Plan(at, accounts, np.full(len(at), -1)))


def _sorted(plan: Plan) -> Plan:
    order = np.argsort(plan.at, kind="stable")
    return Plan(plan.at[order], plan.account[order], plan.ring[order])
