"""What several test files share: one small lakehouse, one session, the chapters' own cells, the built site.

Nothing here is in force for a test that does not ask for it.
"""

import ast
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

import kestrel
import medallion
from medallion import contract, paths
from press.site import build as site_build
from press.source.chapter import parse

SCALE = 0.05
# For a process that a test starts, which imports this file and the test's own
TESTS = str(Path(__file__).parent)
BOOK = ("_config.yml", "_toc.yml", "book", "notebooks", "exercises", "datasets")
# Expressions are interpreted: for a few rows, a third less CPU than compiling each query. And a plan
# does not change while it runs, which would make a job of each shuffle: a MERGE has half the jobs.
INTERPRETED = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}
# A test that a learner's own surroundings could change would be no test.
_FOREIGN = ("MEDALLION_MASTER", "SPARK_REMOTE", "DATABRICKS_RUNTIME_VERSION", "SPARK_HOME", "SPARK_CONF_DIR")

SAMPLE = """\
# ---
# jupyter:
#   medallion:
#     makes:
#       silver.orders: [bronze.orders, bronze.products]
#       silver.order_lines: [silver.orders]
# ---
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what looks at the built site run late, in the lane with less to do, where it is built once."""
    for item in items:
        if "site" in getattr(item, "fixturenames", ()):
            item.add_marker("late")


@pytest.fixture(scope="session")
def lakehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lakehouse folder with the source files, and no table yet."""
    folder = tmp_path_factory.mktemp("lakehouse")
    kestrel.generate(folder / "landing", scale=SCALE)
    return folder


@pytest.fixture(scope="module")
def home(lakehouse: Path) -> Iterator[Path]:
    """The shared lakehouse, in force as MEDALLION_HOME until the end of the module."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _FOREIGN:
            patch.delenv(name, raising=False)
        patch.setenv("MEDALLION_HOME", str(lakehouse))
        patch.setenv("MEDALLION_PROGRESS", "off")
        yield lakehouse


@pytest.fixture(scope="module")
def spark(home: Path) -> Iterator[SparkSession]:
    """The session of the pytest process. Starting it sets the clock to UTC; that ends with the module."""
    zone = os.environ.get("TZ")
    yield medallion.start()
    if zone is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = zone
    time.tzset()


@pytest.fixture(scope="module")
def interpreted(spark: SparkSession) -> Iterator[None]:
    """Expressions are interpreted, and plans stay as they were made (`INTERPRETED`).

    The notebooks are replayed with the code that is compiled, and with plans that change. Spark 4.2 cannot
    read its own catalog without that code (`listTables` fails to decode a row), so it is for modules that do
    without.
    """
    for name, value in INTERPRETED.items():
        spark.conf.set(name, value)
    yield
    for name in INTERPRETED:
        spark.conf.unset(name)


def _bound(source: str) -> set[str]:
    """Return the names that a cell's functions, classes and assignments bind."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _only_imports(source: str) -> bool:
    """Return whether a cell does nothing but import: what other cells define may need it."""
    return all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(source).body)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from stored outputs, of a copy of the book in a folder with a space and an accent."""
    root = tmp_path_factory.mktemp("Büch 1")
    for name in BOOK:
        source = paths.root() / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, root / name)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MEDALLION_SITE_URL", "MEDALLION_SOURCE_URL"):  # a workflow sets them
            patch.delenv(name, raising=False)
        return site_build.build(root)


@pytest.fixture
def no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an exercise says in the test is not counted as a learner's progress."""
    monkeypatch.setenv("MEDALLION_PROGRESS", "off")


@pytest.fixture(scope="session")
def run_cells() -> Callable[..., dict[str, Any]]:
    """A function that runs cells of a chapter, and returns their names.

    It runs those that have one of the roles, those that bind one of the names in `defining`, and imports.
    They find the names that are `given`, in the place of a cell that is not run.
    """

    return run_chapter


def run_chapter(number: str, *roles: str, defining: Collection[str] = (), **given: Any) -> dict[str, Any]:
    """See `run_cells`. A process that a test starts has no fixtures, and calls this."""
    chapter = parse(contract.find(number))
    names: dict[str, Any] = {"__name__": "chapter", **given}
    for cell in chapter.cells:
        if cell.kind != "code":
            continue
        if cell.role in roles or _bound(cell.source) & set(defining) or _only_imports(cell.source):
            exec(compile(cell.source, f"{chapter.where}:{cell.line}", "exec"), names)
    return names


@pytest.fixture
def launch(home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that starts a Python program in a process group of its own; what still runs is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, **environment: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        if child.poll() is None:
            os.killpg(child.pid, 9)
        child.communicate()


@pytest.fixture
def chapter_02(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The book's chapters 00 and 01 with a chapter 02 that reads Bronze and makes two tables."""
    folder = tmp_path / "chapters"
    for number in ("00", "01"):
        source = contract.find(number)
        (folder / source.parent.name).mkdir(parents=True)
        (folder / source.parent.name / source.name).write_bytes(source.read_bytes())
    (folder / "02_sample").mkdir()
    (folder / "02_sample" / "lesson.py").write_text(SAMPLE, encoding="utf-8")
    monkeypatch.setattr(contract, "folder", lambda: folder)
    contract.chapters.cache_clear()
    yield
    contract.chapters.cache_clear()


@pytest.fixture
def write_quiz(tmp_path: Path) -> Callable[[Any], Path]:
    """A function that writes questions, or any text, as the quiz of a chapter 98, and returns its path."""

    def written(held: Any) -> Path:
        path = tmp_path / "98_sample" / "quiz.yml"
        path.parent.mkdir(exist_ok=True)
        text = held if isinstance(held, str) else yaml.safe_dump(held, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        return path

    return written
