"""Events are immutable values with one JSON form; nothing else reads as one, and no impossible one can be built."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import LedgerError
from common.privacy.events import (
    NEIGHBORING_RELATION,
    UNIT_OF_PRIVACY,
    DiscreteLaplace,
    Event,
    SampledGaussian,
    TruncatedSampledGaussian,
    event_as_json,
    event_from_json,
)

WRITTEN: dict[str, dict[str, Any]] = {
    "sampled": {"event": "sampled_gaussian", "noise_multiplier": 1.25, "sampling_probability": 0.3, "steps": 5},
    "truncated": {
        "event": "truncated_sampled_gaussian",
        "noise_multiplier": 2.0,
        "sampling_probability": 0.1,
        "steps": 7,
        "most_patients": 511,
        "most_sampled": 80,
    },
    "integers": {"event": "discrete_laplace", "noise_scale": 10.0, "releases": 12},
}
EVENTS: dict[str, Event] = {
    "sampled": SampledGaussian(noise_multiplier=1.25, sampling_probability=0.3, steps=5),
    "truncated": TruncatedSampledGaussian(
        noise_multiplier=2.0, sampling_probability=0.1, steps=7, most_patients=511, most_sampled=80
    ),
    "integers": DiscreteLaplace(noise_scale=10.0, releases=12),
}
FIELDS = [(kind, name) for kind, written in WRITTEN.items() for name in written]

positive = st.floats(0, 2**30)
counts = st.integers(0, 2**30)
probabilities = st.floats(0, 1)
events = st.one_of(
    st.builds(SampledGaussian, noise_multiplier=positive, sampling_probability=probabilities, steps=counts),
    st.builds(
        TruncatedSampledGaussian,
        noise_multiplier=positive,
        sampling_probability=probabilities,
        steps=counts,
        most_patients=counts,
        most_sampled=counts,
    ),
    st.builds(DiscreteLaplace, noise_scale=positive, releases=counts),
)


@pytest.mark.parametrize("kind", WRITTEN)
def test_event_json_is_stable(kind: str) -> None:
    """Old ledgers must stay readable, so the form is written out here."""
    assert json.loads(json.dumps(event_as_json(EVENTS[kind]))) == WRITTEN[kind]
    assert event_from_json(WRITTEN[kind]) == EVENTS[kind]


@given(events)
def test_event_survives_json(event: Event) -> None:
    again = event_from_json(json.loads(json.dumps(event_as_json(event))))
    assert again == event
    assert type(again) is type(event)


def test_whole_numbers_read_as_floats_and_are_one_key() -> None:
    """Some JSON writers drop the point."""
    read = event_from_json({"event": "discrete_laplace", "noise_scale": 10, "releases": 12})
    assert {EVENTS["integers"]: 1}[read] == 1
    assert isinstance(asdict(read)["noise_scale"], float)


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_event_with_a_field_missing_is_refused(kind: str, name: str) -> None:
    written = {key: value for key, value in WRITTEN[kind].items() if key != name}
    with pytest.raises(LedgerError, match="privacy event"):
        event_from_json(written)


@pytest.mark.parametrize(("kind", "name"), FIELDS)
@pytest.mark.parametrize(
    "value",
    ["1", None, True, False, [], {}, -1, -0.5, math.nan, math.inf, -math.inf, 2**30 + 1, 10**400],
    ids=lambda value: str(value)[:12],
)
def test_event_with_a_wrong_value_is_refused(kind: str, name: str, value: Any) -> None:
    with pytest.raises(LedgerError, match="privacy event"):
        event_from_json({**WRITTEN[kind], name: value})


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in FIELDS if type(WRITTEN[kind][name]) is int])
def test_event_with_a_fraction_of_a_count_is_refused(kind: str, name: str) -> None:
    for value in (2.5, 2.0):
        with pytest.raises(LedgerError, match="other fields"):
            event_from_json({**WRITTEN[kind], name: value})


@pytest.mark.parametrize("kind", WRITTEN)
def test_event_with_a_field_too_many_is_refused(kind: str) -> None:
    with pytest.raises(LedgerError, match="other fields"):
        event_from_json({**WRITTEN[kind], "discount": 0.5})


@pytest.mark.parametrize("other", ["gaussian", "SampledGaussian", "", 0, None, ["sampled_gaussian"]])
def test_event_of_an_unknown_kind_is_refused(other: Any) -> None:
    with pytest.raises(LedgerError, match="unknown kind"):
        event_from_json({**WRITTEN["sampled"], "event": other})


@pytest.mark.parametrize("kind", WRITTEN)
def test_event_of_another_kind_is_refused(kind: str) -> None:
    for other in WRITTEN.keys() - {kind}:
        with pytest.raises(LedgerError, match="other fields"):
            event_from_json({**WRITTEN[kind], "event": WRITTEN[other]["event"]})


@pytest.mark.parametrize("value", [None, [], "sampled_gaussian", 3, [["event", "sampled_gaussian"]]])
def test_what_is_no_object_is_no_event(value: Any) -> None:
    with pytest.raises(LedgerError, match="privacy event"):
        event_from_json(value)


def sampled(*, noise: float = 1.0, probability: float = 0.5, steps: int = 1) -> Event:
    return SampledGaussian(noise_multiplier=noise, sampling_probability=probability, steps=steps)


@pytest.mark.parametrize(
    "build",
    [
        lambda: sampled(steps=-1),
        lambda: sampled(noise=-1.0),
        lambda: sampled(noise=math.nan),
        lambda: sampled(noise=math.inf),
        lambda: sampled(probability=1.0000001),
        lambda: sampled(probability=-1e-9),
        lambda: DiscreteLaplace(noise_scale=1.0, releases=-3),
    ],
)
def test_impossible_event_cannot_be_built(build: Callable[[], Event]) -> None:
    """A negative count would pay back what was spent."""
    with pytest.raises(ValueError, match="out of range"):
        build()


@pytest.mark.parametrize("kind", EVENTS)
def test_event_cannot_be_changed(kind: str) -> None:
    for name in asdict(EVENTS[kind]):
        with pytest.raises(FrozenInstanceError):
            setattr(EVENTS[kind], name, 0)


def test_unit_and_relation_are_stated() -> None:
    assert (UNIT_OF_PRIVACY, NEIGHBORING_RELATION) == ("patient", "add_or_remove_one")
