"""Targets that build agents: a LangGraph program and an n8n workflow, both against a running server."""

import json
import uuid
from typing import Any

from advisor.export.pick import CLIENT_KEY, Endpoint, Stack
from advisor.export.target import Exported, File, heading
from advisor.export.text import comment, json_text

_START = "start the server first: advisor serve PICK, or a file of --for llama-server"

_LANGGRAPH = '''\
"""Ask the model on this machine: python {file} "your question"."""

import os
import sys

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph

model = ChatOpenAI(
    model={name},
    base_url={url},
    api_key=os.environ.get({key}, "none"),
    max_tokens={answer_tokens},
    max_retries=1,
)


def answer(state: MessagesState) -> dict:
    """Let the model reply to the conversation so far."""
    return {{"messages": [model.invoke(state["messages"])]}}


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
builder.add_edge("answer", END)
graph = builder.compile()

if __name__ == "__main__":
    question = " ".join(sys.argv[1:]) or "In one short sentence: what can you do?"
    result = graph.invoke({{"messages": [("user", question)]}})
    print(result["messages"][-1].content)
'''


def langgraph(stack: Stack, endpoint: Endpoint, caveats: tuple[str, ...]) -> Exported:
    """A program with one node that asks the model; the pieces to build an agent from."""
    pick = stack.first
    file = f"{pick.name}.py"
    program = _LANGGRAPH.format(
        file=file,
        name=repr(stack.called(pick)),
        url=repr(endpoint.base_url),
        key=repr(CLIENT_KEY),
        answer_tokens=pick.workload.output_tokens,
    )
    text = comment(heading(stack), *caveats) + program
    return Exported(files=(File(name=file, text=text),), notes=(_START, "pip install langgraph langchain-openai"))


# --- n8n -------------------------------------------------------------------------------------------

_N8N_NAMESPACE = uuid.UUID("8f0c6f0e-6d3c-5c8e-9f63-5d0a4b7f2c11")  # so that the same pick gives the same workflow


def n8n(stack: Stack, endpoint: Endpoint, caveats: tuple[str, ...]) -> Exported:
    """A workflow: chat trigger, agent-less chain, and the local model.

    The model node is of the version that keeps its base address in the workflow, so that a credential
    made for a provider on the internet cannot send a conversation there.
    """
    pick = stack.first
    model_options = {"baseURL": endpoint.base_url, "maxTokens": pick.workload.output_tokens}
    nodes = [
        _node("Chat", "@n8n/n8n-nodes-langchain.chatTrigger", 1.1, (0, 0), {"public": False, "options": {}}),
        _node("Answer", "@n8n/n8n-nodes-langchain.chainLlm", 1.5, (220, 0), {}),
        _node(
            "Local model",
            "@n8n/n8n-nodes-langchain.lmChatOpenAi",
            1,
            (220, 220),
            {"model": n8n_text(stack.called(pick)), "options": model_options},
        ),
    ]
    nodes[0]["webhookId"] = str(uuid.uuid5(_N8N_NAMESPACE, f"webhook {pick.name}"))
    notes = "\n".join(f"- {line}" for line in (_START, *caveats))
    nodes.append(_sticky(f"### {heading(stack)}\n{notes}"))
    workflow = {
        "id": uuid.uuid5(_N8N_NAMESPACE, pick.name).hex[:16],
        "name": pick.label,
        "nodes": nodes,
        "connections": {
            "Chat": {"main": [[{"node": "Answer", "type": "main", "index": 0}]]},
            "Local model": {"ai_languageModel": [[{"node": "Answer", "type": "ai_languageModel", "index": 0}]]},
        },
        "settings": {"executionOrder": "v1"},
        "active": False,
        "pinData": {},
    }
    credential = "in n8n, choose any OpenAI credential for the node 'Local model': its key may be any text"
    text = json_text(workflow)
    return Exported(files=(File(name=f"{pick.name}.n8n.json", text=text),), notes=(*caveats, _START, credential))


def _node(
    name: str, kind: str, version: float, position: tuple[int, int], parameters: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(_N8N_NAMESPACE, name)),
        "name": name,
        "type": kind,
        "typeVersion": version,
        "position": list(position),
        "parameters": parameters,
    }


def _sticky(content: str) -> dict[str, Any]:
    size = {"width": 420, "height": 220}
    return _node("Note", "n8n-nodes-base.stickyNote", 1, (-480, -40), {"content": n8n_text(content), **size})


def n8n_text(text: str) -> str:
    """A node's value that is never read as an expression: n8n evaluates what begins with ``=``."""
    if not text.startswith("="):
        return text
    literal = json.dumps(text).replace("{", "\\u007b").replace("}", "\\u007d")
    return "={{ " + literal + " }}"
