"""What "relevant" means, written once, and the pairs of public studies that it is counted over.

Where the public studies name findings, a study is relevant to a query that shares a finding with it. Pairs of one
patient's studies are left out, for a search looks for other patients and one's own lie nearer than theirs; and so are
queries without a finding, for no finding is no label (`common/retrieval/graded.py`).

Where none names a finding, the relevant study is the one that the query belongs to, its picture to its report, and
every other one whose report is the same word for word. A picture is no answer to itself, nor a report.

Shapes: N studies, F findings, M pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class By(StrEnum):
    """What makes a study relevant."""

    FINDINGS = "findings"
    REPORT = "report"


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of public studies beside picture and report; names of findings and texts are not needed.

    Attributes:
        findings_NF: Which study shows which finding.
        reports_N: Number of each study's report; the same text has the same number.
    """

    findings_NF: NDArray[np.bool_]
    reports_N: NDArray[np.int64]

    @classmethod
    def of(cls, findings: Sequence[Sequence[str]], reports: Sequence[str]) -> Labels:
        """The labels of some studies, from the names of their findings and from their reports, or digests of them."""
        column = {name: at for at, name in enumerate(sorted({name for names in findings for name in names}))}
        findings_NF = np.zeros((len(findings), len(column)), dtype=bool)
        for row, names in enumerate(findings):
            findings_NF[row, [column[name] for name in names]] = True
        number = {report: at for at, report in enumerate(dict.fromkeys(reports))}
        return cls(findings_NF, np.array([number[report] for report in reports], dtype=np.int64))

    def rows(self, rows: Sequence[int] | NDArray[np.int64]) -> Labels:
        """Those of some of the studies."""
        return Labels(self.findings_NF[rows], self.reports_N[rows])

    @property
    def by(self) -> By:
        """What makes one of these studies relevant."""
        return By.FINDINGS if self.findings_NF.any() else By.REPORT


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredPairs:
    """Pairs of a query and a study, with any score that grows with relevance.

    Attributes:
        scores_M: The score of each; larger is surer. Of codes, minus the distance.
        relevant_M: Whether the study is relevant.
        queries_M: Number of the query.
        query_patients_M: Number of its patient.
        item_patients_M: Number of the study's patient.
        weights_M: For how many pairs of the whole gallery each stands.
    """

    scores_M: NDArray[np.float64]
    relevant_M: NDArray[np.bool_]
    queries_M: NDArray[np.int64]
    query_patients_M: NDArray[np.int64]
    item_patients_M: NDArray[np.int64]
    weights_M: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores_M)

    @property
    def query_patients(self) -> NDArray[np.int64]:
        """The patients of the queries, each once."""
        return np.unique(self.query_patients_M)

    @property
    def patients(self) -> NDArray[np.int64]:
        """All patients, each once."""
        return np.unique(np.concatenate([self.query_patients_M, self.item_patients_M]))

    @property
    def base_rate(self) -> float:
        """Share that is relevant of pairs drawn blindly from the gallery."""
        return float(self.weights_M @ self.relevant_M / self.weights_M.sum())

    def among(self, rows_M: NDArray[np.bool_]) -> ScoredPairs:
        """Some of the pairs."""
        return ScoredPairs(**{name: column[rows_M] for name, column in vars(self).items()})

    def within(self, patients: NDArray[np.int64]) -> ScoredPairs:
        """The pairs both of whose patients are among some.

        Of other patients' studies a query keeps a share alone, of its own all: so those kept stand for those that
        left, and the base rate stays that of the whole gallery.
        """
        kept = self.among(np.isin(self.query_patients_M, patients) & np.isin(self.item_patients_M, patients))
        per_query, per_kept_query = _others_of_a_query(self), _others_of_a_query(kept)
        factor = per_query / per_kept_query if per_kept_query else 1.0
        others_M = kept.query_patients_M != kept.item_patients_M
        return replace(kept, weights_M=np.where(others_M, factor, 1.0) * kept.weights_M)

    def are_first(self, number: int) -> NDArray[np.bool_]:
        """Which are the best pairs of their query, `[M]`, with those that tie with the last of them."""
        first_M = np.zeros(len(self), dtype=bool)
        if not len(self):
            return first_M
        order_M = np.lexsort((-self.scores_M, self.queries_M))
        starts_Q = np.flatnonzero(np.r_[True, np.diff(self.queries_M[order_M]) != 0])
        sizes_Q = np.diff(np.r_[starts_Q, len(order_M)])
        last_Q = self.scores_M[order_M][starts_Q + np.minimum(sizes_Q, number) - 1]
        first_M[order_M] = self.scores_M[order_M] >= np.repeat(last_Q, sizes_Q)
        return first_M


def _others_of_a_query(pairs: ScoredPairs) -> float:
    """For how many studies of other patients the pairs of a query stand, on average."""
    others_M = pairs.query_patients_M != pairs.item_patients_M
    num_queries = len(np.unique(pairs.queries_M))
    return float(pairs.weights_M[others_M].sum()) / num_queries if num_queries else 0.0


def pairs_of(
    scores_NN: NDArray[np.number], labels: Labels, patients_N: NDArray[np.int64], *, same_kind: bool
) -> ScoredPairs:
    """The pairs that relevance is counted over.

    Args:
        scores_NN: Score of each study `column` for the query that is made of study `row`; larger is surer.
        labels: Of the studies.
        patients_N: Number of each study's patient.
        same_kind: Whether a query is compared with what it is: a picture with pictures, a report with reports.

    Raises:
        ValueError: The shapes differ.
    """
    num = len(patients_N)
    relevant_NN: NDArray[np.bool_]
    if scores_NN.shape != (num, num) or len(labels.reports_N) != num:
        raise ValueError(f"scores {scores_NN.shape}, labels of {len(labels.reports_N)}, patients of {num}: must agree")
    if labels.by is By.FINDINGS:
        held_NF = labels.findings_NF.astype(np.int64)
        relevant_NN = held_NF @ held_NF.T > 0
        asked_N = np.asarray(labels.findings_NF.any(axis=1))
        counted_NN = (patients_N[:, None] != patients_N[None, :]) & asked_N[:, None]
    else:
        relevant_NN = labels.reports_N[:, None] == labels.reports_N[None, :]
        counted_NN = ~np.eye(num, dtype=bool) if same_kind else np.ones((num, num), dtype=bool)
    queries_M, items_M = np.nonzero(counted_NN)
    return ScoredPairs(
        scores_M=scores_NN[counted_NN].astype(np.float64),
        relevant_M=relevant_NN[counted_NN],
        queries_M=queries_M,
        query_patients_M=patients_N[queries_M],
        item_patients_M=patients_N[items_M],
        weights_M=np.ones(len(queries_M)),
    )
