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

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, ValidationError

from medallion.contract import Contract
from press.source import forms
from press.source.forms import Form, Line, Unfit

_CONTRACT = ("makes", "reads", "leaves")


def _ends_the_sentence(said: str) -> str:
    if said != said.strip() or said.endswith(".") or "|" in said or "\n" in said:
        raise ValueError(
            "this is to finish the sentence 'One row is …', in one line, without a full stop or a '|'. "
            "Write it so."
        )
    return said


_Grain = Annotated[str, Field(min_length=1), AfterValidator(_ends_the_sentence)]


class Minutes(Form):
    """The time that a chapter takes."""

    read: NonNegativeInt
    practise: NonNegativeInt


class Header(Form):
    """What one row of each table is, what time the chapter takes, and what its reader can do afterwards.

    `summary`, in a line without a full stop, and `outline`, in a paragraph, are for the lists of chapters.
    """

    grain: Annotated[dict[str, _Grain], BeforeValidator(lambda said: said or {})] = Field(
        default_factory=dict
    )
    minutes: Minutes
    objectives: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    summary: Line
    outline: Line


def of(front: dict[str, Any], promised: Contract) -> Header:
    """Return what the header `front` of a lesson, whose contract is `promised`, says for its readers.

    Only a person can say what one row of a table is, so the header must say it of every table that the
    chapter makes. Raises Unfit when it does not, or when a part is missing, wrong or not known.
    """
    try:
        said = Header.model_validate({key: part for key, part in front.items() if key not in _CONTRACT})
    except ValidationError as error:
        raise _unfit(promised, forms.wrong(error)) from None
    for table in promised.makes:
        if table not in said.grain:
            raise _unfit(promised, f"'grain' does not say what one row of {table} is. Add it.")
    for table in said.grain:
        if table not in promised.makes:
            raise _unfit(
                promised,
                f"'grain' has {table}, which this chapter does not make. Take it away, or add it to 'makes'.",
            )
    return said


def _unfit(promised: Contract, text: str) -> Unfit:
    parts = ", ".join((*_CONTRACT, *Header.model_fields))
    example = (
        "grain: {silver.orders: one order}, minutes: {read: 25, practise: 35}, objectives: [sort a list]"
    )
    return Unfit(
        promised.path, 1, f"in the header, {text} The parts of a header are {parts}; for example {example}."
    )
