"""Orders as change events, one file per week of arrival: `orders/orders_2025-W27.jsonl`."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from kestrel import calendar
from kestrel.draws import Draws, Numbers, rows_of
from kestrel.pending import Pending
from kestrel.planted import Truth
from kestrel.planting import plant, repeated
from kestrel.settings import CLEAN, ORDER_WAYS, codes
from kestrel.shop import FLAWS, TESTER, Day, Shop, customer_id, locker_id, order_id, product_id
from kestrel.writing import Landing, Rolling

# From this Monday on, orders carry a delivery slot, and the shop runs on a new database
# whose sequence starts above what 32 bits can hold.
NEW_DATABASE = calendar.number(calendar.date(2025, 9, 29))
_SEQUENCE_STARTS = (1_000_000, 3_000_000_000)

_CHANNELS = ("web", "app", "store_tablet")
_SLOTS = ("08-10", "10-12", "16-18", "18-20", "20-22")
_PLACED, _PACKED, _DELIVERED, _CANCELLED, _RETURNED, _DELETED = range(6)
_STATUS = ("placed", "packed", "delivered", "cancelled", "returned")
_ODD_SPELLING = ("PLACED", "Packed", " delivered", "Cancelled", "RETURNED ")

# The steps of each way that an order can go
_WAYS = {
    "delivered": (_PLACED, _PACKED, _DELIVERED),
    "delivered_express": (_PLACED, _DELIVERED),
    "cancelled": (_PLACED, _CANCELLED),
    "returned": (_PLACED, _PACKED, _DELIVERED, _RETURNED),
    "deleted": (_PLACED, _CANCELLED, _DELETED),
    "deleted_delivered": (_PLACED, _DELIVERED, _DELETED),
}
_NO_STEP = -1
_KIND = codes("orders")
_LONGEST = max(map(len, _WAYS.values()))
_STEPS = np.array([(*_WAYS[way], *[_NO_STEP] * (_LONGEST - len(_WAYS[way]))) for way in ORDER_WAYS])

# How long after the step before, in seconds, at least and at most: in the order of the steps
_SECONDS = 3600 * np.array([(0, 0), (1, 20), (4, 60), (1, 30), (48, 300), (24, 400)])


@dataclass(frozen=True)
class _Events:
    """Change events of one day's orders. `order` is the position in the day; `before` is -1 at first."""

    order: Numbers
    step: Numbers
    before: Numbers
    committed: Numbers
    arrives: Numbers
    kind: Numbers


def write(shop: Shop, landing: Landing, truth: Truth) -> None:
    """Write all order events that arrive in the period."""
    uncommitted = Pending("arrives", "kind")
    underway = Pending("kind")
    files = Rolling(landing)
    committed = 0
    for day in range(calendar.DAYS):
        orders = shop.day(day)
        draws = Draws(shop.seed, "orders", day)
        events = _events(shop, draws, orders)
        uncommitted.add(
            _changes(draws, orders, events, day),
            due=events.committed,
            arrives=events.arrives,
            kind=events.kind,
        )
        changes, columns = uncommitted.until((day + 1) * calendar.DAY)
        lines = _numbered(changes, committed, day)
        committed += len(lines)
        underway.add(lines, due=columns["arrives"], kind=columns["kind"])
        again = repeated(shop.settings, "orders", draws, columns["kind"] == CLEAN)
        due = columns["arrives"][again] + draws.whole(calendar.MINUTE, 10 * calendar.DAY, len(again))
        underway.repeat(lines, again, due, _KIND["repeat"])
        arrived, columns = underway.until((day + 1) * calendar.DAY)
        truth.count("orders", columns["kind"].tolist())
        files.write(f"orders/orders_{calendar.week(day)}.jsonl", arrived, (day + 1) * calendar.DAY)
    files.close()


def deliveries(shop: Shop, orders: Day, day: int) -> tuple[Numbers, Numbers, Numbers]:
    """Return which orders of a day are delivered, the stamp of the step before, and that of the delivery.

    They are at least four hours apart. An order that is flawed, or later deleted, is none of them.
    """
    draws = Draws(shop.seed, "orders", day)
    step = _steps(shop, draws, orders)
    committed = _committed(draws, orders, step)
    delivered = step == _DELIVERED
    kept = delivered.any(axis=1) & ~(step == _DELETED).any(axis=1) & (orders.flaw == 0)
    which = np.flatnonzero(kept)
    place = delivered[which].argmax(axis=1)
    return which, committed[which, place - 1], committed[which, place]


def _numbered(changes: list[str], committed: int, day: int) -> list[str]:
    """Give each committed change its event id and its place in the source's sequence."""
    start = _SEQUENCE_STARTS[day >= NEW_DATABASE]
    return [
        f'{{"event_id":"E{number:09d}","sequence":{start + 2 * number},{change}'
        for number, change in enumerate(changes, start=committed + 1)
    ]


def _events(shop: Shop, draws: Draws, orders: Day) -> _Events:
    """Draw the way of each order, and flatten it to events in the order of their commit."""
    step = _steps(shop, draws, orders)
    committed = _committed(draws, orders, step)
    arrives = committed.copy()
    flaw_kinds = np.array([CLEAN, *(_KIND[name] for name in FLAWS[1:])])
    kinds = np.repeat(flaw_kinds[orders.flaw][:, None], _LONGEST, axis=1)
    _delay(shop, draws, step, committed, arrives, kinds)
    real = step != _NO_STEP
    has_after = real & (step != _DELETED)
    plant(shop.settings, "orders", draws, kinds, missing_total=has_after, status_spelling=has_after)
    before = np.concatenate([np.full((len(step), 1), _NO_STEP), step[:, :-1]], axis=1)
    order = np.repeat(np.arange(len(step)), real.sum(axis=1))
    return _Events(order, step[real], before[real], committed[real], arrives[real], kinds[real])


def _steps(shop: Shop, draws: Draws, orders: Day) -> Numbers:
    """Draw the way of each order: one row per order, one column per step, `_NO_STEP` at the end."""
    settings = shop.settings.orders
    way = draws.pick([getattr(settings, name) for name in ORDER_WAYS], len(orders))
    cancelled = ORDER_WAYS.index("cancelled")
    way = np.where(orders.actor == TESTER, cancelled, way)
    # A flawed order is never deleted: its events are for quarantine, one and all.
    deleted = way >= ORDER_WAYS.index("deleted")
    return _STEPS[np.where((orders.flaw > 0) & deleted, cancelled, way)]


def _committed(draws: Draws, orders: Day, step: Numbers) -> Numbers:
    """Draw when each step is committed, each after the one before."""
    committed = np.empty(step.shape, dtype=np.int64)
    committed[:, 0] = np.minimum(orders.at + draws.whole(5, 900, len(step)), calendar.END - 1)
    for place in range(1, _LONGEST):
        least, most = _SECONDS[step[:, place]].T
        committed[:, place] = committed[:, place - 1] + 1000 * (least + draws.below(most - least))
    return committed


def _delay(
    shop: Shop, draws: Draws, step: Numbers, committed: Numbers, arrives: Numbers, kinds: Numbers
) -> None:
    """Let at most one event per order arrive in a week after the one in which its next event arrived.

    An event that would only arrive after the period keeps its time, or its order would be missing.
    """
    delayed = np.zeros(len(step), dtype=bool)
    for place in range(_LONGEST - 1):
        following = step[:, place + 1]
        later = _in_a_later_week(draws, committed[:, place + 1])
        possible = (following != _NO_STEP) & (kinds[:, place] == CLEAN) & (later < calendar.END) & ~delayed
        deleted = following == _DELETED
        kind = kinds[:, place]
        plant(
            shop.settings,
            "orders",
            draws,
            kind,
            stale=possible & ~deleted,
            stale_after_delete=possible & deleted,
        )
        late = possible & (kind != CLEAN)
        arrives[late, place] = later[late]
        delayed |= late


def _in_a_later_week(draws: Draws, stamp: Numbers) -> Numbers:
    """Draw a stamp in the ISO week after that of each stamp."""
    # The period starts on a Tuesday: a week begins one day before each multiple of seven.
    week = 7 * calendar.DAY
    monday = (stamp + calendar.DAY) // week * week - calendar.DAY
    return monday + week + draws.whole(0, week - 1, len(stamp))


def _changes(draws: Draws, orders: Day, events: _Events, day: int) -> list[str]:
    """Return the JSON of each event after its `sequence`."""
    ids = [order_id(number) for number in orders.number.tolist()]
    heads, tails = _order_json(draws, orders, day)
    totals = orders.total.tolist()
    changes = []
    for order, step, before, at, code in rows_of(
        events.order, events.step, events.before, calendar.text(events.committed), events.kind
    ):
        old = (
            "null"
            if before == _NO_STEP
            else f'{{"order_id":"{ids[order]}","status":"{_STATUS[before]}","total_cents":{totals[order]}}}'
        )
        if step == _DELETED:
            changes.append(f'"op":"d","committed_at":"{at}","before":{old},"after":null}}')
            continue
        status = _ODD_SPELLING[step] if code == _KIND["status_spelling"] else _STATUS[step]
        total = "null" if code == _KIND["missing_total"] else totals[order]
        op = "c" if before == _NO_STEP else "u"
        changes.append(
            f'"op":"{op}","committed_at":"{at}","before":{old},'
            f'"after":{{{heads[order]}"status":"{status}","total_cents":{total},{tails[order]}}}'
        )
    return changes


def _order_json(draws: Draws, orders: Day, day: int) -> tuple[list[str], list[str]]:
    """Return the parts of each order that its events share: before and after status and total."""
    lines = _lines_json(orders)
    slots = draws.whole(0, len(_SLOTS) - 1, len(orders)).tolist()
    missing = draws.whole(900_000, 999_999, len(orders)).tolist()
    heads, tails = [], []
    for k, (number, customer, channel, flaw, at, locker) in enumerate(
        rows_of(
            orders.number,
            orders.customer,
            orders.channel,
            orders.flaw,
            calendar.text(orders.at),
            orders.locker,
        )
    ):
        who = f"C{missing[k]}" if FLAWS[flaw] == "unknown_customer" else customer_id(customer)
        slot = f',"delivery_slot":"{_SLOTS[slots[k]]}"' if day >= NEW_DATABASE else ""
        place = "null" if locker < 0 else f'"{locker_id(locker)}"'
        heads.append(
            f'"order_id":"{order_id(number)}","customer_id":"{who}","channel":"{_CHANNELS[channel]}",'
        )
        tails.append(f'"ordered_at":"{at}","locker_id":{place},"lines":[{lines[k]}]{slot}}}')
    return heads, tails


def _lines_json(orders: Day) -> list[str]:
    """Return the order lines of each order as the inside of a JSON array."""
    starts = orders.first_line[:-1]
    number = 1 + np.arange(len(orders.product)) - np.repeat(starts, np.diff(orders.first_line))
    first = number == 1
    flaw = np.repeat(orders.flaw, np.diff(orders.first_line))
    price = np.where(first & (flaw == FLAWS.index("negative_price")), -orders.price, orders.price)
    no_quantity = (first & (flaw == FLAWS.index("missing_quantity"))).tolist()
    texts = [
        f'{{"line_no":{n},"product_id":"{product_id(p)}","quantity":{"null" if no_quantity[at] else q},'
        f'"unit_price_cents":{c}}}'
        for at, (n, p, q, c) in enumerate(rows_of(number, orders.product, orders.quantity, price))
    ]
    bounds = orders.first_line.tolist()
    return [",".join(texts[low:high]) for low, high in pairwise(bounds)]
