"""Short errors in notebooks: the line of the cell and what Spark says, not two hundred Java frames."""

import logging
import re
import traceback
from itertools import dropwhile, takewhile
from pathlib import Path
from types import TracebackType
from typing import Any

from medallion import faults
from medallion.errors import MedallionError
from medallion.spark import databricks, display

_PACKAGE = Path(__file__).parents[1]
_TRACEBACK = "Traceback (most recent call last)"
_INDENT = ("", " ", "\t")
_LOST = (
    "Spark's Java process has ended, most often because the memory was used up. Restart the kernel of this "
    "notebook and run it from the top; `medallion doctor` says how much memory is free."
)
_WITHOUT_SESSION = ("SESSION_OR_CONTEXT_NOT_EXISTS", "NO_ACTIVE_SESSION", "NO_ACTIVE_OR_DEFAULT_SESSION")
_FIRST = ("medallion", "check", "spark")  # what the first cell of a notebook makes
_last = "There has been no error in this session."


def last_error() -> None:
    """Print the full text of the last error that was shown short, Java frames included."""
    print(_last)


def quieten() -> None:
    """Keep PySpark from writing every error, Java frames included, to standard error before raising it."""
    from pyspark.logger import PySparkLogger

    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        # Only the level is ours: a plain logging.getLogger(name) would make a logger of the wrong class.
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL + 1)


def shorten() -> None:
    """From now on show errors of Spark, Delta and this package short.

    So are a name that the cells above would make, and a fault of the machine that this package meets.
    Outside IPython, and where the session is not ours, this does nothing.
    """
    shell = display.notebook()
    if shell is None or databricks.is_elsewhere():
        return
    # Importing it makes Delta's conflicts Python exceptions of their own.
    import delta.exceptions  # noqa: F401
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    kinds: tuple[Any, ...] = (PySparkException, Py4JError)
    shell.set_custom_exc((*kinds, MedallionError, NameError, *faults.KINDS), _show)
    for kind in kinds:  # an error in a list of frames is not the cell's, and IPython shows it by itself
        kind._render_traceback_ = _short


def load_ipython_extension(shell: Any) -> None:
    """Say from a kernel's start on when the cells above have not run; Spark's errors are not known yet."""
    shell.set_custom_exc((NameError,), _show)


def reason(error: BaseException) -> str:
    """Return in one line why a Spark operation failed: the same line in every run and on every machine.

    That is the name of Spark's or Delta's error condition ("DELTA_METADATA_MISMATCH"), or, where a
    Python function failed inside Spark, the last line of its traceback ("ValueError: …").
    """
    java = _innermost(error)
    if java is None:
        return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")
    text = str(java.getMessage()).strip()
    if python := _python_error(text):
        return python.splitlines()[0]
    named = re.match(r"\[([A-Z0-9_.]+)\]", text)
    return named[1] if named else text.splitlines()[0]


def is_without_session(error: BaseException) -> bool:
    """Return whether `error` says that Spark was not started, was stopped, or has lost its process."""
    condition = getattr(error, "getCondition", lambda: None)()
    return condition in _WITHOUT_SESSION or _has_lost_java(error)


def _has_lost_java(error: BaseException) -> bool:
    """Return whether the JVM does not answer, because it was killed or ran out of memory."""
    from py4j.protocol import Py4JNetworkError

    frames = traceback.extract_tb(error.__traceback__)
    by_py4j = bool(frames) and "py4j" in Path(frames[-1].filename).parts
    return isinstance(error, Py4JNetworkError) or (isinstance(error, ConnectionError) and by_py4j)


def message(error: BaseException) -> str:
    """Return what `error` says, without the Java frames that may follow.

    Where a Python function failed inside Spark, that is the end of its traceback: "ValueError: …".
    """
    from py4j.protocol import Py4JJavaError

    text = str(_innermost(error).getMessage() if isinstance(error, Py4JJavaError) else error)
    short = text.split("JVM stacktrace:")[0].split("\n\tat ")[0].rstrip()
    return _python_error(short) or short


def _innermost(error: BaseException) -> Any:
    """Return the Java exception at the bottom of the causes of `error`; None when Java has no part in it."""
    java = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    while java is not None and (cause := java.getCause()) is not None and cause.getMessage():
        java = cause
    return java


def _python_error(text: str) -> str | None:
    """Return what a Python function raised inside Spark: the end of a traceback in a text, if it has one."""
    _, traced, last = text.rpartition(_TRACEBACK)
    lines = last.splitlines()[1:]
    raised = dropwhile(lambda line: line[:1] in _INDENT, lines)
    # Spark goes on after it, for a stream with the plan
    text = "\n".join(takewhile(lambda line: line[:1] not in _INDENT and not line.startswith("==="), raised))
    return text if traced and text else None


def _show(
    shell: Any,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    tb_offset: int | None = None,
) -> None:
    if isinstance(error, NameError):
        said = _lacking(shell, error)
    elif _has_lost_java(error):
        said = _LOST
    elif isinstance(error, faults.KINDS) and not hasattr(error, "getCondition"):  # which Spark's own have
        said = faults.sentence(error) if _passes_through_us(trace) else None
    else:
        said = message(error)
    if said is None:  # the learner's own
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset, running_compiled_code=True)
    else:
        shell._showtraceback(kind, said, _short(error, said))


def _short(error: BaseException, said: str | None = None) -> list[str]:
    """Return the lines that stand in the place of a traceback, and keep the full text for `last_error`."""
    global _last
    _last = "".join(traceback.format_exception(error))
    # PySpark's own exceptions keep the Java frames to themselves.
    if (frames := getattr(error, "_stackTrace", None)) and "JVM stacktrace" not in _last:
        _last += f"\nJVM stacktrace:\n{frames}"
    name = "MedallionError" if isinstance(error, MedallionError) else type(error).__name__
    lines = [*_own_lines(error.__traceback__), f"{name}: {said or message(error)}"]
    if not isinstance(error, MedallionError | NameError):
        lines.append("The full text, Java frames included: medallion.last_error()")
    return lines


def _passes_through_us(trace: TracebackType | None) -> bool:
    """Return whether this package has called what failed."""
    return any(Path(frame.filename).is_relative_to(_PACKAGE) for frame in traceback.extract_tb(trace))


def _lacking(shell: Any, error: NameError) -> str | None:
    """Say which cells have to run first, where a name is missing that they make; None for any other name."""
    if error.name in _FIRST:
        return (
            f"{error.name} is not there yet. Run the first cell of this notebook, and then the others in "
            "order: a kernel that has started anew knows nothing of what ran before."
        )
    line = next(reversed(_own_lines(error.__traceback__)), "")
    called = re.search(r": check\.(\w+)\(", line)
    exercise = called and getattr(shell.user_ns.get("check"), called[1], None)
    number = getattr(exercise, "number", None)
    if number is None:
        return None
    return (
        f"exercise {number} needs {error.name}, which is not there yet. "
        "Run the cell above first, and then this one."
    )


def _own_lines(trace: TracebackType | None) -> list[str]:
    """Return the lines that are the notebook's own, with their numbers, also those of a Python worker."""
    lines = []
    for frame in traceback.extract_tb(trace):
        of_a_cell = "ipykernel" in frame.filename or frame.filename.startswith("<ipython")
        if of_a_cell and "site-packages" not in frame.filename:
            function = "" if frame.name == "<module>" else f" of {frame.name}"
            lines.append(f"In line {frame.lineno}{function}: {(frame.line or '').strip()}")
    return lines
