"""The process that serves the page: `python -m medallion.servers.dashboard.process TABLE DESCRIPTOR PARENT`.

It answers on a socket that it was given, on loopback. The server is Werkzeug's, which Dash brings: one
reader on one machine needs no other. Its debugger and its reloader are not in use.
"""

import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from werkzeug.serving import WSGIRequestHandler, make_server

from medallion.servers import server

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# Under another name, another site's page could have this machine's browser ask us in its own name
_OURS = ("127.0.0.1", "localhost")


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None:
        """Keep quiet: a page asks once a second."""

    def version_string(self) -> str:
        return "medallion"


def serve(listener: socket.socket, table: str) -> None:
    """Serve the page of `table` on `listener` until Ctrl-C, or the end of this process."""
    from medallion.servers.dashboard import page
    from medallion.servers.dashboard.feed import Feed

    app = page.make(Feed(table))
    guarded_app = guarded(app.server, _policy(app.csp_hashes()))
    host, port = listener.getsockname()
    server = make_server(host, port, guarded_app, threaded=True, request_handler=_Quiet, fd=listener.fileno())
    with server:
        server.serve_forever()


def _policy(scripts: Iterable[str]) -> str:
    """Return the content security policy: everything from here, and of inline scripts only `scripts`.

    Styles in elements are allowed: Plotly sets them on what it draws.
    """
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src 'self' {' '.join(scripts)}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def guarded(app: Application, policy: str) -> Application:
    """Return `app`, which answers only to the names of this machine, and with headers that keep it apart."""
    headers = [
        ("Content-Security-Policy", policy),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ]

    def guard(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not _is_ours(environ.get("HTTP_HOST", "")):
            start_response("421 Misdirected Request", [("Content-Type", "text/plain"), *headers])
            return [b"This page is there for 127.0.0.1 and localhost only.\n"]

        def start(status: str, given: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*given, *headers], *rest)

        return app(environ, start)

    return guard


def _is_ours(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in _OURS
    except ValueError:
        return False


if __name__ == "__main__":
    server.end_with(int(sys.argv[3]))
    serve(socket.socket(fileno=int(sys.argv[2])), sys.argv[1])
