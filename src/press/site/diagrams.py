"""Drawings in SVG become part of the page, so that they follow its light and dark.

The files in `book/figures` carry the colours of the light page. On the page the neutral ones among them
become the page's own; those of the layers stay, because they mean the same on both.
"""

import re
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

_SVG = "http://www.w3.org/2000/svg"
# Neutral colours of the drawings and the custom property of medallion.css that replaces each
_NEUTRAL = {
    "#fbfaf8": "--ground",
    "#ffffff": "--card",
    "#2b2b2b": "--ink",
    "#3f3f3f": "--ink-2",
    "#4a4a4a": "--ink-2",
    "#6a6a6a": "--ink-3",
}
# No text of a drawing gets smaller than this, in pixels of the page; below it the drawing scrolls
_SMALLEST_TEXT = 10


class InlineDrawings(SphinxPostTransform):
    """Puts every SVG that stands by itself into its page instead of a link to a file."""

    default_priority = 8  # before Sphinx collects the images to copy
    formats = ("html",)

    def run(self, **_: Any) -> None:
        for number, image in enumerate(list(self.document.findall(nodes.image)), 1):
            uri, paragraph = image["uri"], image.parent
            # Among words it stays an image: a box of its own may not stand inside a paragraph
            if uri.endswith(".svg") and "://" not in uri and len(paragraph.children) == 1:
                path = Path(self.env.srcdir) / uri
                text = inline(path.read_text(encoding="utf-8"), image.get("alt", ""), f"drawing-{number}")
                paragraph.replace_self(nodes.raw("", text, format="html"))


def inline(text: str, alt: str, name: str) -> str:
    """Return the drawing `text` as HTML for a page, on which `name` is its own.

    `alt` is its name for who cannot see it; without one its own title is. Ids get `name` before them.
    On a narrow page it scrolls where it would shrink until it cannot be read; on a wide one it does not grow.
    A drawing with links is a group of them, which `alt` names; any other is one image.
    """
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(text)
    ids = {element.get("id"): f"{name}-{element.get('id')}" for element in root.iter() if element.get("id")}
    title = root.find(f"{{{_SVG}}}title")
    label = alt or (title.text if title is not None else "") or ""
    for element in root.iter():
        if element.get("id") in ids:
            element.set("id", ids[element.get("id")])
        for key, value in element.attrib.items():
            for old, new in ids.items():
                value = value.replace(f"url(#{old})", f"url(#{new})")
            element.set(key, _themed(element, key, value))
    for described in ("title", "desc"):  # the label says it; a title would also pop up as a tooltip
        for element in root.findall(f"{{{_SVG}}}{described}"):
            root.remove(element)
    for attribute in ("aria-labelledby", "aria-describedby", "width", "height"):
        root.attrib.pop(attribute, None)
    linked = root.find(f".//{{{_SVG}}}a") is not None
    if not linked:
        root.set("role", "img")
        root.set("aria-label", label)
    width = float(root.get("viewBox", "0 0 0 0").split()[2])
    smallest = min((float(size) for e in root.iter() if (size := e.get("font-size"))), default=16)
    least = min(1, _SMALLEST_TEXT / smallest) * width
    root.set("style", f"min-width:{least:.0f}px;max-width:{width:.0f}px")
    svg = re.sub(r">\s+<", "><", ElementTree.tostring(root, encoding="unicode"))
    box = escape(label) if linked else f"Drawing {name.rsplit('-', 1)[-1]}"
    return f'<div class="drawing" tabindex="0" role="group" aria-label="{box}">{svg}</div>'


def _themed(element: ElementTree.Element, key: str, value: str) -> str:
    if key not in ("fill", "stroke") or value.lower() not in _NEUTRAL:
        return value
    if value.lower() == "#ffffff" and element.tag == f"{{{_SVG}}}text":
        return value  # white text stands on the colour of a layer
    return f"var({_NEUTRAL[value.lower()]})"
