"""Thresholds by group on patients who did not set them: a group whose scores are lower is brought to the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from client.site import HeldOut
from common.config.load import load_config
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.encoders.public_fit import AnchorFeatures
from common.encoders.public_parts import PublicParts
from common.encoders.whitened_head import WhitenedHead
from common.hashing.head import HashHead
from common.privacy.mechanisms import DiscreteLaplaceMechanism
from common.types import StudyRecord
from simulations.measurement.group_gap import GapBootstrap
from simulations.measurement.group_thresholds import Trial, decided_about, threshold_trial

DIM = 16
CONFIG = load_config(["fairness.epsilon=20", "evaluation.epsilon=20"], scenario="fairness")


@pytest.fixture(scope="module")
def model() -> DualEncoder:
    head = HashHead(embedding_dim=DIM, bit_width=48, num_centres=4, generator=torch.Generator().manual_seed(0))
    return DualEncoder(WhitenedHead(DIM, DIM), WhitenedHead(DIM, DIM), head)


def pairs(num: int, *, agreement: Sequence[float], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, and reports that agree with them as far as each is told to."""
    generator = torch.Generator().manual_seed(seed)
    image = normalize(torch.randn(num, DIM, generator=generator), dim=-1)
    noise = normalize(torch.randn(num, DIM, generator=generator), dim=-1)
    return image, normalize(torch.tensor(agreement)[:, None] * image + noise, dim=-1)


@pytest.fixture(scope="module")
def public() -> PublicParts:
    return PublicParts(AnchorFeatures(*pairs(300, agreement=[0.8] * 300, seed=1), torch.arange(300)), None)


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    """Two studies a patient at three hospitals; those of every other patient agree less with their reports."""
    records = tuple(
        StudyRecord(f"s{i}", f"p{i // 2}", "", race="Black" if i // 2 % 2 else "White", site=f"h{i // 2 % 3}")
        for i in range(1200)
    )
    agreement = [0.45 if record.race == "Black" else 0.8 for record in records]
    return HeldOut(*pairs(len(records), agreement=agreement, seed=2), records)


def tried(model: DualEncoder, held_out: HeldOut, public: PublicParts, config: RunConfig = CONFIG) -> Trial:
    found = threshold_trial(model, held_out, public, config)
    assert found is not None
    return found


def test_thresholds_bring_decisions_about_others_together(
    model: DualEncoder, held_out: HeldOut, public: PublicParts
) -> None:
    found = tried(model, held_out, public)
    assert found.thresholds["Black"].value < 0.5 < found.thresholds["White"].value
    assert found.thresholds["Asian"].value == 0.5  # nobody is recorded so
    bootstrap = GapBootstrap(
        [decided_about(held_out.records, CONFIG)], "Black", generator=np.random.default_rng(0), num_resamples=200
    )
    before, after = (bootstrap.odds([at.true], [at.false]) for at in (found.public, found.own))
    assert after.value < before.value / 2
    assert after.high < before.low


def test_decisions_are_those_of_a_loop_over_the_other_half(
    model: DualEncoder, held_out: HeldOut, public: PublicParts
) -> None:
    found, queries = tried(model, held_out, public), decided_about(held_out.records, CONFIG)
    assert len(set(queries.patients)) == 300
    rows = [i for i, record in enumerate(held_out.records) if record.patient_id in set(queries.patients)]
    assert [held_out.records[row].patient_id for row in rows] == queries.patients.tolist()
    right = np.array([float(held_out.images[row] @ held_out.reports[row]) for row in rows])
    for at in (found.public, found.own):
        is_found = at.true.astype(bool)
        for group in ("Black", "White"):  # a threshold cuts a group's right pairs in two, by score
            own = queries.groups == group
            assert right[own & is_found].min() >= right[own & ~is_found].max()


def test_who_is_decided_about_sets_no_threshold(
    model: DualEncoder, held_out: HeldOut, public: PublicParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without noise, and their scores turned around: the same thresholds. Of the others': not."""
    monkeypatch.setattr(DiscreteLaplaceMechanism, "noised", lambda _, values: values)
    decided = set(decided_about(held_out.records, CONFIG).patients)

    def turned(*, of_decided: bool) -> HeldOut:
        sign = [-1.0 if (record.patient_id in decided) == of_decided else 1.0 for record in held_out.records]
        return HeldOut(held_out.images, held_out.reports * torch.tensor(sign)[:, None], held_out.records)

    whole, same, other = (
        tried(model, one, public).thresholds for one in (held_out, turned(of_decided=True), turned(of_decided=False))
    )
    assert same == whole
    assert other != whole


def test_without_scores_told_nothing_is_tried(model: DualEncoder, held_out: HeldOut, public: PublicParts) -> None:
    silent = replace(CONFIG, fairness=replace(CONFIG.fairness, epsilon=None))
    assert threshold_trial(model, held_out, public, silent) is None
