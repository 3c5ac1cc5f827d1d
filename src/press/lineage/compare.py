"""What was observed beside what the chapters declare: no edge missing, none invented.

A contract names the tables and source folders that a table is directly made from, whoever made these. Each
of them must have been seen: as a direct edge, or, where the rows came from the memory of Python, as
something that Python had read before it wrote the table. A direct edge that no contract names is as wrong
as one that is missing.

What Python has read beside that is no part of a contract: nobody can tell which of it is in the rows.
"""

from collections.abc import Iterable, Mapping, Sequence

from press.lineage.observed import PLAN, SPARK, Edge, Observed


def differences(makes: Mapping[str, Sequence[str]], observed: Observed) -> list[str]:
    """Return what differs between the contract of a chapter and what it was seen to do, a line for each edge.

    `makes` is the contract: each table with what it is made from.
    """
    declared = {(source, table) for table, sources in makes.items() for source in sources}
    direct = {(one.source, one.target) for one in observed.edges if one.kind in (SPARK, PLAN)}
    missing = {
        (source, table) for source, table in declared - direct if source not in observed.before.get(table, ())
    }
    lines = [f"missing: {table} declares {source}, and was not seen to read it." for source, table in missing]
    lines += [f"not declared: {table} was made from {source}." for source, table in direct - declared]
    unseen = (
        set(makes) - {one.target for one in observed.edges} - {table for table in makes if not makes[table]}
    )
    lines += [f"missing: nothing was seen to write {table}." for table in unseen]
    return sorted(lines)


def as_observed(edges: Iterable[Edge]) -> Observed:
    """Return edges that were kept as they were observed, with what Python may have read for each table.

    When it read what is not kept, so everything that its chapter read counts.
    """
    held = sorted(edges)
    read: dict[str, set[str]] = {}
    for edge in held:
        read.setdefault(edge.target, set()).add(edge.source)
    before = {
        edge.target: read.get(edge.source, set()) for edge in held if edge.source.startswith("notebook.")
    }
    return Observed(held, before)
