"""What stands before an ASGI application, MLflow's server or a model's: it says whom they answer."""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from medallion.servers import server


def guarded(app: ASGIApp) -> ASGIApp:
    """Return `app`, which then answers only under the names of this machine, and of pages only its own.

    A program that is no page says no origin, and is answered. The pages of another program of this machine,
    on another port, are not ours.
    """
    told = f"This is there for {' and '.join(server.NAMES)} only, and for no other page than its own.\n"
    refusal = PlainTextResponse(told, 403)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            headers = Headers(scope=scope)
            host = headers.get("host", "")
            # Its own port is the one that it is asked on, also where a tunnel leads here from another
            if not server.is_ours(host) or set(headers.getlist("origin")) - {f"http://{host}"}:
                await refusal(scope, receive, send)
                return
        await app(scope, receive, send)

    return answer
