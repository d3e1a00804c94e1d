"""The form of a site's table of counts by group: public, from the run's config alone.

Of each marginal it holds the cells of `CELLS` of each group; then, of each marginal whose scores are told, the scores
of relevant pairs by group and bin, and those of irrelevant pairs; then, of each marginal whose ranks are told, those by
group and bin. Each of these is a *vector*: a patient counts one patient altogether in it, in whichever groups and cells
their studies are.

What is known of every table before anybody counts: all vectors count the same patients in a group, those of an
intersection are its attributes' together, each bin has the same patients under one attribute as under another, and the
ranks up to ten are of whom the final model finds.

Shapes: N counts of the table, G groups of all marginals, K linear constraints.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from common.config.registry import near
from common.config.schema import FairnessConfig
from common.errors import ConfigError
from common.fairness.marginals import Marginal, marginals_of
from common.fairness.ranks import BINS_WITHIN, NUM_RANK_BINS
from common.fairness.scores import NUM_BINS
from common.retrieval.paired import CELLS, FOUND_NOW

KINDS = ("relevant", "irrelevant")
"""Of pairs whose scores are counted: an image and its own report, an image and a public report."""


@dataclass(frozen=True)
class TableForm:
    """Which counts a site tells, in which order.

    Attributes:
        marginals: Cuts of the patients, single attributes first.
        scored: Those of them whose scores are told.
        ranked: Those of them whose ranks are told.
    """

    marginals: tuple[Marginal, ...]
    scored: tuple[Marginal, ...]
    ranked: tuple[Marginal, ...] = ()

    @property
    def num_vectors(self) -> int:
        """Vectors: how far one patient moves the table in the L1 norm, in patients."""
        return len(self.marginals) + len(KINDS) * len(self.scored) + len(self.ranked)

    @property
    def num_groups(self) -> int:
        """Groups of all marginals, G."""
        return sum(len(marginal.groups) for marginal in self.marginals)

    @property
    def num_counts(self) -> int:
        """Counts of the whole table, N."""
        return sum(part.stop - part.start for part in self.vectors)

    @cached_property
    def vectors(self) -> tuple[slice, ...]:
        """Where each lies: of the marginals, then relevant and irrelevant pairs of each scored one, then ranks."""
        sizes = [len(marginal.groups) * len(CELLS) for marginal in self.marginals]
        sizes += [len(marginal.groups) * NUM_BINS for marginal in self.scored for _ in KINDS]
        sizes += [len(marginal.groups) * NUM_RANK_BINS for marginal in self.ranked]
        ends = list(itertools.accumulate(sizes, initial=0))
        return tuple(slice(start, end) for start, end in itertools.pairwise(ends))

    @cached_property
    def groups(self) -> tuple[tuple[Marginal, str], ...]:
        """The groups of all marginals in order, each with its marginal."""
        return tuple((marginal, name) for marginal in self.marginals for name in marginal.groups)

    def cells_of(self, group: int) -> slice:
        """Where the cells of a group lie."""
        return slice(group * len(CELLS), (group + 1) * len(CELLS))

    def scores_of(self, group: int) -> tuple[slice, slice] | None:
        """Where the scores of a group's relevant and irrelevant pairs lie; None where they are not told."""
        marginal, name = self.groups[group]
        if marginal not in self.scored:
            return None
        first = len(self.marginals) + len(KINDS) * self.scored.index(marginal)
        offset = marginal.groups.index(name) * NUM_BINS
        relevant, irrelevant = (self.vectors[first + kind].start + offset for kind in range(len(KINDS)))
        return slice(relevant, relevant + NUM_BINS), slice(irrelevant, irrelevant + NUM_BINS)

    def ranks_of(self, group: int) -> slice | None:
        """Where the ranks of a group's studies lie; None where they are not told."""
        marginal, name = self.groups[group]
        if marginal not in self.ranked:
            return None
        vector = self._of_all_ranks[self.ranked.index(marginal)]
        start = vector.start + marginal.groups.index(name) * NUM_RANK_BINS
        return slice(start, start + NUM_RANK_BINS)

    @cached_property
    def patients_GN(self) -> NDArray[np.float64]:
        """What sums a group's cells to its patients, `[G, N]`."""
        summing = np.zeros((self.num_groups, self.num_counts))
        for group in range(self.num_groups):
            summing[group, self.cells_of(group)] = 1
        return summing

    @cached_property
    def onto_consistent_NN(self) -> NDArray[np.float64]:
        """The projection onto the tables that agree with themselves, `[N, N]`."""
        constraints_KN = np.array(list(self._constraints())).reshape(-1, self.num_counts)
        projection: NDArray[np.float64] = np.eye(self.num_counts) - np.linalg.pinv(constraints_KN) @ constraints_KN
        return projection

    def _constraints(self) -> Iterator[NDArray[np.float64]]:
        """Rows whose sum over a table is zero, `[N]` each."""
        for row_G in margins_of(self.marginals):
            for cell in range(len(CELLS)):
                row = np.zeros(self.num_counts)
                row[cell : self.num_groups * len(CELLS) : len(CELLS)] = row_G
                yield row
        for group in range(self.num_groups):
            for scores in self.scores_of(group) or ():
                row = -self.patients_GN[group]
                row[scores] = 1
                yield row
            if (ranks := self.ranks_of(group)) is not None:
                yield from self._of_ranks(group, ranks)
        of_scores = self.vectors[len(self.marginals) : self.num_vectors - len(self.ranked)]
        for kind in range(len(KINDS)):
            yield from self._same_bins(of_scores[kind :: len(KINDS)], NUM_BINS)
        yield from self._same_bins(self._of_all_ranks, NUM_RANK_BINS)

    @property
    def _of_all_ranks(self) -> tuple[slice, ...]:
        return self.vectors[self.num_vectors - len(self.ranked) :]

    def _of_ranks(self, group: int, ranks: slice) -> Iterator[NDArray[np.float64]]:
        """That ranks up to ten are of the patients that the final model finds, and the others of the rest."""
        border = ranks.start + BINS_WITHIN[10]
        cells = self.cells_of(group)
        for found, bins in ((True, slice(ranks.start, border)), (False, slice(border, ranks.stop))):
            row = np.zeros(self.num_counts)
            row[cells] = [-float((cell in FOUND_NOW) == found) for cell in CELLS]
            row[bins] = 1
            yield row

    def _same_bins(self, vectors: Sequence[slice], num_bins: int) -> Iterator[NDArray[np.float64]]:
        """That each bin has the same patients under one attribute as under the next."""
        for one, other in itertools.pairwise(vectors):
            for bin_ in range(num_bins):
                row = np.zeros(self.num_counts)
                row[one.start + bin_ : one.stop : num_bins] = 1
                row[other.start + bin_ : other.stop : num_bins] = -1
                yield row


def table_of(config: FairnessConfig) -> TableForm:
    """The form of the tables of a run.

    Raises:
        ConfigError: The marginals are none (`marginals_of`), or scores or ranks are asked for of what is no attribute.
    """
    marginals = marginals_of(config)
    single = {marginal.name: marginal for marginal in marginals if len(marginal.attributes) == 1}
    for key, asked in (("scores", config.scores), ("ranks", config.ranks)):
        for attribute in asked:
            if attribute not in single:
                known = near(attribute, list(single))
                raise ConfigError(f"fairness.{key}: {attribute}: not in fairness.attributes; {known}, or set it to []")
        if len(set(asked)) < len(asked):
            raise ConfigError(f"fairness.{key}: names an attribute twice; remove one")
    scored, ranked = (tuple(single[name] for name in asked) for asked in (config.scores, config.ranks))
    return TableForm(marginals, scored, ranked)


def margins_of(marginals: Sequence[Marginal]) -> NDArray[np.float64]:
    """What holds of the patients of any table: `[K, G]`, each row's sum over it is zero."""
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
    """The row whose sum over the patients of a table is the number of all of them, `[1, G]`."""
    row = np.zeros((1, sum(len(marginal.groups) for marginal in marginals)))
    row[0, : len(marginals[0].groups)] = 1
    return row
