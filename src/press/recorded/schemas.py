"""What the tables of a run look like: `book/reference/schemas.yml`, written after a chapter was built.

    bronze.orders:
      rows: 91993
      digest: "0f6c…"
      columns:
        event_id: {type: STRING}
        after.lines: {type: ARRAY<STRUCT>}
        after.lines[].quantity: {type: INT}

Columns are flat: `a.b` is the field `b` of the struct `a`, `a[]` an element of the array `a`. A column
with a comment in its table has it here too. The digest is equal for equal rows: see `digests`. A view has
neither rows nor digest, and is told by that. Read from the tables and from what is kept of a view, so that no
session is needed.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from deltalake import DeltaTable

from medallion.errors import MedallionError
from medallion.lakehouse import tables, view_files
from press.recorded import digests

FILE = "book/reference/schemas.yml"
HEADER = "# Produced by `medallion build` from the tables that the chapters made; do not edit.\n"
# Delta's names where they are not those of SQL
_SQL = {"integer": "INT", "long": "BIGINT", "short": "SMALLINT", "byte": "TINYINT", "float": "FLOAT"}


def of(table: str) -> dict[str, Any]:
    """Return rows, digest and columns of a Delta table ("bronze.orders") of the lakehouse, as in the file.

    Of a view: its columns. Raises MedallionError when there is no such table or view.
    """
    if not tables.exists(table):
        raise MedallionError(f"{table} is not in the lakehouse. Run the chapter that makes it.")
    if tables.is_view(table):
        return {"columns": dict(flat(view_files.columns(table)))}
    schema = json.loads(DeltaTable(str(tables.folder(table))).schema().to_json())
    digest = digests.of(table)
    return {"rows": tables.rows(table), "digest": digest, "columns": dict(flat(schema))}


def flat(struct: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Yield path and description of each column of a Delta struct, fields within fields after their owner."""
    for field in struct["fields"]:
        path = prefix + field["name"]
        described = {"type": sql(field["type"])}
        if comment := field.get("metadata", {}).get("comment"):
            described["comment"] = comment
        yield path, described
        inner = field["type"]
        while isinstance(inner, dict) and inner["type"] == "array":
            path, inner = f"{path}[]", inner["elementType"]
        if isinstance(inner, dict) and inner["type"] == "struct":
            yield from flat(inner, f"{path}.")


def sql(kind: str | dict[str, Any]) -> str:
    """Return a Delta type as SQL writes it; the fields of a struct are left to columns of their own."""
    if isinstance(kind, str):
        return _SQL.get(kind, kind.upper())
    if kind["type"] == "array":
        return f"ARRAY<{sql(kind['elementType'])}>"
    if kind["type"] == "map":
        return f"MAP<{sql(kind['keyType'])}, {sql(kind['valueType'])}>"
    return "STRUCT"


def load(target: Path) -> dict[str, dict[str, Any]]:
    """Return what the file below the repository `target` holds: {} when there is none.

    Raises MedallionError when it cannot be read.
    """
    path = target / FILE
    if not path.exists():
        return {}
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise MedallionError(f"{path} cannot be read ({error}). Run './medallion build'.") from error


def text(held: dict[str, dict[str, Any]]) -> str:
    """Return the text of the file for what it is to hold, the same for the same content."""
    lines = [HEADER.rstrip()]
    for table in sorted(held):
        lines.append(f"{table}:")
        lines += [f"  {key}: {json.dumps(value)}" for key, value in held[table].items() if key != "columns"]
        lines.append("  columns:")
        for path, described in held[table]["columns"].items():
            flow = yaml.safe_dump(described, default_flow_style=True, width=10_000, allow_unicode=True)
            lines.append(f"    {json.dumps(path)}: {flow.strip()}")
    return "\n".join(lines) + "\n"
