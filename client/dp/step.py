"""What a step of local training is made of: a sample, its gradient, and noise that is drawn while that is computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor

import torch
from torch import Tensor

from client.dp.randomness import Noise
from client.dp.records import Gradients, PrivateStudies, Records
from common.encoders.dual import DualEncoder, trainable_names
from common.losses.public import Public

Sampler = Callable[[Executor], Iterable[Records]]
"""Draws a step's studies and begins to read them; the executor reads what follows while what came before is used.

It raises `DataError` where the studies cannot be read, now or later.
"""


class GradientSource(ABC):
    """One step's gradient from a site's private studies.

    What a step draws it draws in this order, and never twice: its sample, then its noise. Whoever draws ahead
    (`client/training/ahead.py`) keeps to it, so that a source that repeats gives the same draws either way.
    """

    @abstractmethod
    def sampler(self, model: DualEncoder, records: PrivateStudies) -> Sampler:
        """What draws the sample of each step.

        The model is looked at here alone: while a gradient is computed its parameters may be others for a moment.

        Args:
            model: What is trained; its values do not matter.
            records: The site's private studies.

        Raises:
            ConfigError: The model cannot be differentiated as asked, or there are no pixels to make views from.
        """

    @abstractmethod
    def noise(self, num_values: int) -> Noise:
        """Draw what is added to the sum over the sample, of so many values."""

    @abstractmethod
    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """Gradient of each trained parameter, by name, float32.

        Args:
            model: What is trained.
            sample: From the sampler, gone through once.
            public: What a record is compared with.
            noise: Waits for the noise, of as many values as the model trains; called once, after the sum is made.

        Raises:
            ConfigError: The model couples records or cannot be differentiated one record at a time.
            DataError: The studies cannot be read.
        """

    def gradient(self, model: DualEncoder, records: PrivateStudies, public: Public) -> Gradients:
        """One step by itself: sample, gradient, noise.

        Raises:
            ConfigError: As of `sampler` and `gradient_of`.
            DataError: The studies cannot be read.
        """
        with ThreadPoolExecutor(1) as reader:
            sample = self.sampler(model, records)(reader)
            return self.gradient_of(model, sample, public, lambda: self.noise(num_trained(model)))


def num_trained(model: DualEncoder) -> int:
    """How many values training moves."""
    return sum(model.get_parameter(name).numel() for name in trainable_names(model))


def noised_mean(total: Gradients, noise: Noise, expected_patients: float) -> Gradients:
    """A clipped sum with its noise, over the public normaliser.

    The noise goes on one vector: no two parameters can share a draw, and it costs one pass. The sum is not rounded to
    float32 before: the error would grow with the whole sum and not with what one patient adds.
    """
    flat = torch.cat([value.flatten() for value in total.values()])
    noised: Tensor = noise.added_to(flat) / expected_patients
    pieces = noised.split([value.numel() for value in total.values()])
    return {name: piece.view_as(total[name]) for name, piece in zip(total, pieces, strict=True)}
