"""The pairs of a query and a study that a search by plan shows, of all that it could: what a probability is fitted to.

Whoever asks sees the first hits of each query. They are a choice: of a query that nothing answers they are the best of
what is irrelevant, and at one rank less often relevant than the hits of another query. So nothing is learned from pairs
that nobody would be shown.

Shapes: Q queries, G studies, M pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from client.mediator.rerank import MOST_JUDGED, WIDER
from common.retrieval.relevance_pairs import ScoredPairs
from common.retrieval.relevance_reliability import FIRST_HITS

LOOKED_AT = min(WIDER * FIRST_HITS, MOST_JUDGED)
"""Studies that are held against a plan where so many hits are wanted as count as first."""

Ranks = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
"""From the numbers `[M]` of queries and of studies to the ranks `[M]` of the studies by the plans of the queries."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownPairs:
    """What is shown of a gallery.

    Attributes:
        pairs: Of studies of other patients; the score is minus the rank, in whole bits.
        base_rate: Share that is relevant of all such pairs, shown or not.
    """

    pairs: ScoredPairs
    base_rate: float


def shown_pairs(
    distances_QG: NDArray[np.number],
    ranks: Ranks,
    relevant_QG: NDArray[np.bool_],
    *,
    among_QG: NDArray[np.bool_],
    query_patients_Q: NDArray[np.int64],
    item_patients_G: NDArray[np.int64],
) -> ShownPairs:
    """The pairs that a search shows, as a hospital makes it: the nearest are ranked by the plan, the first are shown.

    Studies of the query's own patient are left out: the query was made of what is known of it.

    Args:
        distances_QG: Bits between the codes of a query and of a study.
        ranks: Where a study stands by the plan; asked for those that are looked at.
        relevant_QG: Which study answers which query.
        among_QG: Which studies each query is searched among.
        query_patients_Q: Number of the patient that each query was made of.
        item_patients_G: Number of each study's patient.
    """
    queries_M, items_M = np.nonzero(among_QG & (query_patients_Q[:, None] != item_patients_G[None, :]))
    near = ScoredPairs(
        scores_M=-distances_QG[queries_M, items_M].astype(np.float64),
        relevant_M=relevant_QG[queries_M, items_M],
        queries_M=queries_M,
        query_patients_M=query_patients_Q[queries_M],
        item_patients_M=item_patients_G[items_M],
        weights_M=np.ones(len(queries_M)),
    )
    base_rate = near.base_rate if len(near) else 0.0
    looked_M = near.are_first(LOOKED_AT)
    looked = replace(near.among(looked_M), scores_M=-ranks(queries_M[looked_M], items_M[looked_M]))
    shown = looked.among(looked.are_first(FIRST_HITS))
    return ShownPairs(pairs=replace(shown, scores_M=np.rint(shown.scores_M)), base_rate=base_rate)
