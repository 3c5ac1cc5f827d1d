"""Clicks as JSON lines, two files a day by arrival: `web_events/2025-07-01/events_00.jsonl`."""

from dataclasses import dataclass, replace

import numpy as np

from kestrel import calendar
from kestrel.draws import Draws, Flags, Numbers, rows_of
from kestrel.pending import Pending
from kestrel.planted import Truth
from kestrel.planting import plant, repeated
from kestrel.settings import CLEAN, codes
from kestrel.shop import HONEST, TABLET, Day, Shop, customer_id, device_id, order_id, product_id
from kestrel.writing import Landing, Rolling

_TYPES = ("view", "search", "add_to_cart", "checkout", "purchase")
_VIEW, _SEARCH, _CART, _CHECKOUT, _PURCHASE = range(5)
_PAGES = {_CHECKOUT: "/checkout", _PURCHASE: "/thanks"}
_BROWSED = (70, 18, 12)
# Events of a visit, less one; a visit with an order adds a cart, a checkout and a purchase.
_VISIT_LENGTHS = (20, 26, 20, 14, 9, 6, 5)
_UTM = (
    "utm_source=google&utm_medium=cpc&utm_campaign=CMP01",
    "utm_source=newsletter&utm_medium=email&utm_campaign=CMP07",
    "utm_source=instagram&utm_medium=social&utm_campaign=CMP04",
    "utm_source=partner&utm_medium=affiliate&utm_campaign=CMP09",
)
_WORDS = ("bread", "coffee", "gluten-free", "nappies", "pasta", "salmon", "oat+drink", "cr%C3%A8me")
_UNKNOWN_FIELDS = (
    '"experiment":"checkout-A"',
    '"experiment":"checkout-B"',
    '"geo":{"country":"DE","accuracy_m":50}',
    '"geo":{"country":"ES","accuracy_m":900}',
)
_KIND = codes("web_events")
_HALF_DAY = 12 * calendar.HOUR


@dataclass(frozen=True)
class _Visits:
    """Visits of one day, one entry each. `order` is a position in the day's orders, or -1."""

    ends: Numbers
    order: Numbers
    customer: Numbers
    known: Numbers
    device: Numbers
    length: Numbers


@dataclass(frozen=True)
class _Clicks:
    """Events of one day, visit by visit. `product` is -1 where there is none."""

    visit: Numbers
    type: Numbers
    product: Numbers
    at: Numbers


def write(shop: Shop, landing: Landing, truth: Truth) -> None:
    """Write all events that are received in the period."""
    underway = Pending("kind")
    files = Rolling(landing)
    visits_before = clicks_before = 0
    for day in range(calendar.DAYS):
        orders = shop.day(day)
        draws = Draws(shop.seed, "web_events", day)
        visits = _visits(shop, draws, orders, day)
        clicks = _clicks(shop, draws, orders, visits)
        kinds = _kinds(shop, draws, clicks)
        # No product has a number above 9000.
        unknown = draws.whole(9_000, 9_998, len(kinds))
        clicks = replace(clicks, product=np.where(kinds == _KIND["unknown_product"], unknown, clicks.product))
        received = _received(shop, draws, day, clicks.at, kinds == _KIND["late"])
        sessions = _sessions(visits, visits_before)
        lines = _lines(shop, draws, orders, visits, clicks, received, kinds, sessions, clicks_before)
        underway.add(lines, due=received, kind=kinds)
        _receive_again(shop, draws, underway, lines, received, kinds)
        visits_before += len(visits.ends)
        clicks_before += len(clicks.at)
        for half in range(2):
            end = day * calendar.DAY + (half + 1) * _HALF_DAY
            arrived, columns = underway.until(end)
            truth.count("web_events", columns["kind"].tolist())
            files.write(f"web_events/{calendar.day(day)}/events_{12 * half:02d}.jsonl", arrived, end)
    files.close()


def _visits(shop: Shop, draws: Draws, orders: Day, day: int) -> _Visits:
    """Draw the tracked visits: of some orders, and of customers who only look around."""
    settings = shop.settings.web_events
    tracked = draws.chance(settings.tracked, len(orders)) & (orders.channel != TABLET)
    buying = np.flatnonzero(tracked & (orders.flaw == 0) & (orders.actor == HONEST))
    browsing = shop.honest_orders(day) * settings.browsing_per_order // 1_000_000
    looking = shop.shoppers(draws, day, browsing)
    phone = draws.chance(500_000, browsing)
    home_device = len(shop.people) + shop.people.home_device[looking]
    length = 1 + draws.pick(_VISIT_LENGTHS, len(buying) + browsing)
    length[: len(buying)] += 3
    return _Visits(
        ends=np.concatenate([orders.at[buying], shop.times(draws, day, browsing)]),
        order=np.concatenate([buying, np.full(browsing, -1)]),
        customer=np.concatenate([orders.customer[buying], looking]),
        known=np.concatenate([np.ones(len(buying), bool), draws.chance(settings.logged_in, browsing)]),
        device=np.concatenate([orders.device[buying], np.where(phone, looking, home_device)]),
        length=length,
    )


def _clicks(shop: Shop, draws: Draws, orders: Day, visits: _Visits) -> _Clicks:
    """Lay out the events of each visit, paced backwards from its end."""
    visit = np.repeat(np.arange(len(visits.length)), visits.length)
    count = len(visit)
    starts = np.cumsum(visits.length) - visits.length
    to_go = visits.length[visit] - 1 - (np.arange(count) - starts[visit])
    buys = visits.order[visit] >= 0
    what = draws.pick(_BROWSED, count)
    for place, at_end in enumerate((_PURCHASE, _CHECKOUT, _CART)):
        what = np.where(buys & (to_go == place), at_end, what)
    abandoned = draws.chance(shop.settings.web_events.abandoned_checkout, len(visits.length))
    what = np.where(~buys & abandoned[visit] & (to_go == 0), _CHECKOUT, what)
    pace = draws.whole(15_000, 80_000, len(visits.length))[visit]
    hesitation = np.where(to_go > 0, draws.below(pace), 0)
    # Nothing happens before the period begins, not even a visit that ends just after midnight.
    at = np.maximum(visits.ends[visit] - to_go * pace - hesitation, np.arange(count) - starts[visit])
    product = _looked_at(shop, draws, orders, visits.order[visit], buys)
    return _Clicks(visit, what, np.where(np.isin(what, (_VIEW, _CART)), product, -1), at)


def _looked_at(shop: Shop, draws: Draws, orders: Day, order: Numbers, buys: Numbers) -> Numbers:
    """Return a product for each event: one of the order's for half of a buyer's, else any."""
    anything = shop.products(draws, np.full(len(order), -1))
    if not len(orders):
        return anything
    order = np.maximum(order, 0)
    lines = np.diff(orders.first_line)[order]
    bought = orders.product[orders.first_line[order] + draws.below(lines)]
    return np.where(buys & draws.chance(500_000, len(order)), bought, anything)


def _kinds(shop: Shop, draws: Draws, clicks: _Clicks) -> Numbers:
    """Plant at most one defect in each event."""
    browsing = clicks.type < _CHECKOUT
    any_click = np.ones(len(browsing), dtype=bool)
    kinds = np.full(len(browsing), CLEAN)
    plant(
        shop.settings,
        "web_events",
        draws,
        kinds,
        late=any_click,
        broken_line=browsing,
        unknown_field=any_click,
        unknown_product=clicks.product >= 0,
        missing_type=browsing,
    )
    return kinds


def _received(shop: Shop, draws: Draws, day: int, at: Numbers, late: Flags) -> Numbers:
    """Draw when each event is received: within seconds, from a phone in hours, or days late."""
    count = len(at)
    delay = draws.whole(150, 20_000, count)
    offline = draws.chance(shop.settings.web_events.offline, count)
    delay = np.where(offline, draws.whole(20_000, 2 * calendar.HOUR, count), delay)
    delay = np.where(late, draws.whole(26 * calendar.HOUR, 9 * calendar.DAY, count), delay)
    # The first clicks of a visit around midnight wait for the day on which it ends.
    return np.maximum(at + delay, day * calendar.DAY)


def _receive_again(
    shop: Shop, draws: Draws, underway: Pending, lines: list[str], received: Numbers, kinds: Numbers
) -> None:
    """Receive some of the clean events once more, up to 20 hours later."""
    at = repeated(shop.settings, "web_events", draws, kinds == CLEAN)
    later = received[at] + draws.whole(1_000, 20 * calendar.HOUR, len(at))
    first, second = calendar.text(received[at]), calendar.text(later)
    repeats = [
        lines[k].replace(f'"received_at":"{old}"', f'"received_at":"{new}"')
        for k, old, new in zip(at.tolist(), first, second, strict=True)
    ]
    underway.add(repeats, due=later, kind=np.full(len(at), _KIND["repeat"]))


def _sessions(visits: _Visits, before: int) -> list[str]:
    """Return the JSON that the events of each visit share."""
    sessions = []
    for k, (customer, known, device) in enumerate(
        rows_of(visits.customer, visits.known, visits.device), start=1
    ):
        who = f'"{customer_id(customer)}"' if known else "null"
        sessions.append(
            f'"session_id":"SE{before + k:09d}","customer_id":{who},"device_id":"{device_id(device)}"'
        )
    return sessions


def _lines(
    shop: Shop,
    draws: Draws,
    orders: Day,
    visits: _Visits,
    clicks: _Clicks,
    received: Numbers,
    kinds: Numbers,
    sessions: list[str],
    before: int,
) -> list[str]:
    """Return the JSON line of each event; `before` events were written on earlier days."""
    count = len(clicks.at)
    bought = [order_id(number) for number in orders.number[visits.order[visits.order >= 0]].tolist()]
    urls = _urls(shop, draws, clicks)
    unknown_fields = draws.whole(0, len(_UNKNOWN_FIELDS) - 1, count).tolist()
    lost = draws.whole(20, 110, count).tolist()
    lines = []
    for k, (visit, what, product, at, seen, kind) in enumerate(
        rows_of(
            clicks.visit,
            clicks.type,
            clicks.product,
            calendar.text(clicks.at),
            calendar.text(received),
            kinds,
        )
    ):
        name = "null" if kind == _KIND["missing_type"] else f'"{_TYPES[what]}"'
        item = "null" if product < 0 else f'"{product_id(product)}"'
        line = (
            f'{{"event_id":"W{before + k + 1:010d}","event_time":"{at}","received_at":"{seen}",'
            f'{sessions[visit]},"type":{name},"product_id":{item},"url":"{urls[k]}"'
        )
        if what == _PURCHASE:
            line += f',"order_id":"{bought[visit]}"'
        if kind == _KIND["unknown_field"]:
            line += f",{_UNKNOWN_FIELDS[unknown_fields[k]]}"
        lines.append(line[: -lost[k]] if kind == _KIND["broken_line"] else f"{line}}}")
    return lines


def _urls(shop: Shop, draws: Draws, clicks: _Clicks) -> list[str]:
    """Return the path that each event was seen on; an ad leaves its mark on the first of a visit."""
    first = np.diff(clicks.visit, prepend=-1) > 0
    by_ad = draws.chance(shop.settings.web_events.utm, len(first)) & first
    ads = np.where(by_ad, draws.whole(0, len(_UTM) - 1, len(first)), -1)
    words = draws.whole(0, len(_WORDS) - 1, len(first))
    urls = []
    for what, product, word, ad in rows_of(clicks.type, clicks.product, words, ads):
        if what == _SEARCH:
            url = f"/search?q={_WORDS[word]}"
        else:
            url = f"/product/{product_id(product)}" if product >= 0 else _PAGES[what]
        urls.append(url if ad < 0 else f"{url}{'&' if '?' in url else '?'}{_UTM[ad]}")
    return urls
