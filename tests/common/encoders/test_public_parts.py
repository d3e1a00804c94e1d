"""The public studies in two parts: whole patients, the same parts everywhere, and the form in a bundle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from common.config.load import load_config
from common.encoders.public_fit import AnchorFeatures
from common.encoders.public_parts import (
    LEAST_KEPT,
    part_public,
    validation_from_arrays,
    validation_to_arrays,
)
from common.errors import TrustError
from common.retrieval.relevance_pairs import Labels
from common.wire.update import from_safetensors, to_safetensors


def public(num_patients: int = 480) -> AnchorFeatures:
    """One to four studies a patient; a study's features name its patient."""
    patients = torch.repeat_interleave(torch.arange(num_patients), torch.arange(num_patients) % 4 + 1)
    images = patients[:, None] + torch.rand(len(patients), 3, generator=torch.Generator().manual_seed(0)) / 2
    return AnchorFeatures(images, -images, patients)


def named(part: AnchorFeatures) -> set[int]:
    return set(part.images[:, 0].floor().int().tolist())


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_no_patient_is_in_both_parts_and_no_study_is_lost(share: float) -> None:
    anchors, validation = part_public(public(), load_config([f"public_fit.validation_fraction={share}"]))
    assert validation is not None
    assert len(named(validation)) == round(share * 480)
    assert not named(anchors) & named(validation)
    assert len(anchors.images) + len(validation.images) == len(public().images)
    for part in (anchors, validation):
        assert torch.equal(part.images, -part.reports)
        assert part.patients.unique().tolist() == list(range(len(named(part))))
        assert (part.patients.diff() >= 0).all()
        numbered = {int(n): set(part.images[part.patients == n][:, 0].floor().tolist()) for n in part.patients}
        assert all(len(who) == 1 for who in numbered.values())


def test_parts_follow_from_the_seed_alone() -> None:
    one, again, other = (part_public(public(), load_config([f"seed={seed}"])).validation for seed in (1, 1, 2))
    assert one is not None
    assert again is not None
    assert other is not None
    assert named(one) == named(again) != named(other)


def test_features_do_not_decide_who_is_kept() -> None:
    """A site and the server see other features of the same studies, and part them alike."""
    studies, config = public(), load_config([])
    seen = AnchorFeatures(studies.images * 0 + studies.patients[:, None] + 0.25, studies.reports, studies.patients)
    parts, others = part_public(studies, config), part_public(seen, config)
    assert parts.validation is not None
    assert others.validation is not None
    assert named(parts.validation) == named(others.validation)


def test_nothing_is_kept_where_nothing_is_asked_for() -> None:
    studies = public()
    anchors, validation = part_public(studies, load_config(["public_fit.validation_fraction=0"]))
    assert anchors is studies
    assert validation is None
    assert validation_from_arrays(validation_to_arrays(None)) is None


def test_fewer_than_could_tell_anything_are_not_kept() -> None:
    config = load_config(["public_fit.validation_fraction=0.1"])
    enough, few = (part_public(public(number), config) for number in (10 * LEAST_KEPT, 10 * LEAST_KEPT - 6))
    assert enough.validation is not None
    assert len(named(enough.validation)) == LEAST_KEPT
    assert few.validation is None
    assert len(named(few.anchors)) == 10 * LEAST_KEPT - 6


def test_validation_comes_back_from_a_bundle_as_it_was() -> None:
    validation = part_public(public(), load_config([])).validation
    assert validation is not None
    back = validation_from_arrays(from_safetensors(to_safetensors(validation_to_arrays(validation)), source="test"))
    assert back is not None
    for name in ("images", "reports", "patients"):
        assert torch.equal(getattr(back, name), getattr(validation, name))


@pytest.mark.parametrize("names", [("a", "b"), ()])
def test_labels_follow_their_studies_into_the_bundle_and_back(names: tuple[str, ...]) -> None:
    studies = public()
    numbers = studies.images.flatten(1)[:, 0]
    findings = [names[: int(number) % 3] for number in numbers]
    labelled = replace(studies, labels=Labels.of(findings, [f"{float(number)}" for number in numbers]))
    validation = part_public(labelled, load_config([])).validation
    assert validation is not None
    back = validation_from_arrays(from_safetensors(to_safetensors(validation_to_arrays(validation)), source="test"))
    assert back is not None
    assert back.labels is not None
    kept = validation.images.flatten(1)[:, 0]
    assert back.labels.findings_NF.sum(axis=1).tolist() == [len(names[: int(number) % 3]) for number in kept]
    same = back.labels.reports_N[:, None] == back.labels.reports_N[None, :]
    assert (same == (kept[:, None] == kept[None, :]).numpy()).all()


def test_bundle_of_an_older_wardround_has_no_labels() -> None:
    validation = part_public(public(), load_config([])).validation
    back = validation_from_arrays(validation_to_arrays(validation))
    assert back is not None
    assert back.labels is None


@pytest.mark.parametrize(
    "change",
    [
        {"patients": np.array([0, 0, 2], dtype=np.int64)},
        {"patients": np.array([0, 0, 0], dtype=np.int64)},
        {"patients": np.array([0, 1, 1], dtype=np.int32)},
        {"patients": np.array([0, 1], dtype=np.int64)},
        {"more": np.zeros(3)},
        {"findings": np.zeros((3, 2), bool)},
        {"texts": np.zeros(3, np.int64)},
        {"findings": np.zeros((3, 2)), "texts": np.zeros(3, np.int64)},
        {"findings": np.zeros((2, 2), bool), "texts": np.zeros(3, np.int64)},
        {"findings": np.zeros((3, 2), bool), "texts": np.zeros(3)},
    ],
)
def test_other_arrays_are_refused(change: dict[str, np.ndarray]) -> None:
    whole = {"images": np.zeros((3, 2)), "reports": np.zeros((3, 2)), "patients": np.array([0, 1, 1], dtype=np.int64)}
    assert validation_from_arrays(whole) is not None
    with pytest.raises(TrustError, match="public validation is none"):
        validation_from_arrays(whole | change)
