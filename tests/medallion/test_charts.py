"""The look of the charts: told apart by any eye, on either page and on grey paper."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import pytest

from medallion.lesson import charts, signs

# What an eye makes of linear red, green and blue. The dichromats: Machado, Oliveira, Fernandes, "A
# physiologically-based model for simulation of color vision deficiency" (2009), table 1, severity 1.0. Grey:
# the luminance of ITU-R BT.709, which WCAG uses too.
EYES = {
    "normal": np.eye(3),
    "protanope": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranope": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "grey": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),
}
# The least difference between two series by CIEDE2000, where about 2 can just be seen side by side. On grey
# paper only lightness is left, and the limits of contrast leave little of it: the forms do the rest.
LEAST = {"normal": 14, "protanope": 10, "deuteranope": 10, "grey": 4.5}
# What a chart stands on: the box of the book, light and dark, and the notebooks of JupyterLab
GROUNDS = ("#ffffff", "#1d2024", "#111111")


def linear(colour):
    """Return a colour of sRGB, "#rrggbb", as linear light."""
    held = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(held <= 0.04045, held / 12.92, ((held + 0.055) / 1.055) ** 2.4)


def lab(light):
    """Return linear light as CIELAB under D65."""
    x = [0.4124564, 0.3575761, 0.1804375]
    y = [0.2126729, 0.7151522, 0.0721750]
    z = [0.0193339, 0.1191920, 0.9503041]
    xyz = np.array([x, y, z]) @ np.clip(light, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


def ciede2000(one, other):
    """Return the difference of two colours in CIELAB.

    Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary test data,
    and mathematical observations" (2005), whose names for the parts are kept here.
    """
    (l_1, a_1, b_1), (l_2, a_2, b_2) = one, other
    c_mean = (np.hypot(a_1, b_1) + np.hypot(a_2, b_2)) / 2
    g = 0.5 * (1 - np.sqrt(c_mean**7 / (c_mean**7 + 25**7)))
    c_1, c_2 = np.hypot(a_1 * (1 + g), b_1), np.hypot(a_2 * (1 + g), b_2)
    h_1 = np.degrees(np.arctan2(b_1, a_1 * (1 + g))) % 360
    h_2 = np.degrees(np.arctan2(b_2, a_2 * (1 + g))) % 360
    turn = (h_2 - h_1 + 180) % 360 - 180 if c_1 * c_2 else 0
    d_h = 2 * np.sqrt(c_1 * c_2) * np.sin(np.radians(turn / 2))
    l_mean, c_mean = (l_1 + l_2) / 2, (c_1 + c_2) / 2
    h_mean = (h_1 + turn / 2) % 360 if c_1 * c_2 else h_1 + h_2
    waves = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.2, 4, -63))
    t = 1 + sum(size * np.cos(np.radians(times * h_mean + shift)) for size, times, shift in waves)
    r_c = 2 * np.sqrt(c_mean**7 / (c_mean**7 + 25**7))
    r_t = -r_c * np.sin(np.radians(60 * np.exp(-(((h_mean - 275) / 25) ** 2))))
    s_l = 1 + 0.015 * (l_mean - 50) ** 2 / np.sqrt(20 + (l_mean - 50) ** 2)
    lightness, chroma = (l_2 - l_1) / s_l, (c_2 - c_1) / (1 + 0.045 * c_mean)
    hue = d_h / (1 + 0.015 * c_mean * t)
    return float(np.sqrt(lightness**2 + chroma**2 + hue**2 + r_t * chroma * hue))


def alike(colours):
    """Return each pair of colours that some eye can hardly tell apart: the eye, the pair, the difference."""
    found = {
        (eye, one, other): ciede2000(lab(seen @ linear(one)), lab(seen @ linear(other)))
        for eye, seen in EYES.items()
        for one, other in combinations(colours, 2)
    }
    return {pair: difference for pair, difference in found.items() if difference < LEAST[pair[0]]}


def contrast(one, other):
    """Return the contrast of two colours by WCAG 2.2."""
    low, high = sorted(float(linear(colour) @ EYES["grey"][0]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((50, 2.5, 0), (56, -27, -3), 31.9030),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_difference_is_that_of_the_published_test_data(one, other, difference):
    assert ciede2000(one, other) == pytest.approx(difference, abs=1e-4)


def test_any_two_series_differ_for_every_eye_and_on_grey_paper():
    assert len(charts.SERIES) == 4
    assert alike(charts.SERIES) == {}


def test_the_colours_of_the_layers_would_not_do():
    layers = [signs.LAYERS[layer] for layer in ("source", "bronze", "silver", "gold")]
    eyes = {eye for eye, _, _ in alike(layers)}
    assert eyes == {"normal", "protanope", "deuteranope", "grey"}


@pytest.mark.parametrize("colour", charts.SERIES)
def test_a_series_is_seen_on_a_light_and_on_a_dark_page(colour):
    assert min(contrast(colour, ground) for ground in GROUNDS) >= 3


def shown(figure, monkeypatch):
    """Return the traces as the output of a notebook holds them."""
    drawn = []
    monkeypatch.setattr("IPython.display.display", lambda held, raw: drawn.append(held))
    charts.show(figure, alt="A chart of numbers.")
    json.dumps(drawn[0])
    return drawn[0]["application/vnd.plotly.v1+json"]["data"]


FOUR = pd.DataFrame({"n": [1, 2] * 4, "y": range(8), "kind": list("aabbccdd"), "half": list("xxxxyyyy")})


def test_every_line_has_a_dash_and_a_symbol_of_its_own(monkeypatch):
    figure = px.line(FOUR, x="n", y="y", color="kind", markers=True)
    traces = shown(figure, monkeypatch)
    assert [trace["line"]["dash"] for trace in traces] == list(charts.DASHES)
    assert [trace["marker"]["symbol"] for trace in traces] == list(charts.SYMBOLS)
    assert {trace.line.dash for trace in figure.data} == {"solid"}, "the author's figure was changed"


def test_a_name_has_one_form_in_all_parts_of_a_figure(monkeypatch):
    figure = px.line(FOUR.assign(kind=list("aabbaabb")), x="n", y="y", color="kind", facet_col="half")
    traces = shown(figure, monkeypatch)
    forms = {(trace["name"], trace["line"]["dash"]) for trace in traces}
    assert len(traces) == 4 and forms == {("a", "solid"), ("b", "dash")}


def test_every_kind_of_bar_has_a_pattern_and_a_lone_one_has_none(monkeypatch):
    traces = shown(px.bar(FOUR, x="n", y="y", color="kind"), monkeypatch)
    assert [trace["marker"]["pattern"]["shape"] for trace in traces] == list(charts.PATTERNS)
    lone = shown(px.bar(FOUR, x="n", y="y"), monkeypatch)
    assert lone[0]["marker"]["pattern"]["shape"] == ""


def test_forms_that_an_author_has_chosen_stay(monkeypatch):
    figure = go.Figure([go.Scatter(y=[1], mode="lines", line_dash=dash) for dash in ("dot", "solid")])
    assert [trace["line"]["dash"] for trace in shown(figure, monkeypatch)] == ["dot", "solid"]


def test_a_network_has_a_line_for_each_tie_and_a_symbol_for_each_kind():
    family = pd.DataFrame({"src": ["C1", "C2"], "dst": ["D1", "D1"]})
    other = pd.DataFrame({"src": ["C3", "C3"], "dst": ["D2", "K1"]})
    kinds = {
        "C1": "customer",
        "C2": "customer",
        "C3": "customer",
        "D1": "device",
        "D2": "device",
        "K1": "card",
    }
    figure = charts.network([(family, (0, 0, 1)), (other, (5, 2, 2))], kinds, "Two parts")
    lines, *vertices = figure.data
    assert list(lines.x).count(None) == 4
    assert {trace.name: len(trace.x) for trace in vertices} == {"card": 1, "customer": 3, "device": 2}
    assert len({trace.marker.symbol for trace in vertices}) == 3
    ends = {(x, y) for x, y in zip(lines.x, lines.y, strict=True) if x is not None}
    assert ends == {place for trace in vertices for place in zip(trace.x, trace.y, strict=True)}


def test_a_network_is_the_same_in_every_run():
    ties = pd.DataFrame({"src": ["C2", "C1", "C3"], "dst": ["D1", "D1", "D1"]})
    kinds = {"C1": "customer", "C2": "customer", "C3": "customer", "D1": "device"}
    once, again = (
        charts.network([(rows, (0, 0, 1))], kinds, "A part").data[1:] for rows in (ties, ties.iloc[::-1])
    )
    assert [trace.x for trace in once] == [trace.x for trace in again]
