"""The HTML that cells have given, made fit for a page.

A DataFrame's table gets a head, a name, and a box that scrolls; styles written into elements, which are
for JupyterLab, give way to classes that follow the page's light and dark.
"""

from bs4 import BeautifulSoup
from bs4.element import Tag

from medallion.lesson.signs import SIGNS
from press.site import html

_VERDICTS = {sign: kind for kind, sign in SIGNS.items()} | {"Hint": "hint"}


def tidy(text: str) -> str:
    """Return the HTML `text` of an output for the page: tables named, verdicts and quizzes with classes."""
    soup = BeautifulSoup(text, "html.parser")
    for style in soup.find_all(["style", "script"]):
        style.decompose()
    for table in soup.find_all("table"):
        table.replace_with(BeautifulSoup(_table(table), "html.parser"))
    for box in soup.find_all("div", style=True, recursive=False):
        kind = _verdict(box.get_text())
        if kind:
            box["class"] = f"verdict {kind}"
    if soup.select_one("section > fieldset"):
        _quiz(soup)
    for tag in soup.find_all(style=True):
        del tag["style"]
    return str(soup)


def _verdict(text: str) -> str:
    return next((kind for sign, kind in _VERDICTS.items() if text.lstrip().startswith(sign)), "")


def _quiz(soup: BeautifulSoup) -> None:
    section = soup.section
    assert section is not None
    # Not a section: without a heading of its own it would be none
    section.name, section["class"] = "div", "quiz"
    for answer in section.find_all("details"):
        said = answer.find("p")
        if said is not None:
            said["class"] = f"verdict {_verdict(said.get_text())}"


def _table(table: Tag) -> str:
    rows = [[_cell(cell) for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]
    head, body = rows[0], rows[1:]
    width = max(map(len, rows))
    if any(len(row) != width for row in rows):
        # pandas lets the cell of an outer index span its rows, with attributes that HTML has given up
        for tag in (table, *table.find_all(True)):
            for old in ("border", "valign", "halign"):
                del tag[old]
        return html.scroller(str(table), "Table")
    numeric = [
        bool(body) and all(html.is_number(row[n]) or row[n] in ("NULL", "NaN", "None") for row in body)
        for n in range(width)
    ]
    return html.scroller(html.table(head, body, numeric), f"Table: {', '.join(filter(None, head))}")


def _cell(cell: Tag) -> str:
    return cell.get_text().strip("\n")
