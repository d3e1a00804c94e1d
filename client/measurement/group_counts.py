"""What a site may tell of groups of its held-out patients: whom start and final model find, and how pairs are scored.

Each held-out patient is looked up among the public studies and their own alone, as in `noised_statistics.py`, so that
nobody moves another's count.

Unit of privacy: the patient. Neighbouring relation: add or remove one patient.
Sensitivity: in each vector of the table (`common/fairness/table.py`) a patient's parts are spread over its groups and
    the cells of each, and are `UNITS` altogether, however many studies they have, in whichever groups these are, and
    with however many public reports they are paired. So the whole table, M marginals of which S tell scores and R tell
    ranks, moves by `UNITS` times M + 2 S + R in the L1 norm, and by at most `UNITS` times the root of M + 2 S + R in
    the L2 norm. The bin of a score follows from public pairs and the model, the rank of a study from its own report,
    public ones and the model; split between two bins it weighs the same. Nothing is divided by how many patients there
    are: normalised after the sum, each would move the others.
Edge cases: a site without held-out patients tells noise alone: that it has none is not told. Nothing is suppressed
    here: the noise protects every cell, and what is shown is decided on noised counts
    (`server/report/fairness/suppression.py`).

Shapes: N held-out studies, P patients, G groups of a marginal, C cells of a group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from client.measurement.apportion import apportioned
from client.measurement.noised_statistics import Found
from client.measurement.scores import Scores
from common.fairness.marginals import Marginal
from common.fairness.ranks import parts_by_bin
from common.fairness.table import TableForm
from common.privacy.count_noise import UNITS
from common.retrieval.paired import CELLS
from common.types import StudyRecord


def group_counts(
    form: TableForm, start: Found, final: Found, scores: Scores | None, *, records: Sequence[StudyRecord]
) -> NDArray[np.int64]:
    """The exact table, in `UNITS` a patient, in the order of its form; it stays at the site.

    Args:
        form: Which counts are told.
        start: What the model that the run began with finds, of N studies.
        final: What the last one finds.
        scores: How the last one scores their pairs; None where the form tells no scores.
        records: The studies.
    """
    names, patient_N = np.unique(np.array([record.patient_id for record in records], dtype=str), return_inverse=True)
    cell_N = 2 * ~start.by_embedding + ~final.by_embedding  # in the order of CELLS
    found_NC = np.eye(len(CELLS), dtype=np.int64)[cell_N]

    def vector(marginal: Marginal, weights_NC: NDArray[np.int64]) -> NDArray[np.int64]:
        group_N = np.array([marginal.group_of(record) for record in records], dtype=np.int64)
        weights_PGC = np.zeros((len(names), len(marginal.groups), weights_NC.shape[1]), dtype=np.int64)
        np.add.at(weights_PGC, (patient_N, group_N), weights_NC)
        return _counts(weights_PGC)

    vectors = [vector(marginal, found_NC) for marginal in form.marginals]
    if scores is not None:
        vectors += [vector(cut, kind) for cut in form.scored for kind in (scores.relevant, scores.irrelevant)]
    vectors += [vector(cut, parts_by_bin(final.rank)) for cut in form.ranked]
    return np.concatenate([counts.ravel() for counts in vectors])


def _counts(weights_PGC: NDArray[np.int64]) -> NDArray[np.int64]:
    """One vector's counts `[G, C]`: a patient's parts go to their groups, and those of a group to its cells.

    So a patient has the same parts in a group in every vector of a marginal.
    """
    num_patients, num_groups, num_cells = weights_PGC.shape
    of_group_PG = apportioned(np.full(num_patients, UNITS), weights_PGC.sum(axis=2))
    parts_RC = apportioned(of_group_PG.ravel(), weights_PGC.reshape(-1, num_cells))
    counts: NDArray[np.int64] = parts_RC.reshape(num_patients, num_groups, num_cells).sum(axis=0)
    return counts
