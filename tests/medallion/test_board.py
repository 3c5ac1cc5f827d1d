"""What a published page refuses to hold."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from medallion.errors import MedallionError
from medallion.lesson import board

TILE: dict[str, Any] = {
    "title": "Revenue",
    "definition": "What orders add up to",
    "unit": "euros",
    "grain": ["month", "channel"],
    "number": ["revenue"],
    "rows": [{"month": "2025-12-01", "channel": "web", "revenue": 5}],
    "as_of": date(2025, 12, 29),
    "fresh_days": 2,
    "state": "ok",
    "why": "",
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rows": [TILE["rows"][0] | {"customer_id": "C1"}]}, "a row differs in customer_id."),
        ({"rows": [{"month": "2025-12-01", "revenue": 5}]}, "a row differs in channel."),
        ({"rows": TILE["rows"] * 2}, "The tile 'Revenue' has two rows of 2025-12-01, web."),
        *(
            (
                {"rows": [TILE["rows"][0] | {"revenue": value}]},
                f"has {value!r} in revenue, which is no number.",
            )
            for value in (None, float("nan"), Decimal("NaN"), "5.00", True)
        ),
        ({"as_of": "yesterday"}, "The day of the tile 'Revenue' is 'yesterday'"),
        ({"state": "OK"}, "The state of the tile 'Revenue' is 'OK'"),
        ({"number": ["revenue", "a", "b"], "rows": []}, "The tile 'Revenue' has 3 numbers"),
    ],
)
def test_a_row_that_was_not_promised_is_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(MedallionError) as refused:
        board.publish(tmp_path / "page.html", "Page", [TILE | change], on=date(2025, 12, 30))
    assert told in str(refused.value)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["title", "definition", "unit", "as_of", "state"])
def test_a_number_without_its_meaning_is_refused(tmp_path: Path, name: str) -> None:
    tile = {key: value for key, value in TILE.items() if key != name}
    with pytest.raises(MedallionError, match=f"has no '{name}'"):
        board.publish(tmp_path / "page.html", "Page", [tile], on=date(2025, 12, 30))


def test_the_page_is_one_file_that_is_the_same_each_time(tmp_path: Path) -> None:
    pages = [
        board.publish(tmp_path / name / "page.html", "Page", [TILE], on=date(2025, 12, 30)).read_text()
        for name in ("a", "b")
    ]
    assert pages[0] == pages[1] and "http" not in pages[0].replace("http-equiv", "")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["page.html"]
