"""The assistant's server as a client calls it, and what the commands behind its tools answer."""

from typing import Any

import anyio
from export_examples import gguf_pick, recommendation
from mcp.client.client import Client

from advisor import codec
from advisor.assistant.commands import Outcome
from advisor.assistant.server import build_server


def call(name: str, given: dict[str, object], **client: Any) -> Any:
    """The result of one call of a tool."""

    async def talk() -> Any:
        async with Client(build_server(), **client) as asked:
            return await asked.call_tool(name, given)

    return anyio.run(talk)


def ranking() -> Outcome:
    """What recommending answers with."""
    return Outcome(document=codec.to_mapping(recommendation(gguf_pick())), message="")


def validated() -> Outcome:
    """What validating answers with: a speed outside its interval."""
    record = {
        "estimate": codec.to_mapping(gguf_pick().estimate),
        "observed": {
            "decode_tokens_per_s": 10.123,
            "prefill_tokens_per_s": 99.5,
            "first_token_s": None,
            "peak_memory_bytes": 2**30,
        },
        "status": "ok",
        "weights": "twin",
        "within_interval": {"decode_tokens_per_s": True},
        "polluted": False,
        "notes": [],
        "reason": None,
    }
    return Outcome(document={"hardware": "here", "records": [record]}, message="", no=True)
