"""Gains and accuracy against the number of training images."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("statsmodels")
import statsmodels.api as sm  # noqa: E402
from scipy import stats  # noqa: E402

from fer_attention.study.statistics import accuracy_curve, size_curve  # noqa: E402

SIZES = np.array([1000, 2000, 4000, 8000, 16000])


def gains(replications=4, slope=-0.004, noise=0.002, seed=0):
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 0.01, (replications, 1))
    values = 0.05 + own + slope * np.log2(SIZES / 1000) + rng.normal(0, noise, (replications, len(SIZES)))
    return (
        np.tile(SIZES, replications),
        values.ravel(),
        np.repeat(np.arange(replications), len(SIZES)).tolist(),
    )


def test_one_line_is_least_squares():
    sizes, values, _ = gains()
    one = size_curve(sizes, values)
    fit = sm.OLS(values, sm.add_constant(np.log2(sizes))).fit()
    assert one.coefficients == pytest.approx(tuple(fit.params))
    assert one.slope == pytest.approx(fit.params[1])
    assert one.interval == pytest.approx(tuple(fit.conf_int()[1]))
    assert one.p == pytest.approx(fit.pvalues[1])
    expected = fit.get_prediction(sm.add_constant(np.log2([3000.0, 50_000.0]))).conf_int()
    band = one.predict([3000, 50_000])
    assert np.column_stack([band.low, band.high]) == pytest.approx(expected)
    assert (one.n, one.replications, one.df) == (20, None, 18)


def test_with_replications_it_is_a_t_test_of_their_slopes():
    sizes, values, replications = gains()
    one = size_curve(sizes, values, replications=replications)
    lines = [np.polyfit(np.log2(SIZES), row, 1) for row in values.reshape(4, -1)]
    slopes = np.array([line[0] for line in lines])
    test = stats.ttest_1samp(slopes, 0)
    assert one.slope == pytest.approx(slopes.mean())
    assert one.p == pytest.approx(test.pvalue)
    assert one.interval == pytest.approx(tuple(test.confidence_interval()))
    assert (one.replications, one.df, one.dropped) == (4, 3, 0)


def test_the_band_is_the_t_interval_of_the_lines_at_each_size():
    sizes, values, replications = gains()
    band = size_curve(sizes, values, replications=replications).predict([1000, 3000, 64_000])
    for place, size in enumerate([1000, 3000, 64_000]):
        at = [np.polyval(np.polyfit(np.log2(SIZES), row, 1), np.log2(size)) for row in values.reshape(4, -1)]
        expected = stats.ttest_1samp(at, 0).confidence_interval()
        assert band.fit[place] == pytest.approx(np.mean(at))
        assert (band.low[place], band.high[place]) == pytest.approx(tuple(expected))


def test_seeds_that_shift_all_sizes_do_not_blur_the_slope():
    sizes, values, replications = gains(noise=0.001)
    alone, together = size_curve(sizes, values), size_curve(sizes, values, replications=replications)
    assert alone.slope == pytest.approx(together.slope)
    assert np.ptp(together.interval) < np.ptp(alone.interval)


@pytest.mark.parametrize(
    ("slope", "noise", "direction"),
    [(0.01, 0.002, "grows"), (-0.01, 0.002, "shrinks"), (0.0, 0.02, "undecided")],
)
def test_the_direction_is_said_where_it_is_decided(slope, noise, direction):
    sizes, values, replications = gains(slope=slope, noise=noise)
    one = size_curve(sizes, values, replications=replications)
    assert one.direction == direction
    assert one.decided == (direction != "undecided")


def test_replications_of_one_size_are_dropped_and_counted():
    sizes, values, replications = gains()
    one = size_curve([*sizes, 1000], [*values, 0.9], replications=[*replications, "alone"])
    whole = size_curve(sizes, values, replications=replications)
    assert (one.n, one.replications, one.dropped) == (20, 4, 1)
    assert one.slope == whole.slope


@pytest.mark.parametrize("replications", [None, [0, 0], [7, 7]])
def test_two_gains_give_a_slope_and_no_certainty(replications):
    one = size_curve([1000, 4000], [0.03, 0.01], replications=replications)
    assert one.slope == pytest.approx(-0.01)
    assert (one.interval, one.p, one.covariance, one.direction) == (None, None, None, "undecided")
    band = one.predict([2000])
    assert band.fit == pytest.approx([0.02])
    assert np.isnan([band.low, band.high]).all()


@given(st.floats(-1, 1), st.floats(0.5, 4))
def test_a_constant_gain_more_moves_the_line_and_a_factor_scales_it(constant, factor):
    sizes, values, replications = gains()
    one = size_curve(sizes, values, replications=replications)
    other = size_curve(sizes, values * factor + constant, replications=replications)
    assert other.slope == pytest.approx(one.slope * factor)
    assert other.p == pytest.approx(one.p, rel=1e-4)


@pytest.mark.parametrize(
    ("sizes", "values", "options", "message"),
    [
        ([1000, 1000], [0.1, 0.2], {}, "All sizes are equal"),
        ([0, 1000], [0.1, 0.2], {}, "sizes hold 0"),
        ([1000], [0.1, 0.2], {}, "1 sizes for 2"),
        ([1000, 2000], [0.1, math.nan], {}, r"gains\[1\]"),
        ([1000, 2000], [0.1, 0.2], {"replications": [1]}, "1 replications for 2"),
        ([1000, 2000], [0.1, 0.2], {"replications": [1, 2]}, "single size"),
        ([1000, 2000], [0.1, 0.2], {"confidence": 2}, "confidence is 2"),
    ],
)
def test_unfit_gains_are_refused(sizes, values, options, message):
    with pytest.raises(ValueError, match=message):
        size_curve(sizes, values, **options)


def test_the_saturating_curve_finds_what_made_the_accuracies():
    sizes = np.geomspace(500, 28_000, 8)
    one = accuracy_curve(sizes, 0.72 - 3 * sizes**-0.4)
    assert (one.asymptote, one.scale, one.exponent) == pytest.approx((0.72, 3, 0.4), rel=1e-3)
    assert one.failure == ""
    assert one.residual < 1e-6
    assert one.predict([100_000]) == pytest.approx([0.72 - 3 * 1e5**-0.4], abs=1e-5)


def test_its_errors_are_of_the_size_of_what_other_draws_give():
    sizes, rng = np.geomspace(500, 28_000, 8), np.random.default_rng(0)
    fits = [accuracy_curve(sizes, 0.72 - 3 * sizes**-0.4 + rng.normal(0, 0.002, 8)) for _ in range(150)]
    for place, name in enumerate(("asymptote", "scale", "exponent")):
        spread = np.std([getattr(fit, name) for fit in fits])
        assert np.median([fit.errors[place] for fit in fits]) == pytest.approx(spread, rel=0.35), name


def test_accuracies_that_do_not_determine_it_have_no_errors():
    falling = accuracy_curve(SIZES, [0.6, 0.59, 0.58, 0.57, 0.56])
    assert falling.errors is None
    assert "do not determine" in falling.failure


def test_a_fit_that_fails_says_so(monkeypatch):
    from fer_attention.study.statistics import saturation

    def fails(*_, **__):
        raise RuntimeError("too many steps")

    monkeypatch.setattr(saturation.optimize, "curve_fit", fails)
    one = accuracy_curve(SIZES, [0.5, 0.55, 0.58, 0.6, 0.61])
    assert (one.asymptote, one.residual) == (None, None)
    assert one.failure == "the fit failed: too many steps"
    with pytest.raises(ValueError, match="too many steps"):
        one.predict([1000])


@pytest.mark.parametrize(
    ("sizes", "values", "message"),
    [
        ([1, 2, 4, 4], [0.1] * 4, r"3 different size\(s\)"),
        ([1, 2, 4, 8], [0.1] * 3, "4 sizes for 3"),
        ([1, 2, 4, 8], [10, 20, 30, 40], "expected shares"),
        ([-1, 2, 4, 8], [0.1] * 4, "above 0"),
    ],
)
def test_unfit_accuracies_are_refused(sizes, values, message):
    with pytest.raises(ValueError, match=message):
        accuracy_curve(sizes, values)
