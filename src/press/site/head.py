"""What stands in the head of a page: the security policy, the description, the addresses."""

import re
from base64 import b64encode
from hashlib import sha256

from docutils import nodes

from press.site.config import Addresses

# Before the first paint, so that a page that its reader wants dark does not flash in white
THEME_SCRIPT = 'try{document.documentElement.dataset.theme=localStorage.getItem("theme")||"system"}catch{}'
LONGEST = 160


def policy(*scripts: str) -> str:
    """Return the content security policy: everything from this host, and of inline scripts only `scripts`.

    Styles in elements are allowed: Plotly sets them on what it draws. The policy stands in a `<meta>`, where
    browsers take no `frame-ancestors`: whether others may frame a page is for the host of the site to say, in
    a header. The pages have no forms that change anything, and no logins.
    """
    hashes = " ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in scripts)
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src 'self' {hashes}".rstrip(),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ]
    )


def description(doctree: nodes.document | None) -> str:
    """Return what a search engine shows of a page: its title and first paragraph, cut where it is long."""
    if doctree is None:
        return ""
    title = next((node.astext() for node in doctree.findall(nodes.title)), "")
    for paragraph in doctree.findall(nodes.paragraph):
        text = re.sub(r"\s+", " ", paragraph.astext()).strip()
        if len(text) >= 40:
            return shortened(f"{title}. {text}" if title else text)
    return ""


def shortened(text: str) -> str:
    """Return `text`, cut after a sentence or a word where it is longer than a description may be."""
    if len(text) <= LONGEST:
        return text
    cut = text[:LONGEST]
    if ". " in cut[80:]:
        return cut[: cut.rindex(". ") + 1]
    return cut[: cut.rindex(" ")].rstrip(",;:") + "…"


def canonical(urls: Addresses, pagename: str, root: str) -> str:
    """Return the one address of a page, or "" when the site's is not known; the root page is the site's."""
    if not urls.site:
        return ""
    return f"{urls.site}/" if pagename == root else f"{urls.site}/{pagename}.html"


def edit_address(urls: Addresses, pagename: str, branch: str, suffix: str) -> str:
    """Return where the source of a page is edited.

    Returns "" when the repository's address is not known, and for the reference, which is produced.
    """
    if not urls.source or pagename.startswith("book/reference/"):
        return ""
    chapter = re.fullmatch(r"notebooks/(\d\d_\w+)", pagename)
    path = f"book/chapters/{chapter[1]}/lesson.py" if chapter else f"{pagename}{suffix}"
    return f"{urls.source}/edit/{branch}/{path}"
