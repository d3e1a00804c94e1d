"""Is the noise on a step as wide as stated, of the stated law, and there when nobody was drawn?

Measured on whole steps of the running code: what a step gives, less what it gives without noise. Once with a few
patients in it and once with nobody, so that noise which depends on the sample shows.

Statistics: chi-square of the sum of squares, both tails; Kolmogorov and Smirnov's distance from the stated Gaussian.
Both at `ALPHA` of a right pipeline failing, for each of the two. n = 200,000 values see a deviation that is 3% off.
"""

from __future__ import annotations

import math

import torch
from scipy import stats
from torch import Tensor

from client.dp.records import Records
from client.dp.step import num_trained
from simulations.audits.privacy.interface import Check, Curve, Measured, Plot
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.steps import BY_PAIRS, Bench, bench
from simulations.audits.privacy.subject import Subject

ALPHA = 1e-6
"""Share of right pipelines that each of the tests fails."""
NUM_VALUES = 200_000
SHOWN = torch.linspace(-4, 4, 41, dtype=torch.float64)


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Hold the noise of many steps against the stated one."""
    with bench(pipeline, subject) as on:
        if on.by_pairs:
            return BY_PAIRS
        some = subject.some_studies(6)
        found = {
            "with patients drawn": unit_noise(on, [some]),
            "with nobody drawn": unit_noise(on, []),
        }
    p_values = {name: _p_values(values) for name, values in found.items()}
    worst = min(min(pair) for pair in p_values.values())
    widths = " and ".join(f"{float(values.square().mean().sqrt()):.4f} {name}" for name, values in found.items())
    return Measured(
        holds=worst >= ALPHA / 2,
        sentence=(
            f"The noise's deviation is {widths}, over the stated one, on {len(found['with nobody drawn']):,} values "
            f"each; the least p-value of four tests is {worst:.2g}."
        ),
        power=(
            "Noise 3% too narrow or too wide is seen, and so is another law; a right one fails "
            f"{4 * ALPHA:.0e} of times."
        ),
        plots=(_plot(found),),
    )


CHECK = Check(
    name="noise",
    question="Is the noise on a training step as wide as the ledger says, also when nobody was drawn?",
    claim="Noise of a stated width lies on everything that training gives away, in every step.",
    measure=measure,
)


def unit_noise(on: Bench, sample: list[Records], *, num_values: int = NUM_VALUES) -> Tensor:
    """The noise of as many steps as make so many values, over the stated deviation, float64 `[n]`."""
    source, steps = on.source(), math.ceil(num_values / num_trained(on.model))
    exact = on.exact_sum(source, sample)
    noise = torch.cat([on.noised_sum(source, sample) - exact for _ in range(steps)])
    return noise / on.noise_deviation


def _p_values(unit: Tensor) -> tuple[float, float]:
    """Of the deviation, both tails, and of the law."""
    if not bool(unit.isfinite().all()):
        return 0.0, 0.0
    tail = float(stats.chi2.cdf(float(unit.square().sum()), df=len(unit)))
    return min(tail, 1 - tail), float(stats.kstest(unit.numpy(), "norm").pvalue)


def _plot(found: dict[str, Tensor]) -> Plot:
    x = tuple(SHOWN.tolist())
    curves = [Curve(label="stated", x=x, y=tuple(stats.norm.cdf(SHOWN.numpy()).tolist()))]
    for name, values in found.items():
        below = torch.searchsorted(values.sort().values, SHOWN).double() / len(values)
        curves.append(Curve(label=name, x=x, y=tuple(below.tolist())))
    return Plot(title="Share of noise below a value", x="over the stated deviation", y="share", curves=tuple(curves))
