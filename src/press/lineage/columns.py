"""Which columns a table's columns are made of, read from the plan of a REPLACE TABLE … AS SELECT.

That is how `saveAsTable` overwrites a table, and the integration of OpenLineage says nothing of the columns
then, while it does for CREATE TABLE … AS SELECT, for MERGE, and for streams. Counted is what stands in a
column's own expression; what only decides which rows there are, or in which order a window takes them, is
not.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from press.lineage import plans

_REPLACE = "ReplaceTableAsSelect"
# What is made of what, by the ids that Spark gives to columns, and the origin of the columns of a table
_Ids = dict[int, set[int]]
_LISTS = ("projectList", "aggregateExpressions")
_ONE_SIDE = ("LeftSemi", "LeftAnti")


@dataclass(frozen=True)
class _Node:
    fields: dict[str, Any]
    children: tuple["_Node", ...]

    @property
    def kind(self) -> str:
        return plans.kind(self.fields)


def of(plan: list[dict[str, Any]]) -> dict[str, set[tuple[str, str]]]:
    """Return by column of the target the columns that it is made of, each with its table; {} if unknown.

    `plan` is as Spark writes it in JSON. A column of which nothing is known, a constant or one that was
    read from files, is left out.
    """
    if not plan or plans.kind(plan[0]) != _REPLACE:
        return {}
    made: _Ids = defaultdict(set)
    origins: dict[int, tuple[str, str]] = {}
    root = _tree(iter(plan[0]["query"]))
    found = {}
    for name, number in _output(root, made, origins):
        if sources := {origins[one] for one in _behind(number, made) if one in origins}:
            found[name] = sources
    return found


def _tree(nodes: Iterator[dict[str, Any]]) -> _Node:
    """Return the tree of nodes that are listed parent first, each with the number of its children."""
    fields = next(nodes)
    return _Node(fields, tuple(_tree(nodes) for _ in range(fields["num-children"])))


def _output(node: _Node, made: _Ids, origins: dict[int, tuple[str, str]]) -> list[tuple[str, int]]:
    """Return name and id of each column that a node gives; add to `made` and `origins` what it says."""
    given = [_output(child, made, origins) for child in node.children]
    fields = node.fields
    for key in _LISTS:
        if key in fields:
            return [_expression(one, made) for one in fields[key]]
    if "output" in fields and not node.children:
        columns = [_expression(one, made) for one in fields["output"]]
        if name := plans.table(fields):
            origins.update({number: (name, column) for column, number in columns})
        return columns
    if node.kind == "Union":
        for other in given[1:]:
            for (_, first), (_, also) in zip(given[0], other, strict=True):
                made[first].add(also)
        return given[0]
    if node.kind == "Join" and any(kind in str(fields["joinType"]) for kind in _ONE_SIDE):
        return given[0]
    columns = [column for one in given for column in one]
    if node.kind == "Generate":
        new = [_expression(one, made) for one in fields["generatorOutput"]]
        for _, number in new:
            made[number] |= _references(fields["generator"])
        return columns + new
    return columns + [_expression(one, made) for one in fields.get("windowExpressions", [])]


def _expression(expression: list[dict[str, Any]], made: _Ids) -> tuple[str, int]:
    """Return name and id of a named expression, listed parent first; add to `made` what it is made of."""
    head = expression[0]
    number = head["exprId"]["id"]
    if plans.kind(head) == "Alias":
        made[number] |= _references(expression[1:])
    return head["name"], number


def _references(expression: list[dict[str, Any]]) -> set[int]:
    """Return the ids of the columns in an expression; the window of a window function does not count."""
    found = set()
    for part in expression:
        kind = plans.kind(part)
        if kind == "WindowSpecDefinition":
            break  # the last child of its expression
        if kind == "AttributeReference":
            found.add(part["exprId"]["id"])
    return found


def _behind(number: int, made: _Ids) -> set[int]:
    """Return the ids from which the column with the id `number` is made, itself among them."""
    seen: set[int] = set()
    waiting = [number]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += made.get(one, ())
    return seen
