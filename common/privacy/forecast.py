"""Whether a run's noise will drown what its patients teach the model: said before a patient is touched.

After T steps noise has moved the model along any one direction by rate * C * nu * sqrt(T), where nu is the noise of the
sites' mean gradient over the clip norm C. The patients move it by rate * C * T at most: if every gradient reached the
clip and all pulled the same way. The forecast is noise over this reach, nu / sqrt(T), against two bounds that were
measured (`common/decisions/0026-forecast.md`). The learning rate cancels: a longer step lengthens both.

Guarantee: a function of public arguments, the config and public bands; it costs no epsilon.
Monotone: more patients at each site, or a larger epsilon, never make the verdict worse.
Edge cases: a run without privacy or without rounds has no forecast. What the bounds were not measured for, an encoder
that trains more than its heads, is `cannot_tell`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from common.config.schema import RunConfig
from common.losses.interface import Coupling
from common.privacy.accountant import LEAST_NOISE, epsilon_of
from common.privacy.bands import MOST_PATIENTS, band_of, middle_of, most_of
from common.privacy.mean_noise import mean_noise
from common.privacy.plan import SHARED, privacy_plan, private_coupling

HELPS_BELOW = 0.0033
"""Noise over reach below which most of the measured runs gained, and none lost by more than chance."""
DROWNS_FROM = 0.011
"""Noise over reach from which none gained by more than chance."""
MOST_SITES = 50
"""Sites that a hospital reckons with at most where it does not know how many take part."""

MEASURED = "heads"
"""What of an encoder trains in the runs that the bounds were measured on."""

_MOST_DOUBLINGS = 10
_ROOM = 0.998
"""Of the noise that is aimed at: the accountant finds a noise multiplier within 0.1%."""


class Verdict(StrEnum):
    """What is foretold of a run."""

    HELPS = "helps"
    CANNOT_TELL = "cannot_tell"
    DROWNS = "drowns"


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is foretold, and what would mend it.

    Attributes:
        verdict: Whether noise drowns the step.
        noise_over_reach: What the verdict follows from; None where it was not reckoned.
        least_epsilon: `privacy.epsilon` from which the next better verdict would hold; None where none was found, or
            none is needed.
        least_patients: About so many patients at all sites together, from which it would; None likewise.
        claim: The verdict in a hospital's words.
        remedy: What would mend it, in a hospital's words; empty where nothing needs to be.
    """

    verdict: Verdict
    noise_over_reach: float | None
    least_epsilon: float | None
    least_patients: int | None
    claim: str
    remedy: str

    @property
    def sentence(self) -> str:
        """Verdict and remedy in one sentence."""
        return f"Forecast: {self.claim}{'; ' if self.remedy else ''}{self.remedy}."

    @property
    def is_hopeless(self) -> bool:
        """Whether the patients would pay for nothing."""
        return self.verdict is Verdict.DROWNS

    def as_json(self) -> dict[str, Any]:
        """As a summary holds it."""
        figures = {name: value for name, value in asdict(self).items() if name not in ("claim", "remedy")}
        return {**figures, "sentence": self.sentence}


def forecast(config: RunConfig, bands: Sequence[str]) -> Forecast | None:
    """The forecast of a run whose sites are known; None where it is not private, or trains nothing.

    Args:
        config: The run's configuration, calibrated where it asks for that.
        bands: Each site's public band of its training patients.

    Raises:
        ConfigError: No noise reaches the epsilon.
    """
    if config.privacy.epsilon is None or not config.federation.rounds:
        return None
    if config.encoder.trainable != MEASURED:
        return _not_measured(config)
    noise = noise_over_reach(config, bands)
    verdict = _verdict(noise)
    least_epsilon, least_patients = None, None
    if verdict is not Verdict.HELPS:
        bound = DROWNS_FROM if verdict is Verdict.DROWNS else HELPS_BELOW
        least_epsilon = _least_epsilon(config, bands, share=_ROOM * bound / noise)
        least_patients = _least_patients(config, bands, bound=bound)
    return Forecast(
        verdict=verdict,
        noise_over_reach=noise,
        least_epsilon=least_epsilon,
        least_patients=least_patients,
        claim=_claim(verdict, config, bands),
        remedy=_remedy(verdict, least_epsilon, least_patients, sharing=_would_sharing_help(config, bands, verdict)),
    )


def forecast_known(config: RunConfig, *, own: str, cohort: Sequence[str] | None) -> Forecast | None:
    """What a hospital can foretell with what it knows: the bands of all sites, or its own alone.

    Raises:
        ConfigError: No noise reaches the epsilon.
    """
    return forecast_of_one(config, own) if cohort is None else forecast(config, cohort)


def forecast_of_one(config: RunConfig, band: str) -> Forecast | None:
    """What a hospital can foretell that knows no band but its own: of a cohort of hospitals like itself.

    It drowns where it would with `MOST_SITES` of them, helps where one alone would do, and in between it is said how
    many it takes.

    Raises:
        ConfigError: No noise reaches the epsilon.
    """
    alone = forecast(config, [band])
    if alone is None or alone.noise_over_reach is None or alone.verdict is Verdict.HELPS:
        return alone
    each = f"of {band} patients each"
    floats = _least_sites(config, band, bound=DROWNS_FROM)
    if floats is None:
        most = forecast(config, [band] * MOST_SITES)
        claim = f"{_noise(config)} drowns what even {MOST_SITES} hospitals {each} teach"
        return None if most is None else replace(most, claim=claim)
    helps = _least_sites(config, band, bound=HELPS_BELOW)
    enough = f"not even {MOST_SITES} are sure to" if helps is None else f"{helps} or more should"
    if floats == 1:
        claim = f"of hospitals {each} {enough} outweigh {_noise(config)}"
    else:
        claim = f"{_noise(config)} drowns what fewer than {floats} hospitals {each} teach, and {enough} outweigh it"
    return Forecast(
        verdict=Verdict.CANNOT_TELL,
        noise_over_reach=None,
        least_epsilon=None,
        least_patients=None,
        claim=claim,
        remedy="how many take part is not known here",
    )


def noise_over_reach(config: RunConfig, bands: Sequence[str]) -> float:
    """Deviation of the noise's walk along any one direction, over the farthest that the patients could pull the model.

    Args:
        config: A private run of at least one round.
        bands: Each site's public band of its training patients.

    Raises:
        ConfigError: No noise reaches the epsilon.
    """
    steps = config.training.steps_per_round * config.federation.rounds
    return mean_noise(config, bands) / math.sqrt(steps)


def _not_measured(config: RunConfig) -> Forecast:
    return Forecast(
        verdict=Verdict.CANNOT_TELL,
        noise_over_reach=None,
        least_epsilon=None,
        least_patients=None,
        claim=f"nothing can be foretold of encoder.trainable={config.encoder.trainable}, for it was not measured",
        remedy="",
    )


def _verdict(noise: float) -> Verdict:
    if noise < HELPS_BELOW:
        return Verdict.HELPS
    return Verdict.CANNOT_TELL if noise < DROWNS_FROM else Verdict.DROWNS


def _least_epsilon(config: RunConfig, bands: Sequence[str], *, share: float) -> float | None:
    """The epsilon at which every site has `share` of its noise, rounded up; None where no epsilon gives so little."""
    found = config.privacy.epsilon or 0.0
    for band in set(bands):
        plan = privacy_plan(config, band)
        if plan is None or (noise := share * plan.event.noise_multiplier) < LEAST_NOISE:
            return None
        events = [replace(plan.event, noise_multiplier=noise)] * config.federation.rounds
        found = max(found, epsilon_of(events, delta=plan.delta))
    digit = 10.0 ** (math.floor(math.log10(found)) - 1)
    return float(f"{math.ceil(found / digit) * digit:.2g}")


def _least_patients(config: RunConfig, bands: Sequence[str], *, bound: float) -> int | None:
    """Patients of all sites from which noise is below a bound, where each site has 2, 4, 8, ... times as many."""
    larger = tuple(bands)
    for _ in range(_MOST_DOUBLINGS):
        if 2 * max(map(most_of, larger)) > MOST_PATIENTS:
            return None
        larger = tuple(band_of(2 * most_of(band)) for band in larger)
        if noise_over_reach(config, larger) < bound:
            return _num_patients(larger)
    return None


def _least_sites(config: RunConfig, band: str, *, bound: float) -> int | None:
    """Sites of one band that bring the noise below a bound; None where `MOST_SITES` do not."""
    numbers = range(1, MOST_SITES + 1)
    return next((n for n in numbers if noise_over_reach(config, [band] * n) < bound), None)


def _num_patients(bands: Sequence[str]) -> int:
    return round(sum(middle_of(band) for band in bands))


def _would_sharing_help(config: RunConfig, bands: Sequence[str], verdict: Verdict) -> bool:
    """Whether the verdict were better if the same sites shared noise."""
    if config.privacy.noise == SHARED or verdict is Verdict.HELPS or private_coupling(config) is Coupling.PAIRS:
        return False
    shared = replace(config, privacy=replace(config.privacy, noise=SHARED))
    return noise_over_reach(shared, bands) < (DROWNS_FROM if verdict is Verdict.DROWNS else HELPS_BELOW)


def _noise(config: RunConfig) -> str:
    return f"the noise of epsilon {config.privacy.epsilon:g}"


def _claim(verdict: Verdict, config: RunConfig, bands: Sequence[str]) -> str:
    hospitals = "one hospital" if len(bands) == 1 else f"{len(bands)} hospitals"
    taught = f"what about {_two_digits(_num_patients(bands)):,} patients of {hospitals} teach"
    return {
        Verdict.HELPS: f"{taught} should outweigh {_noise(config)}",
        Verdict.CANNOT_TELL: f"it cannot be told whether {taught} outweighs {_noise(config)}",
        Verdict.DROWNS: f"{_noise(config)} drowns {taught}",
    }[verdict]


def _remedy(verdict: Verdict, least_epsilon: float | None, least_patients: int | None, *, sharing: bool) -> str:
    if verdict is Verdict.HELPS:
        return ""
    ways = [] if least_epsilon is None else [f"from epsilon {least_epsilon:g} on"]
    ways += [] if least_patients is None else [f"with about {_two_digits(least_patients):,} patients"]
    ways += ["with privacy.noise=shared"] if sharing else []
    if not ways:
        return "neither a larger epsilon nor more patients would mend that"
    listed = " or ".join(filter(None, (", ".join(ways[:-1]), ways[-1])))
    return f"{listed} it {'no longer would' if verdict is Verdict.DROWNS else 'should'}"


def _two_digits(number: int) -> int:
    """Two digits: bands say no more."""
    return int(float(f"{number:.2g}"))
