"""Adversarial training: each study is learnt from as its own worst neighbour, changed against its own code.

| what a tower sees | how it is changed |
| --- | --- |
| pixels | gradient steps within the body, no grey value by more than `pixels` (`ascent.py`) |
| computed features of a frozen part, of images and of reports | the same steps within a share of their length |
| word numbers | words are lost and misspelt at random (`words.py`) |

The steps take the relaxed code of an image, or of a report, as far as they can from what it was; the loss then asks the
pair to stay aligned as it always does.

Privacy. The change of a record is a function of that record, of the model and of public numbers; that of word numbers
also of chance that is drawn for each record, as secret as that of views under privacy. No other record enters. So it is
a part of the record's own gradient, which is clipped as ever: unit of privacy, neighbouring relation, sensitivity and
what is charged stay as they are. Directions have no cliff, so that rounding, which depends on who else is in a chunk,
moves a record's change by rounding alone.
Edge cases: a record with a number that is not finite stays not finite, and counts as zero; an image without a body
stays; a record whose slope is 0 stays.

Shapes: B records, `...` what a tower sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from common.adversarial.ascent import Ball, Greys, Region, level, moved
from common.adversarial.words import with_errors
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, Embedded
from common.errors import ConfigError
from common.hashing.head import head_outputs


@dataclass(frozen=True, kw_only=True)
class Hardening:
    """How hard training makes its studies.

    Attributes:
        steps: Gradient steps; 0 leaves all as it is.
        pixels: Most that a grey value moves, of 255.
        features: Most that computed features move, over their own length.
        words: Probability that a word of a report is lost or misspelt.
        vocabulary: One above the largest word number.
    """

    steps: int
    pixels: float
    features: float
    words: float
    vocabulary: int

    def hardened(
        self, model: DualEncoder, images: Tensor, reports: Tensor, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Images and reports `[B, ...]`, each changed against the model as it is.

        Args:
            model: Changed by nothing.
            images: Pixels of type uint8, or features.
            reports: Word numbers, or features.
            generator: Of what chance does to words.

        Raises:
            ConfigError: Features are neither vectors nor pixels.
        """
        if not self.steps:
            return images, reports
        images = self._away(model, model.embed_images, images)
        if reports.is_floating_point():
            return images, self._away(model, model.embed_reports, reports)
        return images, with_errors(reports, share=self.words, vocabulary=self.vocabulary, generator=generator)

    def _away(self, model: DualEncoder, embed: Callable[[Tensor], Embedded], features: Tensor) -> Tensor:
        region, start = self._region(features), features.to(torch.float32)

        def outputs(seen: Tensor) -> Tensor:
            return head_outputs(model.hash_head, embed(seen).embedding)

        with torch.no_grad():
            own_BK = embed(start).code
        return moved(outputs, start, own_BK, region, towards=-1, steps=self.steps)

    def _region(self, features: Tensor) -> Callable[[Tensor], Region]:
        if not features.is_floating_point():
            return partial(Greys, epsilon=self.pixels, direction=level)
        if features.dim() == 2:
            return partial(Ball, share=self.features)
        raise ConfigError(
            f"training.adversarial.steps={self.steps}: the trained part sees hidden states beside their mask, which "
            "steps would blur; set training.adversarial.steps=0, or train heads alone (encoder.trainable_blocks=0)"
        )


NO_HARDENING = Hardening(steps=0, pixels=0.0, features=0.0, words=0.0, vocabulary=2)


def hardening_of(config: RunConfig) -> Hardening:
    """What a config asks for."""
    asked = config.training.adversarial
    return Hardening(
        steps=asked.steps,
        pixels=asked.pixels,
        features=asked.features,
        words=asked.words,
        vocabulary=config.encoder.vocabulary,
    )
