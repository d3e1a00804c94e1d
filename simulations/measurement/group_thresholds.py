"""What thresholds by group do for decisions about patients who did not set them.

Half of each hospital's held-out patients tell their scores as in a run (`client/measurement/group_counts.py`), with
Laplace noise of the hospital's own for `fairness.epsilon`. The thresholds are read off the sum of what was told. Then
the other half's pairs are decided, at the one public threshold and at those: exact figures: simulation only.

Shapes: N held-out studies, Q of them that are decided about, K public reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.measurement.group_counts import group_counts
from client.measurement.noised_statistics import FIRST_RANKS, Found
from client.measurement.scores import Scores, scale_of, scores_of
from client.site import HeldOut
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, embed_in_batches
from common.encoders.public_fit import AnchorFeatures
from common.encoders.public_parts import PublicParts
from common.fairness.emphasis import cut_of
from common.fairness.scores import OPERATING_PROBABILITY, PairScores
from common.fairness.table import TableForm
from common.fairness.thresholds import GroupThreshold, thresholds_of
from common.privacy.count_noise import UNITS, LaplaceCountNoise, laplace_noise
from common.seeds import numpy_generator
from common.types import StudyRecord
from server.report.fairness.group_table import GroupTable
from simulations.measurement.group_gap import Hits, Queries
from simulations.studies.consortium import site_of


@dataclass(frozen=True)
class Decisions:
    """What is found at some threshold.

    Attributes:
        true: Whether each image's pair with its own report is, `[Q]`.
        false: The share of its pairs with public reports that is, `[Q]`.
    """

    true: Hits
    false: Hits

    def as_json(self) -> dict[str, list[float]]:
        """A plain JSON object."""
        return {name: [round(float(value), 6) for value in getattr(self, name)] for name in ("true", "false")}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Decisions with and without thresholds by group.

    Attributes:
        thresholds: Of each group.
        public: At the one public threshold.
        own: At each group's own.
    """

    thresholds: dict[str, GroupThreshold]
    public: Decisions
    own: Decisions

    def as_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        thresholds = {name: one.as_json() for name, one in self.thresholds.items()}
        return {"thresholds": thresholds, "public": self.public.as_json(), "own": self.own.as_json()}


def decided_about(records: Sequence[StudyRecord], config: RunConfig) -> Queries:
    """The images of held-out studies that a trial decides about: those of the patients who set no threshold."""
    cut, kept = cut_of(config), np.flatnonzero(~_sets(records, config)).tolist()
    return Queries(
        np.array([records[row].patient_id for row in kept]),
        np.array([cut.groups[cut.group_of(records[row])] for row in kept]),
    )


def threshold_trial(model: DualEncoder, held_out: HeldOut, public: PublicParts, config: RunConfig) -> Trial | None:
    """Set thresholds by half of the patients, and decide about the other half.

    Args:
        model: It scores the pairs.
        held_out: Studies of all hospitals.
        public: What says what a score means, and the reports of the wrong pairs.
        config: Its `mitigation.attribute` says which groups there are.

    Returns:
        The decisions, in the order of `decided_about`; None where a run tells no scores: without `fairness.epsilon`.
    """
    if config.fairness.epsilon is None:
        return None
    image_ND, report_ND = _embeddings(model, held_out)
    scale = scale_of(*_embeddings(model, public.unseen), public.unseen.patients)
    _, public_KD = _embeddings(model, public.anchors)
    scores = scores_of(scale, image_ND, report_ND, public_KD)
    thresholds = _thresholds(held_out.records, scores, config, epsilon=config.fairness.epsilon)
    groups = decided_about(held_out.records, config).groups
    kept = ~_sets(held_out.records, config)
    true_Q = scale.probability(_numbers((image_ND * report_ND).sum(dim=1))[kept])
    false_QK = scale.probability(_numbers(image_ND[torch.from_numpy(kept)] @ public_KD.T))

    def decisions(from_Q: Hits) -> Decisions:
        return Decisions((true_Q >= from_Q).astype(np.float64), (false_QK >= from_Q[:, None]).mean(axis=1))

    return Trial(
        thresholds=thresholds,
        public=decisions(np.full(len(groups), OPERATING_PROBABILITY)),
        own=decisions(np.array([thresholds[group].value for group in groups])),
    )


def _thresholds(
    records: Sequence[StudyRecord], scores: Scores, config: RunConfig, *, epsilon: float
) -> dict[str, GroupThreshold]:
    """What follows from the sum of what the hospitals tell of the patients who set thresholds."""
    cut, sets_N = cut_of(config), _sets(records, config)
    form = TableForm((cut,), (cut,))
    noise = laplace_noise(epsilon, vectors=form.num_vectors)
    sites = np.array([site_of(record) for record in records])
    told = [_told(form, records, scores, np.flatnonzero(sets_N & (sites == site)), noise) for site in np.unique(sites)]
    table = GroupTable.consistent(form, np.sum(told, axis=0), variance=len(told) * noise.variance)
    return thresholds_of(
        {name: table.scores(number) or PairScores.zero() for number, name in enumerate(cut.groups)},
        least_patients=config.evaluation.least_group,
        generator=numpy_generator(config.seed, "thresholds", "draws"),
    )


def _told(
    form: TableForm, records: Sequence[StudyRecord], scores: Scores, rows: NDArray[np.int64], noise: LaplaceCountNoise
) -> NDArray[np.float64]:
    """What a hospital tells of some of its studies, in patients; that nobody is found among ten takes no part here."""
    found = Found(rank=np.full(len(rows), FIRST_RANKS + 1), by_code=np.zeros(len(rows), dtype=np.bool_))
    own = Scores(relevant=scores.relevant[rows], irrelevant=scores.irrelevant[rows])
    exact = group_counts(form, found, found, own, records=[records[row] for row in rows])
    return noise.laplace.noised(exact) / UNITS


def _sets(records: Sequence[StudyRecord], config: RunConfig) -> NDArray[np.bool_]:
    """Whether each study's patient is of the half that sets thresholds, `[N]`; the seed draws them."""
    patients, patient_N = np.unique([record.patient_id for record in records], return_inverse=True)
    order = numpy_generator(config.seed, "thresholds", "patients").permutation(len(patients))
    sets_N: NDArray[np.bool_] = (order < len(patients) // 2)[patient_N]
    return sets_N


def _embeddings(model: DualEncoder, studies: HeldOut | AnchorFeatures) -> tuple[Tensor, Tensor]:
    image, report = embed_in_batches(model, studies.images, studies.reports)
    return image.embedding, report.embedding


def _numbers(similarity: Tensor) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = similarity.cpu().double().numpy()
    return numbers
