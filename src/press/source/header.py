"""What the header of a lesson says for its readers, beside the contract.

    grain: {silver.orders: one order}
    minutes: {read: 25, practise: 35}
    objectives: [tell a repeat from an update]
    summary: expectations, quarantine, and one disposition for each row
    outline: >-
      What the chapter holds, in a paragraph for the outline of the book.

The contract itself, `makes`, `reads` and `leaves`, is read by `medallion.contract`.
"""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
)

from medallion import contract
from medallion.contract import Contract
from medallion.errors import MedallionError

_CONTRACT = ("makes", "reads", "leaves")
_HOW_GRAIN = "Add for example 'grain: {silver.orders: one order}'."
_TOLD = {
    "grain": f"'grain' in the header is no list of tables. {_HOW_GRAIN}",
    "minutes": "the header lacks 'minutes', the time that the chapter takes. "
    "Add for example 'minutes: {read: 25, practise: 35}'.",
    "objectives": "the header lacks 'objectives', what the reader can do afterwards. "
    "Add a list of sentences that begin with a verb.",
    "summary": "'summary' in the header is no text. Put it between quotes, or after 'summary: >-'.",
    "outline": "'outline' in the header is no text. Put it between quotes, or after 'outline: >-'.",
}


def _ends_the_sentence(said: str) -> str:
    if said != said.strip() or said.endswith(".") or "|" in said or "\n" in said:
        raise ValueError(
            "is to finish the sentence 'One row is …', in one line, without a full stop or a '|'"
        )
    return said


_Grain = Annotated[str, Field(min_length=1), AfterValidator(_ends_the_sentence)]


_Line = Annotated[str, AfterValidator(lambda said: " ".join(said.split()))]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Minutes(_Strict):
    """The time that a chapter takes."""

    read: NonNegativeInt
    practise: NonNegativeInt


class Header(_Strict):
    """What one row of each table is, what time the chapter takes, and what its reader can do afterwards.

    `summary`, in a line, and `outline`, in a paragraph, are for the lists of chapters: "" without one, of
    which these lists complain.
    """

    grain: Annotated[dict[str, _Grain], BeforeValidator(lambda said: said or {})] = Field(
        default_factory=dict
    )
    minutes: Minutes
    objectives: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    summary: _Line = ""
    outline: _Line = ""


def of(front: dict[str, Any], promised: Contract) -> Header:
    """Return what the header `front` of a lesson, whose contract is `promised`, says for its readers.

    Only a person can say what one row of a table is, so the header must say it of every table that the
    chapter makes. Raises MedallionError when it does not, or when a part is missing, wrong or not known.
    """
    try:
        said = Header.model_validate({key: part for key, part in front.items() if key not in _CONTRACT})
    except ValidationError as error:
        raise _wrong(promised, _told(error)) from None
    for table in promised.makes:
        if table not in said.grain:
            raise _wrong(promised, _unsaid(table))
    for table in said.grain:
        if table not in promised.makes:
            raise _wrong(
                promised,
                f"the header says the grain of {table}, which this chapter does not make. "
                "Take it away, or add the table to 'makes'.",
            )
    return said


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    part, *inside = first["loc"]
    if part not in Header.model_fields:
        known = ", ".join((*_CONTRACT, *Header.model_fields))
        return f"the header has no part '{part}'. Take it away; the parts are {known}."
    if part != "grain" or not inside:
        return _TOLD[str(part)]
    if first["type"] == "value_error":
        return f"the grain of {inside[0]} {first['ctx']['error']}. Write it so."
    return _unsaid(inside[0])


def _unsaid(table: object) -> str:
    return f"the header does not say what one row of {table} is. {_HOW_GRAIN}"


def _wrong(promised: Contract, text: str) -> MedallionError:
    return MedallionError(f"{contract.shown(promised.path)}:1: {text}")
