"""What every exercise shares: the verdict, three hints, and a learner's mistake told as such.

An exercise is a class with a `number`, a `title`, three `hints` of rising strength, and
`check(answer, ...)`, which returns `self.right(...)` or, for the first thing that is wrong, told in
terms of the learner's data, `self.wrong(...)`. The `checks.py` of a chapter holds one object of each class;
the notebook calls it: `check.balanced_split(split)`.

Two kinds of exercises need no `check` of their own, only a table of cases and the words for what differs:
`FunctionExercise` here, and `FrameExercise` in `medallion.lesson.frames`.
"""

import copy
import dis
import linecache
import math
import types
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar

from medallion.errors import MedallionError
from medallion.lesson import progress
from medallion.lesson.signs import SIGNS, VERDICTS
from medallion.spark.tracebacks import is_without_session, message

_LONGEST = 300


@dataclass(frozen=True)
class Verdict:
    """What a check answers: `state` is "right", "wrong" or "open" (not done yet)."""

    number: str
    state: str
    message: str

    @property
    def ok(self) -> bool:
        return self.state == "right"

    def __repr__(self) -> str:
        return f"{SIGNS[self.state]} Exercise {self.number}. {self.message}"

    def _repr_html_(self) -> str:
        return _box(self.state, f"{SIGNS[self.state]} Exercise {self.number}.", self.message)


@dataclass(frozen=True)
class Hint:
    """One hint: `level` 1 is the weakest, 3 the strongest."""

    number: str
    level: int
    message: str

    def __repr__(self) -> str:
        return f"{self._head()} {self.message}"

    def _repr_html_(self) -> str:
        return _box("hint", self._head(), self.message)

    def _head(self) -> str:
        last = ", the last one," if self.level == 3 else ""
        return f"Hint {self.level} of 3{last} for exercise {self.number}."


class Exercise(ABC):
    """An exercise and its check. `takes` says, for an answer of the wrong kind, what the check expects."""

    number: ClassVar[str]
    title: ClassVar[str]
    hints: ClassVar[tuple[str, str, str]]
    takes: ClassVar[str] = ""

    @abstractmethod
    def check(self, *answers: Any, **named: Any) -> Verdict:
        """Return the verdict on the learner's answer: right, wrong or not done."""

    def __call__(self, *answers: Any, **named: Any) -> Verdict:
        """Check the answer, keep the progress and return the verdict; the notebook shows it.

        What the learner's code raises becomes part of the verdict, never a traceback of ours.
        """
        given = [*answers, *named.values()]
        if any(is_blank(answer) for answer in given):
            return self.not_done()
        try:
            verdict = self.check(*answers, **named)
        except Exception as error:  # whatever a learner's code raises
            if is_without_session(error):
                return self.not_done("run the first cell of the notebook, which starts Spark, then this one.")
            verdict = self.wrong(self._told(error, given))
        if verdict.state != "open":
            self._keep(lambda: progress.attempted(self.number, verdict.ok))
        return verdict

    def hint(self, level: int | str | None = None) -> Hint:
        """Return hint `level` (1 to 3, also as text), or without a level the next one that was not seen yet.

        Raises MedallionError for a level that does not exist.
        """
        wanted = min(self._seen() + 1, len(self.hints)) if level is None else level
        if str(wanted) not in ("1", "2", "3"):
            raise MedallionError(f"There is no hint {wanted}. Ask for hint 1, 2 or 3.")
        place = int(wanted)
        self._keep(lambda: progress.hinted(self.number, place))
        return Hint(self.number, place, self.hints[place - 1])

    def right(self, message: str) -> Verdict:
        """Return the verdict that the answer is right."""
        return Verdict(self.number, "right", message)

    def wrong(self, message: str) -> Verdict:
        """Return the verdict that something is wrong: the first thing, in terms of the learner's data."""
        return Verdict(self.number, "wrong", message)

    def not_done(
        self, missing: str = "replace each ... above with your answer, run that cell, then this one."
    ) -> Verdict:
        """Return the verdict that the exercise was not begun. It does not count as an attempt."""
        return Verdict(self.number, "open", f"Not done yet: {missing}")

    def _told(self, error: Exception, answers: list[Any]) -> str:
        """Say what the learner's code raised and in which line, or that the answer is of another kind."""
        what = f"{type(error).__name__}: {_short(error)}".rstrip(": ")
        line = _line_of_the_learner(error, answers)
        if line is not None:
            number, text = line
            return f"Your code raised {what} (in your line {number}: {text})"
        expected = f" It expects {self.takes}." if self.takes else ""
        return f"The check cannot use this answer ({what}).{expected}"

    def _seen(self) -> int:
        try:
            return progress.read(self.number).hints
        except (MedallionError, OSError):
            return 0

    @staticmethod
    def _keep(note: Callable[[], None]) -> None:
        """Keep the progress; a learner whose disk is full still gets the verdict."""
        try:
            note()
        except (MedallionError, OSError) as error:
            warnings.warn(f"Your progress is not kept: {error}", stacklevel=3)


class FunctionExercise(Exercise):
    """An exercise whose answer is a function: the first case with another result makes the verdict.

    `cases` are rows: what the case is about, the arguments, and the result that is right. `returns` says in
    words what the function should return, and `kind` in Python: `float` for whatever is a number, `list`
    also for tuples and arrays. `other` is the sentence on a result that differs; it may use `{about}`,
    `{given[0]}` (the first argument, as it stands in the row), `{expected}` and `{found}`. `praise` is what a
    right answer is told.
    """

    cases: ClassVar[Sequence[tuple[Any, ...]]]
    returns: ClassVar[str]
    kind: ClassVar[type | types.UnionType]
    other: ClassVar[str] = "For {about} the answer is {expected}; yours is {found}."
    praise: ClassVar[str]

    def check(self, function: Callable[..., Any]) -> Verdict:
        for about, *given, expected in self.cases:
            returned = function(*self.arguments(*copy.deepcopy(given)))
            try:
                found = as_kind(returned, self.kind)
            except (TypeError, ValueError):
                return self.wrong(other_kind(returned, self.returns))
            if wrong := self.differs(about, given, found, expected):
                return self.wrong(wrong)
        return self.right(self.praise)

    def arguments(self, *given: Any) -> Sequence[Any]:
        """Return what the function is called with; for a row that holds something shorter."""
        return given

    def differs(self, about: str, given: list[Any], found: Any, expected: Any) -> str | None:
        """Say how a result differs, or None; for an exercise that looks at its parts."""
        if same(found, expected):
            return None
        return self.other.format(about=about, given=given, found=found, expected=expected)


def as_kind(value: Any, kind: type | types.UnionType) -> Any:
    """Return a value with plain Python in the place of NumPy and pandas.

    Raises TypeError or ValueError when it is not of the `kind`: a truth value is no number, and a tuple is
    as good as a list.
    """
    if kind is float:
        return float(value)
    value = plain(value)
    fits = isinstance([*value] if isinstance(value, tuple) else value, kind)
    if not fits or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{value!r} is not of the kind {kind}")
    return value


def plain(value: Any) -> Any:
    """Return numbers and arrays of NumPy or pandas as Python's own, also inside of lists and tuples."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, tuple):
        return tuple(plain(one) for one in value)
    return value.tolist() if hasattr(value, "tolist") else value


def same(found: Any, expected: Any) -> bool:
    """Say whether two values are equal: numbers nearly, and a list like a tuple, one by one."""
    if isinstance(expected, list | tuple):
        alike = isinstance(found, list | tuple) and len(found) == len(expected)
        return alike and all(map(same, found, expected))
    if isinstance(expected, float) and found is not None:
        return math.isclose(float(found), expected, rel_tol=1e-6, abs_tol=1e-6)
    return bool(found == expected)


def other_kind(answer: Any, expected: str) -> str:
    """Say what a learner's function returned in the place of what was `expected`: "a DataFrame"."""
    if answer is None:
        return f"Your function returned nothing. Does it end with return? It should return {expected}."
    shown = "a DataFrame" if type(answer).__name__ == "DataFrame" else repr(answer)
    return f"Your function returned {shown}. It should return {expected}."


def is_blank(answer: Any) -> bool:
    """Say whether an answer still holds the blank of its starter.

    True for `...`, for a collection that holds one, for a function whose body does nothing or still
    uses `...` as a value, and for a class with such a method.
    """
    if answer is ...:
        return True
    if isinstance(answer, list | tuple | set):
        return any(item is ... for item in answer)
    if isinstance(answer, dict):
        return any(item is ... for item in answer.values())
    if isinstance(answer, types.FunctionType | types.MethodType):
        return _does_nothing(answer.__code__) or _uses_ellipsis(answer.__code__)
    if isinstance(answer, type):
        methods = (member for member in vars(answer).values() if isinstance(member, types.FunctionType))
        return any(is_blank(method) for method in methods)
    return False


def _does_nothing(code: types.CodeType) -> bool:
    """Say whether a body is `...`, `pass` or a docstring alone: all of them compile to `return None`."""
    return all(
        step.opname in ("RESUME", "NOP") or (step.opname in _RETURN_NONE and step.argval is None)
        for step in dis.get_instructions(code)
    )


_RETURN_NONE = ("LOAD_CONST", "RETURN_VALUE", "RETURN_CONST")
_INDEXING = ("BINARY_SUBSCR", "STORE_SUBSCR", "DELETE_SUBSCR")


def _uses_ellipsis(code: types.CodeType) -> bool:
    """Say whether `...` is stored, returned or passed on; as an index (NumPy's `a[...]`) it is no blank."""
    steps = list(dis.get_instructions(code))
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        if step.argval is ... and not (after is not None and after.opname in _INDEXING):
            return True
    return any(_uses_ellipsis(inner) for inner in code.co_consts if isinstance(inner, types.CodeType))


def _short(error: BaseException) -> str:
    first = next((line.strip() for line in message(error).splitlines() if line.strip()), "")
    return first if len(first) <= _LONGEST else first[: _LONGEST - 1] + "…"


def _line_of_the_learner(error: BaseException, answers: list[Any]) -> tuple[int, str] | None:
    """Return the number and the text of the innermost line of the learner's code, or None.

    The learner's code is the notebook, where modules are `__main__`, and the file of a function given.
    """
    files = {answer.__code__.co_filename for answer in answers if isinstance(answer, types.FunctionType)}
    found = None
    step = error.__traceback__
    while step is not None:
        name, module = step.tb_frame.f_code.co_filename, step.tb_frame.f_globals.get("__name__")
        if name in files or module == "__main__":
            found = step.tb_lineno, linecache.getline(name, step.tb_lineno).strip()
        step = step.tb_next
    return found


def _box(kind: str, head: str, message: str) -> str:
    style = f"border-left: 4px solid {VERDICTS[kind]}; padding: 4px 12px; margin: 4px 0;"
    return f'<div style="{style}"><strong>{escape(head)}</strong> {escape(message)}</div>'
