"""The base of the checks: verdicts, hints, blanks, a learner's mistakes, and the progress kept of them."""

import io
import json
import subprocess
import sys
import types
import warnings
from html.parser import HTMLParser

import pytest
from pyspark.errors import PySparkRuntimeError
from rich.console import Console

from medallion import contract, files
from medallion.course import report
from medallion.errors import MedallionError
from medallion.lesson import checks, progress
from medallion.lesson.checks import Exercise, is_blank


class Total(Exercise):
    number = "98.1"
    title = "a total"
    hints = ("Look at <both> columns.", "Add them.", "Use sum().")
    takes = "a function total(a, b)"

    def check(self, total):
        got = total(2, 3)
        if got != 5:
            return self.wrong(f"2 & 3 give {got}, not 5.")
        return self.right("The total is right.")


@pytest.fixture
def total(tmp_path, monkeypatch):
    """An exercise whose progress goes to a lakehouse folder of this test."""
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "Kurs für Anfänger"))
    monkeypatch.delenv("MEDALLION_PROGRESS", raising=False)
    return Total()


def plain(shown):
    """Return the text of an HTML representation, proving that its elements are closed."""
    parser = HTMLParser()
    text, stack = [], []
    parser.handle_starttag = lambda tag, _: stack.append(tag)
    parser.handle_endtag = lambda tag: stack.pop(stack.index(tag))
    parser.handle_data = text.append
    parser.feed(shown._repr_html_())
    assert stack == []
    return "".join(text)


def test_a_verdict_reads_the_same_as_text_and_as_html(total):
    verdict = total(lambda a, b: a + b)
    assert verdict.ok
    assert repr(verdict) == "✓ Exercise 98.1. The total is right."
    assert plain(verdict) == repr(verdict)
    verdict = total(lambda a, b: a * b)
    assert not verdict.ok
    assert repr(verdict) == "✗ Exercise 98.1. 2 & 3 give 6, not 5."
    assert plain(verdict) == repr(verdict)
    assert "2 &amp; 3" in verdict._repr_html_()


def test_a_verdict_keeps_the_colour_of_the_page_and_does_not_speak_by_colour_alone(total):
    html = total(lambda a, b: a * b)._repr_html_()
    assert " color:" not in html
    assert "background" not in html


def test_hints_grow_stronger_one_at_a_time(total):
    assert [repr(total.hint()) for _ in range(4)] == [
        "Hint 1 of 3 for exercise 98.1. Look at <both> columns.",
        "Hint 2 of 3 for exercise 98.1. Add them.",
        "Hint 3 of 3, the last one, for exercise 98.1. Use sum().",
        "Hint 3 of 3, the last one, for exercise 98.1. Use sum().",
    ]
    assert plain(total.hint(1)) == "Hint 1 of 3 for exercise 98.1. Look at <both> columns."
    assert progress.read("98.1").hints == 3
    assert total.hint("1") == total.hint(1)


@pytest.mark.parametrize("level", [0, 4, "4", "9.9", 1.0, "", True])
def test_a_hint_that_there_is_not(total, level):
    with pytest.raises(MedallionError, match=rf"There is no hint {level}\. Ask for hint 1, 2 or 3\."):
        total.hint(level)


def nothing(a, b):
    """Only a docstring."""


def blank_body(a, b): ...


def blank_value(a, b):
    kept = ...
    return kept, a


def blank_argument(a, b):
    return max(..., a)


def blank_inside(a, b):
    def inner():
        return ...

    return inner()


def numpy_index(a, b):
    return a[...] + b[..., 0]


class BlankMethod:
    def fit(self): ...


class WholeMethod:
    def fit(self):
        return 1


@pytest.mark.parametrize(
    "answer",
    [
        ...,
        [1, ...],
        (..., 2),
        {"a": ...},
        nothing,
        blank_body,
        blank_value,
        blank_argument,
        blank_inside,
        BlankMethod,
    ],
)
def test_a_blank_is_not_done_yet_and_no_attempt(total, answer):
    assert is_blank(answer)
    verdict = total(answer)
    assert repr(verdict) == (
        "○ Exercise 98.1. Not done yet: "
        "replace each ... above with your answer, run that cell, then this one."
    )
    assert not verdict.ok
    assert progress.read("98.1") == progress.Record()


@pytest.mark.parametrize(
    "answer", [None, 0, "...", [], {}, lambda a: a, numpy_index, WholeMethod, print, WholeMethod()]
)
def test_an_answer_is_no_blank(answer):
    assert not is_blank(answer)


def test_what_the_code_of_the_learner_raises_is_told_with_its_line(total):
    def divide(a, b):
        half = a / 2
        return half / 0

    line = divide.__code__.co_firstlineno + 2
    assert repr(total(divide)) == (
        "✗ Exercise 98.1. Your code raised ZeroDivisionError: float division by zero "
        f"(in your line {line}: return half / 0)"
    )


def test_the_line_told_is_that_of_the_notebook_and_not_of_a_library(total):
    module = types.ModuleType("__main__")
    exec(
        compile("import json\ndef total(a, b):\n    return json.loads('{')\n", "cell 1", "exec"), vars(module)
    )
    assert "Your code raised JSONDecodeError: Expecting property name" in repr(total(module.total))
    assert "(in your line 3: " in repr(total(module.total))


def test_an_answer_of_another_kind_is_told_what_is_expected(total):
    assert repr(total(5)) == (
        "✗ Exercise 98.1. The check cannot use this answer (TypeError: 'int' object is not callable). "
        "It expects a function total(a, b)."
    )


def test_a_long_error_is_cut_to_its_first_line(total):
    text = "\n" + "x" * 1000 + "\nat org.apache.spark.Frame"

    def fail(a, b):
        raise ValueError(text)

    message = total(fail).message
    assert "org.apache" not in message
    assert len(message) < 420


def test_a_check_without_a_session_is_not_done_yet_and_no_attempt(total):
    def needs_spark(a, b):
        raise PySparkRuntimeError(errorClass="SESSION_OR_CONTEXT_NOT_EXISTS", messageParameters={})

    assert repr(total(needs_spark)) == (
        "○ Exercise 98.1. Not done yet: "
        "run the first cell of the notebook, which starts Spark, then this one."
    )
    assert progress.read("98.1") == progress.Record()


def test_ctrl_c_in_a_check_is_not_a_verdict(total):
    def interrupted(a, b):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        total(interrupted)


# Progress


def test_attempts_hints_and_the_first_success_are_kept(total):
    total(lambda a, b: 0)
    total.hint(2)
    total(lambda a, b: a + b)
    first = progress.read("98.1")
    assert (first.attempts, first.hints) == (2, 2)
    total(lambda a, b: 0)
    after = progress.read("98.1")
    assert (after.attempts, after.passed) == (3, first.passed)
    held = json.loads(progress.file().read_text(encoding="utf-8"))
    assert held["version"] == 1
    assert held["exercises"]["98.1"]["passed"].endswith("Z")


def test_off_leaves_no_file_and_still_counts_hints(total, monkeypatch):
    monkeypatch.setenv("MEDALLION_PROGRESS", "off")
    monkeypatch.setattr(progress, "_in_memory", {})
    total(lambda a, b: 0)
    assert [total.hint().level, total.hint().level] == [1, 2]
    assert not progress.file().parent.exists()


def test_two_notebooks_at_once_lose_no_attempt(total):
    code = "from medallion.lesson import progress\nfor _ in range(50): progress.attempted('98.1', False)"
    writers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert progress.read("98.1").attempts == 100


def test_a_damaged_file_is_named_and_does_not_hide_the_verdict(total):
    total(lambda a, b: 0)
    progress.file().write_text('{"exercises": {"98.1": {"attempts"', encoding="utf-8")
    with pytest.raises(MedallionError, match=r"progress\.json is damaged .* Move it away"):
        progress.read("98.1")
    with pytest.warns(UserWarning, match="Your progress is not kept: "):
        assert total(lambda a, b: a + b).ok
    with pytest.warns(UserWarning):
        assert total.hint().level == 1
    assert progress.file().read_text(encoding="utf-8").startswith('{"exercises"')


@pytest.mark.parametrize(
    "held",
    [
        "[]",
        "null",
        '{"exercises": [1]}',
        '{"exercises": {"98.1": 7}}',
        '{"exercises": {"98.1": {"attempts": "x", "passed": 5}}}',
        '{"exercises": {"98.1": {"passed": 5}}}',
    ],
)
def test_a_file_that_holds_other_kinds_is_damaged_too(total, held):
    progress.file().parent.mkdir(parents=True)
    progress.file().write_text(held, encoding="utf-8")
    with pytest.raises(MedallionError, match=r"progress\.json is damaged \(Input should be "):
        progress.everything()
    with pytest.warns(UserWarning, match="Your progress is not kept: "):
        total(lambda a, b: a + b)


def test_a_folder_in_the_place_of_the_file(total):
    progress.file().mkdir(parents=True)
    told = r"progress\.json cannot be used \(Is a directory\)\. It is a folder in the place of a file\. Move"
    with pytest.raises(MedallionError, match=told):
        progress.everything()
    with pytest.warns(UserWarning, match=told):
        assert total(lambda a, b: a + b).ok


def test_a_kill_while_writing_leaves_the_old_file(total, monkeypatch):
    total(lambda a, b: 0)
    before = progress.file().read_bytes()

    def killed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        total(lambda a, b: 0)
    assert progress.file().read_bytes() == before


@pytest.fixture
def one_chapter(total, tmp_path, monkeypatch):
    """Let the course hold one chapter, 98, with two exercises."""
    folder = tmp_path / "98_one"
    folder.mkdir()
    (folder / "checks.py").write_text(
        "from medallion.lesson.checks import Exercise\n"
        "class One(Exercise):\n"
        "    number, title, hints = '98.2', 'one [bold]', ('a', 'b', 'c')\n"
        "    def check(self, answer):\n"
        "        return self.right('Yes.')\n"
        "class Ten(One):\n"
        "    number, title = '98.10', 'ten'\n"
        "ten, one, again = Ten(), One(), None\n"
        "again = one\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(contract, "folder", lambda: tmp_path)


def test_the_exercises_of_a_chapter_are_found_by_number(one_chapter):
    assert checks.chapters() == ["98"]
    assert [exercise.number for exercise in checks.exercises("98")] == ["98.2", "98.10"]
    with pytest.raises(MedallionError, match=r"Chapter 3 has no checks\. Those that have are 98\."):
        checks.exercises("3")


def test_what_is_asked_of_the_checks_and_is_not_there_is_answered_with_what_is(one_chapter, tmp_path):
    check = checks.load("98")
    offered = r"Those of chapter 98 are check\.one \(98\.2\), check\.ten \(98\.10\)\."
    with pytest.raises(MedallionError, match=rf"Checks are called by name\. {offered}"):
        check("98.2")
    with pytest.raises(MedallionError, match=rf"Hints are those of an exercise: .* {offered}"):
        check.hint("9.9")
    with pytest.raises(MedallionError, match=rf"Chapter 98 has no exercise eleven\. {offered}"):
        check.eleven(1)
    (tmp_path / "99_two").mkdir()
    (tmp_path / "99_two" / "checks.py").write_text("eleven = 11\n", encoding="utf-8")
    with pytest.raises(
        MedallionError, match=r'eleven is of chapter 99, .* `check = medallion.checks\("99"\)`'
    ):
        check.eleven(1)
    assert not hasattr(check, "eleven") and not hasattr(check, "_repr_html_")


def test_the_summary_lists_every_exercise(one_chapter):
    checks.exercises("98")[0]("an answer")
    out = io.StringIO()
    report.show(Console(file=out, width=80))
    text = out.getvalue()
    assert "Chapter 98" in text
    assert "1 of 2" in text
    lines = [line.split() for line in text.splitlines() if "98." in line]
    passed = progress.read("98.2").passed
    assert lines == [["✓", "98.2", "one", "[bold]", passed[:10], "1"], ["○", "98.10", "ten"]]


def test_nothing_is_shown_as_nothing(total, tmp_path, monkeypatch):
    monkeypatch.setattr(contract, "folder", lambda: tmp_path)
    out = io.StringIO()
    report.show(Console(file=out))
    assert out.getvalue() == "There are no exercises yet.\n"


def test_a_home_that_cannot_be_written_does_not_hide_the_verdict(total, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "file" / "home"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert total(lambda a, b: a + b).ok
    assert "set MEDALLION_HOME to a folder that is yours" in str(caught[0].message)
