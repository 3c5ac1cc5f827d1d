"""Everything by the keyboard alone: the way through a page, the skip link, folds, quiz, hints, drawers."""

import pytest
from playwright.sync_api import expect

from medallion import contract
from medallion.lesson import quiz

from .pages import ALL, CHAPTERS, FULLEST, PHONE, WELCOME, WIDE

# Number every control that can be seen, in the order of the page
_NUMBER = """() => {
  const controls = [...document.querySelectorAll(
    'a[href], button, input, select, textarea, summary, [tabindex="0"]')];
  const seen = controls.filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.disabled);
  seen.forEach((e, number) => (e.dataset.stop = number));
  const name = (e) => (e.getAttribute("aria-label") ?? e.textContent).trim().slice(0, 50);
  return seen.map((e) => `${e.localName} ${name(e)}`);
}"""
# Where the focus is, and what shows it
_FOCUS = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  const ring = style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth);
  const inside = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  const shown = ring >= 2 && inside && style.opacity > 0 && box.width > 1;
  return { stop: Number(e.dataset.stop ?? -1), shown,
           what: `${e.localName} ${e.className} ring ${ring}, in view ${inside}` };
}"""


def _walk(page, most: int) -> list[dict]:
    """Press Tab until the focus leaves the page, and return where it has been."""
    been = []
    for _ in range(most):
        page.keyboard.press("Tab")
        held = page.evaluate(_FOCUS)
        if held is None or (been and held["stop"] == 0):
            break
        been.append(held)
    return been


@pytest.mark.parametrize(
    ("name", "width"), [*((name, WIDE) for name in ALL), *((name, PHONE) for name in FULLEST)]
)
def test_the_skip_link_leads_to_the_text_and_tab_to_every_control_in_order_and_shows_where_it_is(
    open_page, name, width
):
    page = open_page(name, width).page
    if name == "search.html":
        page.locator("body").click(position={"x": 2, "y": 2})  # the field takes the focus at the start
    page.wait_for_load_state("networkidle")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the text")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport(ratio=1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main, footer') !== null")
    page.locator("body").click(position={"x": 2, "y": 2})  # from the top again
    controls = page.evaluate(_NUMBER)
    assert len(controls) >= 5
    been = _walk(page, len(controls) + 30)
    stops = [held["stop"] for held in been if held["stop"] >= 0]
    assert [controls[n] for n in set(range(len(controls))) - set(stops)] == []
    assert stops == sorted(stops)
    assert [held["what"] for held in been if not held["shown"]] == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_each_fold_has_a_name_of_its_own_and_opens_and_closes(open_page, name):
    page = open_page(name).page
    folds = page.locator("details.fold:not(.hint)")
    names = [" ".join(text.split()) for text in folds.locator("> summary").all_inner_texts()]
    assert len(set(names)) == len(names) >= 1
    assert [said for said in names if len(said) < 10] == []
    for number, key in zip(range(folds.count()), ["Enter", "Space"] * folds.count(), strict=False):
        fold, content = folds.nth(number), folds.nth(number).locator("> :not(summary)").first
        expect(content).to_be_hidden()
        fold.locator("> summary").focus()
        page.keyboard.press(key)
        expect(content).to_be_visible()
        page.keyboard.press(key)
        expect(content).to_be_hidden()


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_exercise_has_three_hints_each_inside_the_last_and_a_solution(open_page, name):
    page = open_page(name).page
    solutions = page.locator("summary", has_text="Solution to exercise")
    exercises = [text.removeprefix("Solution to exercise ") for text in solutions.all_inner_texts()]
    hints = page.locator("summary", has_text="Hint")
    assert len(exercises) >= 1 and hints.count() == 3 * len(exercises)
    for exercise in exercises:
        for level in (1, 2, 3):
            hint = page.locator("summary", has_text=f"Hint {level} of 3 for exercise {exercise}")
            expect(hint).to_be_visible()
            hint.focus()
            page.keyboard.press("Enter")
            said = hint.locator("xpath=following-sibling::p")
            expect(said).to_be_visible()
            assert len(said.inner_text()) >= 20


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_quiz_answers_to_the_keyboard_and_explains_every_wrong_answer(open_page, name):
    page = open_page(name).page
    number = name.removeprefix("notebooks/")[:2]
    asked = quiz.show(number).questions if contract.find(number).with_name("quiz.yml").exists() else ()
    shown = page.locator(".quiz fieldset")
    assert shown.count() == len(asked)
    for question, box in zip(asked, shown.all(), strict=True):
        answers = box.locator("details")
        assert answers.count() == len(question.answers)
        for answer, fold, key in zip(question.answers, answers.all(), ["Enter", "Space"] * 3, strict=False):
            verdict = fold.locator(".verdict")
            expect(verdict).to_be_hidden()
            fold.locator("summary").focus()
            page.keyboard.press(key)
            expect(verdict).to_be_visible()
            said = verdict.inner_text()
            assert said.startswith("✓ Right." if answer.right else "✗ Not this one.")
            assert answer.right or len(said.removeprefix("✗ Not this one.")) >= 20
        assert box.locator("details[open]").count() == 1  # the last one closed those before it


DRAWERS = [("Pages", "#site-nav"), ("On this page", "#page-nav")]


@pytest.mark.parametrize(("button", "drawer"), DRAWERS)
@pytest.mark.parametrize("name", [WELCOME, *CHAPTERS])
def test_the_drawers_of_a_phone_open_and_close_by_touch_and_by_key(open_page, name, button, drawer):
    page = open_page(name, PHONE).page
    opener = page.get_by_role("button", name=button, exact=True)
    box = page.locator(drawer)
    if not opener.count():
        assert not page.locator("main h2").count()
        return
    expect(box).to_be_hidden()
    opener.tap()
    expect(box).to_be_visible()
    expect(box.get_by_role("link").first).to_be_in_viewport()
    box.get_by_role("button", name="Close").tap()
    expect(box).to_be_hidden()
    opener.tap()
    expect(box).to_be_visible()
    outside = box.evaluate("(e) => e.getBoundingClientRect().left > 0 ? 10 : innerWidth - 10")
    page.touchscreen.tap(outside, 600)
    expect(box).to_be_hidden()
    opener.focus()
    page.keyboard.press("Enter")
    expect(box).to_be_visible()
    page.keyboard.press("Tab")
    assert box.evaluate("(e) => e.contains(document.activeElement)"), "Tab leads into the open drawer"
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(opener).to_be_focused()


def test_a_link_in_a_drawer_leads_there_and_closes_it(open_page):
    page = open_page(WELCOME, PHONE).page
    page.get_by_role("button", name="Pages", exact=True).tap()
    page.locator("#site-nav").get_by_role("link", name="Setting up").first.tap()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Setting up")
    page.get_by_role("button", name="On this page", exact=True).tap()
    link = page.locator("#page-nav").get_by_role("link").last
    target = link.get_attribute("href")
    link.tap()
    expect(page.locator("#page-nav")).to_be_hidden()
    expect(page.locator(target)).to_be_in_viewport()
