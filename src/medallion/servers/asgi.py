"""What stands before an ASGI application, MLflow's server or a model's: it says whom they answer."""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from medallion.servers import server


def guarded(app: ASGIApp, port: int) -> ASGIApp:
    """Return `app` on `port`, which then answers only under the names of this machine, and of pages its own.

    A program that is no page says no origin, and is answered. The pages of another program of this machine,
    on another port, are not ours.
    """
    ours = {f"http://{name}:{port}" for name in server.NAMES}
    told = f"This is there for {' and '.join(server.NAMES)} only, and for no other page than its own.\n"
    refusal = PlainTextResponse(told, 403)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else None
        if headers is None or (
            server.is_ours(headers.get("host", "")) and ours.issuperset(headers.getlist("origin"))
        ):
            await app(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    return answer
