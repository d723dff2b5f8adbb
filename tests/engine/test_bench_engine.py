"""A suite recorded through llama.cpp on a cut-down twin: real figures under every metric, resumable for real."""

from pathlib import Path

import pytest

from advisor import bench, codec
from advisor.run_environment import read_environment
from advisor.suite import parse_suite
from advisor.types import EngineBuild, ValidationStatus
from probes.scan import detect

pytestmark = pytest.mark.engine


def _plan(folder: Path, build: EngineBuild) -> bench.Plan:
    suite = parse_suite(
        {
            "name": "engine",
            "rounds": 2,
            "windows": 2,
            "defaults": {"model": "SmolLM2-135M-Instruct", "layers": 2, "prompt": 16, "output": 4, "threads": 1},
            "case": [{"quant": "Q4_K_M"}, {"quant": "Q8_0"}],
        }
    )
    return bench.plan_suite(
        suite,
        folder / "run.partial",
        environment=read_environment(detect(), build),
        tool_version="0",
        directory=folder,
        base_dir=folder,
    )


def test_a_suite_of_twins_is_recorded(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    build = bench.read_engine_build()
    run = bench.record(_plan(tmp_path, build))
    assert run.complete
    assert run.environment.engine == build
    machine, *cases = run.cases
    assert {s.metric for s in machine.series} >= {"read_bytes_per_s"}
    for case in cases:
        assert case.status is ValidationStatus.OK, case.reason
        assert case.weights == "truncated_twin"
        values = {series.metric: series.values for series in case.series}
        assert values.keys() == {
            "load_s",
            "prefill_tokens_per_s",
            "decode_tokens_per_s",
            "first_token_s",
            "peak_memory_bytes",
        }
        assert all(value > 0 for found in values.values() for value in found)
    assert cases[0].weights_id != cases[1].weights_id
    assert codec.loads(codec.dump(run)) == run
