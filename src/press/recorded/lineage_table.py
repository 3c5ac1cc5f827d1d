"""`gold.lineage`: the edges that were observed of the chapters that were run with `--lineage`.

No chapter makes the table: it says what the chapters did. Each of its rows belongs to a chapter, and goes
when that chapter is undone, because then the row is no longer true.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from deltalake import DeltaTable, Field, Schema, write_deltalake
from deltalake.schema import ArrayType, PrimitiveType, StructType

from medallion import paths
from medallion.lakehouse import tables
from medallion.lakehouse.reset import forget_lineage
from press.lineage import observed
from press.lineage.observed import Edge

_TEXT = PrimitiveType("string")
_COLUMN = StructType([Field("target_column", _TEXT), Field("source_columns", ArrayType(_TEXT))])
SCHEMA = Schema(
    [
        Field(name, kind, metadata={"comment": comment})
        for name, kind, comment in (
            ("source", _TEXT, "what was read: a table, a folder of source files, or a notebook"),
            ("target", _TEXT, "what was made of it: a table, a notebook, a model, or the dashboard"),
            ("via", _TEXT, "the number of the chapter that did it"),
            ("kind", _TEXT, "who says so: spark, plan, notebook, mlflow or dashboard"),
            (
                "columns",
                ArrayType(_COLUMN),
                "the columns of the target and what they are made of; NULL: not known",
            ),
        )
    ]
)


@contextmanager
def observing(number: str) -> Iterator[None]:
    """Record what chapter `number` reads and writes while the block runs, and keep its edges at the end.

    Raises MedallionError when the path of the lakehouse is such that nothing can be recorded, and when the
    lakehouse cannot be written.
    """
    with observed.observing(number) as seen:
        yield
        keep(number, seen().edges)


def keep(number: str, edges: Iterable[Edge]) -> None:
    """Write the edges that chapter `number` was seen to make, in the place of those that are there of it.

    Raises MedallionError when the lakehouse cannot be written.
    """
    paths.writable(paths.home(), "MEDALLION_HOME")
    forget_lineage([number])
    rows = [
        {
            "source": edge.source,
            "target": edge.target,
            "via": edge.via,
            "kind": edge.kind,
            "columns": [
                {"target_column": column, "source_columns": list(sources)} for column, sources in edge.columns
            ]
            or None,
        }
        for edge in sorted(edges)
    ]
    place = tables.folder(tables.LINEAGE)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(place, pa.Table.from_pylist(rows, schema=pa.schema(SCHEMA)), mode="append")


def recorded() -> set[str]:
    """Return the chapters whose edges the table holds: none when there is no table."""
    if not tables.exists(tables.LINEAGE):
        return set()
    table = DeltaTable(str(tables.folder(tables.LINEAGE)))
    return set(table.to_pyarrow_table(columns=["via"])["via"].to_pylist())
