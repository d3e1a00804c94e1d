"""Releases are immutable values whose mechanisms keep their names."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from common.privacy.events import SampledGaussian
from common.privacy.release import Mechanism, Release

EVENT = SampledGaussian(noise_multiplier=1.25, sampling_probability=0.3, steps=5)


def test_release_cannot_be_changed() -> None:
    release = Release(name="update", mechanism=Mechanism.PATIENT_DP_SGD, event=EVENT)
    with pytest.raises(FrozenInstanceError):
        release.mechanism = Mechanism.PUBLIC  # type: ignore[misc]


def test_mechanism_names_are_those_on_the_wire() -> None:
    assert sorted(map(str, Mechanism)) == [
        "discrete_gaussian",
        "discrete_laplace",
        "not_private",
        "patient_dp_sgd",
        "public",
        "search_answer",
    ]


def test_noise_is_what_costs_privacy() -> None:
    assert {mechanism for mechanism in Mechanism if mechanism.costs_privacy} == {
        Mechanism.DISCRETE_LAPLACE,
        Mechanism.DISCRETE_GAUSSIAN,
        Mechanism.PATIENT_DP_SGD,
    }
