"""Formulas as MathML, which a browser shows by itself: no script, and a screen reader reads them."""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert


def inline(translator: Any, node: nodes.math) -> None:
    """Write the formula `node` into its line, and nothing else of it."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    """Write the formula `node` on a line of its own."""
    # A long formula scrolls on a narrow page, so the keyboard must reach it
    translator.body.append(
        '<div class="formula" role="group" tabindex="0" aria-label="Formula">'
        f"{convert(node.astext(), display='block')}</div>\n"
    )
    raise nodes.SkipNode
