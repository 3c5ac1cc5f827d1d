"""One look for every chart: told apart by any eye and on grey paper, legible on light and on dark.

fig = px.bar(...)
charts.show(fig, alt="What a person who cannot see the chart should know.")
"""

import json
from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go
import plotly.io

from medallion.spark import databricks

__all__ = ["show"]

# The hues of the layers, in other shades: each has a contrast of 3 to 1 on a white and on a near-black page,
# and any two differ for red-green dichromats and, in lightness, on grey paper
BRONZE, SOURCE, GOLD, SILVER = SERIES = ("#aa5220", "#5389bb", "#b88c34", "#72778e")
# On two such pages lightness cannot differ by much, so the lines and the bars of a chart also differ in form
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
PATTERNS = ("", "/", ".", "x")
TEXT = "#7a7a7a"  # legible on a white and on a near-black page
GRID = "rgba(128, 128, 128, 0.25)"

_AXIS = {"gridcolor": GRID, "linecolor": GRID, "zeroline": False, "automargin": True}
TEMPLATE = go.layout.Template(
    layout={
        "colorway": SERIES,
        "font": {"color": TEXT, "size": 13},
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "margin": {"l": 8, "r": 8, "t": 48, "b": 8},
        "height": 360,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "y": -0.2},
        "hovermode": "x unified",
    },
    data={
        "scatter": [go.Scatter(marker={"size": 8})],  # smaller symbols all look round
        "bar": [go.Bar(marker={"pattern": {"fillmode": "overlay", "fgopacity": 0.6, "solidity": 0.25}})],
    },
)

# Plotly Express writes colours into a figure as it makes it, so the look must be there before.
plotly.io.templates["medallion"] = TEMPLATE
plotly.io.templates.default = "medallion"


def show(figure: go.Figure, alt: str) -> None:
    """Display `figure` in the course's look. `alt` says in words what the chart shows.

    The output carries the figure's JSON, drawn by JupyterLab and by the book, and `alt` as its plain
    text: what a screen reader, a diff and a terminal get. A Databricks notebook gets Plotly's own output,
    with `alt` printed below it. Series without a form of their own get one: a dash, a symbol, a pattern.
    """
    figure = _set_apart(go.Figure(figure))
    if databricks.chosen():
        figure.show()
        print(alt)
        return
    from IPython.display import display

    drawn = json.loads(figure.to_json()) | {"config": {"displayModeBar": False}}
    display({"application/vnd.plotly.v1+json": drawn, "text/plain": alt}, raw=True)


def _set_apart(figure: go.Figure) -> go.Figure:
    """Give the lines, the markers and the bars of `figure` a form for each name, where all have the same."""
    lines = [trace for trace in figure.data if "lines" in (getattr(trace, "mode", None) or "")]
    marked = [trace for trace in figure.data if "markers" in (getattr(trace, "mode", None) or "")]
    bars = [trace for trace in figure.data if trace.type == "bar"]
    _cycle(((trace.name, trace.line) for trace in lines), "dash", DASHES)
    _cycle(((trace.name, trace.marker) for trace in marked), "symbol", SYMBOLS)
    _cycle(((trace.name, trace.marker.pattern) for trace in bars), "shape", PATTERNS)
    return figure


def _cycle(named: Iterable[tuple[str | None, Any]], key: str, forms: tuple[str, ...]) -> None:
    """Set `key` of each part to the form of its name, unless the parts differ already.

    Plotly Express writes the first form into every series, so a template cannot do this.
    """
    parts = list(named)
    if len({part[key] or forms[0] for _, part in parts}) > 1:
        return
    names = list(dict.fromkeys(name for name, _ in parts))
    for name, part in parts:
        part[key] = forms[names.index(name) % len(forms)]
