"""Admission of one decoded reply: each rule refuses with its own reason, in the documented order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import AdmissionError, ConfigError
from common.privacy.events import SampledGaussian
from common.privacy.release import Mechanism, Release
from common.wire.flower import GROUPS, STATISTICS, UPDATE, Reply, Task
from common.wire.update import ArrayPlan, NamedArrays
from server.admission import Admission

EVENT = SampledGaussian(noise_multiplier=1.0, sampling_probability=0.3, steps=5)
OTHER_EVENT = replace(EVENT, noise_multiplier=0.9)
ARRAYS = {
    "towers.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "head.bias": np.array(-3.0, dtype=np.float32),
}
NORM = float(np.sqrt(0 + 1 + 4 + 9 + 16 + 25 + 9))
PLAN = ArrayPlan.of(ARRAYS)

RUN = "ab" * 32
TASK = Task(round_number=4, config_digest=RUN, train=True)
BRIEF = {"brief": {"recall_at_10": 0.5, "codes_recall_at_10": 0.25}}
MEASURED = Release(name=STATISTICS, mechanism=Mechanism.DISCRETE_LAPLACE)

IN_PRIVATE = Release(name=UPDATE, mechanism=Mechanism.PATIENT_DP_SGD, event=EVENT)
WITHOUT_PRIVACY = Release(name=UPDATE, mechanism=Mechanism.NOT_PRIVATE)


def rules(*, plan: ArrayPlan = PLAN, max_norm: float = 100.0) -> Admission:
    return Admission(plan=plan, max_norm=max_norm, statistics_by=Mechanism.DISCRETE_LAPLACE)


def reply_of(update: NamedArrays | None, *releases: Release) -> Reply:
    return Reply(
        site="north", round_number=TASK.round_number, run=RUN, update=update, statistics=None, releases=releases
    )


def admit(
    *releases: Release, event: SampledGaussian | None = EVENT, max_norm: float = 100.0, first_value: float = 0.0
) -> NDArray[np.float32]:
    """The row that an update is written to."""
    weight = ARRAYS["towers.weight"].copy()
    weight[0, 0] = first_value
    reply = reply_of({**ARRAYS, "towers.weight": weight}, *releases)
    row_P = np.full(PLAN.num_values, 9.0, dtype=np.float32)
    rules(max_norm=max_norm).admit(reply, event=event, earlier=(), into_P=row_P)
    return row_P


def test_admitted_update_is_written_in_the_plans_order() -> None:
    assert admit(IN_PRIVATE).tolist() == [0, 1, 2, 3, 4, 5, -3]


def test_order_of_the_replys_arrays_does_not_matter() -> None:
    reply = reply_of(dict(reversed(ARRAYS.items())), IN_PRIVATE)
    row_P = np.empty(PLAN.num_values, dtype=np.float32)
    rules().admit(reply, event=EVENT, earlier=(), into_P=row_P)
    assert row_P.tolist() == [0, 1, 2, 3, 4, 5, -3]


def test_reply_without_an_update_is_refused() -> None:
    reply = reply_of(None, IN_PRIVATE)
    with pytest.raises(AdmissionError, match=r"^keys$"):
        rules().admit(reply, event=EVENT, earlier=(), into_P=np.empty(7, dtype=np.float32))


@pytest.mark.parametrize(
    "releases",
    [
        (),
        (WITHOUT_PRIVACY,),
        (replace(IN_PRIVATE, event=None),),
        (replace(IN_PRIVATE, event=OTHER_EVENT),),
        (replace(IN_PRIVATE, event=replace(EVENT, steps=4)),),
        (replace(IN_PRIVATE, mechanism=Mechanism.PUBLIC),),
        (replace(IN_PRIVATE, name=STATISTICS),),
        (IN_PRIVATE, IN_PRIVATE),
        (IN_PRIVATE, WITHOUT_PRIVACY),
    ],
)
def test_private_run_takes_the_agreed_mechanism_and_event_alone(releases: tuple[Release, ...]) -> None:
    with pytest.raises(AdmissionError, match=r"^mechanism$"):
        admit(*releases)


@pytest.mark.parametrize("release", [IN_PRIVATE, replace(WITHOUT_PRIVACY, event=EVENT)])
def test_run_without_privacy_takes_no_update_that_claims_it(release: Release) -> None:
    assert admit(WITHOUT_PRIVACY, event=None)[-1] == -3
    with pytest.raises(AdmissionError, match=r"^mechanism$"):
        admit(release, event=None)


def test_norm_is_allowed_up_to_the_limit_itself() -> None:
    admit(IN_PRIVATE, max_norm=NORM)
    with pytest.raises(AdmissionError, match=r"^norm$"):
        admit(IN_PRIVATE, max_norm=NORM * (1 - 1e-6))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_number_that_is_not_finite_is_refused_even_where_any_norm_is_allowed(value: float) -> None:
    with pytest.raises(AdmissionError, match=r"^nan$"):
        admit(IN_PRIVATE, first_value=value, max_norm=np.inf)


def test_mechanism_is_checked_before_the_numbers() -> None:
    with pytest.raises(AdmissionError, match=r"^mechanism$"):
        admit(WITHOUT_PRIVACY, first_value=np.nan)


# Where a reply comes from, and what it measured


def test_reply_of_the_site_round_and_run_that_were_asked_passes() -> None:
    rules().check_reply(reply_of(ARRAYS, IN_PRIVATE), site="north", task=TASK)
    measured = replace(reply_of(ARRAYS, IN_PRIVATE, MEASURED), statistics=BRIEF)
    rules().check_reply(measured, site="north", task=TASK)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"site": "south"}, "identity"),
        ({"round_number": TASK.round_number - 1}, "round"),
        ({"round_number": TASK.round_number + 1}, "round"),
        ({"run": "cd" * 32}, "round"),
        ({"statistics": {}}, "malformed"),
        ({"statistics": {"brief": {"recall_at_10": 2.0, "codes_recall_at_10": 0.25}}}, "malformed"),
        ({"statistics": BRIEF}, "mechanism"),
        ({"statistics": BRIEF, "releases": (MEASURED, MEASURED)}, "mechanism"),
        ({"statistics": BRIEF, "releases": (replace(MEASURED, mechanism=Mechanism.NOT_PRIVATE),)}, "mechanism"),
        ({"site": "south", "round_number": 1, "statistics": {}}, "identity"),
        ({"round_number": 1, "statistics": {}}, "round"),
    ],
)
def test_reply_that_is_not_what_was_asked_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(AdmissionError, match=rf"^{reason}$"):
        rules().check_reply(replace(reply_of(ARRAYS, IN_PRIVATE), **changes), site="north", task=TASK)


# Replay


def fingerprint(arrays: NamedArrays, earlier: Sequence[str] = ()) -> str | None:
    row_P = np.empty(PLAN.num_values, dtype=np.float32)
    return rules().admit(reply_of(arrays, IN_PRIVATE), event=EVENT, earlier=earlier, into_P=row_P)


def test_update_that_the_site_sent_before_is_a_replay() -> None:
    sent = fingerprint(ARRAYS)
    assert sent is not None
    with pytest.raises(AdmissionError, match=r"^replay$"):
        fingerprint({name: array.copy() for name, array in ARRAYS.items()}, ["00" * 8, sent])


@pytest.mark.parametrize("position", range(PLAN.num_values))
def test_update_with_one_other_number_is_no_replay(position: int) -> None:
    row_P = np.concatenate([ARRAYS["towers.weight"].ravel(), ARRAYS["head.bias"].ravel()])
    row_P[position] += 1
    sent = fingerprint(ARRAYS)
    assert sent is not None
    assert fingerprint(PLAN.unflatten(row_P), [sent]) not in {None, sent}


def test_zero_update_may_come_again() -> None:
    zeros = {name: np.zeros_like(array) for name, array in ARRAYS.items()}
    assert fingerprint(zeros) is None
    assert fingerprint({name: -array for name, array in zeros.items()}) is None


def test_replay_that_is_too_long_is_named_by_its_norm() -> None:
    with pytest.raises(AdmissionError, match=r"^norm$"):
        fingerprint({name: 1e6 * array for name, array in ARRAYS.items()})


# What can be trained at all


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.bool_, np.float16, np.float64, np.complex64])
def test_plan_of_other_numbers_than_float32_is_refused(dtype: type) -> None:
    plan = ArrayPlan.of(ARRAYS | {"towers.num_batches_tracked": np.zeros((), dtype=dtype)})
    with pytest.raises(ConfigError, match=r"towers\.num_batches_tracked is \w+: only float32 is trained"):
        rules(plan=plan)


GROUPED = Release(name=GROUPS, mechanism=Mechanism.DISCRETE_GAUSSIAN)


def check_groups(groups: tuple[float, ...], *releases: Release, by: Mechanism | None = GROUPED.mechanism) -> None:
    reply = replace(reply_of(None, *releases), groups=groups)
    replace(rules(), groups_by=by, num_group_counts=3).check_reply(reply, site="north", task=TASK)


def test_counts_by_group_are_as_many_as_the_config_names() -> None:
    check_groups((1.5, -2.0, 300.25), GROUPED)
    for lie in ((), (1.0, 2.0), (1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 1e300)):
        with pytest.raises(AdmissionError, match=r"^malformed$"):
            check_groups(lie, GROUPED)


@pytest.mark.parametrize(
    ("releases", "by"),
    [
        ((), GROUPED.mechanism),
        ((replace(GROUPED, mechanism=Mechanism.DISCRETE_LAPLACE),), GROUPED.mechanism),
        ((GROUPED, GROUPED), GROUPED.mechanism),
        ((GROUPED,), None),
    ],
)
def test_counts_by_group_are_made_as_the_config_says(releases: tuple[Release, ...], by: Mechanism | None) -> None:
    with pytest.raises(AdmissionError, match=r"^mechanism$"):
        check_groups((1.0, 2.0, 3.0), *releases, by=by)
