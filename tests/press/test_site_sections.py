"""What the search of the site looks in, and the library that looks."""

import hashlib
import json

import plotly
import pytest
from docutils import nodes

from medallion import paths
from press.site import extras, sections
from press.site.sections import Section
from press.source.terms import Term


def section(title: str, *parts: nodes.Node) -> nodes.section:
    return nodes.section("", nodes.title(text=title), *parts, ids=[nodes.make_id(title)])


def cell(kind: str, text: str) -> nodes.container:
    return nodes.container("", nodes.literal_block(text=text), classes=[kind])


def page(*parts: nodes.Node) -> list[Section]:
    document = nodes.document(None, None)
    document += parts
    return list(sections.of("notebooks/07", document))


def test_a_section_has_its_own_text_and_code_and_not_that_of_the_sections_in_it_nor_outputs():
    top, inner = page(
        section(
            "A chapter",
            nodes.paragraph("", "", nodes.Text("It  has\na "), nodes.literal(text="count()")),
            nodes.raw("", "<table>drawn</table>", format="html"),
            section(
                "Late rows",
                nodes.paragraph(text="Rows come."),
                cell("cell_input", "late_rows = events.where(x)"),
                cell("cell_output", "printed 12"),
            ),
        )
    )
    assert (top.anchor, top.title, top.begins, top.words) == (
        "",
        "A chapter",
        "It has a count()",
        frozenset(),
    )
    assert (inner.anchor, inner.title, inner.begins) == ("late-rows", "Late rows", "Rows come.")
    assert inner.words == {
        "events",
        "where",
    }  # neither what the title and the beginning say, nor single letters


def test_a_long_text_shows_its_beginning_and_keeps_the_other_words_once():
    [found] = page(section("Long", nodes.paragraph(text="word " * 30 + "Tail tail 2025")))
    assert len(found.begins) <= 122 and found.begins.endswith("word …")
    assert found.words == {"tail"}


def made(docname: str, title: str, *words: str) -> Section:
    return Section(docname, nodes.make_id(title), title, "", frozenset(words))


def test_a_term_is_taught_by_the_section_of_its_heading_in_its_chapter():
    found = [
        made("book/a", "Zachary's club"),
        made("notebooks/08", "Zachary\N{RIGHT SINGLE QUOTATION MARK}s club"),
    ]
    known = [
        Term(term="club", taught=["08 Zachary's club"]),
        Term(term="gone", taught=["08 Not there", "09 Zachary's club"]),
    ]
    assert sections.taught(known, found, {"08": "notebooks/08"}) == [[1], []]


def test_the_script_gives_each_word_with_the_distances_of_its_sections():
    found = [made("a", "One", "x"), made("a", "Two"), made("b", "Three", "x", "b"), made("b", "Four", "x")]
    text = sections.script(found, {"a": "A"}, [Term(term="t", also=["u"], taught=["00 One"])], [[0, 2]])
    data = json.loads(text.removeprefix("const BOOK = ").removesuffix(";\n"))
    assert data["words"] == [["b", 2], ["x", 0, 2, 1]]
    assert data["sections"][1] == ["a", "two", "Two", ""]
    assert (data["terms"], data["pages"]) == ([[["t", "u"], [0, 2]]], {"a": "A"})


@pytest.mark.parametrize(
    ("library", "files"),
    [
        ("minisearch", ("LICENSE.txt", "index.js")),
        ("plotly", ("LICENSE", "plotly-cartesian.min.js")),
    ],
)
def test_a_library_is_documented_by_its_hashes(library, files):
    folder = paths.root() / "book" / "_static" / library
    text = (folder / "README.md").read_text(encoding="utf-8")
    for name in files:
        content = (folder / name).read_bytes()
        assert f"| `{name}` | {len(content):,} | `{hashlib.sha256(content).hexdigest()}` |" in text


def test_the_script_of_the_charts_has_the_version_that_the_figures_are_written_for():
    script = (paths.root() / "book" / extras.PLOTLY).read_text(encoding="utf-8")
    assert f"v{plotly.offline.get_plotlyjs_version()}\n" in script[:200]
