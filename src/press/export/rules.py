"""What an exported notebook must keep to. None of it needs a workspace: the code is read, not run.

1. Every code cell compiles.
2. A cell reads only names that a cell before it binds, Python itself, or the workspace. What stands in the
   body of a function may be bound by a later cell.
3. It imports Python's own modules, this package without what only a laptop has, and what the runtime of the
   workspace brings or the bundle installs.
4. It has no path of a laptop: no text that is a path from the root, from the home folder or from the folder
   above, nothing with `file:`, of loopback, of a Delta log, or of a table by its folder; and no call that
   starts or kills a process, makes a temporary folder of the system, or keeps the times of files, which a
   volume has not.
"""

import ast
import builtins
import re
import symtable
import sys
from collections.abc import Iterator, Sequence

from press.export.differences import Differences
from press.export.notebook import SETUP, Cell
from press.source.names import names

# The names that a notebook of Databricks has from the beginning
_GIVEN = frozenset(dir(builtins)) | {"__name__", "dbutils", "display", "displayHTML", "spark"}
# What starts servers of its own, or runs whole chapters: it is not in the bundle
NOT_COPIED = (
    "medallion.course",
    "medallion.servers.asgi",
    "medallion.servers.cluster",
    "medallion.servers.dashboard",
    "medallion.servers.endpoint",
    "medallion.servers.group",
    "medallion.servers.spark_connect",
    "medallion.servers.warehouse",
)
# A session names what is in `machine`, and does not use it in a workspace
_ON_A_LAPTOP = (*NOT_COPIED, "medallion.machine")
# Modules by the name under which pip installs them, where that is another
_DISTRIBUTIONS = {"markdown_it": "markdown-it-py", "sklearn": "scikit-learn", "yaml": "pyyaml"}
_TEXTS = {
    "a path from the root": re.compile(r"/(?!landing/$)[\w.-]+/?(?:[\w.-]|$)"),
    "a path in somebody's home": re.compile(r"~(?:/|$)"),
    "a path to the folder above": re.compile(r"(?:.*/)?\.\.?/"),
}
_INSIDE = {
    "a path of the file system": re.compile(r"\bfile:/"),
    "an address of this machine": re.compile(r"\b127\.0\.0\.1\b|\blocalhost\b|\b0\.0\.0\.0\b"),
    "the log of a Delta table": re.compile(r"_delta_log"),
    "a table by its folder": re.compile(r"\bdelta\.`"),
}
_CALLS = re.compile(
    r"(?:os\.(?:kill|killpg|system|exec\w*|fork|getcwd|utime)|os\.path\.expanduser|(?:Path|pathlib\.Path)\.(?:home|cwd)"
    r"|shutil\.(?:copy|copy2|copytree|copystat|move)|paths\.root|medallion\.paths\.root|sys\.executable"
    r"|tracking\.start)"
)
_MODULES = frozenset({"ctypes", "multiprocessing", "signal", "socket", "subprocess", "tempfile"})
_INNARDS = frozenset({"_jvm", "_jsc", "_jsparkSession", "_gateway"})
_LAYERS = frozenset({"bronze", "silver", "gold", "ml", "ops", "default"})


def problems(cells: Sequence[Cell], found: Differences) -> list[tuple[int, str]]:
    """Return what is wrong with the cells of a notebook: the line of the chapter, and what and why."""
    wrong, code = [], []
    for cell in (cell for cell in cells if cell.kind == "code"):
        try:
            compile(cell.source, "cell", "exec")
            code.append((cell, names(cell.source)))
        except SyntaxError as error:
            wrong.append((_line(cell, error.lineno), f"this is not Python ({error.msg})"))
    bound = set(_GIVEN)
    sometime = bound.union(*(used.binds for _, used in code))
    for cell, used in code:
        wrong += [
            (_line(cell, line), f"no cell before this one binds {name!r}")
            for name, line in sorted(used.reads.items())
            if name not in bound and not (name in sometime and _is_deferred(cell.source, name))
        ]
        bound |= used.binds
        if not cell.source.startswith(SETUP):  # our own first cell, which has to find the package
            tree = ast.parse(cell.source)
            told = [*_imports(tree, found), *_paths(tree)]
            wrong += [(_line(cell, line), text) for line, text in told]
    return sorted(wrong)


def _is_deferred(source: str, name: str) -> bool:
    """Return whether a cell uses a name in the bodies of functions only, which run when they are called."""
    table = symtable.symtable(source, "cell", "exec")
    return name not in table.get_identifiers() or not table.lookup(name).is_referenced()


def _line(cell: Cell, line: int | None) -> int:
    return cell.line + (line or 1) - 1 if cell.line else 0


def _imports(tree: ast.Module, found: Differences) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in imported:
            if text := _missing(module, found):
                yield node.lineno, text


def _missing(module: str, found: Differences) -> str | None:
    """Return why a workspace cannot import a module, given with all its dots; None when it can."""
    top = module.partition(".")[0]
    if top in ("kestrel", "medallion"):
        mine = (part for part in _ON_A_LAPTOP if f"{module}.".startswith(f"{part}."))
        return next((f"{part} works on a laptop only" for part in mine), None)
    if top in _MODULES:
        return f"{top} reaches for the machine itself"
    if there(top, found):
        return None
    return f"{top} is neither in {found.common.runtime.name} nor among what the bundle installs"


def there(module: str, found: Differences) -> bool:
    """Return whether a workspace has a module: Python's own, one of the runtime, or one that we install."""
    installs = {name.lower() for name in found.common.installs}
    return (
        module in sys.stdlib_module_names
        or module in found.common.runtime.modules
        or _DISTRIBUTIONS.get(module, module).lower() in installs
    )


def _paths(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 1)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((line, f"this text is {what}") for what in _kinds(node.value))
        elif isinstance(node, ast.Attribute):
            if node.attr in _INNARDS:
                yield line, f"{node.attr} is inside Spark's JVM"
            elif _CALLS.fullmatch(ast.unparse(node)):
                yield line, f"{ast.unparse(node)} is for the machine, not for a workspace"
        elif isinstance(node, ast.Name) and node.id == "__file__":
            yield line, "a notebook is no file"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            right = node.right
            if isinstance(right, ast.Constant) and right.value in _LAYERS:
                yield line, "a table is found by its folder, and a managed table has none that we know"


def _kinds(text: str) -> Iterator[str]:
    yield from (what for what, pattern in _TEXTS.items() if pattern.match(text))
    yield from (what for what, pattern in _INSIDE.items() if pattern.search(text))
