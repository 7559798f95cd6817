"""Two factors over blocks: the table, the mixed model, and whether gains add up."""

import math

import numpy as np
import pytest

pytest.importorskip("statsmodels")
pd = pytest.importorskip("pandas")
from scipy import stats  # noqa: E402

from fer_attention.study.statistics import anova, factorial_analysis, replications_needed  # noqa: E402

ATTENTION, ACTIVATION = ("none", "se", "cbam"), ("relu", "elu")


def study(*, blocks=5, interaction=0.0, noise=0.004, spread=0.01, seed=0, attention=ATTENTION):
    rng = np.random.default_rng(seed)
    seeds = rng.normal(0, spread, blocks)
    rows = [
        {
            "attention": one,
            "activation": two,
            "replication": f"{block}/0",
            "value": 0.6
            + seeds[block]
            + 0.01 * attention.index(one)
            + 0.005 * (two == "elu")
            + interaction * (one == attention[-1] and two == "elu")
            + rng.normal(0, noise),
        }
        for one in attention
        for two in ACTIVATION
        for block in range(blocks)
    ]
    return pd.DataFrame(rows)


def analysed(frame, **options):
    return factorial_analysis(frame, first="attention", second="activation", **options)


def squares(frame, *terms):
    """Residual sum of squares of a model with an intercept and these dummy columns."""
    columns = [np.ones(len(frame))]
    for term in terms:
        names = frame[list(term)].agg("|".join, axis=1)
        columns += [(names == name).to_numpy(float) for name in sorted(set(names))]
    basis = np.column_stack(columns)
    values = frame["value"].to_numpy()
    return float(((values - basis @ np.linalg.lstsq(basis, values, rcond=None)[0]) ** 2).sum())


@pytest.mark.parametrize("missing", [0, 4])
def test_the_table_is_made_of_differences_of_residual_squares(missing):
    frame = study().sample(frac=1, random_state=1).iloc[missing:].sort_index()
    one = analysed(frame)
    a, b, s, ab = ("attention",), ("activation",), ("replication",), ("attention", "activation")
    left, df_left = squares(frame, ab, s), len(frame) - 6 - 4
    expected = {
        "attention": (squares(frame, b, s) - squares(frame, a, b, s), 2),
        "activation": (squares(frame, a, s) - squares(frame, a, b, s), 1),
        "attention × activation": (squares(frame, a, b, s) - left, 2),
    }
    assert [row.effect for row in one.anova] == list(expected)
    for row in one.anova:
        gained, df = expected[row.effect]
        f = (gained / df) / (left / df_left)
        assert (row.df, row.df_residual) == (df, df_left)
        assert row.f == pytest.approx(f, rel=1e-6)
        assert row.p == pytest.approx(stats.f.sf(f, df, df_left), rel=1e-6)
        assert row.partial_eta_squared == pytest.approx(gained / (gained + left), rel=1e-6)
        assert row.interval[0] <= row.partial_eta_squared
    assert (one.runs, one.blocks) == (len(frame), 5)


@pytest.mark.parametrize(("f", "df", "df_residual"), [(11.2, 2, 20), (3.1, 1, 8), (0.4, 3, 28)])
def test_the_interval_of_eta_squared_leaves_its_tails(f, df, df_residual):
    low, high = anova.eta_interval(f, df, df_residual, confidence=0.9)
    for share, tail in ((low, 0.95), (high, 0.05)):
        noncentral = share / (1 - share) * (df + df_residual + 1)
        if noncentral:
            assert stats.ncf.cdf(f, df, df_residual, noncentral) == pytest.approx(tail, abs=1e-6)
        else:
            assert stats.f.cdf(f, df, df_residual) <= tail


def test_the_interval_of_eta_squared_covers():
    """A noncentrality of 8 with 2 and 20 degrees of freedom is a share of 8 / 31."""
    drawn = stats.ncf.rvs(2, 20, 8, size=300, random_state=0)
    held = [
        low <= 8 / 31 <= high for low, high in (anova.eta_interval(f, 2, 20, confidence=0.9) for f in drawn)
    ]
    assert np.mean(held) == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 300))


@pytest.mark.parametrize("seed", [3, 4])
def test_wald_of_the_mixed_model_is_the_f_of_balanced_blocks(seed):
    frame = study(seed=seed)
    one = analysed(frame).mixed
    assert one.converged
    assert one.failure == ""
    assert one.chi2 == pytest.approx(one.df * analysed(frame).anova[2].f, rel=1e-3)
    assert one.p == pytest.approx(stats.chi2.sf(one.chi2, 2))
    assert "chi-squared" in analysed(frame).mixed_text


def test_where_the_blocks_are_alike_the_mixed_model_has_none():
    """REML puts the blocks' variance to 0 then, and what is left is least squares without blocks."""
    frame = study(spread=0.0, seed=1)
    blockless = squares(frame, ("attention",), ("activation",)) - squares(frame, ("attention", "activation"))
    chi2 = blockless / (squares(frame, ("attention", "activation")) / (30 - 6))
    one = analysed(frame)
    assert one.mixed.chi2 == pytest.approx(chi2, rel=1e-3)
    assert one.mixed.chi2 > 2 * one.anova[2].f


def test_a_mixed_model_that_fails_says_so(monkeypatch):
    def fails(*_, **__):
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(anova, "mixedlm", fails)
    one = analysed(study())
    assert (one.mixed.chi2, one.mixed.p, one.mixed.converged) == (None, None, False)
    assert one.mixed.failure == "Singular matrix"
    assert "no result, Singular matrix" in one.mixed_text


def test_without_any_noise_there_is_nothing_to_measure_by():
    one = analysed(study(noise=0.0))
    assert [row.f for row in one.anova] == [None] * 3
    assert [row.interval for row in one.anova] == [None] * 3
    assert [contrast.verdict for contrast in one.interactions] == ["undecided"] * 2
    assert [contrast.interval for contrast in one.interactions] == [None] * 2
    constant = study()
    constant["value"] = 0.5
    assert analysed(constant).mixed.failure == "all values are equal"


def test_contrasts_are_differences_of_differences_over_blocks():
    frame = study(interaction=0.02)
    one = analysed(frame, margin=0.01)
    wide = frame.pivot(index="replication", columns=["attention", "activation"], values="value")
    assert [(c.first, c.second) for c in one.interactions] == [("se", "elu"), ("cbam", "elu")]
    for contrast in one.interactions:
        level = contrast.first
        found = (wide[level, "elu"] - wide[level, "relu"]) - (wide["none", "elu"] - wide["none", "relu"])
        test = stats.ttest_1samp(found, 0)
        assert contrast.mean == pytest.approx(found.mean())
        assert contrast.sd == pytest.approx(found.std())
        assert contrast.p == pytest.approx(test.pvalue, rel=1e-6)
        assert contrast.interval == pytest.approx(tuple(test.confidence_interval(0.95)), rel=1e-6)
        assert contrast.equivalence_interval == pytest.approx(tuple(test.confidence_interval(0.9)), rel=1e-6)
        lower = stats.ttest_1samp(found, -0.01, alternative="greater").pvalue
        upper = stats.ttest_1samp(found, 0.01, alternative="less").pvalue
        assert contrast.p_equivalence == pytest.approx(max(lower, upper), rel=1e-6)
        assert contrast.replications_to_decide == replications_needed(contrast.sd, 0.01)
        assert contrast.replications_for_observed == replications_needed(contrast.sd, contrast.mean)
        assert (contrast.first_baseline, contrast.second_baseline, contrast.n) == ("none", "relu", 5)
    ps = sorted(c.p for c in one.interactions)
    assert min(c.p_holm for c in one.interactions) == pytest.approx(min(1, 2 * ps[0]))


@pytest.mark.parametrize(
    ("interaction", "noise", "verdict"),
    [
        (0.03, 0.002, "synergistic"),
        (-0.03, 0.002, "antagonistic"),
        (0.0, 0.0005, "additive"),
        (0.0, 0.02, "undecided"),
    ],
)
def test_verdicts(interaction, noise, verdict):
    one = analysed(study(interaction=interaction, noise=noise))
    contrast = one.interactions[-1]
    assert contrast.verdict == verdict
    low, high = contrast.equivalence_interval
    if verdict == "additive":
        assert -0.005 < low <= high < 0.005
        assert contrast.p_equivalence < 0.05


def test_an_interval_off_zero_is_no_verdict_where_holm_says_otherwise():
    found = [
        contrast
        for seed in range(25)
        for contrast in analysed(
            study(seed=seed, interaction=0.006, attention=("none", "se", "eca", "cbam"))
        ).interactions
    ]
    held_back = [c for c in found if c.p < 0.05 <= c.p_holm]
    assert held_back
    assert all(c.verdict in ("undecided", "additive") for c in held_back)
    assert all((c.p_holm < 0.05) == (c.verdict in ("synergistic", "antagonistic")) for c in found)


def test_incomplete_blocks_are_left_out_of_contrasts_and_counted():
    frame = study()
    lost = (frame["attention"] == "se") & (frame["activation"] == "elu") & (frame["replication"] == "2/0")
    one = analysed(frame[~lost])
    assert (one.runs, one.blocks, one.dropped) == (29, 5, 1)
    assert [(c.n, c.dropped) for c in one.interactions] == [(4, 1), (5, 0)]
    whole = analysed(frame)
    assert one.interactions[1].mean == whole.interactions[1].mean
    assert one.interactions[0].mean != whole.interactions[0].mean


def test_one_complete_block_gives_a_mean_and_no_test():
    frame = study(blocks=3)
    lost = (frame["attention"] == "se") & (frame["activation"] == "elu") & (frame["replication"] != "0/0")
    contrast = analysed(frame[~lost]).interactions[0]
    assert contrast.n == 1
    assert contrast.mean is not None
    assert (contrast.sd, contrast.interval, contrast.p, contrast.p_holm) == (None,) * 4
    assert contrast.verdict == "undecided"
    assert contrast.replications_to_decide is None


def test_baselines_are_the_first_levels_or_the_first_categories():
    frame = study()
    turned = frame.assign(
        attention=pd.Categorical(frame["attention"], ["cbam", "unused", "none", "se"]),
        activation=pd.Categorical(frame["activation"], ["elu", "relu"]),
    )
    contrasts = analysed(turned).interactions
    assert [(c.first, c.first_baseline) for c in contrasts] == [("none", "cbam"), ("se", "cbam")]
    assert {c.second_baseline for c in contrasts} == {"elu"}
    assert contrasts[0].mean == pytest.approx(analysed(frame).interactions[1].mean)  # twice turned round


def test_numbers_are_levels_too_and_come_back_as_pythons_own():
    frame = study().assign(attention=lambda one: one["attention"].map({"none": 0.0, "se": 0.5, "cbam": 1.0}))
    contrast = analysed(frame).interactions[0]
    assert type(contrast.first) is float
    assert (contrast.first, contrast.first_baseline) == (0.5, 0.0)


def test_blocks_may_be_pairs_of_seed_and_fold():
    frame = study()
    pairs = frame.assign(replication=[(int(name[0]), 0) for name in frame["replication"]])
    assert analysed(pairs) == analysed(frame)


def changed(**columns):
    return study().assign(**columns)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (study().drop(columns="value"), "no column 'value'. It has: attention, activation, replication"),
        (changed(attention="none"), "'attention' has 1 level"),
        (changed(replication="0/0").drop_duplicates(["attention", "activation"]), r"1 block\(s\)"),
        (changed(replication="0/0"), "1 block"),
        (pd.concat([study(), study().iloc[:1]]), "attention=none, activation=relu has 2 values in block 0/0"),
        (changed(value=math.nan), "Row 0 of 'value' is nan"),
        (
            study()[lambda f: (f["attention"] != "se") | (f["activation"] != "elu")],
            "se with activation=elu never",
        ),
        (changed(activation=None), "no level or no block"),
    ],
)
def test_unfit_frames_are_refused(frame, message):
    with pytest.raises(ValueError, match=message):
        analysed(frame)


@pytest.mark.parametrize("options", [{"margin": 0}, {"confidence": 0.4}, {"block": "value"}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="margin|confidence|four columns"):
        analysed(study(), **options)


def test_too_few_runs_for_the_model_are_refused():
    frame = study(blocks=2)
    keep = [0, 3, 4, 6, 9, 10, 2]  # all six cells, two blocks, seven runs for seven parameters
    with pytest.raises(ValueError, match="nothing to measure chance by"):
        analysed(frame.iloc[keep])
