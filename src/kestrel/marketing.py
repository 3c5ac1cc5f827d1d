"""Touchpoints of journeys to the shop, one file per month, and what the campaigns cost."""

from dataclasses import dataclass

import numpy as np

from kestrel import calendar
from kestrel.draws import Draws, Numbers, rows_of
from kestrel.pending import Pending
from kestrel.planted import Truth
from kestrel.planting import plant, repeated
from kestrel.settings import CHANNELS, CLEAN, codes
from kestrel.shop import HONEST, Day, Shop, customer_id
from kestrel.writing import Landing, Rolling

HEADER = (
    "touch_id,visitor_id,customer_id,touched_at,channel,"
    "utm_source,utm_medium,campaign_id,user_agent,converted"
)
_SPEND_HEADER = "day,campaign_id,channel,spend_cents,impressions,clicks"

_KIND = codes("touchpoints")
_SPEND_KIND = codes("campaign_spend")
# A journey is over within this time.
_LONGEST = 20 * calendar.DAY
_CONVERSION, _LEAVE = "conversion", "leave"
_NO_UTM = ("", "")
_UTM = {
    "paid_search": ("google", "cpc"),
    "social": ("instagram", "social"),
    "display": ("adnet", "banner"),
    "email": ("newsletter", "email"),
    "affiliate": ("partner", "affiliate"),
}
# Channel of each campaign, its cents per click, and its clicks on a usual day
_CAMPAIGNS = (
    ("paid_search", 62, 46),
    ("paid_search", 48, 30),
    ("paid_search", 85, 14),
    ("social", 35, 40),
    ("social", 28, 22),
    ("display", 22, 36),
    ("email", 4, 34),
    ("email", 3, 18),
    ("affiliate", 55, 12),
    ("affiliate", 70, 6),
    ("display", 30, 18),
    ("social", 41, 12),
)
_BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/141.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) Safari/605.1",
    "Mozilla/5.0 (Linux; Android 15) Chrome/138.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5) Mobile/15E148",
)
_BOTS = (
    "PriceCrawler/2.1",
    "Mozilla/5.0 (compatible; SeoBot/1.4)",
    "HeadlessChrome/138.0",
    "feed-spider/0.9",
)


@dataclass(frozen=True)
class _Touches:
    """Touches of one day's journeys. `visitor` counts from 0 within the day; `campaign` is -1 for none."""

    visitor: Numbers
    customer: Numbers
    at: Numbers
    channel: Numbers
    campaign: Numbers
    agent: Numbers
    converted: Numbers
    kind: Numbers


def write(shop: Shop, landing: Landing, truth: Truth) -> None:
    """Write the touches of all journeys that end in the period, and the spend of each day."""
    underway = Pending("kind")
    files = Rolling(landing, HEADER)
    visitors = touches = 0
    for day in range(calendar.DAYS):
        draws = Draws(shop.seed, "touchpoints", day)
        today = _join(_journeys(shop, draws, day), _bots(shop, draws, day))
        lines = _lines(today, visitors, touches)
        underway.add(lines, due=today.at, kind=today.kind)
        again = repeated(shop.settings, "touchpoints", draws, today.kind == CLEAN)
        underway.repeat(lines, again, today.at[again], _KIND["repeat"])
        visitors += int(today.visitor.max(initial=-1)) + 1
        touches += len(lines)
        # Journeys that end later may still reach back; what is older than the longest of them is complete.
        _release(files, underway, truth, (day + 1) * calendar.DAY - _LONGEST)
    for end in range(calendar.END - _LONGEST, calendar.END, calendar.DAY):
        _release(files, underway, truth, end + calendar.DAY)
    files.close()
    _write_spend(shop, landing, truth)


def _release(files: Rolling, underway: Pending, truth: Truth, end: int) -> None:
    """Write the touches before `end`, which is a midnight."""
    arrived, columns = underway.until(end)
    if end > 0:
        month = calendar.month(end // calendar.DAY - 1)
        truth.count("touchpoints", columns["kind"].tolist())
        files.write(f"marketing/touchpoints/touchpoints_{month}.csv", arrived, end)


def _chain(shop: Shop) -> dict[int, tuple[int, ...]]:
    """Return the weights of the next state for each state; -1 is the start, the ends come last."""
    states = (*CHANNELS, _CONVERSION, _LEAVE)
    rows = {"start": -1, **{name: code for code, name in enumerate(CHANNELS)}}
    return {
        code: tuple(shop.settings.marketing.chain[name].get(state, 0) for state in states)
        for name, code in rows.items()
    }


def _walk(shop: Shop, draws: Draws, count: int) -> tuple[Numbers, Numbers, Numbers]:
    """Walk the chain `count` times. Return journey and channel of each step, and which journeys convert."""
    state = np.full(count, -1)
    journeys, channels = [], []
    walking = np.arange(count)
    converts = np.zeros(count, dtype=bool)
    while len(walking):
        following = np.empty(len(walking), dtype=np.int64)
        for code, weights in _chain(shop).items():
            here = np.flatnonzero(state[walking] == code)
            following[here] = draws.pick(weights, len(here))
        state[walking] = following
        converts[walking[following == len(CHANNELS)]] = True
        walking = walking[following < len(CHANNELS)]
        journeys.append(walking)
        channels.append(state[walking])
    journey = np.concatenate([*journeys, np.empty(0, dtype=np.int64)])
    by_journey = np.argsort(journey, kind="stable")
    return journey[by_journey], np.concatenate([*channels, np.empty(0, dtype=np.int64)])[by_journey], converts


def _journeys(shop: Shop, draws: Draws, day: int) -> _Touches:
    """Draw the journeys that end on a day. Those that convert end minutes before an order of that day."""
    count = shop.honest_orders(day) * shop.settings.marketing.journeys_per_order // 1_000_000
    journey, channel, converts = _walk(shop, draws, count)
    ends, customer = _ends(shop, draws, shop.day(day), converts, day)
    length = np.bincount(journey, minlength=count)
    place = np.arange(len(journey)) - (np.cumsum(length) - length)[journey]
    # All waits of a journey fit between the start of the period and its end.
    longest = np.minimum(ends, _LONGEST)[journey] // length[journey] - 1
    wait = np.minimum(draws.whole(1, 400, len(journey)) ** 2 * 1_600, longest)
    through = np.cumsum(wait)
    last = (np.cumsum(length) - 1)[journey]
    at = ends[journey] - (through[last] - through)
    kinds = np.full(len(journey), CLEAN)
    plant(
        shop.settings,
        "touchpoints",
        draws,
        kinds,
        missing_utm=np.isin(channel, [CHANNELS.index(name) for name in _UTM]),
    )
    return _Touches(
        visitor=journey,
        customer=customer[journey],
        at=at,
        channel=channel,
        campaign=_campaigns(draws, channel),
        agent=draws.whole(0, len(_BROWSERS) - 1, count)[journey],
        converted=converts[journey] & (place == length[journey] - 1),
        kind=kinds,
    )


def _ends(shop: Shop, draws: Draws, orders: Day, converts: Numbers, day: int) -> tuple[Numbers, Numbers]:
    """Draw when each journey's last touch is, and whose it is (-1 when nobody knows)."""
    count = len(converts)
    ends = shop.times(draws, day, count)
    known = draws.chance(shop.settings.marketing.known_visitor, count)
    customer = np.where(known, shop.shoppers(draws, day, count), -1)
    honest = np.flatnonzero((orders.actor == HONEST) & (orders.flaw == 0))
    if len(honest):
        buyers = np.flatnonzero(converts)
        order = honest[draws.shuffled(len(honest))][np.arange(len(buyers)) % len(honest)]
        ahead = draws.whole(calendar.MINUTE, 30 * calendar.MINUTE, len(buyers))
        ends[buyers] = np.maximum(orders.at[order] - ahead, 0)
        customer[buyers] = orders.customer[order]
    return ends, customer


def _campaigns(draws: Draws, channel: Numbers) -> Numbers:
    """Draw a campaign of each touch's channel, by its usual clicks."""
    campaign = np.full(len(channel), -1)
    for code, name in enumerate(CHANNELS):
        weights = [clicks if owner == name else 0 for owner, _, clicks in _CAMPAIGNS]
        here = np.flatnonzero(channel == code)
        if sum(weights):
            campaign[here] = draws.pick(weights, len(here))
    return campaign


def _bots(shop: Shop, draws: Draws, day: int) -> _Touches:
    """Draw the visits of bots on a day: many touches, seconds apart, of ads and links."""
    journeys = shop.honest_orders(day) * shop.settings.marketing.journeys_per_order // 1_000_000
    visits = int(draws.chance(shop.settings.rate("touchpoints", "bot"), journeys).sum())
    length = draws.whole(8, 40, visits)
    visitor = np.repeat(np.arange(visits), length)
    rows = len(visitor)
    place = np.arange(rows) - (np.cumsum(length) - length)[visitor]
    start = draws.whole(day * calendar.DAY, (day + 1) * calendar.DAY - calendar.HOUR, visits)
    channel = np.array([CHANNELS.index(name) for name in ("display", "paid_search", "affiliate")])
    channel = channel[draws.whole(0, 2, rows)]
    return _Touches(
        visitor=visitor,
        customer=np.full(rows, -1),
        at=start[visitor] + place * 4_000 + draws.whole(0, 3_000, rows),
        channel=channel,
        campaign=_campaigns(draws, channel),
        agent=len(_BROWSERS) + draws.whole(0, len(_BOTS) - 1, visits)[visitor],
        converted=np.zeros(rows, dtype=bool),
        kind=np.full(rows, _KIND["bot"]),
    )


def _join(people: _Touches, bots: _Touches) -> _Touches:
    first_bot = int(people.visitor.max(initial=-1)) + 1
    columns = {name: np.concatenate([column, getattr(bots, name)]) for name, column in vars(people).items()}
    columns["visitor"][len(people.visitor) :] += first_bot
    return _Touches(**columns)


def _lines(touches: _Touches, visitors: int, before: int) -> list[str]:
    agents = _BROWSERS + _BOTS
    lines = []
    for k, (visitor, customer, at, channel, campaign, agent, converted, code) in enumerate(
        rows_of(
            touches.visitor,
            touches.customer,
            calendar.text(touches.at, "s"),
            touches.channel,
            touches.campaign,
            touches.agent,
            touches.converted,
            touches.kind,
        ),
        start=1,
    ):
        name = CHANNELS[channel]
        source, medium = _NO_UTM if code == _KIND["missing_utm"] else _UTM.get(name, _NO_UTM)
        who = customer_id(customer) if customer >= 0 else ""
        which = campaign_id(campaign) if campaign >= 0 else ""
        lines.append(
            f"T{before + k:08d},V{visitors + visitor + 1:08d},{who},{at},{name},{source},{medium},{which},"
            f"{agents[agent]},{converted:d}"
        )
    return lines


def campaign_id(campaign: int) -> str:
    return f"CMP{campaign + 1:02d}"


def _write_spend(shop: Shop, landing: Landing, truth: Truth) -> None:
    draws = Draws(shop.seed, "campaign_spend")
    rows = calendar.DAYS * len(_CAMPAIGNS)
    kinds = np.full(rows, CLEAN)
    plant(shop.settings, "campaign_spend", draws, kinds, negative_spend=np.ones(rows, dtype=bool))
    negative = kinds != CLEAN
    again = set(repeated(shop.settings, "campaign_spend", draws, ~negative).tolist())
    day, campaign = np.divmod(np.arange(rows), len(_CAMPAIGNS))
    month = np.array(shop.settings.season.month)[np.array(calendar.MONTH_OF_DAY)[day]]
    usual = np.array([clicks for _, _, clicks in _CAMPAIGNS])[campaign]
    clicks = usual * month * draws.whole(70, 130, rows) * round(shop.scale * 1000) // 10_000_000
    cents = (
        clicks * np.array([price for _, price, _ in _CAMPAIGNS])[campaign] * draws.whole(90, 110, rows) // 100
    )
    # A day without clicks still costs something, so that every true amount is above 0.
    cents = np.maximum(cents, 25)
    impressions = clicks * draws.whole(20, 60, rows) + draws.whole(50, 400, rows)
    lines = []
    for k, (number, which, spent, shown, clicked) in enumerate(
        rows_of(day, campaign, np.where(negative, -cents, cents), impressions, clicks)
    ):
        lines.append(
            f"{calendar.day(number)},{campaign_id(which)},{_CAMPAIGNS[which][0]},{spent},{shown},{clicked}"
        )
        if k in again:
            lines.append(lines[-1])
    truth.count("campaign_spend", kinds.tolist())
    truth.count("campaign_spend", [_SPEND_KIND["repeat"]] * len(again))
    landing.write("marketing/campaign_spend/campaign_spend.csv", lines, calendar.END, _SPEND_HEADER)
