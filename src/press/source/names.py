"""Which names a cell reads from the cells before it, and which it binds for the cells after it."""

import ast
import symtable
from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """`reads` maps a name to the line, from 1, of its first use; `binds` are the names left behind."""

    reads: dict[str, int]
    binds: frozenset[str]


def names(source: str) -> Names:
    """Return the names that a cell reads before it binds them, and those that it binds.

    A name that only a function's body uses counts as read where the function is defined.
    Raises SyntaxError when the source is not Python.
    """
    reads: dict[str, int] = {}
    binds: set[str] = set()
    for statement in ast.parse(source).body:
        used, bound = _statement(statement)
        for name in used - binds:
            reads.setdefault(name, _first_use(statement, name))
        binds |= bound
    return Names(reads, frozenset(binds))


def _statement(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """Return the module-level names that one statement uses, and those that it binds."""
    table = symtable.symtable(ast.unparse(statement), "cell", "exec")
    bound = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }
    used = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()} | _globals(table)
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        return used | {statement.target.id}, bound
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return used, bound
    return used - bound, bound  # a loop's variable, a function that calls itself


def _globals(table: symtable.SymbolTable) -> set[str]:
    found: set[str] = set()
    for child in table.get_children():
        found |= {s.get_name() for s in child.get_symbols() if s.is_global() and s.is_referenced()}
        found |= _globals(child)
    return found


def _first_use(statement: ast.stmt, name: str) -> int:
    lines = [node.lineno for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id == name]
    return min(lines, default=statement.lineno)
