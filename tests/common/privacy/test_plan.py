"""The plan of a run: it spends the config's epsilon over all rounds and no more."""

from __future__ import annotations

from math import comb

import pytest

from common.config.load import load_config
from common.errors import ConfigError
from common.privacy.accountant import epsilon_of
from common.privacy.events import SampledGaussian, TruncatedSampledGaussian
from common.privacy.plan import PrivacyPlan, privacy_plan

BAND = "64-127"
RUN = ["training.sampling_probability=0.2", "training.steps_per_round=4", "privacy.delta=0.001"]


def plan(*overrides: str) -> PrivacyPlan:
    found = privacy_plan(load_config([*RUN, *overrides]), BAND)
    assert found is not None
    return found


def test_plan_spends_the_epsilon_over_all_rounds() -> None:
    found = plan("privacy.epsilon=2", "federation.rounds=6")
    assert (found.event.steps, found.event.sampling_probability, found.delta) == (4, 0.2, 0.001)
    assert 1.99 < found.epsilon_after(6) <= 2
    together = SampledGaussian(noise_multiplier=found.event.noise_multiplier, sampling_probability=0.2, steps=24)
    assert found.epsilon_after(6) == epsilon_of([together], delta=0.001)


def test_plan_spends_nothing_before_round_one_and_more_each_round() -> None:
    found = plan("privacy.epsilon=2", "federation.rounds=6")
    spent = [found.epsilon_after(rounds) for rounds in range(4)]
    assert spent[0] == 0
    assert spent == sorted(set(spent))


def test_plan_is_none_without_privacy() -> None:
    assert privacy_plan(load_config(["privacy.epsilon=null"]), BAND) is None


@pytest.mark.parametrize("none", ["federation.rounds=0", "training.steps_per_round=0"])
def test_plan_of_a_run_that_never_trains_spends_nothing(none: str) -> None:
    assert plan("privacy.epsilon=2", none).epsilon_after(0) == 0


def test_plan_shortens_the_steps_as_noise_grows() -> None:
    strict, loose = (plan(f"privacy.epsilon={epsilon}", "federation.rounds=2") for epsilon in (0.5, 1))
    assert strict.event.noise_multiplier > loose.event.noise_multiplier
    assert strict.learning_rate < loose.learning_rate
    assert strict.public_weight > loose.public_weight


def test_plan_out_of_reach_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"privacy\.epsilon"):
        plan("privacy.epsilon=0.001", "federation.rounds=100000", "training.sampling_probability=1")


def test_plan_of_pairs_caps_what_a_step_reads_by_the_band() -> None:
    found = privacy_plan(load_config([*RUN, "loss.name=pair_clip"]), BAND)
    assert found is not None
    event = found.event
    assert isinstance(event, TruncatedSampledGaussian)
    assert event.most_patients == 127
    tail = sum(comb(127, k) * 0.2**k * 0.8 ** (127 - k) for k in range(event.most_sampled + 1, 128))
    assert tail <= 0.001 / (4 * 10)
    assert found.epsilon_after(10) == pytest.approx(8.0, rel=2e-3)


@pytest.mark.parametrize(
    "override",
    [
        "training.gradients=vmap",
        "training.precision=bfloat16",
        "training.augmentations=2",
        "privacy.clipping=per_layer",
    ],
)
def test_plan_of_pairs_refuses_what_its_engine_does_not_know(override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        privacy_plan(load_config([*RUN, "loss.name=pair_clip", override]), BAND)


def test_delta_follows_the_band_unless_it_is_given() -> None:
    by_band = privacy_plan(load_config(["federation.rounds=2"]), BAND)
    given = privacy_plan(load_config(["federation.rounds=2", "privacy.delta=0.002"]), BAND)
    assert by_band is not None
    assert given is not None
    assert (by_band.delta, given.delta) == (1 / 1270, 0.002)
    assert by_band.event.noise_multiplier > given.event.noise_multiplier


# Groups that count for less

EMPHASIS = "mitigation.emphasis={White: 0.25}"


@pytest.mark.parametrize("by", ["sampling", "weight"])
def test_emphasis_is_charged_as_if_all_counted_in_full(by: str) -> None:
    assert plan(EMPHASIS, f"mitigation.emphasis_by={by}").event == plan().event


def test_emphasis_shortens_the_normaliser_by_the_public_shares_alone() -> None:
    untreated = plan().expected_patients
    assert plan(EMPHASIS).expected_patients == untreated
    shares = "mitigation.shares={White: 0.6, Black: 0.4}"
    assert plan(EMPHASIS, shares).expected_patients == pytest.approx(untreated * (0.6 * 0.25 + 0.4))
    assert plan(shares).expected_patients == untreated


def test_pairs_know_rates_and_no_weights_or_anchors() -> None:
    pairs = "loss.name=pair_clip"
    assert isinstance(plan(pairs, EMPHASIS).event, TruncatedSampledGaussian)
    with pytest.raises(ConfigError, match=r"mitigation\.emphasis_by=weight: .* knows sampling alone"):
        plan(pairs, EMPHASIS, "mitigation.emphasis_by=weight")
    assert isinstance(plan("loss.name=pair_clip+quantisation+centres").event, TruncatedSampledGaussian)
    for term in ("score_level", "distillation", "invariance"):
        with pytest.raises(ConfigError, match=r"^loss\.name: pair_clip reads no anchors"):
            plan(f"loss.name=pair_clip+{term}")
