"""One look for every chart: told apart by any eye and on grey paper, legible on light and on dark.

fig = px.bar(...)
charts.show(fig, alt="What a person who cannot see the chart should know.")
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import plotly.graph_objects as go
import plotly.io

from medallion.spark import databricks

__all__ = ["network", "show"]

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


def network(
    parts: Iterable[tuple[Any, tuple[float, float, float]]], kinds: Mapping[str, str], title: str
) -> go.Figure:
    """Return a drawing of parts of a graph: a line for each tie, a symbol for each kind of vertex.

    A part is a pandas DataFrame of ties, with `src` and `dst`, and the x, the y and the size of its place.
    The sources stand on a circle and the others within it. `kinds` gives each vertex its kind.
    """
    import networkx

    spots: dict[str, tuple[float, float]] = {}
    ways: list[str | None] = []
    for ties, (x, y, size) in parts:
        pairs = ties[["src", "dst"]].to_numpy().tolist()
        circles = [sorted({dst for _, dst in pairs}), sorted({src for src, _ in pairs})]
        for vertex, (right, up) in networkx.shell_layout(networkx.Graph(pairs), circles, scale=size).items():
            spots[vertex] = round(float(x + right), 2), round(float(y + up), 2)
        ways += [end for pair in pairs for end in (*pair, None)]
    lines = go.Scatter(
        x=[spots[end][0] if end else None for end in ways],
        y=[spots[end][1] if end else None for end in ways],
        mode="lines",
        line={"color": TEXT, "width": 1},
        showlegend=False,
    )
    figure = go.Figure(lines, layout={"title": title, "height": 460, "hovermode": False})
    # The lines come first, so that the vertices lie over them.
    for number, kind in enumerate(sorted({kinds[vertex] for vertex in spots})):
        places = [spots[vertex] for vertex in sorted(spots) if kinds[vertex] == kind]
        figure.add_scatter(
            x=[place[0] for place in places],
            y=[place[1] for place in places],
            name=kind,
            mode="markers",
            marker={"symbol": SYMBOLS[number], "color": SERIES[number], "size": 12},
        )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    return figure


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
