"""Tickets of customer service, one file per month: personal data where no name of a field announces it.

Everybody in them is made up, and so is every number:

- E-mail addresses are under `example.com`, `.org`, `.net` and `.example`, reserved by RFC 2606.
- Phone numbers are from the ranges that are kept for film and television by the Bundesnetzagentur (Mitteilung
  148/2021), ARCEP (06 39 98, 01 99 00), Ofcom (020 7946 0, 07700 900) and the Swedish PTS (08-465 004).
- Card numbers begin as the test cards of payment providers do (4000 00, 5555 55, 3782 82) and have the check
  digit of ISO/IEC 7812-1, Luhn's. No range is kept for made-up cards.
- IBANs have the check digits of ISO 13616, computed modulo 97 as ISO/IEC 7064 (MOD 97-10) says, and a bank
  code that no bank has: zeros, or XXXX in the Netherlands.

Look-alikes stand beside them: numbers, codes and words that are no personal data and look as if they were.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from kestrel import calendar, words
from kestrel.customers import email, plain
from kestrel.draws import Draws
from kestrel.names import CITIES, FIRST_NAMES, LAST_NAMES
from kestrel.planted import Truth
from kestrel.settings import MILLION
from kestrel.shop import HONEST, Shop, customer_id, order_id
from kestrel.writing import Landing

Option = TypeVar("Option")

# More than any ticket or person takes
_NUMBERS = 128
_CHANNELS = ("web_form", "email", "chat", "phone")
_TEAMS = {
    "late_delivery": "delivery-team",
    "missing_item": "delivery-team",
    "damaged_item": "returns-team",
    "refund": "payments-team",
    "invoice": "payments-team",
    "login": "accounts-team",
}


class _Luck:
    """Random numbers that are taken one after the other."""

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = iter(numbers)

    def below(self, limit: int) -> int:
        return next(self._numbers) * limit >> 32

    def of(self, options: Sequence[Option]) -> Option:
        return options[self.below(len(options))]

    def chance(self, rate: int) -> bool:
        return self.below(MILLION) < rate

    def digits(self, count: int) -> str:
        return f"{self.below(10**count):0{count}d}" if count < 9 else self.digits(8) + self.digits(count - 8)


def _lucks(draws: Draws, count: int) -> list[_Luck]:
    numbers = draws.whole(0, 2**32 - 1, count * _NUMBERS).reshape(count, _NUMBERS)
    return [_Luck(row) for row in numbers.tolist()]


@dataclass(frozen=True)
class _Person:
    """Who writes, with what only service gets to know: the same in all tickets of that person."""

    name: str
    email: str
    phone: tuple[str, str, str]
    card: str
    iban: str
    address: str
    german: bool


@dataclass
class _Ticket:
    """One ticket in the making, and the truth about it: kinds by the path of the field."""

    luck: _Luck
    person: _Person
    rates: Any
    personal: dict[str, list[str]] = field(default_factory=dict)
    look_alikes: dict[str, list[str]] = field(default_factory=dict)

    def tell(self, path: str, kind: str, text: str) -> str:
        """Return personal data that stand in a field, and keep that in the truth."""
        self.personal.setdefault(path, []).append(kind)
        return text

    def feign(self, path: str, kind: str, text: str) -> str:
        """Return a look-alike that stands in a field, and keep that in the truth."""
        self.look_alikes.setdefault(path, []).append(kind)
        return text

    def tongue(self, pair: tuple[Option, Option]) -> Option:
        """Return the English or the German one."""
        return pair[self.person.german]


@dataclass
class _Told:
    """What becomes the truth of all tickets."""

    rows: int = 0
    unknown_field: int = 0
    personal: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    look_alikes: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    persons: dict[str, list[str]] = field(default_factory=dict)
    second_addresses: dict[str, dict[str, str]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "broken": self.broken,
            "unknown_field": self.unknown_field,
            "counts": _counts(self.personal),
            "look_alike_counts": _counts(self.look_alikes),
            "personal": self.personal,
            "look_alikes": self.look_alikes,
            "persons": self.persons,
            "second_addresses": dict(sorted(self.second_addresses.items())),
        }


def _counts(told: Mapping[str, Mapping[str, list[str]]]) -> dict[str, int]:
    kinds = Counter(kind for paths in told.values() for found in paths.values() for kind in found)
    return dict(sorted(kinds.items()))


def write(shop: Shop, landing: Landing, truth: Truth) -> None:
    """Write the tickets of each month."""
    told = _Told()
    orders = 0
    lines: list[str] = []
    for day in range(calendar.DAYS):
        rate = shop.settings.support.tickets_per_order
        before, orders = orders, orders + shop.honest_orders(day)
        count = orders * rate // MILLION - before * rate // MILLION
        path = f"support/tickets_{calendar.month(day)}.jsonl"
        lines += _day(shop, told, day, count, path, len(lines))
        if day + 1 == calendar.DAYS or calendar.month(day + 1) != calendar.month(day):
            if lines:
                landing.write(path, lines, (day + 1) * calendar.DAY)
            lines = []
    truth.facts["support"] = told.as_dict()


def _day(shop: Shop, told: _Told, day: int, count: int, path: str, before: int) -> Iterator[str]:
    """Yield the tickets of a day; `before` is how many lines their file has already."""
    if not count:
        return
    draws = Draws(shop.seed, "support", day)
    orders = shop.day(day)
    good = np.flatnonzero((orders.actor == HONEST) & (orders.flaw == 0))
    about = good[draws.below(np.full(count, len(good)))]
    # Within three hours after the order, and before the day is over.
    wait = draws.whole(20 * calendar.MINUTE, 180 * calendar.MINUTE, count)
    at = np.minimum(orders.at[about] + wait, (day + 1) * calendar.DAY - 1000)
    late = np.argsort(at, kind="stable")
    about = about[late]
    for line, (stamp, account, order, luck) in enumerate(
        zip(
            calendar.text(at[late], "s"),
            orders.customer[about].tolist(),
            orders.number[about].tolist(),
            _lucks(draws, count),
            strict=True,
        ),
        start=before + 1,
    ):
        yield _ticket(shop, told, luck, account, order_id(order), stamp, day, f"{path}:{line}")


def _ticket(
    shop: Shop, told: _Told, luck: _Luck, account: int, order: str, stamp: str, day: int, place: str
) -> str:
    """Return the line of one ticket, and add to the truth what it holds. `place` is its file and line."""
    settings = shop.settings.support
    guest, other = luck.chance(settings.guest), luck.chance(settings.household)
    stranger, writer = luck.chance(MILLION // 2), account
    if other and not guest:
        writer = _of_the_household(shop, luck, account)
    # Half of the guests are customers who have not logged in.
    person = _stranger(luck) if guest and stranger else _person(shop, writer, day)
    told.rows += 1
    number = f"TK{told.rows:07d}"
    ticket = _Ticket(luck, person, settings)
    if not (guest and stranger) and _second(shop, writer) and luck.chance(MILLION // 2):
        # From another address, under another spelling of the name; only service knows either.
        ticket.person = person = _otherwise(person, writer)
        told.second_addresses[customer_id(writer)] = {"email": person.email, "name": person.name}
    fields = {
        "ticket_id": number,
        "opened_at": stamp,
        "customer_id": None if guest else customer_id(account),
        **_fields(ticket, None if guest else order),
    }
    told.unknown_field += "extra" in fields
    accounts = ([] if guest else [account]) + ([] if guest and stranger else [writer])
    text = json.dumps(fields, ensure_ascii=False)
    if broken := luck.chance(settings.broken_line):
        # The end is missing, within the tags, so that all personal data are still there.
        text = text[: len(text) - 2 - luck.below(len(json.dumps(fields["tags"])) - 2)]
        told.broken[number] = place
    _note(told.personal, number, ticket.personal, broken)
    _note(told.look_alikes, number, ticket.look_alikes, broken)
    if accounts and (broken or guest or writer != account):
        told.persons[number] = [customer_id(one) for one in dict.fromkeys(accounts)]
    return text


def _note(told: dict[str, dict[str, list[str]]], key: str, kinds: dict[str, list[str]], broken: bool) -> None:
    if broken:
        # A line that cannot be parsed has no fields: all of it goes to one column.
        kinds = {"_corrupt_record": [kind for found in kinds.values() for kind in found]} if kinds else {}
    if kinds:
        told[key] = kinds


def _fields(ticket: _Ticket, order: str | None) -> dict[str, Any]:
    """Return the fields of a ticket that are about its content, in their order."""
    luck, person = ticket.luck, ticket.person
    reason = luck.of(tuple(_TEAMS))
    channel = luck.of(_CHANNELS)
    subject = ticket.tongue(words.SUBJECTS[reason])
    if luck.chance(ticket.rates.subject_name):
        subject = ticket.tongue(words.SUBJECTS_WITH_NAME).format(ticket.tell("subject", "name", person.name))
    fields = {
        "channel": channel,
        "contact_reason": reason,
        "subject": subject,
        "message": _message(ticket, reason),
        "page_url": _page(ticket, reason) if channel in ("web_form", "chat") else None,
        "contact": _contact(ticket, channel),
        "order_id": order,
        "ref": _ref(ticket),
        "agent": _TEAMS[reason],
        "email_status": luck.of(("sent", "sent", "sent", "bounced", "none")),
        "note": _noted(ticket),
        "attachments": _attachments(ticket),
    }
    if luck.chance(ticket.rates.unknown_field):
        fields["extra"] = _extra(ticket)
    return {**fields, "tags": [luck.of(words.TAGS)]}


def _message(ticket: _Ticket, reason: str) -> str:
    luck, rates = ticket.luck, ticket.rates.message
    sentences = [luck.of(ticket.tongue(words.OPENERS[reason]))]
    # Each is drawn whether or not it is told, so that a changed rate moves nothing else.
    values = {
        "email": ticket.person.email,
        "phone": _phone(luck, ticket.person),
        "card": _grouped(luck, ticket.person.card),
        "iban": _grouped(luck, ticket.person.iban),
        "name": ticket.person.name,
    }
    spelled = luck.chance(ticket.rates.spelled_email)
    for kind in ("email", "phone", "card", "iban"):
        if luck.chance(rates[kind]):
            text = ticket.tell("message", kind, values[kind])
            if kind == "email" and spelled:
                text = text.replace("@", " (at) ")
            sentences.append(ticket.tongue(words.PERSONAL[kind]).format(text))
    for kind, pair in words.LOOK_ALIKES.items():
        text = _look_alike(luck, kind)
        if luck.chance(ticket.rates.look_alike):
            sentences.append(ticket.tongue(pair).format(ticket.feign("message", kind, text)))
    if luck.chance(rates["name"]):
        name = ticket.tell("message", "name", values["name"])
        sentences.append(ticket.tongue(words.PERSONAL["name"]).format(name))
    return " ".join(sentences)


def _noted(ticket: _Ticket) -> str:
    """Return what an agent has noted, in English."""
    luck, person = ticket.luck, ticket.person
    sentences = [luck.of(words.NOTES)]
    values = {
        "card": _grouped(luck, person.card),
        "iban": _grouped(luck, person.iban),
        "phone": _phone(luck, person),
        "name": person.name,
    }
    for kind, sentence in words.PERSONAL_NOTES.items():
        if luck.chance(ticket.rates.note[kind]):
            sentences.append(sentence.format(ticket.tell("note", kind, values[kind])))
    for kind, sentence in words.NOTED_LOOK_ALIKES.items():
        text = _look_alike(luck, kind)
        if luck.chance(ticket.rates.look_alike):
            sentences.append(sentence.format(ticket.feign("note", kind, text)))
    return " ".join(sentences)


def _page(ticket: _Ticket, reason: str) -> str:
    """Return the page that the customer was on, some with the e-mail address among the parameters."""
    luck = ticket.luck
    page = f"https://www.kestrel.example/help/{reason.replace('_', '-')}?lang={ticket.tongue(('en', 'de'))}"
    name = luck.of(("email", "email", "ref", "u"))
    sign = luck.of(("@", "%40", "%40", "%2540"))
    if luck.chance(ticket.rates.url_email):
        address = ticket.tell("page_url", "email", ticket.person.email)
        page += f"&{name}={address.replace('@', sign)}"
    return page


def _contact(ticket: _Ticket, channel: str) -> dict[str, str | None]:
    person = ticket.person
    contact: dict[str, str | None] = {"name": ticket.tell("contact.name", "name", person.name)}
    by_phone = channel == "phone"
    contact["reply_to"] = None if by_phone else ticket.tell("contact.reply_to", "email", person.email)
    number = _phone(ticket.luck, person)
    given = ticket.luck.chance(ticket.rates.contact_phone) or by_phone
    contact["phone"] = ticket.tell("contact.phone", "phone", number) if given else None
    return contact


def _ref(ticket: _Ticket) -> str:
    number = f"RF-{ticket.luck.digits(6)}"
    if ticket.luck.chance(ticket.rates.ref_email):
        return ticket.tell("ref", "email", ticket.person.email)
    return number


def _attachments(ticket: _Ticket) -> list[dict[str, str]]:
    luck, person = ticket.luck, ticket.person
    photo = {"file": f"photo-{luck.digits(4)}.jpg", "text": luck.of(words.ATTACHED)}
    attached = [photo] if luck.chance(MILLION // 4) else []
    if luck.chance(ticket.rates.attached_address):
        name = ticket.tell("attachments[].text", "name", person.name)
        address = ticket.tell("attachments[].text", "address", person.address)
        attached.append({"file": f"label-{luck.digits(4)}.pdf", "text": f"Deliver to: {name}, {address}"})
    return attached


def _extra(ticket: _Ticket) -> dict[str, Any]:
    """Return a field that nobody has announced: in one of three nothing of it is personal."""
    which = ticket.luck.below(3)
    number = _phone(ticket.luck, ticket.person)
    if which == 0:
        return {"device": {"model": "tablet", "app": "4.2.1"}}
    if which == 1:
        return {
            "callback": {"number": ticket.tell("extra.callback.number", "phone", number), "when": "evening"}
        }
    address = ticket.tell("extra.neighbour.door", "address", ticket.person.address)
    return {"neighbour": {"door": address, "floor": 2}}


def _second(shop: Shop, account: int) -> bool:
    """Return whether a customer has a second address that only service knows."""
    draws = Draws(shop.seed, "support second address", account)
    return bool(draws.chance(shop.settings.support.second_address, 1)[0])


def _of_the_household(shop: Shop, luck: _Luck, account: int) -> int:
    """Return somebody else who lives with the customer, or the customer."""
    home = shop.people.home_device
    return luck.of(
        [one for one in np.flatnonzero(home == home[account]).tolist() if one != account] or [account]
    )


def _person(shop: Shop, account: int, day: int) -> _Person:
    people, month = shop.people, calendar.MONTH_OF_DAY[day]
    first, last = int(people.first_name[account]), int(people.last_name[account])
    city = CITIES[int(people.city[month, account])]
    (luck,) = _lucks(Draws(shop.seed, "support person", account), 1)
    (home,) = _lucks(Draws(shop.seed, "support home", int(people.home_device[account])), 1)
    street = f"{home.of(words.STREETS)} {home.below(90) + 1}"
    return _known(
        luck,
        f"{FIRST_NAMES[first]} {LAST_NAMES[last]}",
        email(account, first, last),
        f"{street}, {city.postcode}{int(people.street[month, account])} {city.name}",
        city.name in words.GERMAN,
    )


def _stranger(luck: _Luck) -> _Person:
    """Return somebody who is no customer."""
    first, last, city = luck.of(FIRST_NAMES), luck.of(LAST_NAMES), luck.of(CITIES)
    address = (
        f"{luck.of(words.STREETS)} {luck.below(90) + 1}, {city.postcode}{luck.below(900) + 100} {city.name}"
    )
    mail = f"{plain(first)}.{plain(last)}{luck.below(90) + 10}@guest.example"
    return _known(luck, f"{first} {last}", mail, address, city.name in words.GERMAN)


def _known(luck: _Luck, name: str, mail: str, address: str, german: bool) -> _Person:
    return _Person(name, mail, _number(luck), _card(luck), _iban(luck), address, german)


def _otherwise(person: _Person, account: int) -> _Person:
    first, last = person.name.split()
    initial, ascii_first, ascii_last = first[0], plain(first).title(), plain(last).title()
    name = (f"{ascii_first} {ascii_last}", f"{last}, {first}", f"{initial}. {last}")[account % 3]
    mail = f"{plain(last)}{account + 1:06d}@post.example"
    return replace(person, name=name if name != person.name else f"{initial}. {last}", email=mail)


def _number(luck: _Luck) -> tuple[str, str, str]:
    """Return a phone number of a range kept for fiction: country, area and subscriber."""
    country, area, start, digits = luck.of(
        (
            ("49", "30", "23125", 3),
            ("49", "40", "66969", 3),
            ("49", "221", "4710", 3),
            ("33", "1", "9900", 4),
            ("33", "6", "3998", 4),
            ("44", "20", "79460", 3),
            ("44", "7700", "900", 3),
            ("46", "8", "465004", 2),
        )
    )
    return country, area, start + luck.digits(digits)


def _phone(luck: _Luck, person: _Person) -> str:
    """Write a phone number in one of several notations."""
    country, area, number = person.phone
    middle = len(number) // 2
    return luck.of(
        (
            f"+{country} {area} {number}",
            f"+{country}{area}{number}",
            f"00{country} {area} {number[:middle]} {number[middle:]}",
            f"0{area}/{number}",
            f"(0{area}) {number[:middle]}-{number[middle:]}",
            f"0{area} {number}",
        )
    )


def _card(luck: _Luck) -> str:
    start, length = luck.of((("400000", 16), ("555555", 16), ("378282", 15)))
    return _with_check_digit(start + luck.digits(length - 1 - len(start)))


def _with_check_digit(digits: str) -> str:
    """Append the check digit of ISO/IEC 7812-1: from the right every other digit counts twice."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return f"{digits}{-total % 10}"


def _iban(luck: _Luck) -> str:
    country, bank, length = luck.of((("DE", "0" * 8, 10), ("AT", "0" * 5, 11), ("NL", "XXXX", 10)))
    account = luck.digits(length)
    return f"{country}{_check_digits(country, bank + account):02d}{bank}{account}"


def _check_digits(country: str, rest: str) -> int:
    """Return the check digits of ISO 13616: 98 less the remainder modulo 97, with letters as 10 to 35."""
    return 98 - int("".join(str(int(letter, 36)) for letter in f"{rest}{country}00")) % 97


def _grouped(luck: _Luck, number: str) -> str:
    """Write a card or an account in groups of four, with dashes or as one word."""
    groups = [number[start : start + 4] for start in range(0, len(number), 4)]
    return luck.of((" ", " ", "-", "")).join(groups)


def _look_alike(luck: _Luck, kind: str) -> str:
    """Return what looks personal and is not."""
    match kind:
        case "order_number":
            # The last digit is another one than Luhn's.
            right = _with_check_digit(f"2025{luck.digits(11)}")
            return f"{right[:-1]}{(int(right[-1]) + 1 + luck.below(9)) % 10}"
        case "luhn_by_chance":
            return _with_check_digit(f"9{luck.digits(14)}")
        case "tracking":
            return f"00{luck.digits(18)}"
        case "iban_like":
            right = _iban(luck)
            # Check digits go from 02 to 98; the step never leads back to the right ones.
            wrong = (int(right[2:4]) - 2 + 1 + luck.below(96)) % 97 + 2
            return f"{right[:2]}{wrong:02d}{right[4:]}"
        case "date":
            day, month = luck.below(28) + 1, luck.below(6) + 7
            return luck.of(
                (
                    f"{day:02d}.{month:02d}.2025",
                    f"2025-{month:02d}-{day:02d} 12:30",
                    f"{day:02d}/{month:02d}/2025",
                )
            )
        case "product_number":
            return luck.of((f"2{luck.digits(12)}", f"0000-{luck.digits(6)}"))
        case "user_at_host":
            return luck.of(("root@mail01", "cron@batch-2", "postfix@localhost"))
        case _:
            return luck.of(("@kestrelmarket", "@kestrel_help"))
