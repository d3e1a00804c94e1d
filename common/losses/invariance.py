"""Invariance: an image in another view keeps its embedding and its code.

A view is the image moved and brightened a little (`client/dp/views.py`), as another unit or another day would have
taken it. The study's own embedding and code are the teacher, without gradient, and the view's are drawn to them:

    value = (1 - cos(embedding, view's embedding)) + (1 - cos(code, view's code))

It asks nothing of the report, so a study that has none is trained by it, too.

Coupling: none. A view is a draw for its record alone and part of that record, so the patient's clip covers it: whatever
views are drawn, a patient's mean gradient is clipped once.
Edge cases: a study without image counts zero; without views there is nothing to compare, which is refused.

Shapes: B batch, D embedding, K bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from common.encoders.dual import Embedded
from common.errors import ConfigError
from common.losses.interface import Coupling
from common.losses.public import Public


@dataclass(frozen=True, kw_only=True)
class Invariance:
    """How far a view's embedding and code are from the image's."""

    temperature: float
    coupling: ClassVar[Coupling] = Coupling.NONE
    of_codes: ClassVar[bool] = False
    reads_anchors: ClassVar[bool] = False
    of_pairs: ClassVar[bool] = False

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:  # noqa: ARG002 - see `Term`
        """See `Term`.

        Raises:
            ConfigError: The images have no views beside them.
        """
        if image.view is None:
            raise ConfigError("loss.name: invariance compares views of an image, and there are none; leave it out")
        near_B = cosine_similarity(image.view.embedding, image.embedding.detach(), dim=-1)
        near_B = near_B + cosine_similarity(image.view.code, image.code.detach(), dim=-1)
        return 2 - near_B if image.present is None else torch.where(image.present, 2 - near_B, 0.0)
