"""Training studies whose patients count as their groups do, in memory and on the disk."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from client.dp.records import PrivateStudies, Records
from client.site import Site
from client.store.rows import StoredRecords, StoredRows
from client.studies import by_group
from client.training.train import train
from common.config.load import load_config
from common.config.schema import RunConfig
from common.fairness.emphasis import cut_of
from common.types import StudyRecord
from common.wire.update import model_arrays

EMPHASIS = "mitigation.emphasis={White: 0.25, other: 0.5}"
RACES = ("White", "Samoan", "White", "Black", "White", None)
PATIENTS = torch.tensor([0, 0, 1, 2, 3, 4])
"""The first patient was recorded as of two groups."""
FACTORS = [0.5, 0.5, 0.25, 1.0, 0.25, 1.0]


def config(*overrides: str) -> RunConfig:
    return load_config([EMPHASIS, *overrides])


def records() -> list[StudyRecord]:
    named = zip(PATIENTS.tolist(), RACES, strict=True)
    return [StudyRecord(f"s{i}", f"p{patient}", "text", race=race) for i, (patient, race) in enumerate(named)]


def in_memory() -> Records:
    features = torch.arange(6.0)[:, None]
    return Records(features, features, PATIENTS)


def on_the_disk() -> StoredRecords:
    features = list(torch.arange(6.0)[:, None, None])
    return StoredRecords(StoredRows.in_memory(features), StoredRows.in_memory(features), PATIENTS)


KINDS = pytest.mark.parametrize("studies", [in_memory(), on_the_disk()], ids=["memory", "disk"])


@KINDS
def test_by_sampling_a_patient_stays_as_their_group_does(studies: PrivateStudies) -> None:
    found = by_group(studies, records(), config())
    assert found.kept is not None
    assert found.kept.tolist() == FACTORS
    assert found.weights is None
    assert found.stay_of_each().tolist() == [0.5, 0.25, 1.0, 0.25, 1.0]  # type: ignore[union-attr]


@KINDS
def test_by_weight_a_patient_is_weighed_as_their_group_is(studies: PrivateStudies) -> None:
    found = by_group(studies, records(), config("mitigation.emphasis_by=weight"))
    assert found.kept is None
    assert found.weights is not None
    assert found.weights.tolist() == FACTORS
    some = found.among(torch.tensor([2, 3, 5]), torch.tensor([0, 1, 2]))
    assert some.weight_of_each().tolist() == [0.25, 1.0, 1.0]  # type: ignore[union-attr]
    assert some.rows(slice(1, 3)).weights.tolist() == [1.0, 1.0]  # type: ignore[union-attr]


@KINDS
def test_without_emphasis_the_studies_are_the_very_same(studies: PrivateStudies) -> None:
    assert by_group(studies, records(), load_config()) is studies


@KINDS
def test_an_adversary_is_told_each_study_s_group_and_nobody_else(studies: PrivateStudies) -> None:
    found = by_group(studies, records(), load_config(["mitigation.adversary_weight=1"]))
    names = cut_of(load_config()).groups
    assert found.groups is not None
    assert [names[group] for group in found.groups.tolist()] == ["White", "other", "White", "Black", "White", "unknown"]
    assert found.among(torch.tensor([3, 5]), torch.tensor([0, 1])).rows(slice(1, 2)).groups.tolist() == [5]  # type: ignore[union-attr]
    assert found.kept is None
    assert found.weights is None


def test_weights_without_privacy_are_those_of_the_mean_gradient(tiny_site: Site) -> None:
    """Half the weight of everybody is half the first step, and the steps of two parts of the patients add up."""
    site = replace(
        tiny_site, config=replace(tiny_site.config, training=replace(tiny_site.config.training, steps_per_round=1))
    )
    start = model_arrays(site.model)
    assert isinstance(site.private, Records)

    def update(weights: torch.Tensor | None) -> torch.Tensor:
        private = site.private.by_group(kept=None, weights=weights)
        moved = train(replace(site, private=private), start, round_number=1)
        return torch.cat([torch.from_numpy(value).flatten() for value in moved.values()])

    patients = site.private.patients
    first = (patients < 6).double()
    whole, half = update(None), update(torch.full((len(patients),), 0.5, dtype=torch.float64))
    torch.testing.assert_close(half, whole / 2, rtol=1e-3, atol=1e-6)
    parts = [update(weights.clamp(min=1e-9)) for weights in (first, 1 - first)]
    torch.testing.assert_close(parts[0] + parts[1], whole, rtol=1e-3, atol=1e-6)
