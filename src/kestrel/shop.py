"""What happens at Kestrel Market, day by day: the events that several sources then report.

Orders, payments, web events and touchpoints tell of the same purchases. Each of them asks
`Shop.day(d)`, which draws the same day again whenever it is asked, so nothing is kept.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kestrel import calendar, fraud, people
from kestrel.draws import Draws, Numbers
from kestrel.names import CITIES, CITY_SIZES, FAR_CITIES, GOODS
from kestrel.settings import MILLION, Settings

# Who placed an order
HONEST, RING, TESTER, TAKEOVER = range(4)
# Order-level flaws: none, or the position of the kind in this tuple
FLAWS = ("", "unknown_customer", "negative_price", "missing_quantity")
WEB, APP, TABLET = range(3)

THEMES = 16
_LINES = (
    (60, 30, 8, 2, 0, 0),
    (30, 35, 20, 10, 4, 1),
    (15, 25, 25, 18, 10, 7),
    (8, 16, 22, 22, 18, 14),
    (4, 8, 14, 20, 26, 28),
)
_QUANTITIES = (62, 22, 8, 4, 2, 2)


@dataclass(frozen=True)
class Goods:
    """The products: one array per trait. Prices are in cents."""

    category: Numbers
    item: Numbers
    price: Numbers
    seller: Numbers
    theme: Numbers
    popularity: Numbers

    def __len__(self) -> int:
        return len(self.price)


@dataclass(frozen=True)
class Day:
    """The orders of one day, sorted by `at`; lines of order k are `first_line[k]` to `first_line[k + 1]`.

    `number` counts orders over the whole period, from 1; `city` is a position in `ALL_CITIES`;
    `locker` is -1 for a delivery to the door; `ring` is -1 outside the rings; money is in cents.
    """

    number: Numbers
    at: Numbers
    customer: Numbers
    actor: Numbers
    ring: Numbers
    channel: Numbers
    locker: Numbers
    city: Numbers
    device: Numbers
    card: Numbers
    flaw: Numbers
    total: Numbers
    first_line: Numbers
    product: Numbers
    quantity: Numbers
    price: Numbers

    def __len__(self) -> int:
        return len(self.number)


class Shop:
    """Everything that the sources share, for one `scale`."""

    def __init__(self, settings: Settings, scale: float) -> None:
        self.settings = settings
        self.scale = scale
        self.seed = settings.shop.seed
        # Products, sellers and lockers grow with the square root of the scale.
        self._slow = math.isqrt(round(scale * 1_000_000)) / 1000
        self.lockers = self.slowly(settings.shop.lockers, least=6)
        self.sellers = self.slowly(settings.shop.sellers, least=6)
        self._open_accounts()

    def directly(self, count: int, least: int = 1) -> int:
        """Return a count at scale 1 times the scale."""
        return max(least, round(count * self.scale))

    def slowly(self, count: int, least: int = 1) -> int:
        """Return a count at scale 1 times the square root of the scale."""
        return max(least, round(count * self._slow))

    def _open_accounts(self) -> None:
        rings = fraud.draw_rings(self.settings.payments, self.seed, self.scale)
        tester_sign_ups, bursts = fraud.draw_testers(self.settings.payments, self.seed, self.scale)
        self.people = people.draw(
            self.settings.customers,
            self.seed,
            honest=self.directly(self.settings.shop.customers) - len(rings.ring) - len(bursts),
            ring_sign_ups=rings.signed_up,
            tester_sign_ups=tester_sign_ups,
        )
        ring_accounts = self._accounts(people.RING, rings.signed_up)
        self.ring_members = dict(zip(ring_accounts.tolist(), rings.ring.tolist(), strict=True))
        self._ring_orders = fraud.ring_orders(rings, ring_accounts, self.seed)
        self._tester_orders = fraud.tester_orders(bursts, self._accounts(people.TESTER, tester_sign_ups))

    def _accounts(self, role: int, sign_ups: Numbers) -> Numbers:
        """Return the account numbers of fraudsters who were drawn with these sign-up days."""
        accounts = np.empty(len(sign_ups), dtype=np.int64)
        accounts[np.argsort(sign_ups, kind="stable")] = np.flatnonzero(self.people.role == role)
        return accounts

    @cached_property
    def goods(self) -> Goods:
        """The products on sale."""
        draws = Draws(self.seed, "goods")
        count = self.slowly(self.settings.shop.products, least=len(GOODS))
        category = np.arange(count) % len(GOODS)
        low = np.array([entry[2] for entry in GOODS])[category]
        high = np.array([entry[3] for entry in GOODS])[category]
        return Goods(
            category=category,
            item=draws.whole(0, 4, count),
            # Prices end in 9.
            price=(low + draws.below(high - low + 1)) // 10 * 10 + 9,
            seller=draws.whole(0, self.sellers - 1, count),
            theme=draws.whole(0, THEMES - 1, count),
            popularity=np.array((1, 2, 3, 5, 8, 13, 21, 34))[draws.whole(0, 7, count)],
        )

    @cached_property
    def _by_theme(self) -> tuple[Numbers, Numbers]:
        """Products sorted by theme, with the cumulative popularity that draws from them."""
        order = np.argsort(self.goods.theme, kind="stable")
        return order, np.concatenate([[0], np.cumsum(self.goods.popularity[order])])

    @cached_property
    def locker_city(self) -> Numbers:
        """The city of each locker, as a position in `CITIES`."""
        return Draws(self.seed, "locker cities").pick(CITY_SIZES, self.lockers)

    @cached_property
    def _honest_orders(self) -> list[int]:
        """How many honest orders were placed before each day, and in all: 183 numbers."""
        season = self.settings.season
        busy = [0]
        for day in range(calendar.DAYS):
            factor = season.month[calendar.MONTH_OF_DAY[day]] * season.weekday[calendar.day(day).weekday()]
            busy.append(busy[-1] + factor * int(self._weight(day).sum()))
        orders = self.directly(self.settings.shop.orders)
        return [orders * part // busy[-1] for part in busy]

    def _weight(self, day: int) -> Numbers:
        return self.people.weight(day, self.settings.customers.fading_days)

    def honest_orders(self, day: int) -> int:
        """Return the number of honest orders of a day."""
        return self._honest_orders[day + 1] - self._honest_orders[day]

    def _takeovers_before(self, day: int) -> int:
        return self.directly(self.settings.payments.takeovers) * day // calendar.DAYS

    def _orders_before(self, day: int) -> int:
        """Return how many orders of any kind were placed before a day."""
        planned = (
            np.searchsorted(plan.at, day * calendar.DAY) for plan in (self._ring_orders, self._tester_orders)
        )
        return self._honest_orders[day] + self._takeovers_before(day) + int(sum(planned))

    def shoppers(self, draws: Draws, day: int, count: int) -> Numbers:
        """Draw `count` customers who are about on a day, by their purchase rate."""
        return draws.pick(self._weight(day), count)

    def times(self, draws: Draws, day: int, count: int) -> Numbers:
        """Draw `count` stamps within a day, by its hours."""
        weekend = calendar.day(day).weekday() >= 5
        hours = self.settings.season.hour_weekend if weekend else self.settings.season.hour
        hour = draws.pick(hours, count)
        return day * calendar.DAY + hour * calendar.HOUR + draws.whole(0, calendar.HOUR - 1, count)

    def products(self, draws: Draws, theme: Numbers) -> Numbers:
        """Draw one product of each given theme, by popularity; -1 draws from all products."""
        order, bounds = self._by_theme
        themes = np.searchsorted(self.goods.theme[order], np.arange(THEMES + 1))
        # At a very small scale a theme may have no product: then all products stand in for it.
        everything = (theme < 0) | (themes[theme] == themes[theme + 1])
        low = np.where(everything, 0, bounds[themes[theme]])
        high = np.where(everything, bounds[-1], bounds[themes[theme + 1]])
        return order[np.searchsorted(bounds, low + draws.below(high - low), side="right") - 1]

    def day(self, day: int) -> Day:
        """Draw the orders of one day."""
        draws = Draws(self.seed, "day", day)
        placed = self._placed(draws, day)
        count = len(placed.at)
        lines, first_line = self._basket_sizes(draws, placed)
        product, quantity, price = self._lines(draws, np.repeat(np.arange(count), lines))
        return Day(
            number=self._orders_before(day) + 1 + np.arange(count),
            **vars(placed),
            first_line=first_line,
            product=product,
            quantity=quantity,
            price=price,
            # No order at all is no case for reduceat.
            total=np.add.reduceat(quantity * price, first_line[:-1]) if count else quantity,
            flaw=self._flaws(draws, placed.actor),
            **self._circumstances(draws, day, placed),
        )

    def _placed(self, draws: Draws, day: int) -> "_Placed":
        """Draw who places an order when: honest customers first, then the planned fraud."""
        count = self.honest_orders(day)
        honest = _Placed.of(HONEST, self.times(draws, day, count), self.shoppers(draws, day, count))
        parts = [honest]
        for actor, plan in ((RING, self._ring_orders), (TESTER, self._tester_orders)):
            here = slice(*np.searchsorted(plan.at, (day * calendar.DAY, (day + 1) * calendar.DAY)))
            parts.append(_Placed.of(actor, plan.at[here], plan.account[here], plan.ring[here]))
        stolen = (self._takeovers_before(day + 1) - self._takeovers_before(day)) if count else 0
        victim = draws.below(np.full(stolen, count))
        # The thief shops soon after the owner, and before the day is over.
        soon = honest.at[victim] + draws.whole(25 * calendar.MINUTE, 100 * calendar.MINUTE, stolen)
        at = np.minimum(soon, (day + 1) * calendar.DAY - 1)
        parts.append(_Placed.of(TAKEOVER, at, honest.customer[victim]))
        return _Placed.sorted(parts)

    def _basket_sizes(self, draws: Draws, placed: "_Placed") -> tuple[Numbers, Numbers]:
        basket = self.people.basket[placed.customer]
        count = len(basket)
        sizes = np.choose(basket, [draws.pick(weights, count) for weights in _LINES]) + 1
        party = draws.chance(self.settings.orders.party, count)
        sizes = np.where(party, 3 * sizes, sizes)
        sizes = np.where(placed.actor == TAKEOVER, sizes + 3, sizes)
        sizes = np.where(placed.actor == TESTER, 1, sizes)
        return sizes, np.concatenate([[0], np.cumsum(sizes)])

    def _lines(self, draws: Draws, order: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        count = len(order)
        theme = draws.whole(0, THEMES - 1, int(order[-1]) + 1 if count else 0)[order]
        themed = draws.chance(self.settings.orders.themed_line, count)
        product = self.products(draws, np.where(themed, theme, -1))
        quantity = draws.pick(_QUANTITIES, count) + 1
        discounted = draws.chance(self.settings.orders.discounted_line, count)
        price = self.goods.price[product] * np.where(discounted, 90, 100) // 100
        return product, quantity, price

    def _flaws(self, draws: Draws, actor: Numbers) -> Numbers:
        """Draw the flaws of whole orders. Payments and web events never refer to a flawed order."""
        rates = [self.settings.rate("orders", kind) for kind in FLAWS[1:]]
        flaw = draws.pick((max(0, MILLION - sum(rates)), *rates), len(actor))
        return np.where(actor == HONEST, flaw, 0)

    def _circumstances(self, draws: Draws, day: int, placed: "_Placed") -> dict[str, Numbers]:
        """Draw from where and with what each order is placed, and where it goes."""
        who, actor, ring, count = placed.customer, placed.actor, placed.ring, len(placed.at)
        channel = draws.pick(self.settings.orders.channel, count)
        channel = np.where(actor == HONEST, channel, np.minimum(channel, APP))
        home = self.people.city[calendar.MONTH_OF_DAY[day], who]
        city = np.where(channel == TABLET, home, self.people.place(who, day))
        far = len(CITIES) + draws.whole(0, len(FAR_CITIES) - 1, count)
        return {
            "channel": channel,
            "city": np.where(actor == TAKEOVER, far, city),
            "locker": self._lockers(draws, home),
            "device": self._devices(draws, placed, channel, home, day),
            # A ring pays with four cards between them, everybody else with their own or the family's.
            "card": np.where(actor == RING, self._ring_cards(draws, ring), self.people.card[who]),
        }

    def _lockers(self, draws: Draws, city: Numbers) -> Numbers:
        """Draw a locker of the customer's city, or -1 for a delivery to the door."""
        order = np.argsort(self.locker_city, kind="stable")
        bounds = np.searchsorted(self.locker_city[order], np.arange(len(CITIES) + 1))
        here = bounds[city + 1] - bounds[city]
        chosen = order[np.minimum(bounds[city] + draws.below(here), len(order) - 1)]
        to_locker = draws.chance(self.settings.orders.to_locker, len(city)) & (here > 0)
        return np.where(to_locker, chosen, -1)

    def _devices(self, draws: Draws, placed: "_Placed", channel: Numbers, home: Numbers, day: int) -> Numbers:
        """Return device numbers: phones, then home devices, store tablets, and the fraudsters' own."""
        accounts = len(self.people)
        tablets = 2 * accounts
        rings = tablets + len(CITIES)
        fresh = rings + 3 * len(self.ring_members) + self._orders_before(day)
        count = len(placed.at)
        home_device = accounts + self.people.home_device[placed.customer]
        honest = np.choose(channel, [home_device, placed.customer, tablets + home])
        # Two devices do the ring's work; one order in five comes from a phone of its own.
        shared = rings + 3 * placed.ring + draws.whole(0, 1, count)
        ring = np.where(draws.chance(200_000, count), placed.customer, shared)
        return np.choose(placed.actor, [honest, ring, fresh + np.arange(count), fresh + np.arange(count)])

    def _ring_cards(self, draws: Draws, ring: Numbers) -> Numbers:
        return len(self.people) + 4 * ring + draws.pick((5, 4, 3, 1), len(ring))

    def fresh_cards(self, order_number: Numbers, attempt: Numbers) -> Numbers:
        """Return the numbers of cards that only card testing uses."""
        return len(self.people) + 4 * len(self.ring_members) + 40 * order_number + attempt


@dataclass(frozen=True)
class _Placed:
    at: Numbers
    customer: Numbers
    actor: Numbers
    ring: Numbers

    @staticmethod
    def of(actor: int, at: Numbers, customer: Numbers, ring: Numbers | None = None) -> "_Placed":
        outside = np.full(len(at), -1)
        return _Placed(at, customer, np.full(len(at), actor), outside if ring is None else ring)

    @staticmethod
    def sorted(parts: "list[_Placed]") -> "_Placed":
        at = np.concatenate([part.at for part in parts])
        order = np.argsort(at, kind="stable")
        return _Placed(
            at[order],
            *(
                np.concatenate([getattr(part, name) for part in parts])[order]
                for name in ("customer", "actor", "ring")
            ),
        )


_DEVICE_STEP, _CARD_STEP = 7_368_787, 618_033_989


def customer_id(account: int) -> str:
    return f"C{account + 1:06d}"


def product_id(product: int) -> str:
    return f"P{product + 1:04d}"


def seller_id(seller: int) -> str:
    return f"S{seller + 1:03d}"


def locker_id(locker: int) -> str:
    return f"LK{locker + 1:03d}"


def order_id(number: int) -> str:
    return f"O{number:07d}"


def device_id(device: int) -> str:
    # The steps are coprime to the number of ids: every device gets one id, and no id tells what it is.
    return f"D{device * _DEVICE_STEP % 10_000_000:07d}"


def card_id(card: int) -> str:
    return f"K{card * _CARD_STEP % 1_000_000_000:09d}"
