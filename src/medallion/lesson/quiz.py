"""The quiz of a chapter: questions from `book/chapters/NN_name/quiz.yml`, shown without a line of JavaScript.

    - ask: Which rows does `total > 0` lose together with its opposite?
      answers:
        - text: Those whose total is NULL
          right: true
          why: Neither the rule nor its opposite is true for them.
        - text: Those whose total is 0
          why: The opposite keeps them.

Each answer is a native `<details>` element, which the keyboard and a screen reader open like any other
control; opening it says whether the answer is right, in words, and why. The form survives JupyterLab's
sanitiser, which strips scripts, form controls' behaviour and ARIA attributes from stored outputs.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Any

import yaml
from markdown_it import MarkdownIt
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

from medallion import contract
from medallion.errors import MedallionError
from medallion.lesson.signs import SIGNS, VERDICTS

FEWEST, MOST = 4, 6
_LETTERS = "abcdef"
_MARKDOWN = MarkdownIt("commonmark", {"html": False})


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
    answers: Annotated[tuple[Answer, ...], Field(min_length=2, max_length=len(_LETTERS), strict=False)]

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


@dataclass(frozen=True)
class Quiz:
    """The questions of a chapter. A notebook shows it as HTML, a terminal as text."""

    chapter: str
    questions: tuple[Question, ...]

    def explain(self, question: int) -> str:
        """Return the answers of a question (from 1) with their explanations, as text.

        Raises MedallionError when there is no such question.
        """
        if question not in range(1, len(self.questions) + 1):
            raise MedallionError(f"There is no question {question}. Ask for 1 to {len(self.questions)}.")
        asked = self.questions[question - 1]
        lines = [f"{question}. {asked.ask}"]
        for letter, answer in zip(_LETTERS, asked.answers, strict=False):
            lines.append(f"   {letter}) {answer.text}")
            lines.append(f"      {_verdict(answer)} {answer.why}".rstrip())
        return "\n".join(lines)

    def __repr__(self) -> str:
        lines = [f"Quiz of chapter {self.chapter}. For the explanations: show({self.chapter!r}).explain(1)"]
        for number, question in enumerate(self.questions, 1):
            lines += ["", f"{number}. {question.ask}"]
            lines += [
                f"   {letter}) {answer.text}"
                for letter, answer in zip(_LETTERS, question.answers, strict=False)
            ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        asked = "\n".join(self._question(n, question) for n, question in enumerate(self.questions, 1))
        return (
            f"<section>\n<p>Choose an answer to open it; it says whether it holds.</p>\n{asked}\n</section>"
        )

    def _question(self, number: int, question: Question) -> str:
        # The common name lets one answer be open at a time; where it is stripped, several can be.
        name = f"quiz-{escape(self.chapter)}-{number}"
        answers = "\n".join(
            f'<details name="{name}" style="margin: 4px 0;">'
            f'<summary style="cursor: pointer;">{_inline(answer.text)}</summary>'
            f'<p style="margin: 4px 1.2em; padding-left: 12px; border-left: 3px solid {_colour(answer)};">'
            f"<strong>{_verdict(answer)}</strong> {_inline(answer.why)}</p></details>"
            for answer in question.answers
        )
        return (
            '<fieldset style="margin: 12px 0; padding: 4px 12px; border: 1px solid #808080;">\n'
            f"<legend><strong>{number}.</strong> {_inline(question.ask)}</legend>\n{answers}\n</fieldset>"
        )


def show(chapter: str) -> Quiz:
    """Return the quiz of chapter `chapter` ("01"); as the last line of a cell it is shown.

    Raises MedallionError when the chapter has no quiz or its file breaks a rule.
    """
    number = str(chapter).zfill(2)
    path = next(contract.folder().glob(f"{number}_*/quiz.yml"), None)
    if path is None:
        raise MedallionError(f"Chapter {chapter} has no quiz. Write quiz.yml beside its lesson.")
    return load(path)


def load(path: Path) -> Quiz:
    """Read the quiz of a chapter in the file `path`: `quiz.yml` in the folder `NN_name` of the chapter.

    Raises MedallionError naming the file, the question and the rule: four to six questions; each with
    `ask` and two to six `answers`; exactly one of these right; every wrong one with its `why`; the right
    answers not all in the same place.
    """
    where = contract.shown(path)
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "the file is not UTF-8"
        raise MedallionError(f"{where}{line}: this is not YAML ({what}). Mend the line.") from error
    try:
        return Quiz(path.parent.name[:2], _QUESTIONS.validate_python(held))
    except ValidationError as error:
        raise MedallionError(f"{where}: {_told(error, held)}") from None


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
            text = f"a question has 2 to {len(_LETTERS)} answers. Write them as a list."
        case "tuple_type" | "too_short" | "too_long":
            count = len(held) if isinstance(held, list) else 0
            text = f"a quiz is a list of {FEWEST} to {MOST} questions, and this has {count}. "
            text += "Write the questions."
        case "bool_type":
            text = f"'right' is {first['input']!r}. Write true, or leave it out."
        case _:
            text = f"'{first['loc'][-1]}' is {first['input']!r}, not a text. Write one, in quotes if need be."
    return f"{where}: {text}" if where else text


def _verdict(answer: Answer) -> str:
    return f"{SIGNS['right']} Right." if answer.right else f"{SIGNS['wrong']} Not this one."


def _colour(answer: Answer) -> str:
    return VERDICTS["right" if answer.right else "wrong"]


def _inline(text: str) -> str:
    return str(_MARKDOWN.renderInline(text))
