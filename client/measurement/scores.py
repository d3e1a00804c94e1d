"""What scores a model gives to the pairs of held-out studies, in public bins.

A study's relevant pair is its image and its own report; its irrelevant pairs are that image and each public report. So
no patient's scores read another patient. How a similarity is read as a probability follows from public pairs and the
model alone (`common/fairness/score_scale.py`): pairs of public studies that no training saw where the run keeps some.

Shapes: N held-out studies, K anchors, V public studies, D embedding, B bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.site import Site
from common.encoders.dual import embed_in_batches
from common.fairness.score_scale import ScoreScale
from common.fairness.scores import BIN_EDGES, NUM_BINS, PairScores
from common.wire.update import NamedArrays, load_into

_MOST_OTHERS = 32
"""Other patients' reports that an image of a public pair is compared with, at most."""
_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of N studies, how many pairs of each kind lie in each bin.

    Attributes:
        relevant: `[N, B]`, one a study.
        irrelevant: `[N, B]`, K a study.
    """

    relevant: NDArray[np.int64]
    irrelevant: NDArray[np.int64]

    def of(self, studies: Sequence[int], *, patients: NDArray[np.str_]) -> PairScores:
        """Those of some studies, without noise: each patient counts one, however many of the studies are theirs.

        Args:
            studies: Which.
            patients: Of every study, `[N]`.
        """
        _, patient = np.unique(patients[studies], return_inverse=True)
        relevant, irrelevant = (_by_patient(kind[studies], patient) for kind in (self.relevant, self.irrelevant))
        return PairScores(relevant, irrelevant, np.zeros((2 * NUM_BINS, 2 * NUM_BINS)))


def scored_by(site: Site, arrays: NamedArrays) -> Scores:
    """The scores that a model gives to the site's held-out studies; the site's model is overwritten.

    Raises:
        AdmissionError: The arrays are not those of the site's model.
    """
    load_into(site.model, arrays)
    held_out, anchors, public = site.held_out, site.anchors, site.public_pairs
    if not held_out.records:
        nothing = np.zeros((0, NUM_BINS), dtype=np.int64)
        return Scores(relevant=nothing, irrelevant=nothing)
    seen, own = embed_in_batches(site.model, public.images, public.reports)
    scale = scale_of(seen.embedding, own.embedding, public.patients)
    image, report = embed_in_batches(site.model, held_out.images, held_out.reports)
    _, others = embed_in_batches(site.model, anchors.images, anchors.reports)
    return scores_of(scale, image.embedding, report.embedding, others.embedding)


def _by_patient(pairs_NB: NDArray[np.int64], patient_N: NDArray[np.intp]) -> NDArray[np.float64]:
    """The sum over patients of the shares of each one's pairs, `[B]`."""
    pairs_PB = np.zeros((int(patient_N.max(initial=-1)) + 1, NUM_BINS))
    np.add.at(pairs_PB, patient_N, pairs_NB)
    shares_B: NDArray[np.float64] = (pairs_PB / np.maximum(pairs_PB.sum(axis=1, keepdims=True), 1)).sum(axis=0)
    return shares_B


def scale_of(image_VD: Tensor, report_VD: Tensor, patients_V: Tensor) -> ScoreScale:
    """The curve through V public pairs: each image with its own report, and with others', spread over all of them."""
    relevant_V = (image_VD * report_VD).sum(dim=1)
    num = len(image_VD)
    shifts = np.unique(np.linspace(1, num - 1, min(_MOST_OTHERS, num - 1), dtype=np.int64)).tolist() if num > 1 else []
    irrelevant = [
        (image_VD * report_VD.roll(-shift, dims=0)).sum(dim=1).cpu()[patients_V.cpu() != patients_V.cpu().roll(-shift)]
        for shift in shifts
    ]
    found = torch.cat(irrelevant) if irrelevant else torch.zeros(0)
    if not len(found):
        return ScoreScale(0.0, 0.0)
    return ScoreScale.of_pairs(relevant_V.cpu().double().numpy(), found.double().numpy())


def scores_of(scale: ScoreScale, image_ND: Tensor, report_ND: Tensor, public_KD: Tensor) -> Scores:
    """The scores of N studies among their own and K public reports."""
    own_N1 = (image_ND * report_ND).sum(dim=1, keepdim=True)
    # Some at a time: N and K are tens of thousands at a large hospital.
    others = [_in_bins(scale, images @ public_KD.T) for images in image_ND.split(_AT_ONCE)]
    return Scores(relevant=_in_bins(scale, own_N1), irrelevant=np.concatenate(others))


def _in_bins(scale: ScoreScale, similarity_NK: Tensor) -> NDArray[np.int64]:
    """How many of each study's pairs lie in each bin, `[N, B]`."""
    probability_NK = scale.probability(similarity_NK.cpu().double().numpy())
    bin_NK = np.searchsorted(np.array(BIN_EDGES), probability_NK, side="right")
    counts = [(bin_NK == bin_).sum(axis=1) for bin_ in range(NUM_BINS)]
    return np.stack(counts, axis=1).astype(np.int64)
