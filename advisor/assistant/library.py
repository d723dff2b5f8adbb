"""What an assistant can read (this machine, the last recommendation), and prompts that a person can start with."""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from mcp.server.mcpserver.exceptions import ResourceError
from pydantic import Field

from advisor import codec, store
from advisor.assistant import answers
from advisor.export.text import inert


def machine_resource() -> str:
    """This computer as it was last measured: processor, memory, accelerators."""
    document = _stored(store.load_profile)
    if document is None:
        return json.dumps({"status": "not measured yet; ask the user to run: advisor scan"})
    return json.dumps(answers.profile(document), ensure_ascii=False)


def recommendation_resource() -> str:
    """The last recommendation that was made for this computer."""
    document = _stored(store.load_recommendation)
    if document is None:
        return json.dumps({"status": "nothing was recommended yet; call recommend_model"})
    return json.dumps(answers.recommendation(document, len(document["ranked"])), ensure_ascii=False)


def _stored(load: Callable[[], object]) -> Mapping[str, Any] | None:
    try:
        found = load()
    except codec.DocumentError as error:
        raise ResourceError(inert(str(error), max_chars=300)) from None
    return codec.to_mapping(found) if found is not None else None


def choose_local_coding_model(
    editor: Annotated[str, Field(description="The tool it is for, such as opencode or Continue; or empty.")] = "",
) -> str:
    """Choose a local coding model."""
    place = f" for {inert(editor, max_chars=60)}" if editor.strip() else ""
    return (
        f"I want a local model for coding{place} on this computer. Call recommend_model with task 'coding', count '3'. "
        "Compare the picks in a short table (model, quality, tokens per second, seconds to first token, memory), "
        "say which you would take and what it costs me compared with the next, and say which figures are uncertain. "
        "Then offer to check the pick with validate_pick, and tell me that `advisor export 1 --for TARGET` writes its "
        "configuration once a recommendation is kept."
    )


def can_i_run(model: Annotated[str, Field(description="The model's name, such as qwen3-32b.")]) -> str:
    """Find out whether a model runs on this computer, and what it would take."""
    return (
        f"Can I run the model named {inert(model, max_chars=80)!r} on this computer? Call explain_fit with it. "
        "If it fits, tell me the settings, the speed and the memory. If not, tell me the smallest change that would "
        "help, the best model that does fit, and what a machine for it would cost, with what_to_buy."
    )


RESOURCES: tuple[tuple[str, Callable[[], str]], ...] = (
    ("machine", machine_resource),
    ("recommendation", recommendation_resource),
)
PROMPTS: tuple[Callable[..., str], ...] = (choose_local_coding_model, can_i_run)
