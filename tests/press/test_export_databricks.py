"""The export for Databricks: notebooks that are read and compiled, a bundle held against Databricks' classes.

No workspace is asked.
"""

import ast
import copy
import dataclasses
import enum
import os
import re
import subprocess
import sys
import types
import typing
from pathlib import Path

import pytest
import yaml
from databricks.sdk.service.jobs import JobSettings

import kestrel
import medallion
import medallion_cli
from medallion import contract, paths
from medallion.errors import MedallionError
from press import export
from press.export import bundle, differences, folder, notebook, rules
from press.export.notebook import Cell
from press.reference import databricks_page
from press.source import rules as chapter_rules
from press.source.chapter import parse
from press.source.starter import worked

FOUND = differences.load()
NAMES = [one.name for number, one in contract.chapters().items() if number in FOUND.chapters]
NOTEBOOKS = [bundle.PREPARE, *NAMES]
# The mappings at the top of a bundle, by https://docs.databricks.com/aws/en/dev-tools/bundles/reference
MAPPINGS = {"artifacts", "bundle", "experimental", "include", "permissions", "presets", "python", "resources"}
MAPPINGS |= {"run_as", "scripts", "sync", "targets", "variables", "workspace"}
OF_A_TARGET = MAPPINGS - {"include", "targets"} | {"cluster_id", "default", "git", "mode"}
CHAPTER = """\
# ---
# jupyter:
#   medallion:
#     makes: {{}}
#     minutes: {{read: 1, practise: 1}}
#     objectives: [sort]
#     summary: order
#     outline: Rows in order.
# ---

# %% [markdown]
# # Sorting

# %%
{code}
"""
CODE_BEGINS = CHAPTER.count("\n", 0, CHAPTER.index("{code}")) + 1


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of an export."""
    to = tmp_path_factory.mktemp("out") / "databricks"
    export.write(to)
    return to


@pytest.fixture
def quick(monkeypatch, exported):
    """Exports whose chapters are not read again: what is asked is what becomes of the files."""
    made = {name: cells_of(exported, name) for name in NAMES}
    monkeypatch.setattr(folder, "exported", lambda found: made)


def cells_of(exported, name):
    return notebook.read((exported / "notebooks" / f"{name}.py").read_text(encoding="utf-8"))


def content(to):
    return {path.relative_to(to): path.read_bytes() for path in to.rglob("*") if path.is_file()}


def chapter(tmp_path, code):
    path = tmp_path / "04_sorting" / "lesson.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(CHAPTER.format(code=code), encoding="utf-8")
    return parse(path)


def found_for(*entries):
    return dataclasses.replace(FOUND, chapters={"04": entries})


# --- The notebooks ---


def test_the_chapters_keep_their_names(exported):
    files = sorted(path.name for path in (exported / "notebooks").iterdir())
    assert files == [f"{name}.py" for name in NOTEBOOKS]
    assert [name[:2] for name in NAMES] == sorted(FOUND.chapters) and "00" not in FOUND.chapters


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_an_exported_file_is_cells_that_compile(exported, name):
    text = (exported / "notebooks" / f"{name}.py").read_text(encoding="utf-8")
    compile(text, name, "exec")  # magics are comments
    cells = notebook.read(text)
    assert cells[0].kind == "markdown" and cells[0].source.startswith("# ")
    assert [cell.source for cell in cells if cell.kind == "magic"] == [notebook.INSTALL]
    for cell in cells:
        assert cell.source.strip()
        if cell.kind == "code":
            compile(cell.source, name, "exec")
    assert notebook.text_of(cells) == text


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_an_exported_file_keeps_the_rules(exported, name):
    assert rules.problems(cells_of(exported, name), FOUND) == []


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_of_a_chapter_goes_without_a_word(exported, name):
    """Each is there as it is in the book, or is named among the differences, whose reason is there."""
    there = {cell.source for cell in cells_of(exported, name)}
    source = parse(contract.find(name[:2]))
    differ = differences.of(source, FOUND)
    for cell in source.cells[1:]:
        if cell.line not in differ:
            assert (worked(cell.source)[0] if cell.role == "solution" else cell.source) in there
    for difference in differ.values():
        assert f"{notebook._SAID[difference.kind]} {difference.why}" in there
    code = [cell for cell in source.cells if cell.kind == "code"]
    assert sum(databricks_page.count(source, FOUND).values()) == len(code)
    assert len(differ) < len(code) / 2  # it is still the chapter


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_starts_as_in_the_book_where_the_parameters_say(exported, name):
    code = [cell.source for cell in cells_of(exported, name) if cell.kind == "code"]
    assert code[:2] == [notebook.RESTART, f"{notebook.SETUP}\n\n{notebook.USE}"]
    assert f'spark = medallion.start("{name[:2]}")' in code[2]


def test_every_exercise_is_there_with_its_solution_and_its_check(exported):
    text = "\n".join(cell.source for name in NAMES for cell in cells_of(exported, name))
    titles = re.findall(r"^### Exercise (\d+\.\d+)", text, flags=re.MULTILINE)
    assert len(titles) == len(set(titles)) == len(re.findall(r"^check\.\w+\(", text, flags=re.MULTILINE))
    assert "### BEGIN SOLUTION" not in text


def test_code_that_stands_in_for_a_cell_is_as_narrow_as_a_chapter():
    for entries in FOUND.chapters.values():
        for line in "\n".join(entry.instead for entry in entries).splitlines():
            assert len(line) <= chapter_rules.LONGEST_LINE, line


# --- The rules can fail ---


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def broken(:", "this is not Python"),
        ("print(nowhere)", "no cell before this one binds 'nowhere'"),
        ("import duckdb", "duckdb is neither in Databricks Runtime 17.3 LTS ML nor among"),
        ("from deltalake import DeltaTable", "deltalake is neither in"),
        ("def late():\n    import requests_html", "requests_html is neither in"),
        ("from medallion.servers import dashboard", "medallion.servers.dashboard works on a laptop only"),
        ("from medallion.servers.endpoint import start", "medallion.servers.endpoint works on a laptop only"),
        ("from medallion.machine import jars", "medallion.machine works on a laptop only"),
        ("import medallion.course.lab", "medallion.course works on a laptop only"),
        ("from press import site", "press is neither in"),
        ("import subprocess", "subprocess reaches for the machine itself"),
        ("import tempfile", "tempfile reaches for the machine itself"),
        ("import signal", "signal reaches for the machine itself"),
        ("open('/tmp/rows.csv')", "this text is a path from the root"),
        ("open('/Volumes/main')", "this text is a path from the root"),
        ("day = 1\nopen(f'/home/{day}')", "this text is a path from the root"),
        ("open('~/rows.csv')", "this text is a path in somebody's home"),
        ("open('../rows.csv')", "this text is a path to the folder above"),
        ("open('data/../rows.csv')", "this text is a path to the folder above"),
        ("open('file:///rows.csv')", "this text is a path of the file system"),
        ("url = 'http://127.0.0.1:8080'", "this text is an address of this machine"),
        ("url = 'http://localhost/'", "this text is an address of this machine"),
        ("log = 'orders/_delta_log'", "this text is the log of a Delta table"),
        ("sql = 'SELECT * FROM delta.`here`'", "this text is a table by its folder"),
        (
            "import medallion\nmedallion.landing().parent / 'bronze' / 'orders'",
            "a table is found by its folder",
        ),
        ("from medallion import paths\npaths.root()", "paths.root is for the machine"),
        ("import sys\nsys.executable", "sys.executable is for the machine"),
        ("import os\nos.killpg(1, 9)", "os.killpg is for the machine"),
        ("from pathlib import Path\nPath.home()", "Path.home is for the machine"),
        ("import shutil\nshutil.copytree('a', 'b')", "shutil.copytree is for the machine"),
        ("from medallion.servers import tracking\ntracking.start()", "tracking.start is for the machine"),
        ("spark._jvm.java", "_jvm is inside Spark's JVM"),
        ("here = __file__", "a notebook is no file"),
    ],
)
def test_a_bad_chapter_is_told_with_its_line(tmp_path, monkeypatch, code, told):
    path = chapter(tmp_path, code).path
    monkeypatch.setattr(contract, "find", lambda number: path)
    with pytest.raises(MedallionError) as refused:
        folder.exported(found_for())
    line = CODE_BEGINS + code.count("\n")  # the bad line is the last one
    assert re.search(rf"04_sorting/lesson\.py:{line}: .*{re.escape(told)}", str(refused.value))
    assert str(refused.value).endswith("/04_sorting/databricks.yml what a workspace gets instead.")


@pytest.mark.parametrize(
    "code",
    [
        "from medallion.lesson import arrivals, charts, quiz\nfrom medallion.servers import api, tracking",
        "import kestrel",
        "import medallion\nmedallion.landing().parent / 'checkpoints' / '01'",
        "from pyspark.sql import functions as F\nF.substring_index('path', '/landing/', -1)",
        "share = '1/2'\nratio = 'a / b'\ndates = 'dd/MM/yyyy'",
        "def later():\n    return bound_below\n\n\nbound_below = 1",
        "import shutil\nshutil.copyfile('a', 'b')\nshutil.rmtree('a')",
        "dbutils.fs.ls(display)",
    ],
)
def test_what_a_workspace_has_is_let_through(code):
    assert rules.problems([Cell("code", code)], FOUND) == []


def test_a_function_may_use_what_a_later_cell_binds_and_a_cell_may_not():
    later = [Cell("code", "def show():\n    return rows"), Cell("code", "rows = 1")]
    assert rules.problems(later, FOUND) == []
    assert rules.problems([Cell("code", "show = rows"), *later], FOUND) == [
        (0, "no cell before this one binds 'rows'")
    ]


# --- The differences ---


def entry(*cells, **more):
    return differences.Difference(cells=cells, **{"why": "It cannot be done there."} | more)


def test_a_cell_is_left_out_replaced_or_guarded_with_the_reason(tmp_path):
    code = "import duckdb\n\n# %%\nimport deltalake\n\n# %%\nrows = 1\n\n# %%\nrows\n\n# %%\nspark.sql('X')"
    source = chapter(tmp_path, code)
    found = found_for(
        entry("import duckdb", "import deltalake", why="No folder."),
        entry("rows = 1", instead="rows = 2", why="Two there."),
        entry("spark.sql(", only="catalog", why="Views of metrics."),
    )
    shown = [cell.source for cell in notebook.of(source, found)][-7:]
    assert shown[-6:] == [
        "**Left out here:** No folder.",
        "**Differs from the book:** Two there.",
        "rows = 2",
        "rows",
        "**Only with a catalog:** Views of metrics.",
        "if databricks.has_catalog():\n    display(spark.sql('X'))\nelse:\n    print('Views of metrics.')",
    ]
    assert databricks_page.count(source, found) == {"same": 1, "instead": 1, "catalog": 1, "out": 2}


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([entry("import nothing")], "'import nothing' begins 0 cells, and must begin one"),
        ([entry("rows =")], "'rows =' begins 2 cells, and must begin one"),
        ([entry("rows = 1"), entry("rows = 1")], "'rows = 1' is named twice"),
    ],
)
def test_a_difference_names_one_cell(tmp_path, entries, told):
    source = chapter(tmp_path, "rows = 1\n\n# %%\nrows = 1 + 1")
    with pytest.raises(MedallionError, match=re.escape(f"/04_sorting/databricks.yml: {told}")):
        differences.of(source, found_for(*entries))


def test_every_chapter_has_its_differences_even_if_none(tmp_path):
    source = chapter(tmp_path, "rows = 1")
    with pytest.raises(MedallionError, match=r"04_sorting/databricks\.yml is not there\. Add it, with \[\]"):
        differences.of(source, dataclasses.replace(FOUND, chapters={}))


@pytest.fixture
def repository(tmp_path):
    """A root with the differences of the book alone, and a function that changes one of their files."""
    for path in ("book/databricks.yml", *(f"book/chapters/{name}/databricks.yml" for name in NAMES)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((paths.root() / path).read_bytes())

    def change(path, how):
        held = yaml.safe_load((tmp_path / path).read_text(encoding="utf-8"))
        how(held)
        (tmp_path / path).write_text(yaml.safe_dump(held), encoding="utf-8")
        return tmp_path

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda held: held.pop("runtime"), "'runtime': this is missing. Add it."),
        (lambda held: held["runtime"].update(size="large"), "'runtime', 'size': this is not known. Take"),
        (lambda held: held.update(more=1), "'more': this is not known. Take it away"),
        (lambda held: held["installs"].update(rich=7), "'installs', 'rich': 7 is not a text. Write one"),
    ],
)
def test_a_file_of_the_book_that_is_not_as_it_should_be_is_told(repository, change, told):
    with pytest.raises(MedallionError, match=rf"/book/databricks\.yml:1: {re.escape(told)}"):
        differences.load(repository(differences.FILE, change))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda held: held[0].pop("why"), "entry 1, 'why': this is missing. Add it."),
        (lambda held: held[0].update(because_of="so"), "entry 1, 'because_of': this is not known. Take"),
        (lambda held: held[0].update(only="catalog"), "entry 1: 'only' stands without 'instead'. Take one"),
        (lambda held: held[1].update(only="wish"), "entry 2, 'only': 'wish' will not do (Input should be"),
        (
            lambda held: held[1].update(instead="x", cells=["rows = 1", "rows = 2"]),
            "entry 2: 'instead' is for exactly one cell. Name one.",
        ),
        (
            lambda held: held[1].update(cells=[]),
            "entry 2, 'cells': [] will not do (Tuple should have at least",
        ),
        (lambda held: held.insert(0, "text"), "entry 1: 'text' will not do"),
    ],
)
def test_a_file_of_a_chapter_that_is_not_as_it_should_be_is_told(repository, change, told):
    path = f"book/chapters/{NAMES[0]}/databricks.yml"
    with pytest.raises(MedallionError, match=rf"/{path}:1: {re.escape(told)}"):
        differences.load(repository(path, change))


def test_a_chapter_without_the_file_is_not_exported(repository):
    root = repository(differences.FILE, dict)
    assert list(differences.load(root).chapters) == [name[:2] for name in NAMES]
    (root / "book" / "chapters" / NAMES[2] / "databricks.yml").unlink()
    assert "03" not in differences.load(root).chapters
    assert not (paths.root() / "book" / "chapters" / "00_tour" / "databricks.yml").exists()


def test_no_file_is_told_too(tmp_path):
    with pytest.raises(
        MedallionError, match=r"book/databricks\.yml:1: this cannot be read as YAML \(.*No such file"
    ):
        differences.load(tmp_path)


# --- The form of Databricks ---


@pytest.mark.parametrize("catalog", [True, False])
def test_guarded_code_keeps_the_lines_of_its_texts(catalog):
    source = 'spark.sql("""\nversion: 0.1\n  a:\n""")\nif kept:\n    done = f"""{kept}\n text"""\nfor_all(1)'
    said, shown = [], []
    given = {
        "databricks": types.SimpleNamespace(has_catalog=lambda: catalog),
        "spark": types.SimpleNamespace(sql=said.append),
        "display": shown.append,
        "print": shown.append,
        "kept": "so",
        "for_all": lambda number: number + 1,
    }
    exec(notebook.guarded(source, "Not there."), given)
    assert said == (["\nversion: 0.1\n  a:\n"] if catalog else [])
    assert shown == ([2] if catalog else ["Not there."])
    assert given.get("done") == ("so\n text" if catalog else None)


def test_what_is_written_is_what_is_read():
    cells = [
        Cell("markdown", "# One\n\ntext\n    code"),
        Cell("magic", "%pip install x"),
        Cell("code", "a = 1\n\n\nb"),
    ]
    text = notebook.text_of(cells)
    assert text.startswith(
        "# Databricks notebook source\n# MAGIC %md\n# MAGIC # One\n# MAGIC\n# MAGIC text\n"
    )
    assert text.count("\n\n# COMMAND ----------\n\n") == 2
    assert notebook.read(text) == cells


def test_lines_that_the_format_keeps_for_itself_are_refused():
    for line in ("# MAGIC %sql", "# COMMAND ----------"):
        with pytest.raises(MedallionError, match="keeps lines that begin with"):
            notebook.text_of([Cell("code", f"a = 1\n{line}", 7)])
    with pytest.raises(MedallionError, match="The first line of a notebook of Databricks"):
        notebook.read("a = 1\n")


# --- The bundle ---


def faults(value, kind, where="job"):
    """Return where a value is not what a class of Databricks' SDK for Python declares.

    The classes themselves take anything: their `from_dict` passes over a field that they do not know.
    """
    arguments = [one for one in typing.get_args(kind) if one is not type(None)]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return faults(value, arguments[0], where)
    if isinstance(value, str) and re.fullmatch(r"\$\{var\.\w+\}", value):
        return []
    if typing.get_origin(kind) is list:
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [f for n, one in enumerate(value) for f in faults(one, arguments[0], f"{where}[{n}]")]
    if typing.get_origin(kind) is dict:
        if not isinstance(value, dict):
            return [f"{where} is no mapping"]
        return [f for name, one in value.items() for f in faults(one, arguments[1], f"{where}.{name}")]
    if dataclasses.is_dataclass(kind):
        return _faults_of_fields(value, kind, where)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [] if value in {one.value for one in kind} else [f"{where} cannot be {value!r}"]
    return [] if type(value) is kind else [f"{where} is no {kind.__name__}"]


def _faults_of_fields(value, kind, where):
    if not isinstance(value, dict):
        return [f"{where} is no mapping"]
    hints = typing.get_type_hints(kind)
    told = [f"{where} has no {name}" for name in value if name not in hints]
    for field in dataclasses.fields(kind):
        needed = field.default is field.default_factory is dataclasses.MISSING
        if field.name in value:
            told += faults(value[field.name], hints[field.name], f"{where}.{field.name}")
        elif needed:
            told.append(f"{where} lacks {field.name}")
    return told


def merged(base, change):
    """Return a mapping with a target's changes in it; job clusters are told apart by their key."""
    if isinstance(base, dict) and isinstance(change, dict):
        return base | {name: merged(base.get(name), one) for name, one in change.items()}
    if isinstance(base, list) and isinstance(change, list):
        by_key = {one["job_cluster_key"]: one for one in base}
        return [merged(by_key[one["job_cluster_key"]], one) for one in change]
    return change


@pytest.fixture(scope="module")
def config(exported):
    return yaml.safe_load((exported / bundle.NAME).read_text(encoding="utf-8"))


def job_of(config, target=None):
    job = config["resources"]["jobs"][bundle.JOB]
    change = config["targets"][target].get("resources", {}) if target else {}
    return merged(job, change.get("jobs", {}).get(bundle.JOB, {}))


@pytest.mark.parametrize("target", [None, "unity", "hive"])
def test_the_job_has_the_fields_of_databricks_own_classes(config, target):
    assert faults(job_of(config, target), JobSettings) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda job: job.update(clusters=[]), "job has no clusters"),
        (lambda job: job["tasks"][0].update(notbook_task={}), "job.tasks[0] has no notbook_task"),
        (lambda job: job["tasks"][0].pop("task_key"), "job.tasks[0] lacks task_key"),
        (lambda job: job["tasks"][1].update(depends_on="00"), "job.tasks[1].depends_on is no list"),
        (
            lambda job: cluster(job).update(num_workers="0"),
            "job.job_clusters[0].new_cluster.num_workers is no int",
        ),
        (lambda job: cluster(job)["spark_conf"].update(a=True), "spark_conf.a is no str"),
        (lambda job: cluster(job).update(data_security_mode="MINE"), "data_security_mode cannot be 'MINE'"),
        (lambda job: job["parameters"][0].pop("default"), "job.parameters[0] lacks default"),
    ],
)
def test_a_job_with_a_mistake_is_told(config, change, told):
    job = copy.deepcopy(job_of(config))
    change(job)
    assert len(wrong := faults(job, JobSettings)) == 1
    assert wrong[0].endswith(told)


def cluster(job):
    return job["job_clusters"][0]["new_cluster"]


def test_the_bundle_has_the_mappings_that_are_documented(config):
    assert set(config) <= MAPPINGS
    assert set(config["bundle"]) == {"name"}
    assert set(config["sync"]) == {"include"}
    without = [name for name, one in config["variables"].items() if set(one) != {"description", "default"}]
    assert without == ["catalog"]  # the CLI asks for it
    assert set(config["variables"]["catalog"]) == {"description"}
    assert all(set(one) <= OF_A_TARGET for one in config["targets"].values())
    assert [name for name, one in config["targets"].items() if one.get("default")] == ["unity"]


def test_every_value_to_be_filled_in_is_declared_and_used(config):
    used = set(re.findall(r"\$\{var\.(\w+)\}", yaml.safe_dump(config)))
    assert used == set(config["variables"])
    assert {name for one in config["targets"].values() for name in one.get("variables", {})} <= used


def test_the_notebooks_ask_for_the_parameters_of_the_job(exported, config):
    given = {one["name"] for one in job_of(config)["parameters"]}
    asked = {name: set(re.findall(r'widgets\.get\("(\w+)"\)', text)) for name, text in texts(exported)}
    assert asked[bundle.PREPARE] == given
    assert all(asked[name] == {"catalog", "schema"} for name in NAMES)


def texts(exported):
    return [(path.stem, path.read_text(encoding="utf-8")) for path in (exported / "notebooks").iterdir()]


def test_the_tasks_stand_in_the_order_of_the_contracts(exported, config):
    tasks = job_of(config)["tasks"]
    assert [task["task_key"] for task in tasks] == NOTEBOOKS
    for before, task in zip([None, *tasks], tasks, strict=False):
        waits_for = [one["task_key"] for one in task.get("depends_on", [])]
        assert waits_for == ([before["task_key"]] if before else [])
        assert (exported / task["notebook_task"]["notebook_path"]).is_file()
        assert task["job_cluster_key"] in {one["job_cluster_key"] for one in job_of(config)["job_clusters"]}
    made = set()
    for task in tasks[1:]:
        number = task["task_key"][:2]
        assert {table for table in contract.read(number).reads if not table.startswith("landing.")} <= made
        made |= set(contract.read(number).makes)


def test_what_is_synced_is_what_was_exported(exported, config):
    """A folder that git ignores is passed over by the sync, so every part is named."""
    patterns = [pattern.removesuffix("/**") for pattern in config["sync"]["include"]]
    own = {bundle.NAME, folder.LIST, "LICENSE", "LICENSE-TEXT"}
    assert {path.name for path in exported.iterdir()} - own == set(patterns)


# --- The packages ---


def imports_of(tree, whole=True):
    """Return the modules that code imports, with their dots; not `whole`, only those at the top."""
    nodes = ast.walk(tree) if whole else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


OURS = ("kestrel", "medallion")


def package_files(exported, modules):
    """Return the files of the packages in the bundle that a plain import of some modules leads to."""
    waiting, seen = list(modules), set()
    while waiting:
        parts = waiting.pop().split(".")
        for length in range(1, len(parts) + 1):
            place = exported.joinpath("src", *parts[:length])
            files = (one for one in (place / "__init__.py", place.with_suffix(".py")) if one.is_file())
            file = next(files, None)
            if file and file not in seen:
                seen.add(file)
                tree = ast.parse(file.read_text(encoding="utf-8"))
                waiting += [name for name in imports_of(tree, whole=False) if name.startswith(OURS)]
    return seen


def test_the_package_in_the_bundle_imports_only_what_is_there(exported):
    """What it needs only on a laptop, it imports in the functions that do: a workspace never meets that."""
    code = [cell.source for one in NOTEBOOKS for cell in cells_of(exported, one) if cell.kind == "code"]
    checks = sorted(exported.glob("book/chapters/*/checks.py"))
    assert {path.parent.name for path in checks} >= set(NAMES)
    code += [path.read_text(encoding="utf-8") for path in checks]
    called = {name for source in code for name in imports_of(ast.parse(source))}
    lazily = {place.replace(":", ".") for place in medallion._WHERE.values()} | {"medallion.files"}
    lazily |= set(kestrel._WHERE.values())
    files = package_files(exported, {name for name in called if name.startswith(OURS)} | lazily)
    assert len(files) > 40
    needed = set()
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        needed |= {name.split(".")[0] for name in imports_of(tree, whole=False)} - set(OURS)
    assert {name for name in needed if not rules.there(name, FOUND)} == set()
    # and nothing is listed or installed that nobody imports
    used = needed | {name.split(".")[0] for name in called}
    assert {name for name in FOUND.common.runtime.modules if name not in used} <= {"packaging"}
    installed = {rules._DISTRIBUTIONS.get(name, name) for name in used}
    assert set(FOUND.common.installs) <= installed


ALONE = """
import sys
from importlib import import_module
import medallion
from medallion.lesson import quiz
for module in sys.argv[2:]:
    import_module(module)
assert medallion.__file__.startswith(sys.argv[1]), medallion.__file__
assert not [name for name in sys.modules if name.split(".")[0] in ("press", "medallion_cli")]
print(*(f"{len(vars(medallion.checks(n)))} {len(quiz.show(n).questions)}" for n in ("01", "08")))
"""


def test_the_package_in_the_bundle_works_without_the_repository(exported):
    """A session, the checks and the quizzes are found beside it; what was not copied is not missed."""
    modules = {place.partition(":")[0] for place in medallion._WHERE.values()}
    modules |= {"kestrel", "medallion.servers.api", "medallion.servers.tracking"}
    run = [sys.executable, "-c", ALONE, str(exported), *sorted(modules)]
    there = os.environ | {"PYTHONPATH": str(exported / "src")}
    told = subprocess.run(run, env=there, cwd=exported, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")
    assert len(told.stdout.split()) == 4


def test_the_requirements_are_exact_and_those_of_the_lock(exported):
    lines = (exported / "requirements.txt").read_text(encoding="utf-8").splitlines()[1:]
    locked = (paths.root() / "requirements.lock").read_text(encoding="utf-8")
    assert [line.split("==")[0] for line in lines] == sorted(FOUND.common.installs)
    for line in lines:
        pin, why = line.split("  # ")
        assert why
        assert re.search(rf"^{re.escape(pin)}( |;|$)", locked, flags=re.MULTILINE)
    assert not {"pyspark", "delta-spark", "medallion"} & set(FOUND.common.installs)  # the runtime's own


def test_a_package_that_is_not_in_the_lock_is_refused():
    common = FOUND.common.model_copy(update={"installs": {"nowhere": "nothing"}})
    found = dataclasses.replace(FOUND, common=common)
    with pytest.raises(MedallionError, match=r"installs nowhere, which requirements\.lock has not"):
        bundle.requirements(found, "rich==1.0 \\\n    --hash=sha256:0\n")


# --- The folder ---


def test_a_second_export_changes_nothing(exported):
    before = content(exported)
    assert export.write(exported) == []
    assert content(exported) == before


def test_an_export_elsewhere_is_the_same(exported, tmp_path, quick):
    export.write(tmp_path / "other")
    assert content(tmp_path / "other") == content(exported)


def test_nothing_of_this_machine_is_in_it(exported):
    for path, held in content(exported).items():
        assert str(paths.root()).encode() not in held, path
    for there in (
        "src/medallion/paths.py",
        "src/kestrel/landing.py",
        "book/chapters/01_data_ingestion_bronze/quiz.yml",
    ):
        assert (exported / there).is_file()
    for left in (
        "src/press",
        "src/medallion/course",
        *(f"src/medallion/servers/{one}" for one in ("cluster.py", "dashboard")),
    ):
        assert not (exported / left).exists()


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    for to in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(
            MedallionError, match=r"holds something that was not exported\. Give another folder"
        ):
            export.write(to)
    assert content(tmp_path) == {Path("mine.txt"): b"mine"}


def test_what_is_not_exported_any_more_goes_and_what_is_not_ours_stays(tmp_path, quick):
    export.write(tmp_path)
    for name in ("notebooks/99_old.py", ".databricks/state"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old", encoding="utf-8")
    outside = tmp_path.parent / "outside.txt"
    outside.write_text("mine", encoding="utf-8")
    with (tmp_path / folder.LIST).open("a", encoding="utf-8") as listed:
        listed.write("notebooks/99_old.py\n../outside.txt\n")
    assert export.write(tmp_path) == [folder.LIST]
    assert not (tmp_path / "notebooks" / "99_old.py").exists()
    assert (tmp_path / ".databricks" / "state").exists() and outside.exists()


def test_the_command_says_where_it_wrote(tmp_path, capsys, quick):
    assert medallion_cli.main(["export", "databricks", "--to", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert re.match(r"Files changed: \d+\.\n", said)
    assert f"in {tmp_path / 'out'}. There: `databricks bundle validate`." in said
    assert medallion_cli.main(["export", "databricks", "--to", str(tmp_path)]) == 1
    assert "holds something that was not exported" in capsys.readouterr().err
    assert export.default() == paths.root() / "_build" / "databricks"
    assert "/_build/" in (paths.root() / ".gitignore").read_text(encoding="utf-8").split()


# --- The page ---


def test_the_page_is_in_step_with_what_is_exported():
    text = (paths.root() / databricks_page.PAGE).read_text(encoding="utf-8")
    assert databricks_page.renewed(text, paths.root()) == text
    for entries in FOUND.chapters.values():
        for one in entries:
            assert one.why in text


def test_the_page_says_plainly_what_nobody_has_run():
    text = " ".join((paths.root() / databricks_page.PAGE).read_text(encoding="utf-8").split())
    assert "We have no workspace, and neither has our CI. Nobody has run these notebooks there yet." in text
    declared = yaml.safe_load(bundle.text(NAMES, FOUND))["variables"]
    assert set(declared) == set(
        re.findall(r"^\| `(\w+)` \|", (paths.root() / databricks_page.PAGE).read_text(), flags=re.M)
    )


@pytest.mark.parametrize("mark", [databricks_page.produced.BEGIN, databricks_page.produced.END])
def test_a_page_without_its_marks_is_told(mark):
    text = (paths.root() / databricks_page.PAGE).read_text(encoding="utf-8")
    with pytest.raises(MedallionError, match=r"databricks\.md:1: the page lacks the line"):
        databricks_page.renewed(text.replace(mark, ""), paths.root())


def test_a_chapter_that_says_nothing_of_databricks_is_told(tmp_path):
    with pytest.raises(MedallionError, match=r"04_sorting/lesson\.py:1: no paragraph begins with"):
        databricks_page.box(chapter(tmp_path, "rows = 1"))
