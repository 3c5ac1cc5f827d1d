"""What cells have given becomes fit for a page: figures with their data, tables, verdicts, quizzes."""

import json
import re
from base64 import b64encode
from types import SimpleNamespace

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import pytest
from bs4 import BeautifulSoup

import medallion
from medallion import paths
from medallion.errors import MedallionError
from medallion.lesson import charts, quiz
from medallion.lesson.signs import LAYERS
from press.site import figures, html, tables
from press.site.outputs import Renderer

ch01 = medallion.checks("01")

ALT = "Bar chart of the rows of three layers. Bronze has most of them."


def stored(figure: go.Figure) -> dict:
    """Return the figure as a notebook stores it."""
    return json.loads(figure.to_json())


def bars() -> dict:
    layers = ["bronze", "silver", "gold"]
    labels = {"x": "layer", "y": "rows"}
    return stored(
        px.bar(x=layers, y=np.array([3, 2, 1]), title="Rows", labels=labels, template=charts.TEMPLATE)
    )


def test_the_data_of_a_figure_names_its_columns_by_the_axes_and_decodes_the_bytes():
    figure = bars()
    assert "bdata" in figure["data"][0]["y"]
    assert figures.data(figure) == figures.Data(
        ["layer", "rows"], [["bronze", "3"], ["silver", "2"], ["gold", "1"]], [False, True]
    )


def test_several_traces_have_a_column_for_the_series():
    figure = go.Figure([go.Scatter(name="a", x=[1, 2], y=[0.5, None]), go.Scatter(name="b", x=[1], y=[7.0])])
    held = figures.data(stored(figure))
    assert held.head == ["series", "x", "y"]
    assert held.rows == [["a", "1", "0.5"], ["a", "2", ""], ["b", "1", "7"]]
    assert held.numeric == [False, True, True]


def test_a_heat_map_and_a_sankey_diagram_are_rows():
    heat = go.Figure(go.Heatmap(x=["w1", "w2"], y=["Mo"], z=[[1, 2.5]]))
    assert figures.data(stored(heat)).rows == [["w1", "Mo", "1"], ["w2", "Mo", "2.5"]]
    flow = go.Figure(
        go.Sankey(node={"label": ["in", "out"]}, link={"source": [0], "target": [1], "value": [4]})
    )
    assert figures.data(stored(flow)).rows == [["in", "out", "4"]]


def test_a_cell_of_a_heat_map_without_a_value_is_no_row():
    heat = go.Figure(go.Heatmap(x=["w1", "w2"], y=["Mo"], z=np.array([[np.nan, 2.5]])))
    assert figures.data(stored(heat)).rows == [["w2", "Mo", "2.5"]]


def test_a_day_has_no_midnight_and_a_moment_has_its_time():
    for moment, shown in (("2025-07-01", "2025-07-01"), ("2025-07-02 10:00", "2025-07-02T10:00:00")):
        line = go.Figure(go.Scatter(x=pd.to_datetime([moment]), y=[1]))
        (row,) = figures.data(stored(line)).rows
        assert row[0].removesuffix(".000000000") == shown


def test_charts_side_by_side_have_one_column_for_what_they_share():
    frame = pd.DataFrame({"day": [1, 2], "sales": [3, 4], "shop": ["a", "b"]})
    held = figures.data(stored(px.line(frame, x="day", y="sales", facet_col="shop")))
    assert held.head == ["series", "day", "sales"]


def test_a_gap_in_a_line_is_no_point():
    broken = go.Figure(go.Scatter(x=[1, 2, None, 3], y=[5, None, None, 7]))
    assert figures.data(stored(broken)).rows == [["1", "5"], ["2", ""], ["3", "7"]]


def test_a_matrix_in_bytes_keeps_its_shape():
    cells = np.arange(6, dtype="<i2")
    held = {"bdata": b64encode(cells.tobytes()).decode(), "dtype": "i2", "shape": "2, 3"}
    assert figures.values(held) == [[0, 1, 2], [3, 4, 5]]


def test_bytes_that_are_not_of_their_type_are_an_error():
    with pytest.raises(MedallionError, match="An array of the figure cannot be read"):
        figures.values({"bdata": "AAA=", "dtype": "i4"})


def test_the_page_has_the_figure_once_with_its_alt_text_and_a_table():
    figure = bars()
    figure["layout"]["title"]["text"] = "Rows </script><b>"
    text = figures.page_html(figure, ALT)
    soup = BeautifulSoup(text, "html.parser")
    [script] = soup.find_all("script")
    assert json.loads(script.string) == figure
    assert script["type"] == "application/json"
    area = soup.select_one(".plot-area")
    assert (area["role"], area["aria-label"], area["style"]) == ("img", ALT, "height:360px")
    assert soup.summary.get_text() == "The data of the figure: Rows </script><b>"
    assert len(soup.select("details tbody tr")) == 3


def test_a_long_table_says_that_it_is_cut():
    figure = stored(go.Figure(go.Scatter(x=list(range(301)), y=list(range(301)))))
    soup = BeautifulSoup(figures.page_html(figure, ALT), "html.parser")
    assert len(soup.select("tbody tr")) == figures.MOST_ROWS
    assert "The first 300 of 301 rows." in soup.get_text()


@pytest.mark.parametrize(
    ("figure", "alt", "said"),
    [
        ("<div>", ALT, "no Plotly figure"),
        ({"layout": {}}, ALT, "no Plotly figure"),
        ({"data": []}, ALT, "The figure is empty"),
        ({"data": [{"type": "bar", "x": [], "y": []}]}, ALT, "The figure is empty"),
        (bars(), "", "no alt text"),
        (bars(), "Figure({'data': [{'hovertemplate'", "no alt text"),
    ],
)
def test_a_figure_that_shows_nothing_or_says_nothing_is_an_error(figure, alt, said):
    with pytest.raises(MedallionError, match=said):
        figures.page_html(figure, alt)


def rendered(mime, content, alt=""):
    warned = []
    renderer = SimpleNamespace(logger=SimpleNamespace(warning=lambda text, **_: warned.append(text)))
    data = SimpleNamespace(
        mime_type=mime, content=content, string=content, output_metadata={"alt": alt}, line=1
    )
    return Renderer.handle_mime(renderer, data, False), warned


def test_the_renderer_takes_figures_and_html_and_leaves_the_rest():
    [node], warned = rendered(figures.MIME, bars(), ALT)
    assert 'class="plot"' in node.astext() and not warned
    [node], warned = rendered("text/html", "<table><tr><th>a</th></tr><tr><td>1</td></tr></table>")
    assert 'scope="col"' in node.astext() and not warned
    assert rendered("text/plain", "a") == (None, [])


def test_an_empty_figure_is_a_warning_which_fails_the_build():
    assert rendered(figures.MIME, {"data": []}, ALT) == (
        [],
        ["The figure is empty. Draw at least one value, or leave the figure out."],
    )


def test_a_dataframe_gets_a_head_a_name_and_its_numbers_to_the_right():
    text = (
        "<table border='1'>\n<tr><th>city</th><th>count</th></tr>\n"
        "<tr><td>K&ouml;ln &lt;1&gt;</td><td>1,200</td></tr>\n<tr><td>NULL</td><td>NULL</td></tr>\n</table>"
    )
    soup = BeautifulSoup(tables.tidy(text), "html.parser")
    box = soup.select_one(".scroller")
    assert (box["role"], box["tabindex"], box["aria-label"]) == ("group", "0", "Table: city, count")
    assert not soup.table.has_attr("border")
    assert [th["scope"] for th in soup.select("thead th")] == ["col", "col"]
    rows = [[td.get_text() for td in tr.find_all("td")] for tr in soup.select("tbody tr")]
    assert rows == [["Köln <1>", "1,200"], ["NULL", "NULL"]]
    assert [td.get("class") for td in soup.select("tbody tr")[0].find_all("td")] == [None, ["number"]]


def test_the_styles_of_pandas_are_left_out():
    text = (
        "<div><style scoped>.x {}</style><table class='dataframe'><tr><th></th><th>a</th></tr></table></div>"
    )
    assert "style" not in tables.tidy(text)
    assert "Table: a" in tables.tidy(text)


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        (ch01.schema_hints.right("Yes."), "right"),
        (ch01.schema_hints.wrong("No <b>."), "wrong"),
        (ch01.schema_hints.not_done(), "open"),
    ],
)
def test_a_verdict_gets_a_class_instead_of_a_style(verdict, kind):
    box = BeautifulSoup(tables.tidy(verdict._repr_html_()), "html.parser").div
    assert box["class"] == ["verdict", kind] and not box.has_attr("style")


def test_every_answer_of_a_quiz_says_whether_it_is_right():
    soup = BeautifulSoup(tables.tidy(quiz.show("01")._repr_html_()), "html.parser")
    kinds = [p["class"] for p in soup.select(".quiz details > p")]
    assert kinds.count(["verdict", "right"]) == len(soup.find_all("fieldset")) == 6
    assert all(kind in (["verdict", "right"], ["verdict", "wrong"]) for kind in kinds)
    assert not soup.find_all(style=True)


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", True), ("-1,200.5", True), ("1e-05", True), ("2025-07-01", False), ("", False), ("4th", False)],
)
def test_what_a_number_is(text, number):
    assert html.is_number(text) is number


def test_the_layers_have_the_same_colours_on_the_pages():
    css = (paths.root() / "book" / "_static" / "medallion.css").read_text(encoding="utf-8")
    for layer, colour in LAYERS.items():
        assert re.search(rf"--{layer}: {colour};", css), layer


def test_a_table_with_an_outer_index_has_no_attributes_of_old():
    rows = pd.DataFrame({"kind": ["a", "a"], "of": ["x", "y"], "n": [1, 2]}).set_index(["kind", "of"])
    page = tables.tidy(rows.to_html())
    assert 'rowspan="2"' in page and 'tabindex="0"' in page
    assert "border" not in page and "valign" not in page and "halign" not in page
