"""A suite recorded through llama.cpp on a cut-down twin: real figures under every metric, resumable for real."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from advisor import codec
from advisor.regression import bench
from advisor.regression.run_environment import read_environment
from advisor.regression.suite import parse_suite
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


def test_another_pythons_engine_takes_its_turns(tmp_path: Path) -> None:
    """Here the same one: what is held to is that the interpreter given is the one that loads the model."""
    pytest.importorskip("llama_cpp")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho used >> "{tmp_path}/used"\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    assert bench.read_engine_build(str(python)) == bench.read_engine_build()
    (tmp_path / "used").unlink()
    arms = []
    for name, opener in (("new", bench.open_llamacpp), ("base", partial(bench.open_llamacpp, python=str(python)))):
        (tmp_path / name).mkdir()
        plan = _plan(tmp_path / name, bench.read_engine_build())
        arms.append(replace(plan, opener=opener))
    new, base = bench.record_in_turn(arms)
    assert new.paired_id == base.paired_id
    assert new.complete
    assert base.complete
    assert len((tmp_path / "used").read_text().split()) == 4  # two cases, two rounds
