"""The two forms of a solution cell: worked, and as a starter with a blank.

What lies between `### BEGIN SOLUTION` and `### END SOLUTION` becomes `...`. Names stay bound, so that
a notebook with blanks runs to its end: a block outside of a function becomes `name = ...` for each
name that it assigns, and so does a block in a function when the lines after it use the name.
"""

import ast
import re
from textwrap import dedent

BEGIN = "### BEGIN SOLUTION"
END = "### END SOLUTION"


class StarterError(ValueError):
    """The markers of a solution cell do not make a starter. `line` counts from 1 in the cell."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def worked(source: str) -> tuple[str, list[int]]:
    """Return a solution cell without its markers, and for each line left its line in `source`, from 1."""
    kept = [(n, line) for n, line in enumerate(source.splitlines(), 1) if line.strip() not in (BEGIN, END)]
    return "\n".join(line for _, line in kept), [n for n, _ in kept]


def starter(source: str) -> str:
    """Return a solution cell with each of its blocks blanked.

    Raises StarterError when there is no block, a marker lacks its partner, or what is left is not Python.
    """
    lines = source.splitlines()
    blocks = _blocks(lines)
    result: list[str] = []
    at = 0
    for begin, end in blocks:
        result += lines[at:begin]
        indent = lines[begin][: len(lines[begin]) - len(lines[begin].lstrip())]
        bound = _bound("\n".join(lines[begin + 1 : end]))
        if indent:
            rest = "\n".join(lines[end + 1 :])
            bound = [name for name in bound if re.search(rf"\b{re.escape(name)}\b", rest)]
        result += [f"{indent}{name} = ..." for name in bound] or [f"{indent}..."]
        at = end + 1
    blanked = "\n".join(result + lines[at:])
    try:
        ast.parse(blanked)
    except SyntaxError as error:
        text = f"with the blank in place this cell is not Python ({error.msg}). Move the markers"
        raise StarterError(blocks[0][0] + 1, text) from error
    return blanked


def _blocks(lines: list[str]) -> list[tuple[int, int]]:
    """Return the places, from 0, of each pair of markers."""
    blocks: list[tuple[int, int]] = []
    begin: int | None = None
    for n, line in enumerate(lines):
        if line.strip() == BEGIN:
            if begin is not None:
                raise StarterError(n + 1, f"'{BEGIN}' stands inside a block. End that with '{END}'")
            begin = n
        elif line.strip() == END:
            if begin is None:
                raise StarterError(n + 1, f"'{END}' has no '{BEGIN}' before it. Add it")
            blocks.append((begin, n))
            begin = None
    if begin is not None:
        raise StarterError(begin + 1, f"'{BEGIN}' has no '{END}' after it. Add it")
    if not blocks:
        raise StarterError(1, f"a solution marks the learner's part with '{BEGIN}' and '{END}'. Add them")
    return blocks


def _bound(block: str) -> list[str]:
    """Return the names that the statements of a block bind, in order; imports are the learner's to choose.

    A block that is a piece of an expression binds nothing.
    """
    try:
        tree = ast.parse(dedent(block))
    except SyntaxError:
        return []
    names: dict[str, None] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[statement.name] = None
        else:
            names |= dict.fromkeys(_assigned(statement))
    return list(names)


def _assigned(statement: ast.stmt) -> list[str]:
    """Return the names that a statement stores, those inside comprehensions and lambdas aside."""
    names: list[str] = []
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        waiting += ast.iter_child_nodes(node)
    return names
