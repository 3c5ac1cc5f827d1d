"""The process that serves the page: `python -m medallion.servers.dashboard.process TABLE DESCRIPTOR PARENT`.

It answers on a socket that it was given, on loopback. The server is Werkzeug's, which Dash brings: one
reader on one machine needs no other. Its debugger and its reloader are not in use.
"""

import socket
import sys
from typing import Any

from flask import Flask, Response, request
from werkzeug.serving import WSGIRequestHandler, make_server

from medallion.servers import server

# Everything from here, and of inline scripts only Dash's own. Styles in elements are allowed: Plotly sets
# them on what it draws.
_POLICY = (
    "default-src 'self'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None:
        """Keep quiet: a page asks once a second."""

    def version_string(self) -> str:
        return "medallion"


def serve(listener: socket.socket, table: str) -> None:
    """Serve the page of `table` on `listener` until Ctrl-C, or the end of this process."""
    from medallion.servers.dashboard import page
    from medallion.servers.dashboard.feed import Feed

    made = page.make(Feed(table))
    app: Flask = made.server
    guard(app, _POLICY.format(scripts=" ".join(made.csp_hashes())))
    host, port = listener.getsockname()
    with make_server(host, port, app, threaded=True, request_handler=_Quiet, fd=listener.fileno()) as web:
        web.serve_forever()


def guard(app: Flask, policy: str) -> None:
    """Have `app` answer only to the names of this machine, and with headers that keep it apart."""
    headers = {
        "Content-Security-Policy": policy,
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    @app.before_request
    def refuse_other_names() -> Response | None:
        if server.is_ours(request.environ.get("HTTP_HOST", "")):
            return None
        told = f"This page is there for {' and '.join(server.NAMES)} only.\n"
        return Response(told, 421, mimetype="text/plain")

    @app.after_request
    def keep_apart(answer: Response) -> Response:
        answer.headers.update(headers)
        return answer


if __name__ == "__main__":
    server.end_with(int(sys.argv[3]))
    serve(socket.socket(fileno=int(sys.argv[2])), sys.argv[1])
