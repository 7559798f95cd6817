"""Methods over data sets."""

import math

import numpy as np
import pytest

pytest.importorskip("statsmodels")
from scipy import stats  # noqa: E402

from fer_attention.study.statistics import critical_difference, friedman  # noqa: E402

# Demsar 2006, table 2: AUC of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 data sets.
DEMSAR = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def test_demsars_example():
    """Section 3.2.2: mean ranks 3.143, 2.000, 2.893, 1.964; chi2 9.28, F 3.69, CD 1.25 at 0.05."""
    one = friedman(DEMSAR)
    assert one.mean_ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
    ranks = np.array(one.mean_ranks)
    plain = 12 * 14 / (4 * 5) * ((ranks**2).sum() - 4 * 25 / 4)  # the paper does not correct for ties
    assert plain == pytest.approx(9.28, abs=0.01)
    assert 13 * plain / (14 * 3 - plain) == pytest.approx(3.69, abs=0.01)
    assert one.chi2 == pytest.approx(stats.friedmanchisquare(*DEMSAR.T).statistic)
    assert one.f > 3.69
    assert one.p < 0.05
    assert one.critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=5e-4)
    assert one.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert one.can_decide
    assert one.why == ""


@pytest.mark.parametrize(
    ("methods", "q"),
    [
        (2, 1.960),
        (3, 2.343),
        (4, 2.569),
        (5, 2.728),
        (6, 2.850),
        (7, 2.949),
        (8, 3.031),
        (9, 3.102),
        (10, 3.164),
    ],
)
def test_critical_values_are_those_of_demsars_table_5(methods, q):
    error = math.sqrt(methods * (methods + 1) / (6 * 20))
    assert critical_difference(methods, 20) / error == pytest.approx(
        q, abs=1.1e-3
    )  # the table cuts digits off


def test_iman_and_davenports_f_and_its_p():
    scores = np.random.default_rng(0).normal([0, 0.5, 1], 1, (12, 3))
    one = friedman(scores)
    f = 11 * one.chi2 / (12 * 2 - one.chi2)
    assert one.f == pytest.approx(f)
    assert one.p == pytest.approx(stats.f.sf(f, 2, 22))
    assert one.p_chi2 == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)


def test_pairwise_p_is_alpha_at_the_critical_difference_and_symmetric():
    one = friedman(np.random.default_rng(0).normal([0, 0.5, 1, 1.5], 1, (12, 4)))
    p, ranks = np.array(one.pairwise_p), np.array(one.mean_ranks)
    assert p == pytest.approx(p.T)
    assert np.diag(p) == pytest.approx(np.ones(4))
    apart = abs(ranks[:, None] - ranks)
    assert ((p < 0.05) == (apart > one.critical_difference)).all()
    at = stats.studentized_range.sf(one.critical_difference / math.sqrt(4 * 5 / 72) * math.sqrt(2), 4, np.inf)
    assert at == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 4), (2, 4), (2, 12), (14, 2), (1, 3), (3, 3), (5, 1)])
def test_too_few_data_sets_or_methods_give_ranks_without_a_verdict(shape):
    one = friedman(np.arange(math.prod(shape)).reshape(shape))
    assert not one.can_decide
    assert one.why
    assert (one.chi2, one.f, one.p, one.pairwise_p) == (None, None, None, None)
    assert one.mean_ranks == tuple(float(rank) for rank in range(shape[1], 0, -1))


@pytest.mark.parametrize("shape", [(4, 4), (4, 3), (10, 4), (3, 8)])
def test_enough_of_them_decide(shape):
    one = friedman(np.random.default_rng(0).random(shape))
    assert one.can_decide
    assert one.critical_difference < shape[1] - 1


def test_where_all_data_sets_agree_p_is_the_chance_of_that():
    one = friedman(np.tile([0.1, 0.2, 0.3, 0.4], (5, 1)))
    assert one.f is None
    assert one.p == pytest.approx(24.0**-4)
    tied = friedman(np.tile([0.1, 0.2, 0.2, 0.4], (5, 1)))
    assert tied.p == pytest.approx(12.0**-4)


def test_methods_that_never_differ_have_no_verdict():
    one = friedman(np.full((10, 4), 0.5))
    assert not one.can_decide
    assert one.mean_ranks == (2.5,) * 4


def test_errors_rank_the_other_way():
    assert friedman(-DEMSAR, higher_is_better=False).mean_ranks == friedman(DEMSAR).mean_ranks


@pytest.mark.parametrize("scores", [[0.1, 0.2], np.empty((0, 3)), [[0.1, math.nan]]])
def test_unfit_scores_are_refused(scores):
    with pytest.raises(ValueError, match="scores"):
        friedman(scores)
    with pytest.raises(ValueError, match="2 methods"):
        critical_difference(1, 5)
