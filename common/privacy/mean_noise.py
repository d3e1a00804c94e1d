"""How much noise the mean of the sites' gradients carries: from the config and public bands alone, so at no cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from common.config.schema import RunConfig
from common.errors import ConfigError
from common.losses.interface import Coupling
from common.losses.objective import build_objective
from common.privacy.bands import middle_of
from common.privacy.plan import expected_patients, privacy_plan, with_cohort


def mean_noise(config: RunConfig, bands: Sequence[str]) -> float:
    """Deviation nu of a coordinate of the sites' mean gradient over the clip norm.

    A site's gradient has noise sigma * C / (q * n) with n the middle of its band, and weight n / N in the mean, so
    that nu = sqrt(sum of sigma^2) / (q * N), N patients in all; times the loss's sensitivity over C. Of noise that
    sites share sigma is the own multiplier, the rest cancels, and the same comes of one public normaliser for all.
    Where groups count differently, q is what a patient counts in a step on average.

    Args:
        config: The run's configuration.
        bands: Each site's public band of its training patients.

    Raises:
        ConfigError: The config is without privacy, or no noise reaches its epsilon.
    """
    squares = sum(noise**2 for noise in own_multipliers(config, bands))
    patients = expected_patients(config, sum(middle_of(band) for band in bands))
    return _sensitivity(config) * math.sqrt(squares) / patients


def own_multipliers(config: RunConfig, bands: Sequence[str]) -> list[float]:
    """Each site's multiplier of the noise that is its own, in a cohort of these bands.

    Raises:
        ConfigError: The config is without privacy, or no noise reaches its epsilon.
    """
    among = with_cohort(config, {f"{number:04}": band for number, band in enumerate(bands)})
    plans = [privacy_plan(among, band) for band in bands]
    if config.privacy.epsilon is None:
        raise ConfigError("privacy.epsilon: null trains without noise; set a number")
    return [plan.own_multiplier for plan in plans if plan is not None]


def _sensitivity(config: RunConfig) -> float:
    """Sensitivity of a step's sum over the clip norm."""
    pairs = build_objective(config.loss, config.code).coupling is Coupling.PAIRS
    return 1 + 2 * config.loss.negative_clip if pairs else 1.0
