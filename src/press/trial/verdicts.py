"""A plugin for nbval: checks must say "right", and what a notebook starts ends with it.

nbval compares outputs, so that a check which says "wrong" passes where that is stored. It kills its kernel,
so that a JVM may still be writing to the lakehouse when the next notebook begins.
"""

from collections.abc import Generator
from typing import Any

import psutil
import pytest
from nbformat import from_dict

from medallion.course.execute import end
from press.notebooks.outputs import RIGHT, answers, shown


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: Any) -> Generator[None, Any, Any]:
    """Fail a check cell whose verdict is not right, once nbval has run it; show what a cell said on stderr.

    Of an output that is one too many nbval tells the kind only.
    """
    try:
        result = yield
    except BaseException:
        for output in getattr(item, "test_outputs", None) or []:
            if output.get("name") == "stderr":
                item.add_report_section("call", "stderr", output["text"])
        raise
    cell = getattr(item, "cell", None)
    if cell is not None and "check" in cell.metadata.get("tags", []):
        ran = from_dict({"outputs": item.test_outputs or []})
        if not answers(ran, RIGHT):
            said = shown(ran) or "it says nothing"
            pytest.fail(f"the check does not accept the solution: {said}", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: Any, nextitem: Any) -> Generator[None, Any, Any]:
    """After the last cell of a notebook wait for the processes that it started, and end those that stay."""
    last = nextitem is None or nextitem.parent is not item.parent
    started = psutil.Process().children(recursive=True) if last else []
    result = yield
    end(started)
    return result
