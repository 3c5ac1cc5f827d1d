"""Short errors in notebooks: the line of the cell and what Spark says, not two hundred Java frames."""

import logging
import re
import traceback
from types import TracebackType
from typing import Any

from medallion.errors import MedallionError
from medallion.spark import display

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
    """From now on show errors of Spark, Delta and this package short. Outside IPython this does nothing."""
    shell = display.notebook()
    if shell is None:
        return
    # Importing it makes Delta's conflicts Python exceptions of their own.
    import delta.exceptions  # noqa: F401
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    shell.set_custom_exc((PySparkException, Py4JError, MedallionError), _show)


def reason(error: BaseException) -> str:
    """Return in one line why a Spark operation failed: the same line in every run and on every machine.

    That is the name of Spark's or Delta's error condition ("DELTA_METADATA_MISMATCH"), or, where a
    Python function failed inside Spark, the last line of its traceback ("ValueError: …").
    """
    java = _innermost(error)
    if java is None:
        return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")
    text = str(java.getMessage()).strip()
    if "Traceback (most recent call last)" in text:
        lines = [line for line in text.splitlines() if line and not line.startswith((" ", "\t"))]
        return lines[-1]
    named = re.match(r"\[([A-Z0-9_.]+)\]", text)
    return named[1] if named else text.splitlines()[0]


def message(error: BaseException) -> str:
    """Return what `error` says, without the Java frames that may follow."""
    from py4j.protocol import Py4JJavaError

    if isinstance(error, Py4JJavaError):
        return str(_innermost(error).getMessage())
    text = str(error)
    return text.split("JVM stacktrace:")[0].split("\n\tat ")[0].rstrip()


def _innermost(error: BaseException) -> Any:
    """Return the Java exception at the bottom of the causes of `error`; None when Java has no part in it."""
    java = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    while java is not None and (cause := java.getCause()) is not None and cause.getMessage():
        java = cause
    return java


def _show(
    shell: Any,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    tb_offset: int | None = None,
) -> None:
    global _last
    _last = "".join(traceback.format_exception(kind, error, trace))
    # PySpark's own exceptions keep the Java frames to themselves.
    if (frames := getattr(error, "_stackTrace", None)) and "JVM stacktrace" not in _last:
        _last += f"\nJVM stacktrace:\n{frames}"
    lines = [f"In line {number}: {code}" for number, code in _own_lines(trace)]
    lines.append(f"{kind.__name__}: {message(error)}")
    if not isinstance(error, MedallionError):
        lines.append("The full text, Java frames included: medallion.last_error()")
    shell._showtraceback(kind, message(error), lines)


def _own_lines(trace: TracebackType | None) -> list[tuple[int, str]]:
    """Return line number and code of the frames that are the notebook's own."""
    own = []
    for frame in traceback.extract_tb(trace):
        of_a_cell = "ipykernel" in frame.filename or frame.filename.startswith("<ipython")
        if of_a_cell and "site-packages" not in frame.filename:
            own.append((frame.lineno or 0, (frame.line or "").strip()))
    return own
