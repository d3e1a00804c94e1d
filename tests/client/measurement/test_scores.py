"""Scores of pairs: those of a loop, in bins that public pairs alone decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from client.measurement import scores
from client.measurement.scores import Scores, scored_by, scores_of
from client.site import HeldOut, Site
from common.encoders.public_fit import AnchorFeatures
from common.fairness.score_scale import ScoreScale
from common.fairness.scores import BIN_EDGES, NUM_BINS
from common.wire.update import model_arrays


def test_scores_are_those_of_a_loop_over_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    image, report, public = (normalize(torch.randn(n, 5, generator=generator), dim=1) for n in (300, 300, 9))
    scale = ScoreScale(4.0, -0.5)
    found = scores_of(scale, image, report, public)
    for n in (0, 17, 255, 256, 299):
        irrelevant = np.zeros(NUM_BINS, dtype=int)
        for other in public:
            probability = 1 / (1 + np.exp(-(4.0 * float(image[n] @ other) - 0.5)))
            irrelevant[sum(probability >= edge for edge in BIN_EDGES)] += 1
        own = 1 / (1 + np.exp(-(4.0 * float(image[n] @ report[n]) - 0.5)))
        assert found.irrelevant[n].tolist() == irrelevant.tolist()
        assert found.relevant[n].argmax() == sum(own >= edge for edge in BIN_EDGES)
    assert found.relevant.sum(axis=1).tolist() == [1] * 300


def test_exact_scores_of_studies_count_each_patient_once() -> None:
    relevant = np.eye(NUM_BINS, dtype=np.int64)[[0, 5, 5, 2]]
    found = Scores(relevant=relevant, irrelevant=7 * relevant).of([0, 1, 2], patients=np.array(["a", "a", "b", "c"]))
    assert found.relevant.tolist() == [0.5, 0, 0, 0, 0, 1.5]
    assert found.irrelevant.tolist() == found.relevant.tolist()
    assert not found.covariance.any()
    nobody = Scores(relevant=relevant, irrelevant=relevant).of([], patients=np.array(["a", "a", "b", "c"]))
    assert not nobody.speak


@pytest.fixture
def telling_site(tiny_site: Site) -> Site:
    """A site whose model tells right pairs: both towers are one, and reports are nearly their images."""
    tiny_site.model.report_tower.load_state_dict(tiny_site.model.image_tower.state_dict())
    generator = torch.Generator().manual_seed(3)

    def near(images: torch.Tensor) -> torch.Tensor:
        return images + 0.8 * torch.randn(images.shape, generator=generator)

    held_out, public = tiny_site.held_out.images[:], tiny_site.public_pairs.images
    return replace(
        tiny_site,
        start=model_arrays(tiny_site.model),
        held_out=HeldOut(held_out, near(held_out), tiny_site.held_out.records),
        public_pairs=AnchorFeatures(public, near(public), tiny_site.public_pairs.patients),
    )


def scored_without_the_first(site: Site) -> tuple[Scores, Scores]:
    held_out = site.held_out
    without = HeldOut(held_out.images[1:], held_out.reports[1:], held_out.records[1:])
    return scored_by(site, site.start), scored_by(replace(site, held_out=without), site.start)


def test_patients_scores_read_no_other_patient(telling_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sensitivity rests on it: a variant whose scale is fitted to the held-out pairs is caught."""
    whole, rest = scored_without_the_first(telling_site)
    assert len(np.unique(whole.relevant.argmax(axis=1))) > 2, "the scale tells pairs apart"
    assert (whole.relevant[1:] == rest.relevant).all()
    assert (whole.irrelevant[1:] == rest.irrelevant).all()

    real = scores.scores_of

    def fitted_to_patients(_: ScoreScale, image: torch.Tensor, report: torch.Tensor, public: torch.Tensor) -> Scores:
        similarity = (image @ report.T).double().numpy()
        off = similarity[~np.eye(len(similarity), dtype=bool)]
        return real(ScoreScale.of_pairs(np.diag(similarity), off), image, report, public)

    monkeypatch.setattr(scores, "scores_of", fitted_to_patients)
    whole, rest = scored_without_the_first(telling_site)
    assert (whole.irrelevant[1:] != rest.irrelevant).any()


def test_scale_is_that_of_public_pairs_and_of_no_patient_with_themselves(
    tiny_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Public studies of two patients, turn by turn: no pair of the same patient's counts as irrelevant."""
    seen: list[tuple[int, int]] = []
    real = ScoreScale.of_pairs

    def noted(relevant: np.ndarray, irrelevant: np.ndarray) -> ScoreScale:  # type: ignore[type-arg]
        seen.append((len(relevant), len(irrelevant)))
        return real(relevant, irrelevant)

    monkeypatch.setattr(ScoreScale, "of_pairs", noted)
    anchors = tiny_site.anchors
    two = AnchorFeatures(anchors.images[:6], anchors.reports[:6], torch.arange(6) % 2)
    scored_by(replace(tiny_site, public_pairs=two), tiny_site.start)
    assert seen == [(6, 6 * 3)]  # five shifts, of which the odd ones meet the other patient


def test_site_without_held_out_patients_and_without_other_public_patients(tiny_site: Site) -> None:
    nobody = HeldOut(tiny_site.held_out.images[:0], tiny_site.held_out.reports[:0], ())
    assert scored_by(replace(tiny_site, held_out=nobody), tiny_site.start).relevant.shape == (0, NUM_BINS)
    anchors = tiny_site.anchors
    alone = AnchorFeatures(anchors.images[:1], anchors.reports[:1], torch.zeros(1, dtype=torch.int64))
    found = scored_by(replace(tiny_site, public_pairs=alone), tiny_site.start)
    assert (found.relevant.argmax(axis=1) == BIN_EDGES.index(0.5) + 1).all(), "all pairs one half"
