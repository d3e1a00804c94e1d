"""What a private step reads and gives: one site's studies sorted by patient, and gradients by parameter name.

A patient may count for less than others (`common/fairness/emphasis.py`), by that patient's own group alone: be sampled
more rarely, or be weighed down after the clip.

A study may lack its image or its report. Something public stands in its place, the same for all, and `halves` tells the
objective that it is not there. Whatever a study lacks, it is one of its patient's: sampled, averaged and clipped with
the others.

Shapes: N studies, R studies of a chunk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from client.dp.randomness import Randomness

Gradients = dict[str, Tensor]
"""A tensor in the shape of each trained parameter, by the parameter's name, in the model's order."""


class Sample(ABC):
    """Studies sorted by patient, wherever they lie, that are read some at a time."""

    patients: Tensor
    """Patient number `[N]` of each study, int64, ascending from 0 without gaps."""

    weights: Tensor | None
    """What each study's patient is multiplied by after the clip, `[N]`, float64, within 0 and 1; None: by 1."""

    groups: Tensor | None
    """Group of each study, `[N]`, int64, which the objective reads; None where it reads none."""

    @abstractmethod
    def rows(self, rows: Tensor | slice) -> Records:
        """Read some of the studies; the patients' numbers are as they are here.

        Raises:
            DataError: They cannot be read.
        """

    @property
    def num_patients(self) -> int:
        """Number of patients. Private: it stays at the site."""
        return int(self.patients[-1]) + 1 if len(self.patients) else 0

    def studies_of_each(self) -> Tensor:
        """Number of studies of each patient, `[num_patients]`."""
        return torch.bincount(self.patients, minlength=self.num_patients)

    def weight_of_each(self) -> Tensor | None:
        """What each patient's clipped gradient is multiplied by, `[num_patients]`; None where all count in full.

        Never above 1, whatever `weights` holds: the sensitivity rests on it.
        """
        return None if self.weights is None else self._of_each(self.weights).clamp(0.0, 1.0)

    def _of_each(self, value_N: Tensor) -> Tensor:
        """The value of each patient, which all studies of a patient share."""
        return value_N.new_ones(self.num_patients).index_put((self.patients,), value_N)


class PrivateStudies(Sample):
    """All private studies of one site, or those of a sample; none is read before it is asked for."""

    kept: Tensor | None
    """Probability that each study's patient stays in a sample once drawn, `[N]`, float64, at most 1; None: all stay."""

    @abstractmethod
    def by_group(
        self, *, kept: Tensor | None = None, weights: Tensor | None = None, groups: Tensor | None = None
    ) -> PrivateStudies:
        """The same studies, told apart by group; `kept` and `weights` are one value a patient."""

    def stay_of_each(self) -> Tensor | None:
        """Probability that each patient stays in a sample once drawn, `[num_patients]`, on the CPU."""
        return None if self.kept is None else self._of_each(self.kept).cpu()

    @abstractmethod
    def among(self, studies: Tensor, patients: Tensor) -> PrivateStudies:
        """Some of the studies.

        Args:
            studies: Positions `[R]`.
            patients: New numbers `[R]` of their patients, ascending.
        """

    @abstractmethod
    def one_image_each(self, randomness: Randomness) -> PrivateStudies:
        """The same studies, each with one of its images, uniformly at random and apart from all other studies.

        Nothing is drawn where each has one.
        """

    @abstractmethod
    def to(self, device: str) -> PrivateStudies:
        """The same studies, read to a device."""


@dataclass(frozen=True)
class Records(PrivateStudies):
    """Private studies of one site as the towers see them, in memory, with one image each.

    Attributes:
        images: Image features `[N, ...]`.
        reports: Report features `[N, ...]`.
        patients: Patient number `[N]` of each study, int64, ascending from 0 without gaps.
        weights: See `Sample`.
        groups: See `Sample`.
        kept: See `PrivateStudies`; a sample's patients were kept already.
        halves: Whether each study has its image, and its report, `[N, 2]`, bool; None where all have both.
        views: Another view of each image, `[N, ...]`, that the objective compares with it; None where it asks for none.
    """

    images: Tensor
    reports: Tensor
    patients: Tensor
    weights: Tensor | None = None
    groups: Tensor | None = None
    kept: Tensor | None = None
    halves: Tensor | None = None
    views: Tensor | None = None

    def rows(self, rows: Tensor | slice) -> Records:
        """See `Sample`."""
        return self.among(rows, self.patients[rows])

    def among(self, studies: Tensor | slice, patients: Tensor) -> Records:
        """See `PrivateStudies`."""
        told = {name: some(getattr(self, name), studies) for name in ("weights", "groups", "halves", "views")}
        return Records(self.images[studies], self.reports[studies], patients, **told)

    def by_group(
        self, *, kept: Tensor | None = None, weights: Tensor | None = None, groups: Tensor | None = None
    ) -> Records:
        """See `PrivateStudies`."""
        return replace(self, kept=kept, weights=weights, groups=groups)

    def one_image_each(self, randomness: Randomness) -> Records:  # noqa: ARG002 - they have one
        """See `PrivateStudies`."""
        return self

    def to(self, device: str) -> Records:
        """See `PrivateStudies`."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items() if value is not None})


def some(values: Tensor | None, rows: Tensor | slice) -> Tensor | None:
    """Some of the values, where there are any."""
    return None if values is None else values[rows]


def sample_patients(records: PrivateStudies, probability: float, randomness: Randomness) -> PrivateStudies:
    """The studies of a Poisson sample of the patients, renumbered without gaps, each with one of its images.

    A patient who stays with probability r once drawn joins with r times `probability`, independently of all others.

    Privacy: never more than if all joined with `probability`. With P the step's outcome without the patient and Q the
    one with them in the sample, the outcome is (1 - rq) P + rq Q = (1 - r) P + r [(1 - q) P + q Q]. Every hockey-stick
    divergence is jointly convex, so that of this mixture from P, and of P from it, is at most r times that at q. So
    unequal rates are charged as the largest; the others' rates do not enter, for each of their draws the same holds.
    """
    chosen = _drawn(records, probability, randomness).to(records.patients.device)
    studies = chosen[records.patients].nonzero().flatten()
    numbers = torch.cumsum(chosen, dim=0) - 1
    return records.among(studies, numbers[records.patients[studies]]).one_image_each(randomness)


def _drawn(records: PrivateStudies, probability: float, randomness: Randomness) -> Tensor:
    """Who joins a step, `[num_patients]`: drawn alike, then kept by a coin of their own."""
    chosen, stay_P = randomness.participants(records.num_patients, probability), records.stay_of_each()
    for stay in () if stay_P is None else stay_P.unique().tolist():
        of_this = (stay_P == stay).nonzero().flatten()
        chosen[of_this] &= randomness.participants(len(of_this), stay)
    return chosen


class ChunksAhead:
    """Consecutive whole patients of a sample, renumbered from 0 in each chunk; the next is read while one is used.

    A chunk holds at most `chunk_size` studies, or one patient alone who has more. The first is begun at once.

    Args:
        sample: The studies.
        chunk_size: Studies of a chunk.
        thread: Reads.
    """

    def __init__(self, sample: Sample, chunk_size: int, thread: Executor) -> None:
        self._spans = _spans(sample, chunk_size)
        self._sample, self._thread = sample, thread
        self._next = self._begin()

    def __iter__(self) -> Iterator[Records]:
        while self._next is not None:
            chunk = self._next.result()
            self._next = self._begin()
            yield chunk

    def _begin(self) -> Future[Records] | None:
        span = next(self._spans, None)
        return None if span is None else self._thread.submit(_read, self._sample, *span)


def chunks_of_patients(sample: Sample, chunk_size: int) -> Iterator[Records]:
    """As `ChunksAhead`, each read when it is asked for."""
    return (_read(sample, *span) for span in _spans(sample, chunk_size))


def _spans(sample: Sample, chunk_size: int) -> Iterator[tuple[int, int, int]]:
    """First row of each chunk, the row after its last, and its first patient."""
    start = first = size = 0
    for patient, count in enumerate(sample.studies_of_each().tolist()):
        if size and size + count > chunk_size:
            yield start, start + size, first
            start, first, size = start + size, patient, 0
        size += count
    if size:
        yield start, start + size, first


def _read(sample: Sample, start: int, stop: int, first_patient: int) -> Records:
    part = sample.rows(slice(start, stop))
    return replace(part, patients=part.patients - first_patient)
