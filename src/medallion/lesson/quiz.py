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
from typing import Any

import yaml
from markdown_it import MarkdownIt

from medallion import contract
from medallion.errors import MedallionError
from medallion.lesson.signs import SIGNS, VERDICTS

__all__ = ["show"]

_LETTERS = "abcdef"
_MARKDOWN = MarkdownIt("commonmark", {"html": False})


@dataclass(frozen=True)
class Answer:
    """One answer: its text and the explanation are Markdown of one line; `why` may be "" when it is right."""

    text: str
    why: str = ""
    right: bool = False


@dataclass(frozen=True)
class Question:
    """One question and its answers, of which exactly one is right."""

    ask: str
    answers: tuple[Answer, ...]


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

    Raises MedallionError when the chapter has no quiz.
    """
    number = contract.number_of(chapter)
    path = next(contract.folder().glob(f"{number}_*/quiz.yml"), None)
    if path is None:
        raise MedallionError(f"Chapter {chapter} has no quiz. Write quiz.yml beside its lesson.")
    return load(path)


def load(path: Path) -> Quiz:
    """Read the quiz of a chapter in the file `path`: `quiz.yml` in the folder `NN_name` of the chapter.

    The author's rules for it are checked when the chapter is built: see `press.source.quiz`.
    """
    held = yaml.safe_load(path.read_text(encoding="utf-8"))
    questions = (
        Question(_line(one["ask"]), tuple(Answer(**_lines(answer)) for answer in one["answers"]))
        for one in held
    )
    return Quiz(path.parent.name[:2], tuple(questions))


def _lines(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: _line(said) if isinstance(said, str) else said for key, said in answer.items()}


def _line(text: str) -> str:
    return " ".join(text.split())


def _verdict(answer: Answer) -> str:
    return f"{SIGNS['right']} Right." if answer.right else f"{SIGNS['wrong']} Not this one."


def _colour(answer: Answer) -> str:
    return VERDICTS["right" if answer.right else "wrong"]


def _inline(text: str) -> str:
    return str(_MARKDOWN.renderInline(text))
