"""The table of targets, and the one function that exports to any of them."""

import difflib

from advisor.errors import BadRequestError
from advisor.export import agents, clients, desktop, launchers, servers
from advisor.export.formats import LM_STUDIO, require_loadable
from advisor.export.pick import Endpoint, Stack
from advisor.export.settings import Setting
from advisor.export.target import Exported, Target, caveats

_CONTEXT = frozenset({Setting.CONTEXT})

TARGETS: tuple[Target, ...] = (
    Target(target_id="llama-server", write=launchers.script("llama.cpp"), engine_id="llama.cpp"),
    Target(target_id="llama-swap", write=servers.llama_swap, stacks=True),
    Target(target_id="ollama", write=launchers.ollama, engine_id="ollama"),
    Target(target_id="lm-studio", write=desktop.lm_studio, engine_id=LM_STUDIO, takes=desktop.TAKES),
    Target(target_id="vllm", write=launchers.script("vllm"), engine_id="vllm"),
    Target(target_id="mlx", write=launchers.script("mlx"), engine_id="mlx"),
    Target(target_id="tensorrt-llm", write=launchers.script("tensorrt-llm"), engine_id="tensorrt-llm"),
    Target(target_id="docker-compose", write=servers.docker_compose, stacks=True),
    Target(target_id="systemd", write=servers.systemd),
    Target(target_id="open-webui", write=clients.open_webui, connects=True, stacks=True),
    Target(target_id="opencode", write=clients.opencode, takes=_CONTEXT, connects=True, stacks=True),
    Target(target_id="continue", write=clients.continue_dev, takes=_CONTEXT, connects=True, stacks=True),
    Target(target_id="langgraph", write=agents.langgraph, connects=True),
    Target(target_id="n8n", write=agents.n8n, connects=True),
    Target(target_id="litellm", write=clients.litellm, takes=_CONTEXT, connects=True, stacks=True),
)
TARGET_IDS = tuple(target.target_id for target in TARGETS)


def find_target(text: str) -> Target:
    """A target by name.

    Raises:
        BadRequestError: with the list of targets, nearest first where one is near.
    """
    wanted = text.strip().lower()
    for target in TARGETS:
        if target.target_id == wanted:
            return target
    nearest = difflib.get_close_matches(wanted, TARGET_IDS, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    raise BadRequestError(f"unknown target {text[:40]!r}; {hint}targets are {', '.join(TARGET_IDS)}")


def export(target: Target, stack: Stack, endpoint: Endpoint) -> Exported:
    """The files that make a target run, or connect to, a pick or a stack.

    Raises:
        BadRequestError: if the target cannot load the weights or take several models; it names what can.
        AdvisorError: for a name or path that cannot be handed over.
    """
    if len(stack.picks) > 1 and not target.stacks:
        able = ", ".join(item.target_id for item in TARGETS if item.stacks)
        raise BadRequestError(f"{target.target_id} takes one model and this is a stack of several; use one of {able}")
    if not target.connects:
        for pick in stack.picks:
            require_loadable(pick, target.engine_of(pick), target.target_id)
    return target.write(stack, endpoint, caveats(target, stack))
