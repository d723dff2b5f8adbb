"""Targets that connect to a running server: open-webui, opencode, Continue, litellm."""

import shlex
from collections.abc import Callable
from typing import Any

from advisor.export.pick import CLIENT_KEY, Endpoint, Job, Pick, Stack
from advisor.export.target import Exported, File, heading
from advisor.export.text import Raw, comment, json_text, yaml_text
from advisor.launch import LOOPBACK

_PROVIDER = "local"
_OPENCODE_TOKENS = 16384  # its own instructions and tools, and room to work in
_START = "start the server first: advisor serve PICK, or a file of --for llama-server (a stack: --for llama-swap)"
_KEY_NOTE = f"a server that asks for a key: put it in the environment variable {CLIENT_KEY}, not in the file"


def open_webui(stack: Stack, endpoint: Endpoint, caveats: tuple[str, ...]) -> Exported:
    """Environment variables of open-webui: the connection, and models for retrieval where the stack has them."""
    settings = {
        "OPENAI_API_BASE_URL": endpoint.base_url,
        "ENABLE_OLLAMA_API": "false",
        "DEFAULT_MODELS": stack.called(stack.first),
    }
    settings |= webui_retrieval(stack, lambda _: endpoint.base_url)
    start = f"set -a; . ./open-webui.env; set +a; open-webui serve --host {LOOPBACK} --port 3000"
    head = comment(heading(stack), f"start: {start}", "a server that asks for a key: export OPENAI_API_KEY", *caveats)
    text = head + "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())
    return Exported(files=(File(name="open-webui.env", text=text),), notes=(_START, f"start it with: {start}"))


def webui_retrieval(stack: Stack, url_of: Callable[[Pick], str]) -> dict[str, str]:
    """open-webui's variables for an embedding model and a reranker."""
    settings: dict[str, str] = {}
    embedding, reranker = stack.doing(Job.EMBEDDING), stack.doing(Job.RERANKER)
    if embedding is not None:
        settings |= {
            "RAG_EMBEDDING_ENGINE": "openai",
            "RAG_OPENAI_API_BASE_URL": url_of(embedding),
            "RAG_EMBEDDING_MODEL": embedding.name,
        }
    if reranker is not None:
        settings |= {
            "ENABLE_RAG_HYBRID_SEARCH": "true",
            "RAG_RERANKING_ENGINE": "external",
            "RAG_EXTERNAL_RERANKER_URL": f"{url_of(reranker)}/rerank",
            "RAG_RERANKING_MODEL": reranker.name,
        }
    return settings


def opencode(stack: Stack, endpoint: Endpoint, caveats: tuple[str, ...]) -> Exported:
    """An ``opencode.json`` with the server as a provider and the pick as its model."""
    answering = stack.answering or (stack.first,)
    first = stack.called(stack.first)
    config = {
        "$schema": "https://opencode.ai/config.json",
        "provider": {
            _PROVIDER: {
                "npm": "@ai-sdk/openai-compatible",
                "name": "This machine",
                "options": {"baseURL": endpoint.base_url, "apiKey": Raw("{env:" + CLIENT_KEY + "}")},
                "models": {stack.called(pick): _opencode_model(pick) for pick in answering},
            }
        },
        "model": f"{_PROVIDER}/{first}",
        "small_model": f"{_PROVIDER}/{first}",
    }
    left = tuple(f"opencode has no use for {pick.name}" for pick in stack.picks if pick not in answering)
    text = json_text(config, escaping="{")  # it replaces {env:...} and {file:...} anywhere in the text
    small = tuple(_small_context(pick) for pick in answering if pick.workload.context_tokens < _OPENCODE_TOKENS)
    return Exported(files=(File(name="opencode.json", text=text),), notes=(*caveats, *left, *small, _START, _KEY_NOTE))


def _small_context(pick: Pick) -> str:
    has = f"{pick.name} has {pick.workload.context_tokens}"
    return f"opencode's instructions and tools take thousands of tokens and {has}: plan with --context 32k or more"


def _opencode_model(pick: Pick) -> dict[str, Any]:
    workload = pick.workload
    return {
        "name": pick.label,
        "limit": {"context": workload.context_tokens, "output": _answer_tokens(pick)},
        "tool_call": "tool_use" in pick.model.capabilities,
        "reasoning": "reasoning" in pick.model.capabilities,
    }


def _answer_tokens(pick: Pick) -> int:
    """The longest answer to ask for: what was planned, never over half the context."""
    return max(1, min(pick.workload.output_tokens, pick.workload.context_tokens // 2))


_CONTINUE_ROLES = {
    Job.CHAT: ("chat", "edit", "apply"),
    Job.COMPLETION: ("autocomplete",),
    Job.EMBEDDING: ("embed",),
    Job.RERANKER: ("rerank",),
}


def continue_dev(stack: Stack, endpoint: Endpoint, caveats: tuple[str, ...]) -> Exported:
    """A ``config.yaml`` of Continue, each model with the roles of its jobs."""
    config = {
        "name": "Models on this machine",
        "version": "1.0.0",
        "schema": "v1",
        "models": [_continue_model(stack, pick, endpoint) for pick in stack.picks],
    }
    text = comment(heading(stack), *caveats, _KEY_NOTE, breaking="${") + yaml_text(config, escaping="$")
    notes = (_START, f"Continue reads the key {CLIENT_KEY} from ~/.continue/.env; any value will do without one")
    return Exported(files=(File(name="config.yaml", text=text),), notes=notes)


def _continue_model(stack: Stack, pick: Pick, endpoint: Endpoint) -> dict[str, Any]:
    model: dict[str, Any] = {
        "name": pick.label,
        "provider": "openai",
        "model": stack.called(pick),
        "apiBase": endpoint.base_url,
        "apiKey": Raw("${{ secrets." + CLIENT_KEY + " }}"),
        "roles": [role for job in pick.jobs for role in _CONTINUE_ROLES[job]],
    }
    if pick.decodes:
        model["defaultCompletionOptions"] = {
            "contextLength": pick.workload.context_tokens,
            "maxTokens": _answer_tokens(pick),
        }
    if "tool_use" in pick.model.capabilities:
        model["capabilities"] = ["tool_use"]
    return model


_LITELLM_MODES = {
    Job.CHAT: ("chat", "openai/"),
    Job.COMPLETION: ("completion", "text-completion-openai/"),
    Job.EMBEDDING: ("embedding", "openai/"),
    Job.RERANKER: ("rerank", "hosted_vllm/"),  # the provider that speaks to any /v1/rerank
}


def litellm(stack: Stack, endpoint: Endpoint, caveats: tuple[str, ...]) -> Exported:
    """A proxy configuration with one entry per model; keys are names of environment variables."""
    config = {
        "model_list": [_litellm_model(stack, pick, endpoint) for pick in stack.picks],
        "litellm_settings": {"drop_params": True, "telemetry": False},
    }
    start = f"litellm --config FILE --host {LOOPBACK} --port 4000"
    head = comment(heading(stack), f"start: {start}", f"{CLIENT_KEY} must be set; any value without a key", *caveats)
    notes = (_START, f"start it with: {CLIENT_KEY}=none {start}", "litellm listens everywhere unless --host is given")
    return Exported(files=(File(name="litellm.yaml", text=head + yaml_text(config)),), notes=notes)


def _litellm_model(stack: Stack, pick: Pick, endpoint: Endpoint) -> dict[str, Any]:
    mode, prefix = _LITELLM_MODES[pick.jobs[0]]
    info: dict[str, Any] = {"mode": mode, "max_input_tokens": pick.workload.context_tokens}
    if pick.decodes:
        info["max_output_tokens"] = _answer_tokens(pick)
    return {
        "model_name": pick.name,
        "litellm_params": {
            "model": f"{prefix}{stack.called(pick)}",
            "api_base": endpoint.base_url,
            "api_key": f"os.environ/{CLIENT_KEY}",
        },
        "model_info": info,
    }
