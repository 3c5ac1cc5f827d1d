"""Scans of parcels on their way to lockers and doors, one Parquet file per day, and the stations that scan.

The carrier has depots and one hub. Most parcels go through the hub, where each of them is scanned three
times, so one station has the planted share of all scans: a hot key.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from kestrel import calendar
from kestrel.draws import Draws, Numbers
from kestrel.names import CITIES, CITY_SIZES
from kestrel.orders import deliveries
from kestrel.planted import Truth
from kestrel.shop import Day, Shop, order_id
from kestrel.writing import Landing

SCHEMA = pa.schema(
    [
        ("scan_id", pa.int64()),
        ("scanned_at", pa.timestamp("us", tz="UTC")),
        ("parcel_id", pa.string()),
        ("order_id", pa.string()),
        ("station_id", pa.string()),
        ("scan_type", pa.string()),
        ("weight_g", pa.int32()),
        ("customer_id", pa.int64()),
        ("note", pa.string()),
    ]
)
HEADER = "station_id,name,city,kind"
_TYPES = np.array(("accepted", "received", "sorted", "loaded", "delivered", "collected"), dtype=object)
_ACCEPTED = 0
_NOTES = np.array(
    (None, "label damaged", "box wet", "box open", "weighed again", "wrong chute", "no room in the van"),
    dtype=object,
)
_HEAVIEST = 30_000
# Coprime to the number of ids: every order has one parcel, and no id tells its order.
_PARCEL_STEP = 61_803_399


@dataclass(frozen=True)
class _Stations:
    """The stations: the city of each, as a position in `CITIES`, and which of them is the hub."""

    city: Numbers
    hub: int

    @property
    def names(self) -> Numbers:
        return np.array([f"ST{number + 1:02d}" for number in range(len(self.city))], dtype=object)

    @property
    def depots(self) -> Numbers:
        """The stations that are depots, sorted by city."""
        order = np.argsort(self.city, kind="stable")
        return order[order != self.hub]

    def serving(self, city: Numbers, customer: Numbers) -> Numbers:
        """Return the depot that serves each customer in a city: always the same one."""
        depots = self.depots
        bounds = np.searchsorted(self.city[depots], np.arange(len(CITIES) + 1))
        return depots[bounds[city] + customer % (bounds[city + 1] - bounds[city])]


@dataclass(frozen=True)
class _Scans:
    """Scans in the order in which they were drawn; `order` is the order's number, `kind` the scan's type."""

    at: Numbers
    order: Numbers
    station: Numbers
    kind: Numbers
    weight: Numbers
    customer: Numbers
    note: Numbers

    def __getitem__(self, rows: Numbers) -> "_Scans":
        return _Scans(**{name: column[rows] for name, column in vars(self).items()})

    def __add__(self, other: "_Scans") -> "_Scans":
        return _Scans(
            **{name: np.concatenate([column, getattr(other, name)]) for name, column in vars(self).items()}
        )


def write(shop: Shop, landing: Landing, truth: Truth) -> None:
    """Write the stations, and the scans of each day in the order of their arrival."""
    stations = _draw_stations(shop)
    _write_stations(landing, stations)
    underway = _Scans(*(np.empty(0, dtype=np.int64) for _ in _Scans.__dataclass_fields__))
    rows = parcels = hub_rows = 0
    for day in range(calendar.DAYS):
        underway += _drawn(shop, stations, day)
        due = underway.at < (day + 1) * calendar.DAY
        today, underway = underway[due], underway[~due]
        today = today[np.argsort(today.at, kind="stable")]
        if len(today.at):
            path = f"parcel_scans/scans_{calendar.day(day)}.parquet"
            landing.parquet(path, _columns(stations, today, rows), SCHEMA, (day + 1) * calendar.DAY)
        rows += len(today.at)
        parcels += int((today.kind == _ACCEPTED).sum())
        hub_rows += int((today.station == stations.hub).sum())
    truth.facts["parcel_scans"] = {
        "rows": rows,
        "parcels": parcels,
        "hub": stations.names[stations.hub],
        "hub_rows": hub_rows,
        "hub_share": round(hub_rows / max(rows, 1), 3),
    }


def _draw_stations(shop: Shop) -> _Stations:
    """Draw where the stations are: a depot in each city, more of them in the larger ones, and the hub."""
    draws = Draws(shop.seed, "parcel_stations")
    more = shop.settings.parcel_scans.depots + 1 - len(CITIES)
    city = np.concatenate([np.arange(len(CITIES)), draws.pick(CITY_SIZES, more)])
    place = draws.shuffled(len(city))
    return _Stations(city[place], hub=int(np.argmax(place)))


def _write_stations(landing: Landing, stations: _Stations) -> None:
    lines = []
    counted = [0] * len(CITIES)
    for station, (name, city) in enumerate(zip(stations.names, stations.city.tolist(), strict=True)):
        place = CITIES[city].name
        if station == stations.hub:
            lines.append(f"{name},Hub {place},{place},hub")
            continue
        counted[city] += 1
        lines.append(f"{name},Depot {place} {counted[city]},{place},depot")
    landing.write("parcel_stations/stations.csv", lines, 0, HEADER)


def _drawn(shop: Shop, stations: _Stations, day: int) -> _Scans:
    """Draw the scans of the parcels that were ordered on a day, over the days that they take."""
    orders = shop.day(day)
    which, sent, delivered = deliveries(shop, orders, day)
    count = len(which)
    draws = Draws(shop.seed, "parcel_scans", day)
    at = _moments(draws, sent, delivered)
    first, target = _ends(shop, stations, orders, which, day)
    hub = draws.chance(shop.settings.parcel_scans.through_hub, count)
    middle = np.where(hub, stations.hub, target)
    station = np.stack([first, middle, middle, middle, target, target], axis=1)
    weight = _weights(draws, orders)[which]
    real = np.ones(at.shape, dtype=bool)
    # Nobody scans what is handed over at the door.
    real[:, -1] = orders.locker[which] >= 0
    each = real.sum(axis=1)
    return _Scans(
        at=at[real],
        order=np.repeat(orders.number[which], each),
        station=station[real],
        kind=np.broadcast_to(np.arange(len(_TYPES)), at.shape)[real],
        weight=np.repeat(weight, each),
        customer=np.repeat(orders.customer[which], each),
        note=_notes(shop, draws, int(each.sum())),
    )


def _moments(draws: Draws, sent: Numbers, delivered: Numbers) -> Numbers:
    """Draw when each parcel is scanned: one row per parcel, one column per type of scan.

    At least four hours lie between the two, so all stand in the order of the types.
    """
    count, span = len(sent), delivered - sent
    accepted = sent + span * draws.whole(2, 15, count) // 100
    received = sent + span * draws.whole(25, 45, count) // 100
    sorted_ = received + draws.whole(2 * calendar.MINUTE, 25 * calendar.MINUTE, count)
    loaded = sorted_ + span * draws.whole(10, 25, count) // 100
    collected = delivered + draws.whole(20 * calendar.MINUTE, 60 * calendar.HOUR, count)
    return np.stack([accepted, received, sorted_, loaded, delivered, collected], axis=1)


def _ends(shop: Shop, stations: _Stations, orders: Day, which: Numbers, day: int) -> tuple[Numbers, Numbers]:
    """Return for each parcel the depot of the first line's seller, and that of the locker or the door."""
    depots = stations.depots
    seller = shop.goods.seller[orders.product[orders.first_line[which]]]
    customer, locker = orders.customer[which], orders.locker[which]
    home = shop.people.city[calendar.MONTH_OF_DAY[day], customer]
    city = np.where(locker >= 0, shop.locker_city[locker], home)
    return depots[seller % len(depots)], stations.serving(city, customer)


def _weights(draws: Draws, orders: Day) -> Numbers:
    """Draw the weight of each order in grams."""
    count = len(orders)
    # No order at all is no case for reduceat.
    items = np.add.reduceat(orders.quantity, orders.first_line[:-1]) if count else orders.quantity
    return np.minimum(120 + items * draws.whole(180, 650, count), _HEAVIEST)


def _notes(shop: Shop, draws: Draws, count: int) -> Numbers:
    noted = draws.chance(shop.settings.parcel_scans.note, count)
    return np.where(noted, draws.whole(1, len(_NOTES) - 1, count), 0)


def _columns(stations: _Stations, scans: _Scans, before: int) -> dict[str, pa.Array]:
    """Return the columns of a file; `before` is how many scans there were in the files before it."""
    count = len(scans.at)
    orders = scans.order.tolist()
    return {
        "scan_id": pa.array(np.arange(before + 1, before + count + 1)),
        "scanned_at": pa.array(calendar.datetimes(scans.at)).cast(SCHEMA.field("scanned_at").type),
        "parcel_id": pa.array([f"PA{number * _PARCEL_STEP % 10**8:08d}" for number in orders]),
        "order_id": pa.array([order_id(number) for number in orders]),
        "station_id": pa.array(stations.names[scans.station]),
        "scan_type": pa.array(_TYPES[scans.kind]),
        "weight_g": pa.array(scans.weight.astype("int32")),
        "customer_id": pa.array(scans.customer + 1),
        "note": pa.array(_NOTES[scans.note], pa.string()),
    }
