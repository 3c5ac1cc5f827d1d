"""What a reader does beside reading: follow a wrong address, print, do without scripts or a network."""

import re
import zipfile

import pytest
from playwright.sync_api import expect

from press.site import build

from .looking import visit, window
from .pages import CHAPTERS, PHONE, SHEETS, WELCOME, WIDE


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
        expect(figure.locator("noscript p")).to_be_visible()
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
