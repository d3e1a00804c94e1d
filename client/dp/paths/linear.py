"""The closed form for linear maps: norms without gradients, one matrix product for the clipped sum.

The gradient of a map `y = W z + b` is a sum over the rows that one patient sends through it, `sum_i g_i z_i^T`, with z
what enters and g the gradient of what leaves. Its squared norm is `sum_ij (g_i . g_j)(z_i . z_j)`, two small Gram
matrices (Goodfellow, arXiv 1510.01799; for rows of a sequence, Li et al., arXiv 2110.05679), and the sum of clipped
gradients is one product of all rows (Bu et al., arXiv 2210.00038). Rows of several calls, tokens and studies of a
patient are treated alike, so a map may be called twice and a patient may have several studies.

Cancellation: rounding is a share of S, the sum of the terms' lengths `|g_i||z_i|`, not of the norm. Where the terms of
a patient cancel to less than `DOUBTFUL_SHARE` of S, the norm is computed again in float64; where to less than
`LEAST_SHARE`, not even the clipped sum could carry the difference in float32, and the patient is clipped as if to that
share. The bound holds, and no honest gradient is that small a difference.

Shapes: R studies, G patients, N rows of a patient, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from client.dp.paths.capture import Call, capture, trained_modules
from client.dp.paths.interface import Differentiation, Materialised, Part, PatientGradients
from client.dp.records import Records
from common.encoders.dual import DualEncoder, trainable_names
from common.errors import ConfigError
from common.losses.public import Public

DOUBTFUL_SHARE = 0.1
"""Norm of a patient's gradient, over the sum of its terms' lengths, below which float32 may err by 1e-5 of it."""

LEAST_SHARE = 1e-3
"""Least norm of a patient's gradient, over the sum of its terms' lengths, that float32 sums can carry."""

VECTORS_AT_ONCE = 1024
"""Studies at once where features are vectors: nothing of a patient's gradient lies in memory."""


@dataclass(frozen=True)
class FactoredWeight:
    """Gradients of a linear map's weight, as factors.

    Attributes:
        entered: z, `[G, N, I]`.
        leaving: g, `[G, N, O]`.
    """

    entered: Tensor
    leaving: Tensor

    def squares(self) -> Tensor:
        """See `Part`."""
        squares_G, lengths_G = _squares(self.entered, self.leaving)
        doubtful_G = ~(squares_G >= (DOUBTFUL_SHARE * lengths_G).square())
        if not bool(doubtful_G.any()):
            return squares_G
        again_D, lengths_D = _squares(self.entered[doubtful_G].double(), self.leaving[doubtful_G].double())
        # torch.maximum, unlike clamp, lets NaN through: it must not pass for a small norm.
        squares_G[doubtful_G] = torch.maximum(again_D, (LEAST_SHARE * lengths_D).square()).to(squares_G)
        return squares_G

    def weighted_sum(self, scale_G: Tensor) -> Tensor:
        """See `Part`."""
        scaled = self.leaving * scale_G.to(self.leaving)[:, None, None]
        return scaled.flatten(0, 1).T @ self.entered.flatten(0, 1)


@dataclass(frozen=True)
class LinearPath:
    """See the module's text."""

    differentiation: Differentiation

    def refuse(self, model: DualEncoder) -> None:
        """See `GradientPath`."""
        name = first_not_linear(model)
        if name is not None:
            raise ConfigError(
                f"training.gradients=linear: {name} is trained and is no linear map; use training.gradients=auto, or "
                "train the heads alone (encoder.trainable=heads)"
            )

    def chunk_size(self, records: Records, configured: int) -> int:
        """See `GradientPath`."""
        vectors = records.images.dim() == records.reports.dim() == 2 and records.reports.is_floating_point()
        return max(configured, VECTORS_AT_ONCE) if vectors else configured

    def gradients(self, model: DualEncoder, chunk: Records, weight_R: Tensor, public: Public) -> PatientGradients:
        """See `GradientPath`."""
        calls, num_bad = capture(model, chunk, public, self.differentiation, path="linear")
        padding = Padding.of(chunk)
        parts: dict[str, Part] = {}
        for name, module in trained_modules(model).items():
            parts |= linear_parts(name, module, calls[name], weight_R, padding)
        return PatientGradients([parts[name] for name in trainable_names(model)], num_bad)


def first_not_linear(model: nn.Module) -> str | None:
    """The first trained parameter that is not of a linear map; None where all are."""
    for name, module in trained_modules(model).items():
        if not is_linear(module):
            return f"{name} ({type(module).__name__})"
    return None


def is_linear(module: nn.Module) -> bool:
    """Whether a module computes what `nn.Linear` computes."""
    return isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward


@dataclass(frozen=True)
class Padding:
    """Where each of R studies stands in a `[G, M]` table of patients and their studies.

    Attributes:
        patients: Its patient `[R]`.
        places: Its place `[R]` among the patient's studies.
        shape: G and M, the greatest number of studies of a patient.
    """

    patients: Tensor
    places: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, chunk: Records) -> Padding:
        """The table of a chunk."""
        counts = chunk.studies_of_each()
        first = torch.cumsum(counts, dim=0) - counts
        places = torch.arange(len(chunk.patients), device=counts.device) - first[chunk.patients]
        return cls(chunk.patients, places, (len(counts), int(counts.max())))

    def rows(self, value: Tensor) -> Tensor:
        """Rows `[G, M * N, F]` by patient of rows `[R, N, F]` by study, padded with zeros."""
        if self.shape[1] == 1:
            return value
        table = value.new_zeros(*self.shape, *value.shape[1:])
        table[self.patients, self.places] = value
        return table.flatten(1, 2)


def linear_parts(
    name: str, module: nn.Module, calls: Sequence[Call], weight_R: Tensor, padding: Padding
) -> dict[str, Part]:
    """Parts of a linear map's trained weight and bias, by the parameter's name."""
    z_GNI = padding.rows(_joined([call.entered for call in calls]))
    g_RNO = _joined([call.leaving for call in calls])
    g_GNO = padding.rows(g_RNO if bool((weight_R == 1).all()) else g_RNO * weight_R.to(g_RNO)[:, None, None])
    parts: dict[str, Part] = {}
    weight, bias = module.weight, module.bias
    if weight.requires_grad:
        parts[f"{name}.weight"] = weight_part(z_GNI, g_GNO)
    if bias is not None and bias.requires_grad:
        parts[f"{name}.bias"] = Materialised(g_GNO.sum(dim=1))
    return parts


def weight_part(z_GNI: Tensor, g_GNO: Tensor) -> Part:
    """As factors where two Gram matrices of the rows are smaller than the gradient itself."""
    if 2 * z_GNI.shape[1] ** 2 <= z_GNI.shape[2] * g_GNO.shape[2]:
        return FactoredWeight(z_GNI, g_GNO)
    return Materialised(g_GNO.mT @ z_GNI)


def _squares(z_GNI: Tensor, g_GNO: Tensor) -> tuple[Tensor, Tensor]:
    """Squared norms `[G]` of `sum_i g_i z_i^T`, and the sums `[G]` of the terms' lengths."""
    gram_GNN = (z_GNI @ z_GNI.mT) * (g_GNO @ g_GNO.mT)
    return gram_GNN.sum(dim=(-2, -1)), gram_GNN.diagonal(dim1=-2, dim2=-1).sqrt().sum(dim=-1)


def _joined(values: Sequence[Tensor]) -> Tensor:
    """Rows `[R, N, F]` of all calls, float32; a call on `[R, F]` has one row a record."""
    rows = [value.float().reshape(len(value), -1, value.shape[-1]) for value in values]
    return torch.cat(rows, dim=1) if len(rows) > 1 else rows[0]
