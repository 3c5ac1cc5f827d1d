"""The checks of chapter 10."""

from collections.abc import Sequence
from typing import Any

from medallion.lesson.exercise import FunctionExercise
from medallion.lesson.frames import frame_of


class Paid(FunctionExercise):
    """Exercise 10.1. The answer adds up the totals above zero, also where there is none."""

    number = "10.1"
    title = "what was paid"
    takes = "a function of a DataFrame that returns a number"
    hints = (
        "Two steps: keep some of the rows, then add up one of their columns.",
        "What is the sum of no rows? Ask Spark: SELECT sum(id) FROM range(0).",
        "where('total_cents > 0'), then coalesce(sum(total_cents), 0).",
    )
    # What the case is about; the totals of its orders, and what was paid
    cases = (
        ("one total below zero", [500, -20, 80], 580),
        ("no total above zero", [-20], 0),
        ("a total that is not known", [None, 80], 80),
        ("no order at all", [], 0),
    )
    returns = "a whole number"
    kind = int
    other = "For {about}, {given[0]}, it is {expected} cents; yours is {found}."
    praise = "What was paid is added up, and nothing paid is 0."

    def arguments(self, *given: Any) -> Sequence[Any]:
        return [frame_of(((total,) for total in given[0]), "total_cents INT")]


paid = Paid()
