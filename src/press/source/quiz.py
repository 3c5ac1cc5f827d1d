"""The rules that the quiz of a chapter keeps, `book/chapters/NN_name/quiz.yml`.

Four to six questions; each with `ask` and two to six `answers`; exactly one of these right; every wrong one
with its `why`; the right answers not all in the same place.
"""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from press.source import forms
from press.source.forms import Form, Line


class Answer(Form):
    """One answer: its text and the explanation are Markdown of one line; `why` may be "" when it is right."""

    text: Line
    why: Line = ""
    right: bool = False

    @model_validator(mode="after")
    def _explained(self) -> "Answer":
        if not (self.right or self.why):
            raise ValueError("a wrong answer says why it is wrong. Add 'why'.")
        return self


class Question(Form):
    """One question and its answers, of which exactly one is right."""

    ask: Line
    answers: Annotated[list[Answer], Field(min_length=2, max_length=6)]

    @model_validator(mode="after")
    def _one_right(self) -> "Question":
        right = sum(answer.right for answer in self.answers)
        if right != 1:
            raise ValueError(f"{right} answers are right, and one must be. Set 'right: true' on one.")
        if len({answer.text for answer in self.answers}) < len(self.answers):
            raise ValueError("two answers are the same. Change one.")
        return self


def _in_several_places(questions: list[Question]) -> list[Question]:
    places = {[answer.right for answer in question.answers].index(True) for question in questions}
    if len(places) == 1:
        raise ValueError(f"every right answer is answer {places.pop() + 1}. Put some of them elsewhere.")
    return questions


_QUIZ = TypeAdapter(
    Annotated[list[Question], Field(min_length=4, max_length=6), AfterValidator(_in_several_places)]
)


def read(path: Path) -> list[Question]:
    """Return the questions of the quiz in the file `path`. Raises forms.Unfit when it breaks a rule."""
    return forms.read(path, _QUIZ, "question")
