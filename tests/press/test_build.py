"""The producer: products of a sample chapter, and for each rule a chapter that breaks it."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from medallion import contract, paths
from medallion.course.execute import CellFailed, execute
from medallion.errors import MedallionError
from press.notebooks import drawn, producer
from press.notebooks.numbers import quoted, unsupported
from press.notebooks.outputs import faults
from press.source import pages, rules
from press.source.chapter import Problem, parse
from press.source.names import names
from press.source.starter import StarterError, starter, worked
from press.trial import replay

HEADER = """\
# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec: {display_name: Python 3, name: python3}
#   medallion:
#     makes:
#       silver.orders: [bronze.orders]
#       silver.order_lines: [silver.orders]
#     grain:
#       silver.orders: one order
#       silver.order_lines: one line of an order
#     minutes: {read: 5, practise: 10}
#     objectives:
#       - double a number
#     summary: numbers
#     outline: Numbers, doubled.
# ---
"""

BODY = '''
# %% [markdown]
# # Doubling, für Anfänger
#
# We double numbers.

# %% tags=["setup"]
import checks as check

numbers = list(range(1, 40 + 1))

# %% [markdown]
# How large is the sum of the first 40 numbers?

# %% tags=["predict"]
sum(numbers)

# %% [markdown]
# It is 820, on 1 July 2025 too. See Exercise 98.1.

# %% [markdown] tags=["exercise"]
# ### Exercise 98.1: twice
#
# Write `double`, which returns its argument twice.

# %% tags=["solution"]
def double(x):
    """Return x twice."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% tags=["check"]
check.double(double)

# %% [markdown] tags=["exercise"]
# ### Exercise 98.2: the last
#
# Bind the last number to `last`.

# %% tags=["solution"]
### BEGIN SOLUTION
last = numbers[-1]
### END SOLUTION

# %% tags=["check"]
check.last(last)
'''

CHECKS = """
from medallion.lesson.checks import Exercise

class Double(Exercise):
    number = "98.1"
    title = "twice"
    hints = ("Try 2.", "Multiply.", "return 2 * x")

    def check(self, double):
        got = double(21)
        return self.right("Twice it is.") if got == 42 else self.wrong(f"21 becomes {got}, not 42.")

class Last(Exercise):
    number = "98.2"
    title = "the last"
    hints = ("Count from the end.", "Use an index.", "numbers[-1]")

    def check(self, last):
        return self.right("It is the last.") if last == 40 else self.wrong(f"{last} is not the last.")

class TwoHints(Double):
    hints = ("one", "two")

double = Double()
last = Last()
two_hints = TwoHints()
"""


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """Return a function that writes a chapter, its text changed by pairs of old and new, and its path."""

    def write(*changes, name="98_sample"):
        text = HEADER + BODY
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "chapters" / name / "lesson.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name("checks.py").write_text(CHECKS, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(path.parent))
        path.write_text(text, encoding="utf-8", newline="\n")
        return path

    return write


def line_of(path, text):
    return next(n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if text in line)


def make(path, tmp_path, **how):
    return producer.build(["98"], sources=path.parents[1], target=tmp_path, **how)


def refused(path, tmp_path, **how):
    """Return the message that refuses to build the chapter."""
    with pytest.raises(MedallionError) as error:
        make(path, tmp_path, **how)
    return str(error.value)


def sources(notebook):
    return [cell.source for cell in notebook.cells]


# What a chapter declares


def test_a_chapter_also_needs_what_it_reads_and_makes_no_table_of(sample):
    path = sample()
    header = "#     reads: [ml.scores, silver.orders]\n#     makes:\n"
    path.write_text(path.read_text(encoding="utf-8").replace("#     makes:\n", header), encoding="utf-8")
    assert parse(path).needs == ("bronze.orders", "ml.scores")  # what it makes itself it does not need


def test_a_chapter_knows_its_contract_and_its_lines(sample):
    path = sample()
    chapter = parse(path)
    assert (chapter.number, chapter.name, chapter.title) == ("98", "98_sample", "Doubling, für Anfänger")
    assert chapter.makes == {"silver.orders": ["bronze.orders"], "silver.order_lines": ["silver.orders"]}
    assert chapter.needs == ("bronze.orders",)
    assert (chapter.said.minutes.read, chapter.said.minutes.practise) == (5, 10)
    text = path.read_text(encoding="utf-8").splitlines()
    for cell in chapter.cells:
        first = text[cell.line - 1].removeprefix("# ") if cell.kind == "markdown" else text[cell.line - 1]
        assert first == cell.source.split("\n")[0]


def test_line_ends_of_windows_change_neither_the_hash_nor_the_cells(sample):
    path = sample()
    before = parse(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert parse(path) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("#     makes:\n", "#     mades:\n", ":1: the header lacks 'makes'"),
        (
            "#     makes:\n",
            "#     leaves: [bronze]\n#     makes:\n",
            ":1: 'leaves' lists folders of the lakehouse",
        ),
        (
            "#     makes:\n",
            "#     leave: [mlflow]\n#     makes:\n",
            ":1: in the header, 'leave': this is not known. Take it away, or correct its name. "
            "The parts of a header are makes, reads, leaves, grain, minutes, objectives, summary, outline; "
            "for example grain: {silver.orders: one order}, minutes: {read: 25, practise: 35},",
        ),
        (
            "#     makes:\n",
            "#     reads: ml.scores\n#     makes:\n",
            ":1: 'reads' lists tables that the chapter needs",
        ),
        (
            "#       silver.orders: [bronze.orders]",
            "#       silver.orders: bronze.orders",
            ":1: the header lacks 'makes'",
        ),
        (
            "#       silver.orders: one order\n",
            "",
            ":1: in the header, 'grain' does not say what one row of silver.orders is. Add it.",
        ),
        (
            ": one order\n",
            ": One order.\n",
            ":1: in the header, 'grain', 'silver.orders': this is to finish the sentence",
        ),
        (
            "#       silver.orders: one order\n",
            "#       silver.orders: one order\n#       gold.days: one day\n",
            ":1: in the header, 'grain' has gold.days, which this chapter does not make",
        ),
        (
            "#     grain:\n#       silver.orders: one order\n",
            "#     grain: [",
            ":1: jupytext cannot read this file",
        ),
        (
            "{read: 5, practise: 10}",
            "{read: 5}",
            ":1: in the header, 'minutes', 'practise': this is missing. Add",
        ),
        (
            "{read: 5, practise: 10}",
            "{read: 5, practise: ten}",
            ":1: in the header, 'minutes', 'practise': 'ten' will not do (Input should be a valid integer).",
        ),
        (": one order\n", ": 1\n", ":1: in the header, 'grain', 'silver.orders': 1 is not a text. Write one"),
        ("#       - double a number\n", "", ":1: in the header, 'objectives': None will not do"),
        (
            "#   medallion:\n",
            "#   other:\n",
            ":1: the header must be YAML with a block 'medallion' under 'jupyter' ('medallion').",
        ),
        ("# # Doubling", "# Doubling", ":23: a chapter begins with a markdown cell '# Title'. Add it."),
        (
            "\n# %% [markdown]\n# # D",
            "\nnumber = 1\n\n# %% [markdown]\n# # D",
            ":21: 11 lines begin with '# %%'",
        ),
    ],
)
def test_a_header_that_is_not_complete_is_refused(sample, old, new, message):
    path = sample((old, new))
    with pytest.raises(MedallionError) as error:
        parse(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_a_file_that_is_not_utf_8_names_the_line(sample):
    path = sample()
    path.write_bytes(path.read_bytes().replace("ü".encode(), b"\xfc"))
    with pytest.raises(MedallionError, match=r":23: this is not UTF-8\. Save the file as UTF-8\."):
        parse(path)


def test_a_file_with_another_name_is_no_chapter(sample):
    with pytest.raises(MedallionError, match=r":1: a chapter's folder is named NN_name\. Rename it\."):
        parse(sample(name="sample.py"))


# Starters


@pytest.mark.parametrize(
    ("source", "blank"),
    [
        ("### BEGIN SOLUTION\na = 1\n### END SOLUTION", "a = ..."),
        (
            "### BEGIN SOLUTION\na, (b, *c) = 1, (2, 3)\nd: int = 4\n### END SOLUTION",
            "a = ...\nb = ...\nc = ...\nd = ...",
        ),
        ("### BEGIN SOLUTION\nfrom x import y\na = [z for z in y]\n### END SOLUTION\na", "a = ...\na"),
        ("### BEGIN SOLUTION\nspark.sql('x')\n### END SOLUTION", "..."),
        ("### BEGIN SOLUTION\ndef f(x):\n    y = 1\n    return y\n### END SOLUTION", "f = ..."),
        (
            "def f(x):\n    ### BEGIN SOLUTION\n    y = x\n    return y\n    ### END SOLUTION",
            "def f(x):\n    ...",
        ),
        (
            "def f(x):\n    ### BEGIN SOLUTION\n    y = x\n    z = y\n    ### END SOLUTION\n    return z",
            "def f(x):\n    z = ...\n    return z",
        ),
        ("a = (\n    df\n    ### BEGIN SOLUTION\n    .count()\n    ### END SOLUTION\n)", None),
        (
            "a = spark.sql(\n    ### BEGIN SOLUTION\n    'SELECT 1'\n    ### END SOLUTION\n)",
            "a = spark.sql(\n    ...\n)",
        ),
    ],
)
def test_a_blank_keeps_every_name_bound(source, blank):
    if blank is None:
        with pytest.raises(StarterError, match="with the blank in place this cell is not Python"):
            starter(source)
    else:
        assert starter(source) == blank


def test_a_worked_solution_knows_the_lines_it_came_from():
    assert worked("a = 1\n### BEGIN SOLUTION\nb = 2\n### END SOLUTION\nc") == ("a = 1\nb = 2\nc", [1, 3, 5])


# The products


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the sample chapter once, in a folder with a space and an accent."""
    home = tmp_path_factory.mktemp("Kurs für Anfänger")
    folder = home / "chapters" / "98_sample"
    folder.mkdir(parents=True)
    (folder / "checks.py").write_text(CHECKS, encoding="utf-8")
    (folder / "lesson.py").write_text(HEADER + BODY, encoding="utf-8", newline="\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        order = []
        changed = producer.build(sources=home / "chapters", target=home, before=order.append)
        yield home, changed, order


def product(built, folder):
    return nbformat.read(built[0] / folder / "98_sample.ipynb", as_version=4)


def test_a_build_begins_from_the_state_before_the_chapter(built):
    assert built[1] == [f"{folder}/98_sample.ipynb" for folder in pages.FOLDERS]
    assert built[2] == ["98"]


def test_the_notebook_shows_the_starter_and_folds_the_solution(built):
    notebook = product(built, "notebooks")
    assert sources(notebook) == [
        "# Doubling, für Anfänger",
        "After this chapter we can\n\n- double a number\n\n| | |\n|---|---|\n"
        "| Time | 5 minutes to read, 10 minutes to practise |\n"
        "| Needs | `bronze.orders` |\n| Makes | `silver.orders`, `silver.order_lines` |",
        "We double numbers.",
        "import checks as check\n\nnumbers = list(range(1, 40 + 1))",
        "How large is the sum of the first 40 numbers?",
        "sum(numbers)",
        "It is 820, on 1 July 2025 too. See Exercise 98.1.",
        "### Exercise 98.1: twice\n\nWrite `double`, which returns its argument twice.",
        '```python\ndef double(x):\n    """Return x twice."""\n    ...\n```',
        'def double(x):\n    """Return x twice."""\n    return 2 * x',
        "check.double(double)",
        "### Exercise 98.2: the last\n\nBind the last number to `last`.",
        "```python\nlast = ...\n```",
        "last = numbers[-1]",
        "check.last(last)",
    ]
    assert notebook.cells[5].metadata == {
        "jupyter": {"outputs_hidden": True},
        "tags": ["predict", "hide-output"],
    }
    assert notebook.cells[9].metadata == {
        "jupyter": {"source_hidden": True},
        "tags": ["solution", "hide-cell"],
    }
    assert notebook.cells[5].outputs[0].data["text/plain"] == "820"
    assert notebook.cells[10].outputs[0].data["text/plain"] == "✓ Exercise 98.1. Twice it is."
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5, 6]


def test_the_exercises_are_an_excerpt_with_blanks_and_the_solutions_the_same_worked(built):
    blank, solved = product(built, "exercises"), product(built, "solutions")
    assert sources(blank)[1:] == [
        "import checks as check\n\nnumbers = list(range(1, 40 + 1))",
        "### Exercise 98.1: twice\n\nWrite `double`, which returns its argument twice.",
        'def double(x):\n    """Return x twice."""\n    ...',
        "check.double(double)",
        "### Exercise 98.2: the last\n\nBind the last number to `last`.",
        "last = ...",
        "check.last(last)",
    ]
    assert sources(solved)[3] == 'def double(x):\n    """Return x twice."""\n    return 2 * x'
    assert sources(solved)[6] == "last = numbers[-1]"
    assert [sources(solved)[n] for n in (1, 2, 4, 5, 7)] == [sources(blank)[n] for n in (1, 2, 4, 5, 7)]
    assert sources(blank)[0].startswith("# Doubling, für Anfänger: exercises\n")
    assert "About 10 minutes" in sources(blank)[0]
    assert "- double a number" in sources(blank)[0]
    assert not any(cell.get("outputs") for cell in [*blank.cells, *solved.cells])


def test_products_hold_nothing_of_the_machine_that_made_them(built):
    for folder in pages.FOLDERS:
        path = built[0] / folder / "98_sample.ipynb"
        raw = path.read_bytes()
        text = raw.decode("utf-8")
        assert text.endswith("}\n")
        assert b"\r" not in raw
        assert "für" in text
        assert "\\u00" not in text
        assert str(built[0]) not in text
        held = json.loads(text)
        assert "version" not in held["metadata"]["language_info"]
        assert held["nbformat_minor"] == 5
        assert all("execution" not in cell["metadata"] for cell in held["cells"])
        ids = [pages.cell_id(f"{folder}/98_sample.ipynb", n) for n in range(len(held["cells"]))]
        assert [cell["id"] for cell in held["cells"]] == ids


def test_a_rebuild_changes_no_byte_and_touches_no_file(built):
    products = [built[0] / folder / "98_sample.ipynb" for folder in pages.FOLDERS]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in products]
    assert producer.build(["98"], sources=built[0] / "chapters", target=built[0]) == []
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in products] == before


def test_check_is_silent_when_all_is_current(built):
    began = time.process_time()  # of the clock, whatever else is busy takes its share
    assert producer.build(check=True, sources=built[0] / "chapters", target=built[0]) == []
    assert time.process_time() - began < 5


@pytest.fixture
def copy(built, tmp_path):
    """Return a copy of the built sample that a test may spoil."""
    for folder in ("chapters", *pages.FOLDERS):
        shutil.copytree(built[0] / folder, tmp_path / folder)
    return tmp_path


def outdated(home):
    with pytest.raises(MedallionError) as error:
        producer.build(check=True, sources=home / "chapters", target=home)
    return str(error.value).splitlines()


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8", newline="\n")


def test_check_names_what_the_source_has_left_behind(copy):
    chapter = copy / "chapters" / "98_sample" / "lesson.py"
    change(chapter, "# We double numbers.", "# We double many numbers.")
    state = "is out of date. Run './medallion build 98'."
    assert outdated(copy) == [f"{chapter}:1: notebooks/98_sample.ipynb {state}"]
    change(chapter, "last = numbers[-1]", "last = max(numbers)")
    assert outdated(copy) == [
        f"{chapter}:1: {folder}/98_sample.ipynb {state}" for folder in ("solutions", "notebooks")
    ]


def outputs_in(notebook):
    cells = nbformat.read(notebook, as_version=4).cells
    return [(cell.execution_count, cell.outputs) for cell in cells if cell.cell_type == "code"]


def test_an_edit_of_the_prose_keeps_the_outputs_and_runs_nothing(copy, monkeypatch):
    notebook = copy / "notebooks" / "98_sample.ipynb"
    before = outputs_in(notebook)
    change(copy / "chapters" / "98_sample" / "lesson.py", "# We double numbers.", "# We double each number.")
    monkeypatch.setattr(producer, "execute", None)
    changed = producer.build(prose=True, sources=copy / "chapters", target=copy)
    assert changed == ["notebooks/98_sample.ipynb"]
    assert outputs_in(notebook) == before
    assert "We double each number." in notebook.read_text(encoding="utf-8")
    assert producer.build(check=True, sources=copy / "chapters", target=copy) == []


def test_a_quiz_that_is_not_the_one_shown_is_told_and_shown_anew(tmp_path):
    name = contract.lessons()["00"].parent.name
    for folder in pages.FOLDERS:
        (tmp_path / folder).mkdir()
        shutil.copy(paths.root() / folder / f"{name}.ipynb", tmp_path / folder)
    shown = tmp_path / "notebooks" / f"{name}.ipynb"
    right = shown.read_bytes()
    change(shown, "<legend><strong>1.</strong> ", "<legend><strong>1.</strong> Once asked: ")
    with pytest.raises(MedallionError, match=r"quiz\.yml has changed .* '\./medallion build --prose 00'"):
        producer.build(["00"], check=True, target=tmp_path)
    assert producer.build(["00"], prose=True, target=tmp_path) == [f"notebooks/{name}.ipynb"]
    assert shown.read_bytes() == right


@pytest.mark.parametrize("new", ["sum(numbers) + 0", "2\n\n# %%\nsum(numbers)"])
def test_an_edit_of_the_code_cannot_keep_the_outputs(copy, new):
    chapter = copy / "chapters" / "98_sample" / "lesson.py"
    notebook = copy / "notebooks" / "98_sample.ipynb"
    before = notebook.read_bytes()
    line = line_of(chapter, "sum(numbers)")
    change(chapter, "sum(numbers)", new)
    with pytest.raises(MedallionError) as refused:
        producer.build(prose=True, sources=copy / "chapters", target=copy)
    told = "the code is not that of the stored outputs. Run './medallion build 98'."
    assert str(refused.value) == f"{chapter}:{line}: {told}"
    assert notebook.read_bytes() == before


@pytest.mark.parametrize("folder", pages.FOLDERS)
def test_check_sees_a_product_that_was_edited_or_is_missing(copy, folder):
    path = copy / folder / "98_sample.ipynb"
    change(path, "range(1, 40 + 1)", "range(1, 42)")
    assert outdated(copy) == [
        f"{copy}/chapters/98_sample/lesson.py:1: {folder}/98_sample.ipynb is out of date. Run './medallion "
        f"build 98'."
    ]
    path.unlink()
    assert outdated(copy) == [
        f"{copy}/chapters/98_sample/lesson.py:1: {folder}/98_sample.ipynb is missing. "
        "Run './medallion build 98'."
    ]


def test_check_sees_a_torn_notebook_and_one_without_a_chapter(copy):
    path = copy / "notebooks" / "98_sample.ipynb"
    path.write_bytes(path.read_bytes()[:500])
    (copy / "exercises" / "97_gone.ipynb").write_text("{}", encoding="utf-8")
    assert outdated(copy) == [
        f"{copy}/chapters/98_sample/lesson.py:1: notebooks/98_sample.ipynb is out of date. Run './medallion "
        f"build 98'.",
        "exercises/97_gone.ipynb:1: no chapter makes this notebook. Delete it.",
    ]


def test_check_sees_an_output_that_was_edited(copy):
    change(copy / "notebooks" / "98_sample.ipynb", '"820"', '"821"')
    chapter = copy / "chapters" / "98_sample" / "lesson.py"
    line = line_of(chapter, "It is 820")
    why = "is in no output and no code of this chapter. Correct it, or name it in given=[...]."
    assert outdated(copy) == [f"{chapter}:{line}: the number 820 {why}"]


def test_a_new_form_of_the_products_asks_for_a_rebuild(copy, monkeypatch):
    monkeypatch.setattr(pages, "PRODUCER", pages.PRODUCER + 1)
    assert len(outdated(copy)) == 3


def test_a_chapter_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(MedallionError, match=r"There is no chapter 07\. The chapters are none yet\."):
        producer.build(["7"], sources=tmp_path)


# Rules for the source. In each case `at` is a text on the line that the message must name.

RULES = {
    "tag": (('# %% tags=["predict"]', '# %% tags=["guess"]'), "sum(numbers)", "there is no tag 'guess'."),
    "two roles": (
        ('tags=["predict"]', 'tags=["predict", "setup"]'),
        "sum(numbers)",
        "this cell is both predict and setup. Leave one tag.",
    ),
    "text as code": (
        ("# %% [markdown]\n# It is", '# %% [markdown] tags=["check"]\n# It is'),
        "# It is 820",
        "text cannot be 'check'. Take the tag away.",
    ),
    "nbval comment": (
        ("sum(numbers)", "# NBVAL_SKIP\nsum(numbers)"),
        "NBVAL_SKIP",
        "a comment steers nbval. Use the tag 'nbval-ignore-output'.",
    ),
    "magic": (
        ("sum(numbers)", "total = 1\n# %time sum(numbers)"),
        "%time",
        "a chapter uses no magic ('time'). Use Python.",
    ),
    "cell magic": (
        ("sum(numbers)", "# %%sql\n# SELECT 1"),
        "%%sql",
        "a chapter uses no magic ('sql'). Use Python.",
    ),
    "shell": (
        ("sum(numbers)", "total = 1\n# !ls"),
        "!ls",
        "a chapter runs no shell command ('!'). Use Python.",
    ),
    "shell assigned": (
        ("sum(numbers)", "total = get_ipython().getoutput('ls')"),
        "total = get",
        "a chapter runs no shell command ('!'). Use Python.",
    ),
    "help": (
        ("sum(numbers)", "get_ipython().run_line_magic('pinfo', 'sum')"),
        "pinfo",
        "a chapter uses no magic ('pinfo'). Use Python.",
    ),
    "no Python": (
        ("sum(numbers)", "total = 1\nsum numbers"),
        "sum numbers",
        "this is not Python (invalid syntax). Fix the cell.",
    ),
    "long cell": (
        ("sum(numbers)", "a = 1\n" * 16 + "sum(numbers)"),
        "a = 1",
        "this cell has 17 lines; the most is 15. Split it, or move code away.",
    ),
    "wall of code": (
        ("sum(numbers)", "sum(numbers)\n" + 3 * ("\n# %%\n" + 14 * "a = 1\n")),
        "sum(numbers)",
        "43 lines of code follow here without a sentence; the most is 40. Say in between what the next cell "
        "does.",
    ),
    "long line": (
        ("sum(numbers)", "sum(numbers)  # " + 80 * "x"),
        "sum(numbers)",
        "this line has 96 characters; the most is 88. Break it.",
    ),
    "no markers": (
        ("    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION\n", "    return 2 * x\n"),
        "def double",
        "a solution marks the learner's part with '### BEGIN SOLUTION' and '### END SOLUTION'. Add them.",
    ),
    "no end": (
        ("    return 2 * x\n    ### END SOLUTION\n", "    return 2 * x\n"),
        "    ### BEGIN",
        "'### BEGIN SOLUTION' has no '### END SOLUTION' after it. Add it.",
    ),
    "no begin": (
        ("    ### BEGIN SOLUTION\n    return 2 * x\n", "    return 2 * x\n"),
        "    ### END",
        "'### END SOLUTION' has no '### BEGIN SOLUTION' before it. Add it.",
    ),
    "stray marker": (
        ("sum(numbers)", "### BEGIN SOLUTION\nsum(numbers)"),
        "### BEGIN SOLUTION",
        "'### BEGIN SOLUTION' belongs in a cell tagged solution. Tag it.",
    ),
    "no solution": (
        ('# %% tags=["solution"]\n### BEGIN SOLUTION\nlast = numbers[-1]\n### END SOLUTION\n\n', ""),
        "Exercise 98.2",
        "this exercise lacks its solution. Put it in the next cell.",
    ),
    "no check": (
        ('# %% tags=["check"]\ncheck.double(double)\n\n', ""),
        "def double",
        "this exercise lacks its check. Put it in the next cell.",
    ),
    "no heading": (
        ("# ### Exercise 98.2: the last\n#\n", ""),
        "# Bind the last",
        "an exercise begins with '### Exercise N.M: title'. Add it.",
    ),
    "numbering": (
        ("# ### Exercise 98.2:", "# ### Exercise 98.3:"),
        "Exercise 98.3",
        "exercise 98.3 stands where 98.2 is due. Renumber it.",
    ),
    "no such check": (
        ("check.double(double)", "check.triple(double)"),
        "check.triple",
        "there is no check 'triple' in checks.py. Write it there.",
    ),
    "no exercise": (
        ("check.double(double)", "check.Exercise(double)"),
        "check.Exercise",
        "Exercise is not an Exercise. Make it an object of such a class.",
    ),
    "other number": (
        ("check.double(double)", "check.last(double)"),
        "check.last(double)",
        "last is for exercise 98.2, not 98.1. Renumber it.",
    ),
    "two hints": (
        ("check.double(double)", "check.two_hints(double)"),
        "check.two_hints",
        "two_hints lacks its three hints. Write them, from weak to strong.",
    ),
    "no call": (
        ("check.double(double)", "double(2)"),
        "double(2)",
        "a check cell calls one check: 'check.name(answer)'. Write it.",
    ),
    "answer used": (
        ("check.last(last)\n", 'check.last(last)\n\n# %% tags=["setup"]\nhalf = 1\nhalf + last\n'),
        "half + last",
        "this uses 'last', the answer of exercise 98.2. Make it anew in a cell outside of the exercises.",
    ),
    "answer used by the next": (
        ("last = numbers[-1]", "last = double(20)"),
        "last = double",
        "this uses 'double', the answer of exercise 98.1. Make it anew in a cell outside of the exercises.",
    ),
    "left out": (
        ('tags=["predict"]', 'tags=["predict", "nbval-ignore-output"]'),
        "sum(numbers)",
        "1 of 6 cells are left out of the comparison; one in twenty may be, here 0. Show something "
        "that stays the same.",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_rule_names_its_line(sample, tmp_path, rule):
    swap, at, message = RULES[rule]
    path = sample(swap)
    first = refused(path, tmp_path).splitlines()[0]
    assert first.startswith(f"{path}:{line_of(path, at)}: {message}")
    assert not (tmp_path / "notebooks").exists()


def test_a_cell_that_the_exercises_leave_out_may_use_an_answer(sample):
    path = sample(("check.last(last)\n", "check.last(last)\n\n# %%\nlast\n"))
    assert rules.problems(parse(path)) == []


def test_the_exercises_must_not_lean_on_what_is_left_out_of_them(sample, tmp_path):
    path = sample(("sum(numbers)", "end = -1"), ("last = numbers[-1]", "last = numbers[end]"))
    assert refused(path, tmp_path) == (
        f"{path}:{line_of(path, 'numbers[end]')}: the exercises notebook has no 'end': line "
        f"{line_of(path, 'end = -1')} binds it in a cell that is left out there. Tag that cell setup."
    )


def test_an_answer_made_anew_may_be_used(sample):
    path = sample(("check.last(last)\n", "check.last(last)\n\n# %%\nlast = max(numbers)\n\n# %%\nlast + 1\n"))
    assert rules.problems(parse(path)) == []


def test_a_sentence_between_cells_ends_a_run_of_code(sample):
    cells = 3 * ("\n# %%\n" + 14 * "a = 1\n")
    path = sample(("sum(numbers)", "sum(numbers)\n" + "\n# %% [markdown]\n# Ones.\n" + cells))
    assert [problem.text for problem in rules.problems(parse(path))] == [
        "42 lines of code follow here without a sentence; the most is 40. Say in between what the next cell "
        "does."
    ]
    between = cells.replace("\n# %%\n", "\n# %% [markdown]\n# More ones.\n\n# %%\n")
    assert rules.problems(parse(sample(("sum(numbers)", "sum(numbers)\n" + between)))) == []


def test_the_sample_breaks_no_rule(sample):
    assert rules.problems(parse(sample())) == []


def test_names_are_read_where_functions_are_defined_and_bound_in_order():
    found = names(
        "import a.b as c\nfor i in d:\n    e = i + e\ndef f(x, y=g):\n    return f(x) + h + c\nk += 1\nm = m"
    )
    assert found.reads == {"d": 2, "g": 4, "h": 5, "k": 6, "m": 7}
    assert found.binds == {"c", "i", "e", "f", "k", "m"}


# Running


def test_a_cell_that_fails_is_named_by_its_line(sample, tmp_path):
    path = sample(("sum(numbers)", "total = 1\n\nraise ValueError('no\\nmore')"))
    assert refused(path, tmp_path) == (
        f"{path}:{line_of(path, 'raise ValueError')}: this cell fails: ValueError: no. Fix it."
    )
    assert not list((tmp_path / "notebooks").iterdir())


def test_a_failing_line_below_a_marker_is_counted_in_the_chapter(sample, tmp_path):
    path = sample(("last = numbers[-1]", "last = numbers[99]"))
    message = (
        f"{path}:{line_of(path, 'last = numbers[99]')}: this cell fails: IndexError: list index out of range."
    )
    assert refused(path, tmp_path) == f"{message} Fix it."


def notebook_of(*cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def test_execute_normalises_what_differs_from_run_to_run(tmp_path, monkeypatch):
    """Also where a socket among the temporary files would have too long a path."""
    (long := tmp_path / ("x" * 90)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    notebook = notebook_of("print(1)\nprint(2)", "1 / 0", "import os; os.getcwd(), os.environ['COLOUR']")
    notebook.cells[1].metadata.tags = ["raises-exception"]
    seen = []
    done = execute(notebook, tmp_path, lambda *at: seen.append(at), {"COLOUR": "grün"})
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert done.cells[0].outputs == [{"output_type": "stream", "name": "stdout", "text": "1\n2\n"}]
    assert done.cells[1].outputs[0].traceback == ["ZeroDivisionError: division by zero"]
    assert done.cells[2].outputs[0].data["text/plain"] == repr((str(tmp_path), "grün"))
    assert not notebook.cells[0].outputs


def test_a_cell_that_takes_too_long_and_a_kernel_that_dies_are_told(tmp_path):
    with pytest.raises(CellFailed, match="cell 0, line 1: it was still running after 1 seconds"):
        execute(notebook_of("import time; time.sleep(60)"), tmp_path, seconds=1)
    with pytest.raises(CellFailed, match="cell 1, line 1: the kernel died while it ran"):
        execute(notebook_of("1", "import os; os._exit(1)"), tmp_path)


def test_ctrl_c_stops_the_kernel_and_what_it_started(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import nbformat
            from pathlib import Path
            from medallion.course import execute
            code = '''
            import os, subprocess, time
            from pathlib import Path
            child = subprocess.Popen(["sleep", "300"], start_new_session=True)
            Path("pids.new").write_text(f"{{os.getpid()}} {{child.pid}}")
            Path("pids.new").rename("pids")
            time.sleep(300)
            '''
            cell = nbformat.v4.new_code_cell(code)
            execute.execute(nbformat.v4.new_notebook(cells=[cell]), Path({str(tmp_path)!r}))
            """
        ),
        encoding="utf-8",
    )
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while not (tmp_path / "pids").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    assert not any(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids
    )


# Outputs


def output_faults(code, tags=()):
    """Return what the rules say about outputs like those of a cell that shows `code`."""
    cell = nbformat.v4.new_code_cell("x", outputs=[code], metadata={"tags": list(tags)})
    return [text for _, text in faults(nbformat.v4.new_notebook(cells=[cell]))]


def stream(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("at /home/anna/lakehouse/bronze", "the output holds the path '/home/anna'."),
        ("file:/data/bronze", "the output holds the path 'file:/d'."),
        (f"in {Path(sys.prefix)}/lib", f"the output holds the path '{Path(sys.prefix)}'."),
        ("http://127.0.0.1:4040/jobs", "the output holds the port '127.0.0.1:4040'."),
        ("listening on port 15002", "the output holds the port 'port 15002'."),
        ("<object object at 0x7f3a5c0d1e80>", "the output holds the address of an object '0x7f3a5c0d1e80'."),
    ],
)
def test_an_output_that_differs_elsewhere_is_refused(text, message):
    found = output_faults(stream(text))
    assert len(found) == 1
    assert found[0].startswith(message)


def test_an_output_that_holds_todays_date_is_refused():
    # The date of this moment, not of the test's collection: a run over midnight has two.
    found = output_faults(stream(time.strftime("made %Y-%m-%d")))
    assert len(found) == 1
    assert found[0].startswith("the output holds today's date, ")


@pytest.mark.parametrize(
    "text",
    ["/product/12 and a/home/b", "2025-07-01 10:30:00", "report: 4040", "</tmp/x>", "ratio 0x1", "10.5:1"],
)
def test_an_output_that_is_the_same_everywhere_is_accepted(text):
    assert output_faults(stream(text)) == []


def test_other_outputs_that_are_refused():
    assert output_faults(stream("WARN\nx", "stderr")) == [
        "something was written to stderr: 'WARN'. Stop it, or catch it and show it."
    ]
    error = nbformat.v4.new_output("error", ename="E", evalue="no", traceback=["E: no"])
    assert output_faults(error) == ["it failed: E: no. Fix it, or tag the cell raises-exception."]
    assert output_faults(error, ["raises-exception"]) == []
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}}
    assert len(output_faults(nbformat.v4.new_output("display_data", data=widget))) == 1
    image = nbformat.v4.new_output("display_data", data={"image/png": "iVBORw0K"})
    assert len(output_faults(image)) == 1
    assert output_faults(image, ["nbval-ignore-output"]) == []
    html = nbformat.v4.new_output("execute_result", data={"text/html": "<a href='/tmp/x'>x</a>"})
    assert output_faults(html) == [
        "the output holds the path '/tmp'. Show a name, or a path from the lakehouse's folder."
    ]


AXIS = {"title": {"text": "orders"}}
BARS = {"data": [{"type": "bar", "name": "a", "x": [1], "y": [2]}]}
CHART = BARS | {"layout": {"title": {"text": "Orders"}, "xaxis": AXIS, "yaxis": AXIS}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"title": None}, ["the chart has no title."]),
        ({"xaxis": {}}, ["xaxis of the chart has no name."]),
        ({"xaxis": {"visible": False}}, []),
        ({"yaxis": {"showticklabels": False}}, []),
        (
            {"yaxis": {"title": {"text": "ids_remembered"}}},
            ["yaxis of the chart has the name of a column, 'ids_remembered'."],
        ),
    ],
)
def test_a_chart_says_what_it_measures(changes, said):
    figure = CHART | {"layout": CHART["layout"] | changes}
    output = nbformat.v4.new_output("display_data", data={drawn.MIME: figure})
    found = output_faults(output)
    assert [text[: len(begin)] for text, begin in zip(found, said, strict=True)] == said


def test_a_chart_has_traces_that_the_site_can_draw():
    shown = [BARS["data"][0] | {"type": "funnel"}, {"name": "b", "x": [1], "y": [2]}]
    output = nbformat.v4.new_output("display_data", data={drawn.MIME: CHART | {"data": shown}})
    [said] = output_faults(output)
    assert said.startswith("the site cannot draw a funnel. Draw one of: bar, box, ")


def test_a_chart_shows_four_kinds_at_most():
    five = [BARS["data"][0] | {"name": name} for name in "abcde"]
    output = nbformat.v4.new_output("display_data", data={drawn.MIME: CHART | {"data": five}})
    assert output_faults(output) == [
        "the chart shows 5 kinds; the most is 4. Add up the small ones, or draw several charts."
    ]
    facets = nbformat.v4.new_output("display_data", data={drawn.MIME: CHART | {"data": five[:4] * 2}})
    assert output_faults(facets) == []


def test_a_build_names_every_fault_of_the_outputs_by_its_line(sample, tmp_path):
    more = "".join(f"\n# %%\nx{n} = {n}\n" for n in range(14))
    left = '\n# %% tags=["nbval-ignore-output"]\n9000 + 87\n\n# %% [markdown]\n# We see 9,087.\n'
    path = sample(
        (
            "sum(numbers)",
            "import sys\n\nprint('WARN', file=sys.stderr)\nprint('x' * 2_000_000)\nsum(numbers)",
        ),
        ("# It is 820,", "# Indeed.\n# It is 821,"),
        ("return 2 * x", "return 3 * x"),
        ("check.last(last)\n", "check.last(last)\n" + more + left),
    )
    first, *rest = refused(path, tmp_path).splitlines()
    assert first.startswith(f"{path}:1: the notebook has 2,0")
    assert first.endswith(" bytes; the most is 1,500,000. Draw less data.")
    said = {
        "import sys": "something was written to stderr: 'WARN'. Stop it, or catch it and show it.",
        "It is 821": "the number 821 is in no output and no code of this chapter. "
        "Correct it, or name it in given=[...].",
        "check.double": "the check does not accept the solution: "
        "✗ Exercise 98.1. 21 becomes 63, not 42. Fix one of them.",
        "We see": "the number 9,087 comes from a cell that is left out of the comparison. Do not quote it.",
    }
    assert rest == [f"{path}:{line_of(path, at)}: {text}" for at, text in said.items()]
    assert not list((tmp_path / "notebooks").iterdir())


# Numbers in the prose


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (
            "40,000 orders came, 39,871 of them good\nand 0.5 or 12.5 % not; 3 are odd.",
            ["40,000", "39,871", "0.5", "12.5"],
        ),
        ("On 2025-07-01, 1 July 2025, July 1, 2025 or in 1997-98 at 10:30", []),
        ("Exercise 1.3, chapters 02, 03 and 14, Spark 4.2, Java 17, UTF-16, SHA-256, v1.25, x64", []),
        ("`limit 12` and\n```python\n42\n```\n[a](b/12.html) <b id='12'>", []),
        ("after 26 weeks.", ["26"]),
        ("the 23570 and 1\u202f000\u202f000", ["23570", "1\u202f000\u202f000"]),
    ],
)
def test_numbers_that_have_to_be_borne_out(text, numbers):
    assert [number for _, number in quoted(text)] == numbers


def test_a_number_from_elsewhere_can_be_given(sample, built):
    path = sample(("# %% [markdown]\n# It is 820,", '# %% [markdown] given=["69,659"]\n# 69659 and 820,'))
    page = pages.notebook_page(parse(path))
    assert list(unsupported(page, product(built, "notebooks"))) == []
    page = pages.notebook_page(parse(sample(("# It is 820,", "# 69659 and 820,"))))
    executed = product(built, "notebooks")
    executed.cells[6].source = page.notebook.cells[6].source
    assert [line for line, _ in unsupported(page, executed)] == [line_of(path, "69659")]


# Replaying


@pytest.fixture
def replayed(copy, monkeypatch):
    """Return the folder of a built sample whose checks the kernels can import."""
    monkeypatch.setenv("PYTHONPATH", str(copy / "chapters" / "98_sample"))
    return copy


def test_a_replay_compares_works_and_leaves_blank_from_a_home_of_its_own(replayed, capfd):
    change(replayed / "notebooks" / "98_sample.ipynb", '"820"', '"821"')
    change(replayed / "solutions" / "98_sample.ipynb", "return 2 * x", "return 3 * x")
    change(replayed / "exercises" / "98_sample.ipynb", "last = ...", "last = 7")
    home = replayed / "home"

    def before(number, place):
        (place / number).mkdir(parents=True)

    def after(number, place):
        assert [path.name for path in place.iterdir()] == [number]
        return [Problem("notebooks/98_sample.ipynb", 1, "the table is another.")]

    assert [str(problem) for problem in replay.replay(["98"], home, before, after, root=replayed)] == [
        "notebooks/98_sample.ipynb:1: an output differs or a cell fails; nbval's report is above.",
        "notebooks/98_sample.ipynb:1: the table is another.",
        "exercises/98_sample.ipynb:8: the check of a blank says: ✗ Exercise 98.2. 7 is not the last. "
        "Let it answer self.not_done().",
        "solutions/98_sample.ipynb:5: the check does not accept the solution: ✗ Exercise 98.1. "
        "21 becomes 63, not 42. Fix one.",
    ]
    assert [path.name for path in home.iterdir()] == ["98"]
    report = capfd.readouterr().out
    assert "'821' == '820'" in report
    assert "1 failed, 5 passed" in report


def test_blank_exercises_and_solutions_must_run_and_solutions_find_no_names_of_the_blanks(replayed):
    both = [replayed / kind / "98_sample.ipynb" for kind in ("exercises", "solutions")]
    assert replay.work(*both, replayed) == []
    change(both[0], "last = ...", "last = only_here = ...")
    change(both[1], "return 2 * x", "return 2 * x + 0 * only_here")
    [problem] = replay.work(*both, replayed)
    assert "NameError: name 'only_here' is not defined" in problem.text
    assert problem.path == "solutions/98_sample.ipynb"
    change(both[0], "only_here = ...", "numbers + 7")
    assert [str(problem) for problem in replay.work(*both, replayed)] == [
        "exercises/98_sample.ipynb:7: with its blanks this cell fails: "
        'TypeError: can only concatenate list (not "int") to list. Fix the starter.'
    ]


def test_builds_leave_no_trace_in_the_progress_of_the_learner(built):
    assert producer.PRODUCING == {"MEDALLION_PROGRESS": "off", "MEDALLION_PROFILE": "learn"}
    assert not list(built[0].rglob("progress.json"))
