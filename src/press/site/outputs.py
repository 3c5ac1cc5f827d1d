"""How the outputs of cells become part of a page: the plug-in that myst-nb finds by its entry point."""

from collections.abc import Sequence
from typing import Any, ClassVar

from docutils import nodes

from medallion.errors import MedallionError
from press.site import figures, tables


class Renderer:
    """Renders Plotly figures, which myst-nb would drop, and HTML; leaves every other kind to myst-nb."""

    mime_priority_overrides: ClassVar[Sequence[tuple[str, str, int | None]]] = [("html", figures.MIME, 1)]

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[nodes.Element] | None:
        """Return the nodes of an output, or None. A figure that is empty or no figure is a warning."""
        if inline or data.mime_type not in (figures.MIME, "text/html"):
            return None
        if data.mime_type == "text/html":
            text = tables.tidy(data.string)
        else:
            try:
                text = figures.page_html(data.content, data.output_metadata.get("alt", ""))
            except MedallionError as error:
                renderer.logger.warning(str(error), subtype="figure", line=data.line)
                return []
        return [nodes.raw("", text, format="html", classes=["output"])]
