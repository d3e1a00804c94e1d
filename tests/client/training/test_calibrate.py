"""The calibration rule: what it reads, what its lengths mean, and where it stops."""

from __future__ import annotations

import copy
import inspect
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import client.training.calibrate as rule
from client.dp.engine import PatientDpSgd
from client.dp.randomness import SeededRandomness
from client.dp.records import Records
from client.site import Site
from client.training.calibrate import Calibration, calibrate, median_gradient_norm, tower_scale
from common.config.load import config_as_json, load_config
from common.config.schema import RunConfig
from common.errors import ConfigError
from common.losses.objective import build_objective
from common.losses.public import embed_public
from common.privacy.bands import middle_of
from common.privacy.plan import privacy_plan
from common.seeds import torch_generator

SMALL_BANDS = ["64-127"] * 3
LARGE_BANDS = ["524288-1048575"]


@pytest.fixture(scope="module", autouse=True)
def two_rates() -> Iterator[None]:
    """Two sampling probabilities are tried here: each costs a second of exact accounting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule, "SAMPLING_PROBABILITIES", (0.05, 0.3, 1.0))
        yield


@pytest.fixture
def private_config(tiny_config: RunConfig) -> RunConfig:
    config = copy.deepcopy(tiny_config)
    config.privacy.epsilon, config.privacy.calibrate, config.federation.rounds = 8.0, True, 10
    return config


def calibrated(site: Site, config: RunConfig, bands: list[str] = SMALL_BANDS) -> Calibration:
    return calibrate(config, site.anchors, site.model, bands)


def test_calibrate_takes_nothing_but_public_arguments() -> None:
    assert list(inspect.signature(calibrate).parameters) == ["config", "anchors", "model", "bands", "progress"]
    source = Path(rule.__file__).read_text()
    for private in ("client.site", "client.data", "client.ledger", "client.dp", "client.measurement"):
        assert f"from {private}" not in source


def test_calibrate_with_other_patients_chooses_the_same(tiny_site: Site, private_config: RunConfig) -> None:
    private = tiny_site.private
    others = Records(private.images * 50 + 3, private.reports.flip(0), private.patients)
    for records in (private, others):
        site = replace(tiny_site, private=records, config=private_config)
        found = calibrated(site, site.config, [site.patients_band] * 3)
        assert found.config == calibrated(tiny_site, private_config, [tiny_site.patients_band] * 3).config


def test_calibrate_repeats_itself_and_changes_no_argument(tiny_site: Site, private_config: RunConfig) -> None:
    config, weights = copy.deepcopy(private_config), copy.deepcopy(tiny_site.model.state_dict())
    assert calibrated(tiny_site, private_config) == calibrated(tiny_site, private_config)
    assert private_config == config
    assert all(torch.equal(value, weights[name]) for name, value in tiny_site.model.state_dict().items())


def test_calibrate_replaces_the_settings_and_nothing_else(tiny_site: Site, private_config: RunConfig) -> None:
    before, after = (_flat(config) for config in (private_config, calibrated(tiny_site, private_config).config))
    changed = {key for key in before if before[key] != after[key]}
    allowed = {f"privacy.{key}" for key in ("clip_norm", "learning_rate", "public_weight", "calibrate")}
    allowed |= {"training.steps_per_round", "training.sampling_probability"}
    assert changed <= allowed
    assert after["privacy.calibrate"] is False
    assert after["training.steps_per_round"] * after["federation.rounds"] == rule.NUM_STEPS
    load_config([f"{key}={value}" for key, value in after.items() if key in allowed])  # within their ranges


def test_noise_alone_moves_the_towers_by_the_stated_share(tiny_site: Site, private_config: RunConfig) -> None:
    """For n = 4,000 coordinates the share's standard error is 1.1%; 6% is five of them (alpha 1e-6)."""
    found = calibrated(tiny_site, private_config)
    assert found.noise_share is not None
    walked = _walk_of_noise(found.config, SMALL_BANDS, coordinates=4_000) / tower_scale(tiny_site.model)
    assert walked == pytest.approx(found.noise_share, rel=0.06)
    one_site = _walk_of_noise(found.config, SMALL_BANDS[:1], coordinates=4_000) / tower_scale(tiny_site.model)
    assert one_site != pytest.approx(found.noise_share, rel=0.06)


def test_noise_share_is_full_where_noise_is_what_limits(tiny_site: Site, private_config: RunConfig) -> None:
    tiny = calibrated(tiny_site, private_config, ["1-10"])
    assert tiny.noise_share == pytest.approx(rule.NOISE_SHARE)
    assert _public_travel(tiny.config, "1-10") == pytest.approx(rule.PUBLIC_TRAVEL, rel=0.01)


def test_a_private_step_is_no_longer_than_one_without_privacy(tiny_site: Site, private_config: RunConfig) -> None:
    found = calibrated(tiny_site, private_config, LARGE_BANDS)
    plan = privacy_plan(found.config, LARGE_BANDS[0])
    assert plan is not None
    assert found.gradient_norm is not None
    assert found.noise_share is not None
    longest = private_config.training.learning_rate * max(found.gradient_norm, 1.0)
    assert plan.learning_rate * plan.clip_norm == pytest.approx(longest, rel=0.01)
    assert found.noise_share < 0.01 * rule.NOISE_SHARE
    travel = _public_travel(found.config, LARGE_BANDS[0])
    assert travel == pytest.approx(rule.PUBLIC_TRAVEL * found.noise_share / rule.NOISE_SHARE, rel=0.02)


def test_rate_is_the_cheapest_that_is_nearly_as_quiet_as_the_dearest(
    tiny_site: Site, private_config: RunConfig
) -> None:
    found = calibrated(tiny_site, private_config)
    bound = (1 + rule.MOST_EXCESS) * found.rates[-1].noise_per_travel
    quiet = [rate.sampling_probability for rate in found.rates if rate.noise_per_travel <= bound]
    assert found.config.training.sampling_probability == min(quiet)
    assert len(quiet) < len(found.rates)


def test_gradient_norm_agrees_with_the_engine(tiny_site: Site, private_config: RunConfig) -> None:
    """The engine's own gradient of each measured patient, with a clip that never binds."""
    anchors = replace(tiny_site.anchors, patients=torch.arange(30) // 2)
    generator = torch_generator(private_config.seed, "calibrate")
    measured = torch.randperm(15, generator=generator)[:7]
    others = [row for row in range(30) if row // 2 not in measured.tolist()]
    order = torch.randperm(len(others), generator=generator)[: private_config.loss.num_anchors]
    rows = torch.tensor(others)[order]
    public = embed_public(tiny_site.model, anchors.images[rows], anchors.reports[rows])
    engine = PatientDpSgd(
        objective=build_objective(private_config.loss, private_config.code),
        sampling_probability=1.0,
        clip_norm=1e9,
        noise_multiplier=0.0,
        expected_patients=1.0,
        chunk_size=4,
        randomness=SeededRandomness(torch.Generator()),
        gradients="vmap",
    )
    norms = []
    for patient in measured.tolist():
        pair = slice(2 * patient, 2 * patient + 2)
        records = Records(anchors.images[pair], anchors.reports[pair], torch.zeros(2, dtype=torch.int64))
        gradient = engine.clipped_sum(tiny_site.model, records, public)
        norms.append(math.sqrt(sum(float(value.square().sum()) for value in gradient.values())))
    found = median_gradient_norm(private_config, anchors, tiny_site.model)
    assert found == pytest.approx(float(np.median(norms)), rel=1e-4)


@pytest.mark.parametrize("key", ["privacy.epsilon", "federation.rounds"])
def test_calibrate_without_privacy_or_rounds_changes_nothing(
    tiny_site: Site, private_config: RunConfig, key: str
) -> None:
    if key == "privacy.epsilon":
        private_config.privacy.epsilon = None
    else:
        private_config.federation.rounds = 0
    found = calibrated(tiny_site, private_config)
    private_config.privacy.calibrate = False
    assert found.config == private_config
    assert found.rates == ()


def test_calibration_as_json_holds_its_settings_and_reasons(tiny_site: Site, private_config: RunConfig) -> None:
    found = calibrated(tiny_site, private_config)
    written = json.loads(json.dumps(found.as_json()))
    settings = _flat(found.config)
    assert written["settings"] == {key: settings[key] for key in written["settings"]}
    assert len(written["settings"]) == 5
    assert [rate["sampling_probability"] for rate in written["rates"]] == [0.05, 0.3, 1.0]
    assert written["noise_share"] == found.noise_share


def test_calibrate_refuses_what_it_has_no_rule_for(tiny_site: Site, private_config: RunConfig) -> None:
    with pytest.raises(ConfigError, match="there is no site"):
        calibrated(tiny_site, private_config, [])
    private_config.training.optimizer = "adam"
    with pytest.raises(ConfigError, match=r"training\.optimizer=sgd"):
        calibrated(tiny_site, private_config)


def _flat(config: RunConfig) -> dict[str, object]:
    return {
        f"{section}.{key}": value
        for section, values in config_as_json(config).items()
        if isinstance(values, dict)
        for key, value in values.items()
    }


def _walk_of_noise(config: RunConfig, bands: list[str], *, coordinates: int) -> float:
    """Root mean square of what the noise of a whole run moves, drawn step by step and averaged over sites."""
    generator = np.random.default_rng(0)
    total = sum(middle_of(band) for band in bands)
    moved = np.zeros(coordinates)
    for band in bands:
        plan = privacy_plan(config, band)
        assert plan is not None
        expected_patients = config.training.sampling_probability * middle_of(band)
        deviation = plan.event.noise_multiplier * plan.clip_norm / expected_patients
        for _ in range(config.training.steps_per_round * config.federation.rounds):
            step = plan.learning_rate * deviation * generator.standard_normal(coordinates)
            moved += middle_of(band) / total * step
    return float(np.sqrt(np.mean(moved**2)))


def _public_travel(config: RunConfig, band: str) -> float:
    plan = privacy_plan(config, band)
    assert plan is not None
    steps = config.training.steps_per_round * config.federation.rounds
    return plan.learning_rate * plan.public_weight * steps
