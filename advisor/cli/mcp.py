"""``advisor mcp``: let assistants ask the advisor, over the Model Context Protocol."""

import importlib
import importlib.util

import click

from advisor.cli import _shared
from advisor.errors import AdvisorError

_PACKAGES = ("mcp.server.mcpserver", "mcp_types")
_TOP_PACKAGES = ("mcp", "mcp_types")
_INSTALL = "pip install 'model-fit-advisor[mcp]'"
_REINSTALL = "pip install --force-reinstall 'model-fit-advisor[mcp]'"
_MAX_ERROR_LENGTH = 200


@click.command("mcp")
@click.option("--http", is_flag=True, help="Streamable HTTP on this machine instead of stdio; asks for a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Port for --http.")
def command(http: bool, port: int) -> None:
    """Answer assistants that speak the Model Context Protocol.

    By default over stdin and stdout, started by the client. With --http the token is read from the environment
    variable ADVISOR_MCP_TOKEN, or made anew and printed once.

    \b
    {"mcpServers": {"model-fit-advisor": {"command": "advisor", "args": ["mcp"]}}}
    """  # noqa: D301 - \b is click's mark for lines to be left as they are
    _require_sdk()
    from advisor.assistant.commands import heed_interrupts
    from advisor.assistant.server import build_server

    heed_interrupts()
    server = build_server()
    if http:
        _serve_http(server, port)
    else:
        server.run("stdio")


def _require_sdk() -> None:
    try:
        for name in _PACKAGES:
            importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - a package that is broken may raise anything while it is imported
        raise AdvisorError(_unusable(error)) from None


def _unusable(error: Exception) -> str:
    """Why the server cannot be built: its packages are not there, or they are and break while they are imported."""
    missing = next((name for name in _TOP_PACKAGES if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        return f"{missing} is not installed; install it with: {_INSTALL}"
    said = " ".join(str(error).split())[:_MAX_ERROR_LENGTH]
    return f"mcp is installed but cannot be imported ({type(error).__name__}: {said}); mend it with: {_REINSTALL}"


def _serve_http(server: object, port: int) -> None:
    from advisor.assistant import http as transport
    from advisor.launch import LOOPBACK
    from advisor.serving import quiet_termination, reserve_port

    bound = reserve_port(port)
    wanted, is_new = transport.token()
    _shared.say(f"http://{LOOPBACK}:{bound.getsockname()[1]}/mcp on this machine only; stop with Ctrl-C")
    if is_new:
        _shared.say(f"Authorization: Bearer {wanted}")
    with quiet_termination():
        transport.serve(server, bound, wanted)
    _shared.say("stopped")
