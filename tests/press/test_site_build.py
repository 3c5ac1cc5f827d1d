"""The site as `medallion site` builds it: what every page has, and what stops a build."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from medallion import paths
from medallion.errors import MedallionError
from press.site import build, extras

# Bytes of a chapter's page, and of a first visit: the page, its styles and its scripts
LARGEST_CHAPTER = 400_000


@pytest.fixture(scope="module")
def pages(site) -> dict[str, BeautifulSoup]:
    return {
        path.relative_to(site).as_posix(): BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in sorted(site.rglob("*.html"))
    }


def test_every_page_of_the_list_is_there(pages):
    for name in ("index.html", "404.html", "search.html", "book/setup.html", "notebooks/00_tour.html"):
        assert name in pages
    assert "setup.html" in pages  # a short address that leads to it


def test_every_page_has_a_language_a_title_a_policy_a_skip_link_and_one_heading(pages):
    titles = {}
    for name, page in pages.items():
        assert page.html["lang"] == "en", name
        titles.setdefault(page.title.get_text(), []).append(name)
        policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
        assert "default-src 'self'" in policy and "unsafe-eval" not in policy, name
        skip = page.body.find("a")
        assert page.find(id=skip["href"].removeprefix("#")).name == "main", name
        assert len(page.find_all("h1")) == 1, name
    twins = [names for names in titles.values() if len(names) > 1]
    assert all(
        set(names) <= {"index.html", "book/welcome.html"} or _redirects(names, pages) for names in twins
    )


def _redirects(names, pages) -> bool:
    """Say whether all but one of the pages only lead to another."""
    return (
        sum(page.find("meta", attrs={"http-equiv": "refresh"}) is None for page in map(pages.get, names)) == 1
    )


def test_every_page_of_the_book_has_a_description_of_its_own(pages):
    held = {}
    for name, page in pages.items():
        if name.startswith(("book/", "notebooks/", "datasets/")):
            held[name] = page.find("meta", attrs={"name": "description"})["content"]
            assert 40 <= len(held[name]) <= 165, name
    assert len(set(held.values())) == len(held)


def test_no_page_takes_anything_from_another_host(pages):
    for name, page in pages.items():
        for tag in page.find_all(["script", "link", "img", "iframe", "source"]):
            address = tag.get("src") or tag.get("href") or ""
            assert not urlsplit(address).netloc, (name, address)
        inline = [tag for tag in page.find_all("script") if not tag.get("src") and not tag.get("type")]
        assert len(inline) == 1, name


def test_every_link_and_every_anchor_leads_somewhere(site, pages):
    for name, page in pages.items():
        for tag in page.find_all(["a", "link", "script", "img"]):
            address = urlsplit(tag.get("href") or tag.get("src") or "")
            if address.scheme or address.netloc:
                continue
            base = site if name == "404.html" else (site / name).parent
            target = (base / unquote(address.path).lstrip("/" if name == "404.html" else "")).resolve()
            target = target if address.path else site / name
            assert target.exists(), (name, tag)
            if address.fragment and target.suffix == ".html":
                anchors = pages[target.relative_to(site.resolve()).as_posix()]
                assert anchors.find(id=unquote(address.fragment)), (name, tag)


def test_every_fold_and_every_drawing_has_a_name_of_its_own(pages):
    for name, page in pages.items():
        folds = [" ".join(s.get_text().split()) for s in page.select("details.fold > summary")]
        assert all(folds) and len(folds) == len(set(folds)), name
        for drawing in page.select("[role=img]"):
            assert len(drawing["aria-label"]) >= 20, name


def test_the_script_that_draws_is_only_on_pages_with_figures(site, pages):
    assert (site / extras.PLOTLY).stat().st_size > 1_000_000
    for name, page in pages.items():
        scripts = [tag for tag in page.find_all("script") if tag.get("data-plotly")]
        assert len(scripts) == (1 if page.select("figure.plot") else 0), name
    assert pages["notebooks/01_data_ingestion_bronze.html"].select("figure.plot")


def test_every_figure_of_a_chapter_is_on_its_page(pages):
    for path in (paths.root() / "notebooks").glob("*.ipynb"):
        stored = path.read_text(encoding="utf-8").count('"application/vnd.plotly.v1+json"')
        assert len(pages[f"notebooks/{path.stem}.html"].select("figure.plot")) == stored


def test_a_chapter_offers_its_exercises_and_links_to_the_glossary(site, pages):
    page = pages["notebooks/00_tour.html"]
    [download] = [a for a in page.select("a.action") if a["href"].endswith(".ipynb")]
    assert (site / "notebooks" / download["href"]).resolve().read_bytes() == (
        paths.root() / "exercises" / "00_tour.ipynb"
    ).read_bytes()
    assert page.select('a.term[href="../book/glossary.html#lakehouse"]')


def test_the_pages_of_the_chapters_are_light(site):
    for path in sorted((site / "notebooks").glob("*.html")):
        size = path.stat().st_size
        print(f"{path.name}: {size / 1000:.0f} kB")
        assert size < LARGEST_CHAPTER, path.name


def test_no_page_names_a_path_of_this_machine(site, pages):
    for path in site.rglob("*"):
        if path.suffix in (".html", ".js", ".json", ".xml") and path != site / extras.PLOTLY:
            text = path.read_text(encoding="utf-8")
            assert str(paths.root()) not in text and str(site) not in text, path


@pytest.fixture
def small(tmp_path) -> Path:
    """A book of two pages: a first page, and chapter 01 as it is stored."""
    root = tmp_path / "book of two"
    (root / "notebooks").mkdir(parents=True)
    (root / "book").mkdir()
    (root / "exercises").mkdir()
    config = (paths.root() / "_config.yml").read_text(encoding="utf-8")
    config = re.sub(r"    redirects:\n(      .*\n)+", "", config)
    (root / "_config.yml").write_text(config, encoding="utf-8")
    shutil.copytree(paths.root() / "book" / "_static", root / "book" / "_static")
    shutil.copytree(paths.root() / "book" / "figures", root / "book" / "figures")
    notebook = "01_data_ingestion_bronze.ipynb"
    shutil.copyfile(paths.root() / "notebooks" / notebook, root / "notebooks" / notebook)
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/welcome\nchapters:\n  - file: notebooks/01_data_ingestion_bronze\n",
        encoding="utf-8",
    )
    (root / "book" / "welcome.md").write_text("# A book\n\nIt has a page and a chapter.\n", encoding="utf-8")
    return root


def _edit_figure(root: Path, edit) -> None:
    path = root / "notebooks" / "01_data_ingestion_bronze.ipynb"
    book = json.loads(path.read_text(encoding="utf-8"))
    outputs = [output for cell in book["cells"] for output in cell.get("outputs", [])]
    edit(
        next(
            output["data"] for output in outputs if "application/vnd.plotly.v1+json" in output.get("data", {})
        )
    )
    path.write_text(json.dumps(book), encoding="utf-8")


def test_a_failed_build_says_what_is_wrong_and_leaves_the_old_site(small, capfd):
    built = build.build(small)
    before = (built / "index.html").read_bytes()
    _edit_figure(small, lambda data: data["application/vnd.plotly.v1+json"].update(data=[]))
    (small / "book" / "welcome.md").write_text("# A book\n\n[Gone](nowhere.md)\n", encoding="utf-8")
    with pytest.raises(MedallionError, match="The site was not built"):
        build.build(small)
    said = capfd.readouterr().err
    assert "The figure is empty" in said and "nowhere" in said
    assert (built / "index.html").read_bytes() == before


def test_with_the_address_of_the_site_a_page_says_its_own_and_without_it_none(small, pages, monkeypatch):
    assert not any(page.select("link[rel=canonical], meta[property]") for page in pages.values())
    monkeypatch.setenv("MEDALLION_SITE_URL", "https://book.example/medallion")
    site = build.build(small)
    said = {}
    for name in ("index.html", "book/welcome.html", "notebooks/01_data_ingestion_bronze.html", "404.html"):
        page = BeautifulSoup((site / name).read_text(encoding="utf-8"), "html.parser")
        said[name] = [link["href"] for link in page.select("link[rel=canonical]")]
        if name == "404.html":
            assert page.select_one("a.brand")["href"] == "/medallion/book/welcome.html"
        else:
            card = page.select_one("meta[property='og:image']")["content"]
            assert card == "https://book.example/medallion/_static/card.png"
    chapter = "https://book.example/medallion/notebooks/01_data_ingestion_bronze.html"
    first = "https://book.example/medallion/"
    assert list(said.values()) == [[first], [first], [chapter], []]
    site_map = (site / "sitemap.xml").read_text(encoding="utf-8")
    assert re.findall("<loc>(.*)</loc>", site_map) == [first, chapter]
