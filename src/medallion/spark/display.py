"""A DataFrame at the end of a cell is a table, and its query runs once.

With PySpark's eager evaluation alone, IPython asks for the plain text and for the HTML of a
DataFrame, and each of the two runs the query.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def notebook() -> Any:
    """Return IPython's shell, or None outside of IPython."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def show_once() -> None:
    """From now on let IPython show a DataFrame as HTML, its schema as text. Outside IPython: nothing."""
    from pyspark.sql import DataFrame

    if (shell := notebook()) is not None:
        shell.display_formatter.mimebundle_formatter.for_type(DataFrame, _bundle)


def _bundle(frame: "DataFrame", include: Any = None, exclude: Any = None) -> dict[str, str]:
    html = frame._repr_html_()
    # From the first HTML on, the text of a DataFrame is its schema, and costs nothing.
    return {"text/plain": repr(frame)} | ({"text/html": html} if html else {})
