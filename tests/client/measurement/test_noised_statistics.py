"""Noised statistics: what they count, that one patient moves them by a bounded step, and what the ledger is charged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from client.measurement.noised_statistics import (
    FIGURES,
    MEASUREMENTS,
    UNITS,
    Counts,
    count,
    counts_of,
    noise_of,
    noised_statistics,
)
from client.site import HeldOut, Site
from common.config.load import load_config
from common.encoders.dual import Embedded, embed_in_batches
from common.privacy.accountant import epsilon_of
from common.privacy.keystream import KEY_BYTES, Keystream
from common.privacy.mechanisms import DiscreteLaplaceMechanism
from common.types import StudyRecord
from common.wire.update import model_arrays


def mechanism(noise_scale: float, key: int = 0) -> DiscreteLaplaceMechanism:
    return DiscreteLaplaceMechanism(
        noise_scale=noise_scale, sensitivity=UNITS, stream=lambda: Keystream(bytes([key] * KEY_BYTES))
    )


def held_out(images: Tensor, reports: Tensor, patients: list[int]) -> HeldOut:
    records = tuple(StudyRecord(f"s{n}", f"p{patient}", f"r{n}") for n, patient in enumerate(patients))
    return HeldOut(images, reports, records)


@pytest.fixture
def site(tiny_site: Site) -> Site:
    """Twenty patients, the first with three studies."""
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(22, 12, generator=generator)
    noise = torch.randn(22, 12, generator=generator)
    return replace(tiny_site, held_out=held_out(features, features + noise, [0, 0, 0, *range(1, 20)]))


def counted_by_loop(site: Site) -> Counts:
    """The same counts, one study at a time."""
    image, report = embed_in_batches(site.model, site.held_out.images, site.held_out.reports)
    _, public = embed_in_batches(site.model, site.anchors.images, site.anchors.reports)
    shares: dict[str, list[tuple[bool, bool]]] = {}
    for n, record in enumerate(site.held_out.records):
        nearer = [
            float(image.embedding[n] @ row) >= float(image.embedding[n] @ report.embedding[n])
            for row in public.embedding
        ]
        own = int(((image.code[n] > 0) != (report.code[n] > 0)).sum())
        as_near = [int(((image.code[n] > 0) != (row > 0)).sum()) <= own for row in public.code]
        shares.setdefault(record.patient_id, []).append((sum(nearer) < 10, sum(as_near) < 10))
    by_embedding, by_code = (
        sum(UNITS * sum(study[way] for study in studies) // len(studies) for studies in shares.values())
        for way in (0, 1)
    )
    return Counts(by_embedding, by_code, UNITS * len(shares))


def test_counts_equal_a_loop_over_studies(site: Site) -> None:
    found = counts_of(site)
    assert found == counted_by_loop(site)
    assert 0 < found.found < found.asked == 20 * UNITS


def hubs() -> tuple[Tensor, Tensor, Tensor]:
    """Images and reports of 20 patients, and 40 public reports: ten patients' reports are near to every image.

    The own report of each of the other ten comes eleventh after them, and tenth where one of them is gone.
    """
    own = torch.eye(10)
    hub = normalize(torch.ones(10, 10) + 1e-3 * torch.randn(10, 10, generator=torch.Generator().manual_seed(0)), dim=1)
    aside = normalize(torch.randn(40, 10, generator=torch.Generator().manual_seed(1)), dim=1)
    return torch.cat([own, hub]), torch.cat([0.2 * own - 0.05 * (1 - own), hub]), aside


def among_public(images: Tensor, reports: Tensor, public: Tensor, kept: list[int]) -> int:
    image, report = (Embedded(half[kept], half[kept]) for half in (images, reports))
    return count(image, report, Embedded(public, public), patients=[str(n) for n in kept]).found


def among_one_another(images: Tensor, reports: Tensor, public: Tensor, kept: list[int]) -> int:  # noqa: ARG001
    """The variant that is not sound: patients are looked up among one another's reports."""
    similarity = images[kept] @ reports[kept].T
    before = (similarity >= similarity.diagonal()[:, None]).sum(dim=1) - 1
    return UNITS * int((before < 10).sum())


def widest_move(counted: Callable[..., int]) -> int:
    """How far removing one patient moves a count."""
    whole = counted(*hubs(), list(range(20)))
    return max(abs(whole - counted(*hubs(), [n for n in range(20) if n != gone])) for gone in range(20))


def test_one_patient_moves_a_count_by_at_most_the_sensitivity() -> None:
    assert widest_move(among_public) == UNITS


def test_counts_in_the_sites_own_gallery_would_move_further() -> None:
    assert widest_move(among_one_another) > UNITS


def test_patient_of_many_studies_moves_a_count_no_further(site: Site) -> None:
    rest = held_out(site.held_out.images[3:], site.held_out.reports[3:], list(range(1, 20)))
    whole, without = counts_of(site), counts_of(replace(site, held_out=rest))
    assert all(0 <= a - b <= UNITS for a, b in zip(vars(whole).values(), vars(without).values(), strict=True))
    assert whole.asked - without.asked == UNITS


def test_rates_come_from_the_noised_counts_alone(site: Site) -> None:
    arrays, exact = model_arrays(site.model), counts_of(site)
    noise = mechanism(0.1)
    found = noised_statistics(site, arrays, noise)
    values = noise.noised(np.array([exact.found, exact.found_by_code, exact.asked]))
    assert found is not None
    assert found["brief"]["recall_at_10"] == min(max(values[0] / values[2], 0), 1)
    assert found["codes"]["recall_at_10"] == min(max(values[1] / values[2], 0), 1)
    assert found["gallery"] == 31


@pytest.mark.parametrize("key", range(8))
def test_figures_stay_in_form_under_any_noise(site: Site, key: int) -> None:
    found = noised_statistics(site, model_arrays(site.model), mechanism(30.0, key))
    if found is None:
        return
    for part in ("metrics", "codes"):
        assert 0 <= found[part]["recall_at_10"] <= 1
    low, high = found["intervals"]["recall_at_10"]
    assert 0 <= low <= found["metrics"]["recall_at_10"] <= high <= 1


def test_too_few_patients_are_not_spoken_of(site: Site) -> None:
    few = replace(site, held_out=held_out(site.held_out.images[:4], site.held_out.reports[:4], [0, 1, 2, 3]))
    assert noised_statistics(few, model_arrays(site.model), mechanism(0.1)) is None


def test_noise_spends_the_runs_epsilon_over_all_measurements() -> None:
    noise = noise_of(load_config(["evaluation.epsilon=1.5"]))
    assert noise is not None
    spent = epsilon_of([noise.event(FIGURES)] * MEASUREMENTS, delta=1e-9)
    assert spent == pytest.approx(1.5, rel=1e-6)
    assert noise_of(load_config([])) is None
