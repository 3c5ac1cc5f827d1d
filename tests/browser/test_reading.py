"""What a reader does beside reading: follow a wrong address, print, do without scripts or a network."""

import re
import zipfile

import pytest
from playwright.sync_api import expect

from press.site import build

from .looking import visit, window
from .pages import CHAPTERS, LINEAGE, PHONE, SHEETS, WELCOME, WIDE

# What a box hides to its left and right, and on which of them it is in shade
_SHADES = """() => [...document.querySelectorAll(".scroller, .drawing, pre")]
  .filter((box) => box.checkVisibility() && box.clientWidth)
  .map((box) => ({
    left: box.scrollLeft > 1, right: box.scrollWidth - box.clientWidth - box.scrollLeft > 1,
    seen: getComputedStyle(box).boxShadow.split("inset").length - 1,
  }))"""


@pytest.mark.parametrize(("name", "width"), [(LINEAGE, WIDE), (LINEAGE, PHONE), (CHAPTERS[3], PHONE)])
def test_a_box_that_hides_something_lies_in_shade_on_that_side(open_page, name, width):
    page = open_page(name, width).page
    assert [box for box in page.evaluate(_SHADES) if box["right"]]
    boxes = "document.querySelectorAll('.scroller, .drawing, pre')"
    scroll = f"(far) => {boxes}.forEach((box) => {{ box.scrollLeft = far; }})"
    for scrolled in (0, 40):
        page.evaluate(scroll, scrolled)
        page.wait_for_timeout(200)
        for box in page.evaluate(_SHADES):
            assert box["seen"] == box["left"] + box["right"], box


def test_on_a_wide_page_a_wide_table_goes_beyond_the_code(open_page):
    page = open_page(CHAPTERS[1]).page
    widest = "(css) => Math.max(...[...document.querySelectorAll(css)].map((e) => e.clientWidth))"
    code, table = (page.evaluate(widest, css) for css in (".cell_input", ".cell_output .scroller"))
    assert table > code + 100


@pytest.mark.parametrize("name", CHAPTERS)
def test_code_on_a_phone_goes_on_in_the_next_line(open_page, name):
    opened = open_page(name, PHONE)
    opened.open_folds()
    cut = opened.page.evaluate(
        "() => [...document.querySelectorAll('.cell_input pre')]"
        ".filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"
    )
    assert cut == []


def test_a_table_of_sentences_is_stacked_on_a_phone(open_page):
    places = "(row) => [...row.cells].map((cell) => Math.round(cell.getBoundingClientRect().left))"
    for width, columns in ((WIDE, 3), (PHONE, 1)):
        page = open_page("book/instructors.html", width).page
        row = page.locator(".stack tbody tr").first
        assert len(set(row.evaluate(places))) == columns
    assert row.locator("td").last.evaluate("(e) => getComputedStyle(e, '::before').content") == '"How: "'


def test_a_link_into_a_long_page_lands_at_once(browser, address):
    moving = visit(window(browser, WIDE, "light", reduced_motion="no-preference"), address, CHAPTERS[1])
    target = moving.page.locator("article section[id]").last
    place = target.get_attribute("id")
    top = moving.page.evaluate(
        "(id) => { location.hash = id; return document.getElementById(id).getBoundingClientRect().top; }",
        place,
    )
    assert 0 <= top < 900
    moving.page.context.close()


def test_a_wrong_address_gets_a_page_with_a_way_back(browser, address):
    page = browser.new_page()
    answer = page.goto(f"{address}no/such/place.html")
    assert answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such page")
    assert page.evaluate("getComputedStyle(document.querySelector('.skip')).position") == "absolute", (
        "no styles"
    )
    for link in page.get_by_role("main").get_by_role("link").all():
        assert page.request.get(link.evaluate("(a) => a.href")).status == 200
    page.get_by_role("main").get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("There is no such page")
    page.context.close()


@pytest.mark.parametrize("short", ["setup", "start", "teach", "glossary"])
def test_a_short_address_leads_to_its_page(open_page, short):
    page = open_page(f"{short}.html").page
    page.wait_for_url(re.compile("/(book|notebooks)/"))
    expect(page.get_by_role("heading", level=1)).to_be_visible()


@pytest.mark.parametrize("name", [WELCOME, *CHAPTERS])
def test_on_paper_there_is_the_text_and_no_navigation(open_page, name):
    page = open_page(name).page
    page.emulate_media(media="print")
    shown = page.locator("header.top, nav, footer, button, .skip, .headerlink").filter(visible=True)
    assert shown.count() == 0, shown.first.evaluate("(e) => e.outerHTML.slice(0, 200)")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)")


def test_on_paper_a_dark_page_is_dark_ink_on_white(open_page):
    page = open_page(CHAPTERS[0], theme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    ink = page.evaluate("getComputedStyle(document.querySelector('article section > p')).color")
    assert max(map(int, re.findall(r"\d+", ink)[:3])) < 128, ink


@pytest.mark.parametrize("paper", ["A4", "Letter"])
@pytest.mark.parametrize("name", SHEETS)
def test_a_cheat_sheet_is_one_page_of_paper(open_page, name, paper):
    printed = open_page(name).page.pdf(format=paper, prefer_css_page_size=False)
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) == 1


@pytest.mark.parametrize("name", CHAPTERS)
def test_without_scripts_a_chapter_can_be_read(browser, address, name):
    context = browser.new_context(java_script_enabled=False, viewport={"width": PHONE, "height": 740})
    page = context.new_page()
    page.goto(address + name)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.get_by_role("button", name="Pages", exact=True).click()
    expect(page.locator("#site-nav")).to_be_visible()
    page.keyboard.press("Escape")
    for figure in page.locator("figure.plot").all():
        expect(figure.locator(".plot-area p")).to_be_visible()
        figure.locator("summary").click()
        expect(figure.get_by_role("table")).to_be_visible()
    solution = page.locator("summary", has_text="Solution to exercise").first
    solution.click()
    expect(solution.locator("xpath=following-sibling::*").first).to_be_visible()
    expect(page.locator("button.theme, button.copy").filter(visible=True)).to_have_count(0)
    context.close()


def test_the_offline_copy_opens_from_the_disk(browser, site, tmp_path):
    with zipfile.ZipFile(build.pack(site)) as archive:
        archive.extractall(tmp_path)
    disk = f"{(tmp_path / 'medallion').as_uri()}/"
    chapter = visit(window(browser, WIDE, "light"), disk, CHAPTERS[-1])
    assert chapter.page.evaluate("getComputedStyle(document.querySelector('.skip')).position") == "absolute"
    chapter.draw_figures()
    assert chapter.complaints() == []
    field = chapter.page.get_by_role("searchbox", name="Search the book")
    field.fill("quarantine")
    field.press("Enter")
    expect(chapter.page.locator("#search-results a").first).to_be_visible(timeout=15_000)
    assert chapter.complaints() == []
    chapter.page.locator("#search-results li", has_text="Glossary").get_by_role("link").first.click()
    expect(chapter.page.get_by_role("heading", level=1)).to_have_text(re.compile("Glossary"))
    expect(chapter.page.locator(":target > h3")).to_be_in_viewport()
    chapter.page.context.close()
