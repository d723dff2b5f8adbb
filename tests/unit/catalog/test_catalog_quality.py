"""The quality fit on made-up tables where the truth is known, and the published scores' promises."""

import dataclasses

import numpy as np
import pytest

from catalog.facts.ability import Subject, Variances, fit
from catalog.facts.accuracy import left_out
from catalog.facts.benchmarks import Observation, family_of, observations
from catalog.facts.calibration import calibrate, group
from catalog.load import TASKS, load_catalog

CATALOG = load_catalog()
TODAY = 2026.75


def _world(models=60, seed=3, reported_bias=0.0):
    """Models whose ability is size plus luck, and four benchmarks that show it through their own scales."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(-1, 1.5, models)
    ability = 1.5 * size + rng.normal(0, 0.3, models)
    subjects = [
        Subject(
            model_id=f"m{number}",
            features=(float(size[number]), float(size[number]), 1.0, 0.0),
            lineage=f"m{number}",
            family=f"f{number % 12}",
            maker=f"o{number % 6}",
        )
        for number in range(models)
    ]
    scales = {"easy": (2.0, 1.0), "hard": (-2.0, 1.2), "flat": (0.0, 0.5), "told": (0.5, 1.0)}
    rows = [
        Observation(
            model_id=f"m{number}",
            task="chat" if name in {"easy", "told"} else "coding",
            benchmark=name,
            family=name,
            value=float(shift + slope * (ability[number] + rng.normal(0, 0.15) + (name == "told") * reported_bias)),
            reported_frac=float(name == "told"),
            thinking=False,
            date="2026-06",
        )
        for number in range(models)
        for name, (shift, slope) in scales.items()
        if rng.random() < 0.6
    ]
    seen = {row.model_id for row in rows}
    return ability, [subject for subject in subjects if subject.model_id in seen], rows


def test_abilities_are_recovered_and_intervals_hold():
    ability, subjects, rows = _world()
    posterior = fit(rows, subjects, Variances(), TODAY)
    mean, sd = posterior.predict(subjects, {"chat": 1.0})
    truth = np.array([ability[int(subject.model_id[1:])] for subject in subjects])
    slope, shift = np.polyfit(truth, mean, 1)
    error = mean - (slope * truth + shift)
    assert np.corrcoef(mean, truth)[0, 1] > 0.97
    assert (np.abs(error) < 1.2816 * sd).mean() > 0.5


def test_left_out_predictions_beat_ignorance_and_their_coverage_is_cross_fitted():
    _, subjects, rows = _world()
    for row in left_out(fit(rows, subjects, Variances(), TODAY)):
        assert row.error < 0.6 * row.spread
        assert 0.65 <= row.coverage <= 0.95


def test_leaving_out_equals_refitting_without_the_rows():
    _, subjects, rows = _world(models=25)
    posterior = fit(rows, subjects, Variances(), TODAY)
    cells = np.flatnonzero(posterior.cells.subject == 3)
    error, covariance = posterior.left_out(cells)
    kept = np.setdiff1d(np.arange(posterior.cells.count), cells)
    whole = np.linalg.inv(posterior.inverse)
    gain = whole[np.ix_(cells, kept)] @ np.linalg.inv(whole[np.ix_(kept, kept)])
    assert posterior.values[cells] - gain @ posterior.values[kept] == pytest.approx(error, abs=1e-6)
    left = whole[np.ix_(cells, cells)] - gain @ whole[np.ix_(kept, cells)]
    assert covariance == pytest.approx(left, abs=1e-6)


def test_more_evidence_narrows_and_reported_evidence_narrows_less():
    _, subjects, rows = _world()
    subject = subjects[5]
    others = [row for row in rows if row.model_id != subject.model_id]
    base = dataclasses.replace(rows[0], reported_frac=0.0, benchmark="easy", family="easy", task="chat")
    mine = [dataclasses.replace(base, model_id=subject.model_id)]
    widths = []
    for own in ([], [dataclasses.replace(mine[0], reported_frac=1.0)], mine):
        seen = {row.model_id for row in others + own}
        known = [one for one in subjects if one.model_id in seen]
        widths.append(float(fit(others + own, known, Variances(), TODAY).predict([subject], {"chat": 1.0})[1][0]))
    assert widths[0] > widths[1] > widths[2]


def test_siblings_count_once():
    _, subjects, rows = _world()
    subject = subjects[5]
    others = [row for row in rows if row.model_id != subject.model_id]
    one = dataclasses.replace(
        rows[0], model_id=subject.model_id, benchmark="easy", family="easy", task="chat", value=2.0
    )
    many = [dataclasses.replace(one, benchmark=f"easy{number}") for number in range(8)]
    spread = [
        fit(others + own, subjects, Variances(), TODAY).predict([subject], {"chat": 1.0})[1][0] for own in ([one], many)
    ]
    assert spread[1] == pytest.approx(spread[0], rel=0.05)


def test_a_stale_or_contradicted_cell_is_noisier():
    _, subjects, rows = _world()
    index = {subject.model_id: number for number, subject in enumerate(subjects)}
    fresh = group(rows, index, TODAY)
    stale = group([dataclasses.replace(row, date="2023-06") for row in rows], index, TODAY)
    disputed = group([dataclasses.replace(row, spread=0.5) for row in rows], index, TODAY)
    assert (stale.age_years > fresh.age_years).all()
    assert (disputed.spread_variance == 0.25).all()


def test_a_benchmarks_scale_is_found():
    ability, subjects, rows = _world()
    index = {subject.model_id: number for number, subject in enumerate(subjects)}
    cells = group(rows, index, TODAY)
    truth = np.array([ability[int(subjects[number].model_id[1:])] for number in cells.subject])
    calibration = calibrate(cells, truth)
    names = sorted({(row.task, row.benchmark) for row in rows})
    hard, flat = names.index(("coding", "hard")), names.index(("coding", "flat"))
    assert calibration.slope[hard] / calibration.slope[flat] == pytest.approx(1.2 / 0.5, rel=0.25)
    assert calibration.intercept[hard] < calibration.intercept[flat]


def _row(**fields):
    return {
        "hf_id": "a/m",
        "mode": "",
        "benchmark": "gpqa_diamond",
        "task": "reasoning",
        "score": "50",
        "unit": "%",
        "kind": "vendor_reported",
        "source_ref": "",
        "date": "2026-01",
    } | fields


_MODELS = [
    {"model_id": "a/m", "tasks": ["reasoning", "rag", "chat"]},
    {"model_id": "n/m", "tasks": [], "duplicate_of": "a/m"},
]


def _observe(*rows):
    return observations(rows, [], _MODELS)


def test_rows_of_copies_and_precision_variants_are_the_models():
    assert [one.model_id for one in _observe(_row(hf_id="n/m"), _row(hf_id="a/m-FP8", benchmark="aime_2025"))] == [
        "a/m"
    ] * 2
    assert _observe(_row(hf_id="a/unknown"), _row(task="coding")) == []


def test_independent_figures_replace_the_makers():
    [one] = _observe(_row(score="90"), _row(score="50", kind="measured"))
    assert one.value == pytest.approx(0.0)
    assert one.reported_frac == 0.0


def test_a_rivals_table_is_trusted_more_than_the_makers_own():
    [own] = _observe(_row())
    [rival] = _observe(_row(source_ref="Qwen3.5-4B model-card table"))
    assert (own.reported_frac, rival.reported_frac) == (1.0, 0.5)


def test_the_best_mode_of_effort_counts_and_unfair_ones_do_not():
    [one] = _observe(_row(score="30", mode="no-thinking"), _row(score="60", mode="thinking"))
    assert one.thinking
    assert one.value > 0
    assert _observe(_row(mode="Cons@64"), _row(mode="Accuracy (with tools)")) == []


def test_failed_runs_are_no_scores():
    assert _observe(_row(score="-1"), _row(score="0.0")) == []


def test_scales_become_unbounded_and_keep_their_order():
    values = [_observe(_row(score=str(score)))[0].value for score in (1, 20, 50, 80, 99, 100)]
    assert values == sorted(values)
    assert values[2] == pytest.approx(0)
    [rank] = _observe(_row(unit="rank (1=best)", score="2.5"))
    [elo] = _observe(_row(unit="Elo", score="1300", benchmark="arena_text", task="chat"))
    assert rank.value == -2.5
    assert elo.value == pytest.approx(1300 * np.log(10) / 400)


def test_benchmark_families():
    assert family_of("arena_coding") == family_of("arena_text_2026_08") == "arena"
    assert family_of("arena_hard_prompts") != "arena"
    assert family_of("livebench_2024-06-24_math") == "livebench"
    assert family_of("gpqa_diamond_gpu_measured") == family_of("gpqa_diamond")


@pytest.mark.parametrize("task", TASKS)
def test_an_unmeasured_model_never_outranks_the_best_measured_one_that_is_not_larger(task):
    served = [model for model in CATALOG.models.values() if task in model.tasks]
    best = 0.0
    for model in sorted(served, key=lambda one: (one.params_total_count, one.model_id)):
        score = CATALOG.quality(model.model_id, task)
        if score.evidence == ("imputed from family, size and date",):
            same_size = [
                CATALOG.quality(other.model_id, task).low
                for other in served
                if other.params_total_count == model.params_total_count
            ]
            assert score.low <= max(best, *same_size) + 0.11
        elif not score.imputed:
            best = max(best, score.low)


def test_a_fine_tune_without_scores_never_outranks_what_it_was_tuned_from():
    checked = 0
    for model in CATALOG.models.values():
        for task in model.tasks:
            score = CATALOG.quality(model.model_id, task)
            if model.derived_from and score.evidence == (f"imputed from {model.derived_from}",):
                parent = CATALOG.quality(model.derived_from, task)
                if parent.high:
                    assert score.mid < parent.mid
                    assert score.low < parent.low
                    checked += 1
    assert checked > 50


@pytest.mark.parametrize(
    ("better", "worse", "task"),
    [
        ("Qwen/Qwen3.8-27B", "Qwen/Qwen3-8B", "coding"),
        ("Qwen/Qwen3.5-9B", "Qwen/Qwen2.5-7B-Instruct", "chat"),
        ("meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", "reasoning"),
        ("Qwen/Qwen2.5-Coder-14B-Instruct", "Qwen/Qwen2.5-14B-Instruct", "coding"),
        ("google/gemma-4-31B-it", "google/gemma-3-27b-it", "multilingual"),
        ("moonshotai/Kimi-K3", "Qwen/Qwen3.5-9B", "agentic"),
        ("Qwen/Qwen3-Embedding-8B", "sentence-transformers/all-MiniLM-L6-v2", "embedding"),
        ("Qwen/Qwen3.5-4B", "HuggingFaceTB/SmolVLM-256M-Instruct", "vision"),
        ("Qwen/Qwen2.5-1.5B-Instruct", "HuggingFaceTB/SmolLM2-135M-Instruct", "general"),
    ],
)
def test_what_nobody_disputes(better, worse, task):
    assert CATALOG.quality(better, task).low > CATALOG.quality(worse, task).mid


def test_tuning_never_lowers_the_likelihood():
    from catalog.facts.tune import tune

    _, subjects, rows = _world(models=20)
    start = Variances(measured_noise=1.0)
    best, likelihood = tune(rows, subjects, start)
    assert likelihood > fit(rows, subjects, start, TODAY).log_likelihood
    assert best.measured_noise < 1.0
