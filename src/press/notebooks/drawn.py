"""What a chart in a stored output must have, so that it can be read without the code above it."""

from collections.abc import Iterator
from typing import Any

MIME = "application/vnd.plotly.v1+json"
MOST_KINDS = 4  # as many as `charts` has colours
# What the site's build of Plotly can draw, by its README: charts with axes, at a third of the full script
TRACES = {
    "bar", "box", "contour", "heatmap", "histogram", "histogram2d", "histogram2dcontour", "image", "pie",
    "scatter", "scatterternary", "violin",
}  # fmt: skip


def faults(figure: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a Plotly figure: no title, too many kinds, an axis without a name.

    A type of trace that the script of the site cannot draw is wrong, too.
    """
    layout = figure.get("layout", {})
    for strange in sorted({trace.get("type", "scatter") for trace in figure["data"]} - TRACES):
        yield f"the site cannot draw a {strange}. Draw one of: {', '.join(sorted(TRACES))}."
    if not _text(layout.get("title")):
        yield "the chart has no title. Give it one."
    kinds = {trace["name"] for trace in figure["data"] if trace.get("name")}
    if len(kinds) > MOST_KINDS:
        yield (
            f"the chart shows {len(kinds)} kinds; the most is {MOST_KINDS}. Add up the small ones, or draw "
            "several charts."
        )
    for axis in _axes(figure):
        settings = layout.get(axis, {})
        # The inner axes of facets share the name of the outer one
        if settings.get("visible") is False or settings.get("showticklabels") is False:
            continue
        name = _text(settings.get("title"))
        if not name:
            yield f"{axis} of the chart has no name. Say what it measures, with its unit."
        elif "_" in name:
            yield f"{axis} of the chart has the name of a column, {name!r}. Say what it measures."


def _axes(figure: dict[str, Any]) -> list[str]:
    """Return the keys of the axes that the traces of a figure use ("xaxis", "yaxis2"), in order."""
    with_axes = [trace for trace in figure["data"] if {"x", "y", "z"} & set(trace)]
    used = {trace.get(f"{letter}axis", letter) for trace in with_axes for letter in "xy"}
    return [f"{axis[0]}axis{axis[1:]}" for axis in sorted(used)]


def _text(title: Any) -> str:
    return str((title.get("text") if isinstance(title, dict) else title) or "")
