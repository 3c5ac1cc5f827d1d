"""A dashboard as one file: a static page with its data, dated, which asks no server for anything.

    board.publish(path, "How was the week?", tiles, on=date(2025, 12, 30))

A tile is what its SQL file says of itself, and the rows that the query gave:

| key | what it is |
|---|---|
| `title`, `definition`, `unit` | a name, what the number is in one sentence, and in what it is counted |
| `grain` | the columns of which one row is there for each value: first that of the time, then the filters |
| `number` | the column that is added up, or two of them: `["revenue", "orders"]` is a sum over a sum |
| `rows` | a list of dicts with these columns and no other |
| `as_of` | the day up to which the data go, or None when there is none |
| `fresh_days` | after how many days without news the page says that it is late |
| `state`, `why` | "ok", "alert" or "silent", as the alert saw it on that day, and a sentence |

The page adds up what its filters keep, and shows the sum of the last time; the filters stand in its address.
It holds every row that it was given: whoever may open the file can read them all, whatever the filter says.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from html import escape
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any

from medallion import files
from medallion.errors import MedallionError

__all__ = ["publish"]

_KEYS = ("title", "definition", "unit", "grain", "number", "rows", "as_of", "fresh_days", "state", "why")
_STATES = ("ok", "alert", "silent")
_HERE = Path(__file__).parent
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline';
  script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{css}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>Published on <time datetime="{on}">{on}</time>. Each number says up to which day its data go.</p>
<form id="filters" aria-label="Filters"></form>
<p id="said" role="status"></p>
<div id="tiles"></div>
<noscript><p>A script of this page draws it, and this browser runs none.</p></noscript>
</main>
<script type="application/json" id="data">{data}</script>
<script>
{js}</script>
</body>
</html>
"""


def publish(path: Path, title: str, tiles: Sequence[Mapping[str, Any]], on: date) -> Path:
    """Write the page of some tiles to `path`, and return it. The module says what a tile is.

    Raises MedallionError for a tile that lacks something, for a row with a column that its tile does not
    name, which may be one that the reader should not see, for two rows of one grain, for a number that is
    missing or not finite, and for a day or a state that is none.
    """
    shown = [_checked(tile) for tile in tiles]
    page = _PAGE.format(
        title=escape(title),
        on=on.isoformat(),
        css=(_HERE / "page.css").read_text(encoding="utf-8"),
        js=(_HERE / "page.js").read_text(encoding="utf-8"),
        # No text in the data may end the script
        data=json.dumps(shown, default=_plain).replace("<", "\\u003c"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, page)
    return path


def _checked(tile: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a tile that the page needs, with its rows as lists in the order of the columns."""
    name = tile.get("title", "without a title")
    if missing := [key for key in _KEYS if key not in tile]:
        raise MedallionError(f"The tile {name!r} has no {missing[0]!r}. A number without it misleads.")
    columns = [*tile["grain"], *tile["number"]]
    rows = []
    for row in tile["rows"]:
        if set(row) != set(columns):
            other = sorted(set(row) ^ set(columns))
            raise MedallionError(
                f"The tile {name!r} is made of {', '.join(columns)}; a row differs in {', '.join(other)}. "
                "Select exactly these columns: a page shows its readers all that it holds."
            )
        rows.append([row[column] for column in columns])
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            if column in tile["number"] and not _is_number(value):
                raise MedallionError(
                    f"The tile {name!r} has {value!r} in {column}, which is no number. Leave the row out: "
                    "the page would add it up as 0."
                )
    if not isinstance(tile["as_of"], date | None):
        raise MedallionError(
            f"The day of the tile {name!r} is {tile['as_of']!r}; it should be a date or None."
        )
    if tile["state"] not in _STATES:
        raise MedallionError(f"The state of the tile {name!r} is {tile['state']!r}: not one of {_STATES}.")
    if len(tile["number"]) not in (1, 2):
        raise MedallionError(
            f"The tile {name!r} has {len(tile['number'])} numbers; a page shows one or a ratio."
        )
    grains = [tuple(row[: len(tile["grain"])]) for row in rows]
    if len(set(grains)) < len(grains):
        double = next(grain for grain in grains if grains.count(grain) > 1)
        raise MedallionError(f"The tile {name!r} has two rows of {', '.join(map(str, double))}.")
    return {key: tile[key] for key in _KEYS} | {"rows": sorted(rows, key=str)}


def _is_number(value: Any) -> bool:
    """Return whether a page can add a value up."""
    return isinstance(value, Real | Decimal) and not isinstance(value, bool) and isfinite(value)


def _plain(value: Any) -> Any:
    """Return a value of SQL as JSON holds it."""
    return float(value) if isinstance(value, Decimal) else str(value)
