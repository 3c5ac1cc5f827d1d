"""The search leads to the section that teaches a term: all terms of the index, by keyboard, on a phone."""

import re
from html import unescape

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import expect

from medallion import paths
from press.source import terms

from .pages import CHAPTERS, PHONE, WELCOME, WIDE

_TERMS = terms.read(paths.root())
# The addresses of the first three results for each query, by the functions of the page itself
_FIRST_THREE = """(queries) => queries.map((query) =>
  find(query).slice(0, 3).map((place) => new URL(addressOf(place), location).pathname.split("/").pop()
    + new URL(addressOf(place), location).hash))"""
_SECTION = re.compile(
    r'<section[^>]* id="([^"]+)"[^>]*>\s*(?:<span[^>]*></span>\s*)*<h[2-4]>(.*?)<a class="headerlink"'
)


@pytest.fixture(scope="module")
def addresses(site) -> dict[tuple[str, str], str]:
    """The address of each section of the chapters, by the number of the chapter and the heading."""
    found = {}
    for name in CHAPTERS:
        page = site / name
        for anchor, title in _SECTION.findall(page.read_text(encoding="utf-8")):
            heading = unescape(BeautifulSoup(title, "html.parser").get_text()).replace("\u2019", "'")
            found[page.stem[:2], heading] = f"{page.name}#{anchor}"
    return found


def test_each_term_of_the_index_and_each_spelling_leads_to_the_sections_that_teach_it(open_page, addresses):
    assert len(_TERMS) >= 80
    page = open_page("search.html").page
    queries = [(name, term) for term in _TERMS for name in term.names]
    results = page.evaluate(_FIRST_THREE, [name for name, _ in queries])
    wrong = [
        (name, found)
        for (name, term), found in zip(queries, results, strict=True)
        if not {addresses[section] for section in term.sections[:3]} <= set(found)
    ]
    assert wrong == []


def test_the_index_itself_names_the_sections_and_is_linked_from_the_glossary(open_page):
    page = open_page("book/glossary.html").page
    page.get_by_role("main").get_by_role("link", name="index of terms", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Index of terms"))
    named = page.locator("strong", has_text=re.compile("^watermark$"))
    page.get_by_role("listitem").filter(has=named).get_by_role("link").first.click()
    expect(page.locator(":target > h2")).to_contain_text("Watermarks")
    expect(page.locator(":target > h2")).to_be_in_viewport()


@pytest.mark.parametrize(
    ("query", "heading"),
    [
        ("watermrak", "watermark"),  # two letters in the wrong order
        ("stream-stre", "Stream-stream"),  # the beginning of a word
        ("How do I merge change events?", "MERGE"),  # plain words between the term's
        ("watermark zzyzx", "watermark"),  # a word that the book does not have
    ],
)
def test_what_is_no_term_of_the_index_is_found_too(open_page, query, heading):
    page = open_page("search.html").page
    page.get_by_role("searchbox", name=re.compile("Words to look for")).fill(query)
    expect(page.locator("#search-results a").first).to_contain_text(heading, ignore_case=True)


@pytest.mark.parametrize(
    ("width", "theme"), [(WIDE, "light"), (WIDE, "dark"), (PHONE, "light"), (PHONE, "dark")]
)
@pytest.mark.parametrize(
    ("query", "heading"),
    [
        ("Shadow deployments", "Shadow deployment"),
        ("CDF", "The change data feed"),
        ("RocksDB", "Reading the state store"),
    ],
)
def test_by_keyboard_a_term_leads_from_the_first_page_to_its_section(open_page, query, heading, width, theme):
    page = open_page(WELCOME, width, theme).page
    field = page.get_by_role("searchbox", name="Search the book")
    field.focus()
    page.keyboard.type(query)
    page.keyboard.press("Enter")
    first = page.locator("#search-results a").first
    expect(first).to_be_focused()
    expect(first).to_be_in_viewport(ratio=1)
    expect(first).to_have_text(heading)
    expect(page.get_by_role("status")).to_have_text(re.compile(r"\d+ sections?\."))
    page.keyboard.press("Enter")
    reached = page.locator(":target > :is(h2, h3)")
    expect(reached).to_contain_text(heading)
    expect(reached).to_be_in_viewport()


def test_results_come_while_one_types_and_are_there_on_the_way_back(open_page):
    page = open_page("search.html").page
    field = page.get_by_role("searchbox", name=re.compile("Words to look for"))
    expect(field).to_be_focused()
    page.keyboard.type("watermark")
    first = page.locator("#search-results a").first
    expect(first).to_contain_text("Watermarks")
    expect(first.locator("mark")).to_have_text("Watermarks")
    expect(field).to_be_focused()
    first.click()
    page.go_back()
    expect(page.locator("#search-results a").first).to_contain_text("Watermarks")
    expect(field).to_have_value("watermark")


def test_the_page_of_the_search_says_when_there_is_nothing_and_searches_again(open_page):
    page = open_page("search.html?q=zzyzx").page
    expect(page.get_by_role("status")).to_contain_text("No section was found")
    again = page.get_by_role("searchbox", name=re.compile("Words to look for"))
    again.fill("watermark")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#search-results a").first).to_be_focused()
    again.fill("")
    expect(page.get_by_role("status")).to_be_empty()
    expect(page.locator("#search-results a")).to_have_count(0)


@pytest.mark.parametrize("query", ["<img src=x onerror=window.broken=1>", "+((", "$a|^", "\\", "?", "the of"])
def test_a_query_of_signs_is_searched_for_and_never_run(open_page, query):
    page = open_page(WELCOME).page
    field = page.get_by_role("searchbox", name="Search the book")
    field.fill(query)
    field.press("Enter")
    expect(page.get_by_role("status")).not_to_be_empty()
    assert page.evaluate("window.broken") is None


def test_axe_finds_nothing_on_the_results(open_page, seen):
    """Results are on the page only after a search, so the look at every page does not see them."""
    from axe_playwright_python.base import AXE_SCRIPT

    from .looking import judge, overflowing

    for width, theme in ((WIDE, "light"), (PHONE, "dark")):
        page = open_page("search.html?q=merge", width, theme).page
        expect(page.locator("#search-results a").first).to_be_visible()
        page.evaluate(AXE_SCRIPT)
        assert judge(page) == []
        assert overflowing(page) == []
