"""What a site may tell of groups of its held-out patients: how many of each are found by start and final model.

The counts are those of `noised_statistics.py`, by group: each held-out patient is looked up among the public studies
and their own alone, so that nobody moves another's count.

Unit of privacy: the patient. Neighbouring relation: add or remove one patient.
Sensitivity: in each marginal of `common/fairness/marginals.py` a patient's parts are spread over its groups and the
    four cells of each, and are `UNITS` altogether, however many studies they have and in whichever groups these are.
    So the whole table, M marginals, moves by `UNITS` times M in the L1 norm, and by at most `UNITS` times the root of M
    in the L2 norm.
Edge cases: a site without held-out patients tells noise alone: that it has none is not told. Nothing is suppressed
    here: the noise protects every cell, and what is shown is decided on noised counts (`server/report/suppression.py`).

Shapes: N held-out studies, P patients, G groups of all marginals, C cells of a group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from client.measurement.noised_statistics import Found
from common.fairness.marginals import Marginal
from common.privacy.count_noise import UNITS
from common.retrieval.paired import CELLS
from common.types import StudyRecord

_NEITHER = CELLS.index("neither")


def group_counts(
    start: Found, final: Found, *, records: Sequence[StudyRecord], marginals: Sequence[Marginal]
) -> NDArray[np.int64]:
    """The exact counts `[G, C]`, in `UNITS` a patient; they stay at the site.

    Args:
        start: What the model that the run began with finds, of N studies.
        final: What the last one finds.
        records: The studies.
        marginals: Whose groups are counted; the table has those of the first one first.
    """
    cell_N = 2 * ~start.by_embedding + ~final.by_embedding  # in the order of CELLS
    _, patient_N = np.unique(np.array([record.patient_id for record in records], dtype=str), return_inverse=True)
    return np.concatenate([_counts(records, patient_N, cell_N, marginal) for marginal in marginals])


def _counts(
    records: Sequence[StudyRecord], patient_N: NDArray[np.int64], cell_N: NDArray[np.int64], marginal: Marginal
) -> NDArray[np.int64]:
    """One marginal's counts. What rounding leaves of a patient is neither's, in the group of most of their studies."""
    num_groups, num_patients = len(marginal.groups), int(patient_N.max(initial=-1)) + 1
    group_N = np.array([marginal.group_of(record) for record in records], dtype=np.int64)
    place_N = (patient_N * num_groups + group_N) * len(CELLS) + cell_N
    studies_PGC = np.bincount(place_N, minlength=num_patients * num_groups * len(CELLS)).reshape(
        num_patients, num_groups, len(CELLS)
    )
    parts_PGC = UNITS * studies_PGC // studies_PGC.sum(axis=(1, 2), keepdims=True)
    left_P = UNITS - parts_PGC.sum(axis=(1, 2))
    main_P = studies_PGC.sum(axis=2).argmax(axis=1)
    parts_PGC[np.arange(num_patients), main_P, _NEITHER] += left_P
    counts: NDArray[np.int64] = parts_PGC.sum(axis=0)
    return counts
