"""Rank statistics beside scipy's and published tables."""

import random

import pytest

from advisor.regression import ranks


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [8, 10, 23])
def test_signed_ranks_agree_with_scipy(seed: int, count: int) -> None:
    from scipy.stats import wilcoxon

    source = random.Random(seed)
    differences = [source.gauss(0.3, 1.0) for _ in range(count)]
    expected = wilcoxon(differences, method="exact").pvalue
    assert ranks.paired_p_value(differences) == pytest.approx(expected)
    low, middle, high = ranks.centre(differences)
    assert min(differences) <= low <= middle <= high <= max(differences)
    assert (low > 0 or high < 0) == (ranks.paired_p_value(differences) <= 0.05)


@pytest.mark.parametrize("freedom", range(1, 9))
@pytest.mark.parametrize("t", [0.0, 0.7, -2.5, 40.0])
def test_students_distribution_agrees_with_scipy(freedom: int, t: float) -> None:
    from scipy.stats import t as student

    assert ranks.student_two_sided(t, freedom) == pytest.approx(2 * student.sf(abs(t), freedom), abs=1e-9)


def test_five_pairs_can_convince_if_they_agree() -> None:
    assert ranks.paired_p_value([0.10, 0.11, 0.09, 0.10, 0.105]) < 1e-4
    assert ranks.paired_p_value([0.10, 0.02, 0.30, -0.10, 0.105]) > 0.1


def test_pairs_without_a_difference_say_nothing() -> None:
    assert ranks.paired_p_value([0.0] * 10) == 1.0
    assert ranks.centre([0.0] * 10) == (0.0, 0.0, 0.0)
    assert ranks.paired_p_value([0.0, 0.0, 0.3]) == 1.0
    assert ranks.paired_p_value([1.0, 1.0, -1.0, 0.0]) > 0.5


def test_rank_statistics_agree_with_published_tables() -> None:
    # Mann-Whitney critical values: two-sided 5 % for 10 and 10 is U = 23, for 5 and 5 U = 2
    assert ranks.u_cdf(23, 10, 10) <= 0.025 < ranks.u_cdf(24, 10, 10)
    assert ranks.u_cdf(2, 5, 5) <= 0.025 < ranks.u_cdf(3, 5, 5)
    assert ranks.p_value([1, 2, 3], [4, 5, 6]) == pytest.approx(0.1)
    assert ranks.u_cdf(600, 40, 40) == pytest.approx(ranks.u_cdf(600 + 20.5, 41, 40), abs=0.01)


def test_benjamini_hochberg_adjusts_as_published() -> None:
    # Benjamini and Hochberg 1995, table of 15 p-values: four are significant at 5 %
    p_values = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
        0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000,
    ]  # fmt: skip
    assert sum(q <= 0.05 for q in ranks.adjusted(p_values)) == 4
    assert ranks.adjusted([]) == []
