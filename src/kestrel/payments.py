"""Payments, one file per week, and the chargebacks that follow weeks later, one file per month."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from kestrel import calendar
from kestrel.draws import Draws, Numbers, rows_of
from kestrel.names import ALL_CITIES, CITIES
from kestrel.pending import Pending
from kestrel.planted import Truth
from kestrel.planting import plant, repeated
from kestrel.settings import CLEAN, codes
from kestrel.shop import HONEST, RING, TESTER, Day, Shop, card_id, customer_id, device_id, order_id
from kestrel.writing import Landing, Rolling

_METHODS = ("card", "wallet", "voucher")
_VOUCHER = 2
_MOST_ATTEMPTS = 30
_KIND = codes("payments")
_CHARGEBACK_KIND = codes("chargebacks")
_REASONS = ("fraud", "not_received", "not_as_described", "duplicate_charge")


@dataclass(frozen=True)
class _Payments:
    """Payments of one day, sorted by `at`. `order` is a position in the day's orders."""

    order: Numbers
    actor: Numbers
    at: Numbers
    card: Numbers
    method: Numbers
    amount: Numbers
    authorised: Numbers
    city: Numbers

    def __len__(self) -> int:
        return len(self.at)


def write(shop: Shop, landing: Landing, truth: Truth) -> None:
    """Write the payments of the period and the chargebacks that are filed in it."""
    underway, disputed = Pending("kind"), Pending("kind")
    files, filings = Rolling(landing), Rolling(landing)
    found = _Found()
    paid = filed = 0
    for day in range(calendar.DAYS):
        draws = Draws(shop.seed, "payments", day)
        orders = shop.day(day)
        payments = _payments(shop, draws, orders)
        kinds = _kinds(shop, draws, payments)
        lines = _lines(orders, payments, kinds, paid)
        underway.add(lines, due=payments.at, kind=kinds)
        again = repeated(shop.settings, "payments", draws, (kinds == CLEAN) & (payments.actor == HONEST))
        due = payments.at[again] + draws.whole(1_000, 9 * calendar.DAY, len(again))
        underway.repeat(lines, again, due, _KIND["repeat"])
        found.note(orders, payments, paid)
        filed += _dispute(shop, Draws(shop.seed, "chargebacks", day), disputed, payments, kinds, paid, filed)
        paid += len(payments)
        end = (day + 1) * calendar.DAY
        arrived, columns = underway.until(end)
        truth.count("payments", columns["kind"].tolist())
        files.write(f"payments/payments_{calendar.week(day)}.jsonl", arrived, end)
        arrived, columns = disputed.until(end)
        truth.count("chargebacks", columns["kind"].tolist())
        filings.write(f"chargebacks/chargebacks_{calendar.month(day)}.jsonl", arrived, end)
    files.close()
    filings.close()
    truth.facts["fraud"] = found.as_dict(shop)


def payment_id(number: int) -> str:
    return f"PY{number:09d}"


class _Found:
    """What fraud was written, for the truth file."""

    def __init__(self) -> None:
        self._rings: dict[int, list[str]] = defaultdict(list)
        self._tests: list[dict[str, Any]] = []
        self._takeovers: list[str] = []

    def note(self, orders: Day, payments: _Payments, paid: int) -> None:
        tests: dict[int, list[str]] = defaultdict(list)
        # A payment that is due after the period never arrives.
        for k in np.flatnonzero((payments.actor != HONEST) & (payments.at < calendar.END)).tolist():
            order, name = int(payments.order[k]), payment_id(paid + k + 1)
            match int(payments.actor[k]):
                case actor if actor == RING:
                    self._rings[int(orders.ring[order])].append(name)
                case actor if actor == TESTER:
                    tests[order].append(name)
                case _:
                    self._takeovers.append(name)
        for order, names in tests.items():
            self._tests.append(
                {"customer_id": customer_id(int(orders.customer[order])), "payment_ids": names}
            )

    def as_dict(self, shop: Shop) -> dict[str, Any]:
        members: dict[int, list[str]] = defaultdict(list)
        for account, ring in shop.ring_members.items():
            members[ring].append(customer_id(account))
        return {
            "rings": [
                {"ring": ring + 1, "customer_ids": accounts, "payment_ids": self._rings[ring]}
                for ring, accounts in sorted(members.items())
            ],
            "card_testing": self._tests,
            "impossible_travel": self._takeovers,
        }


def _payments(shop: Shop, draws: Draws, orders: Day) -> _Payments:
    """Draw the attempts to pay each order; the last one of an honest order succeeds."""
    settings = shop.settings.payments
    count = len(orders)
    attempts = np.where(draws.chance(settings.declined, count), 2, 1)
    attempts = np.where((orders.actor == RING) & draws.chance(settings.ring_declined, count), 2, attempts)
    attempts = np.where(orders.actor == TESTER, draws.whole(12, _MOST_ATTEMPTS, count), attempts)
    attempts = np.where(orders.flaw > 0, 0, attempts)
    order = np.repeat(np.arange(count), attempts)
    attempt = np.arange(len(order)) - np.repeat(np.cumsum(attempts) - attempts, attempts)
    actor = orders.actor[order]
    tests = actor == TESTER
    rows = len(order)
    # An order keeps its method over its attempts; fraud needs a card.
    method = np.where(orders.actor == HONEST, draws.pick(settings.method, count), 0)[order]
    last = attempt == attempts[order] - 1
    test_passes = ~draws.chance(settings.card_test_declined, rows)
    wait = np.where(tests, draws.whole(3_000, 45_000, rows), draws.whole(20_000, 90_000, rows))
    through = np.cumsum(wait)
    first = np.searchsorted(order, order)
    at = orders.at[order] + through - through[first] + wait[first]
    odd = draws.chance(settings.odd_place, rows) & (actor == HONEST)
    payments = _Payments(
        order=order,
        actor=actor,
        at=at,
        card=np.where(tests, shop.fresh_cards(orders.number[order], attempt), orders.card[order]),
        method=method,
        amount=np.where(tests, draws.whole(49, 199, rows), orders.total[order]),
        authorised=np.where(tests, test_passes, last),
        city=np.where(odd, draws.whole(0, len(CITIES) - 1, rows), orders.city[order]),
    )
    by_time = np.argsort(payments.at, kind="stable")
    return _Payments(**{name: column[by_time] for name, column in vars(payments).items()})


def _kinds(shop: Shop, draws: Draws, payments: _Payments) -> Numbers:
    """Plant at most one defect in each honest payment that was authorised."""
    plain = (payments.actor == HONEST) & payments.authorised
    kinds = np.full(len(payments), CLEAN)
    plant(shop.settings, "payments", draws, kinds, negative_amount=plain, missing_currency=plain)
    return kinds


def _lines(orders: Day, payments: _Payments, kinds: Numbers, paid: int) -> list[str]:
    """Return the JSON line of each payment; `paid` payments were made on earlier days."""
    shared = [
        f'"order_id":"{order_id(number)}","customer_id":"{customer_id(customer)}"'
        for number, customer in rows_of(orders.number, orders.customer)
    ]
    devices = [device_id(device) for device in orders.device.tolist()]
    amounts = np.where(kinds == _KIND["negative_amount"], -payments.amount, payments.amount)
    lines = []
    for k, (order, at, card, method, amount, authorised, city, code) in enumerate(
        rows_of(
            payments.order,
            calendar.text(payments.at),
            payments.card,
            payments.method,
            amounts,
            payments.authorised,
            payments.city,
            kinds,
        ),
        start=1,
    ):
        place = ALL_CITIES[city]
        number = "null" if method == _VOUCHER else f'"{card_id(card)}"'
        currency = "null" if code == _KIND["missing_currency"] else '"EUR"'
        lines.append(
            f'{{"payment_id":"{payment_id(paid + k)}",{shared[order]},"card_id":{number},'
            f'"device_id":"{devices[order]}","method":"{_METHODS[method]}","amount_cents":{amount},'
            f'"currency":{currency},"status":"{"authorised" if authorised else "declined"}","paid_at":"{at}",'
            f'"city":"{place.name}","lat":{place.lat},"lon":{place.lon}}}'
        )
    return lines


def _dispute(
    shop: Shop, draws: Draws, disputed: Pending, payments: _Payments, kinds: Numbers, paid: int, filed: int
) -> int:
    """File the chargebacks of a day's payments, due weeks ahead; return how many."""
    at = _charged_back(shop, draws, payments, kinds)
    due = payments.at[at] + draws.whole(10 * calendar.DAY, 55 * calendar.DAY, len(at))
    chargeback_kinds = np.full(len(at), CLEAN)
    plant(shop.settings, "chargebacks", draws, chargeback_kinds, unknown_payment=np.ones(len(at), dtype=bool))
    unknown = chargeback_kinds != CLEAN
    payment = np.where(unknown, draws.whole(900_000_000, 999_999_999, len(at)), paid + at + 1)
    honest = payments.actor[at] == HONEST
    reason = np.where(honest, draws.pick((4, 3, 2, 1), len(at)), draws.pick((9, 1, 0, 0), len(at)))
    lines = [
        f'{{"chargeback_id":"CB{filed + k:07d}","payment_id":"{payment_id(number)}",'
        f'"reason":"{_REASONS[why]}","filed_at":"{when}","amount_cents":{amount}}}'
        for k, (number, why, when, amount) in enumerate(
            rows_of(payment, reason, calendar.text(due, "s"), payments.amount[at]),
            start=1,
        )
    ]
    disputed.add(lines, due=due, kind=chargeback_kinds)
    again = repeated(shop.settings, "chargebacks", draws, ~unknown)
    later = due[again] + draws.whole(1_000, 5 * calendar.DAY, len(again))
    disputed.repeat(lines, again, later, _CHARGEBACK_KIND["repeat"])
    return len(at)


def _charged_back(shop: Shop, draws: Draws, payments: _Payments, kinds: Numbers) -> Numbers:
    """Draw the positions of the payments that are charged back: most of the fraud, and a few others."""
    settings, count = shop.settings.payments, len(payments)
    honest = payments.actor == HONEST
    noticed = draws.chance(settings.fraud_charged_back, count) & ~honest
    regretted = draws.chance(settings.friendly_charged_back, count) & honest
    possible = payments.authorised & (kinds == CLEAN) & (payments.method != _VOUCHER)
    return np.flatnonzero((noticed | regretted) & possible)
