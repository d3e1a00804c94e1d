"""From codes of public studies to how sure a hit is: right in a world whose truth is known, silent where it must be."""

from __future__ import annotations

import numpy as np
import pytest

from common.canonical import canonical_json
from common.hashing.hamming import hamming_distances
from common.retrieval.relevance import Curve, QueryKind, Relevance
from common.retrieval.relevance_fit import MOST_PATIENTS, relevance_of
from common.retrieval.relevance_pairs import By, Labels
from common.retrieval.relevance_reliability import FIRST_HITS

WIDTH, NUM_FINDINGS = 64, 6


class World:
    """Studies of patients, one each, whose codes show their findings through noise."""

    def __init__(self, num: int, *, seed: int, named: bool = True) -> None:
        generator = np.random.default_rng(seed)
        plan = np.random.default_rng(7).normal(size=(NUM_FINDINGS, WIDTH))  # of the model: the same for all studies
        held = generator.random((num, NUM_FINDINGS)) < 0.25
        self.findings = [[f"f{i}" for i in np.flatnonzero(row)] if named else [] for row in held]
        self.images, self.reports = (
            ((held @ plan + noise * generator.normal(size=(num, WIDTH))) > 0).astype(np.uint8) for noise in (1.5, 1.0)
        )
        self.patients = np.arange(num)

    @property
    def labels(self) -> Labels:
        """What makes one relevant to another."""
        return Labels.of(self.findings, [f"report {row}" for row in self.patients])


def measured(world: World, *, widths: tuple[int, ...] = (WIDTH,), seed: int = 0) -> Relevance:
    return relevance_of(world.images, world.reports, world.labels, world.patients, widths=widths, model="m", seed=seed)


@pytest.fixture(scope="module")
def found() -> Relevance:
    return measured(World(120, seed=1))


def curve(relevance: Relevance, query: QueryKind = QueryKind.TEXT, gallery: str = "images") -> Curve:
    one = relevance.curve(query=query, gallery=gallery, bit_width=WIDTH)
    assert one is not None
    return one


def test_every_kind_of_search_is_told_and_keeps_its_word(found: Relevance) -> None:
    assert (found.by, found.num_studies, found.num_patients) == (By.FINDINGS, 120, 120)
    assert {(one.query, one.gallery) for one in found.curves} == {
        (q, g) for q in (QueryKind.TEXT, QueryKind.IMAGE) for g in ("images", "reports")
    }
    for one in found.curves:
        assert one.why == ""
        assert one.error is not None
        assert one.error < 0.08, "a cautious estimate of 120 patients; that of new studies is below"
        assert one.coverage == pytest.approx(0.92, abs=0.05), "ties of whole bits make it cautious"
        assert sum(step.num_pairs for step in one.steps) == one.num_pairs
    assert Relevance.from_json(found.as_json()) == found


def test_new_studies_are_as_relevant_as_was_told(found: Relevance) -> None:
    """400 new patients of the same world, compared in NumPy: of hits told p, a share near p is relevant."""
    world = World(400, seed=2)
    distances = hamming_distances(np.packbits(world.reports, axis=1), np.packbits(world.images, axis=1))
    shared = np.array([[bool(set(a) & set(b)) for b in world.findings] for a in world.findings])
    asked = np.array([bool(each) for each in world.findings])[:, None] & ~np.eye(400, dtype=bool)
    one = curve(found)
    told = {int(d): one.of(int(d)) for d in np.unique(distances[asked])}
    for step in one.steps:
        inside = asked & (distances >= step.nearest) & (distances <= step.farthest)
        if inside.sum() > 1000:
            assert abs(shared[inside].mean() - step.probability) < 0.12
    gaps = [abs(shared[asked & (distances == d)].mean() - sure.probability) for d, sure in told.items() if sure]
    sizes = [int((asked & (distances == d)).sum()) for d, sure in told.items() if sure]
    assert np.average(gaps, weights=sizes) < 0.06
    first = np.argsort(distances, axis=1, kind="stable")[:, :FIRST_HITS]
    assert shared[asked.any(axis=1)][:, :1].size, "there are queries"
    assert np.take_along_axis(shared, first, axis=1).mean() > shared.mean() + 0.1, "codes find what is relevant"


def test_without_findings_the_own_study_is_what_is_relevant() -> None:
    found = measured(World(120, seed=3, named=False))
    assert found.by is By.REPORT
    one = curve(found)
    assert one.base_rate == pytest.approx(1 / 120, abs=1e-4)
    assert one.steps[0].probability > 5 * one.base_rate
    same = curve(found, QueryKind.IMAGE)
    assert same.why.startswith("no public study"), "no report is there twice, and no picture answers itself"


def test_codes_that_say_nothing_are_told_the_base_rate() -> None:
    world = World(120, seed=4)
    generator = np.random.default_rng(0)
    world.images, world.reports = (generator.integers(0, 2, (120, WIDTH)).astype(np.uint8) for _ in range(2))
    one = curve(measured(world))
    assert all(abs(step.probability - one.base_rate) < 0.15 for step in one.steps)


def test_each_width_of_nested_codes_has_its_own_curves() -> None:
    world = World(60, seed=5)
    both, short = measured(world, widths=(48, 64)), measured(world, widths=(48,))
    assert [one for one in both.curves if one.bit_width == 48] == list(short.curves)
    cut = World(60, seed=5)
    cut.images, cut.reports = cut.images[:, :48], cut.reports[:, :48]
    assert measured(cut, widths=(48,)).curves == short.curves, "a width is the first bits of the whole"


def test_same_studies_and_seed_give_the_same_bytes() -> None:
    world = World(60, seed=6)
    first, again = measured(world), measured(world)
    assert canonical_json(first.as_json()) == canonical_json(again.as_json())


def test_too_few_patients_cannot_be_told() -> None:
    few = measured(World(19, seed=7))
    assert all("fewer than 20 public patients with a finding" in one.why for one in few.curves)
    assert not few.tells
    assert Relevance.from_json(few.as_json()) == few


def test_patients_that_are_compared_are_bounded() -> None:
    num = MOST_PATIENTS + 30
    codes = np.random.default_rng(0).integers(0, 2, (num, WIDTH)).astype(np.uint8)
    labels = Labels.of([["a"]] * 3 + [[]] * (num - 3), ["x"] * num)
    assert (
        relevance_of(codes, codes, labels, np.arange(num), widths=[WIDTH], model="m", seed=0).num_studies
        == MOST_PATIENTS
    )
