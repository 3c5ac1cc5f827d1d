"""The edges of the whole course, kept in the repository for its page: `book/reference/lineage.yml`.

    "02":
      silver.order_lines:
        silver.orders: {kind: spark, columns: {order_id: [order_id]}}

By chapter, by target, by source. The file is the same for the same edges: it holds no time, no path, and no
id.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from medallion.errors import MedallionError
from medallion.files import write_text
from press.lineage.observed import Edge

FILE = "book/reference/lineage.yml"
HEADER = "# Produced by `medallion build` from what the chapters were seen to read and write; do not edit.\n"


def load(target: Path) -> dict[str, list[Edge]]:
    """Return the edges of each chapter that the file below the repository `target` holds: {} without a file.

    Raises MedallionError when it cannot be read.
    """
    path = target / FILE
    if not path.exists():
        return {}
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return {
            number: [
                Edge(source, made, number, told["kind"], _tuples(told.get("columns", {})))
                for made, sources in targets.items()
                for source, told in sources.items()
            ]
            for number, targets in held.items()
        }
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise MedallionError(f"{path} cannot be read ({error}). Run './medallion build'.") from error


def _tuples(columns: Mapping[str, Iterable[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted((column, tuple(sorted(sources))) for column, sources in columns.items()))


def text(edges: Mapping[str, Iterable[Edge]]) -> str:
    """Return the text of the file for the edges of each chapter."""
    lines = [HEADER.rstrip()]
    for number in sorted(edges):
        lines.append(f'"{number}":' if edges[number] else f'"{number}": {{}}')
        before = None
        for edge in sorted(edges[number], key=lambda one: (one.target, one.source)):
            if edge.target != before:
                lines.append(f"  {edge.target}:")
            before = edge.target
            columns = ", ".join(f"{json.dumps(name)}: {json.dumps(list(of))}" for name, of in edge.columns)
            known = f", columns: {{{columns}}}" if columns else ""
            lines.append(f"    {edge.source}: {{kind: {edge.kind}{known}}}")
    return "\n".join(lines) + "\n"


def keep(number: str, edges: Iterable[Edge], target: Path) -> None:
    """Write the edges of chapter `number` into the file below `target`, in place of its old ones."""
    write_text(target / FILE, text(load(target) | {number: list(edges)}))
