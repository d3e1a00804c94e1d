"""Noised statistics: what they count, that one patient moves them by a bounded step, and what the ledger is charged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from client.measurement.noised_statistics import Counts, Found, count, find, found_by, noised_statistics
from client.site import HeldOut, Site
from common.config.load import load_config
from common.encoders.dual import Embedded, embed_in_batches
from common.privacy.accountant import epsilon_of
from common.privacy.count_noise import UNITS, LaplaceCountNoise
from common.privacy.held_out import noise_of
from common.privacy.keystream import KEY_BYTES, Keystream
from common.privacy.mechanisms import DiscreteLaplaceMechanism
from common.retrieval.paired import CELLS
from common.types import StudyRecord
from common.wire.update import NamedArrays, load_into, model_arrays


def count_noise(noise_scale: float, key: int = 0) -> LaplaceCountNoise:
    return LaplaceCountNoise(
        vectors=2,
        laplace=DiscreteLaplaceMechanism(
            noise_scale=noise_scale, sensitivity=UNITS, stream=lambda: Keystream(bytes([key] * KEY_BYTES))
        ),
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


@pytest.fixture
def trained(site: Site) -> NamedArrays:
    """Another model than the start."""
    generator = torch.Generator().manual_seed(6)
    moved = {name: 0.3 * torch.randn(value.shape, generator=generator).numpy() for name, value in site.start.items()}
    return {name: value + moved[name].astype(value.dtype) for name, value in site.start.items()}


def counts_of(site: Site, arrays: NamedArrays) -> Counts:
    """The exact counts of the start and of another model."""
    start, final = found_by(site, site.start), found_by(site, arrays)
    return count(start, final, patients=[record.patient_id for record in site.held_out.records])


def told_by(site: Site, arrays: NamedArrays, noise: LaplaceCountNoise) -> dict[str, Any]:
    """What a site tells of another model than the start."""
    return noised_statistics(site, found_by(site, site.start), found_by(site, arrays), noise, round_number=3)


def found_by_loop(site: Site, model: NamedArrays) -> list[tuple[bool, bool]]:
    """Whether each study is found by embedding and by code, one study at a time."""
    load_into(site.model, model)
    image, report = embed_in_batches(site.model, site.held_out.images, site.held_out.reports)
    _, public = embed_in_batches(site.model, site.anchors.images, site.anchors.reports)
    found = []
    for n in range(len(site.held_out.records)):
        nearer = [
            float(image.embedding[n] @ row) >= float(image.embedding[n] @ report.embedding[n])
            for row in public.embedding
        ]
        own = int(((image.code[n] > 0) != (report.code[n] > 0)).sum())
        as_near = [int(((image.code[n] > 0) != (row > 0)).sum()) <= own for row in public.code]
        found.append((sum(nearer) < 10, sum(as_near) < 10))
    return found


def counted_by_loop(site: Site, final: NamedArrays) -> Counts:
    """The same counts, patient by patient."""
    at_start, at_end = found_by_loop(site, site.start), found_by_loop(site, final)
    of_patient: dict[str, list[int]] = {}
    for n, record in enumerate(site.held_out.records):
        of_patient.setdefault(record.patient_id, []).append(n)
    cells = dict.fromkeys(("both", "start_only", "final_only", "neither", "by_code"), 0)
    for studies in of_patient.values():
        first, last = (sum(which[n][0] for n in studies) for which in (at_start, at_end))
        both = sum(at_start[n][0] and at_end[n][0] for n in studies)
        parts = [UNITS * number // len(studies) for number in (both, first - both, last - both)]
        for name, part in zip(("both", "start_only", "final_only"), parts, strict=True):
            cells[name] += part
        cells["neither"] += UNITS - sum(parts)
        cells["by_code"] += UNITS * sum(at_end[n][1] for n in studies) // len(studies)
    return Counts(**cells)


def test_counts_equal_a_loop_over_studies(site: Site, trained: NamedArrays) -> None:
    found = counts_of(site, trained)
    assert found == counted_by_loop(site, trained)
    assert min(found.start_only, found.final_only, found.both, found.neither) > 0, "each cell is tried"


def test_start_against_itself_gains_and_loses_nothing(site: Site) -> None:
    found = counts_of(site, site.start)
    assert (found.start_only, found.final_only) == (0, 0)


def hubs() -> tuple[Tensor, Tensor, Tensor]:
    """Images and reports of 20 patients, and 40 public reports: ten patients' reports are near to every image.

    The own report of each of the other ten comes eleventh after them, and tenth where one of them is gone.
    """
    own = torch.eye(10)
    hub = normalize(torch.ones(10, 10) + 1e-3 * torch.randn(10, 10, generator=torch.Generator().manual_seed(0)), dim=1)
    aside = normalize(torch.randn(40, 10, generator=torch.Generator().manual_seed(1)), dim=1)
    return torch.cat([own, hub]), torch.cat([0.2 * own - 0.05 * (1 - own), hub]), aside


def found_among_public(images: Tensor, reports: Tensor, public: Tensor, kept: list[int]) -> Found:
    image, report = (Embedded(half[kept], half[kept]) for half in (images, reports))
    return find(image, report, Embedded(public, public))


def cells_among_public(images: Tensor, reports: Tensor, public: Tensor, kept: list[int]) -> NDArray[np.int64]:
    """The counts of two models: one sees the images as they are, the other turned around."""
    start = found_among_public(images, reports, public, kept)
    final = found_among_public(-images, reports, public, kept)
    found = count(start, final, patients=[str(n) for n in kept])
    return np.array([found.both, found.start_only, found.final_only, found.neither])


def cells_among_one_another(images: Tensor, reports: Tensor, public: Tensor, kept: list[int]) -> NDArray[np.int64]:  # noqa: ARG001
    """The variant that is not sound: patients are looked up among one another's reports."""
    similarity = images[kept] @ reports[kept].T
    before = (similarity >= similarity.diagonal()[:, None]).sum(dim=1) - 1
    found = int((before < 10).sum())
    return UNITS * np.array([found, 0, 0, len(kept) - found])


def widest_move(counted: Callable[..., NDArray[np.int64]]) -> int:
    """How far removing one patient moves the four counts altogether."""
    whole = counted(*hubs(), list(range(20)))
    return max(int(np.abs(whole - counted(*hubs(), [n for n in range(20) if n != gone])).sum()) for gone in range(20))


def test_one_patient_moves_the_four_counts_by_the_sensitivity_altogether() -> None:
    assert widest_move(cells_among_public) == UNITS


def test_counts_in_the_sites_own_gallery_would_move_further() -> None:
    assert widest_move(cells_among_one_another) > UNITS


def test_patient_of_many_studies_moves_the_counts_no_further(site: Site, trained: NamedArrays) -> None:
    rest = held_out(site.held_out.images[3:], site.held_out.reports[3:], list(range(1, 20)))
    whole, without = counts_of(site, trained), counts_of(replace(site, held_out=rest), trained)
    moved = {name: value - vars(without)[name] for name, value in vars(whole).items()}
    assert 0 <= moved.pop("by_code") <= UNITS
    assert sum(moved.values()) == UNITS
    assert min(moved.values()) >= 0


def test_figures_come_from_the_noised_counts_alone(site: Site, trained: NamedArrays) -> None:
    exact, noise = counts_of(site, trained), count_noise(0.1)
    found = told_by(site, trained, noise)
    both, start_only, final_only, neither, by_code = (
        noise.laplace.noised(np.array([exact.both, exact.start_only, exact.final_only, exact.neither, exact.by_code]))
        / UNITS
    )
    patients = both + start_only + final_only + neither
    assert found["paired"] == {"both": both, "start_only": start_only, "final_only": final_only, "neither": neither}
    assert found["metrics"]["recall_at_10"] == min(max((both + final_only) / patients, 0), 1)
    assert found["start_metrics"]["recall_at_10"] == min(max((both + start_only) / patients, 0), 1)
    assert found["codes"]["recall_at_10"] == min(max(by_code / patients, 0), 1)
    assert found["gallery"] == 31


@pytest.mark.parametrize("key", range(8))
def test_figures_stay_in_form_under_any_noise(site: Site, key: int) -> None:
    found = told_by(site, model_arrays(site.model), count_noise(30.0, key))
    assert found["paired"].keys() == set(CELLS)
    if found.keys() == {"paired"}:
        return
    for part in ("metrics", "codes"):
        assert 0 <= found[part]["recall_at_10"] <= 1
    low, high = found["intervals"]["recall_at_10"]
    assert 0 <= low <= found["metrics"]["recall_at_10"] <= high <= 1


def test_of_too_few_patients_the_counts_are_told_and_no_figure(site: Site) -> None:
    few = replace(site, held_out=held_out(site.held_out.images[:4], site.held_out.reports[:4], [0, 1, 2, 3]))
    assert told_by(few, model_arrays(site.model), count_noise(0.1)).keys() == {"paired"}


def test_one_release_spends_the_runs_epsilon() -> None:
    noise = noise_of(load_config(["evaluation.epsilon=1.5"]))
    assert noise is not None
    spent = epsilon_of([noise.event], delta=1e-9)
    assert spent == pytest.approx(1.5, rel=1e-6)
    assert noise_of(load_config([])) is None


def test_variance_is_that_of_the_noise_in_patients() -> None:
    noise = noise_of(load_config(["evaluation.epsilon=1.5"]))
    assert isinstance(noise, LaplaceCountNoise)
    drawn = noise.laplace.noised(np.zeros(200_000, dtype=np.int64)) / UNITS
    assert drawn.var() == pytest.approx(noise.variance, rel=0.03)
