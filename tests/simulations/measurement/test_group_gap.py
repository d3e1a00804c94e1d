"""Gap and recall by group: against loops, on the same patients for every model, with intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.measurement.group_gap import GapBootstrap, Hits, Queries


def cohort(generator: np.random.Generator, *, rates: dict[str, float], patients: int = 300) -> tuple[Queries, Hits]:
    """Patients of one to three queries in groups as likely as each other; a patient's queries are alike."""
    names, groups, hits = [], [], []
    for number in range(patients):
        group = list(rates)[number % len(rates)]
        for _ in range(int(generator.integers(1, 4))):
            names.append(f"p{number}")
            groups.append(group)
            hits.append(float(generator.random() < rates[group]))
    return Queries(np.array(names), np.array(groups)), np.array(hits)


def bootstrap(queries: list[Queries], *, resamples: int = 200, seed: int = 0) -> GapBootstrap:
    return GapBootstrap(queries, "a", generator=np.random.default_rng(seed), num_resamples=resamples)


def test_figures_are_means_over_the_seeds() -> None:
    generator = np.random.default_rng(1)
    seeds = [cohort(generator, rates={"a": 0.2, "b": 0.5, "c": 0.6}, patients=40) for _ in range(3)]
    found = bootstrap([queries for queries, _ in seeds]).figures([hits for _, hits in seeds], [h for _, h in seeds])
    recalls, gaps = [], []
    for queries, hits in seeds:
        own = [hit for hit, group in zip(hits, queries.groups, strict=True) if group == "a"]
        others = [hit for hit, group in zip(hits, queries.groups, strict=True) if group != "a"]
        recalls.append(sum(hits) / len(hits))
        gaps.append(sum(others) / len(others) - sum(own) / len(own))
    assert found.recall.value == pytest.approx(sum(recalls) / 3)
    assert found.gap.value == pytest.approx(sum(gaps) / 3)


def test_a_model_beside_itself_keeps_and_leaves_all_without_doubt() -> None:
    """The same patients are drawn for both: other draws would put an interval around one."""
    queries, hits = cohort(np.random.default_rng(2), rates={"a": 0.2, "b": 0.6})
    found = bootstrap([queries]).figures([hits], [hits])
    assert found.left is not None
    for figure in (found.kept, found.left):
        assert (figure.value, figure.low, figure.high) == pytest.approx((1.0, 1.0, 1.0))


def test_a_gap_that_may_be_none_has_no_share_left() -> None:
    queries, hits = cohort(np.random.default_rng(3), rates={"a": 0.4, "b": 0.4})
    assert bootstrap([queries]).figures([hits], [hits]).left is None


def test_half_the_gap_is_told_as_half() -> None:
    queries, _ = cohort(np.random.default_rng(4), rates={"a": 0.0, "b": 0.0}, patients=400)
    is_own = queries.groups == "a"
    wide, narrow = np.where(is_own, 0.2, 0.6), np.where(is_own, 0.4, 0.6)
    found = bootstrap([queries]).figures([narrow], [wide])
    assert found.left is not None
    assert found.left.value == pytest.approx(0.5)
    assert (found.left.low, found.left.high) == pytest.approx((0.5, 0.5))


def covered(*, seeds_of_resamples: int, narrow: float) -> int:
    """Of 200 cohorts of 120 patients, in how many the interval of the gap, made narrower, holds the true one."""
    generator, hit = np.random.default_rng(5), 0
    for trial in range(200):
        queries, hits = cohort(generator, rates={"a": 0.3, "b": 0.5}, patients=120)
        figure = bootstrap([queries], seed=seeds_of_resamples + trial).figures([hits], [hits]).gap
        middle, reach = (figure.low + figure.high) / 2, narrow * (figure.high - figure.low) / 2
        hit += middle - reach <= 0.2 <= middle + reach
    return hit


def test_interval_covers_the_true_gap() -> None:
    """N = 200, nominal 95%: a right one falls below 178 with probability 1e-4; one half as wide is caught."""
    assert covered(seeds_of_resamples=0, narrow=1.0) >= 178
    assert covered(seeds_of_resamples=0, narrow=0.5) < 178


def test_groups_of_few_patients_are_left_out() -> None:
    queries = Queries(np.array(["p1", "p1", "p2", "p3"]), np.array(["a", "a", "b", "b"]))
    hits = np.array([1.0, 0.0, 1.0, 0.0])
    assert queries.recall_of_each(hits, least_patients=2) == {"b": 0.5}
    assert queries.recall_of_each(hits, least_patients=1) == {"a": 0.5, "b": 0.5}
