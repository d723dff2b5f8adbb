"""``advisor serve``: start llama.cpp's own OpenAI-compatible server with a pick's parameters."""

from typing import TYPE_CHECKING, Any

import click

from advisor.cli import _options, _shared

if TYPE_CHECKING:
    from advisor.export.pick import Endpoint, Pick


@click.command("serve")
@click.argument("pick_text", metavar="PICK")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes any free port.")
@click.option("--rank", type=click.IntRange(1, 2000), help="Which pick of a recommendation document (default 1).")
@click.option("--verbose", is_flag=True, help="Log every request.")
@click.option("--task", help="For MODEL:QUANT: sets the default workload.")
@_options.workload_options
@_options.setting_options
@_options.machine_options
def command(pick_text: str, port: int, rank: int | None, verbose: bool, **wishes: Any) -> None:
    """Serve PICK on this machine until Ctrl-C, with the parameters that were chosen for it.

    PICK is a rank of the last recommendation, a recommendation document, MODEL:QUANT or a .gguf file. Its file
    must be on this machine. A key is asked for if the environment variable LLAMA_API_KEY is set.

    \b
    advisor serve 1
    advisor serve smollm2-135m-instruct:Q4_K_M --context 4k --port 8081
    """  # noqa: D301 - \b is click's mark for lines to be left as they are
    from advisor import serving
    from advisor.cli._pick import Wishes, require_one, resolve_stack
    from advisor.export.pick import Endpoint
    from catalog.load import load_catalog

    pick = require_one(resolve_stack(load_catalog(), pick_text, rank=rank, wishes=Wishes(**wishes)))
    serving.launch_of(pick, port)  # says what is missing before anything is bound
    bound = serving.reserve_port(port)
    endpoint = Endpoint(port=bound.getsockname()[1])
    launch = serving.launch_of(pick, endpoint.port)
    for setting in launch.not_taken:
        _shared.say(f"llama_cpp.server cannot take: {setting}")
    _shared.say(f"loading {pick.label} ...")
    serving.serve(launch, bound, on_ready=lambda: _announce(pick, endpoint), log_level="info" if verbose else "warning")
    _shared.say("stopped")


def _announce(pick: "Pick", endpoint: "Endpoint") -> None:
    click.echo(f"{endpoint.base_url}  model {pick.name}")
    _shared.say("on this machine only; stop with Ctrl-C")
