"""Intervals of figures by group hold patients and noise: 1,000 releases for each number of patients and epsilon.

Women and men of whom so many are held out at each site, of any age, told as hospitals tell them: the default table, its
noise as it is drawn, made to agree, from one site and from five together. A figure's interval at 95% has to hold its
true value in 93 to 97% of the releases (2.9 deviations of 1,000: false alarms .4% a figure; the seed is fixed).
It may hold it oftener where noise is as wide as there are patients: an interval that reaches an end of the range is cut
there, and one that is all of the range holds always.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from common.config.load import load_config
from common.fairness.ranks import WHOLE, parts_by_bin
from common.fairness.scores import BIN_EDGES, OPERATING_PROBABILITY
from common.fairness.table import TableForm, table_of
from common.privacy.count_noise import UNITS, CountNoise, LaplaceCountNoise
from common.privacy.held_out import group_noise_of
from common.privacy.keystream import KEY_BYTES, Keystream
from common.retrieval.paired import Estimate
from server.report.fairness.group_table import GroupTable

RELEASES = 1000
LEAST, MOST = 0.93, 0.97
FOUND = np.array([0.35, 0.10, 0.20, 0.35])
AGES = np.array([0.10, 0.20, 0.30, 0.30, 0.08, 0.02])
RELEVANT = np.array([0.05, 0.10, 0.15, 0.20, 0.25, 0.25])
IRRELEVANT = np.array([0.45, 0.25, 0.13, 0.10, 0.05, 0.02])
RANKS = np.arange(1, 61)
BY_RANK = np.where(RANKS <= 10, 1 / RANKS, 1.0)
"""How likely a rank is among those up to ten, and how likely among the others."""


def true_figures() -> dict[str, float]:
    """By loops over pairs of bins."""
    middles = [(low + high) / 2 for low, high in zip((0.0, *BIN_EDGES), (*BIN_EDGES, 1.0), strict=True)]
    above = [middle > OPERATING_PROBABILITY for middle in middles]
    auroc = sum(
        right * wrong * (1.0 if high > low else 0.5 if high == low else 0.0)
        for high, right in enumerate(RELEVANT)
        for low, wrong in enumerate(IRRELEVANT)
    )
    return {
        "recall_at_10": FOUND[0] + FOUND[2],
        "true_positive_rate": sum(RELEVANT[above]),
        "false_positive_rate": sum(IRRELEVANT[above]),
        "auroc": float(auroc),
        "calibration_error": float(np.dot((RELEVANT + IRRELEVANT) / 2, middles)) - 0.5,
        **true_figures_of_ranks(),
    }


def true_figures_of_ranks() -> dict[str, float]:
    """By a loop over the ranks."""
    found = FOUND[0] + FOUND[2]
    first, rest = sum(BY_RANK[:10]), sum(BY_RANK[10:])
    share = [found * one / first if rank <= 10 else (1 - found) * one / rest for rank, one in enumerate(BY_RANK, 1)]
    return {
        "recall_at_1": float(share[0]),
        "recall_at_5": float(sum(share[:5])),
        "mrr": float(sum(one / rank for rank, one in enumerate(share, 1))),
    }


def ranks_of(crossed: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """By sex and bin, of whom the final model finds and of the others, `[RELEASES, 4, B]`."""
    by_sex = crossed.sum(axis=2)
    found = by_sex[..., 0] + by_sex[..., 2]
    counts = np.zeros((*found.shape, len(RANKS)), dtype=np.int64)
    for of_whom, part in ((found, slice(10)), (by_sex.sum(axis=-1) - found, slice(10, None))):
        counts[..., part] = rng.multinomial(of_whom, BY_RANK[part] / BY_RANK[part].sum())
    return counts @ (parts_by_bin(RANKS) / WHOLE)


def releases(form: TableForm, noise: CountNoise, patients: int, sites: int, seed: int) -> NDArray[np.float64]:
    """What the sites of a run tell together, `[RELEASES, N]`."""
    rng = np.random.default_rng(seed)
    by_sex = rng.multinomial(sites * patients, np.outer(AGES, FOUND).ravel(), size=(RELEASES, 2))
    crossed = np.zeros((RELEASES, 4, 6, 4), dtype=np.int64)  # sex, age band, cell
    crossed[:, :2] = by_sex.reshape(RELEASES, 2, 6, 4)
    race = np.zeros((RELEASES, 6, 4), dtype=np.int64)
    race[:, -1] = crossed.sum(axis=(1, 2))
    scores = np.zeros((2, RELEASES, 4, 6), dtype=np.int64)
    for kind, shares in enumerate((RELEVANT, IRRELEVANT)):
        scores[kind, :, :2] = rng.multinomial(sites * patients, shares, size=(RELEASES, 2))
    parts = [crossed.sum(axis=2), crossed.sum(axis=1), race, crossed, *scores]
    if form.ranked:
        parts.append(ranks_of(crossed, rng))
    exact = np.concatenate([part.reshape(RELEASES, -1) for part in parts], axis=1)
    assert exact.shape[1] == form.num_counts
    if not isinstance(noise, LaplaceCountNoise):  # on so fine a grid a discrete Gaussian is a Gaussian
        told = exact + rng.normal(0, np.sqrt(sites * noise.variance), exact.shape)
        return np.asarray(told)
    mechanism = replace(noise.laplace, stream=lambda: Keystream(rng.bytes(KEY_BYTES)))
    told = exact.astype(np.float64)
    for _ in range(sites):
        told += mechanism.noised(np.zeros(exact.shape, dtype=np.int64)) / UNITS
    return told


def figures_of(table: GroupTable) -> Iterator[tuple[str, Estimate]]:
    yield "recall_at_10", table.share(0, ("both", "final_only"))
    scores = table.scores(0)
    assert scores is not None
    yield from scores.figures().items()
    ranks = table.ranks(0)
    if ranks is not None:
        yield from ranks.figures().items()


def measured(
    epsilon: float, patients: int, sites: int, *, believed: float = 1.0, ranks: str = "[]"
) -> dict[str, tuple[float, float]]:
    """Of each figure of the women how often its interval holds the truth, and its error (root mean square).

    Args:
        epsilon: That the noise is of.
        patients: Women of each site, and men.
        sites: Whose counts are added up.
        believed: Share of the noise's variance that the intervals are told of.
        ranks: Attributes by which ranks are told.
    """
    config = load_config(["evaluation.epsilon=1", f"fairness.epsilon={epsilon}", f"fairness.ranks={ranks}"])
    form, noise, truth = table_of(config.fairness), group_noise_of(config), true_figures()
    assert noise is not None
    onto = form.onto_consistent_NN
    told = releases(form, noise, patients, sites, seed=1000 * sites + patients) @ onto
    held, errors = defaultdict(list), defaultdict(list)
    for counts in told:
        table = GroupTable(form, counts, believed * sites * noise.variance * onto)
        # A group of which nobody is left under the noise has no figure: nothing is claimed of it.
        if table.num_patients[0] < 1:
            continue
        for name, found in figures_of(table):
            held[name].append(found.interval.low - 1e-9 <= truth[name] <= found.interval.high + 1e-9)
            errors[name].append(found.value - truth[name])
    return {name: (float(np.mean(held[name])), float(np.sqrt(np.mean(np.square(errors[name]))))) for name in held}


def check(found: dict[str, tuple[float, float]], *, may_cover_more: bool) -> None:
    for name, (coverage, _) in found.items():
        assert coverage >= LEAST, (name, coverage)
        # Whether right and wrong pairs of a patient go together is not told: the interval holds for any that do.
        if name != "calibration_error" and not may_cover_more:
            assert coverage <= MOST, (name, coverage)


@pytest.mark.parametrize("sites", [1, 5])
def test_intervals_of_300_patients_a_group_hold_and_errors_are_small(sites: int) -> None:
    found = measured(1.0, 300, sites)
    check(found, may_cover_more=False)
    assert found["recall_at_10"][1] <= {1: 0.055, 5: 0.02}[sites]


def test_intervals_that_are_told_of_half_of_the_noise_hold_too_seldom() -> None:
    """The broken variant: of half of the noise's variance."""
    found = measured(1.0, 300, 1, believed=0.5)
    assert all(found[name][0] < 0.92 for name in ("true_positive_rate", "auroc")), found


@pytest.mark.parametrize("believed", [1.0, 0.3])
def test_intervals_of_ranks_hold_and_do_not_where_they_are_told_of_less_noise(believed: float) -> None:
    found = measured(1.0, 300, 1, believed=believed, ranks="[sex]")
    of_ranks = {name: found[name] for name in true_figures_of_ranks()}
    if believed == 1:
        check(of_ranks, may_cover_more=False)
    else:
        assert all(coverage < 0.92 for coverage, _ in of_ranks.values()), of_ranks


@pytest.mark.slow
@pytest.mark.parametrize("sites", [1, 5])
@pytest.mark.parametrize("patients", [30, 100, 300, 1000])
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_intervals_hold_at_any_size(epsilon: float, patients: int, sites: int) -> None:
    may_cover_more = patients * epsilon * sites < 100
    check(measured(epsilon, patients, sites), may_cover_more=may_cover_more)
    with_ranks = measured(epsilon, patients, sites, ranks="[sex]")
    check({name: with_ranks[name] for name in true_figures_of_ranks()}, may_cover_more=may_cover_more)
