"""The checks of chapter 12."""

# PART A

# PART A ends

# PART B

# PART B ends

# PART C

from collections.abc import Callable
from typing import Any, ClassVar

from medallion.lesson.exercise import FunctionExercise, Verdict


def contract_of(version: str = "1.4.2", latency: Any = (7, "d"), **columns: Any) -> dict[str, Any]:
    """Return a small contract; a column is a type, or all that is said of it, or None for no column."""
    says: dict[str, Any] = {
        "week": {"physicalType": "date", "required": True, "primaryKey": True},
        "method": {"physicalType": "string", "required": True, "primaryKey": True},
        "declined": {"physicalType": "int", "required": True},
        "cents": {"physicalType": "bigint"},
    }
    says |= {name: {"physicalType": one} if isinstance(one, str) else one for name, one in columns.items()}
    made: dict[str, Any] = {
        "id": "weekly-payments",
        "version": version,
        "team": {"name": "payments"},
        "schema": [{"properties": [{"name": name, **one} for name, one in says.items() if one]}],
    }
    if latency:
        value, unit = latency
        made["slaProperties"] = [{"property": "latency", "value": value, "unit": unit, "element": "week"}]
    return made


INT, KEY = {"physicalType": "int", "required": True}, {"physicalType": "string", "primaryKey": True}


class NextVersion(FunctionExercise):
    """Exercise 12.6. The semantic version that a changed contract must have."""

    number = "12.6"
    title = "find the version that a contract change needs"
    takes = "a function of two contracts"
    hints = (
        "Compare promises(old) with promises(new). Which promises can only be broken when something is "
        "missing in the new set, and which when anything differs?",
        "A set minus a set is what is missing: was['columns'] - now['columns'] has each column that is gone "
        "or has another type. For required columns it is the same; a key must be equal.",
        "Ask for the major change first, then for the minor one, then whether anything but version differs: "
        "{**new, 'version': old['version']} == old. int() of each part of old['version'] can be raised.",
    )
    returns = "a version as a string"
    kind = str
    other = "For {about} the version should be {expected} after 1.4.2; yours is {found}."
    praise = "Breaking, compatible and other changes are told apart, and the highest one decides."
    cases: ClassVar = (
        ("a column that is gone", contract_of(), contract_of(cents=None), "2.0.0"),
        ("a column with a new name", contract_of(), contract_of(cents=None, amount="bigint"), "2.0.0"),
        ("another type", contract_of(), contract_of(cents="double"), "2.0.0"),
        ("a wider type", contract_of(), contract_of(declined={**INT, "physicalType": "bigint"}), "2.0.0"),
        ("a column that is no longer required", contract_of(), contract_of(declined="int"), "2.0.0"),
        ("another key", contract_of(), contract_of(channel=KEY), "2.0.0"),
        (
            "a key that has lost a column",
            contract_of(),
            contract_of(method={"physicalType": "string", "required": True}),
            "2.0.0",
        ),
        ("a longer latency", contract_of(), contract_of(latency=(8, "d")), "2.0.0"),
        (
            "a latency of 169 hours in the place of 7 days",
            contract_of(),
            contract_of(latency=(169, "h")),
            "2.0.0",
        ),
        ("a latency that is no longer promised", contract_of(), contract_of(latency=None), "2.0.0"),
        ("a column gone and another new", contract_of(), contract_of(cents=None, refunds="int"), "2.0.0"),
        ("a new column", contract_of(), contract_of(refunds="int"), "1.5.0"),
        ("a new column that is required", contract_of(), contract_of(refunds=INT), "1.5.0"),
        (
            "a column that is now required",
            contract_of(),
            contract_of(cents={"physicalType": "bigint", "required": True}),
            "1.5.0",
        ),
        ("a shorter latency", contract_of(), contract_of(latency=(2, "d")), "1.5.0"),
        ("a latency that is newly promised", contract_of(latency=None), contract_of(), "1.5.0"),
        (
            "a latency of 168 hours in the place of 7 days",
            contract_of(),
            contract_of(latency=(168, "h")),
            "1.4.3",
        ),
        ("another team", contract_of(), contract_of() | {"team": {"name": "shop"}}, "1.4.3"),
        (
            "a column with a description",
            contract_of(),
            contract_of(cents={"physicalType": "bigint", "description": "EUR cents"}),
            "1.4.3",
        ),
        (
            "`required: false` where nothing was said",
            contract_of(),
            contract_of(cents={"physicalType": "bigint", "required": False}),
            "1.4.3",
        ),
        ("nothing", contract_of(), contract_of(), "1.4.2"),
        ("nothing but the version, which says 9.0.0", contract_of(), contract_of("9.0.0"), "1.4.2"),
        (
            "a new column, where the new file says 1.4.2 too",
            contract_of(),
            contract_of("1.4.2", refunds="int"),
            "1.5.0",
        ),
    )

    def check(self, function: Callable[..., Any]) -> Verdict:
        verdict = super().check(function)
        if verdict.state != "right":
            return verdict
        old, new = contract_of("1.9.9"), contract_of("1.9.9", refunds="int")
        if (found := function(old, new)) != "1.10.0":
            return self.wrong(f"For a new column after 1.9.9 the version should be 1.10.0; yours is {found}.")
        if (old, new) != (contract_of("1.9.9"), contract_of("1.9.9", refunds="int")):
            return self.wrong("Your function changes a contract that it was given. Only read them.")
        return verdict


next_version = NextVersion()

# PART C ends
