"""The quiz: every rule of its file, and a form that needs no JavaScript."""

from html.parser import HTMLParser

import pytest
from quiz_sample import questions

from medallion import contract
from medallion.errors import MedallionError
from medallion.lesson import quiz

# What JupyterLab lets through from an output that it does not trust, of the elements used here.
KEPT = {"section", "p", "fieldset", "legend", "details", "summary", "strong", "em", "code"}


class Outline(HTMLParser):
    """What a browser would build: elements with their depth, attributes, and the text in each."""

    def __init__(self, html):
        super().__init__()
        self.open, self.found, self.text = [], [], {}
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append((tag, len(self.found)))
        self.found.append((tag, [name for name, _ in self.open[:-1]], dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, place in self.open:
            self.text[place] = self.text.get(place, "") + data

    def texts(self, wanted):
        return [self.text.get(n, "").strip() for n, (tag, *_) in enumerate(self.found) if tag == wanted]


def test_each_answer_is_a_native_control_in_the_group_of_its_question(write_quiz):
    page = Outline(quiz.load(write_quiz(questions()))._repr_html_())
    assert {tag for tag, *_ in page.found} <= KEPT
    parents = {tag: above[-1] for tag, above, _ in page.found if above}
    assert (parents["legend"], parents["details"], parents["summary"]) == ("fieldset", "fieldset", "details")
    groups = [attributes["name"] for tag, _, attributes in page.found if tag == "details"]
    assert groups == [f"quiz-98-{n}" for n in range(1, 5) for _ in range(4)]
    assert not any("open" in attributes for _, _, attributes in page.found)
    assert page.texts("legend")[0] == "1. Which rows does total > 0 lose in case 0, and why < that?"
    assert page.texts("summary")[:4] == ["None", "The NULLs", "All & more", "Those of today"]


def test_opening_an_answer_says_in_words_whether_it_is_right_and_why(write_quiz):
    page = Outline(quiz.load(write_quiz(questions()))._repr_html_())
    said = page.texts("details")[:4]
    assert said[1] == "The NULLs✓ Right. They are unknown."
    assert said[0] == "None✗ Not this one. NULL is neither above nor below."
    assert sum("✓ Right." in text for text in page.texts("details")) == 4


def test_the_form_has_no_script_and_leaves_the_colours_of_text_to_the_page(write_quiz):
    html = quiz.load(write_quiz(questions()))._repr_html_()
    for word in ("<script", "onclick", "<style", "http", "; color:", "background"):
        assert word not in html


def test_html_in_a_text_is_shown_and_not_obeyed(write_quiz):
    held = questions()
    held[0]["ask"] = "What is <script>alert(1)</script>?"
    html = quiz.load(write_quiz(held))._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_the_form_is_the_same_every_time(write_quiz):
    path = write_quiz(questions())
    assert quiz.load(path)._repr_html_() == quiz.load(path)._repr_html_()
    assert repr(quiz.load(path)) == repr(quiz.load(path))


def test_a_terminal_sees_questions_and_explanations_apart(write_quiz):
    held = quiz.load(write_quiz(questions()))
    text = repr(held)
    assert "2. Which rows does `total > 0` lose in case 1" in text
    assert "   b) The NULLs" in text
    assert "Right" not in text
    assert "They are unknown" not in text
    assert held.explain(1).splitlines()[3:5] == ["   b) The NULLs", "      ✓ Right. They are unknown."]
    with pytest.raises(MedallionError, match=r"There is no question 5\. Ask for 1 to 4\."):
        held.explain(5)


def test_a_chapter_without_a_quiz_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(contract, "folder", lambda: tmp_path)
    with pytest.raises(MedallionError, match=r"Chapter 98 has no quiz\. Write quiz\.yml beside its lesson\."):
        quiz.show("98")


def test_a_quiz_is_shown_by_the_number_of_its_chapter(write_quiz, monkeypatch):
    folder = write_quiz(questions()).parent
    folder.rename(folder.with_name("08_sample"))
    monkeypatch.setattr(contract, "folder", lambda: folder.parent)
    assert quiz.show("8").chapter == "08"
