"""What every gradient path offers: a chunk of patients in, each patient's mean gradient out.

The gradients come in a form that can be measured and summed without the clip rule knowing which path made it. Each
path gives what a loop over single studies gives. They differ in time, memory and the models that they take; see
`common/decisions/0012-per-patient-gradient-paths.md`.

Shapes: R studies of a chunk, G patients of a chunk, L trained parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from client.dp.records import Records
from common.config.registry import Registry
from common.encoders.dual import DualEncoder, Embedded
from common.losses.objective import Objective
from common.losses.public import Public


class Part(Protocol):
    """The G patients' gradients of one trained parameter."""

    def squares(self) -> Tensor:
        """Squared norm `[G]` of each patient's gradient, or an upper bound within rounding of it."""
        ...

    def weighted_sum(self, scale_G: Tensor) -> Tensor:
        """Sum over patients of scale times gradient, float32, in any shape of the parameter's size.

        A patient whose scale is 0 adds nothing, whatever the gradient holds.
        """
        ...


@dataclass(frozen=True)
class Materialised:
    """Gradients that lie in memory, `[G, ...]`."""

    gradient: Tensor

    def squares(self) -> Tensor:
        """See `Part`."""
        norm_G: Tensor = torch.linalg.vector_norm(self.gradient.flatten(1), dim=1)
        return norm_G.square()

    def weighted_sum(self, scale_G: Tensor) -> Tensor:
        """See `Part`."""
        gradient_GP, kept_G = self.gradient.flatten(1), scale_G > 0
        if not bool(kept_G.all()):
            gradient_GP, scale_G = gradient_GP[kept_G], scale_G[kept_G]
        return scale_G.to(gradient_GP) @ gradient_GP


@dataclass(frozen=True)
class PatientGradients:
    """The gradients of a chunk.

    Attributes:
        parts: One for each trained parameter, in the model's order.
        num_not_finite: Studies whose gradient was not finite and counts as zero. Private: it stays at the site.
    """

    parts: Sequence[Part]
    num_not_finite: int


@dataclass(frozen=True, kw_only=True)
class Differentiation:
    """What a path differentiates, and how.

    Attributes:
        objective: Values of embedded pairs; does not couple records.
        precision: `float32` or `bfloat16`, of the forward and backward pass.
    """

    objective: Objective
    precision: str

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The pass's precision. Casts are not cached: a cast that two uses share would look like one use."""
        return autocast(self.precision, device)


class GradientPath(Protocol):
    """One way to each patient's gradient."""

    def refuse(self, model: DualEncoder) -> None:
        """Refuse a model that this path cannot differentiate.

        Raises:
            ConfigError: It cannot; the reason and the remedy.
        """
        ...

    def chunk_size(self, records: Records, configured: int) -> int:
        """Studies at once, from `training.chunk_size`."""
        ...

    def gradients(self, model: DualEncoder, chunk: Records, weight_R: Tensor, public: Public) -> PatientGradients:
        """Each patient's weighted sum of the gradients of that patient's studies.

        Args:
            model: Changed by nothing.
            chunk: R studies of G patients.
            weight_R: Weight of each study, one over the patient's number of studies.
            public: What a record is compared with.

        Raises:
            ConfigError: An operation of the model cannot be differentiated this way.
        """
        ...


class PathFactory(Protocol):
    """Builds a path."""

    def __call__(self, differentiation: Differentiation) -> GradientPath:
        """The path for one objective and precision."""
        ...


PATHS: Registry[PathFactory] = Registry(
    "training.gradients",
    {
        "vmap": "client.dp.paths.vmap:VmapPath",
        "linear": "client.dp.paths.linear:LinearPath",
        "ghost": "client.dp.paths.ghost:GhostPath",
    },
)


def embedded(model: DualEncoder, records: Records) -> tuple[Embedded, Embedded]:
    """Both halves of some studies in one pass, each with what is told of it.

    Views go through the tower by themselves: a row of a call is then one study, as the paths read it.
    """
    image, report = model(records.images, records.reports)
    view = None if records.views is None else model.embed_views(records.views)
    return with_told(image, report, halves=records.halves, view=view)


def with_told(
    image: Embedded, report: Embedded, *, halves: Tensor | None, view: Embedded | None
) -> tuple[Embedded, Embedded]:
    """Embedded studies with what is told of them.

    Args:
        image: Of each study.
        report: Of each study.
        halves: Which halves each has, `[R, 2]`; None where all have both.
        view: The images in another view.
    """
    has_image, has_report = (None, None) if halves is None else halves.unbind(dim=-1)
    return image._replace(present=has_image, view=view), report._replace(present=has_report)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of a forward and backward pass in `training.precision`; parameters stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False)


def mean_by_patient(gradient: Tensor, chunk: Records, weight_R: Tensor) -> Tensor:
    """Weighted sums `[G, ...]` by patient of gradients `[R, ...]`; the same tensor where there is nothing to sum."""
    if chunk.num_patients == len(weight_R) and bool((weight_R == 1).all()):
        return gradient
    weight_GR = gradient.new_zeros(chunk.num_patients, len(weight_R))
    weight_GR[chunk.patients, torch.arange(len(weight_R), device=weight_R.device)] = weight_R.to(gradient)
    return (weight_GR @ gradient.flatten(1)).view(-1, *gradient.shape[1:])
