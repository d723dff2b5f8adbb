"""The server over streamable HTTP: on this machine only, and only for who knows the token."""

import hmac
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from advisor.launch import LOOPBACK

TOKEN_VARIABLE = "ADVISOR_MCP_TOKEN"  # noqa: S105 - the variable's name
_REFUSAL = b'{"error": "send the header Authorization: Bearer TOKEN; advisor mcp printed the token when it started"}'
App = Callable[[Mapping[str, Any], Any, Any], Awaitable[None]]


def token() -> tuple[str, bool]:
    """The token from the environment, or a new one; and whether it is new."""
    given = os.environ.get(TOKEN_VARIABLE, "").strip()
    return (given, False) if given else (secrets.token_urlsafe(32), True)


def guarded(app: App, wanted: str) -> App:
    """The application, answering only requests that bring the token."""
    expected = f"Bearer {wanted}".encode()

    async def checked(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        given = next((value for name, value in scope.get("headers", ()) if name.lower() == b"authorization"), b"")
        if scope["type"] != "http" or hmac.compare_digest(given, expected):
            await app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": _REFUSAL})

    return checked


def serve(server: Any, bound: socket.socket, wanted: str) -> None:
    """Answer on a bound socket until interrupted."""
    import uvicorn
    from mcp.server.transport_security import TransportSecuritySettings

    port = bound.getsockname()[1]
    hosts = [f"{LOOPBACK}:{port}", f"localhost:{port}"]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=hosts,
        allowed_origins=[f"http://{host}" for host in hosts],
    )
    app = guarded(server.streamable_http_app(host=LOOPBACK, transport_security=security), wanted)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
    uvicorn.Server(config).run(sockets=[bound])
