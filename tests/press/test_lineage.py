"""Lineage: each filter and each completion on small records of our own, comparison, page, recording."""

import json
import os
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import DeltaTable

import medallion_cli
from medallion import contract, paths
from medallion.course import report, runner
from medallion.errors import MedallionError
from medallion.lakehouse import tables
from medallion.lakehouse.reset import reset
from medallion.machine import jars, setup
from medallion.servers.dashboard import feed
from medallion.spark import recording, session, views
from press.lineage import compare, models, observed, plans
from press.lineage.observed import Edge, Observed
from press.recorded import lineage, lineage_table
from press.reference import lineage_figure, lineage_page
from press.source.chapter import parse
from press.trial import testing

SPARK = "org.apache.spark.sql."
BATCH = "\nid = 1\nrunId = abc\nbatch = 0"


class Record:
    """A record of one process, written event by event; each takes a second."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self.folder = folder / "4711"
        self.folder.mkdir(parents=True)
        self.second = 0
        self.execution = 0

    def _add(self, file: str, *events: dict) -> None:
        with (self.folder / file).open("a", encoding="utf-8") as stream:
            stream.writelines(f"{json.dumps(event, separators=(',', ':'))}\n" for event in events)

    def _dataset(self, name: str, **facets) -> dict:
        place = self.home / name.replace(".", "/") if not name.startswith("/") else name
        return {"namespace": "file", "name": str(place), "facets": facets}

    def spark(
        self,
        reads=(),
        writes=(),
        plan=None,
        *,
        change=None,
        columns=None,
        within=None,
        asked_by="sql at x",
        scans=(),
        complete=True,
        sql="",
        heard=True,
        physical="",
    ) -> int:
        """Add an execution: its two events of OpenLineage and its two of Spark's log; return its number."""
        number, self.execution = self.execution, self.execution + 1
        began, ended = 10 * self.second, 10 * self.second + 5
        self.second += 1
        facets = {"lifecycleStateChange": {"lifecycleStateChange": change}} if change else {}
        if columns:
            facets["columnLineage"] = {"fields": columns}
        event = {
            "run": {"runId": str(number), "facets": {"spark.logicalPlan": {"plan": plan}} if plan else {}},
            "job": {"name": "medallion.x", "facets": {"sql": {"query": sql}}},
            "inputs": [self._dataset(name) for name in reads],
            "outputs": [self._dataset(name, **facets) for name in writes],
        }
        start = {**event, "eventType": "START", "eventTime": _moment(began)}
        end = {**event, "eventType": "COMPLETE", "eventTime": _moment(ended)}
        self._add(recording.EVENTS, *([start] if heard else []), *([end] if heard and complete else []))
        kind = f"{SPARK}execution.ui.SparkListenerSQLExecution"
        physical += "".join(f"Location: PreparedDeltaFileIndex [{self._address(name)}]\n" for name in scans)
        about = {"executionId": number, "rootExecutionId": number if within is None else within}
        started = {"Event": f"{kind}Start", **about, "description": asked_by, "time": began * 1000}
        self._add("local-1", {**started, "physicalPlanDescription": physical})
        self._add("local-1", {"Event": f"{kind}End", "executionId": number, "time": ended * 1000})
        return number

    def _address(self, name: str) -> str:
        return f"file:{self._dataset(name)['name']}"

    def progress(self, source: str, sink: str, rows: int = 1) -> None:
        """Add the progress of a stream, whose source is a table, or a Python one when it has no name."""
        described = f"DeltaSource[{self._address(source)}]" if source else "python.PythonMicroBatchStream@1"
        progress = {
            "runId": "abc",
            "timestamp": _moment(10 * self.second),
            "batchDuration": 5000,
            "sources": [{"description": described, "numInputRows": rows}],
            "sink": {"description": f"DeltaSink[{self._address(sink)}]"},
        }
        self.second += 1
        event = f"{SPARK}streaming.StreamingQueryListener$QueryProgressEvent"
        self._add("local-1", {"Event": event, "progress": progress})

    def note(self, job: str, *reads: str) -> None:
        """Add a note of ours, as `recording.note` writes it."""
        self._add(
            recording.EVENTS,
            {
                "eventType": "COMPLETE",
                "eventTime": _moment(10 * self.second),
                "run": {"runId": f"note {self.second}"},
                "job": {"name": job},
                "inputs": [self._dataset(name) for name in reads],
                "outputs": [],
            },
        )
        self.second += 1

    def observed(self) -> Observed:
        return observed.of("02", self.folder.parent, self.home)

    def edges(self) -> list[tuple[str, str, str]]:
        return [(edge.source, edge.target, edge.kind) for edge in self.observed().edges]


def _moment(second: int) -> str:
    return f"1970-01-01T{second // 3600:02}:{second % 3600 // 60:02}:{second % 60:02}Z"


def relation(name: str) -> dict:
    schema, _, bare = name.partition(".")
    identifier = {"database": schema, "table": bare}
    return node("execution.datasources.LogicalRelation", catalogTable={"identifier": identifier})


def node(kind: str, children: int = 0, **fields) -> dict:
    return {"class": f"{SPARK}{kind}", "num-children": children, **fields}


def merge(*source: dict, target: str) -> list[dict]:
    return [node("delta.commands.MergeIntoCommand", source=list(source), target=[relation(target)])]


RDD = node("execution.LogicalRDD")
VALUES = node("catalyst.plans.logical.LocalRelation")


@pytest.fixture
def recorded(tmp_path) -> Record:
    return Record(tmp_path / "lake house", tmp_path / "record" / "02")


# Filters


def test_a_query_that_reads_and_writes_is_an_edge(recorded):
    recorded.spark(["bronze.orders", "landing.orders/2025/a.jsonl"], ["silver.orders"])
    assert recorded.edges() == [
        ("bronze.orders", "silver.orders", "spark"),
        ("landing.orders", "silver.orders", "spark"),
    ]


def test_the_log_of_a_table_the_table_itself_and_reads_without_a_write_are_no_edges(recorded):
    recorded.spark(["bronze.orders/_delta_log"], ["bronze.orders/_delta_log"])
    recorded.spark(["silver.orders", "bronze.orders"], ["silver.orders"])
    recorded.spark(["silver.products"], asked_by="showString at x", scans=["silver.products"])
    assert recorded.edges() == [("bronze.orders", "silver.orders", "spark")]


def test_the_two_events_of_a_run_complete_each_other(recorded):
    recorded.spark(["bronze.orders"], ["silver.orders"])
    lines = [json.loads(line) for line in (recorded.folder / recording.EVENTS).read_text().splitlines()]
    lines[0]["outputs"], lines[1]["inputs"] = [], []  # as OpenLineage sends them for saveAsTable
    (recorded.folder / recording.EVENTS).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert recorded.edges() == [("bronze.orders", "silver.orders", "spark")]


def test_a_write_that_was_killed_is_none_and_half_a_line_is_passed_over(recorded):
    recorded.spark(["bronze.orders"], ["silver.orders"], complete=False)
    with (recorded.folder / recording.EVENTS).open("a") as events:
        events.write('{"eventType": "COMPL')
    with (recorded.folder / "local-1").open("a") as log:
        log.write('{"Event":"org.apache')
    assert recorded.edges() == []


def test_processes_do_not_share_a_scratch_schema(recorded, tmp_path):
    recorded.spark(["bronze.orders"], ["scratch/4711/totals"])
    other = Record(recorded.home, tmp_path / "other")
    other.spark(["scratch/12/totals"], ["silver.orders"])
    other.folder.rename(recorded.folder.parent / "12")
    assert ("bronze.orders", "silver.orders", "spark") not in recorded.edges()


def test_what_is_made_through_scratch_tables_and_folders_is_traced_to_its_source(recorded, tmp_path):
    recorded.spark(["bronze.orders"], ["scratch/4711/first"], change="CREATE")
    recorded.spark(["scratch/4711/first"], [str(tmp_path / "files")])
    recorded.spark([str(tmp_path / "files" / "part-1.parquet")], ["silver.orders"])
    assert recorded.edges() == [("bronze.orders", "silver.orders", "spark")]


def test_a_scratch_table_that_is_made_anew_forgets_its_sources(recorded):
    recorded.spark(["bronze.orders"], ["scratch/4711/some"], change="CREATE")
    recorded.spark(["bronze.products"], ["scratch/4711/some"], change="OVERWRITE")
    recorded.spark(["scratch/4711/some"], ["silver.products"])
    assert recorded.edges() == [("bronze.products", "silver.products", "spark")]


def test_a_table_that_was_dropped_has_no_edges(recorded):
    recorded.spark(["bronze.orders"], ["silver.orders"])
    recorded.spark([], ["silver.orders"], change="DROP")
    assert recorded.edges() == []


# Completions


def test_the_source_of_a_merge_is_in_its_plan(recorded):
    plan = merge(relation("bronze.orders"), relation("silver.customers"), target="silver.orders")
    recorded.spark(["silver.orders"], ["silver.orders"], plan)
    assert recorded.edges() == [
        ("bronze.orders", "silver.orders", "plan"),
        ("silver.customers", "silver.orders", "plan"),
    ]


def test_in_another_plan_the_tables_complete_nothing(recorded):
    recorded.spark([], ["silver.orders"], [node("catalyst.plans.logical.AppendData", 1), relation("a.b")])
    assert recorded.edges() == []


def test_rows_within_foreach_batch_are_those_of_the_micro_batch(recorded):
    root = recorded.spark(["bronze.orders"], asked_by=BATCH, scans=["bronze.orders"])
    recorded.spark(
        ["silver.orders"], ["silver.orders"], merge(RDD, target="silver.orders"), within=root, asked_by=BATCH
    )
    assert recorded.edges() == [("bronze.orders", "silver.orders", "plan")]


def test_an_execution_inside_another_write_is_no_micro_batch(recorded):
    root = recorded.spark(["bronze.orders"], ["silver.products"])
    recorded.spark([], ["silver.orders"], [RDD], within=root)
    assert ("bronze.orders", "silver.orders", "plan") not in recorded.edges()


def test_an_rdd_that_openlineage_has_followed_is_no_memory_of_python(recorded):
    recorded.spark(["bronze.orders"], ["silver.orders"], [RDD])
    assert recorded.edges() == [("bronze.orders", "silver.orders", "spark")]


@pytest.mark.parametrize("leaf", [RDD, VALUES, node("catalyst.streaming.StreamingDataSourceV2ScanRelation")])
def test_rows_from_the_memory_of_python_come_from_all_that_python_had_read(recorded, leaf):
    recorded.spark(scans=["bronze.orders"], asked_by="toPandas at x")
    recorded.spark(scans=["bronze.payments"], asked_by="count at x")
    recorded.note(recording.NOTEBOOK, "landing.products")
    recorded.spark([], ["silver.orders"], [leaf])
    recorded.spark(scans=["bronze.cdnow"], asked_by="collect at x")
    assert recorded.edges() == [
        ("bronze.orders", "notebook.02", "notebook"),
        ("landing.products", "notebook.02", "notebook"),
        ("notebook.02", "silver.orders", "notebook"),
    ]
    assert recorded.observed().before == {"silver.orders": {"bronze.orders", "landing.products"}}


def test_files_that_spark_has_not_written_are_python_s(recorded, tmp_path):
    recorded.spark([str(tmp_path / "by hand.csv")], ["bronze.orders"])
    assert recorded.edges() == [("notebook.02", "bronze.orders", "notebook")]


def test_python_reads_through_a_scratch_table_too(recorded):
    recorded.spark(["silver.payments"], ["scratch/4711/some"], change="CREATE")
    recorded.spark(scans=["scratch/4711/some"], asked_by="toPandas at x")
    recorded.spark([], ["ml.scores"], [VALUES])
    assert recorded.observed().before == {"ml.scores": {"silver.payments"}}


def test_the_definition_of_a_view_names_its_tables(recorded):
    definition = "source: SELECT * FROM gold.fact_sales JOIN gold.dim_date USING (date_key)"
    made = [node("execution.command.CreateMetricViewCommand", 1, originalText=definition)]
    recorded.spark(plan=made, sql="CREATE VIEW gold.sales_metrics WITH METRICS")
    recorded.spark(plan=made, sql="CREATE OR REPLACE VIEW gold.again", asked_by=views.REGISTERING)
    assert recorded.edges() == [
        ("gold.dim_date", "gold.sales_metrics", "plan"),
        ("gold.fact_sales", "gold.sales_metrics", "plan"),
    ]


def test_a_stream_of_which_there_is_no_event_says_its_source_and_its_sink(recorded):
    recorded.spark(asked_by=BATCH, scans=["silver.products"])
    recorded.progress("silver.orders", "gold.live_sales")
    recorded.progress("silver.payments", "gold.live_sales", rows=0)
    assert recorded.edges() == [
        ("silver.orders", "gold.live_sales", "plan"),
        ("silver.products", "gold.live_sales", "plan"),
    ]


def written(kind: str, arguments: str, *more: str) -> str:
    """The physical plan of a write as the event log has it."""
    return "\n".join(
        ["== Physical Plan ==", f"{kind} (1)", "", f"(1) {kind}", f"Arguments: {arguments}", *more, ""]
    )


def test_a_write_of_which_openlineage_has_no_event_is_in_the_log_of_spark(recorded):
    replaces = written("AtomicReplaceTableAsSelect", "x.DeltaCatalog@1, ml.scores, Project [a#1], true")
    root = recorded.spark(heard=False, physical=replaces, asked_by="saveAsTable at x")
    recorded.second -= 1
    recorded.spark(heard=False, within=root, asked_by="$anonfun$record at x", scans=["ml.features"])
    recorded.second -= 1
    recorded.spark(heard=False, within=root, asked_by="Delta: Filtering files", scans=["ml.else"])
    appends = f"DeltaTableV2(x@1,file:{recorded.home}/gold/alerts,Some(CatalogTable(\nDatabase: gold"
    local = "\n(2) LocalTableScan [codegen id : 1]"
    recorded.spark(heard=False, physical=written("AppendDataExecV1", appends, local))
    assert recorded.edges() == [
        ("ml.features", "ml.scores", "plan"),
        ("notebook.02", "gold.alerts", "notebook"),
    ]


def test_a_write_that_failed_is_none(recorded):
    recorded.spark(heard=False, physical=written("AtomicCreateTableAsSelect", "x@1, ml.scores, P"))
    log = (recorded.folder / "local-1").read_text(encoding="utf-8")
    (recorded.folder / "local-1").write_text(log.replace('"time":5000}', '"time":5000,"errorMessage":"x"}'))
    assert recorded.edges() == []


def test_the_log_completes_a_write_of_which_one_event_is_lost(recorded):
    merges = (
        f"SubqueryAlias n, SubqueryAlias o, `s`.`t`, Delta[version=1, file:{recorded.home}/silver/orders]"
    )
    physical = "== Physical Plan ==\nExecute MergeIntoCommand (1)\n\n(2) MergeIntoCommand\n"
    recorded.spark(
        ["silver.orders"],
        ["silver.orders"],
        physical=f"{physical}Arguments: {merges}\n(3) LocalTableScan\n",
        scans=["bronze.orders"],
    )
    assert recorded.edges() == [("bronze.orders", "silver.orders", "plan")]


def test_a_plain_view_is_in_the_log_and_one_that_a_session_registers_is_none(recorded):
    definition = (
        "`spark_catalog`.`gold`.`plain`, SELECT id\nFROM silver.orders, false, true, PersistedView, x"
    )
    relation = "(3) LogicalRelation\nArguments: parquet, [id#1L], `spark_catalog`.`silver`.`orders`, false"
    plan = written(
        "Execute CreateViewCommand", "x", "(2) CreateViewCommand", f"Arguments: {definition}", relation
    )
    recorded.spark(heard=False, physical=plan)
    again = plan.replace("plain", "again")
    recorded.spark(physical=again, asked_by=views.REGISTERING)
    gone = plan.replace("plain", "gone")
    recorded.spark(heard=False, physical=gone)
    recorded.spark(
        heard=False, physical=written("DropTableCommand", "`spark_catalog`.`gold`.`gone`, true, true, false")
    )
    temporary = plan.replace("`spark_catalog`.`gold`.`plain`", "`plain`").replace("Persisted", "LocalTemp")
    recorded.spark(heard=False, physical=temporary)
    assert recorded.edges() == [("silver.orders", "gold.plain", "plan")]


def test_a_source_that_is_written_in_python_is_python_s(recorded):
    recorded.progress("", "bronze.campaign_spend")
    assert recorded.edges() == [("notebook.02", "bronze.campaign_spend", "notebook")]


def test_the_files_of_a_scan():
    physical = (
        "(1) Scan parquet\nLocation: PreparedDeltaFileIndex [file:/a b/silver/orders]\n"
        "Location: InMemoryFileIndex(2 paths)[file:/x/1.json, ... 1 entries]\n"
        "Arguments: `t`, CatalogTable(\nLocation: file:/what/is/written\n)"
    )
    assert plans.scanned(physical) == {"file:/a b/silver/orders", "file:/x/1.json"}


# Columns


def attribute(name: str, number: int) -> dict:
    return node("catalyst.expressions.AttributeReference", name=name, exprId={"id": number})


def alias(name: str, number: int, *of: dict) -> list[dict]:
    return [node("catalyst.expressions.Alias", 1, name=name, exprId={"id": number}), *of]


def read(name: str, **columns: int) -> dict:
    return relation(name) | {"output": [[attribute(column, number)] for column, number in columns.items()]}


def columns_of(recorded: Record, target: str, *sources: str, query: list) -> dict:
    """Return the columns by source that are seen when `target` is replaced by what `query` selects."""
    plan = [node("catalyst.plans.logical.ReplaceTableAsSelect", query=query)]
    recorded.spark(sources, [target], plan, change="OVERWRITE")
    return {edge.source: edge.columns for edge in recorded.observed().edges}


def test_the_columns_of_a_table_that_is_replaced_are_in_its_plan(recorded):
    windowed = [
        node("catalyst.expressions.WindowExpression", 2),
        attribute("price", 2),
        node("catalyst.expressions.WindowSpecDefinition", 1),
        attribute("id", 1),
    ]
    query = [
        node(
            "catalyst.plans.logical.Project",
            1,
            projectList=[
                [attribute("id", 1)],
                alias("total", 9, attribute("price", 2), attribute("rate", 4)),
                alias("most", 10, attribute("top", 8)),
                alias("one", 11, node("catalyst.expressions.Literal")),
            ],
        ),
        node("catalyst.plans.logical.Window", 1, windowExpressions=[alias("top", 8, *windowed)]),
        node("catalyst.plans.logical.Join", 2, joinType={"object": "Inner$"}),
        node("catalyst.plans.logical.Union", 2),
        read("bronze.orders", id=1, price=2),
        read("bronze.older", number=5, cents=6),
        node("catalyst.plans.logical.Filter", 1),
        read("bronze.rates", currency=3, rate=4),
    ]
    sources = ("bronze.orders", "bronze.older", "bronze.rates")
    assert columns_of(recorded, "silver.orders", *sources, query=query) == {
        "bronze.orders": (("id", ("id",)), ("most", ("price",)), ("total", ("price",))),
        "bronze.older": (("id", ("number",)), ("most", ("cents",)), ("total", ("cents",))),
        "bronze.rates": (("total", ("rate",)),),
    }


def test_a_semi_join_gives_no_columns_of_its_right_side_and_a_generator_gives_its_own(recorded):
    query = [
        node(
            "catalyst.plans.logical.Generate",
            1,
            generator=[node("catalyst.expressions.Explode", 1), attribute("lines", 2)],
            generatorOutput=[[attribute("line", 7)]],
        ),
        node("catalyst.plans.logical.Join", 2, joinType={"object": "LeftAnti$"}),
        read("silver.orders", lines=2),
        read("silver.gone", lines=3),
    ]
    sources = ("silver.orders", "silver.gone")
    assert columns_of(recorded, "silver.order_lines", *sources, query=query) == {
        "silver.orders": (("line", ("lines",)), ("lines", ("lines",))),
        "silver.gone": (),
    }


def test_the_columns_that_openlineage_tells_without_those_that_only_choose_rows(recorded):
    source = str(recorded.home / "bronze" / "orders")
    direct = {"name": source, "field": "cents", "transformations": [{"type": "DIRECT"}]}
    chooses = {"name": source, "field": "op", "transformations": [{"type": "INDIRECT"}]}
    columns = {"euros": {"inputFields": [direct, chooses]}}
    recorded.spark(["bronze.orders"], ["silver.orders"], columns=columns)
    assert recorded.observed().edges[0].columns == (("euros", ("cents",)),)


# Models and the dashboard


def test_models_are_trained_on_what_mlflow_says(tmp_path):
    (tmp_path / "mlflow").mkdir()
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as database:
        database.executescript("""
            CREATE TABLE model_versions (name TEXT, version INT, run_id TEXT);
            CREATE TABLE runs (run_uuid TEXT, start_time INT);
            CREATE TABLE inputs
                (source_type TEXT, source_id TEXT, destination_type TEXT, destination_id TEXT);
            CREATE TABLE datasets (dataset_uuid TEXT, dataset_source TEXT);
            INSERT INTO model_versions VALUES ('churn', 1, 'old'), ('churn', 2, 'new'), ('fraud', 1, 'new');
            INSERT INTO runs VALUES ('old', 10), ('new', 20);
            INSERT INTO inputs VALUES ('DATASET', 'd', 'RUN', 'old'), ('DATASET', 'd', 'RUN', 'new'),
                ('DATASET', 'web', 'RUN', 'new');
        """)
        path = json.dumps({"path": str(tmp_path / "ml" / "churn_training")})
        database.execute("INSERT INTO datasets VALUES ('d', ?), ('web', '{}')", (path,))
    assert models.trained(tmp_path, 20) == [
        ("ml.churn_training", "model.churn.2"),
        ("ml.churn_training", "model.fraud.1"),
    ]
    assert models.trained(tmp_path, 21) == []
    assert models.trained(tmp_path / "elsewhere", 0) == []


def test_the_dashboard_notes_once_which_table_it_opens(recorded, monkeypatch):
    monkeypatch.setenv("MEDALLION_HOME", str(recorded.home))
    monkeypatch.setenv(recording.VARIABLE, str(recorded.folder.parent))
    monkeypatch.setattr(feed, "_last_commit", lambda _: ("1.json", len(looked)))
    monkeypatch.setattr(feed, "read", lambda _: looked.append(1) or feed.Sales(1, 0, 0, 0, "hour", ()))
    looked = []
    live = feed.Feed("gold.live_sales")
    live.look()
    live.look()
    assert len(looked) == 2
    assert len((recording.place() / recording.EVENTS).read_text(encoding="utf-8").splitlines()) == 1
    assert recorded.edges() == [("gold.live_sales", "dashboard", "dashboard")]


# The comparison


def test_observed_and_declared_agree():
    makes = {"silver.a": ["bronze.a"], "silver.b": ["bronze.b"], "silver.days": []}
    seen = [Edge("bronze.a", "silver.a", "02", "spark"), Edge("notebook.02", "silver.b", "02", "notebook")]
    assert compare.differences(makes, Observed(seen, {"silver.b": {"bronze.b", "bronze.else"}})) == []


def test_what_is_missing_and_what_is_invented_is_named():
    makes = {"silver.a": ["bronze.a", "bronze.b"], "silver.c": ["bronze.c"]}
    seen = [Edge("bronze.a", "silver.a", "02", "plan"), Edge("bronze.x", "silver.a", "02", "spark")]
    seen.append(Edge("ml.t", "model.m.1", "02", "mlflow"))
    assert compare.differences(makes, Observed(seen, {"silver.a": {"bronze.z"}})) == [
        "missing: nothing was seen to write silver.c.",
        "missing: silver.a declares bronze.b, and was not seen to read it.",
        "missing: silver.c declares bronze.c, and was not seen to read it.",
        "not declared: silver.a was made from bronze.x.",
    ]


def test_what_python_reads_after_the_write_does_not_count(recorded):
    recorded.spark([], ["silver.orders"], [VALUES])
    recorded.spark(scans=["bronze.orders"], asked_by="collect at x")
    assert compare.differences({"silver.orders": ["bronze.orders"]}, recorded.observed()) == [
        "missing: silver.orders declares bronze.orders, and was not seen to read it."
    ]


def test_the_replay_reports_each_difference_by_its_chapter(tmp_path, monkeypatch):
    promised = contract.Contract(
        "02", "02_data_quality_silver", tmp_path / contract.LESSON, {"silver.a": ["bronze.a"]}, [], []
    )
    monkeypatch.setattr(contract, "read", {"02": promised}.__getitem__)
    (tmp_path / "02").mkdir()
    assert [str(problem) for problem in testing._lineage("02", tmp_path / "02", tmp_path)] == [
        "notebooks/02_data_quality_silver.ipynb:1: missing: nothing was seen to write silver.a. "
        "Fix its header.",
        "notebooks/02_data_quality_silver.ipynb:1: "
        "missing: silver.a declares bronze.a, and was not seen to read it. Fix its header.",
    ]
    assert not (tmp_path / "02").exists()


# What is kept, the page, the drawing

EDGES = {
    "02": [
        Edge("bronze.orders", "silver.orders", "02", "plan", (("id", ("id", "key")),)),
        Edge("notebook.02", "silver.quality", "02", "notebook"),
        Edge("bronze.orders", "notebook.02", "02", "notebook"),
    ],
    "05": [Edge("silver.orders", "model.churn.1", "05", "mlflow")],
}


def test_what_is_kept_is_read_again_and_the_same_each_time(tmp_path):
    lineage.keep("02", EDGES["02"], tmp_path)
    lineage.keep("05", EDGES["05"], tmp_path)
    text = (tmp_path / lineage.FILE).read_text(encoding="utf-8")
    assert {number: sorted(held) for number, held in lineage.load(tmp_path).items()} == {
        number: sorted(held) for number, held in EDGES.items()
    }
    lineage.keep("02", reversed(EDGES["02"]), tmp_path)
    assert (tmp_path / lineage.FILE).read_text(encoding="utf-8") == text
    assert compare.as_observed(EDGES["02"]).before == {"silver.quality": {"bronze.orders"}}


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / lineage.FILE).parent.mkdir(parents=True)
    (tmp_path / lineage.FILE).write_text("'02': [1, 2]", encoding="utf-8")
    with pytest.raises(MedallionError, match=r"lineage\.yml cannot be read"):
        lineage.load(tmp_path)


def test_the_page_and_its_drawing_are_the_same_for_the_same_edges_and_name_the_chapter():
    found = [parse(path) for path in contract.lessons().values()]
    shuffled = {number: list(reversed(EDGES[number])) for number in reversed(EDGES)}
    text = lineage_page.text(EDGES, found)
    assert lineage_page.text(shuffled, found) == text
    assert "| [silver.orders]{#silver-orders} | [chapter\u00a002](../../notebooks/02_" in text
    assert "[bronze.orders](#bronze-orders) (from a plan) |" in text
    assert "| `id` | `bronze.orders.id`, `bronze.orders.key` |" in text
    said = lineage_page.about(EDGES, found)
    assert said["silver.orders"] == "table of silver, made in chapter 02, Data quality and the Silver layer"
    drawn = lineage_figure.drawing([edge for held in EDGES.values() for edge in held], said)
    assert drawn == lineage_figure.drawing([edge for held in shuffled.values() for edge in held], said)
    for name in ("bronze.orders", "silver.orders", "notebook.02", "model.churn.1"):
        assert f'<a href="#{lineage_figure.anchor(name)}" class="node" data-node="{name}"' in drawn
        assert f"{{#{lineage_figure.anchor(name)}}}" in text


def test_an_edge_that_two_chapters_have_shown_is_drawn_once():
    twice = [Edge("a.b", "ml.c", "05", "plan"), Edge("a.b", "ml.c", "08", "spark")]
    assert lineage_figure.once(twice) == [twice[1]]


# gold.lineage


def test_the_table_holds_the_edges_of_each_chapter_until_it_is_undone(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path))
    for number, held in EDGES.items():
        lineage_table.keep(number, held)
    lineage_table.keep("02", EDGES["02"])  # again: in place of the old ones
    rows = DeltaTable(str(tables.folder(tables.LINEAGE))).to_pyarrow_table().to_pylist()
    assert len(rows) == 4
    assert {
        "source": "bronze.orders",
        "target": "silver.orders",
        "via": "02",
        "kind": "plan",
        "columns": [{"target_column": "id", "source_columns": ["id", "key"]}],
    } in rows
    schema = DeltaTable(str(tables.folder(tables.LINEAGE))).schema()
    assert all(field.metadata["comment"] for field in schema.fields)
    assert lineage_table.recorded() == {"02", "05"}
    assert reset("03") == []
    assert lineage_table.recorded() == {"02"}
    assert tables.rows(tables.LINEAGE) == 3
    assert reset("01") == [tables.LINEAGE]
    assert not tables.exists(tables.LINEAGE)
    assert lineage_table.recorded() == set()


# Recording


def test_nothing_is_recorded_unless_it_is_asked_for(monkeypatch):
    monkeypatch.delenv(recording.VARIABLE, raising=False)
    assert recording.place() is None
    assert recording.begin() == {} and recording.more_jars() == []
    assert "spark.extraListeners" not in session.settings("learn")


def test_a_missing_jar_names_the_fix(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDALLION_CACHE", str(tmp_path))
    monkeypatch.setenv(recording.VARIABLE, str(tmp_path / "record"))
    with pytest.raises(MedallionError, match=r"is missing\. Run `\./medallion setup --lineage`\."):
        recording.more_jars()


def test_the_jar_goes_to_the_end_of_the_class_path_and_to_no_other_session(monkeypatch, tmp_path):
    jar = tmp_path / "openlineage.jar"
    monkeypatch.setattr(jars, "verified", lambda group="": [jar] if group == jars.LINEAGE else [])
    monkeypatch.setenv(recording.VARIABLE, str(tmp_path / "record"))
    assert class_path(session.settings("learn")).endswith(f"{os.pathsep}{jar}")
    monkeypatch.delenv(recording.VARIABLE)
    assert str(jar) not in class_path(session.settings("learn"))


def class_path(settings):
    options = shlex.split(settings["spark.driver.extraJavaOptions"])
    return options[options.index("-cp") + 1]


def test_the_lock_has_the_jar_in_a_group_of_its_own():
    assert [jar.file for jar in jars.locked(jars.LINEAGE)] == ["openlineage-spark_2.13-1.53.0.jar"]
    assert not any("openlineage" in jar.file for jar in jars.locked())
    assert len(jars.read_lock()) == len(jars.locked()) + 1


def test_a_process_notes_the_first_file_that_it_opens_of_a_source(tmp_path):
    landing = tmp_path / "home" / "landing"
    for file in ("orders/a.jsonl", "orders/b.jsonl", "products/p.json", "_truth.json"):
        (landing / file).parent.mkdir(parents=True, exist_ok=True)
        (landing / file).write_text("{}", encoding="utf-8")
    program = (
        "from pathlib import Path; from medallion.spark import recording\n"
        f"landing = Path({str(landing)!r})\n"
        "settings = recording.begin(); recording.begin()\n"
        "for file in sorted(landing.rglob('*.json*')): file.read_text()\n"
        "(landing / 'customers').mkdir(); (landing / 'customers' / 'c.csv').write_text('')\n"
        "print(settings['spark.openlineage.transport.location'])\n"
    )
    told = {recording.VARIABLE: str(tmp_path / "record"), "MEDALLION_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in Path(done.stdout.strip()).read_text(encoding="utf-8").splitlines()]
    assert [event["inputs"][0]["name"] for event in events] == [
        str(landing / "orders"),
        str(landing / "products"),
    ]


def test_a_path_that_openlineage_cannot_bear_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path / "lake house"))
    monkeypatch.setenv(recording.VARIABLE, str(tmp_path / "record"))
    with pytest.raises(MedallionError, match=r"with ' ' in its path\. Set MEDALLION_HOME to another"):
        recording.begin()
    monkeypatch.delenv(recording.VARIABLE)
    with pytest.raises(MedallionError, match="Lineage cannot be recorded"), observed.observing("02"):
        pass
    recording.refuse_odd(Path("/Kurs-für-Anfänger/lakehouse"))


def test_recording_ends_with_its_block(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path))
    monkeypatch.delenv(recording.VARIABLE, raising=False)
    with observed.observing("02") as seen:
        place = Path(os.environ[recording.VARIABLE])
        assert seen().edges == []
    assert recording.VARIABLE not in os.environ
    assert not place.exists()


def test_the_command_line_records_on_request(monkeypatch):
    asked = []
    monkeypatch.setattr(setup, "prepare", lambda lineage=False: asked.append(lineage))

    monkeypatch.setattr(
        runner, "run", lambda numbers, anew, recorder: asked.append((numbers, anew, recorder)) or []
    )
    monkeypatch.setattr(report, "print_ran", lambda ran: None)
    assert medallion_cli.main(["run", "02", "--lineage", "--anew"]) == 0
    assert medallion_cli.main(["run"]) == 0
    assert asked == [True, (["02"], True, lineage_table), False, ([], False, None)]


def test_the_lineage_that_is_kept_is_what_the_contracts_declare():
    """The quick half of the test: the other half, in `medallion test`, compares with a run of its own."""
    held = lineage.load(paths.root())
    for number in contract.chapters():
        if makes := contract.read(number).makes:
            assert compare.differences(makes, compare.as_observed(held.get(number, []))) == []
