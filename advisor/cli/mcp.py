"""``advisor mcp``: let assistants ask the advisor, over the Model Context Protocol."""

import click

from advisor.cli import _shared
from advisor.errors import AdvisorError


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
    try:
        from advisor.assistant.commands import heed_interrupts
        from advisor.assistant.server import build_server
    except ImportError as error:
        raise AdvisorError(
            f"{error.name} is not installed; install it with: pip install 'model-fit-advisor[mcp]'"
        ) from None
    heed_interrupts()
    server = build_server()
    if http:
        _serve_http(server, port)
    else:
        server.run("stdio")


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
