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
    """From now on let IPython show a DataFrame as HTML, its schema as text. Outside IPython: nothing.

    A DataFrame that fails as it is shown fails its cell. IPython itself prints what fails, asks for the next
    form, which fails too, and calls the cell a success.
    """
    from pyspark.sql import DataFrame

    shell = notebook()
    if shell is None or "format" in vars(shell.display_formatter):
        return
    others = shell.display_formatter.format

    def formatted(
        shown: Any, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        if not isinstance(shown, DataFrame):
            return others(shown, include, exclude)
        forms = _bundle(shown).items()
        return {
            kind: text for kind, text in forms if kind in (include or [kind]) and kind not in (exclude or ())
        }, {}

    shell.display_formatter.format = formatted


def _bundle(frame: "DataFrame") -> dict[str, str]:
    html = frame._repr_html_()
    # From the first HTML on, the text of a DataFrame is its schema, and costs nothing.
    return {"text/plain": repr(frame)} | ({"text/html": html} if html else {})
