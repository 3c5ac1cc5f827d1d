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

FEWEST, MOST = 4, 6
_LETTERS = "abcdef"
_MARKDOWN = MarkdownIt("commonmark", {"html": False})


@dataclass(frozen=True)
class Answer:
    """One answer: its text and the explanation are Markdown of one line; `why` may be "" when it is right."""

    text: str
    why: str
    right: bool


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
    if not isinstance(held, list) or not FEWEST <= len(held) <= MOST:
        count = len(held) if isinstance(held, list) else 0
        raise MedallionError(
            f"{where}: a quiz is a list of {FEWEST} to {MOST} questions, and this has {count}. "
            "Write the questions."
        )
    questions = tuple(_read(item, f"{where}: question {number}") for number, item in enumerate(held, 1))
    places = {[answer.right for answer in question.answers].index(True) for question in questions}
    if len(places) == 1:
        raise MedallionError(
            f"{where}: every right answer is answer {places.pop() + 1}. Put some of them elsewhere."
        )
    return Quiz(path.parent.name[:2], questions)


def _read(item: Any, where: str) -> Question:
    if not isinstance(item, dict) or set(item) != {"ask", "answers"}:
        raise MedallionError(f"{where}: a question has 'ask' and 'answers', and nothing else. Correct it.")
    ask = _text(item["ask"], f"{where}: 'ask'")
    held = item["answers"]
    if not isinstance(held, list) or not 2 <= len(held) <= len(_LETTERS):
        raise MedallionError(f"{where}: a question has 2 to {len(_LETTERS)} answers. Write them as a list.")
    answers = tuple(_answer(answer, f"{where}, answer {n}") for n, answer in enumerate(held, 1))
    right = sum(answer.right for answer in answers)
    if right != 1:
        raise MedallionError(
            f"{where}: {right} answers are right, and one must be. Set 'right: true' on one."
        )
    if len({answer.text for answer in answers}) < len(answers):
        raise MedallionError(f"{where}: two answers are the same. Change one.")
    return Question(ask, answers)


def _answer(item: Any, where: str) -> Answer:
    if not isinstance(item, dict) or not {"text"} <= set(item) <= {"text", "right", "why"}:
        raise MedallionError(f"{where}: an answer has 'text', 'why' and perhaps 'right: true'. Correct it.")
    right = item.get("right", False)
    if not isinstance(right, bool):
        raise MedallionError(f"{where}: 'right' is {right!r}. Write true, or leave it out.")
    if not right and "why" not in item:
        raise MedallionError(f"{where}: a wrong answer says why it is wrong. Add 'why'.")
    why = _text(item["why"], f"{where}: 'why'") if "why" in item else ""
    return Answer(_text(item["text"], f"{where}: 'text'"), why, right)


def _text(value: Any, where: str) -> str:
    """Return a text on one line. A number or a truth value, as YAML reads `no` or `3`, must be in quotes."""
    if not isinstance(value, str) or not value.strip():
        raise MedallionError(f"{where} is {value!r}, not a text. Write one, in quotes if need be.")
    return " ".join(value.split())


def _verdict(answer: Answer) -> str:
    return f"{SIGNS['right']} Right." if answer.right else f"{SIGNS['wrong']} Not this one."


def _colour(answer: Answer) -> str:
    return VERDICTS["right" if answer.right else "wrong"]


def _inline(text: str) -> str:
    return str(_MARKDOWN.renderInline(text))
