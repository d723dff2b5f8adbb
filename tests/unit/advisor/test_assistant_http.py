"""The token that opens the assistant's server over HTTP."""

import pytest

pytest.importorskip("mcp")

import anyio

from advisor.assistant import http


def statuses(*headers, scope_type="http"):
    """What the guard answers: 401, or 200 from the application behind it."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    async def go():
        scope = {"type": scope_type, "headers": list(headers)}
        await http.guarded(app, "sesame")(scope, None, send)

    anyio.run(go)
    return sent[0]["status"]


def test_the_token_opens_and_nothing_else_does():
    assert statuses((b"authorization", b"Bearer sesame")) == 200
    assert statuses((b"Authorization", b"Bearer sesame")) == 200
    for given in (b"Bearer sesam", b"Bearer sesame2", b"sesame", b"", b"Bearer \xff"):
        assert statuses((b"authorization", given)) == 401
    assert statuses() == 401


def test_the_token_comes_from_the_environment_or_is_made(monkeypatch):
    monkeypatch.setenv(http.TOKEN_VARIABLE, "given")
    assert http.token() == ("given", False)
    monkeypatch.delenv(http.TOKEN_VARIABLE)
    made, is_new = http.token()
    assert is_new
    assert len(made) > 30
    assert made != http.token()[0]
