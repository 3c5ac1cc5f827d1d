"""What an author writes in YAML, held against its form: where it is wrong and what to do, in words."""

import reprlib
from pathlib import Path
from typing import Annotated, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from medallion import contract
from medallion.errors import MedallionError

_Read = TypeVar("_Read")

# A text, on one line however it is written
Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    AfterValidator(lambda text: " ".join(text.split())),
]


class Form(BaseModel):
    """A block with the parts of its fields and no other. No value is taken for one of another kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Unfit(MedallionError):
    """A file that is not of its form: its path as messages show it, the line from 1, and what to do."""

    def __init__(self, path: Path, line: int, text: str) -> None:
        self.path, self.line, self.text = contract.shown(path), line, text
        super().__init__(f"{self.path}:{line}: {text}")


def read(path: Path, form: TypeAdapter[_Read], each: str) -> _Read:
    """Return what the YAML file `path` holds; `each` is what one entry is called when it holds a list.

    Raises Unfit when the file is not there, is not YAML, or is not of its form.
    """
    try:
        return form.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise Unfit(path, 1, wrong(error, each)) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        line = mark.line + 1 if mark else 1
        raise Unfit(path, line, f"this cannot be read as YAML ({reason}). Correct it.") from error


def wrong(error: ValidationError, each: str = "entry") -> str:
    """Return the first thing that is wrong: "question 2, answer 3, 'why': this is missing. Add it."

    An entry of a list is called by the name of the list, and `each` where the list has no name.
    """
    first = error.errors(include_url=False)[0]
    places: list[str] = []
    for part in first["loc"]:
        if isinstance(part, int):
            one = places.pop().strip("'").removesuffix("s") if places else each
            places.append(f"{one} {part + 1}")
        else:
            places.append(f"'{part}'")
    given = reprlib.Repr().repr1(first["input"], 1)  # of a list only its length
    match first["type"]:
        case "value_error":
            text = str(first["ctx"]["error"])
        case "missing":
            text = "this is missing. Add it."
        case "extra_forbidden":
            text = "this is not known. Take it away, or correct its name."
        case "string_type":
            text = f"{given} is not a text. Write one, in quotes if need be."
        case _:
            text = f"{given} will not do ({first['msg']}). Correct it."
    return ": ".join(filter(None, [", ".join(places), text]))
