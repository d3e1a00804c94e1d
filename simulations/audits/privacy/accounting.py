"""Is the epsilon that is stated the epsilon of the noise that is stated?

Each site's whole run is accounted for a third time, by numerical convolution (`loss_distribution.py`). The accountant
of record may not state less than the lower bound, nor more than the upper one by `MOST_APART`; and the lower bound may
not exceed the epsilon that the config names.
"""

from __future__ import annotations

from common.privacy.events import SampledGaussian
from common.privacy.plan import PrivacyPlan
from simulations.audits.privacy.interface import Check, Curve, Measured, Plot
from simulations.audits.privacy.loss_distribution import epsilon_bounds
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.steps import BY_PAIRS, bench
from simulations.audits.privacy.subject import Subject

MOST_APART = 0.02
_ROUNDING = 1e-9


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Account for a run a third time."""
    rounds, claimed = subject.config.federation.rounds, subject.config.privacy.epsilon
    with bench(pipeline, subject) as on:
        if on.by_pairs:
            return BY_PAIRS
        plans = {site.name: site.privacy for site in on.sites if site.privacy is not None}
    known = {
        spent: epsilon_bounds(spent[0], delta=spent[1]) for spent in {_spent(plan, rounds) for plan in plans.values()}
    }
    bounds = {name: known[_spent(plan, rounds)] for name, plan in plans.items()}
    stated = {name: pipeline.accountant([plan.event] * rounds, delta=plan.delta) for name, plan in plans.items()}
    too_little = [name for name in plans if stated[name] < bounds[name].low - _ROUNDING]
    too_much = [name for name in plans if stated[name] > bounds[name].high + MOST_APART]
    worst = max(plans, key=lambda name: bounds[name].low)
    over = claimed is not None and bounds[worst].low > claimed
    return Measured(
        holds=not too_little and not too_much and not over,
        sentence=(
            f"For {rounds} rounds at {worst} the noise is worth epsilon {bounds[worst].low:.3f} to "
            f"{bounds[worst].high:.3f} at delta {plans[worst].delta:.1e}; the ledger would state {stated[worst]:.3f}."
            + _named("states too little for", too_little)
            + _named("states too much for", too_much)
        ),
        power=(
            f"A figure that is {MOST_APART} off is seen, whichever library made it. The law of the noise is taken as "
            "stated; the check of the noise looks at that."
        ),
        claimed_epsilon=claimed,
        lower_bound=bounds[worst].low,
        plots=(_plot(plans[worst], rounds, pipeline),),
    )


CHECK = Check(
    name="accounting",
    question="Is the stated epsilon that of the stated noise, by an accountant that shares no code with it?",
    claim="The epsilon in the ledger is what the drawn noise is worth.",
    measure=measure,
)


def whole_run(plan: PrivacyPlan, rounds: int) -> SampledGaussian:
    """All steps of a run, whose loss is clipped by patient, as one event."""
    return SampledGaussian(
        noise_multiplier=plan.event.noise_multiplier,
        sampling_probability=plan.event.sampling_probability,
        steps=plan.event.steps * rounds,
    )


def _spent(plan: PrivacyPlan, rounds: int) -> tuple[SampledGaussian, float]:
    """What a site of this plan spends, and at which delta: sites of one band spend the same."""
    return whole_run(plan, rounds), plan.delta


def _named(what: str, names: list[str]) -> str:
    return f" It {what} {', '.join(names)}." if names else ""


def _plot(plan: PrivacyPlan, rounds: int, pipeline: Pipeline) -> Plot:
    some = sorted({1, max(1, rounds // 2), rounds})
    found = [epsilon_bounds(whole_run(plan, count), delta=plan.delta) for count in some]
    x = tuple(float(count) for count in some)
    return Plot(
        title="Epsilon over the rounds",
        x="rounds",
        y="epsilon",
        curves=(
            Curve(
                label="by the audit",
                x=x,
                y=tuple((one.low + one.high) / 2 for one in found),
                low=tuple(one.low for one in found),
                high=tuple(one.high for one in found),
            ),
            Curve(
                label="by the ledger",
                x=x,
                y=tuple(pipeline.accountant([plan.event] * count, delta=plan.delta) for count in some),
            ),
        ),
    )
