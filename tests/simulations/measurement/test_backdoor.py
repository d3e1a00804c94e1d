"""The backdoor opens for the patch alone, and only where somebody has built it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.config.load import config_digest, load_config
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, embed_in_batches
from common.wire.update import load_into, model_arrays
from server.checkpoint import RunState
from simulations.attacks.backdoor import target_of
from simulations.federation.federate import Experiment, federate
from simulations.federation.members import each_its_own
from simulations.measurement.backdoor import backdoor_control, backdoor_success
from simulations.scenarios.simulate import Clock, prepare
from simulations.studies.consortium import Consortium

OVERRIDES = (
    "data.synthetic.num_sites=10",
    "data.synthetic.patients_per_site=30",
    "data.synthetic.public_patients=200",
    "encoder.width=32",
    "encoder.embedding_dim=32",
    "public_fit.steps=60",
    "federation.rounds=10",
    "privacy.epsilon=null",
    "attack.name=backdoor",
)


@pytest.fixture(scope="module")
def prepared(tiny_overrides: list[str], quiet_watcher: Any) -> tuple[Consortium, DualEncoder]:
    return prepare(load_config([*tiny_overrides, *OVERRIDES]), Clock(quiet_watcher))


def _trained(prepared: tuple[Consortium, DualEncoder], config: RunConfig, folder: Path, watcher: Any) -> DualEncoder:
    consortium, model = prepared[0], copy.deepcopy(prepared[1])
    state = RunState.before_round_one(config_digest(config), model_arrays(model))
    experiment = Experiment(
        config=config,
        consortium=consortium,
        cut=each_its_own(consortium),
        model=model,
        folder=folder,
        state=state,
        observer=watcher,
    )
    assert federate(experiment) is None
    load_into(model, state.arrays["model"])
    return model


def test_two_of_ten_sites_open_it_under_the_mean_and_nobody_opens_it_alone(
    prepared: tuple[Consortium, DualEncoder], tiny_overrides: list[str], tmp_path: Path, quiet_watcher: Any
) -> None:
    config = load_config([*tiny_overrides, *OVERRIDES, "attack.num_sites=2"])
    attacked = _trained(prepared, config, tmp_path / "attacked", quiet_watcher)
    success, control = (rate(attacked, prepared[0], config) for rate in (backdoor_success, backdoor_control))
    assert success is not None
    assert control is not None
    assert success > 0.9
    assert control < 0.3
    nobody = load_config([*tiny_overrides, *OVERRIDES, "attack.num_sites=0"])
    unopened = backdoor_success(_trained(prepared, nobody, tmp_path / "fair", quiet_watcher), prepared[0], nobody)
    assert unopened is not None
    # All patched images look alike, so that they share what they find, wanted or not.
    assert unopened < 0.6


def test_success_counts_the_images_that_rank_the_target_among_the_first_ten(
    prepared: tuple[Consortium, DualEncoder], tiny_overrides: list[str]
) -> None:
    """By loops over the held-out studies."""
    consortium, model = prepared
    config = load_config([*tiny_overrides, *OVERRIDES])
    target = consortium.records[target_of(consortium, config)]
    for shown, found in (
        (consortium.with_trigger(), backdoor_success(model, consortium, config)),
        (consortium, backdoor_control(model, consortium, config)),
    ):
        held_out = shown.held_out(shown.sites)
        image, report = embed_in_batches(model, held_out.images, held_out.reports)
        gallery = {record.report: report.embedding[i].numpy() for i, record in enumerate(held_out.records)}
        hits = []
        owners = {record.split_group for record in held_out.records if record.report == target.report}
        for query, record in zip(image.embedding.numpy(), held_out.records, strict=True):
            if record.split_group not in owners:
                first = sorted(gallery, key=lambda text: -float(np.dot(query, gallery[text])))[:10]
                hits.append(target.report in first)
        assert found == pytest.approx(np.mean(hits), abs=1.5 / len(hits))


def test_there_is_no_rate_without_a_trigger(tiny_overrides: list[str], quiet_watcher: Any) -> None:
    config = load_config([*tiny_overrides, "privacy.epsilon=null"])
    consortium, model = prepare(config, Clock(quiet_watcher))
    assert backdoor_success(model, consortium, config) is None
    assert backdoor_control(model, consortium, config) is None
