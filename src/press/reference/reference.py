"""The reference of the book, made from the code and the contracts: nothing in it is typed twice.

| page | made from |
|---|---|
| `book/reference/tables.md` | the chapters' headers, the schemas of the last run, the data dictionary |
| `book/reference/package.md` | the docstrings of what a notebook uses, the parser of the command line |
| `book/reference/terms.md` | the index of terms, `book/terms.yml`, and the headings of the lessons |
| `book/reference/lineage.md` and its drawing | what the chapters were seen to do when they were built last |
| `book/databricks.md`, in part | `book/databricks.yml`, and `databricks.yml` beside each lesson |
| the lists of chapters, see `lists` | the chapters' headers, `book/outline.yml` |
"""

import argparse
import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import medallion
from medallion import contract, paths
from medallion.course import durations
from medallion.files import text_of, write_text
from medallion.lesson.exercise import Exercise
from press.lineage import compare
from press.lineage.observed import Edge
from press.recorded import costs, lineage, schemas, seconds
from press.reference import databricks_page, dictionary, lineage_figure, lineage_page, lists, terms_page
from press.source import terms
from press.source.chapter import Chapter, Problem, parse, refuse

TABLES = "book/reference/tables.md"
PACKAGE = "book/reference/package.md"
_MADE = "<!-- Produced by `medallion build`; do not edit. -->\n"


# The modules that a notebook uses: `__all__` of each names what it calls there
_MODULES = (
    "medallion.lesson.charts",
    "medallion.lesson.quiz",
    "medallion.servers.api",
    "medallion.servers.dashboard",
    "medallion.lesson.arrivals",
    "medallion.lesson.graphs",
    "medallion.servers.tracking",
    "medallion.servers.endpoint",
    "medallion.spark.databricks",
)


def record(
    number: str,
    took: float | None = None,
    target: Path | None = None,
    edges: Sequence[Edge] | None = None,
) -> None:
    """Keep what the tables that chapter `number` has just made look like and hold, and how long it took.

    The page of the tables shows it, `medallion test` compares with it, and `catch-up` estimates by it. The
    tables are those of the lakehouse in force: with MEDALLION_HOME on one that a run has built, this keeps
    what is there without running the chapter, and without `took`, in seconds, what is kept of that stays.
    `edges` is what it was seen to make from what, for the page of the lineage; without them what is kept of
    it stays.
    Raises MedallionError when the chapter did not make a table that its header promises.
    """
    target = target or paths.root()
    held = schemas.load(target)
    made = {table: schemas.of(table) for table in contract.read(number).makes}
    write_text(target / schemas.FILE, schemas.text(held | made))
    if took is not None:
        seconds.keep(number, took, target)
    if edges is not None:
        lineage.keep(number, edges, target)


def write(parser: argparse.ArgumentParser, target: Path | None = None) -> list[str]:
    """Write the pages of the reference below `target` (the repository) and return the paths that changed.

    `parser` is that of the command line, which the reference describes.
    """
    target = target or paths.root()
    found = _chapters()
    made = {table for chapter in found for table in chapter.makes}
    held = {table: schema for table, schema in schemas.load(target).items() if table in made}
    if held:
        write_text(target / schemas.FILE, schemas.text(held))
    numbers = {chapter.number for chapter in found}
    kept = {number: several for number, several in lineage.load(target).items() if number in numbers}
    if edges := {number: [_own_columns(one, held) for one in several] for number, several in kept.items()}:
        write_text(target / lineage.FILE, lineage.text(edges))
    if timed := {number: took for number, took in durations.load(target).items() if number in numbers}:
        write_text(target / durations.FILE, seconds.text(timed))
    if spent := costs.load(target):
        write_text(target / costs.FILE, costs.text(spent))
    return [path for path, text in _pages(found, target, parser).items() if write_text(target / path, text)]


def _own_columns(edge: Edge, held: Mapping[str, Any]) -> Edge:
    """Return an edge without columns that its table does not have: those of a step that was cached."""
    known = held.get(edge.target, {}).get("columns")
    if known is None:
        return edge
    return replace(edge, columns=tuple(one for one in edge.columns if one[0] in known))


def check(parser: argparse.ArgumentParser, target: Path | None = None) -> None:
    """Raise MedallionError, with a line for each, when the schemas or a page are out of date."""
    target = target or paths.root()
    found = _chapters()
    refuse(_unrecorded(found, target))
    refuse(
        Problem(path, 1, "this page is out of date. Run './medallion build --reference'.")
        for path, text in _pages(found, target, parser).items()
        if text_of(target / path) != text
    )


def _chapters() -> list[Chapter]:
    return [parse(path) for path in contract.lessons().values()]


def _unrecorded(found: Sequence[Chapter], target: Path) -> Iterator[Problem]:
    """Yield what was not kept of a chapter or differs from its contract, and the tables that none makes."""
    held, timed, edges = schemas.load(target), durations.load(target), lineage.load(target)
    for chapter in found:
        build = f"'./medallion build {chapter.number}'."
        lacking = [f"{schemas.FILE} lacks {made}. Run {build}" for made in chapter.makes if made not in held]
        if chapter.number not in timed:
            lacking.append(f"{durations.FILE} lacks chapter {chapter.number}. Run {build}")
        if chapter.makes and chapter.number not in edges:
            lacking.append(f"{lineage.FILE} lacks what this chapter was seen to make: run {build}")
        elif chapter.makes:
            differing = compare.differences(chapter.makes, compare.as_observed(edges[chapter.number]))
            lacking += [f"{line} Fix the header, or run {build}" for line in differing]
        yield from (chapter.problem(1, text) for text in lacking)
    for table in held:
        if not any(table in chapter.makes for chapter in found):
            text = f"no chapter makes {table}. Run './medallion build --reference'."
            yield Problem(schemas.FILE, 1, text)


def _pages(found: Sequence[Chapter], target: Path, parser: argparse.ArgumentParser) -> dict[str, str]:
    pages = {
        TABLES: tables_page(found, schemas.load(target), dictionary.meanings(target)),
        PACKAGE: package_page(parser),
    }
    if known := terms.read(target):
        pages[terms_page.PAGE] = terms_page.page(known, terms.sections(known, found, target))
    if edges := lineage.load(target):
        pages[lineage_page.PAGE] = lineage_page.text(edges, found)
        said = lineage_page.about(edges, found)
        pages[lineage_figure.FILE] = lineage_figure.drawing(
            (one for held in edges.values() for one in held), said
        )
    if (page := text_of(target / databricks_page.PAGE)) is not None:
        pages[databricks_page.PAGE] = databricks_page.renewed(page, target)
    return pages | lists.pages(found, target)


def tables_page(
    found: Sequence[Chapter], held: dict[str, dict[str, Any]], meanings: dict[str, dict[str, str]]
) -> str:
    """Return the page of the tables: `held` is what `schemas` keeps, `meanings` what `dictionary` reads."""
    lines = [
        _MADE,
        "# The tables\n",
        "Every table of the lakehouse: what one row is, who makes it and from what, who reads it, and its",
        "columns. Columns and numbers of rows are those of the last run of the chapters, at scale 1.\n",
        "| Table | One row is | Rows | Made in chapter |",
        "|---|---|--:|---|",
    ]
    made = [(table, chapter) for chapter in found for table in chapter.makes if table in held]
    for table, chapter in made:
        rows = f"{held[table]['rows']:,}" if "rows" in held[table] else "a view"
        # No link to the chapter here: the table's own section has it, and the page stays light
        lines.append(
            f"| [{table}](#{_anchor(table)}) | {chapter.said.grain[table]} | {rows} | {chapter.number} |"
        )
    for table, chapter in made:
        lines += _section(table, chapter, found, held[table], meanings)
    return "\n".join(lines) + "\n"


def _section(
    table: str,
    chapter: Chapter,
    found: Sequence[Chapter],
    schema: dict[str, Any],
    meanings: dict[str, dict[str, str]],
) -> list[str]:
    schema_name, _, name = table.partition(".")
    own = {**meanings.get(dictionary.ADDED, {}), **meanings.get(name, {})}
    lines = [
        f"\n## {table}\n",
        f"One row is {chapter.said.grain[table]}. {_amount(schema)}\n",
        f"- **Made in** {chapter.link('../../')}, from {_sources(chapter.makes[table])}.",
        f"- **Read by** {_readers(table, chapter, found)}.",
    ]
    if schema_name == "bronze" and name in meanings:
        lines.append(f"- **The source behind it**: [the data](../../{dictionary.FILE}#{name}).")
    lines += ["\n| Column | Type | Meaning |", "|---|---|---|"]
    for path, described in schema["columns"].items():
        meaning = described.get("comment") or own.get(path, "")
        cells = (f"`{path}`", f"`{described['type']}`", meaning.replace("|", "\\|"))
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return lines


def _amount(schema: dict[str, Any]) -> str:
    if "rows" in schema:
        return f"{schema['rows']:,} rows."
    return "A view: it holds no rows, and each query on it reads the tables that it is made from."


def _sources(names: Sequence[str]) -> str:
    """Return what a table is made from: tables with a link, source folders as they are in `landing/`.

    A table that the lesson writes row by row, as a calendar, is made from neither.
    """
    if not names:
        return "the code of the lesson alone"
    return ", ".join(
        f"the files in `{name.replace('.', '/')}/`"
        if name.startswith(f"{contract.LANDING}.")
        else f"[{name}](#{_anchor(name)})"
        for name in names
    )


def _readers(table: str, maker: Chapter, found: Sequence[Chapter]) -> str:
    """Return who reads a table: the tables that are made from it, and the chapters that make them."""
    readers = [
        f"[{other}](#{_anchor(other)}) in {chapter.link('../../')}"
        for chapter in found
        for other, sources in chapter.makes.items()
        if table in sources
    ]
    return ", ".join(readers) or f"no table yet; chapter {maker.number} itself looks into it"


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub and MyST give to a heading."""
    return heading.lower().replace(".", "")


def package_page(parser: argparse.ArgumentParser) -> str:
    """Return the page of what a notebook calls and of the commands."""
    lines = [
        _MADE,
        "# The package and its commands\n",
        "What a notebook calls, as the code itself describes it, and then what a terminal understands.\n",
        "## In a notebook",
    ]
    for shown, function in called().items():
        lines += [
            f"\n### {shown}\n",
            f"```python\n{shown}{_signature(function)}\n```\n",
            inspect.getdoc(function) or "",
        ]
    lines += ["\n## In a terminal\n", "Each is called as `./medallion COMMAND`."]
    for name, command in _commands(parser).items():
        lines += [f"\n### {name}\n", _sentence(command.description or ""), *_arguments(command)]
    return "\n".join(lines).rstrip() + "\n"


def called() -> dict[str, Callable[..., Any]]:
    """Return the functions that a notebook calls, each by how it is written there."""
    found = {f"medallion.{name}": getattr(medallion, name) for name in medallion._WHERE}
    found |= {"check.NAME": Exercise.__call__, "check.NAME.hint": Exercise.hint}
    for module in map(import_module, _MODULES):
        found |= {f"{module.__name__}.{name}": getattr(module, name) for name in module.__all__}
    return found


def _signature(function: Callable[..., Any]) -> str:
    """Return what follows the name of a function where it is defined, as its source has it."""
    source = textwrap.dedent(inspect.getsource(function))
    [node] = ast.parse(source).body
    assert isinstance(node, ast.FunctionDef)
    head = "\n".join(source.splitlines()[node.lineno - 1 : node.body[0].lineno - 1])
    return "(" + head.partition("(")[2].removeprefix("self, ").removesuffix(":")


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    # argparse says what it holds only in a help text, whose form differs from one Python to the next.
    chosen = next(one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return dict(chosen.choices)


def _arguments(command: argparse.ArgumentParser) -> list[str]:
    actions = [action for action in command._actions if action.dest != "help"]
    if not actions:
        return []
    rows = [f"| `{_spelled(action)}` | {_sentence(action.help or '')} |" for action in actions]
    return ["\n| Argument | Meaning |", "|---|---|", *rows]


def _spelled(action: argparse.Action) -> str:
    takes_value = action.nargs != 0
    value = str(action.metavar or action.dest.upper()) if takes_value else ""
    if not action.option_strings:
        return {"*": f"[{value} ...]", "?": f"[{value}]"}.get(str(action.nargs), value)
    return " ".join(filter(None, [", ".join(action.option_strings), value]))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
