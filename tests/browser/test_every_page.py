"""Every page on a phone, and the fullest also on a desk, in light and dark, with all that opens opened."""

import pytest
from axe_playwright_python.base import AXE_SCRIPT

from .looking import judge
from .pages import ALL, CHAPTERS, FULLEST, PHONE, WIDE

# One style sheet makes all pages. Three show that it serves each width in each theme; on the others it is the
# content that can fail: on a phone, where the least fits, by turns in light and dark.
LOOKS = [(name, width, theme) for name in FULLEST for width in (WIDE, PHONE) for theme in ("light", "dark")]
LOOKS += [
    (name, PHONE, ("light", "dark")[place % 2]) for place, name in enumerate(ALL) if name not in FULLEST
]


@pytest.mark.parametrize(("name", "width", "theme"), LOOKS)
def test_axe_finds_nothing_against_wcag_22_aa(seen, name, width, theme):
    assert seen(name, width, theme).axe == []


@pytest.mark.parametrize(("name", "width", "theme"), LOOKS)
def test_the_console_says_nothing_and_the_policy_is_kept(seen, name, width, theme):
    # The answer to a wrong address is no fault of its page; the address is right here
    assert seen(name, width, theme).complaints == []


@pytest.mark.parametrize(("name", "width", "theme"), LOOKS)
def test_no_other_host_is_asked_for_anything(seen, name, width, theme):
    assert seen(name, width, theme).foreign == []


@pytest.mark.parametrize(("name", "width", "theme"), [look for look in LOOKS if look[1] == PHONE])
def test_nothing_sticks_out_of_a_phone(seen, name, width, theme):
    assert seen(name, width, theme).overflow == []


_PALE = {
    "its colour": "word.style.color = '#bbb'",
    "the ground under it": "word.style.background = '#777'",
    "a veil over its section": "word.closest('section').style.opacity = 0.3",
}


@pytest.mark.parametrize("how", _PALE)
def test_axe_finds_a_pale_word_far_down_a_chapter(open_page, how):
    page = open_page(CHAPTERS[0]).page
    page.evaluate(AXE_SCRIPT)
    assert judge(page) == []
    page.evaluate(
        f"() => {{ const word = [...document.querySelectorAll('main section p')].at(-1); {_PALE[how]}; }}"
    )
    assert any(found.startswith("color-contrast") for found in judge(page))
