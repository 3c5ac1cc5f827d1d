"""The files beside the pages: the entry page, the page for a wrong address, redirects, the list for
search engines, and the exercises to download."""

import posixpath
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from press.site.config import Addresses

PLOTLY = "_static/plotly/plotly-cartesian.min.js"
_LINK = re.compile(r'(?P<before>\s(?:href|src|action|data-plotly)=")(?P<link>[^"]*)"')
_OURS = ("medallion.css", "medallion.js", "figures.js", "lineage.js")
# In a script only lines that are nothing but a comment: two slashes also stand in addresses
_COMMENT = {".css": re.compile(r"/\*.*?\*/", re.DOTALL), ".js": re.compile(r"^\s*//.*\n", re.MULTILINE)}
_ROOT = re.compile(r'data-content_root="[^"]*"')


def strip_comments(out: Path) -> None:
    """Take the comments and the indents out of our own style sheet and scripts: an eighth of their weight."""
    for name in _OURS:
        path = out / "_static" / name
        text = _COMMENT[path.suffix].sub("", path.read_text(encoding="utf-8"))
        path.write_text(re.sub(r"\n\s+", "\n", text), encoding="utf-8", newline="\n")


def copy_exercises(root: Path, out: Path) -> None:
    """Copy the exercise notebooks to where the chapters' pages offer them."""
    (out / "exercises").mkdir(parents=True, exist_ok=True)
    for notebook in sorted((root / "exercises").glob("*.ipynb")):
        shutil.copyfile(notebook, out / "exercises" / notebook.name)


def moved(text: str, page: str, to: str) -> str:
    """Return the HTML of `page` ("book/welcome.html") as it has to be at `to` ("index.html").

    Links inside the site are followed from the page's old place and written for the new one. `to` may end
    in a slash: then they are written from that address, for a page that answers at any depth.
    """

    def link(found: re.Match[str]) -> str:
        address = found["link"]
        parts = urlsplit(address)
        if parts.scheme or parts.netloc or address.startswith("#") or not address:
            return found[0]
        path, mark, rest = re.match(r"([^?#]*)([?#]?)(.*)", address).groups()  # type: ignore[union-attr]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
        new = to + target if to.endswith("/") else posixpath.relpath(target, posixpath.dirname(to) or ".")
        return f'{found["before"]}{new}{mark}{rest}"'

    root = to if to.endswith("/") else "./"
    return _ROOT.sub(f'data-content_root="{root}"', _LINK.sub(link, text))


def write_entry(out: Path, welcome: str) -> None:
    """Write `index.html`: the welcome page, at the address of the site."""
    _rewrite(out, f"{welcome}.html", "index.html", "index.html")


def write_not_found(out: Path, urls: Addresses) -> None:
    """Make the links of `404.html` absolute: the page is shown at whatever address was wrong."""
    _rewrite(out, "404.html", "404.html", f"{urlsplit(urls.site).path}/")


def _rewrite(out: Path, page: str, file: str, to: str) -> None:
    text = (out / page).read_text(encoding="utf-8")
    (out / file).write_text(moved(text, page, to), encoding="utf-8", newline="\n")


def write_site_map(out: Path, addresses: list[str]) -> None:
    """Write `sitemap.xml` with the addresses of all pages, and `robots.txt`, which points to it."""
    listed = "\n".join(f"<url><loc>{escape(address)}</loc></url>" for address in addresses)
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{listed}\n</urlset>\n'
    )
    (out / "sitemap.xml").write_text(text, encoding="utf-8", newline="\n")


def write_robots(out: Path, urls: Addresses) -> None:
    """Write `robots.txt`: all may be read, and where the list of pages is."""
    lines = ["User-agent: *", "Allow: /"]
    if urls.site:
        lines.append(f"Sitemap: {urls.site}/sitemap.xml")
    (out / "robots.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
