"""Comparisons hold for any values: symmetric, scale-free, never alarmed by equality."""

import itertools
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.regression import changepoints, comparison, ranks, regress
from advisor.types import MetricSeries, Run, RunCase, RunEnvironment, ValidationStatus, Verdict

rounds = st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=12)
metrics = st.sampled_from(["decode_tokens_per_s", "first_token_s", "peak_memory_bytes", "read_bytes_per_s"])


def _run(values: list[float], metric: str) -> Run:
    series = MetricSeries(metric=metric, values=tuple(values), rounds=tuple(range(len(values))))
    return Run(
        suite_name="s",
        suite_id="s",
        environment=RunEnvironment(machine_id="m", hardware="h", os="o"),
        cases=(RunCase(subject="c", status=ValidationStatus.OK, series=(series,)),),
        created_at="2026-01-01T00:00:00Z",
        tool_version="0",
        rounds_count=len(values),
    )


def _compare(x: list[float], y: list[float], metric: str) -> regress.Regression:
    return regress.regress(_run(x, metric), _run(y, metric), created_at="", tool_version="")


@given(st.lists(st.floats(allow_nan=True), min_size=0, max_size=12), rounds, metrics)
def test_absurd_values_in_a_document_are_survived(x: list[float], y: list[float], metric: str) -> None:
    assert len(_compare(x, y, metric).findings) == 1


@given(rounds, metrics)
def test_a_run_never_regresses_against_itself(values: list[float], metric: str) -> None:
    found = _compare(values, values, metric)
    assert not found.regressed
    assert found.findings[0].change_frac is not None
    assert math.isclose(found.findings[0].change_frac, 0.0, abs_tol=1e-9)


@given(rounds, rounds, metrics)
def test_swapping_the_runs_swaps_the_verdict(x: list[float], y: list[float], metric: str) -> None:
    forth, back = _compare(x, y, metric).findings[0], _compare(y, x, metric).findings[0]
    mirrored = {Verdict.SLOWER: Verdict.FASTER, Verdict.FASTER: Verdict.SLOWER}
    if forth.verdict in mirrored and back.verdict in mirrored:
        assert back.verdict is mirrored[forth.verdict]
    assert forth.change_frac is not None
    assert back.change_frac is not None
    assert math.isclose(math.log1p(forth.change_frac), -math.log1p(back.change_frac), rel_tol=1e-6, abs_tol=1e-9)


@given(rounds, rounds, st.floats(1e-3, 1e3))
def test_the_unit_does_not_matter(x: list[float], y: list[float], scale: float) -> None:
    plain = _compare(x, y, "first_token_s").findings[0]
    scaled = _compare([scale * v for v in x], [scale * v for v in y], "first_token_s").findings[0]
    assert plain.change_frac is not None
    assert scaled.change_frac is not None
    assert math.isclose(math.log1p(plain.change_frac), math.log1p(scaled.change_frac), rel_tol=1e-6, abs_tol=1e-9)


@given(rounds, rounds, metrics)
def test_the_interval_holds_the_change(x: list[float], y: list[float], metric: str) -> None:
    finding = _compare(x, y, metric).findings[0]
    assert finding.interval_frac is not None
    assert finding.change_frac is not None
    slack = 1e-9 * (1 + abs(finding.change_frac))
    assert finding.interval_frac.low - slack <= finding.change_frac <= finding.interval_frac.high + slack


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_keep_the_order_and_never_shrink(p_values: list[float]) -> None:
    q_values = ranks.adjusted(p_values)
    assert all(q >= p - 1e-12 for p, q in zip(p_values, q_values, strict=True))
    assert all(q <= 1 + 1e-12 for q in q_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert all(q_values[a] <= q_values[b] + 1e-12 for a, b in itertools.pairwise(order))


@given(st.integers(1, 12), st.integers(1, 12))
def test_the_rank_distribution_is_one(x_count: int, y_count: int) -> None:
    cdf = [ranks.u_cdf(u, x_count, y_count) for u in range(x_count * y_count + 1)]
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(cdf))
    assert math.isclose(cdf[-1], 1.0)
    assert math.isclose(cdf[0], 1 / math.comb(x_count + y_count, x_count))


@given(st.floats(1e-9, 10), st.integers(0, 50))
def test_the_history_never_makes_a_machine_surer_than_it_showed(squares: float, count: int) -> None:
    sigma = comparison.BetweenRuns(squares_sum=squares, differences_count=count).sigma(0.02)
    assert min(0.02, math.sqrt(squares / 2 / max(count, 1))) * 0.999 <= sigma
    assert sigma <= math.sqrt(0.02**2 + squares / 2)


@settings(max_examples=40)
@given(st.lists(st.floats(1.0, 1000.0), min_size=0, max_size=40))
def test_change_points_are_inside_and_apart(values: list[float]) -> None:
    found = changepoints.steps(values)
    edges = [0, *found, len(values)]
    assert all(b - a >= changepoints.MIN_POINTS_COUNT for a, b in itertools.pairwise(edges)) or not found
