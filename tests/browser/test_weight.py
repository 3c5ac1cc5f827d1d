"""What a first visit costs: the bytes that come before a reader scrolls, compressed as sent."""

import gzip

import pytest

from .looking import visit, window
from .pages import ALL, WIDE

HEAVIEST_VISIT = 700_000  # compressed
HEAVIEST_PAGE = 400_000  # the HTML alone, as it is
_PACKED = ("image/png", "image/webp", "image/jpeg", "font/woff2")


@pytest.mark.parametrize("name", ALL)
def test_a_first_visit_is_light_and_the_script_that_draws_comes_later(browser, address, weigh, name):
    opened = visit(window(browser, WIDE, "light"), address, name)
    opened.page.wait_for_load_state("networkidle")
    sizes = {}
    for response in opened.responses:
        body = response.body()
        packed = response.headers.get("content-type", "").startswith(_PACKED)
        sizes[response.url] = len(body) if packed else len(gzip.compress(body, 6))
    page = len(opened.responses[0].body())
    total = sum(sizes.values())
    weigh(f"{name}: {page / 1000:.0f} kB of HTML; first visit {total / 1000:.0f} kB in {len(sizes)} requests")
    assert len(sizes) >= 3
    assert page < HEAVIEST_PAGE
    assert total < HEAVIEST_VISIT, sizes
    assert opened.plotly() == []
    if opened.page.locator("figure.plot").count():
        far = opened.page.locator(".plot-area").first.evaluate(
            "(e) => e.getBoundingClientRect().top > innerHeight + 1600"
        )
        assert far, "The figure is near the top, so nothing is shown of when its script comes"
        with opened.page.expect_request("**/plotly-cartesian.min.js"):
            opened.page.mouse.wheel(0, 100)
        assert opened.page.locator("figure.drawn").count() == 0
        opened.draw_figures()
        assert len(set(opened.plotly())) == 1
    else:
        assert not [url for url in opened.requests if url.endswith("figures.js")]
    opened.page.context.close()
