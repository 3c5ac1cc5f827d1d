"""Figures and drawings: drawn when they come near, not empty, legible in both themes, and said in words."""

import re

import pytest
from playwright.sync_api import expect

from .pages import CHAPTERS, LINEAGE, PHONE, WELCOME, WIDE

# Of each trace of each figure the number of marks that have a size on the screen
_MARKS = """(figure) => {
  const held = JSON.parse(figure.querySelector(".plot-data").textContent);
  const kinds = ".barlayer .trace, .scatterlayer .trace, .heatmaplayer .hm, .boxlayer .trace,"
    + " .violinlayer .trace, .contourlayer .contour, .funnellayer .trace, .pielayer .trace, .sankey";
  const drawn = [...figure.querySelectorAll(kinds)].map((trace) =>
    [...trace.querySelectorAll("path, image, rect, circle")].filter((mark) => {
      const box = mark.getBoundingClientRect();
      return box.width + box.height > 2 && getComputedStyle(mark).visibility === "visible";
    }).length);
  const area = figure.querySelector(".plot-area").getBoundingClientRect();
  const svg = figure.querySelector(".main-svg").getBoundingClientRect();
  const fits = svg.width <= area.width && svg.width > 200 && svg.height > 150;
  return { traces: held.data.length, drawn, fits };
}"""
# The text of drawings, which axe leaves aside: its colour on the shape or page that lies under its middle
_ILLEGIBLE = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((c, n) => c * a + below[n] * (1 - a));
  const linear = (c) => c <= 10 ? c / 255 / 12.92 : ((c / 255 + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const contrast = (a, b) => {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + .05) / (low + .05);
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (e.namespaceURI.endsWith("xhtml") && channels(colour)[3] !== 0) return channels(colour);
    }
    return [255, 255, 255];
  };
  const covers = (shape, x, y) => {
    const matrix = shape.getScreenCTM();
    return matrix && shape.isPointInFill(new DOMPoint(x, y).matrixTransform(matrix.inverse()));
  };
  const filled = (shape) => {
    const style = getComputedStyle(shape);
    if (!style.fill.startsWith("rgb") || style.visibility !== "visible") return null;
    if (shape.closest("defs, clipPath")) return null;
    const [r, g, b, a = 1] = channels(style.fill);
    const alpha = a * style.fillOpacity * style.opacity;
    return alpha > 0 ? [r, g, b, alpha] : null;
  };
  const bad = [], judged = [];
  for (const text of document.querySelectorAll("main svg text")) {
    const box = text.getBoundingClientRect();
    const style = getComputedStyle(text);
    const hidden = style.visibility !== "visible" || style.opacity === "0" || !box.width;
    if (hidden || !text.textContent.trim()) continue;
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    let under = ground(text.ownerSVGElement);
    for (const shape of text.ownerSVGElement.querySelectorAll("rect, path, circle, ellipse, polygon")) {
      const before = shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING;
      const paint = before ? filled(shape) : null;
      if (paint && covers(shape, x, y)) under = over(paint, under);
    }
    const ratio = contrast(over(channels(style.fill), under), under);
    judged.push(text.textContent);
    if (ratio < 4.5) bad.push(`${text.textContent}: ${ratio.toFixed(2)}`);
  }
  return { bad, judged: judged.length };
}"""


@pytest.mark.parametrize("width", [WIDE, PHONE])
@pytest.mark.parametrize("name", CHAPTERS)
def test_every_figure_is_drawn_and_every_trace_of_it_shows(open_page, name, width):
    opened = open_page(name, width)
    opened.draw_figures()
    figures = opened.page.locator("figure.plot")
    for number in range(figures.count()):
        marks = figures.nth(number).evaluate(_MARKS)
        assert marks["traces"] == len(marks["drawn"]) and all(marks["drawn"]), (number, marks)
        assert marks["fits"], number


def test_the_code_of_a_chart_is_one_key_away(open_page):
    page = open_page(next(name for name in CHAPTERS if "/05" in name)).page
    fold = page.locator("details", has=page.locator("summary", has_text="The code of the chart")).first
    expect(fold.locator("pre")).to_be_hidden()
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(fold.locator("pre")).to_contain_text("charts.show(")


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_the_box_of_a_figure_shows_its_text_until_it_is_drawn(open_page, width):
    page = open_page(next(name for name in CHAPTERS if "/05" in name), width).page
    held = []
    page.route("**/plotly-cartesian.min.js", lambda route: held.append(route))
    area = page.locator(".plot-area").first
    text = area.locator("p")
    text.scroll_into_view_if_needed()
    expect(text).to_have_text(area.get_attribute("aria-label"))
    expect(text).to_be_in_viewport()
    assert text.evaluate("(e) => e.getBoundingClientRect().bottom") <= area.evaluate(
        "(e) => e.getBoundingClientRect().bottom"
    )
    page.wait_for_timeout(300)
    held[0].continue_()
    expect(page.locator("figure.plot").first).to_contain_class("drawn", timeout=30_000)
    expect(text).to_have_count(0)


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_figure_says_in_words_and_in_a_table_what_it_shows(open_page, name):
    page = open_page(name).page
    for figure in page.locator("figure.plot").all():
        area = figure.get_by_role("img").first  # within it Plotly may have drawn others
        assert len(area.get_attribute("aria-label") or "") >= 40
        fold = figure.locator("details")
        summary = fold.locator("summary")
        assert summary.inner_text().startswith("The data of the figure: ")
        expect(fold.get_by_role("table")).to_be_hidden()
        summary.focus()
        page.keyboard.press("Enter")
        expect(fold.get_by_role("table")).to_be_visible()
        assert fold.get_by_role("columnheader").count() >= 2
        rows = fold.locator("tbody tr")
        assert rows.count() >= 2
        assert all(re.search(r"\d", text) for text in rows.all_inner_texts())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", [WELCOME, LINEAGE, *CHAPTERS])
def test_the_text_in_figures_and_drawings_can_be_read(open_page, name, theme):
    opened = open_page(name, theme=theme)
    opened.draw_figures()
    found = opened.page.evaluate(_ILLEGIBLE)
    assert found["judged"] >= 10
    assert found["bad"] == []


def _with_figures(opened) -> bool:
    return opened.page.locator("figure.plot").count() > 0


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_figure_follows_the_theme_of_the_system_and_the_choice_of_the_reader(open_page, name):
    opened = open_page(name)
    page = opened.page
    if not _with_figures(opened):
        return
    opened.draw_figures()
    label = page.locator(".plot-area :is(.xtick text, .legendtext)").first  # a network has no axes
    light = label.evaluate("(e) => getComputedStyle(e).fill")
    page.emulate_media(color_scheme="dark")
    expect(label).not_to_have_css("fill", light)
    choose = page.locator("button.theme")
    assert choose.get_attribute("aria-label") == "Theme: system"
    choose.click()
    assert choose.get_attribute("aria-label") == "Theme: light"
    expect(label).to_have_css("fill", light)
    page.reload()
    assert page.locator("button.theme").get_attribute("aria-label") == "Theme: light"
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "light"
