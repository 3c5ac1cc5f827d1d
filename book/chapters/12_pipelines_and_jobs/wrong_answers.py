"""What the checks of chapter 12 say of wrong answers, and other right ones."""

WRONG = []
RIGHT = []

# PART A

WRONG += []
RIGHT += []

# PART A ends

# PART B

WRONG += []
RIGHT += []

# PART B ends

# PART C

from collections.abc import Callable
from typing import Any

HOURS = {"h": 1, "d": 24}


def promises(contract: dict[str, Any], hours: dict[str, int] = HOURS) -> dict[str, Any]:
    columns = contract["schema"][0]["properties"]
    slas = contract.get("slaProperties", [])
    return {
        "columns": {(one["name"], one["physicalType"]) for one in columns},
        "names": {one["name"] for one in columns},
        "required": {one["name"] for one in columns if one.get("required")},
        "key": {one["name"] for one in columns if one.get("primaryKey")},
        "hours": min((hours[one["unit"]] * one["value"] for one in slas), default=float("inf")),
    }


def next_version(
    gone: Callable[[Any, Any], Any] = lambda was, now: was["columns"] - now["columns"],
    loose: Callable[[Any, Any], Any] = lambda was, now: was["required"] - now["required"],
    key: Callable[[Any, Any], Any] = lambda was, now: was["key"] != now["key"],
    late: Callable[[Any, Any], Any] = lambda was, now: was["hours"] < now["hours"],
    better: Callable[[Any, Any], Any] = lambda was, now: (
        now["columns"] - was["columns"] or now["required"] - was["required"] or now["hours"] < was["hours"]
    ),
    same: Callable[[Any, Any], Any] = lambda old, new: {**new, "version": old["version"]} == old,
    hours: dict[str, int] = HOURS,
    zero: bool = True,
    of: str = "old",
    change: bool = False,
) -> Callable[..., Any]:
    def answer(old: dict[str, Any], new: dict[str, Any]) -> str:
        major, minor, patch = map(int, (old if of == "old" else new)["version"].split("."))
        was, now = promises(old, hours), promises(new, hours)
        if any(breaks(was, now) for breaks in (gone, loose, key, late)):
            found = f"{major + 1}.0.0" if zero else f"{major + 1}.{minor}.{patch}"
        elif better(was, now):
            found = f"{major}.{minor + 1}.0"
        else:
            found = f"{major}.{minor}.{patch + (not same(old, new))}"
        if change:
            new["version"] = found
        return found

    return answer


def never(*_: Any) -> bool:
    return False


def one_digit(old: dict[str, Any], new: dict[str, Any]) -> str:
    found = next_version()(old, new)
    return found.replace("10", "9")


def as_numbers(old: dict[str, Any], new: dict[str, Any]) -> Any:
    return tuple(map(int, next_version()(old, new).split(".")))


def in_a_loop(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Look at one column after the other, and keep the highest change."""
    was, now = ({c["name"]: c for c in one["schema"][0]["properties"]} for one in (old, new))
    rest = [{k: v for k, v in one.items() if k != "version"} for one in (old, new)]
    found = [int(rest[0] != rest[1])]
    for name in {*was, *now}:
        if name not in now or (name not in was and now[name].get("primaryKey", False)):
            found.append(3)
        elif name not in was:
            found.append(2)
        else:
            before, after = was[name], now[name]
            needs = [bool(one.get("required")) for one in (before, after)]
            if before["physicalType"] != after["physicalType"] or needs == [True, False]:
                found.append(3)
            if bool(before.get("primaryKey")) != bool(after.get("primaryKey")):
                found.append(3)
            found += [2] * (needs == [False, True])
    before, after = promises(old)["hours"], promises(new)["hours"]
    found.append(3 if after > before else 2 if after < before else 0)
    parts = [int(part) for part in old["version"].split(".")]
    level = max(found)
    if level:
        place = 3 - level
        parts = [*parts[:place], parts[place] + 1, *[0] * (level - 1)]
    return ".".join(map(str, parts))


def said(about: str, expected: str, found: str) -> str:
    return f"For {about} the version should be {expected} after 1.4.2; yours is {found}."


WRONG += [
    (
        "next_version",
        next_version(gone=lambda was, now: was["names"] - now["names"]),
        said("another type", "2.0.0", "1.5.0"),
    ),
    (
        "next_version",
        next_version(gone=lambda was, now: len(was["names"]) > len(now["names"])),
        said("a column with a new name", "2.0.0", "1.5.0"),
    ),
    (
        "next_version",
        next_version(loose=never),
        said("a column that is no longer required", "2.0.0", "1.4.3"),
    ),
    (
        "next_version",
        next_version(loose=lambda was, now: was["required"] != now["required"]),
        said("a new column that is required", "1.5.0", "2.0.0"),
    ),
    ("next_version", next_version(key=never), said("another key", "2.0.0", "1.5.0")),
    (
        "next_version",
        next_version(key=lambda was, now: now["key"] - was["key"]),
        said("a key that has lost a column", "2.0.0", "1.4.3"),
    ),
    ("next_version", next_version(late=never), said("a longer latency", "2.0.0", "1.4.3")),
    (
        "next_version",
        next_version(hours={"h": 1, "d": 1}),
        said("a latency of 168 hours in the place of 7 days", "1.4.3", "2.0.0"),
    ),
    (
        "next_version",
        next_version(late=lambda was, now: was["hours"] < now["hours"] < float("inf")),
        said("a latency that is no longer promised", "2.0.0", "1.4.3"),
    ),
    (
        "next_version",
        next_version(better=lambda was, now: now["columns"] - was["columns"]),
        said("a column that is now required", "1.5.0", "1.4.3"),
    ),
    (
        "next_version",
        next_version(zero=False),
        said("a column that is gone", "2.0.0", "2.4.2"),
    ),
    ("next_version", next_version(same=never), said("nothing", "1.4.2", "1.4.3")),
    (
        "next_version",
        next_version(same=lambda old, new: old == new),
        said("nothing but the version, which says 9.0.0", "1.4.2", "1.4.3"),
    ),
    (
        "next_version",
        next_version(of="new"),
        said("nothing but the version, which says 9.0.0", "1.4.2", "9.0.0"),
    ),
    (
        "next_version",
        next_version(change=True),
        "Your function changes a contract that it was given. Only read them.",
    ),
    (
        "next_version",
        one_digit,
        "For a new column after 1.9.9 the version should be 1.10.0; yours is 1.9.0.",
    ),
    (
        "next_version",
        as_numbers,
        "Your function returned (2, 0, 0). It should return a version as a string.",
    ),
]
RIGHT += [("next_version", next_version()), ("next_version", in_a_loop)]

# PART C ends
