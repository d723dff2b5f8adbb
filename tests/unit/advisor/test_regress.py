"""Comparing two runs: verdicts, refusals, prediction drift."""

import dataclasses
import math
import random
from collections.abc import Sequence

import pytest
from tiny_estimate import tiny_estimate

from advisor.regression import comparison, environment, regress
from advisor.regression.thresholds import parse_gate
from advisor.types import (
    Deployment,
    EngineBuild,
    Finding,
    MetricSeries,
    Regression,
    Run,
    RunCase,
    RunEnvironment,
    ValidationStatus,
    Verdict,
)

METRIC = "decode_tokens_per_s"
ENVIRONMENT = RunEnvironment(
    machine_id="m", hardware="box", os="linux", kernel="6.1", engine=EngineBuild(id="llama.cpp", version="b1")
)


def rates(seed: int, *, speed: float = 100.0, noise: float = 0.02, count: int = 10) -> list[float]:
    source = random.Random(seed)
    return [speed * math.exp(source.gauss(0, noise)) for _ in range(count)]


def series(values: Sequence[float], metric: str = METRIC, polluted: Sequence[bool] = ()) -> MetricSeries:
    return MetricSeries(metric=metric, values=tuple(values), rounds=tuple(range(len(values))), polluted=tuple(polluted))


def case(*found: MetricSeries, subject: str = "tiny", **fields: object) -> RunCase:
    return RunCase(subject=subject, status=ValidationStatus.OK, series=found, **fields)  # type: ignore[arg-type]


def run(*cases: RunCase, created_at: str = "2026-01-01T00:00:00Z", **fields: object) -> Run:
    known = {"environment": ENVIRONMENT, "suite_id": "s", **fields}
    return Run(
        suite_name="smoke",
        cases=cases,
        created_at=created_at,
        tool_version="0",
        rounds_count=10,
        **known,  # type: ignore[arg-type]
    )


def compare(base: Run, new: Run, **options: object) -> Regression:
    return regress.regress(base, new, created_at="2026-01-02T00:00:00Z", tool_version="0", **options)  # type: ignore[arg-type]


def only(regression: Regression, metric: str = METRIC) -> Finding:
    (finding,) = [f for f in regression.findings if f.metric == metric]
    return finding


def test_a_slower_run_regresses_and_says_by_how_much() -> None:
    found = compare(run(case(series(rates(1)))), run(case(series(rates(2, speed=85.0)))))
    finding = only(found)
    assert found.regressed
    assert (finding.verdict, finding.significant) == (Verdict.SLOWER, True)
    assert finding.change_frac == pytest.approx(-0.15, abs=0.03)
    assert finding.interval_frac is not None
    assert finding.interval_frac.low < finding.change_frac < finding.interval_frac.high < 0


def test_a_faster_run_is_told_and_passes() -> None:
    found = compare(run(case(series(rates(1)))), run(case(series(rates(2, speed=120.0)))))
    assert not found.regressed
    assert only(found).verdict is Verdict.FASTER


def test_times_and_memory_regress_upwards() -> None:
    base = run(case(series(rates(1, speed=1.0), "first_token_s"), series([1e9] * 10, "peak_memory_bytes")))
    new = run(case(series(rates(2, speed=1.3), "first_token_s"), series([1.1e9] * 10, "peak_memory_bytes")))
    found = compare(base, new)
    assert only(found, "first_token_s").verdict is Verdict.SLOWER
    memory = only(found, "peak_memory_bytes")
    assert memory.verdict is Verdict.SLOWER
    assert memory.change_frac == pytest.approx(0.1)


def test_a_change_below_the_threshold_passes_however_sure_it_is() -> None:
    found = compare(run(case(series([100.0] * 40))), run(case(series([97.0] * 40))))
    assert only(found).verdict is Verdict.UNCHANGED
    strict = parse_gate({"metric": {METRIC: {"threshold": 0.01, "between_runs": 0.001}}})
    assert compare(run(case(series([100.0] * 40))), run(case(series([97.0] * 40))), gate=strict).regressed


def test_noise_alone_is_called_noisier_not_slower() -> None:
    calm = [100.0 + 0.2 * (i % 3) for i in range(12)]
    wild = [100.0 * (1.2 if i % 2 else 0.85) for i in range(12)]
    found = compare(run(case(series(calm))), run(case(series(wild))))
    assert only(found).verdict is Verdict.NOISIER
    assert not found.regressed
    assert compare(
        run(case(series(calm))), run(case(series(wild))), gate=parse_gate({"fail_on": ["noisier"]})
    ).regressed


def test_disturbed_windows_do_not_count() -> None:
    slow_but_disturbed = rates(2) + [40.0] * 10
    mixed = MetricSeries(
        metric=METRIC,
        values=tuple(slow_but_disturbed),
        rounds=tuple(range(10)) * 2,
        polluted=(False,) * 10 + (True,) * 10,
    )
    assert only(compare(run(case(series(rates(1)))), run(case(mixed)))).verdict is Verdict.UNCHANGED


def test_a_run_that_was_disturbed_throughout_cannot_be_compared() -> None:
    found = compare(run(case(series(rates(1)))), run(case(series(rates(2, speed=50.0), polluted=[True] * 10))))
    finding = only(found)
    assert finding.verdict is Verdict.NOT_COMPARABLE
    assert "undisturbed rounds of 10" in (finding.reason or "")
    assert not found.regressed


def test_too_few_rounds_are_named() -> None:
    finding = only(compare(run(case(series(rates(1)))), run(case(series(rates(2, count=3))))))
    assert finding.verdict is Verdict.NOT_COMPARABLE
    assert finding.reason is not None
    assert finding.reason.startswith("the new run has 3 rounds, 5 are needed: record more with advisor bench")


def test_the_history_widens_the_interval_of_a_machine_that_wanders() -> None:
    past = [
        run(case(series(rates(10 + i, speed=100.0 * (1.25 if i % 2 else 0.8)))), created_at=f"2026-01-0{i + 1}")
        for i in range(8)
    ]
    base, new = run(case(series(rates(1)))), run(case(series(rates(2, speed=88.0))))
    assert compare(base, new).regressed
    between = comparison.between_runs(past)
    assert not compare(base, new, between=between).regressed
    calm = [run(case(series(rates(20 + i))), created_at=f"2026-01-0{i + 1}") for i in range(8)]
    narrow, wide = (only(compare(base, new, between=b)) for b in (comparison.between_runs(calm), between))
    assert narrow.interval_frac is not None
    assert wide.interval_frac is not None
    assert narrow.interval_frac.low > wide.interval_frac.low


def test_runs_before_and_after_an_update_do_not_count_as_noise() -> None:
    updated = dataclasses.replace(ENVIRONMENT, kernel="6.2")
    first = run(case(series(rates(1))), created_at="2026-01-01")
    second = run(case(series(rates(2, speed=50.0))), created_at="2026-01-02", environment=updated)
    assert comparison.between_runs([first, second]) == {}


def test_a_broken_case_fails_and_a_case_of_one_run_is_named() -> None:
    broken = RunCase(subject="tiny", status=ValidationStatus.FAILED, reason="out of memory")
    found = compare(run(case(series(rates(1)))), run(broken, case(series(rates(3)), subject="new one")))
    first, second = found.findings
    assert found.regressed
    assert first.significant
    assert first.reason == "failed in the new run: out of memory"
    assert (second.significant, second.reason) == (False, "only in the new run")


def test_a_case_that_never_worked_is_no_regression() -> None:
    broken = RunCase(subject="tiny", status=ValidationStatus.FAILED, reason="no such model")
    assert not compare(run(broken), run(broken)).regressed


def test_other_weights_under_the_same_name_are_not_compared() -> None:
    found = compare(run(case(series(rates(1)), weights_id="a")), run(case(series(rates(2)), weights_id="b")))
    assert found.findings[0].reason == "different weights"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"environment": dataclasses.replace(ENVIRONMENT, machine_id="other")}, "machine"),
        ({"suite_id": "other"}, "suite"),
        ({"environment": dataclasses.replace(ENVIRONMENT, engine=EngineBuild(id="vllm"))}, "engine"),
    ],
)
def test_unlike_runs_are_refused_unless_allowed(change: dict[str, object], name: str) -> None:
    base, new = run(case(series(rates(1)))), run(case(series(rates(2))), **change)
    with pytest.raises(regress.IncomparableError, match=f"--allow {name}"):
        compare(base, new)
    assert compare(base, new, allow=(name,)).allowed == (name,)


def test_another_build_of_the_engine_is_compared_and_listed_as_a_suspect() -> None:
    updated = dataclasses.replace(
        ENVIRONMENT, kernel="6.2", engine=EngineBuild(id="llama.cpp", version="b2"), drivers={"cuda:0": "570"}
    )
    found = compare(run(case(series(rates(1)))), run(case(series(rates(2))), environment=updated))
    changes = {change.name: (change.baseline, change.current) for change in found.environment_changes}
    assert changes == {"kernel": ("6.1", "6.2"), "engine version": ("b1", "b2"), "driver of cuda:0": (None, "570")}
    assert not environment.like(run(), run(environment=updated))


def test_odd_clocks_and_interruptions_are_noted() -> None:
    new = run(case(series(rates(2))), created_at="2025-12-31T00:00:00Z", clock_jump_s=-3600.0, complete=False)
    notes = " ".join(compare(run(case(series(rates(1)))), new).notes)
    assert "older than the baseline" in notes
    assert "clock jumped by -3600 s" in notes
    assert "was interrupted" in notes


def test_prediction_drift_is_gated_apart_from_speed() -> None:
    base = run(case(series(rates(1)), estimate=tiny_estimate(100.0)))
    drifted = run(case(series(rates(2)), estimate=tiny_estimate(130.0)))
    found = compare(base, drifted)
    drift = only(found, "decode_prediction_error")
    assert only(found).verdict is Verdict.UNCHANGED
    assert (drift.verdict, found.regressed) == (Verdict.SLOWER, True)
    assert drift.baseline == pytest.approx(0.0, abs=0.03)
    assert drift.current == pytest.approx(0.3, abs=0.03)


def test_a_prediction_that_errs_equally_on_the_other_side_has_not_drifted() -> None:
    base = run(case(series(rates(1)), estimate=tiny_estimate(115.0)))
    flipped = run(case(series(rates(2)), estimate=tiny_estimate(87.0)))
    assert only(compare(base, flipped), "decode_prediction_error").verdict is Verdict.UNCHANGED


def test_a_limit_on_the_error_holds_whatever_it_was_before() -> None:
    same = run(case(series(rates(1)), estimate=tiny_estimate(150.0)))
    assert not compare(same, same).regressed
    gate = parse_gate({"metric": {"decode_prediction_error": {"limit": 0.25}}})
    assert compare(same, same, gate=gate).regressed


def test_many_unchanged_metrics_do_not_add_up_to_a_false_alarm() -> None:
    alarms = 0
    for trial in range(40):
        base = run(*(case(series(rates(1000 * trial + i, noise=0.06)), subject=str(i)) for i in range(12)))
        new = run(*(case(series(rates(1000 * trial + 500 + i, noise=0.06)), subject=str(i)) for i in range(12)))
        alarms += compare(base, new).regressed
    assert alarms <= 4


def test_a_slowdown_of_one_case_among_many_is_caught() -> None:
    caught = 0
    for trial in range(40):
        base = run(*(case(series(rates(1000 * trial + i)), subject=str(i)) for i in range(12)))
        new = run(
            *(
                case(series(rates(1000 * trial + 500 + i, speed=90 if i == 7 else 100)), subject=str(i))
                for i in range(12)
            )
        )
        caught += [f.subject for f in compare(base, new).findings if f.verdict is Verdict.SLOWER] == ["7"]
    assert caught >= 24  # 2 % noise, no history: 12 metrics leave less power than one


def wandering(count: int = 10) -> list[float]:
    """A machine whose speed doubles and halves from round to round, as a crowded host's does."""
    return [100.0 * 2 ** math.sin(2.5 * number) for number in range(count)]


def test_runs_that_took_turns_are_compared_round_by_round_whatever_the_machine_did() -> None:
    own = [0.01 * math.sin(7 * number) for number in range(10)]
    slower = [speed * 0.9 * math.exp(noise) for speed, noise in zip(wandering(), own, strict=True)]
    base, new = run(case(series(wandering()))), run(case(series(slower)))
    assert not compare(base, new).regressed  # one after the other: lost in the noise
    found = compare(*(dataclasses.replace(one, paired_id="p") for one in (base, new)))
    assert found.regressed
    change = only(found).change_frac
    assert change == pytest.approx(-0.10, abs=0.01)
    assert only(found).interval_frac is not None
    assert -0.12 < only(found).interval_frac.low < only(found).interval_frac.high < -0.08
    assert "recorded turn by turn: compared round by round" in found.notes
    others = dataclasses.replace(new, paired_id="q")  # took turns with somebody else
    assert not compare(dataclasses.replace(base, paired_id="p"), others).regressed


def test_a_machine_that_got_slower_is_named_beside_the_engine() -> None:
    base, new = (
        run(
            case(series(rates(seed, speed=speed)), subject="tiny"),
            case(series(rates(seed + 9, speed=speed), "read_bytes_per_s"), subject="machine"),
        )
        for seed, speed in ((1, 100.0), (2, 70.0))
    )
    (note,) = [note for note in compare(base, new).notes if "machine itself" in note]
    assert "advisor bench --against" in note
    assert not [note for note in compare(base, base).notes if "machine itself" in note]


def test_engines_of_one_speed_that_took_turns_are_not_told_apart() -> None:
    alarms = 0
    for seed in range(40):
        drift = wandering()
        x, y = (
            [speed * a / 100 for speed, a in zip(drift, rates(2 * seed + side, noise=0.03), strict=True)]
            for side in (0, 1)
        )
        base, new = (run(case(series(values)), paired_id="p") for values in (x, y))
        alarms += compare(base, new).regressed
    assert alarms <= 2


def test_rounds_disturbed_in_either_run_make_no_pair() -> None:
    bad = tuple(number in (2, 5) for number in range(10))
    spoilt = [1.0 if flag else 100.0 + number for number, flag in enumerate(bad)]
    base = run(case(series([100.0 + number for number in range(10)])), paired_id="p")
    new = run(case(series(spoilt, polluted=bad)), paired_id="p")
    assert only(compare(base, new)).change_frac == pytest.approx(0.0)
    few = run(case(series(spoilt, polluted=[number > 3 for number in range(10)])), paired_id="p")
    finding = only(compare(base, few))
    assert finding.verdict is Verdict.NOT_COMPARABLE
    assert finding.reason == "4 of 10 rounds were undisturbed in both runs, 5 are needed: quiet the machine"
    short = run(case(series([100.0] * 3)), paired_id="p")
    assert "3 rounds, 5 are needed: record more" in (only(compare(base, short)).reason or "")


def test_a_case_on_every_core_is_trusted_less_until_the_history_knows() -> None:
    def deployed(threads: int) -> dict[str, object]:
        return {"deployment": Deployment(model_id="tiny", quant_id="Q4_0", threads_count=threads)}

    box = dataclasses.replace(ENVIRONMENT, usable_threads_count=4)
    verdicts = {}
    for threads in (3, 4):
        base = run(case(series(rates(1)), **deployed(threads)), environment=box)
        new = run(case(series(rates(2, speed=91.0)), **deployed(threads)), environment=box)
        verdicts[threads] = only(compare(base, new)).verdict
    assert verdicts == {3: Verdict.SLOWER, 4: Verdict.UNCHANGED}
