"""What a chapter must keep to before anything of it runs. Each rule returns the places that break it."""

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from IPython.core.inputtransformer2 import TransformerManager

from medallion.lesson import checks
from medallion.lesson.checks import Exercise
from press.source import quiz
from press.source.chapter import ROLES, Cell, Chapter, Problem
from press.source.forms import Unfit
from press.source.names import Names, names
from press.source.starter import BEGIN, END, StarterError, starter, worked

LONGEST_CELL = 15
MOST_LINES = 40  # of code, with no sentence between the cells
LONGEST_LINE = 88  # more scrolls sideways, on the page and in JupyterLab
LEFT_OUT = "nbval-ignore-output"
RAISES = "raises-exception"
TAGS = frozenset({*ROLES, LEFT_OUT, RAISES, "hide-input", "hide-output"})
_COMMENT_TAGS = ("NBVAL_", "PYTEST_VALIDATE_IGNORE_OUTPUT")
_CODE_ROLES = ("setup", "solution", "check", "predict")
_GIVEN = frozenset(dir(builtins)) | {"__name__", "display", "get_ipython", "In", "Out", "_", "__file__"}


def problems(chapter: Chapter) -> list[Problem]:
    """Return all that is wrong with the source of a chapter, by line."""
    unreadable = [*_tags(chapter), *_magics(chapter), *_python(chapter)]
    if unreadable:
        return sorted(unreadable, key=lambda problem: problem.line)
    rules: tuple[Callable[[Chapter], Iterable[Problem]], ...] = (
        _lengths, _walls, _starters, _groups, _checks, _answers_stay_inside, _excerpt_stands_alone, _left_out,
        _quiz,
    )  # fmt: skip
    return sorted((problem for rule in rules for problem in rule(chapter)), key=lambda problem: problem.line)


def _tags(chapter: Chapter) -> Iterator[Problem]:
    for cell in chapter.cells:
        for tag in cell.tags:
            if tag not in TAGS:
                known = ", ".join(sorted(TAGS))
                yield chapter.problem(cell.line, f"there is no tag {tag!r}. The tags are {known}.")
        roles = [tag for tag in cell.tags if tag in ROLES]
        if len(roles) > 1:
            yield chapter.problem(cell.line, f"this cell is both {' and '.join(roles)}. Leave one tag.")
        if cell.kind == "markdown" and cell.role in _CODE_ROLES:
            yield chapter.problem(cell.line, f"text cannot be {cell.role!r}. Take the tag away.")
        if cell.kind == "code" and any(mark in cell.source for mark in _COMMENT_TAGS):
            yield chapter.problem(cell.line, f"a comment steers nbval. Use the tag {LEFT_OUT!r}.")


def _magics(chapter: Chapter) -> Iterator[Problem]:
    for cell, tree in _trees(chapter):
        for node in ast.walk(tree):
            call = _ipython_call(node)
            if call is None:
                continue
            kind, argument = call
            line = cell.line + node.lineno - 1  # type: ignore[attr-defined]  # a call has a line
            if kind in ("system", "getoutput"):
                yield chapter.problem(line, "a chapter runs no shell command ('!'). Use Python.")
            elif kind in ("run_line_magic", "run_cell_magic"):
                yield chapter.problem(line, f"a chapter uses no magic ({argument!r}). Use Python.")
            else:
                yield chapter.problem(line, "IPython's own syntax does not run elsewhere. Use Python.")


def _as_python(source: str) -> str:
    """Return a cell as IPython hands it to Python: magics and shell commands become calls."""
    return str(TransformerManager().transform_cell(source))


def _trees(chapter: Chapter) -> Iterator[tuple[Cell, ast.Module]]:
    """Yield the code cells as IPython would read them, those aside that are no Python even then."""
    for cell in _code(chapter):
        try:
            yield cell, ast.parse(_as_python(cell.source))
        except SyntaxError:
            continue


def _ipython_call(node: ast.AST) -> tuple[str, str] | None:
    """Return the method of `get_ipython()` that a node calls and its first argument, or None."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    called_on = node.func.value
    if not (isinstance(called_on, ast.Call) and isinstance(called_on.func, ast.Name)):
        return None
    if called_on.func.id != "get_ipython":
        return None
    first = node.args[0] if node.args else None
    argument = first.value if isinstance(first, ast.Constant) else ""
    return node.func.attr, str(argument)


def _python(chapter: Chapter) -> Iterator[Problem]:
    for cell in _code(chapter):
        try:
            ast.parse(_as_python(cell.source))
        except SyntaxError as error:
            line = cell.line + (error.lineno or 1) - 1
            yield chapter.problem(line, f"this is not Python ({error.msg}). Fix the cell.")


def _lengths(chapter: Chapter) -> Iterator[Problem]:
    for cell in _code(chapter):
        count = _count(cell)
        if count > LONGEST_CELL:
            text = f"this cell has {count} lines; the most is {LONGEST_CELL}. Split it, or move code away."
            yield chapter.problem(cell.line, text)
        for n, line in enumerate(cell.source.splitlines()):
            if len(line) > LONGEST_LINE:
                text = f"this line has {len(line)} characters; the most is {LONGEST_LINE}. Break it."
                yield chapter.problem(cell.line + n, text)


def _walls(chapter: Chapter) -> Iterator[Problem]:
    """Code of several cells needs a sentence in between. Solutions do not count: they are folded."""
    for kind, run in groupby(chapter.cells, key=lambda cell: cell.kind):
        cells = [cell for cell in run if cell.role != "solution"]
        count = sum(_count(cell) for cell in cells)
        if kind == "code" and count > MOST_LINES:
            text = (
                f"{count} lines of code follow here without a sentence; the most is {MOST_LINES}. Say in "
                "between what the next cell does."
            )
            yield chapter.problem(cells[0].line, text)


def _count(cell: Cell) -> int:
    """Return the number of lines of a code cell, without blank lines and markers."""
    return sum(line.strip() not in ("", BEGIN, END) for line in cell.source.splitlines())


def _starters(chapter: Chapter) -> Iterator[Problem]:
    for cell in _code(chapter):
        if cell.role == "solution":
            try:
                starter(cell.source)
            except StarterError as error:
                yield chapter.problem(cell.line + error.line - 1, f"{error}.")
        else:
            for n, line in enumerate(cell.source.splitlines()):
                if line.strip() in (BEGIN, END):
                    text = f"'{line.strip()}' belongs in a cell tagged solution. Tag it."
                    yield chapter.problem(cell.line + n, text)


def _groups(chapter: Chapter) -> Iterator[Problem]:
    """An exercise is its text, its solution and its check, in this order, with nothing between them."""
    expected = 1
    for n, cell in enumerate(chapter.cells):
        before = chapter.cells[n - 1].role if n else ""
        after = chapter.cells[n + 1].role if n + 1 < len(chapter.cells) else ""
        if cell.role == "exercise":
            if before != "exercise" and cell.exercise is None:
                yield chapter.problem(cell.line, "an exercise begins with '### Exercise N.M: title'. Add it.")
            if cell.exercise is not None:
                number = f"{int(chapter.number)}.{expected}"
                if cell.exercise[0] != number:
                    yield chapter.problem(
                        cell.line, f"exercise {cell.exercise[0]} stands where {number} is due. Renumber it."
                    )
                expected += 1
            next_begins = after == "exercise" and chapter.cells[n + 1].exercise is not None
            if after not in ("exercise", "solution") or next_begins:
                yield chapter.problem(cell.line, "this exercise lacks its solution. Put it in the next cell.")
        elif cell.role == "solution":
            if before not in ("exercise", "solution"):
                yield chapter.problem(cell.line, "this solution has no exercise before it. Put it there.")
            if after not in ("solution", "check"):
                yield chapter.problem(cell.line, "this exercise lacks its check. Put it in the next cell.")
        elif cell.role == "check" and before != "solution":
            yield chapter.problem(cell.line, "this check has no solution before it. Put it there.")


def _checks(chapter: Chapter) -> Iterator[Problem]:
    """Each check cell calls one exercise of `checks.py` beside the lesson, that of its heading."""
    number = ""
    for cell in chapter.cells:
        if cell.role == "exercise" and cell.exercise is not None:
            number = cell.exercise[0]
        if cell.role != "check":
            continue
        called = _called_checks(cell)
        if len(called) != 1:
            yield chapter.problem(cell.line, "a check cell calls one check: 'check.name(answer)'. Write it.")
            continue
        file = chapter.path.with_name("checks.py")
        exercise = getattr(checks.from_file(file), called[0], None) if file.exists() else None
        if exercise is None:
            yield chapter.problem(cell.line, f"there is no check {called[0]!r} in checks.py. Write it there.")
            continue
        yield from _exercise(chapter, cell, exercise, called[0], number)


def _exercise(chapter: Chapter, cell: Cell, exercise: object, name: str, number: str) -> Iterator[Problem]:
    if not isinstance(exercise, Exercise):
        yield chapter.problem(cell.line, f"{name} is not an Exercise. Make it an object of such a class.")
        return
    own = getattr(exercise, "number", "?")
    if own != number:
        yield chapter.problem(cell.line, f"{name} is for exercise {own}, not {number}. Renumber it.")
    hints = getattr(exercise, "hints", ())
    if isinstance(hints, str) or len(hints) != 3 or not all(isinstance(h, str) and h.strip() for h in hints):
        yield chapter.problem(cell.line, f"{name} lacks its three hints. Write them, from weak to strong.")


def _called_checks(cell: Cell) -> list[str]:
    return [
        node.func.attr
        for node in ast.walk(ast.parse(_as_python(cell.source)))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "check"
    ]


def _answers_stay_inside(chapter: Chapter) -> Iterator[Problem]:
    """No cell of the exercises notebook uses the answer of another exercise: blanks would spread.

    Cells that are left out there may, since in the chapter's own notebook the answers are worked.
    """
    owner: dict[str, str] = {}
    number = ""
    for cell in chapter.cells:
        if cell.role == "exercise" and cell.exercise is not None:
            number = cell.exercise[0]
        if cell.kind != "code":
            continue
        inside = number if cell.role in ("exercise", "solution", "check") else ""
        kept = inside or cell.role == "setup"
        found = _names(cell)
        for name, line in found.reads.items():
            if kept and owner.get(name, inside) != inside:
                yield chapter.problem(
                    line,
                    f"this uses {name!r}, the answer of exercise {owner[name]}. "
                    "Make it anew in a cell outside of the exercises.",
                )
        for name in found.binds:
            owner.pop(name, None)
            if cell.role == "solution":
                owner[name] = number


def _excerpt_stands_alone(chapter: Chapter) -> Iterator[Problem]:
    """What the exercises read is bound in the exercises or in a cell tagged setup."""
    bound = set(_GIVEN)
    elsewhere: dict[str, int] = {}
    for cell in _code(chapter):
        found = _names(cell)
        if cell.role not in ("setup", "exercise", "solution", "check"):
            elsewhere |= dict.fromkeys(found.binds, cell.line)
            continue
        for name, line in found.reads.items():
            if name not in bound and name in elsewhere:
                yield chapter.problem(
                    line,
                    f"the exercises notebook has no {name!r}: line {elsewhere[name]} binds it in a cell "
                    "that is left out there. Tag that cell setup.",
                )
        bound |= found.binds


def _names(cell: Cell) -> Names:
    """Return the names of a cell, with the lines of its reads counted in the chapter."""
    text, kept = worked(cell.source)
    found = names(_as_python(text))
    reads = {name: cell.line + kept[line - 1] - 1 for name, line in found.reads.items()}
    return Names(reads, found.binds)


def _left_out(chapter: Chapter) -> Iterator[Problem]:
    left = [cell for cell in _code(chapter) if LEFT_OUT in cell.tags]
    most = len(_code(chapter)) // 20
    if len(left) > most:
        yield chapter.problem(
            left[-1].line,
            f"{len(left)} of {len(_code(chapter))} cells are left out of the comparison; "
            f"one in twenty may be, here {most}. Show something that stays the same.",
        )


def _quiz(chapter: Chapter) -> Iterator[Problem]:
    path = chapter.path.with_name("quiz.yml")
    if path.exists():
        try:
            quiz.read(path)
        except Unfit as error:
            yield Problem(error.path, error.line, error.text)


def _code(chapter: Chapter) -> list[Cell]:
    return [cell for cell in chapter.cells if cell.kind == "code"]
