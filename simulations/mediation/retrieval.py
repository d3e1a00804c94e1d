"""Whether plans find more than words do, and whether the rank keeps its word, on the queries of `cases.py`.

Codes are the signs of whitened principal components of the report encoder's features, fitted to a split's public
captions: a public start, without training. Captions of the case that a query was made of are left out.

How sure a rank makes a hit is fitted on the hits of public cases that a search would show (`shown_pairs.py`) and held
against those of test cases, which share no patient with them.

Shapes: Q queries, G captions, K bits, D features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from client.mediator.lexical import Lexical
from client.mediator.rerank import rank_of
from client.mediator.shown_pairs import ShownPairs, shown_pairs
from client.mediator.spoken import spoken
from client.mediator.validate import ReadStudy, validate
from common.retrieval.metrics import retrieval_metrics
from common.retrieval.relevance_coverage import COVERAGE, covered, threshold
from common.retrieval.relevance_reliability import calibration_error
from common.retrieval.relevance_steps import fit_steps
from simulations.mediation.cases import KINDS, Asked, Case, queries_of

WAYS = ("words", "plan's text", "plan")
"""What is searched with: the words as they stand; the words of the plan; these, and the order by the rules."""
BIT_WIDTH = 128
_LEAST_SPREAD = 1e-4
"""Of a component; what few captions leave without any is no direction."""

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
_Coder = Callable[[Sequence[str]], NDArray[np.int32]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """Queries against captions.

    Attributes:
        asked: The queries, each with an answer among the captions.
        ranks: Of each way, `[Q, G]`; smaller is earlier.
        relevant_QG: Which captions answer which query.
        own_QG: Which captions are of the query's own case.
        patients_G: Number of each caption's case.
        patients_Q: Number of each query's case.
    """

    asked: tuple[Asked, ...]
    ranks: Mapping[str, NDArray[np.float64]]
    relevant_QG: NDArray[np.bool_]
    own_QG: NDArray[np.bool_]
    patients_G: NDArray[np.int64]
    patients_Q: NDArray[np.int64]

    def precisions(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Average precision of each query, by kind and way."""
        kinds = np.array([one.kind for one in self.asked])
        found: dict[str, dict[str, NDArray[np.float64]]] = {kind: {} for kind in KINDS}
        for way, ranks_QG in self.ranks.items():
            scores_QG = np.where(self.own_QG, -np.inf, -ranks_QG)
            map_Q = retrieval_metrics(scores_QG, self.relevant_QG)["map"] if len(kinds) else np.empty(0)
            for kind in KINDS:
                found[kind][way] = map_Q[kinds == kind]
        return found

    def cases_of(self, kind: str) -> NDArray[np.int64]:
        """Number of the case of each query of a kind, in the order of `precisions`."""
        return self.patients_Q[[one.kind == kind for one in self.asked]]

    def pairs(self) -> ShownPairs:
        """The pairs of a query and a caption of another case that a search shows, with the rank by plan."""
        _, text, plan = (self.ranks[way] for way in WAYS)
        return shown_pairs(
            text,
            lambda queries_M, items_M: plan[queries_M, items_M],
            self.relevant_QG,
            among_QG=~self.own_QG,
            query_patients_Q=self.patients_Q,
            item_patients_G=self.patients_G,
        )


@dataclass(frozen=True, kw_only=True)
class Sureness:
    """Whether a rank's probability of relevance keeps its word on hits of other patients.

    Attributes:
        error: Expected calibration error over the hits that are shown.
        coverage: Share of relevant ones of these within the conformal rank, mean over cases.
        num_patients: Cases with a relevant hit, over which that mean is.
        base_rate: Share of all pairs that are relevant.
        num_pairs: Hits that were told.
    """

    error: float
    coverage: float
    num_patients: int
    base_rate: float
    num_pairs: int

    @property
    def chance(self) -> float:
        """How far such a mean strays with 95% where the set holds `COVERAGE` and each case has one hit, two-sided."""
        return float(norm.ppf(0.975)) * math.sqrt(COVERAGE * (1 - COVERAGE) / self.num_patients)


def coder_of(cases: Mapping[str, Case], public: Collection[str], embed: Embed) -> _Coder:
    """From texts to bits, `[N, K]`: signs of whitened principal components of public captions, turned at random."""
    public_ND = embed([record.report for name in sorted(public) for record in cases[name].records])
    centre_D = public_ND.mean(axis=0)
    _, _, axes = np.linalg.svd(public_ND - centre_D, full_matrices=False)
    axes_KD = axes[:BIT_WIDTH]
    spread_K = ((public_ND - centre_D) @ axes_KD.T).std(axis=0)
    axes_KD, spread_K = axes_KD[spread_K > _LEAST_SPREAD], spread_K[spread_K > _LEAST_SPREAD]
    turn_KK = np.linalg.qr(np.random.default_rng(0).normal(size=(len(axes_KD), len(axes_KD))))[0]
    return lambda texts: ((((embed(texts) - centre_D) @ axes_KD.T) / spread_K) @ turn_KK > 0).astype(np.int32)


def ranked(cases: Mapping[str, Case], names: Collection[str], code: _Coder, *, seed: int) -> Ranked:
    """The queries of some cases against the captions of the same cases."""
    number = {name: at for at, name in enumerate(sorted(cases))}
    gallery = [ReadStudy.of(record) for name in sorted(names) for record in cases[name].records]
    patients = [study.record.patient_id for study in gallery]
    asked, relevant, own = [], [], []
    for one in queries_of([cases[name] for name in sorted(names)], seed=seed):
        fitting = {name for name in names if name != one.case and one.fits(cases[name])}
        if any(patient in fitting for patient in patients):
            asked.append(one)
            relevant.append([patient in fitting for patient in patients])
            own.append([patient == one.case for patient in patients])
    shape = (len(asked), len(gallery))
    return Ranked(
        asked=tuple(asked),
        ranks=dict(zip(WAYS, _ranks(asked, gallery, code), strict=True)),
        relevant_QG=np.array(relevant, dtype=bool).reshape(shape),
        own_QG=np.array(own, dtype=bool).reshape(shape),
        patients_G=np.array([number[patient] for patient in patients], dtype=np.int64),
        patients_Q=np.array([number[one.case] for one in asked], dtype=np.int64),
    )


def _ranks(asked: Sequence[Asked], gallery: Sequence[ReadStudy], code: _Coder) -> list[NDArray[np.float64]]:
    if not asked:
        return [np.empty((0, len(gallery))) for _ in WAYS]
    plans = [Lexical().propose(one.text) for one in asked]
    codes_GK = code([study.record.report for study in gallery])
    words_QG = _distances(code([one.text for one in asked]), codes_GK)
    text_QG = _distances(code([spoken(one.text, plan) for one, plan in zip(asked, plans, strict=True)]), codes_GK)
    plan_QG = np.array(
        [
            [
                rank_of(int(distance), validate(plan, study).away, bit_width=BIT_WIDTH)
                for distance, study in zip(row, gallery, strict=True)
            ]
            for row, plan in zip(text_QG, plans, strict=True)
        ]
    )
    return [words_QG, text_QG, plan_QG]


def _distances(codes_QK: NDArray[np.int32], codes_GK: NDArray[np.int32]) -> NDArray[np.float64]:
    differing: NDArray[np.float64] = (codes_QK[:, None] != codes_GK[None]).sum(axis=2).astype(np.float64)
    return differing


def sureness(public: ShownPairs, test: ShownPairs) -> Sureness | None:
    """What hits of test cases are told by those of public ones; None where either are too few."""
    steps = fit_steps(public.pairs)
    if not len(steps) or not test.pairs.relevant_M.any():
        return None
    of_cases = covered(test.pairs, threshold(public.pairs))
    return Sureness(
        error=calibration_error(test.pairs, steps.of(test.pairs.scores_M)),
        coverage=float(np.mean(list(of_cases.values()))),
        num_patients=len(of_cases),
        base_rate=test.base_rate,
        num_pairs=len(test.pairs),
    )
