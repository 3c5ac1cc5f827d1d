"""Who shops at Kestrel Market: everything about a customer that does not change from day to day.

One array per trait, one entry per account, in the order of sign-up.
"""

from dataclasses import dataclass

import numpy as np

from kestrel import calendar
from kestrel.draws import Draws, Flags, Numbers
from kestrel.names import CITIES, CITY_SIZES, FAR_CITIES, FIRST_NAMES, LAST_NAMES
from kestrel.settings import MILLION, CustomerSettings

# Honest customers, members of a ring, and accounts made for card testing
HONEST, RING, TESTER = range(3)

# Registration is closed for the Christmas peak, so that the last snapshot knows everyone.
LAST_SIGN_UP = calendar.MONTH_STARTS[-1] - 1
_WEEKS_AHEAD = 120


@dataclass(frozen=True)
class People:
    """All accounts. Days are numbers of the period; `city` and `consent` have one row per month."""

    role: Numbers
    signed_up: Numbers
    leaves: Numbers
    purchase_rate: Numbers
    basket: Numbers
    first_name: Numbers
    last_name: Numbers
    birth_year: Numbers
    city: Numbers
    street: Numbers
    consent: Numbers
    home_device: Numbers
    card: Numbers
    trip_starts: Numbers
    trip_ends: Numbers
    trip_city: Numbers

    def __len__(self) -> int:
        return len(self.role)

    def weight(self, day: int, fading_days: int) -> Numbers:
        """Return how likely each account is to order on a day, in proportion."""
        present = (self.signed_up <= day) & (day < self.leaves)
        fading = day >= self.leaves - fading_days
        return np.where(present, self.purchase_rate * np.where(fading, 1, 2), 0)

    def place(self, who: Numbers, day: int) -> Numbers:
        """Return the city that customers are in on a day, as a position in `ALL_CITIES`."""
        away = (self.trip_starts[who] <= day) & (day < self.trip_ends[who])
        return np.where(away, self.trip_city[who], self.city[calendar.MONTH_OF_DAY[day], who])


def draw(
    settings: CustomerSettings, seed: int, honest: int, ring_sign_ups: Numbers, tester_sign_ups: Numbers
) -> People:
    """Draw all accounts: so many honest ones, and one for each sign-up day of a fraudster."""
    draws = Draws(seed, "people")
    sign_ups, role = _sign_ups(settings, draws, honest, ring_sign_ups, tester_sign_ups)
    count = len(role)
    leader = _households(settings, draws, role)
    city, street = _addresses(settings, draws, leader)
    starts = draws.whole(0, calendar.DAYS - 4, count)
    travels = draws.chance(settings.trip, count) & (role == HONEST)
    far = draws.chance(MILLION // 2, count)
    trip_city = np.where(
        far,
        len(CITIES) + draws.whole(0, len(FAR_CITIES) - 1, count),
        draws.whole(0, len(CITIES) - 1, count),
    )
    shares_card = draws.chance(settings.shared_card, count)
    return People(
        role=role,
        signed_up=sign_ups,
        leaves=_leaving_days(settings, draws, sign_ups),
        purchase_rate=np.where(
            role == HONEST, np.asarray(settings.purchase_rate)[draws.whole(0, 19, count)], 0
        ),
        basket=draws.whole(0, 4, count),
        first_name=draws.whole(0, len(FIRST_NAMES) - 1, count),
        last_name=draws.whole(0, len(LAST_NAMES) - 1, count)[leader],
        birth_year=1941 + draws.pick(_AGES, count) * 6 + draws.whole(0, 5, count),
        city=city,
        street=street,
        consent=_consent(settings, draws, count),
        home_device=leader,
        card=np.where(shares_card, leader, np.arange(count)),
        trip_starts=np.where(travels, starts, calendar.DAYS),
        trip_ends=np.where(travels, starts + draws.whole(3, 10, count), calendar.DAYS),
        trip_city=trip_city,
    )


# Births from 1941 to 2006, in steps of six years
_AGES = (2, 4, 6, 8, 9, 10, 12, 14, 15, 12, 8)


def _sign_ups(
    settings: CustomerSettings, draws: Draws, honest: int, rings: Numbers, testers: Numbers
) -> tuple[Numbers, Numbers]:
    """Return the sign-up day and role of each account, sorted by day."""
    before = draws.chance(settings.signed_up_before, honest)
    days = np.where(before, draws.whole(-900, -1, honest), draws.whole(0, LAST_SIGN_UP, honest))
    days = np.concatenate([days, rings, testers])
    role = np.repeat((HONEST, RING, TESTER), (honest, len(rings), len(testers)))
    order = np.argsort(days, kind="stable")
    return days[order], role[order]


def _leaving_days(settings: CustomerSettings, draws: Draws, signed_up: Numbers) -> Numbers:
    """Return the day from which each account stays away: a constant chance per week, by loyalty."""
    loyalty = draws.pick(settings.loyalty, len(signed_up))
    luck = draws.whole(0, MILLION - 1, len(signed_up))
    weeks = np.zeros(len(signed_up), dtype=np.int64)
    for level, chance in enumerate(settings.leaving_per_week):
        staying = [MILLION]
        for _ in range(_WEEKS_AHEAD):
            staying.append(staying[-1] * (MILLION - chance) // MILLION)
        # The share that is still there after each week falls; find the week in which it passes `luck`.
        passed = np.searchsorted(-np.array(staying), -luck, side="left")
        weeks = np.where(loyalty == level, passed, weeks)
    first_chance = np.maximum(signed_up, -60)
    return first_chance + weeks * 7 + draws.whole(0, 6, len(signed_up))


def _households(settings: CustomerSettings, draws: Draws, role: Numbers) -> Numbers:
    """Return for each account the first account of its household, often itself."""
    joins = draws.chance(settings.household, len(role)) & (role == HONEST)
    joins[0] = False
    joins[1:] &= role[:-1] == HONEST
    return np.maximum.accumulate(np.where(joins, 0, np.arange(len(role))))


def _addresses(settings: CustomerSettings, draws: Draws, leader: Numbers) -> tuple[Numbers, Numbers]:
    """Return city and street number (the last digits of the postcode) for each month and account."""
    count = len(leader)
    cities = [draws.pick(CITY_SIZES, count)[leader]]
    streets = [draws.whole(100, 999, count)[leader]]
    for _ in calendar.MONTHS[1:]:
        moves = draws.chance(settings.moves_per_month, count)
        cities.append(np.where(moves, draws.pick(CITY_SIZES, count), cities[-1]))
        streets.append(np.where(moves, draws.whole(100, 999, count), streets[-1]))
    return np.array(cities), np.array(streets)


def _consent(settings: CustomerSettings, draws: Draws, count: int) -> Flags:
    """Return whether each account consents to marketing, for each month."""
    months = [draws.chance(600_000, count)]
    for _ in calendar.MONTHS[1:]:
        months.append(months[-1] ^ draws.chance(settings.consent_changes_per_month, count))
    return np.array(months)
