"""Each rule on a run, both ways, and the two policies that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import time
from pathlib import Path
from typing import Any

import pytest

from client.policy.hours import hours_of
from client.policy.interface import Policy, PolicyRule, Refusal, RunRequest
from client.policy.privacy_rules import (
    EpsilonOfRun,
    LeastGroup,
    LeastNoise,
    LeastPeers,
    NotHopeless,
    PlannedReleases,
    PrivateTrainingOnly,
)
from client.policy.run_rules import (
    AllowedBundle,
    AllowedConfig,
    AllowedDevice,
    AllowedEncoder,
    AllowedHours,
    AllowedLoss,
)
from client.policy.simulated import simulation_policy
from client.policy.site_config import load_site_config
from client.policy.site_policy import policy_of
from common.config.load import load_config
from common.errors import PolicyRefusal
from common.privacy.accountant import epsilon_of
from common.privacy.events import DiscreteLaplace, SampledGaussian
from common.privacy.release import Mechanism
from common.wire import flower as wire

Make = Callable[..., RunRequest]
DIGEST, OTHER = "ab" * 32, "cd" * 32


def noise(multiplier: float) -> SampledGaussian:
    return SampledGaussian(noise_multiplier=multiplier, sampling_probability=0.1, steps=1)


LAPLACE = DiscreteLaplace(noise_scale=100.0, releases=1)

CASES: dict[str, tuple[PolicyRule[RunRequest], Mapping[str, Any], Mapping[str, Any], str]] = {
    "private": (PrivateTrainingOnly(), {}, {"events": ()}, "trains without privacy"),
    "noise": (LeastNoise(1.0), {"events": (noise(1.0),)}, {"events": (noise(0.999),)}, "0.999 is below 1"),
    "noise of the worst event": (
        LeastNoise(1.0),
        {"events": (noise(1.0), LAPLACE)},
        {"events": (noise(2.0), noise(0.5))},
        "0.5 is below 1",
    ),
    "no noise": (LeastNoise(0.1), {}, {"events": (LAPLACE,)}, "0 is below 0.1"),
    "config": (
        AllowedConfig([DIGEST]),
        {"config_digest": DIGEST},
        {"config_digest": OTHER},
        r"cdcdcdcdcdcd\.\.\. is not",
    ),
    "bundle": (AllowedBundle([DIGEST]), {"bundle_hash": DIGEST}, {"bundle_hash": OTHER}, "bundle .* is not one of"),
    "no bundle": (AllowedBundle([]), {"bundle_hash": None}, {"bundle_hash": DIGEST}, r"is not one of \[\]"),
    "device": (AllowedDevice(["cuda*"]), {"device": "cuda:1"}, {"device": "cpu"}, r"fits none of \[cuda\*\]"),
    "device of a pattern's prefix": (AllowedDevice(["cpu"]), {"device": "cpu"}, {"device": "cpu:0"}, "fits none"),
    "hours": (
        AllowedHours(hours_of("22:00-06:00"), "training.hours"),
        {"local_time": time(5, 59)},
        {"local_time": time(6, 0)},
        "06:00 local time is outside 22:00-06:00",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_rule_passes_what_it_allows_and_refuses_the_rest(case: str, run_request: Make) -> None:
    rule, allowed, forbidden, said = CASES[case]
    assert rule.check(run_request(**allowed)) is None
    refusal = rule.check(run_request(**forbidden))
    assert isinstance(refusal, Refusal)
    with pytest.raises(PolicyRefusal, match=said):
        Policy(run_rules=(rule,), release_rules=()).enforce(run_request(**forbidden))


@pytest.mark.parametrize(
    "rule", [AllowedConfig(["any"]), AllowedLoss(["any"]), AllowedEncoder(["any"]), AllowedDevice(["any"])]
)
def test_any_allows_all_of_its_kind(rule: PolicyRule[RunRequest], run_request: Make) -> None:
    assert rule.check(run_request(config_digest=OTHER, device="meta")) is None


@pytest.mark.parametrize("rule", [AllowedConfig([]), AllowedLoss([]), AllowedEncoder([]), AllowedDevice([])])
def test_empty_list_allows_nothing(rule: PolicyRule[RunRequest], run_request: Make) -> None:
    assert rule.check(run_request()) is not None


@pytest.mark.parametrize(
    ("rule", "override", "said"),
    [
        (AllowedLoss(["anchor_contrast"]), "loss.name=pair_clip", "loss pair_clip is not one of"),
        (AllowedEncoder(["scratch"]), "encoder.name=pretrained", "encoder pretrained is not one of"),
        (LeastGroup(20), "evaluation.least_group=19", "groups of 19 patients would be shown, below 20"),
        (PrivateTrainingOnly(), "privacy.epsilon=null", "trains without privacy"),
    ],
)
def test_rule_reads_the_run_config(rule: PolicyRule[RunRequest], override: str, said: str, run_request: Make) -> None:
    assert rule.check(run_request(config=load_config(["evaluation.least_group=20"]))) is None
    assert said in str(rule.check(run_request(config=load_config([override]))))


def test_hours_left_out_pass_at_any_time(run_request: Make) -> None:
    assert AllowedHours(None, "training.hours").check(run_request(local_time=time(3))) is None


def test_epsilon_of_run_composes_every_round(run_request: Make) -> None:
    event, delta = SampledGaussian(noise_multiplier=1.0, sampling_probability=0.2, steps=5), 1e-4
    whole = replace(event, steps=50)
    epsilon = epsilon_of([whole], delta=delta)
    request = run_request(events=(event,), rounds=10)
    assert EpsilonOfRun(epsilon * 1.001, delta).check(request) is None
    refusal = EpsilonOfRun(epsilon * 0.999, delta).check(request)
    assert refusal is not None
    assert "above" in refusal.reason
    assert EpsilonOfRun(epsilon * 0.999, delta).check(replace(request, rounds=9)) is None


def test_epsilon_of_run_without_rounds_is_nothing(run_request: Make) -> None:
    assert EpsilonOfRun(0.0, 1e-4).check(run_request(rounds=0)) is None


def test_hopeless_run_is_refused_with_what_would_mend_it(run_request: Make) -> None:
    config = load_config(["privacy.epsilon=2", "privacy.delta=1e-4"])
    request = run_request(config=config, patients_band="16-31", cohort=("16-31",) * 4)
    refusal = NotHopeless().check(request)
    assert refusal is not None
    assert refusal.reason == "the noise of epsilon 2 drowns what about 96 patients of 4 hospitals teach"
    assert "epsilon" in refusal.remedy
    assert "patients" in refusal.remedy
    assert refusal.remedy.endswith("; or set training.refuse_hopeless=false")
    assert NotHopeless().check(replace(request, cohort=("256-511",) * 4)) is None
    assert NotHopeless().check(replace(request, cohort=None)) is None, "who does not know how many take part waits"
    assert NotHopeless().check(replace(request, config=load_config(["privacy.epsilon=null"]))) is None


@pytest.mark.parametrize("asked", [False, True])
def test_hopeless_runs_are_refused_where_the_hospital_asks_for_it(
    site_yaml: dict[str, Any], write_site: Callable[..., Path], *, asked: bool
) -> None:
    site_yaml["training"]["refuse_hopeless"] = asked
    rules = policy_of(load_site_config(write_site(site_yaml))).run_rules
    assert any(isinstance(rule, NotHopeless) for rule in rules) == asked


@pytest.fixture
def site_policy(site_yaml: dict[str, Any], write_site: Callable[..., Path]) -> Policy:
    site_yaml["releases"]["least_cell"] = 20
    return policy_of(load_site_config(write_site(site_yaml)))


NOISED = ["evaluation.epsilon=1", "evaluation.least_group=20"]
FORBIDDEN: dict[str, dict[str, Any]] = {
    "configuration": {"config_digest": OTHER},
    "bundle": {"bundle_hash": OTHER},
    "loss": {"config": load_config(["loss.name=pair_clip", *NOISED])},
    "encoder": {"config": load_config(["encoder.name=pretrained", *NOISED])},
    "device": {"device": "cuda"},
    "planned releases": {"config": load_config([*NOISED, "evaluation.epsilon=null"])},
    "least group": {"config": load_config([*NOISED, "evaluation.least_group=19"])},
    "least noise": {"events": (noise(0.4),)},
    "epsilon of one run": {"rounds": 3_000},
}


def test_site_policy_passes_the_approved_run(site_policy: Policy, run_request: Make) -> None:
    site_policy.enforce(run_request())
    verdicts = site_policy.verdicts(run_request())
    assert all(verdict.refusal is None and verdict.looked_at for verdict in verdicts)
    assert len({verdict.rule for verdict in verdicts}) == len(verdicts) == len(site_policy.run_rules)


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_site_policy_refuses_a_run_that_differs_in_one_thing(rule: str, site_policy: Policy, run_request: Make) -> None:
    request = run_request(**FORBIDDEN[rule])
    assert [v.rule for v in site_policy.verdicts(request) if v.refusal is not None] == [rule]
    with pytest.raises(PolicyRefusal, match=f"^{rule}: ") as caught:
        site_policy.enforce(request)
    assert (caught.value.reason, caught.value.exit_code) == ("policy", 3)


def test_site_policy_refuses_a_run_without_privacy_on_every_ground(site_policy: Policy, run_request: Make) -> None:
    request = run_request(events=(), config=load_config([*NOISED, "privacy.epsilon=null"]))
    refusing = [verdict.rule for verdict in site_policy.verdicts(request) if verdict.refusal is not None]
    assert refusing == ["private training", "least noise", "planned releases"]


@pytest.mark.parametrize(
    ("overrides", "made_by"),
    [
        (("privacy.epsilon=8", "evaluation.epsilon=1"), (Mechanism.PATIENT_DP_SGD, Mechanism.DISCRETE_LAPLACE)),
        (("privacy.epsilon=null", "evaluation.epsilon=1"), (Mechanism.NOT_PRIVATE, Mechanism.DISCRETE_LAPLACE)),
        (("privacy.epsilon=8", "evaluation.epsilon=null"), (Mechanism.PATIENT_DP_SGD, Mechanism.NOT_PRIVATE)),
    ],
)
def test_planned_releases_follow_from_the_config(
    overrides: tuple[str, str], made_by: tuple[Mechanism, Mechanism], run_request: Make
) -> None:
    request = run_request(config=load_config(overrides))
    update, statistics = made_by
    allowed = {wire.UPDATE: {update}, wire.STATISTICS: {statistics}}
    assert PlannedReleases(allowed).check(request) is None
    for name in allowed:
        assert PlannedReleases({**allowed, name: set()}).check(request) is not None
        assert PlannedReleases({other: made for other, made in allowed.items() if other != name}).check(request)


@pytest.mark.parametrize("request_of", FORBIDDEN.values())
def test_simulated_site_lets_every_run_pass(request_of: dict[str, Any], run_request: Make) -> None:
    simulation_policy().enforce(run_request(**request_of))


@pytest.mark.parametrize(("num_sites", "passes"), [(3, True), (2, False)])
def test_least_peers_counts_the_cohort(run_request: Make, num_sites: int, *, passes: bool) -> None:
    cohort = {f"site-{number}": "64-127" for number in range(num_sites)}
    request = run_request()
    config = replace(request.config, privacy=replace(request.config.privacy, noise="shared", cohort=cohort))
    refusal = LeastPeers(2).check(replace(request, config=config))
    assert (refusal is None) is passes
    if refusal is not None:
        assert "shares noise with 1 hospitals, below 2" in str(refusal)
        assert "privacy.least_peers" in str(refusal)


def test_least_peers_asks_nothing_where_noise_is_the_hospitals_own(run_request: Make) -> None:
    assert LeastPeers(100).check(run_request()) is None
