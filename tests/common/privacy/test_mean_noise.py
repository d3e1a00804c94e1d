"""Noise of the sites' mean gradient: the formula, written out by hand, and what it refuses."""

from __future__ import annotations

import math

import pytest

from common.config.load import load_config
from common.config.schema import RunConfig
from common.errors import ConfigError
from common.privacy.bands import middle_of
from common.privacy.mean_noise import mean_noise
from common.privacy.plan import privacy_plan


@pytest.fixture
def private_config() -> RunConfig:
    return load_config(["privacy.epsilon=8"])


def test_mean_noise_is_that_of_the_sites_mean_gradient(private_config: RunConfig) -> None:
    """Bands of different sizes: the deviation of the weighted mean, term by term."""
    bands = ["64-127", "1-10"]
    total = sum(middle_of(band) for band in bands)
    variance = 0.0
    for band in bands:
        plan = privacy_plan(private_config, band)
        assert plan is not None
        expected_patients = private_config.training.sampling_probability * middle_of(band)
        variance += (middle_of(band) / total * plan.event.noise_multiplier / expected_patients) ** 2
    assert mean_noise(private_config, bands) == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_mean_noise_of_pair_clipping_counts_its_larger_sensitivity(private_config: RunConfig) -> None:
    private_config.loss.name, private_config.loss.negative_clip = "pair_clip", 0.5
    plan = privacy_plan(private_config, "64-127")
    assert plan is not None
    expected_patients = private_config.training.sampling_probability * middle_of("64-127")
    reference = 2 * plan.event.noise_multiplier / expected_patients
    assert mean_noise(private_config, ["64-127"]) == pytest.approx(reference, rel=1e-9)


def test_mean_noise_without_privacy_is_refused(private_config: RunConfig) -> None:
    private_config.privacy.epsilon = None
    with pytest.raises(ConfigError, match=r"privacy\.epsilon: null"):
        mean_noise(private_config, ["64-127"])
