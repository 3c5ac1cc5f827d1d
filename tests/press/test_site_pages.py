"""The parts of a page that come from a chapter's front matter, from the glossary and from pyproject.toml."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from pygments import highlight
from pygments.lexers import PythonLexer

import medallion
from medallion import contract, paths
from medallion.errors import MedallionError
from press.site import (
    build,
    chapter,
    code,
    config,
    diagrams,
    extras,
    figures,
    formulas,
    head,
    navigation,
    terms,
)

ch01 = medallion.checks("01")

ALL = config.Addresses(
    site="https://book.example/medallion",
    source="https://github.com/some/medallion",
    binder="https://binder.example",
    hub="https://hub.example",
)


def notebook(number: str) -> dict:
    path = paths.root() / "notebooks" / f"{contract.read(number).name}.ipynb"
    return json.loads(path.read_text(encoding="utf-8"))


def sources(book: dict) -> list[str]:
    return [
        cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        for cell in book["cells"]
    ]


def test_the_facts_of_a_chapter_come_from_its_front_matter():
    about = chapter.about("01")
    assert (about.said.minutes.read, about.said.minutes.practise, about.layer) == (60, 45, "bronze")
    assert "bronze.orders" in about.promised.makes and "landing.orders" in about.promised.reads
    assert chapter.about("00").layer == ""


@pytest.mark.parametrize(
    ("makes", "layer"),
    [
        (("silver.a", "silver.b", "gold.c"), "silver"),
        (("gold.a",), "gold"),
        (("ml.a", "ml.b", "gold.c"), "use"),
        (("ops.a",), "use"),
        ((), ""),
    ],
)
def test_a_chapter_has_the_colour_of_the_layer_that_it_mostly_makes(makes, layer):
    assert chapter._layer(makes) == layer


def test_the_header_block_is_one_piece_of_html():
    text = chapter.header(chapter.about("01"), config.Addresses())
    assert "\n\n" not in text
    soup = BeautifulSoup(text, "html.parser")
    assert [dt.get_text() for dt in soup.find_all("dt")] == ["To read", "To practise", "Needs", "Makes"]
    assert len(soup.select("code.chip.bronze")) == 11
    assert [a["href"] for a in soup.select("a.action")] == ["../exercises/01_data_ingestion_bronze.ipynb"]
    hrefs = [a["href"] for a in soup.select("dd > a")]
    assert "../book/reference/tables.html#bronze-web-events" in hrefs and len(hrefs) == 11


def test_with_addresses_the_exercises_open_on_binder_and_on_a_hub():
    ways = dict(chapter.launches(chapter.about("01"), ALL))
    notebook = "exercises/01_data_ingestion_bronze.ipynb"
    assert ways["Do the exercises on Binder"] == (
        f"https://binder.example/v2/gh/some/medallion/main?labpath={notebook}"
    )
    assert ways["Do the exercises on JupyterHub"] == (
        "https://hub.example/hub/user-redirect/git-pull?repo=https://github.com/some/medallion"
        f"&amp;branch=main&amp;urlpath=lab/tree/medallion/{notebook}"
    )


def test_the_page_of_a_chapter_names_its_folds_and_has_the_hints_before_the_solution():
    stored = notebook("01")
    before = json.dumps(stored)
    page = chapter.page(stored, chapter.about("01"), config.Addresses())
    assert json.dumps(stored) == before
    names = [
        cell["metadata"]["mystnb"]["code_prompt_show"]
        for cell in page["cells"]
        if "mystnb" in cell["metadata"]
    ]
    assert len(names) == len(set(names))
    assert [name for name in names if name.startswith("Solution")] == [
        f"Solution to exercise 1.{n}" for n in range(1, 7)
    ]
    assert "Prediction 1: the output, once you have your number" in names
    for place, cell in enumerate(page["cells"]):
        if "solution" in cell["metadata"].get("tags", []):
            assert sources(page)[place - 1].startswith('<details class="fold hint">')
            assert sources(page)[place - 2].startswith("```python")


def drawing(source, *tags):
    """Return a cell of a stored notebook that shows a chart."""
    figure = {"data": [], "layout": {"title": {"text": "Rows"}}}
    output = {"output_type": "display_data", "metadata": {}}
    output["data"] = {figures.MIME: figure, "text/plain": ["A chart."]}
    return {
        "cell_type": "code", "id": "a", "metadata": {"tags": list(tags)}, "outputs": [output],
        "source": source,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "tags", "folded", "name"),
    [
        ("figure = 1\ncharts.show(\n    figure, alt='A')", [], True, "The code of the chart: Rows"),
        (
            "charts.show(figure, alt='A')",
            ["predict"],
            True,
            "Prediction 1: the output, once you have your number",
        ),
        ("draw(rows)", [], False, None),
        ("charts.show(figure, alt='A')\nrows", [], False, None),
    ],
)
def test_the_code_that_shows_a_chart_is_folded_and_named_after_it(source, tags, folded, name):
    (cell,) = chapter._with_folds([drawing(source, *tags)], {})
    assert ("hide-input" in cell["metadata"]["tags"]) is folded
    assert cell["metadata"].get("mystnb", {}).get("code_prompt_show") == name


def test_a_figure_of_a_chapter_carries_its_alt_text():
    page = chapter.page(notebook("01"), chapter.about("01"), config.Addresses())
    outputs = [output for cell in page["cells"] for output in cell.get("outputs", [])]
    alts = [output["metadata"]["alt"] for output in outputs if "alt" in output.get("metadata", {})]
    assert len(alts) == 1 and all(alt.startswith("Bar chart of") for alt in alts)


def test_each_hint_stands_inside_the_one_before_it():
    soup = BeautifulSoup(chapter.hints_html(ch01.rescue), "html.parser")
    first, second, third = soup.find_all("details")
    assert second in first.find_all("details", recursive=False)
    assert third in second.find_all("details", recursive=False)
    assert [d.p.get_text() for d in (first, second, third)] == list(ch01.rescue.hints)
    assert first.summary.get_text() == "Hint 1 of 3 for exercise 1.2"


def test_a_notebook_that_was_not_built_is_an_error():
    bare = {"cells": [{"cell_type": "markdown", "metadata": {}, "source": "# A"}]}
    with pytest.raises(MedallionError, match=r"Run \./medallion build 01"):
        chapter.page(bare, chapter.about("01"), config.Addresses())


def test_the_policy_allows_the_one_script_in_the_page_and_no_eval():
    text = head.policy(head.THEME_SCRIPT)
    digest = b64encode(sha256(head.THEME_SCRIPT.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in text
    assert "unsafe-eval" not in text and "http" not in text


def test_a_description_is_the_first_paragraph_cut_at_a_sentence_or_a_word():
    document = nodes.document(None, None)
    document += nodes.paragraph(text="Short.")
    document += nodes.paragraph(text="The second  paragraph\nis long enough to describe a page by itself.")
    assert head.description(document) == "The second paragraph is long enough to describe a page by itself."
    document.insert(0, nodes.title(text="A page"))
    assert head.description(document).startswith("A page. The second")
    assert head.shortened(f"{'word ' * 20}ends. {'More ' * 20}") == f"{'word ' * 20}ends."
    assert head.shortened("word, " * 40).endswith("word…")
    assert head.description(None) == ""


def test_addresses_of_a_page():
    assert head.canonical(ALL, "book/welcome", "book/welcome") == "https://book.example/medallion/"
    assert (
        head.canonical(ALL, "book/setup", "book/welcome") == "https://book.example/medallion/book/setup.html"
    )
    assert head.canonical(config.Addresses(), "book/setup", "book/welcome") == ""
    assert head.edit_address(ALL, "notebooks/00_tour", "main", ".ipynb") == (
        "https://github.com/some/medallion/edit/main/book/chapters/00_tour/lesson.py"
    )
    assert head.edit_address(ALL, "book/setup", "main", ".md").endswith("/edit/main/book/setup.md")
    assert head.edit_address(ALL, "book/reference/tables", "main", ".md") == ""


def project(folder: Path, urls: str) -> Path:
    (folder / "pyproject.toml").write_text(f'[project]\nname = "x"\n{urls}', encoding="utf-8")
    return folder


def test_the_addresses_are_those_of_pyproject(tmp_path):
    assert config.addresses(project(tmp_path, "")) == config.Addresses()
    urls = '[project.urls]\nDocumentation = "https://book.example/a/"\nSource = "https://github.com/some/a"\n'
    found = config.addresses(project(tmp_path, urls))
    assert found == config.Addresses(site="https://book.example/a", source="https://github.com/some/a")


def test_what_pyproject_leaves_out_a_workflow_can_say(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDALLION_SITE_URL", "https://fork.example/medallion")
    monkeypatch.setenv("MEDALLION_SOURCE_URL", "https://github.com/fork/medallion")
    found = config.addresses(project(tmp_path, '[project.urls]\nSource = "https://github.com/some/a"\n'))
    assert found == config.Addresses(
        site="https://fork.example/medallion", source="https://github.com/some/a"
    )


def test_an_address_without_https_is_an_error(tmp_path):
    with pytest.raises(MedallionError, match=r"Source under .* is 'git@host:a'"):
        config.addresses(project(tmp_path, '[project.urls]\nSource = "git@host:a"\n'))


GLOSSARY_PAGE = [("lakehouse", "lakehouse"), ("time travel", "time-travel"), ("state", "state")]


def linked(text: str, bold: bool = False) -> tuple[str, list[str]]:
    pattern = terms.finder(dict(GLOSSARY_PAGE))
    pieces, found = terms.link(nodes.Text(text), pattern, lambda term: nodes.reference(refuri=term), bold)
    shown = "".join(f"[{p.astext()}]" if isinstance(p, nodes.reference) else p.astext() for p in pieces)
    return shown, found


def test_the_first_mention_of_a_term_is_a_link():
    assert linked("Lakehouses: a lakehouse has time travel.") == (
        "[Lakehouse]s: a lakehouse has [time travel].",
        ["lakehouse", "time travel"],
    )
    assert linked("A lakehousekeeper.") == ("A lakehousekeeper.", [])
    assert terms.finder([]) is None


def test_a_term_that_is_also_a_plain_word_is_linked_only_in_bold():
    assert linked("the schema that we state")[1] == []
    assert linked("state", bold=True) == ("[state]", ["state"])


def test_the_number_of_a_page():
    assert navigation.number_of("notebooks/01_data_ingestion_bronze") == "01"
    assert navigation.number_of("book/setup") == ""


DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 500 100" width="500" aria-labelledby="t">
  <title id="t">A flow</title>
  <defs><marker id="m"/></defs>
  <rect fill="#ffffff" stroke="#b26a33"/>
  <text font-size="20" fill="#ffffff">Bronze</text><text fill="#2b2b2b">Silver</text>
  <path marker-end="url(#m)" stroke="#6A6A6A"/>
</svg>"""


def test_a_drawing_follows_the_page_and_keeps_the_colours_of_the_layers():
    text = diagrams.inline(DRAWING, "", "drawing-2")
    svg = ElementTree.fromstring(text)[0]
    ns = "{http://www.w3.org/2000/svg}"
    assert (svg.get("aria-label"), svg.get("width")) == ("A flow", None)
    assert svg.get("style") == "min-width:250px;max-width:500px"
    rect, path = svg.find(f"{ns}rect"), svg.find(f"{ns}path")
    assert (rect.get("fill"), rect.get("stroke")) == ("var(--card)", "#b26a33")
    assert [t.get("fill") for t in svg.findall(f"{ns}text")] == ["#ffffff", "var(--ink)"]
    assert (path.get("marker-end"), path.get("stroke")) == ("url(#drawing-2-m)", "var(--ink-3)")
    assert svg.find(f"{ns}title") is None


def test_what_the_drawing_shows_is_said_by_the_page_when_it_says_it():
    assert 'aria-label="Where &quot;we&quot; are"' in diagrams.inline(DRAWING, 'Where "we" are', "d-1")


def test_a_drawing_with_links_is_a_group_of_them_and_no_image():
    linked = DRAWING.replace("</svg>", '<a href="#row"><text x="1" y="9">a</text></a></svg>')
    box = ElementTree.fromstring(diagrams.inline(linked, "What leads where", "drawing-1"))
    assert (box.get("role"), box.get("aria-label")) == ("group", "What leads where")
    assert box[0].get("role") is None and box[0].get("aria-label") is None


def test_a_page_that_is_moved_keeps_its_links():
    text = (
        '<html data-content_root="../"><a href="setup.html#java">a</a><a href="../notebooks/00.html">b</a>'
        '<a href="#top">c</a><a href="https://host.example/x">d</a><img src="../_static/logo.svg">'
    )
    assert extras.moved(text, "book/welcome.html", "index.html") == (
        '<html data-content_root="./"><a href="book/setup.html#java">a</a><a href="notebooks/00.html">b</a>'
        '<a href="#top">c</a><a href="https://host.example/x">d</a><img src="_static/logo.svg">'
    )
    anywhere = extras.moved(text, "book/welcome.html", "/medallion/")
    assert 'href="/medallion/book/setup.html#java"' in anywhere
    assert 'data-content_root="/medallion/"' in anywhere


def test_the_site_map_and_robots(tmp_path):
    extras.write_site_map(tmp_path, ["https://book.example/", "https://book.example/a.html?x&y"])
    tree = ElementTree.parse(tmp_path / "sitemap.xml")
    assert [loc.text for loc in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")] == [
        "https://book.example/",
        "https://book.example/a.html?x&y",
    ]
    extras.write_robots(tmp_path, ALL)
    robots = (tmp_path / "robots.txt").read_text(encoding="utf-8")
    assert "Sitemap: https://book.example/medallion/sitemap.xml" in robots


def test_the_offline_copy_is_the_same_each_time(tmp_path):
    site = tmp_path / "html"
    (site / "book").mkdir(parents=True)
    (site / "index.html").write_text("a", encoding="utf-8")
    (site / "book" / "é.html").write_text("b", encoding="utf-8")
    first = build.pack(site).read_bytes()
    (site / "index.html").touch()
    assert build.pack(site).read_bytes() == first


def test_a_formula_is_mathml():
    class Translator:
        body: list[str] = []  # noqa: RUF012

    for write, display in ((formulas.inline, "inline"), (formulas.block, "block")):
        translator = Translator()
        translator.body = []
        with pytest.raises(nodes.SkipNode):
            write(translator, nodes.math(text=r"\frac{a}{b}"))
        assert f'display="{display}"' in translator.body[0] and "<mfrac>" in translator.body[0]


def test_only_what_has_a_colour_is_marked():
    written = highlight('total = rows.count()  # "all"', PythonLexer(), code.Formatter(nowrap=True))
    assert written == 'total = rows.count()  <span class="c1"># "all"</span>\n'


def test_every_mark_that_is_left_out_has_no_colour_in_the_style_sheet():
    styles = (paths.root() / "book" / "_static" / "medallion.css").read_text(encoding="utf-8")
    for plain in ("n", "nn", "nx", "o", "p", "w"):
        assert not re.search(rf"\.highlight [^{{]*\.{plain}\b[^{{]*{{", styles), plain


def test_comments_and_indents_of_our_files_are_not_sent(tmp_path):
    static = tmp_path / "_static"
    static.mkdir()
    for name in extras._OURS:
        text = "/* Two\n   lines */\n" if name.endswith("css") else "// A comment\n  // and one more\n"
        (static / name).write_text(f"{text}a {{\n  b: 'https://x';\n}}\n", encoding="utf-8")
    extras.strip_comments(tmp_path)
    for name in extras._OURS:
        assert (static / name).read_text(encoding="utf-8").lstrip() == "a {\nb: 'https://x';\n}\n"
