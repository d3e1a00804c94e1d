"""Epsilon against the server and c members together, c from none to all but one, beside what the ledger states.

Where noise is shared the ledger states two figures (`common/decisions/0029`): epsilon, against the server and
`privacy.most_colluding` members, and epsilon alone, whoever colludes. Both worlds of one patient are played against all
that the attackers see (`colluders_view.py`), once with everybody there, and once with a member away. What they show is
a noise multiplier that is not reached; it is turned into the run's epsilon as the accountant does.

Where each site draws its own noise, members know nothing that helps: what is played then is the server's view of all
sites' messages at once.

Unit of privacy: the patient. Neighbouring relation: add or remove one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from client.site import Site
from common.pair_noise.law import PairLaw
from common.pair_noise.peers import MOST_PEERS
from common.privacy.accountant import epsilon_of
from common.privacy.plan import PrivacyPlan
from simulations.audits.privacy.bounds.trade_off import MOST_EPSILON
from simulations.audits.privacy.colluders_view import NUM_VALUES, Worlds, play
from simulations.audits.privacy.interface import Check, Curve, Measured, Plot
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

CONFIDENCE = 0.95
"""Of the bounds that are shown."""
FALSE_ALARM = 1e-6
"""Probability with which a correct run is refuted, over all that is tried."""

_ALONE = PairLaw(peers=0, colluding=1, factor=1)
_LEAST_SITES_WITH_ONE_AWAY = 3


@dataclass(frozen=True, kw_only=True)
class Against:
    """What so many members and the server show.

    Attributes:
        colluding: How many members.
        away: Members that were not there.
        stated: Noise multiplier that the ledger's figure for so many rests on.
        shown: One that is not reached, at `CONFIDENCE`.
        refuting: One that is not reached, at the false alarm rate of the check.
    """

    colluding: int
    away: int
    stated: float
    shown: float
    refuting: float

    @property
    def holds(self) -> bool:
        """Whether what the ledger states stands."""
        return self.refuting >= self.stated


def _measure(pipeline: Pipeline, subject: Subject) -> Measured:
    with subject.sites(pipeline) as sites:
        # Of a larger cohort those who share noise with each other.
        sites = sites[: MOST_PEERS + 1]
        plan = sites[0].privacy
        if plan is None:
            return Measured(
                holds=None,
                sentence="The run asks for no privacy (privacy.epsilon=null), so the ledger states no figure.",
                power="None: nothing is claimed.",
            )
        found = _tried(pipeline, subject, sites, plan)
    rounds = subject.config.federation.rounds
    epsilon = _epsilon_of(plan, rounds)
    law = plan.pair_law
    holds = all(each.holds for each in found)
    all_there = [each for each in found if not each.away]
    worst = max(found, key=lambda each: each.stated / max(each.shown, 1e-9))
    bound = min(epsilon(worst.shown), MOST_EPSILON)
    refuted_below = max(each.stated / max(each.refuting, each.stated) for each in found)
    claimed = epsilon(worst.stated)
    return Measured(
        holds=holds,
        sentence=_sentence(all_there, law, epsilon),
        power=(
            f"{NUM_VALUES // 2:,} trials in each world. Noise of less than {refuted_below:.0%} of what is stated would "
            "be refuted, whatever the fault: keys or draws that repeat, a step without shared noise, a member away who "
            "is not replaced. Not seen: how patients are sampled and clipped. A correct run is refuted once in a "
            "million audits."
        )
        if holds
        else "Enough: a stated figure is refuted, which happens to a correct run once in a million audits.",
        claimed_epsilon=claimed,
        lower_bound=bound,
        confidence=CONFIDENCE,
        plots=(_plot(all_there, law, plan, epsilon),) if law is not None else (),
    )


def _tried(pipeline: Pipeline, subject: Subject, sites: Sequence[Site], plan: PrivacyPlan) -> list[Against]:
    law = plan.pair_law or _ALONE
    cohorts = [sites]
    if plan.pair_law is not None and len(sites) >= _LEAST_SITES_WITH_ONE_AWAY:
        cohorts.append(sites[1:])
    games = [(len(sites) - len(there), play(pipeline, there, subject.objective)) for there in cohorts]
    tries = [(away, number, worlds.readings(number)) for away, worlds in games for number in _numbers(plan, worlds)]
    own = law.own(plan.event.noise_multiplier)
    return [
        Against(
            colluding=number,
            away=away,
            stated=plan.event.noise_multiplier if number <= law.colluding else law.alone(own),
            shown=readings.most_noise(CONFIDENCE),
            refuting=readings.most_noise(1 - FALSE_ALARM / len(tries)),
        )
        for away, number, readings in tries
    ]


def _numbers(plan: PrivacyPlan, worlds: Worlds) -> range:
    """Members that may collude: of own noise it makes no difference."""
    return range(1) if plan.pair_law is None else range(len(worlds.others) + 1)


def _epsilon_of(plan: PrivacyPlan, rounds: int) -> Callable[[float], float]:
    """The run's epsilon, were its noise multiplier another one."""

    def epsilon(noise: float) -> float:
        if noise == math.inf:
            return 0.0
        return epsilon_of([replace(plan.event, noise_multiplier=noise)] * rounds, delta=plan.delta)

    return epsilon


def _sentence(found: Sequence[Against], law: PairLaw | None, epsilon: Callable[[float], float]) -> str:
    if law is None:
        (each,) = found
        return (
            f"The server, with the messages of all hospitals at once, shows an epsilon of at least "
            f"{min(epsilon(each.shown), MOST_EPSILON):.2f}; {epsilon(each.stated):.2f} is stated. Each hospital draws "
            "its own noise, so that members who collude know nothing more."
        )
    shown = ", ".join(f"{each.colluding}: {min(epsilon(each.shown), MOST_EPSILON):.2f}" for each in found)
    first, last = found[0], found[-1]
    return (
        f"Epsilon that the server and so many members show at least: {shown}. The ledger states "
        f"{epsilon(first.stated):.2f} for up to {law.colluding}, and {epsilon(last.stated):.2f} if all others collude. "
        "The same was tried with one member away."
    )


def _plot(found: Sequence[Against], law: PairLaw | None, plan: PrivacyPlan, epsilon: Callable[[float], float]) -> Plot:
    law = law or _ALONE
    own = law.own(plan.event.noise_multiplier)
    x = tuple(float(each.colluding) for each in found)
    by_law = tuple(epsilon(law.guaranteed(own, colluding=each.colluding)) for each in found)
    return Plot(
        title="Epsilon against the server and so many members",
        x="members who tell the server what they know",
        y="epsilon of the run",
        curves=(
            Curve(label="shown at least", x=x, y=tuple(min(epsilon(each.shown), MOST_EPSILON) for each in found)),
            Curve(label="stated in the ledger", x=x, y=tuple(epsilon(each.stated) for each in found)),
            Curve(label="what the law of the noise allows", x=x, y=by_law),
        ),
    )


CHECK = Check(
    name="colluders",
    question="What do the server and members who collude learn of another hospital's patient?",
    claim="The ledger's two figures hold: against the server and the stated members, and whoever colludes.",
    measure=_measure,
)
