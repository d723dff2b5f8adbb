"""``advisor export``: hand a pick to the program that is to run it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from advisor.cli import _options, _shared
from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from advisor.export.target import Exported, File

_TARGETS_HELP = (
    "llama-server, llama-swap, ollama, lm-studio, vllm, mlx, tensorrt-llm, docker-compose, systemd, "
    "open-webui, opencode, continue, langgraph, n8n or litellm."
)


@click.command("export")
@click.argument("pick_text", metavar="PICK")
@click.option("--for", "target_text", metavar="TARGET", required=True, help=_TARGETS_HELP)
@click.option("-o", "--save", "output_path", metavar="FILE", help="Where to write; a folder takes the usual name.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--rank", type=click.IntRange(1, 2000), help="Which pick of a recommendation document (default 1).")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port of the server.")
@click.option("--task", help="For MODEL:QUANT: sets the default workload.")
@_options.workload_options
@_options.setting_options
@_options.machine_options
def command(
    pick_text: str,
    target_text: str,
    output_path: str | None,
    force: bool,
    rank: int | None,
    port: int,
    **wishes: Any,
) -> None:
    """Write what makes a program run PICK with its load-time parameters, or connect to it.

    PICK is a rank of the last recommendation, a recommendation or stack document, or MODEL:QUANT. Everything
    listens on this machine only, and no key is written to a file.

    \b
    advisor export 1 --for llama-server -o serve.sh
    advisor export qwen3-8b:Q4_K_M --context 32k --for ollama -o Modelfile
    advisor export stack.json --for llama-swap -o llama-swap.yaml
    """  # noqa: D301 - \b is click's mark for lines to be left as they are
    from advisor.cli._pick import Wishes, resolve_stack
    from advisor.export.pick import Endpoint
    from advisor.export.targets import export, find_target
    from catalog.load import load_catalog

    target = find_target(target_text)
    stack = resolve_stack(load_catalog(), pick_text, rank=rank, wishes=Wishes(**wishes), loaded_by=target.engine_id)
    exported = export(target, stack, Endpoint(port=port))
    if not target.connects:
        _warn_of_port(port)
    _deliver(exported, output_path, force=force)
    for note in exported.notes:
        _shared.say(note)


def _warn_of_port(port: int) -> None:
    from advisor.serving import is_free

    if not is_free(port):
        _shared.say(f"port {port} is in use on this machine now; stop what uses it, or choose another with --port")


def _deliver(exported: "Exported", output_path: str | None, *, force: bool) -> None:
    if output_path is None or output_path == "-":
        sys.stdout.write(_shown(exported.files))
        return
    places = _places(exported.files, Path(output_path))
    if not force:
        _require_new(places)
    from advisor.codec import write_atomically

    for place, file in zip(places, exported.files, strict=True):
        write_atomically(place, file.text.encode())
        if file.text.startswith("#!"):
            place.chmod(0o755)
        _shared.say(f"wrote {place}")


def _shown(files: "tuple[File, ...]") -> str:
    """One file as it is; several each under its name."""
    if len(files) == 1:
        return files[0].text
    return "\n".join(f"# ---- {file.name}\n{file.text}" for file in files)


def _places(files: "tuple[File, ...]", output: Path) -> list[Path]:
    """Where the files go: the first as named, any others beside it under their own names."""
    first = output / files[0].name if output.is_dir() else output
    return [first, *(first.parent / file.name for file in files[1:])]


def _require_new(places: list[Path]) -> None:
    taken = [str(place) for place in places if place.exists()]
    if taken:
        raise AdvisorError(f"{', '.join(taken)} exists; give another name with -o, or --force to replace it")
