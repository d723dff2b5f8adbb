"""What validations found besides their figures, in words."""

from dataclasses import replace

import pytest
import report_examples

from advisor.types import (
    DepthSpeed,
    EnergyUse,
    FractionInterval,
    QualityDelta,
    RankChange,
    Reranking,
    Stages,
    TextQuality,
    ThreadsSpeed,
    Trial,
    Validation,
    ValidationStatus,
)
from reports import proof


@pytest.fixture
def record():
    found = report_examples.validation()
    return found.records[0]


def lines(record, **changes) -> str:
    return "\n".join(proof.record_lines(replace(record, **changes)))


def test_stages_name_only_what_was_timed(record):
    told = lines(record, stages=Stages(load_cold_s=2.0, prefill_s=0.5))
    assert "Stages: loading from disk 2 s, reading the prompt 0.50 s" in told
    assert "detokenising" not in told


def test_depths_are_told_from_two_on(record):
    one = (DepthSpeed(depth_tokens=0, decode_tokens_per_s=20.0),)
    assert "Against depth" not in lines(record, depths=one)
    two = (*one, DepthSpeed(depth_tokens=1280, decode_tokens_per_s=15.0))
    assert "generation 20 tok/s behind 0 tokens, 15 tok/s behind 1,280 tokens" in lines(record, depths=two)


def test_the_fastest_number_of_threads_stands_beside_the_default(record):
    speeds = tuple(
        ThreadsSpeed(threads_count=count, prefill_tokens_per_s=1.0, decode_tokens_per_s=rate)
        for count, rate in ((1, 10.0), (4, 30.0), (8, 20.0))
    )
    deployment = replace(record.estimate.deployment, threads_count=8)
    told = lines(record, threads=speeds, estimate=replace(record.estimate, deployment=deployment))
    assert "fastest with 4; default 8" in told


def test_energy_is_a_figure_or_a_reason(record):
    used = EnergyUse(device_ids=("cpu",), prefill_j_per_token=0.2, decode_j_per_token=1.5)
    assert "Energy: 1.5 J per generated token, 0.20 J per prompt token (cpu)" in lines(record, energy=used)
    assert "Energy unknown: root only" in lines(record, energy=EnergyUse(reason="root only"))


def test_text_quality_and_its_change_are_told(record):
    quality = TextQuality(
        text_name="own.txt",
        text_id="a",
        tokens_count=512,
        perplexity=14.0,
        perplexity_sigma_frac=0.12,
        bits_per_byte=1.1,
    )
    assert "Perplexity 14 (± 12 %) on own.txt, 512 tokens; 1.1 bits per byte" in lines(record, quality=quality)
    delta = QualityDelta(
        model_id="org/m",
        quant_id="Q4_K_M",
        baseline_quant_id="Q8_0",
        tokens_count=512,
        change_frac=0.02,
        interval_frac=FractionInterval(low=0.01, high=0.03),
    )
    document = Validation(records=(), created_at="", tool_version="", quality_deltas=(delta,))
    assert "m Q4_K_M: perplexity +2.0 % (+1.0 % to +3.0 %) against Q8_0" in proof.delta_lines(document)[0]


def test_foreign_text_is_made_inert(record):
    assert "\x1b" not in lines(record, energy=EnergyUse(reason="\x1b[31mred"))


def test_runs_and_moves_are_listed():
    trial = Trial(
        model_id="org/a",
        quant_id="Q4_0",
        expected_gain=0.3,
        predicted_cost_s=20.0,
        elapsed_s=25.0,
        status=ValidationStatus.OK,
    )
    changes = (
        RankChange(model_id="org/a", quant_id="Q4_0", rank_before=1, rank_after=3, reason="measured 5 tok/s"),
        RankChange(model_id="org/b", quant_id="Q4_0", rank_before=2, rank_after=None, reason="could not be run"),
    )
    told = Reranking(
        budget_s=120.0,
        spent_s=60.0,
        doubt_before=0.9,
        doubt_after=0.2,
        trials=(trial,),
        stopped="done",
        changes=changes,
    )
    shown = "\n".join(proof.reranking_lines(told))
    assert "1 run in 60" in shown
    assert "a Q4_0 #1 → #3: measured 5 tok/s" in shown
    assert "b Q4_0 #2 drops out: could not be run" in shown
    unchanged = list(proof.reranking_lines(replace(told, changes=(), trials=(replace(trial, polluted=True),))))
    assert unchanged[-1] == "The ranking stands as predicted"
    assert "disturbed, not used" in unchanged[1]
