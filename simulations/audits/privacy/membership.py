"""Whether the final model tells who it was trained on, by patient, seen as embeddings and as codes.

The attacker has the final model, a patient's studies, and models trained with and without that patient: more than any
outsider has. It is the attack of `membership_lira.py` on the worlds of `membership_worlds.py`. The same is done without
privacy, which says what the attack can do here: where it finds nobody even then, nothing can be told.

A patient is trained on or not by a coin, and epsilon bounds how well that coin can be told. The interval is over
patients, for the models that were trained.
"""

from __future__ import annotations

from dataclasses import replace

from common.fairness.intervals import Interval
from common.privacy.bands import band_of
from common.privacy.plan import delta_of
from common.seeds import numpy_generator
from simulations.audits.privacy.interface import Check, Curve, Measured, Plot
from simulations.audits.privacy.membership_bounds import CONFIDENCE, advantage_allowed, area_allowed, epsilon_shown
from simulations.audits.privacy.membership_lira import Told, told
from simulations.audits.privacy.membership_worlds import EMBEDDING, drawn_worlds
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

NUM_WORLDS = 12
NUM_RESAMPLES = 200


def told_members(pipeline: Pipeline, subject: Subject, *, num_worlds: int = NUM_WORLDS) -> dict[str, Told]:
    """How well members of a subject's runs are told, by embedding and by code.

    Raises:
        DataError: There are too few patients.
    """
    return {
        name: told(
            worlds,
            generator=numpy_generator(subject.seed, "audit", "membership", name),
            num_resamples=NUM_RESAMPLES,
        )
        for name, worlds in drawn_worlds(pipeline, subject, num_worlds=num_worlds).items()
    }


def without_privacy(subject: Subject) -> Subject:
    """The same studies, trained on without clip or noise."""
    config = subject.config
    return subject.with_config(replace(config, privacy=replace(config.privacy, epsilon=None, cohort={})))


def delta_stated(subject: Subject) -> float:
    """The largest delta at which a hospital of a private subject states its epsilon."""
    bands = {band_of(subject.consortium.private([site]).num_patients) for site in subject.consortium.sites}
    return max(delta_of(subject.config, band) for band in bands)


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Tell members of the run's own models, and of models without privacy.

    Raises:
        DataError: There are too few patients.
    """
    open_ = told_members(pipeline, without_privacy(subject))
    epsilon = subject.config.privacy.epsilon
    if epsilon is None:
        return Measured(
            holds=None,
            sentence=f"The run has no epsilon to hold to. {_sentence(open_)}",
            power=_power(open_),
            plots=(_plot({"no privacy": open_}, None),),
        )
    own, delta = told_members(pipeline, subject), delta_stated(subject)
    shown = max(epsilon_shown(one.area_interval, delta) for one in own.values())
    has_power = max(one.area_interval.low for one in open_.values()) > 0.5
    return Measured(
        holds=False if shown > epsilon else (True if has_power else None),
        sentence=(
            f"{_sentence(own)} Epsilon {epsilon:g} allows an area of {area_allowed(epsilon, delta):.2f} and an "
            f"advantage of {advantage_allowed(epsilon, delta):.2f}."
        ),
        power=_power(open_),
        claimed_epsilon=epsilon,
        lower_bound=shown,
        confidence=CONFIDENCE,
        plots=(_plot({f"epsilon {epsilon:g}": own, "no privacy": open_}, area_allowed(epsilon, delta)),),
    )


def _sentence(found: dict[str, Told]) -> str:
    one = found[EMBEDDING]
    parts = "; ".join(f"by {name} {_figures(each)}" for name, each in found.items())
    return f"Who of {one.num_patients} patients was trained on, told from {one.num_models} final models: {parts}."


def _figures(one: Told) -> str:
    rate, (share, interval) = min(one.detections.items(), key=lambda item: abs(item[0] - 0.01))
    return (
        f"area {_with(one.area, one.area_interval)} (0.50 is a guess), advantage "
        f"{_with(one.advantage, one.advantage_interval)}, {share:.1%} of members found "
        f"({interval.low:.1%} to {interval.high:.1%}) at {rate:.0%} false alarms"
    )


def _power(without: dict[str, Told]) -> str:
    parts = ", ".join(f"{_with(one.area, one.area_interval)} by {name}" for name, one in without.items())
    return (
        f"On the same hospitals without noise the same attack reaches an area of {parts}. It knows "
        f"{without[EMBEDDING].num_models - 1} models beside the one it judges; more would find a little more."
    )


def _with(value: float, interval: Interval) -> str:
    return f"{value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _plot(found: dict[str, dict[str, Told]], allowed: float | None) -> Plot:
    curves = [
        Curve(
            label=label,
            x=tuple(map(float, range(len(by_name)))),
            y=tuple(one.area for one in by_name.values()),
            low=tuple(one.area_interval.low for one in by_name.values()),
            high=tuple(one.area_interval.high for one in by_name.values()),
        )
        for label, by_name in found.items()
    ]
    if allowed is not None:
        curves.append(Curve(label="allowed by epsilon", x=(0.0, 1.0), y=(allowed, allowed)))
    return Plot(
        title="How well the final model tells who was trained on",
        x="0: by embedding, 1: by code",
        y="area under the curve",
        curves=tuple(curves),
    )


CHECK = Check(
    name="membership",
    question="Does the final model tell which patients it was trained on?",
    claim="Whoever has the final model tells whether a patient was trained on no better than epsilon allows.",
    measure=measure,
)
