"""The edges of one chapter: what its record says each table was made from.

| kind | what says so |
|---|---|
| `spark` | an event of OpenLineage |
| `plan` | a plan that Spark ran, where the event leaves the source out: see `plans` |
| `notebook` | the table is made of rows from the memory of Python, or Python took rows of it before that |
| `mlflow` | MLflow's record of what a model was trained on |
| `dashboard` | the process of the page, which opens the table itself |

What lies between is traced through: of a table that is made from a scratch table or from files elsewhere,
the sources are those of the scratch table or of the files. Files that Spark did not write are Python's.
That a table is made from itself, as by a MERGE, is no lineage.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from medallion import contract, paths, temporary
from medallion.spark import recording, views
from press.lineage import events, models
from press.lineage.events import Batch, Execution, Process, Run, is_table

SPARK, PLAN, NOTEBOOK, MLFLOW, DASHBOARD = KINDS = ("spark", "plan", "notebook", "mlflow", "dashboard")
# What hands rows to Python, or sets them aside where Spark's plans cannot follow them; the first word of an
# execution's description. Counting rows and showing them is not among these.
_TAKES = ("collect", "toPandas", "toLocalIterator", "first", "head", "take", "tail")
_TO_PYTHON = frozenset({*_TAKES, "localCheckpoint", "checkpoint"})
_INTERNAL = "Delta:"  # Delta looks into the log of a table
_STREAM = "\nrunId = "  # in the description of all that a micro-batch runs
_MEMORY = ""  # the source of rows from the memory of Python


@dataclass(frozen=True, order=True)
class Edge:
    """Something is made from something else, as chapter `via` has shown.

    `columns` has for each column of the target the columns of the source that it is made of, as far as known.
    """

    source: str
    target: str
    via: str
    kind: str
    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass
class Observed:
    """The edges of a chapter, sorted, and for each table made in Python what Python had read by then."""

    edges: list[Edge]
    before: dict[str, set[str]]


@dataclass
class _Found:
    """What has been found so far: kinds and columns by source and target, and what Python has done."""

    kinds: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    columns: dict[tuple[str, str], dict[str, set[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    read: list[tuple[int, str]] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)


def notebook(number: str) -> str:
    """Return the name of the node for what chapter `number` does in the memory of Python."""
    return f"notebook.{number}"


@contextmanager
def observing(number: str) -> Iterator[Callable[[], Observed]]:
    """Record all that is started while the block runs, and yield a function that returns what was seen.

    It is to be called within the block, once chapter `number` has run: the record goes with the block's end.
    Raises MedallionError when the path of the lakehouse is such that nothing can be recorded.
    """
    recording.refuse_odd(paths.home())
    with temporary.folder("lineage-") as folder, recording.into(folder):
        yield lambda: of(number, folder, paths.home())


def of(number: str, folder: Path, home: Path) -> Observed:
    """Return what chapter `number` was seen to do in the lakehouse `home`, from its record in `folder`.

    Models count that were trained since the record began: ask before another chapter trains one.
    """
    recorded = events.processes(folder, home)
    found = _Found()
    for process in recorded:
        _trace(process, found)
    before = {
        table: {source for moment, source in found.read if moment <= written}
        for table, written in found.written.items()
    }
    edges = [
        Edge(source, target, number, SPARK if SPARK in kinds else min(kinds), _columns(found, source, target))
        for (source, target), kinds in found.kinds.items()
    ]
    memory = notebook(number)
    edges += [Edge(memory, table, number, NOTEBOOK) for table in before]
    edges += [Edge(source, memory, number, NOTEBOOK) for source in set().union(*before.values())]
    moments = [one for process in recorded for run in process.runs for one in (run.began, run.ended) if one]
    if moments:
        # With no end: the last event is no sign of one, because a listener that lags behind is cut off.
        trained = models.trained(home, min(moments))
        edges += [Edge(table, model, number, MLFLOW) for table, model in trained]
    return Observed(sorted(edges), before)


def _columns(found: _Found, source: str, target: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    known = found.columns.get((source, target), {})
    return tuple(sorted((column, tuple(sorted(sources))) for column, sources in known.items()))


def _trace(process: Process, found: _Found) -> None:
    """Go through what one process did, in the order in which it did it."""
    executions = _linked(process)
    made: dict[str, dict[str, str]] = {}
    for moment, step in sorted(_steps(process, executions), key=lambda one: one[0]):
        if isinstance(step, Batch):
            _write_batch(step, process, made, found)
        elif isinstance(step, Run) and step.dropped:
            _drop(step.outputs, made, found)
        elif isinstance(step, Execution) and step.drops:
            _drop({step.drops}, made, found)
        elif isinstance(step, Run) and step.outputs:
            _write(step, _sources(step, process, executions), made, found)
        elif isinstance(step, Run) and step.job == recording.DASHBOARD:
            for source in step.inputs:
                found.kinds[source, DASHBOARD].add(DASHBOARD)
        elif isinstance(step, Execution) and step.makes:
            _write_logged(step, process, made, found)
        else:
            reads = step.inputs if isinstance(step, Run) else step.reads
            found.read += [
                (moment, source) for source in _resolved(dict.fromkeys(reads, SPARK), made) if source
            ]


def _linked(process: Process) -> dict[int, tuple[Run, Execution]]:
    """Return for each run, by its identity, the execution it is of.

    The two records share no id. But the events of a run carry the very milliseconds at which Spark says
    that the execution began and ended.
    """
    began, ended = defaultdict(list), defaultdict(list)
    for execution in process.executions.values():
        began[execution.began].append(execution)
        ended[execution.ended].append(execution)
    linked = {}
    for run in process.runs:
        first = began.get(run.began, []) if run.began else []
        last = ended.get(run.ended, []) if run.ended else []
        both = [one for one in first if one in last]
        if candidates := both or first or last:
            linked[id(run)] = (run, candidates[0])
    return linked


def _steps(
    process: Process, linked: dict[int, tuple[Run, Execution]]
) -> Iterator[tuple[int, Run | Execution | Batch]]:
    """Yield what is of interest with its moment: complete writes at their end, reads at their beginning."""
    again = {id(run) for run, execution in linked.values() if execution.asked_by == views.REGISTERING}
    heard = {execution.number for run, execution in linked.values() if run.outputs and run.ended}
    for run in process.runs:
        if id(run) in again:
            continue
        if run.ended and (run.outputs or run.job in (recording.NOTEBOOK, recording.DASHBOARD)):
            yield run.ended, run
    for batch in process.batches:
        yield batch.ended, batch
    inputs = {execution.number: run.inputs for run, execution in linked.values()}
    writing = heard | {one.number for one in process.executions.values() if one.makes}
    for one in process.executions.values():
        if one.drops and one.ended:
            yield one.ended, one
        elif one.makes and one.ended and one.asked_by != views.REGISTERING:
            one.heard = one.number in heard
            yield one.ended, one
        to_python = one.asked_by.split(" ", 1)[0] in _TO_PYTHON or _STREAM in one.asked_by
        if to_python and not {one.number, one.root} & writing:
            one.reads |= inputs.get(one.number, set())
            yield one.began, one


def _sources(run: Run, process: Process, linked: dict[int, tuple[Run, Execution]]) -> dict[str, str]:
    """Return what a run has read, with the kind of each, and whether rows came from the memory of Python."""
    found = dict.fromkeys(run.leaves.named, PLAN) | dict.fromkeys(run.inputs, SPARK)
    memory = run.leaves.values
    if run.leaves.rdd:
        batch = _micro_batch(run, process, linked)
        found |= {source: PLAN for source in batch if source not in found}
        followed = run.inputs - run.leaves.tables - run.outputs
        memory |= not (batch or followed)
    return found | ({_MEMORY: NOTEBOOK} if memory else {})


def _micro_batch(run: Run, process: Process, linked: dict[int, tuple[Run, Execution]]) -> set[str]:
    """Return what the micro-batch has read inside which a run wrote: nothing when there is none."""
    if id(run) not in linked:
        return set()
    root = process.executions.get(linked[id(run)][1].root)
    if root is None or _STREAM not in root.asked_by:
        return set()
    itself = [other for other, execution in linked.values() if execution is root]
    if any(other.outputs for other in itself):
        return set()
    return root.reads.union(*(other.inputs for other in itself))


def _write_batch(batch: Batch, process: Process, made: dict[str, dict[str, str]], found: _Found) -> None:
    """Add what a stream read by the time of a batch: its sources, and the tables that it was joined with."""
    run = Run("stream", ended=batch.ended, outputs={batch.output})
    joined = (
        one.reads
        for one in process.executions.values()
        if one.number == one.root and batch.stream in one.asked_by and one.began <= batch.ended
    )
    named = batch.inputs.union(*joined)
    sources = {source or _MEMORY: PLAN if source else NOTEBOOK for source in named}
    _write(run, sources, made, found)


def _write_logged(one: Execution, process: Process, made: dict[str, dict[str, str]], found: _Found) -> None:
    """Add what an execution wrote, by Spark's own log: it has what ran inside it, and what that scanned.

    It is the same as OpenLineage tells, where that tells it. But a listener that lags behind finds that an
    execution has ended already, and then there is one of its two events, or none.
    """
    assert one.makes and one.ended
    inside = [
        other
        for other in process.executions.values()
        if other.root == one.root
        and one.began <= other.began <= one.ended
        and not other.asked_by.startswith(_INTERNAL)
    ]
    reads: set[str] = set().union(*(other.reads for other in inside))
    if not reads and one.root in process.executions:
        reads = process.executions[one.root].reads
    sources = dict.fromkeys(reads, PLAN)
    if not one.heard and (any(other.values for other in inside) or not reads):
        sources[_MEMORY] = NOTEBOOK
    anew = one.anew and not one.heard
    _write(Run("", one.began, one.ended, outputs={one.makes}, anew=anew), sources, made, found)


def _drop(tables: Iterable[str], made: dict[str, dict[str, str]], found: _Found) -> None:
    """Forget how a table was made that is gone."""
    for gone in tables:
        made.pop(gone, None)
        found.written.pop(gone, None)
        for source, target in [edge for edge in found.kinds if edge[1] == gone]:
            del found.kinds[source, target]


def _write(run: Run, sources: dict[str, str], made: dict[str, dict[str, str]], found: _Found) -> None:
    resolved = _resolved(sources, made)
    for target in run.outputs:
        if not is_table(target):
            held = made.setdefault(target, {})
            if run.anew:
                held.clear()
            for source, kind in resolved.items():
                if source != target:
                    held[source] = min(kind, held.get(source, kind), key=_doubt)
            continue
        for source, kind in resolved.items():
            if source == _MEMORY:
                moment = run.began or run.ended or 0
                found.written[target] = max(moment, found.written.get(target, moment))
            elif source != target:
                found.kinds[source, target].add(kind)
        for column, origins in run.columns.items():
            for source, name in origins:
                if source in resolved and source != target:
                    found.columns[source, target][column].add(name)


def _resolved(sources: dict[str, str], made: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the tables and source folders behind `sources`, with the kind by which each was seen."""
    resolved: dict[str, str] = {}
    for source, kind in sources.items():
        if source == _MEMORY or is_table(source) or source.startswith(f"{contract.LANDING}."):
            behind = {source: kind}
        else:
            behind = _behind(source, made)
        for origin, seen_by in behind.items():
            resolved[origin] = max(seen_by, kind, resolved.get(origin, ""), key=_doubt)
    return resolved


def _doubt(kind: str) -> int:
    return KINDS.index(kind) if kind else -1


def _behind(place: str, made: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return what a scratch table or a folder was made from. What Spark has not written, Python has."""
    for known in (place, *map(str, Path(place).parents)):
        if known in made:
            return made[known]
    return {_MEMORY: NOTEBOOK}
