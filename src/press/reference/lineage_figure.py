"""The lineage as a drawing: an SVG with a link for each table, one column for each layer.

The drawing is made anew from the edges alone: the same edges give the same bytes.
"""

from collections.abc import Iterable, Mapping
from html import escape

import networkx

from medallion import contract
from medallion.lesson import signs
from press.lineage.observed import KINDS, NOTEBOOK, PLAN, Edge

FILE = "book/figures/lineage.svg"
USE = "use"
# By layer: the head of its column, and its colour
LAYERS = {
    contract.LANDING: ("Source files", signs.LAYERS["source"]),
    "bronze": ("Bronze", signs.LAYERS["bronze"]),
    "silver": ("Silver", signs.LAYERS["silver"]),
    "gold": ("Gold", signs.LAYERS["gold"]),
    "ml": ("Features and scores", signs.LAYERS["use"]),
    "ops": ("Operations", signs.LAYERS["use"]),
    USE: ("Python, models, page", signs.LAYERS["use"]),
}
_INK, _CARD, _LINE = "#2b2b2b", "#ffffff", "#6a6a6a"  # the page puts its own in their place: `site.diagrams`
_WIDTH, _HEIGHT, _GAP, _PITCH, _TOP, _FONT = 170, 22, 40, 29, 44, 11
_ROUNDS = 12
_DASHES = {PLAN: ' stroke-dasharray="6 3"', NOTEBOOK: ' stroke-dasharray="1.5 3"'}


def layer(node: str) -> str:
    """Return the layer that a node of the lineage belongs to."""
    first = node.partition(".")[0]
    return first if first in (*contract.SCHEMAS, contract.LANDING) else USE


def label(node: str) -> str:
    """Return the name of a node as the drawing shows it, in the column of its layer."""
    first, _, rest = node.partition(".")
    if layer(node) != USE:
        return rest
    if first == "notebook":
        return f"chapter {rest}, in Python"
    return f"{rest.rpartition('.')[0]}, version {rest.rpartition('.')[2]}" if first == "model" else node


def anchor(node: str) -> str:
    """Return the id of a node's row in the table of the page."""
    return node.replace(".", "-").replace("_", "-").lower()


def drawing(edges: Iterable[Edge], about: Mapping[str, str]) -> str:
    """Return the SVG of the edges. `about` says of each node in a few words what it is, for its link.

    Links lead to the rows of the page's table, so the drawing belongs on that page.
    """
    held = once(edges)
    places = _places(held)
    columns = [name for name in LAYERS if any(layer(node) == name for node in places)]
    width = len(columns) * (_WIDTH + _GAP) - _GAP + 2
    height = _TOP + (max((row for _, row in places.values()), default=0) + 1) * _PITCH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" '
        f'width="{width}" height="{height:.0f}" class="lineage" '
        f'font-family="Arial, sans-serif" font-size="{_FONT}">',
        '<g aria-hidden="true">',
        *(_head(name, number) for number, name in enumerate(columns)),
        *(_edge(edge, places) for edge in held),
        "</g>",
        *(
            _node(node, places[node], about.get(node, node))
            for node in sorted(places, key=places.__getitem__)
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def once(edges: Iterable[Edge]) -> list[Edge]:
    """Return one edge for each pair of nodes, though several chapters have shown it: the surest, sorted."""
    surest = sorted(edges, key=lambda edge: (KINDS.index(edge.kind), edge), reverse=True)
    return sorted({(edge.source, edge.target): edge for edge in surest}.values())


def _places(edges: Iterable[Edge]) -> dict[str, tuple[int, float]]:
    """Return for each node its column and its row, such that what belongs together is about level.

    Each node goes to the mean row of its neighbours in the other columns, over and over, and keeps its
    order there.
    """
    graph = networkx.Graph((edge.source, edge.target) for edge in edges)
    names = [name for name in LAYERS if any(layer(node) == name for node in graph)]
    columns = {name: sorted(node for node in graph if layer(node) == name) for name in names}
    longest = max(map(len, columns.values()), default=0)
    rows = {node: float(row) for column in columns.values() for row, node in enumerate(column)}
    for _ in range(_ROUNDS):
        for name, column in columns.items():
            level = {
                node: _mean([rows[other] for other in graph[node] if layer(other) != name], rows[node])
                for node in column
            }
            column.sort(key=lambda node: (level[node], node))
            spread = longest / max(1, len(column))
            rows |= {node: (row + 0.5) * spread - 0.5 for row, node in enumerate(column)}
    return {node: (number, rows[node]) for number, name in enumerate(names) for node in columns[name]}


def _mean(values: list[float], otherwise: float) -> float:
    return round(sum(values) / len(values), 6) if values else otherwise


def _corner(place: tuple[int, float]) -> tuple[float, float]:
    column, row = place
    return 1 + column * (_WIDTH + _GAP), _TOP + row * _PITCH


def _head(name: str, number: int) -> str:
    title, colour = LAYERS[name]
    x = 1 + number * (_WIDTH + _GAP)
    return (
        f'<text x="{x}" y="18" font-weight="bold" fill="{_INK}">{title}</text>'
        f'<rect x="{x}" y="25" width="{_WIDTH}" height="4" fill="{colour}"/>'
    )


def _edge(edge: Edge, places: Mapping[str, tuple[int, float]]) -> str:
    (x1, y1), (x2, y2) = _corner(places[edge.source]), _corner(places[edge.target])
    y1, y2 = y1 + _HEIGHT / 2, y2 + _HEIGHT / 2
    if x1 < x2:
        x1 += _WIDTH
        bend = min(_GAP * 0.9, (x2 - x1) / 2)
        path = f"M{x1:.0f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.0f} {y2:.1f}"
    else:  # within a column, or back to an earlier one: out and in on the right
        x1, x2 = x1 + _WIDTH, x2 + _WIDTH
        bend = _GAP * 0.6
        path = f"M{x1:.0f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 + bend:.1f} {y2:.1f} {x2:.0f} {y2:.1f}"
    dash = _DASHES.get(edge.kind, "")
    return (
        f'<path class="edge" data-from="{edge.source}" data-to="{edge.target}" d="{path}" fill="none" '
        f'stroke="{_LINE}" stroke-opacity="0.45"{dash}/>'
    )


def _node(node: str, place: tuple[int, float], about: str) -> str:
    x, y = _corner(place)
    colour = LAYERS[layer(node)][1]
    shown = escape(label(node))
    return (
        f'<a href="#{anchor(node)}" class="node" data-node="{node}" aria-label="{shown}: {escape(about)}">'
        f'<rect x="{x:.0f}" y="{y:.1f}" width="{_WIDTH}" height="{_HEIGHT}" rx="4" fill="{_CARD}" '
        f'stroke="{colour}" stroke-width="1.5"/>'
        f'<text x="{x + 8:.0f}" y="{y + 15:.1f}" fill="{_INK}">{shown}</text></a>'
    )
