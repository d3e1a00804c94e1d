"""What a site may tell of its held-out patients in earnest: whether the run helped them, as noised counts.

Each held-out patient's images are looked up among the *public anchors'* reports and their own report, so that no
patient's figure reads another patient: in a gallery of the site's own reports, removing one patient would move the rank
of every other. It is done by the model that the run began with and by the one that it ended with, in one release.

Guarantee: the release is `evaluation.epsilon`-differentially private for each held-out patient, at the delta of its
    noise (`common/privacy/held_out.py`).
Unit of privacy: the patient. A patient's share of found studies counts, in `UNITS` parts, whatever their number.
Neighbouring relation: add or remove one patient.
Sensitivity: two vectors. A patient's parts are spread over four counts (found by both models, by one, by the other,
    by neither), which they move by `UNITS` altogether: Laplace noise for that sensitivity in each of them spends the
    epsilon of one value (Dwork et al., TCC 2006, doi:10.1007/11681878_14, for the L1 norm), and in the L2 norm they
    move no further. One count says how many parts the final model's codes find, and is moved by at most `UNITS`. The
    number of patients is the sum of the four: it costs nothing.
Edge cases: where the noised number of patients is below `evaluation.least_group` the counts are told for the sum over
    the hospitals, and no figure of the site's own; that is decided on the noised number, so it costs nothing. Left out
    of the sum, small sites would bias it, and what others share of their noise would stay in it. Rates are cut to
    [0, 1]: post-processing.

Shapes: N held-out studies, K anchors, D embedding, P patients.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.dp.round_noise import RoundNoise
from client.measurement.draw_counts import drawn
from client.site import Site
from common.encoders.dual import Embedded, embed_in_batches
from common.privacy.count_noise import UNITS, CountNoise
from common.retrieval.paired import CELLS, Estimate, Paired, rate_of
from common.wire.update import NamedArrays, load_into

FIRST_RANKS = 10
_QUERIES_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class Found:
    """Which of N held-out studies a model finds among the first ten.

    Attributes:
        rank: Of each study's own report by embedding, from 1, `[N]`.
        by_code: `[N]`.
    """

    rank: NDArray[np.int64]
    by_code: NDArray[np.bool_]

    @property
    def by_embedding(self) -> NDArray[np.bool_]:
        """`[N]`."""
        found: NDArray[np.bool_] = self.rank <= FIRST_RANKS
        return found


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Sums over the held-out patients, in `UNITS` a patient.

    Attributes:
        both: Found by start and final model, by embedding.
        start_only: By the start alone.
        final_only: By the final model alone.
        neither: By neither; each patient's parts in the four are `UNITS`.
        by_code: Found by the final model's codes.
    """

    both: int
    start_only: int
    final_only: int
    neither: int
    by_code: int


def noised_statistics(
    site: Site,
    start: Found,
    final: Found,
    noise: CountNoise,
    *,
    round_number: int,
    round_noise: RoundNoise | None = None,
) -> dict[str, Any]:
    """Counts, and recall at 10 among the public reports, at the run's start and now; counts alone of too few patients.

    Args:
        site: The site.
        start: What the model that the run began with finds of its held-out studies.
        final: What the last one finds.
        noise: Its event was reserved before.
        round_number: The round.
        round_noise: What other sites share of it; None where all of it is the site's own.

    Raises:
        LedgerError: The noise is to be shared, and with whom was not said.
    """
    patients = [record.patient_id for record in site.held_out.records]
    exact = np.array(astuple(count(start, final, patients=patients)), dtype=np.int64)
    values = drawn(site, exact, noise, round_number=round_number, round_noise=round_noise).tolist()
    *cells, by_code = values
    told = dict(zip(CELLS, cells, strict=True))
    variance = noise.variance
    paired = Paired(**told, noise_variance=variance)
    if paired.num_patients < site.config.evaluation.least_group:
        return {"paired": told}
    # The codes' own count, and the four that make the divisor: V (1 + 4 p^2).
    codes = rate_of(
        by_code / paired.num_patients,
        num_patients=paired.num_patients,
        noise=(1.0, 0.0, 4.0),
        variance=variance,
    )
    gallery = len(site.anchors.images) + 1
    return {
        "brief": {"recall_at_10": paired.final().value, "codes_recall_at_10": codes.value},
        "start_metrics": {"recall_at_10": paired.start().value},
        "metrics": {"recall_at_10": paired.final().value},
        "intervals": {"recall_at_10": _ends(paired.final())},
        "codes": {"recall_at_10": codes.value},
        "code_intervals": {"recall_at_10": _ends(codes)},
        "paired": told,
        "groups": [],
        "gallery": gallery,
        "chance_recall_at_10": min(FIRST_RANKS / gallery, 1.0),
    }


def count(start: Found, final: Found, *, patients: list[str]) -> Counts:
    """The exact counts of N studies, whose patients are named; they stay at the site."""
    cells = {
        "both": start.by_embedding & final.by_embedding,
        "start_only": start.by_embedding & ~final.by_embedding,
        "final_only": ~start.by_embedding & final.by_embedding,
    }
    sums = {name: _sum_over_patients(cell, patients) for name, cell in cells.items()}
    return Counts(
        **sums,
        neither=UNITS * len(set(patients)) - sum(sums.values()),
        by_code=_sum_over_patients(final.by_code, patients),
    )


def find(image: Embedded, report: Embedded, public: Embedded) -> Found:
    """What is found of N studies among their own and K public reports."""
    return Found(
        rank=_ranks(image.embedding, report.embedding, public.embedding),
        by_code=_ranks(_signs(image), _signs(report), _signs(public)) <= FIRST_RANKS,
    )


def found_by(site: Site, arrays: NamedArrays) -> Found:
    """What a model finds of the site's held-out studies; the site's model is overwritten.

    Raises:
        AdmissionError: The arrays are not those of the site's model.
    """
    load_into(site.model, arrays)
    held_out, anchors = site.held_out, site.anchors
    if not held_out.records:
        return Found(rank=np.zeros(0, dtype=np.int64), by_code=np.zeros(0, dtype=np.bool_))
    image, report = embed_in_batches(site.model, held_out.images, held_out.reports)
    _, public = embed_in_batches(site.model, anchors.images, anchors.reports)
    return find(image, report, public)


def _ranks(image_ND: Tensor, report_ND: Tensor, public_KD: Tensor) -> NDArray[np.int64]:
    """One more than the public reports that are at least as near to an image as its own report; `[N]`."""
    own_N1 = (image_ND * report_ND).sum(dim=1, keepdim=True)
    # Some at a time: N and K are tens of thousands at a large hospital.
    parts = zip(image_ND.split(_QUERIES_AT_ONCE), own_N1.split(_QUERIES_AT_ONCE), strict=True)
    before_N = torch.cat([(images @ public_KD.T >= own).sum(dim=1) for images, own in parts])
    rank_N: NDArray[np.int64] = (before_N + 1).cpu().numpy()
    return rank_N


def _signs(embedded: Embedded) -> Tensor:
    """Codes as +1 and -1: their product falls as the Hamming distance grows."""
    return torch.where(embedded.code > 0, 1.0, -1.0)


def _sum_over_patients(found_N: NDArray[np.bool_], patients: list[str]) -> int:
    """Sum of each patient's share of found studies, rounded down to `UNITS` parts."""
    if not patients:
        return 0
    names, of_study_N = np.unique(np.asarray(patients), return_inverse=True)
    hits_P = np.bincount(of_study_N, weights=found_N, minlength=len(names)).astype(np.int64)
    studies_P = np.bincount(of_study_N, minlength=len(names))
    return int((UNITS * hits_P // studies_P).sum())


def _ends(estimate: Estimate) -> list[float]:
    return [estimate.interval.low, estimate.interval.high]
