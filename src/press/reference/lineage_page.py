"""The page of the book on lineage, made from the edges in the repository and the chapters' headers."""

from collections.abc import Iterable, Mapping, Sequence

from medallion import contract
from press.lineage.events import is_table
from press.lineage.observed import DASHBOARD, KINDS, MLFLOW, NOTEBOOK, PLAN, SPARK, Edge
from press.reference import lineage_figure
from press.source.chapter import Chapter

PAGE = "book/reference/lineage.md"
_MADE = "<!-- Produced by `medallion build`; do not edit. -->\n"
_TABLES = "tables.md"
_MARKS = {
    SPARK: "",
    PLAN: " (from a plan)",
    NOTEBOOK: "",  # the other end says it
    MLFLOW: " (by MLflow)",
    DASHBOARD: " (by itself)",
}
_INTRODUCTION = """\
# Where each table comes from

Here nobody has written down what a table is made from. While the chapters run, Spark tells
[OpenLineage](https://openlineage.io) what each query reads and writes, and this page is drawn from that
record. The record becomes a table too: `./medallion run --lineage` runs the chapters, and keeps what they
did in `gold.lineage`.

A click on a box, or Enter, says below the drawing which chapter makes the table, with a link to it and one
to the columns. With a mouse over a box, or the Tab key on it, the drawing keeps only what it is made from
and what is made of it. The table below the drawing has the same lines.
"""
_HOW = """\
## What the lines mean

A **solid** line is what Spark itself has told: a query that read one and wrote the other.

A **dashed** line is completed from Spark's own log, because an event leaves the source out, or there is
none. A `MERGE` tells its target only; the tables of its source stand in its plan. Within `foreachBatch` the
rows come from the micro-batch, and the log says which one that was, and what it read. And when the listener
lags behind, an event is lost, and the plan that Spark ran is not. We complete nothing from the contracts in
the headers of the chapters. A test goes the other way: it compares them with this record, and fails for a
source that was not read, and for a solid or dashed line that no contract names.

A **dotted** line goes through Python. Where a chapter takes rows out of Spark, works on them in pandas, and
makes a table of the result, nobody can say which rows went in. So the chapter is a box of its own. To it
lead all tables of which it had taken rows by then, and from it lead the tables that it made. A source file
that Python opens itself is noted as well. What a model was trained on is MLflow's record of it, and the
page of live sales notes which table it opens.

What is in between has been left out: the scratch tables of a chapter, and the logs that Delta reads like
tables. What is made through a scratch table is traced through it. A line from a table to itself, as each
`MERGE` would have, is left out too.

What this record cannot show: which rows a model has scored, because a model is an object in Python; that one
model is made from another, as chapter 06 wraps versions of `churn` for its endpoint; and what reads a table
without Spark, as DuckDB does in chapter 03.
"""
_COLUMNS = """\
## Columns, where they are known

For a table that Spark makes from tables, the plan says what each column is made of. A column with a
constant in it, or with one that was computed in Python, is left out, and so is a column that only decides
which rows there are.
"""


def text(edges: Mapping[str, Iterable[Edge]], found: Sequence[Chapter]) -> str:
    """Return the text of the page for the edges of each chapter."""
    held = sorted(edge for number in edges for edge in edges[number])
    shown = lineage_figure.once(held)
    known = {chapter.number: chapter for chapter in found}
    lines = [_MADE, _INTRODUCTION, f"![{_alt(held)}](../figures/lineage.svg)\n"]
    lines += ["| Table | Made in | Made from | Goes into |", "|---|---|---|---|"]
    for node in _nodes(held):
        cells = (
            f"[{_name(node)}]{{#{lineage_figure.anchor(node)}}}",
            _makers(node, _numbers(node, held, found), known),
            _ends((edge.source, edge.kind) for edge in shown if edge.target == node),
            _ends((edge.target, edge.kind) for edge in shown if edge.source == node),
        )
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join([*lines, "", _HOW, _COLUMNS, *_columns(held)]).rstrip() + "\n"


def about(edges: Mapping[str, Iterable[Edge]], found: Sequence[Chapter]) -> dict[str, str]:
    """Return for each node what it is, in a few words: what the drawing says of it."""
    held = [edge for number in edges for edge in edges[number]]
    titles = {chapter.number: f"chapter {chapter.number}, {chapter.title}" for chapter in found}
    said = {}
    for node in _nodes(held):
        makers = _numbers(node, held, found)
        made = " and ".join(titles.get(number, f"chapter {number}") for number in makers)
        if node.startswith("notebook."):
            said[node] = f"rows that {made} works on in Python"
        elif node == DASHBOARD:
            said[node] = f"the page of live sales, shown in {made}"
        else:
            said[node] = f"{_kind(node)}, made in {made}" if made else _kind(node)
    return said


def _kind(node: str) -> str:
    kinds = {contract.LANDING: "source files", lineage_figure.USE: "model"}
    return kinds.get(lineage_figure.layer(node), f"table of {node.partition('.')[0]}")


def _alt(edges: Sequence[Edge]) -> str:
    tables = {end for edge in edges for end in (edge.source, edge.target) if is_table(end)}
    operations = "operations, " if any(lineage_figure.layer(table) == "ops" for table in tables) else ""
    return (
        f"{len(tables)} tables in columns from left to right: source files, Bronze, Silver, Gold, features "
        f"and scores, {operations}then what works in Python, the models and the page. Lines lead from each "
        "table to what is made of it. The table below has the same lines."
    )


def _nodes(edges: Iterable[Edge]) -> list[str]:
    order = list(lineage_figure.LAYERS)
    nodes = {end for edge in edges for end in (edge.source, edge.target)}
    return sorted(nodes, key=lambda node: (order.index(lineage_figure.layer(node)), node))


def _name(node: str) -> str:
    if is_table(node):
        return node
    if lineage_figure.layer(node) == contract.LANDING:
        return f"files in `{node.replace('.', '/')}/`"
    return lineage_figure.label(node)


def _numbers(node: str, edges: Iterable[Edge], found: Iterable[Chapter]) -> list[str]:
    """Return the chapters that make a node: by the record, and by the headers for one made from nothing."""
    declared = {chapter.number for chapter in found if node in chapter.makes}
    return sorted(declared | {edge.via for edge in edges if edge.target == node})


def _makers(node: str, numbers: Iterable[str], known: Mapping[str, Chapter]) -> str:
    made = ", ".join(
        f"[chapter\u00a0{number}](../../notebooks/{known[number].name}.ipynb)"
        for number in numbers
        if number in known
    )
    columns = f" ([columns]({_TABLES}#{node.replace('.', '')}))" if is_table(node) and made else ""
    return made + columns


def _ends(ends: Iterable[tuple[str, str]]) -> str:
    """Return links to the other ends of a node's edges, each with who says so where that is not Spark."""
    shown = sorted(ends, key=lambda end: (KINDS.index(end[1]), end[0]))
    return ", ".join(f"[{_name(end)}](#{lineage_figure.anchor(end)}){_MARKS[kind]}" for end, kind in shown)


def _columns(edges: Iterable[Edge]) -> list[str]:
    by_target: dict[str, dict[str, list[str]]] = {}
    for edge in edges:
        for column, sources in edge.columns:
            of = by_target.setdefault(edge.target, {}).setdefault(column, [])
            of += [f"`{edge.source}.{source}`" for source in sources]
    lines = []
    for target in sorted(
        by_target, key=lambda node: (list(lineage_figure.LAYERS).index(lineage_figure.layer(node)), node)
    ):
        count = len(by_target[target])
        plural = "s" if count > 1 else ""
        lines += [f'<details class="fold"><summary>{target}: {count} column{plural}</summary>\n']
        lines += ["| Column | Made of |", "|---|---|"]
        lines += [
            f"| `{column}` | {', '.join(sorted(set(of)))} |"
            for column, of in sorted(by_target[target].items())
        ]
        lines.append("\n</details>\n")
    return lines
