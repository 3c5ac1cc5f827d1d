"""The Sphinx extension of the book: it brings the theme and joins the parts of this package to Sphinx."""

import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.highlighting import PygmentsBridge
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

from press.site import chapter, code, diagrams, extras, formulas, head, navigation, sections, terms
from press.site.config import BRANCH, addresses, previewing
from press.source import terms as index

_ALWAYS = ["medallion.js"]
_SEARCH = ["minisearch/index.js", Path(sections.SCRIPT).name, "search.js"]
_LINEAGE = ["lineage.js"]
_SENTENCE = 60  # characters
INDEX = "book/reference/terms"
_LOG = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything with Sphinx."""
    app.add_html_theme("medallion", str(Path(__file__).parent / "theme"))
    app.add_config_value("redirects", {}, "html", dict)
    app.add_html_math_renderer("mathml", (formulas.inline, None), (formulas.block, None))
    app.add_post_transform(terms.LinkTerms)
    app.add_post_transform(diagrams.InlineDrawings)
    app.add_node(HideCodeCellNode, override=True, html=(_open_fold, _close_fold))
    PygmentsBridge.html_formatter = code.Formatter
    app.set_translator("html", Translator, override=True)
    app.connect("builder-inited", _without_search_by_page)
    app.connect("source-read", _read_chapter)
    app.connect("html-collect-pages", _more_pages)
    # After every other extension, whose scripts and styles are left out here
    app.connect("html-page-context", _page_context, priority=900)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Translator(HTML5Translator):
    """Writes tables in boxes that scroll, and names the link that stands beside a heading.

    A table of sentences also says beside each cell the name of its column, for a page on which it is stacked.
    """

    stacked: Sequence[str] = ()  # of the table that is being written, the heads if it can be stacked

    def visit_table(self, node: nodes.table) -> None:
        heads = [entry.astext() for head in node.findall(nodes.thead) for entry in head.findall(nodes.entry)]
        name = ", ".join(filter(None, heads)) or "rows"
        self.stacked = heads if _has_sentences(node) else []
        kind = "scroller stack" if self.stacked else "scroller"
        self.body.append(f'<div class="{kind}" role="group" tabindex="0" aria-label="Table: {escape(name)}">')
        super().visit_table(node)

    def visit_entry(self, node: nodes.entry) -> None:
        place = node.parent.index(node)
        super().visit_entry(node)
        if self.stacked and self.body[-1].startswith("<td"):
            head = escape(self.stacked[place])
            self.body[-1] = self.body[-1].replace("<td", f'<td data-head="{head}"', 1)

    def depart_table(self, node: nodes.table) -> None:
        super().depart_table(node)
        self.body.append("</div>\n")

    def add_permalink_ref(self, node: nodes.Element, title: str) -> None:
        if node["ids"] and self.config.html_permalinks and self.builder.add_permalinks:
            name = next(iter(node.findall(nodes.title)), node).astext()
            self.body.append(
                f'<a class="headerlink" href="#{node["ids"][0]}" '
                f'aria-label="Link to: {escape(name)}">{self.config.html_permalinks_icon}</a>'
            )


def _has_sentences(table: nodes.table) -> bool:
    """Say whether two of at least three columns hold sentences: on a phone there is no room for both."""
    rows = [
        list(row.findall(nodes.entry))
        for body in table.findall(nodes.tbody)
        for row in body.findall(nodes.row)
    ]
    columns = list(zip(*rows, strict=False))
    long = [column for column in columns if max(len(entry.astext()) for entry in column) > _SENTENCE]
    return len(columns) >= 3 and len(long) >= 2


def _open_fold(translator: HTML5Translator, node: HideCodeCellNode) -> None:
    translator.body.append(
        f'<details class="fold hidden-cell"><summary>{escape(node["prompt_show"])}</summary>\n'
    )


def _close_fold(translator: HTML5Translator, _: HideCodeCellNode) -> None:
    translator.body.append("</details>\n")


def _without_search_by_page(app: Sphinx) -> None:
    if isinstance(app.builder, StandaloneHTMLBuilder):
        app.builder.search = False  # Sphinx's own finds pages; the book has a search that finds sections


def _read_chapter(_: Sphinx, docname: str, source: list[str]) -> None:
    number = navigation.number_of(docname)
    if number:
        shown = chapter.page(json.loads(source[0]), chapter.about(number), addresses())
        source[0] = json.dumps(shown)


def _more_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "404", {"title": "No such page"}, "notfound.html"
    _write_sections(app)
    yield "search", {"title": "Search", "terms": INDEX if INDEX in app.env.titles else ""}, "search.html"
    for old, new in app.config.redirects.items():
        if new not in app.env.titles or old in app.env.titles:
            _LOG.warning(
                "_config.yml: the redirect from %s to %s leads from a page, or to none. Fix it.", old, new
            )
            continue
        title = app.env.titles[new].astext()
        yield old, {"title": title, "target": app.builder.get_relative_uri(old, new)}, "redirect.html"


def _write_sections(app: Sphinx) -> None:
    """Write what the search looks in: the sections of all pages, and the terms that each teaches."""
    pages = navigation.pages(app)
    read = [name for name in pages if name != INDEX]  # which holds the headings of all others
    found = [one for name in read for one in sections.of(name, app.env.get_doctree(name))]
    chapters = {number: name for name in pages if (number := navigation.number_of(name))}
    known = index.read(Path(app.srcdir))
    text = sections.script(found, pages, known, sections.taught(known, found, chapters))
    sections.write(Path(app.outdir), text)


def _page_context(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    urls = addresses()
    number = navigation.number_of(pagename)
    text = context.get("body", "")
    scripts = [
        *(_SEARCH if template == "search.html" else []),
        *_ALWAYS,
        *(_LINEAGE if 'class="lineage"' in text else []),
    ]
    is_page = pagename in app.env.all_docs
    context.update(
        css_files=[],
        script_files=[],
        our_scripts=scripts,
        has_figures='class="plot"' in text,
        plotly=extras.PLOTLY,
        theme_script=head.THEME_SCRIPT,
        policy="" if previewing() else head.policy(head.THEME_SCRIPT),
        description=head.description(doctree) if is_page else "",
        canonical=head.canonical(urls, pagename, app.config.root_doc) if is_page else "",
        site=urls.site,
        source=urls.source,
        edit=head.edit_address(
            urls, pagename, BRANCH, app.env.doc2path(pagename, base=False)[len(pagename) :]
        )
        if is_page
        else "",
        parts=navigation.parts(app),
        chapter=chapter.about(number) if number else None,
        sections=_without_own_name(context.get("toc", "")),
    )


def _without_own_name(toc: str) -> str:
    """Return the list of a page's sections without the page itself at its top, or "" when it has none."""
    inner = re.search(
        r"<a class=\"reference internal\" href=\"#\">.*?</a>\s*(<ul>.*</ul>)\s*</li>", toc, re.S
    )
    return inner[1] if inner else ""


def _finish(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.name != "html":
        return
    out, urls, root = Path(app.outdir), addresses(), app.config.root_doc
    extras.strip_comments(out)
    extras.copy_exercises(Path(app.srcdir), out)
    extras.write_entry(out, root)
    extras.write_not_found(out, urls)
    extras.write_robots(out, urls)
    if urls.site:
        pages = sorted(app.env.all_docs, key=lambda name: (name != root, name))
        extras.write_site_map(out, [head.canonical(urls, name, root) for name in pages])
