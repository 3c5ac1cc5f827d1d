"""A Plotly figure on a page: its JSON, once; its alt text; its data as a table one click away.

`book/_static/figures.js` draws it before it comes into view.
"""

import json
import re
from base64 import b64decode
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from medallion.errors import MedallionError
from press.site import html

MIME = "application/vnd.plotly.v1+json"
MOST_ROWS = 300
_MIDNIGHT = re.compile(r"(?<=^\d{4}-\d\d-\d\d)T00:00:00(\.0+)?$")
# What a trace can hold, in the order of the table's columns, and the axis whose title names the column
_ARRAYS = {"x": "xaxis", "y": "yaxis"} | dict.fromkeys(
    ("labels", "parents", "values", "theta", "r", "lat", "lon", "text"), ""
)


@dataclass(frozen=True)
class Data:
    """The data of a figure as a table: `rows` as text, `numeric` for each column."""

    head: list[str]
    rows: list[list[str]]
    numeric: list[bool]


def page_html(figure: Any, alt: str) -> str:
    """Return the HTML of `figure`, the object stored as `application/vnd.plotly.v1+json`.

    Raises MedallionError when there is no figure, when it shows nothing, or when it has no alt text.
    """
    if not isinstance(figure, dict) or not isinstance(figure.get("data"), list):
        raise MedallionError("The output is no Plotly figure. Show one with charts.show(figure, alt=...).")
    if len(alt.strip()) < 20 or alt.startswith("Figure("):
        raise MedallionError("The figure has no alt text. Show it with charts.show(figure, alt=...).")
    held = data(figure)
    if not held.rows:
        raise MedallionError("The figure is empty. Draw at least one value, or leave the figure out.")
    title = title_of(figure)
    height = int(_setting(figure, "height") or 360)
    listed = html.table(held.head, held.rows[:MOST_ROWS], held.numeric)
    more = ""
    if len(held.rows) > MOST_ROWS:
        more = f"<p>The first {MOST_ROWS} of {len(held.rows)} rows.</p>"
    text = json.dumps(figure, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    folded = html.fold(
        "data", f"The data of the figure: {title}", html.scroller(listed, f"Data: {title}") + more
    )
    return "\n".join(
        [
            f'<figure class="plot">\n<figcaption>{escape(title)}</figcaption>',
            # The text stands in the box until the figure is drawn, and stays where there are no scripts
            f'<div class="plot-area" role="img" aria-label="{escape(alt)}" style="height:{height}px">'
            f"<p>{escape(alt)}</p></div>",
            f'<script type="application/json" class="plot-data">{text}</script>',
            f"{folded}\n</figure>",
        ]
    )


def title_of(figure: dict[str, Any]) -> str:
    """Return the title of a figure, or "" when it has none."""
    title = figure.get("layout", {}).get("title", "")
    return str(title.get("text", "") if isinstance(title, dict) else title)


def data(figure: dict[str, Any]) -> Data:
    """Return what the traces of `figure` draw, one row for each point, bar or cell of a heat map.

    More than one trace gives a column "series". A number is written with up to six digits.
    """
    traces = [trace for trace in figure["data"] if isinstance(trace, dict)]
    tables = [_trace(trace, figure.get("layout", {})) for trace in traces]
    head = list(dict.fromkeys(name for names, _ in tables for name in names))
    many = len(traces) > 1
    rows = []
    for trace, (names, values) in zip(traces, tables, strict=True):
        for row in values:
            by_name = dict(zip(names, row, strict=True))
            first = [str(trace.get("name") or trace.get("type", ""))] if many else []
            rows.append(first + [by_name.get(name, "") for name in head])
    head = (["series"] if many else []) + head
    numeric = [all(html.is_number(row[n]) or not row[n] for row in rows) for n in range(len(head))]
    return Data(head, rows, numeric)


def _trace(trace: dict[str, Any], layout: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns of one trace and its rows."""
    if "z" in trace:
        return _grid(trace, layout)
    if isinstance(trace.get("link"), dict):
        return _links(trace)
    found = {key: values(trace[key]) for key in _ARRAYS if isinstance(trace.get(key), list | dict)}
    if not found:
        return [], []
    longest = max(map(len, found.values()))
    held = {_named(key, trace, layout): column for key, column in found.items() if len(column) == longest}
    rows = zip(*held.values(), strict=True)
    # Where a line is broken off, the arrays hold None for all: a gap is no point
    return list(held), [list(map(_shown, row)) for row in rows if any(value is not None for value in row)]


def _grid(trace: dict[str, Any], layout: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return a heat map as rows of its two coordinates and its value."""
    lines = [values(line) for line in values(trace["z"])]
    across = values(trace["x"]) if "x" in trace else list(range(len(lines[0]) if lines else 0))
    down = values(trace["y"]) if "y" in trace else list(range(len(lines)))
    names = [_named("x", trace, layout), _named("y", trace, layout), "value"]
    return names, [
        [_shown(x), _shown(y), _shown(cell)]
        for y, line in zip(down, lines, strict=True)
        for x, cell in zip(across, line, strict=True)
        if _shown(cell)
    ]


def _links(trace: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the links of a Sankey diagram as rows of source, target and value."""
    labels = values(trace.get("node", {}).get("label", []))
    link = trace["link"]
    ends = zip(values(link["source"]), values(link["target"]), values(link["value"]), strict=True)
    return ["source", "target", "value"], [
        [_shown(labels[int(source)]), _shown(labels[int(target)]), _shown(value)]
        for source, target, value in ends
    ]


def _named(key: str, trace: dict[str, Any], layout: dict[str, Any]) -> str:
    axis = str(trace.get(_ARRAYS[key]) or key) if _ARRAYS[key] else ""
    held = layout.get(f"{axis[:1]}axis{axis[1:]}", {}) if axis else {}
    if not held.get("title") and (other := held.get("matches")):  # one of several charts side by side
        held = layout.get(f"{other[:1]}axis{other[1:]}", {})
    name = held.get("title", "")
    return str((name.get("text") if isinstance(name, dict) else name) or key)


def values(held: Any) -> list[Any]:
    """Return an array of a figure as a list; Plotly stores numbers as bytes in base64 (`bdata`, `dtype`).

    Raises MedallionError when the bytes are not of the type that they say.
    """
    if not isinstance(held, dict):
        return list(held)
    try:
        flat = np.frombuffer(b64decode(held["bdata"]), dtype=np.dtype(held["dtype"]).newbyteorder("<"))
        shape = [int(part) for part in str(held.get("shape", len(flat))).split(",")]
        return list(flat.reshape(shape).tolist())
    except (KeyError, TypeError, ValueError) as error:
        raise MedallionError(f"An array of the figure cannot be read ({error}). Build it anew.") from error


def _shown(value: Any) -> str:
    """Return a value as a cell of the table: "" for what is not drawn, and a day without its midnight."""
    if value is None or value != value:  # NaN is not equal to itself
        return ""
    if isinstance(value, str):
        return _MIDNIGHT.sub("", value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.6g}"
    return str(value)


def _setting(figure: dict[str, Any], name: str) -> Any:
    layout = figure.get("layout", {})
    return layout.get(name) or layout.get("template", {}).get("layout", {}).get(name)
