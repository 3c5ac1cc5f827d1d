"""The forms that a value of the settings may have, and the words for one that has none of them.

A form reads what stands in the file: a share becomes parts per million. `wrong` says of the first value that
has not its form in which line it stands, under which key, what is wrong and what is allowed.
"""

import difflib
import re
from collections.abc import Callable
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainValidator,
    ValidationError,
    WrapValidator,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MILLION = 1_000_000


class Section(BaseModel):
    """A table of the file: every key is there, and no other."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        # Before the model looks: it would tell of a missing key first, and not know which one was meant.
        keys = ", ".join(cls.model_fields)
        if not isinstance(values, dict):
            raise ValueError(f"{values!r} is not a table with the keys {keys}")
        for key in values:
            if key not in cls.model_fields:
                near = difflib.get_close_matches(key, cls.model_fields, 1)
                told = {"key": key, "keys": keys, "guess": f"; did you mean {near[0]}?" if near else "."}
                text = "there is no such key{guess} The keys here are {keys}"
                raise PydanticCustomError("unknown_key", text, told)
        return values


class Keys:
    """A table with these keys and their forms, as a dictionary in their order; `check` looks at it whole."""

    def __init__(self, forms: dict[str, Any], check: Callable[[Any], dict[str, Any]] = dict) -> None:
        self.forms = forms
        self.check = check

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields: dict[str, Any] = {key: (form, ...) for key, form in self.forms.items()}
        model = create_model("Keys", __base__=Section, **fields)
        return core_schema.no_info_after_validator_function(self.check, handler.generate_schema(model))


def whole(low: int, high: int) -> PlainValidator:
    """A whole number from `low` to `high`."""
    return _number((int,), f"a whole number from {low} to {high}", low, high)


def share(high: float = 1) -> PlainValidator:
    """A share from 0 to `high`, kept in parts per million."""
    return _number((int, float), f"a number from 0 to {high}", 0, high, MILLION)


def _number(kinds: tuple[type, ...], allowed: str, low: int, high: float, parts: int = 1) -> PlainValidator:
    def read(value: Any) -> int:
        if type(value) not in kinds or not low <= value <= high:
            raise ValueError(f"{value!r} is not {allowed}")
        return round(value * parts)

    return PlainValidator(read)


def length(wanted: int) -> WrapValidator:
    """A list of so many numbers, of which one at least is above 0."""

    def read(value: Any, entries: Callable[[Any], tuple[int, ...]]) -> tuple[int, ...]:
        if not isinstance(value, list) or len(value) != wanted:
            raise ValueError(f"{value!r} is not a list of {wanted} numbers")
        numbers = entries(tuple(value))
        if not any(numbers):
            raise ValueError("at least one of the numbers must be above 0")
        return numbers

    return WrapValidator(read)


def wrong(error: ValidationError, text: str) -> str:
    """Return the line and key of the first thing that is wrong in the file of this text, and what it is."""
    told = error.errors(include_url=False)[0]
    key = tuple(part for part in told["loc"] if isinstance(part, str))  # without the places in a list
    context = told.get("ctx", {})
    problem = str(context.get("error", told["msg"]))
    match told["type"]:
        case "missing":
            *above, name = key
            key, problem = tuple(above), f"the key {name} is missing"
        case "unknown_key":
            key = (*key, context["key"])
        case "literal_error":
            allowed = context["expected"].replace("'", "").replace(" or ", ", ")
            problem = f"{told['input']!r} is not one of {allowed}"
    return f"line {_line_of(text, key)}, {'.'.join(key) or 'top level'}: {problem}"


def _line_of(text: str, key: tuple[str, ...]) -> int:
    """Return the line that holds the longest known part of a dotted key, counted from 1."""
    found, depth = 1, 0
    table: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if header := re.match(r"\s*\[([\w.]+)\]", line):
            here = table = header[1].split(".")
        elif assignment := re.match(r"\s*([\w-]+)\s*=", line):
            here = [*table, assignment[1]]
        else:
            continue
        if len(here) > depth and tuple(here) == key[: len(here)]:
            found, depth = number, len(here)
    return found
