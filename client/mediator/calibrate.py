"""From public studies to how sure a rank by plan makes a hit: they are searched as a hospital searches its own.

Each query is read as a clinician's words are, by rules alone; the nearest studies are held against its plan; and what
is learned is learned from the hits that would be shown (`shown_pairs.py`).

Shapes: Q queries, G studies, M pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from client.mediator.mediator import Mediator
from client.mediator.plan import Plan
from client.mediator.plan_relevance import PlanRelevance
from client.mediator.public_gallery import PublicGallery
from client.mediator.public_queries import PublicQuery, public_queries
from client.mediator.rerank import rank_of
from client.mediator.rules_digest import rules_digest
from client.mediator.shown_pairs import ShownPairs, shown_pairs
from client.mediator.understood import understood
from client.mediator.validate import ReadStudy, seeks, validate
from client.search.build import CodeMaker
from client.search.index import Gallery
from common.hashing.hamming import hamming_distances
from common.retrieval.relevance import Curve, QueryKind, Relevance
from common.retrieval.relevance_fit import curve_of
from common.retrieval.relevance_pairs import By
from common.seeds import numpy_generator

GALLERY = 100
"""Studies that a query is searched among. Labels are few, and many patients ask the same: among all studies each label
would be answered by the same ten hits over and over, whatever the number of patients."""
NO_FINDINGS = "no public study that was kept from training names a finding in words that make a plan"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A public query as it is searched.

    Attributes:
        query: The query.
        plan: What was understood.
        spoken: What the encoder reads.
    """

    query: PublicQuery
    plan: Plan
    spoken: str


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What public studies tell, and of how many queries.

    Attributes:
        found: What they tell.
        num_queries: Queries that were searched.
        not_understood: Labels, in words, that make no plan; queries for them are not searched.
    """

    found: PlanRelevance
    num_queries: int
    not_understood: tuple[str, ...]


def calibrated(gallery: PublicGallery, model: CodeMaker, *, seed: int) -> Calibrated:
    """How sure a rank by plan makes a hit of a model.

    Args:
        gallery: Public studies that no training of the model saw.
        model: Encodes the queries; the gallery was encoded by it.
        seed: The same studies and seed give the same curves.
    """
    queries = public_queries(gallery.records, seed=seed)
    planned = planned_of(queries)
    searched = {one.query for one in planned}
    relevance = Relevance(
        model=model.digest,
        by=By.FINDINGS if planned else None,
        num_studies=len(gallery.records),
        num_patients=len(gallery.patients),
        curves=tuple(_curve(planned, gallery, model, compared, seed=seed) for compared in Gallery if planned),
        why="" if planned else NO_FINDINGS,
    )
    return Calibrated(
        found=PlanRelevance(rules=rules_digest(), relevance=relevance),
        num_queries=len(planned),
        not_understood=tuple(sorted({one.text for one in queries if one.is_plain and one not in searched})),
    )


def _curve(
    planned: Sequence[Planned], gallery: PublicGallery, model: CodeMaker, compared: Gallery, *, seed: int
) -> Curve:
    shown = pairs_shown(planned, gallery, model, compared, seed=seed)
    return curve_of(
        shown.pairs,
        By.FINDINGS,
        query=QueryKind.PLAN,
        gallery=compared,
        bit_width=model.bit_width,
        base_rate=shown.base_rate,
        seed=seed,
    )


def pairs_shown(
    planned: Sequence[Planned], gallery: PublicGallery, model: CodeMaker, compared: Gallery, *, seed: int
) -> ShownPairs:
    """What searches of public studies show, each patient's queries among `GALLERY` studies that are drawn for them."""
    number = gallery.patients
    studies = [ReadStudy.of(record) for record in gallery.records]
    texts = list(dict.fromkeys(one.spoken for one in planned))
    row_of = {text: row for row, text in enumerate(texts)}
    distances = distances_of(model.encode_texts(texts), gallery, compared)
    distances_QG = distances[[row_of[one.spoken] for one in planned]]

    plan_of = {one.query.text: one.plan for one in planned}

    @cache  # many patients have the same findings, and so ask the same
    def rank(text: str, item: int, distance: int) -> float:
        return rank_of(distance, validate(plan_of[text], studies[item]).away, bit_width=model.bit_width)

    def ranks(queries_M: NDArray[np.int64], items_M: NDArray[np.int64]) -> NDArray[np.float64]:
        pairs = zip(queries_M.tolist(), items_M.tolist(), strict=True)
        return np.array([rank(planned[at].query.text, item, int(distances_QG[at, item])) for at, item in pairs])

    findings = [frozenset(record.findings) for record in gallery.records]
    generator = numpy_generator(seed, "relevance", "plan", "galleries")
    drawn = {name: generator.permutation(len(studies)) < GALLERY for name in number}
    return shown_pairs(
        distances_QG,
        ranks,
        np.array([[one.query.is_answered_by(those) for those in findings] for one in planned]),
        among_QG=np.array([drawn[one.query.patient] for one in planned]),
        query_patients_Q=np.array([number[one.query.patient] for one in planned], dtype=np.int64),
        item_patients_G=np.array([number[record.patient_id] for record in gallery.records], dtype=np.int64),
    )


def planned_of(queries: Sequence[PublicQuery]) -> list[Planned]:
    """The queries that there is a plan with a rule for; those without are searched by words, and ranked by distance."""
    mediator, planned = Mediator(), []
    made = {text: understood(text, mediator) for text in dict.fromkeys(query.text for query in queries)}
    for query in queries:
        plan = made[query.text].plan
        if plan is not None and seeks(plan):
            planned.append(Planned(query=query, plan=plan, spoken=made[query.text].spoken))
    return planned


def distances_of(codes_QP: NDArray[np.uint8], gallery: PublicGallery, compared: Gallery) -> NDArray[np.int32]:
    """Bits between each query and each study, `[Q, G]`: of several images of a study, the nearest."""
    if compared is Gallery.REPORTS:
        return hamming_distances(codes_QP, gallery.reports)
    of_images = hamming_distances(codes_QP, gallery.images)
    nearest: NDArray[np.int32] = np.minimum.reduceat(of_images, gallery.first_images, axis=1)
    return nearest
