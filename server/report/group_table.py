"""Noised counts of patients by group, made to agree with each other.

All marginals count the same patients, and an intersection's margins are its attributes' groups. The counts nearest to
the told ones in the least-squares sense for which that is so have less noise, and how much less is known exactly (Hay
et al., PVLDB 2010, arXiv 0904.0942, for hierarchies). It reads noised counts alone: post-processing.

Shapes: G groups of all marginals, C cells of a group, K linear constraints.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.fairness.marginals import Marginal
from common.retrieval.paired import CELLS, Paired


@dataclass(frozen=True)
class GroupCounts:
    """The counts of one site, or of several together.

    Attributes:
        marginals: Whose groups they are.
        counts: `[G, C]`, in patients.
        covariance: Of the noise in the cells of one kind, `[G, G]`, in patients squared; each kind has the same.
    """

    marginals: tuple[Marginal, ...]
    counts: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def consistent(self) -> GroupCounts:
        """The nearest counts of which all marginals say the same; the noise of the told ones is alike in all."""
        constraints_KG = margins_of(self.marginals)
        onto_GG = np.eye(len(self.counts)) - np.linalg.pinv(constraints_KG) @ constraints_KG
        return GroupCounts(self.marginals, onto_GG @ self.counts, onto_GG @ self.covariance)

    @property
    def num_patients(self) -> NDArray[np.float64]:
        """Of each group, `[G]`."""
        number_G: NDArray[np.float64] = self.counts.sum(axis=1)
        return number_G

    def paired(self, group: int) -> Paired:
        """A group's counts."""
        cells = dict(zip(CELLS, self.counts[group].tolist(), strict=True))
        return Paired(**cells, noise_variance=float(self.covariance[group, group]))


def margins_of(marginals: Sequence[Marginal]) -> NDArray[np.float64]:
    """What holds of any table: `[K, G]`, each row's sum over it is zero."""
    starts = list(itertools.accumulate((len(marginal.groups) for marginal in marginals), initial=0))
    single = {marginal.attributes: number for number, marginal in enumerate(marginals) if len(marginal.attributes) == 1}
    rows = []
    for number, marginal in enumerate(marginals):
        if len(marginal.attributes) == 1:
            if number:
                row = np.zeros(starts[-1])
                row[starts[number] : starts[number + 1]], row[: starts[1]] = 1, -1
                rows.append(row)
            continue
        for place, attribute in enumerate(marginal.attributes):
            for part in range(len(marginal.levels[place])):
                row = np.zeros(starts[-1])
                row[starts[single[attribute,]] + part] = -1
                for group in range(len(marginal.groups)):
                    row[starts[number] + group] = marginal.parts_of(group)[place] == part
                rows.append(row)
    return np.array(rows).reshape(len(rows), starts[-1])


def total_of(marginals: Sequence[Marginal]) -> NDArray[np.float64]:
    """The row whose sum over a table is the number of all patients, `[1, G]`."""
    row = np.zeros((1, sum(len(marginal.groups) for marginal in marginals)))
    row[0, : len(marginals[0].groups)] = 1
    return row


def named(marginals: Sequence[Marginal]) -> Iterator[tuple[Marginal, str]]:
    """The groups of all marginals in the table's order, each with its marginal."""
    return ((marginal, name) for marginal in marginals for name in marginal.groups)
