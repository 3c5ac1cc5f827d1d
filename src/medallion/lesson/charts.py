"""One look for every chart: colours that mean their layer, text legible on light and on dark.

fig = px.bar(...)
charts.show(fig, alt="What a person who cannot see the chart should know.")
"""

import json

import plotly.graph_objects as go
import plotly.io

from medallion.lesson.signs import LAYERS
from medallion.spark import databricks

__all__ = ["show"]

SOURCE, BRONZE, SILVER, GOLD = (LAYERS[layer] for layer in ("source", "bronze", "silver", "gold"))
TEXT = "#7a7a7a"  # like the colours of the layers, on a white and on a near-black page
GRID = "rgba(128, 128, 128, 0.25)"

_AXIS = {"gridcolor": GRID, "linecolor": GRID, "zeroline": False, "automargin": True}
TEMPLATE = go.layout.Template(
    layout={
        "colorway": [BRONZE, SOURCE, GOLD, SILVER],
        "font": {"color": TEXT, "size": 13},
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "margin": {"l": 8, "r": 8, "t": 48, "b": 8},
        "height": 360,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "y": -0.2},
        "hovermode": "x unified",
    }
)

# Plotly Express writes colours into a figure as it makes it, so the look must be there before.
plotly.io.templates["medallion"] = TEMPLATE
plotly.io.templates.default = "medallion"


def show(figure: go.Figure, alt: str) -> None:
    """Display `figure` in the course's look. `alt` says in words what the chart shows.

    The output carries the figure's JSON, drawn by JupyterLab and by the book, and `alt` as its plain
    text: what a screen reader, a diff and a terminal get. A Databricks notebook gets Plotly's own output,
    with `alt` printed below it.
    """
    if databricks.chosen():
        figure.show()
        print(alt)
        return
    from IPython.display import display

    drawn = json.loads(figure.to_json()) | {"config": {"displayModeBar": False}}
    display({"application/vnd.plotly.v1+json": drawn, "text/plain": alt}, raw=True)
