"""Analysis of variance of two factors over blocks, and the mixed model beside it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats
from statsmodels.formula.api import mixedlm, ols
from statsmodels.stats.anova import anova_lm

from fer_attention.study.statistics.checks import Interval
from fer_attention.study.statistics.design import Design


@dataclass(frozen=True)
class Effect:
    """A row of the table.

    Attributes:
        effect: Name of the factor, or `first × second` of the interaction.
        df: Degrees of freedom of the effect.
        df_residual: Of the residual.
        f: Statistic; None where nothing is left over to measure chance by.
        p: Its p.
        partial_eta_squared: Sum of squares over itself and the residual's.
        interval: Of the partial eta squared in the population, by the noncentral F distribution.
    """

    effect: str
    df: int
    df_residual: int
    f: float | None
    p: float | None
    partial_eta_squared: float | None
    interval: Interval | None


@dataclass(frozen=True)
class MixedModel:
    """The interaction in a model with a random intercept for each block.

    Wald's test takes the estimated variances for the true ones: with few blocks its p is too small, and
    `Effect.p` is the one to quote.

    Attributes:
        chi2: Wald's statistic; None where the model could not be fitted.
        df: Its degrees of freedom.
        p: Its p.
        converged: Whether the fit ended well.
        failure: Why not, in words; empty where it did.
    """

    chi2: float | None
    df: int
    p: float | None
    converged: bool
    failure: str


def effects(design: Design, *, first: str, second: str, confidence: float) -> tuple[Effect, ...]:
    """Analysis of variance with blocks as a fixed effect: first, second and their interaction.

    Sums of squares are of type II: each factor beside the other and the blocks, the interaction beside all.
    They do not depend on how levels are coded, are the same as types I and III where no run is missing, and
    see a main effect better than type III where there is no interaction (Langsrud 2003, doi
    10.1023/A:1023260610025).

    Raises:
        ValueError: There are not more runs than the model has parameters.
    """
    data = design.long()
    fit = ols("value ~ C(first) * C(second) + C(block)", data=data).fit()
    df_residual = round(fit.df_resid)
    if df_residual < 1:
        raise ValueError(
            f"{len(data)} runs leave nothing to measure chance by; more replications are needed."
        )
    table = anova_lm(fit, typ=2)
    left = float(fit.ssr) > 1e-18 * max(1.0, float((data["value"] ** 2).sum()))
    made = []
    for name, row in (
        (first, "C(first)"),
        (second, "C(second)"),
        (f"{first} × {second}", "C(first):C(second)"),
    ):
        df = round(table.loc[row, "df"])
        f = max(0.0, float(table.loc[row, "F"])) if left else None
        made.append(
            Effect(
                effect=name,
                df=df,
                df_residual=df_residual,
                f=f,
                p=None if f is None else float(stats.f.sf(f, df, df_residual)),
                partial_eta_squared=None if f is None else f * df / (f * df + df_residual),
                interval=None if f is None else eta_interval(f, df, df_residual, confidence=confidence),
            )
        )
    return tuple(made)


def eta_interval(f: float, df: int, df_residual: int, *, confidence: float) -> Interval:
    """Interval of the partial eta squared: noncentralities under which F is not extreme, as shares.

    They are lambda / (lambda + df + df_residual + 1) (Steiger 2004, doi 10.1037/1082-989X.9.2.164).
    """

    def share(tail: float) -> float:
        if stats.f.cdf(f, df, df_residual) <= tail:
            return 0.0
        high = 10.0 + f * df
        while stats.ncf.cdf(f, df, df_residual, high) > tail:
            high *= 2
        found = optimize.brentq(lambda one: _ncf_cdf(f, df, df_residual, one) - tail, 0.0, high)
        return float(found / (found + df + df_residual + 1))

    return share((1 + confidence) / 2), share((1 - confidence) / 2)


def _ncf_cdf(f: float, df: int, df_residual: int, noncentrality: float) -> float:
    return float(stats.ncf.cdf(f, df, df_residual, noncentrality))


def mixed_model(design: Design) -> MixedModel:
    """Fit value ~ first * second with a random intercept for each block, by REML, and test the interaction.

    Whatever goes wrong is said in `failure`, not raised.
    """
    data = design.long()
    df = (len(design.first) - 1) * (len(design.second) - 1)
    sd = float(data["value"].std())
    if not sd:
        return MixedModel(None, df, None, False, "all values are equal")
    data["value"] = (data["value"] - data["value"].mean()) / sd  # the optimiser wants numbers around 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they say is read from the result
            model = mixedlm("value ~ C(first) * C(second)", data=data, groups=data["block"])
            # Powell's search needs no derivatives, which fail where the blocks' variance goes to zero.
            fit = model.fit(reml=True, method="powell")
        names = [name for name in fit.fe_params.index if ":" in name]
        found = fit.fe_params[names].to_numpy()
        chi2 = float(found @ np.linalg.solve(fit.cov_params().loc[names, names].to_numpy(), found))
    except (ValueError, np.linalg.LinAlgError, ZeroDivisionError, FloatingPointError) as error:
        return MixedModel(None, df, None, False, str(error) or type(error).__name__)
    if not fit.converged or not math.isfinite(chi2) or chi2 < 0:
        return MixedModel(None, df, None, False, "the fit did not converge")
    return MixedModel(chi2, df, float(stats.chi2.sf(chi2, df)), True, "")
