"""Releases and events are immutable values with a stable JSON form."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest

from common.privacy.events import NEIGHBORING_RELATION, UNIT_OF_PRIVACY, SampledGaussian
from common.privacy.release import Mechanism, Release

EVENT = SampledGaussian(noise_multiplier=1.25, sampling_probability=0.3, steps=5)


def test_event_json_is_stable() -> None:
    assert json.loads(json.dumps(EVENT.as_json())) == {
        "event": "sampled_gaussian",
        "noise_multiplier": 1.25,
        "sampling_probability": 0.3,
        "steps": 5,
    }


def test_event_and_release_cannot_be_changed() -> None:
    release = Release(name="update", mechanism=Mechanism.PATIENT_DP_SGD, event=EVENT)
    with pytest.raises(FrozenInstanceError):
        release.mechanism = Mechanism.PUBLIC  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        EVENT.noise_multiplier = 0.0  # type: ignore[misc]


def test_equal_events_are_one_key() -> None:
    again = SampledGaussian(noise_multiplier=1.25, sampling_probability=0.3, steps=5)
    assert {EVENT: 1}[again] == 1


def test_mechanism_names_are_those_on_the_wire() -> None:
    assert sorted(map(str, Mechanism)) == ["not_private", "patient_dp_sgd", "public"]


def test_unit_and_relation_are_stated() -> None:
    assert (UNIT_OF_PRIVACY, NEIGHBORING_RELATION) == ("patient", "add_or_remove_one")
