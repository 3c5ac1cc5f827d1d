"""Whom an ASGI application of ours answers: by name, by origin, also behind a tunnel and on a web socket."""

import asyncio
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from medallion.servers import asgi


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("host", "origin", "answered"),
    [
        ("127.0.0.1:5000", None, True),
        ("localhost:5000", "http://localhost:5000", True),
        ("localhost:9000", "http://localhost:9000", True),  # a tunnel from another port
        ("localhost:5000", "http://localhost:9999", False),
        ("localhost:5000", "null", False),
        ("evil.example", "http://evil.example", False),
    ],
)
def test_only_our_names_and_own_pages(kind: str, host: str, origin: str | None, answered: bool) -> None:
    reached = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)
        await PlainTextResponse("hi")(scope, receive, send)

    async def nothing(*_: Any) -> Any:
        return {}

    headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin else [])
    asyncio.run(asgi.guarded(app)({"type": kind, "headers": headers}, nothing, nothing))
    assert bool(reached) == answered
