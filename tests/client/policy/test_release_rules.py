"""Each rule on what leaves, both ways, and the two policies that are made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.policy.interface import Policy, ReleaseRequest, RunRequest
from client.policy.release_rules import AccountedReleases, AllowedMechanisms, LargestUpdate, LeastCell
from client.policy.simulated import simulation_policy
from client.policy.site_config import load_site_config
from client.policy.site_policy import policy_of
from common.errors import PolicyRefusal
from common.privacy.events import DiscreteLaplace, SampledGaussian
from common.privacy.release import Mechanism, Release
from common.wire.update import ArrayPlan

Make = Callable[..., ReleaseRequest]
EVENT = SampledGaussian(noise_multiplier=1.0, sampling_probability=0.1, steps=1)
COUNTS = Release(
    name="statistics",
    mechanism=Mechanism.DISCRETE_LAPLACE,
    event=DiscreteLaplace(noise_scale=1.0, releases=4),
    ledger_entry="f" * 64,
)


def release(name: str, mechanism: Mechanism, **fields: Any) -> tuple[Release, ...]:
    return (Release(name=name, mechanism=mechanism, **fields),)


@pytest.mark.parametrize("mechanism", Mechanism)
def test_mechanism_passes_only_for_the_record_it_is_allowed_for(mechanism: Mechanism, release_request: Make) -> None:
    rule = AllowedMechanisms({"update": frozenset({mechanism}), "site": frozenset()})
    assert rule.check(release_request(releases=release("update", mechanism))) is None
    assert "may not make it" in str(rule.check(release_request(releases=release("site", mechanism))))
    for other in set(Mechanism) - {mechanism}:
        assert rule.check(release_request(releases=release("update", other))) is not None


def test_unknown_record_is_refused_whatever_made_it(release_request: Make) -> None:
    rule = AllowedMechanisms({"update": frozenset(Mechanism)})
    assert "'losses' is not one that may leave" in str(
        rule.check(release_request(releases=release("losses", Mechanism.PUBLIC)))
    )


def test_one_forbidden_record_among_allowed_ones_is_refused(release_request: Make) -> None:
    rule = AllowedMechanisms({"site": frozenset({Mechanism.PUBLIC})})
    releases = (*release("site", Mechanism.PUBLIC), *release("losses", Mechanism.PUBLIC))
    assert rule.check(release_request(releases=releases)) is not None


@pytest.mark.parametrize("mechanism", [Mechanism.PATIENT_DP_SGD, Mechanism.DISCRETE_LAPLACE])
def test_release_with_a_cost_must_name_event_and_ledger_entry(mechanism: Mechanism, release_request: Make) -> None:
    rule = AccountedReleases()
    full = {"event": EVENT, "ledger_entry": "e" * 64}
    assert rule.check(release_request(releases=release("update", mechanism, **full))) is None
    for left_out in full:
        part = {name: value for name, value in full.items() if name != left_out}
        assert rule.check(release_request(releases=release("update", mechanism, **part))) is not None


def test_release_without_a_cost_needs_no_ledger_entry(release_request: Make) -> None:
    assert AccountedReleases().check(release_request(releases=release("site", Mechanism.PUBLIC))) is None


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, None),
        ({"most_values": 19}, "20 values are above 19"),
        ({"most_bytes": 79}, "80 bytes are above 79"),
        ({"keys": ["image_tower.*"]}, "'hash_head.weight' fits no pattern"),
        ({"keys": []}, "fits no pattern"),
        ({"keys": ["any"]}, None),
        ({"keys": ["IMAGE_TOWER.*", "*"]}, None),
    ],
)
def test_largest_update_counts_names_values_and_bytes(
    limits: dict[str, Any], said: str | None, release_request: Make, run_request: Callable[..., RunRequest]
) -> None:
    rule = LargestUpdate(**{"most_values": 20, "most_bytes": 80, "keys": ["image_tower.*", "hash_head.*"], **limits})
    for request in (release_request(), run_request()):
        refusal = rule.check(request)
        assert refusal is None if said is None else said in str(refusal)


def test_largest_update_counts_bytes_by_the_arrays_type(release_request: Make) -> None:
    rule = LargestUpdate(most_values=10, most_bytes=79, keys=["*"])
    assert rule.check(release_request(arrays=ArrayPlan({"a": ((10,), "float32")}))) is None
    assert rule.check(release_request(arrays=ArrayPlan({"a": ((10,), "float64")}))) is not None


def test_reply_without_update_has_nothing_too_large(release_request: Make) -> None:
    assert LargestUpdate(most_values=1, most_bytes=1, keys=[]).check(release_request(arrays=None)) is None


@pytest.mark.parametrize(("least_cell", "passes"), [(11, True), (10, False), (None, False)])
def test_least_cell_of_shown_counts(least_cell: int | None, *, passes: bool, release_request: Make) -> None:
    for shown in (COUNTS, *release("statistics", Mechanism.NOT_PRIVATE)):
        refusal = LeastCell(11).check(release_request(releases=(shown,), least_cell=least_cell))
        assert (refusal is None) == passes


def test_least_cell_needs_no_figure_where_no_counts_are_shown(release_request: Make) -> None:
    assert LeastCell(11).check(release_request(least_cell=None)) is None


@pytest.fixture
def site_policy(site_yaml: dict[str, Any], write_site: Callable[..., Path]) -> Policy:
    return policy_of(load_site_config(write_site(site_yaml)))


def test_site_policy_lets_the_private_reply_out(site_policy: Policy, release_request: Make) -> None:
    request = release_request()
    site_policy.enforce(request)
    with_counts = release_request(releases=(*request.releases, COUNTS), least_cell=11)
    site_policy.enforce(with_counts)
    assert all(verdict.looked_at for verdict in site_policy.verdicts(with_counts))


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("mechanisms", {"releases": release("update", Mechanism.NOT_PRIVATE), "least_cell": 11}),
        ("mechanisms", {"releases": release("codes", Mechanism.PUBLIC)}),
        ("ledger entries", {"releases": release("update", Mechanism.PATIENT_DP_SGD, event=EVENT)}),
        ("largest update", {"arrays": ArrayPlan({"a": ((10_001,), "float32")})}),
        ("least cell", {"releases": (COUNTS,), "least_cell": 3}),
    ],
)
def test_site_policy_keeps_in_a_reply_that_differs_in_one_thing(
    rule: str, changes: dict[str, Any], site_policy: Policy, release_request: Make
) -> None:
    request = release_request(**changes)
    assert [v.rule for v in site_policy.verdicts(request) if v.refusal is not None] == [rule]
    with pytest.raises(PolicyRefusal, match=f"^{rule}: "):
        site_policy.enforce(request)


@pytest.mark.parametrize("mechanism", Mechanism)
def test_simulated_site_lets_every_mechanism_out(mechanism: Mechanism, release_request: Make) -> None:
    simulation_policy().enforce(release_request(releases=release("anything", mechanism)))
