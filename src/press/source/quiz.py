"""The rules that the quiz of a chapter keeps, `book/chapters/NN_name/quiz.yml`."""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

FEWEST, MOST = 4, 6
MOST_ANSWERS = 6

# A text on one line. A number or a truth value, as YAML reads `no` or `3`, must be in quotes.
_Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    AfterValidator(lambda text: " ".join(text.split())),
]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Answer(_Strict):
    """One answer: its text and the explanation are Markdown of one line; `why` may be "" when it is right."""

    text: _Line
    why: _Line = ""
    right: bool = False

    @model_validator(mode="after")
    def _explained(self) -> "Answer":
        if not (self.right or self.why):
            raise ValueError("a wrong answer says why it is wrong. Add 'why'.")
        return self


class Question(_Strict):
    """One question and its answers, of which exactly one is right."""

    ask: _Line
    answers: Annotated[tuple[Answer, ...], Field(min_length=2, max_length=MOST_ANSWERS, strict=False)]

    @model_validator(mode="after")
    def _one_right(self) -> "Question":
        right = sum(answer.right for answer in self.answers)
        if right != 1:
            raise ValueError(f"{right} answers are right, and one must be. Set 'right: true' on one.")
        if len({answer.text for answer in self.answers}) < len(self.answers):
            raise ValueError("two answers are the same. Change one.")
        return self


def _in_several_places(questions: tuple[Question, ...]) -> tuple[Question, ...]:
    places = {[answer.right for answer in question.answers].index(True) for question in questions}
    if len(places) == 1:
        raise ValueError(f"every right answer is answer {places.pop() + 1}. Put some of them elsewhere.")
    return questions


_QUESTIONS = TypeAdapter(
    Annotated[
        tuple[Question, ...],
        Field(min_length=FEWEST, max_length=MOST, strict=False),
        AfterValidator(_in_several_places),
    ]
)


def wrong(path: Path) -> tuple[int, str] | None:
    """Return the line and the first thing that is wrong with the quiz in the file `path`, or None.

    Four to six questions; each with `ask` and two to six `answers`; exactly one of these right; every wrong
    one with its `why`; the right answers not all in the same place.
    """
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        _QUESTIONS.validate_python(held)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "the file is not UTF-8"
        return mark.line + 1 if mark else 1, f"this is not YAML ({what}). Correct the line."
    except ValidationError as error:
        return 1, _told(error, held)
    return None


def _told(error: ValidationError, held: Any) -> str:
    """Return where in a quiz the first wrong thing is, what is wrong, and what to do."""
    first = error.errors(include_url=False)[0]
    numbers = [place + 1 for place in first["loc"] if isinstance(place, int)]
    where = ", ".join(f"{name} {n}" for name, n in zip(("question", "answer"), numbers, strict=False))
    match first["type"]:
        case "value_error":
            text = str(first["ctx"]["error"])
        case "missing" | "extra_forbidden" | "model_type" if len(numbers) == 1:
            text = "a question has 'ask' and 'answers', and nothing else. Correct it."
        case "missing" | "extra_forbidden" | "model_type":
            text = "an answer has 'text', 'why' and perhaps 'right: true'. Correct it."
        case "tuple_type" | "too_short" | "too_long" if numbers:
            text = f"a question has 2 to {MOST_ANSWERS} answers. Write them as a list."
        case "tuple_type" | "too_short" | "too_long":
            count = len(held) if isinstance(held, list) else 0
            text = f"a quiz is a list of {FEWEST} to {MOST} questions, and this has {count}. "
            text += "Write the questions."
        case "bool_type":
            text = f"'right' is {first['input']!r}. Write true, or leave it out."
        case _:
            text = f"'{first['loc'][-1]}' is {first['input']!r}, not a text. Write one, in quotes if need be."
    return f"{where}: {text}" if where else text
