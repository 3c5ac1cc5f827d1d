"""What Spark's own log and plans say, where the integration of OpenLineage is known to lose a source.

| what is lost | what says it | completion |
|---|---|---|
| the tables that a MERGE reads | the event's logical plan, below `source` | `Leaves.named` |
| what a metric view is made from | the definition in the event's logical plan | `view` |
| a plain view | the physical plan of the execution | `made`, `relations` |
| that a view is dropped | the physical plan of the execution | `dropped` |
| whole writes, when the listener lags behind | the physical plans of the execution | `made`, `scanned` |
| that rows in `foreachBatch` are the micro-batch | an RDD in the plan, inside an execution | `Leaves.rdd` |
| that rows are from the memory of Python | the leaves of the plan | `Leaves.values` |
| the reads of queries whose rows go to Python | the physical plan of an execution | `scanned` |
| streams that sum up, as in the mode `complete` | the progress of the stream | `stream` |

Which columns a table's columns are made of is another one: see `columns`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medallion import contract

_MERGE = "MergeIntoCommand"
_RELATION = "LogicalRelation"
# Rows that Spark was handed, so that its plan says nothing of where they are from
_RDD = frozenset({"LogicalRDD", "ExternalRDD"})
_VALUES = frozenset({"LocalRelation"})
# A source of Spark's newer interface, which Delta's and the file sources are not: one written in Python
_PYTHON_SOURCE = frozenset({"StreamingDataSourceV2ScanRelation", "DataSourceV2ScanRelation"})
_METRIC_VIEW = "CreateMetricViewCommand"
_CREATED = re.compile(r"\bVIEW\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+\.\w+)", re.IGNORECASE)
_TABLE = re.compile(rf"\b(?:{'|'.join(contract.SCHEMAS)})\.\w+")
# The source and the sink of a stream: "DeltaSink[file:/…/gold/live_sales]"
_ADDRESS = re.compile(r"^(?:Delta|FileStream|File)(?:Source|Sink)\[(.*)\]$")
# What an execution makes, by the arguments of its first node: a name, or the address of a Delta table
_MADE = (
    re.compile(r"Atomic(?:Create|Replace)TableAsSelect\nArguments: [^\n ]+, (\w+\.\w+),"),
    re.compile(
        r"(?:AppendData|OverwriteByExpression)ExecV1\nArguments: DeltaTableV2\([^,\n]+,(file:[^,\n]+),"
    ),
    re.compile(r"MergeIntoCommand\nArguments: .*?Delta\[version=\d+, (file:[^\]\n]+)\]"),
    re.compile(r"CreateViewCommand\nArguments: (`\w+`\.`\w+`\.`\w+`), [\s\S]*?PersistedView"),
)
_MAKES_ANEW = ("AtomicCreate", "AtomicReplace")
_WRITES = (*_MAKES_ANEW, "AppendData", "OverwriteBy", "Execute Merge", "Execute CreateView")
_DROPPED = (
    re.compile(r"^\(\d+\) DropTable\nArguments: [^\n ]+, (\w+\.\w+),", re.MULTILINE),
    re.compile(r"^\(\d+\) DropTableCommand\nArguments: (`\w+`\.`\w+`\.`\w+`),", re.MULTILINE),
)
_RELATIONS = re.compile(r"\) LogicalRelation\nArguments: .*, (`\w+`\.`\w+`\.`\w+`), \w+$", re.MULTILINE)
_VALUES_SCAN = re.compile(r"^\(\d+\) LocalTableScan\b", re.MULTILINE)
# A scan's files: "Location: PreparedDeltaFileIndex [file:/…/silver/orders]". What is written has no index.
_LOCATION = re.compile(r"^Location: \w+Index\s?(?:\(.*?\))?\[(.*)\]$", re.MULTILINE)


@dataclass(frozen=True)
class Leaves:
    """The leaves of a logical plan, which say where its rows come from.

    `tables` are those that it reads, and `named` those of them that the event leaves out. `rdd` says that
    rows come from an RDD, `values` that they come from Python or from the statement itself.
    """

    named: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    rdd: bool = False
    values: bool = False

    def __or__(self, other: "Leaves") -> "Leaves":
        return Leaves(
            self.named | other.named,
            self.tables | other.tables,
            self.rdd or other.rdd,
            self.values or other.values,
        )


def leaves(plan: list[dict[str, Any]]) -> Leaves:
    """Return the leaves of a plan as Spark writes it in JSON: a list of nodes, parents first."""
    is_merge = bool(plan) and kind(plan[0]) == _MERGE
    nodes = list(_nodes(plan))
    kinds = {kind(node) for node in nodes}
    read = frozenset(name for node in nodes if (name := table(node)))
    return Leaves(
        named=read if is_merge else frozenset(),
        tables=read,
        rdd=bool(kinds & _RDD),
        values=bool(kinds & (_VALUES | _PYTHON_SOURCE)),
    )


def _nodes(plan: Any) -> Iterator[dict[str, Any]]:
    """Yield every node of a plan, except those below what is written to."""
    if isinstance(plan, list):
        for one in plan:
            yield from _nodes(one)
    elif isinstance(plan, dict):
        yield plan
        written = {"target"} if kind(plan) == _MERGE else {"table"}
        for key, value in plan.items():
            if key not in written and isinstance(value, list | dict):
                yield from _nodes(value)


def kind(node: dict[str, Any]) -> str:
    """Return the class of a node, without its package."""
    return str(node.get("class", "")).rpartition(".")[2]


def table(node: dict[str, Any]) -> str | None:
    """Return the table that a leaf of a plan reads, as gold.plain; None for any other node."""
    known = node.get("catalogTable")
    if kind(node) != _RELATION or not isinstance(known, dict):
        return None
    identifier = known["identifier"]
    return f"{identifier['database']}.{identifier['table']}"


def view(plan: list[dict[str, Any]], sql: str) -> tuple[str, frozenset[str]] | None:
    """Return the view that a statement makes and the tables that its definition names; None for another one.

    Names are those with a schema of the lakehouse, which the definition of a view that is kept must have.
    """
    if not plan or kind(plan[0]) != _METRIC_VIEW:
        return None
    made = _CREATED.search(sql)
    if made is None:
        return None
    return made[1], frozenset(_TABLE.findall(str(plan[0].get("originalText", ""))))


def stream(progress: dict[str, Any]) -> tuple[set[str], str] | None:
    """Return the addresses that a micro-batch has read, and the one that it wrote; None if there is none.

    `progress` is that of a stream in the event log. A source that is none of files has the address "".
    """
    sink = _ADDRESS.search(progress["sink"]["description"])
    sources = [one for one in progress["sources"] if one["numInputRows"]]
    if sink is None or not sources:
        return None
    found = [_ADDRESS.search(one["description"]) for one in sources]
    return {one[1] if one else "" for one in found}, sink[1]


def scanned(physical: str) -> set[str]:
    """Return the files and folders that a physical plan scans, as `file:` addresses.

    `physical` is the description in the event log. Of many files it names the first ones only, which are of
    the same folder.
    """
    found = (one for places in _LOCATION.findall(physical) for one in places.split(", "))
    return {one for one in found if one.startswith("file:")}


def made(physical: str) -> str | None:
    """Return what an execution makes, as a name or a `file:` address; None for one that writes nothing.

    `physical` is the description in the event log, as for `scanned`.
    """
    if not _head(physical).startswith(_WRITES):
        return None
    found = next((found for one in _MADE if (found := one.search(physical))), None)
    return _bare(found[1]) if found else None


def makes_anew(physical: str) -> bool:
    """Return whether an execution makes a table anew, for which `made` gives its name."""
    return _head(physical).startswith(_MAKES_ANEW)


def dropped(physical: str) -> str | None:
    """Return the table or view that an execution drops; None for any other execution."""
    found = next((found for one in _DROPPED if (found := one.search(physical))), None)
    return _bare(found[1]) if found else None


def relations(physical: str) -> set[str]:
    """Return the tables that the definition of a view reads, by the physical plan that makes the view."""
    return {_bare(name) for name in _RELATIONS.findall(physical)}


def has_values(physical: str) -> bool:
    """Return whether a physical plan reads rows from Python or from the statement itself."""
    return bool(_VALUES_SCAN.search(physical))


def _head(physical: str) -> str:
    """Return the first node of a physical plan, which stands below a line that names the plan."""
    return physical.split("\n", 2)[1] if "\n" in physical else ""


def _bare(name: str) -> str:
    """Return `` `spark_catalog`.`gold`.`plain` `` as gold.plain, and anything else as it is."""
    return name.replace("`", "").partition(".")[2] if name.startswith("`") else name
