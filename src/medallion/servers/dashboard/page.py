"""The page itself, made with Dash: a number, a chart, a table of the channels, and a button that holds it.

Once a second its script asks for `/state`, some bytes; after a change the page asks for the rest.
"""

import traceback
from pathlib import Path
from typing import Any

import dash
import plotly.graph_objects as go
from dash import ClientsideFunction, Input, Output, State, dcc, html
from dash.exceptions import DependencyException
from flask import Response, jsonify, request
from werkzeug.exceptions import HTTPException

from medallion.lesson import charts
from medallion.servers.dashboard.feed import Feed, Part, Sales

_TITLE = "Live sales"
_INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="color-scheme" content="light dark">
<title>{%title%}</title>
{%favicon%}
{%css%}
</head>
<body>
{%app_entry%}
<noscript><main><p>A script of this page draws it, and this browser runs none.</p></main></noscript>
{%config%}
{%scripts%}
{%renderer%}
</body>
</html>
"""
_SHOWN = (
    Output("revenue", "children"),
    Output("orders", "children"),
    Output("note", "children"),
    Output("sales", "hidden"),
    Output("heading", "children"),
    Output("graph", "figure"),
    Output("chart", "aria-label"),
    Output("channels", "children"),
    Output("version", "children"),
    Output("shown", "data"),
)


def make(feed: Feed) -> dash.Dash:
    """Return the Dash application that shows `feed`."""
    app = dash.Dash(
        __name__,
        title=_TITLE,
        update_title=None,  # type: ignore[arg-type]  # None keeps the title as it is while a request runs
        index_string=_INDEX,
        assets_folder=str(Path(__file__).parent / "assets"),
        # What Dash would otherwise take from variables of the environment
        serve_locally=True,
        requests_pathname_prefix="/",
        routes_pathname_prefix="/",
        enable_mcp=False,
        add_log_handler=False,
    )
    app.layout = _layout(feed.table)
    app.callback(*_SHOWN, Output("answered", "data"), Input("asked", "data"))(
        lambda stamp: (*show(feed), stamp)
    )
    app.clientside_callback(
        ClientsideFunction("medallion", "look"),
        Output("asked", "data"),
        Output("lost", "children"),
        Input("tick", "n_intervals"),
        State("asked", "data"),
        State("answered", "data"),
        State("shown", "data"),
        State("lost", "children"),
    )
    app.clientside_callback(
        ClientsideFunction("medallion", "hold"),
        Output("tick", "disabled"),
        Output("hold", "children"),
        Input("hold", "n_clicks"),
        prevent_initial_call=True,
    )

    def state() -> Response:
        answer = jsonify(feed.look().state())
        answer.headers["Cache-Control"] = "no-store"
        return answer

    app.server.add_url_rule("/state", view_func=state)
    app.server.register_error_handler(Exception, _refuse)
    return app


def _refuse(error: Exception) -> Response | HTTPException:
    """Answer a request that Dash cannot read: our page sends none, so it is no failure of ours.

    Raises what failed in our own code, which Flask answers with 500 and writes to the log.
    """
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, DependencyException):
        return Response("There is no such file.\n", 404, mimetype="text/plain")
    through = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    if request.path == "/_dash-update-component" and __file__ not in through:
        return Response("No page of ours asks this.\n", 400, mimetype="text/plain")
    raise error


def _layout(table: str) -> html.Main:
    return html.Main(
        [
            html.H1(_TITLE),
            html.P(["What ", html.Code(table), " holds", html.Span(id="version"), "."]),
            html.P(
                [html.Strong("–", id="revenue"), " ", html.Span(id="orders")],
                id="total",
                role="status",
                **{"aria-live": "polite", "aria-atomic": "true"},  # type: ignore[arg-type]
            ),
            html.P(id="note", className="note", role="status"),
            html.P(id="lost", className="note", role="alert"),
            html.Section(
                [
                    html.H2(id="heading"),
                    html.Div(
                        dcc.Graph(id="graph", config={"displayModeBar": False}, responsive=True),
                        id="chart",
                        role="img",
                    ),
                    html.H2("By channel"),
                    html.Table(id="channels"),
                ],
                id="sales",
                hidden=True,
            ),
            html.P(html.Button("Pause", id="hold", type="button")),
            dcc.Interval(id="tick", interval=1_000),
            # Stamps: the last one asked for, the last one answered, and that of what came
            dcc.Store(id="asked"),
            dcc.Store(id="answered"),
            dcc.Store(id="shown"),
        ]
    )


def show(feed: Feed) -> tuple[Any, ...]:
    """Return what the page shows of `feed`, in the order of its outputs."""
    seen = feed.look()
    sales = seen.sales
    if sales is None:
        return "–", "", _note(seen.note), True, "", go.Figure(), "", [], "", seen.stamp
    return (
        euros(sales.revenue_cents),
        f"from {sales.orders:,} orders",
        _note(seen.note),
        not sales.parts,
        f"Revenue by {sales.unit} and channel",
        figure(sales),
        alt(sales),
        _channels(sales),
        f" in version {sales.version}",
        seen.stamp,
    )


def _note(text: str) -> list[Any]:
    """Return a note with its commands, which stand between backticks, as code."""
    return [html.Code(part) if n % 2 else part for n, part in enumerate(text.split("`"))]


def euros(cents: int) -> str:
    """Return an amount with its sign, thousands apart, to the cent."""
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}€{whole:,}.{rest:02}"


def figure(sales: Sales) -> go.Figure:
    """Return the revenue as bars, one stack for each hour or day, one colour for each channel."""
    bars = [
        go.Bar(
            name=channel,
            x=[part.at for part in parts],
            y=[part.revenue_cents / 100 for part in parts],
            hovertemplate="€%{y:,.2f}",
        )
        for channel, parts in sales.channels().items()
    ]
    drawn = go.Figure(bars)
    drawn.update_layout(barmode="stack", template=charts.TEMPLATE, margin_t=16, uirevision="kept")
    drawn.update_layout(font_family="system-ui, sans-serif")
    drawn.update_yaxes(title="revenue, euros", rangemode="tozero", tickformat=",")
    return drawn


def alt(sales: Sales) -> str:
    """Return in words what the chart shows."""
    if not sales.parts:
        return ""
    by_time: dict[str, int] = {}
    for part in sales.parts:
        at = _said(part, sales.unit)
        by_time[at] = by_time.get(at, 0) + part.revenue_cents
    best = max(by_time, key=lambda at: by_time[at])
    first, last = _said(sales.parts[0], sales.unit), _said(sales.parts[-1], sales.unit)
    return (
        f"Stacked bars of the revenue by {sales.unit} and channel, from {first} to {last}. "
        f"The highest is {euros(by_time[best])}, {best}. The table below has the sums of the channels."
    )


def _said(part: Part, unit: str) -> str:
    return f"{part.at:%Y-%m-%d %H:%M}" if unit == "hour" else f"{part.at:%Y-%m-%d}"


def _channels(sales: Sales) -> list[Any]:
    rows = []
    for channel, parts in sales.channels().items():
        orders = sum(part.orders for part in parts)
        revenue = sum(part.revenue_cents for part in parts)
        cells = [html.Th(channel, scope="row"), html.Td(f"{orders:,}"), html.Td(euros(revenue))]
        rows.append(html.Tr(cells))
    head = html.Tr([html.Th(name, scope="col") for name in ("channel", "orders", "revenue")])
    return [html.Thead(head), html.Tbody(rows)]
