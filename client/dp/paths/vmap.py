"""The default path: `vmap(grad)` over a chunk of studies.

Every record is differentiated as a batch of one, so no module can mix records whatever it does inside. It takes any
module that `torch.func` can transform, and memory for the chunk's per-record gradients.

Shapes: R studies of a chunk, G patients of a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from client.dp.paths.interface import Differentiation, Materialised, PatientGradients, mean_by_patient
from client.dp.records import Gradients, Records
from common.encoders.dual import DualEncoder, Embedded, trainable_names
from common.errors import ConfigError
from common.losses.public import Public


@dataclass(frozen=True)
class VmapPath:
    """See the module's text."""

    differentiation: Differentiation

    def refuse(self, model: DualEncoder) -> None:
        """Nothing is refused by its kind; what cannot be transformed is refused when it is met."""

    def chunk_size(self, records: Records, configured: int) -> int:  # noqa: ARG002 - the protocol
        """See `GradientPath`."""
        return configured

    def gradients(self, model: DualEncoder, chunk: Records, weight_R: Tensor, public: Public) -> PatientGradients:
        """See `GradientPath`."""
        per_record = self._per_record(model, chunk, public)
        norms_LR = torch.stack([torch.linalg.vector_norm(value.flatten(1), dim=1) for value in per_record.values()])
        # A norm whose square overflows says as little as one that is not finite.
        bad_R = ~norms_LR.square().isfinite().all(dim=0)
        num_bad = int(bad_R.sum())
        if num_bad:
            for value in per_record.values():
                value[bad_R] = 0.0
        parts = [Materialised(mean_by_patient(value, chunk, weight_R)) for value in per_record.values()]
        return PatientGradients(parts, num_bad)

    def _per_record(self, model: DualEncoder, chunk: Records, public: Public) -> Gradients:
        trained = {name: model.get_parameter(name).detach() for name in trainable_names(model)}
        frozen = {name: value for name, value in model.state_dict().items() if name not in trained}

        def value(parameters: Gradients, image: Tensor, report: Tensor, group: Tensor | None) -> Tensor:
            inputs = (image.unsqueeze(0), report.unsqueeze(0))
            pair: tuple[Embedded, Embedded] = functional_call(model, {**parameters, **frozen}, inputs)
            return self.differentiation.objective(*pair, public, None if group is None else group.unsqueeze(0)).squeeze(
                0
            )

        transformed = vmap(grad(value), in_dims=(None, 0, 0, None if chunk.groups is None else 0))
        where = _LastModule(model)
        try:
            with self.differentiation.autocast(chunk.images.device), where:
                gradients: Gradients = transformed(trained, chunk.images, chunk.reports, chunk.groups)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, NotImplementedError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(
                f"training.gradients=vmap: {where.text} cannot be differentiated one record at a time ({reason}); "
                "write it without random draws, in-place changes and branches on data, or freeze it"
            ) from error
        return gradients


class _LastModule:
    """Notes which module was entered last, so that a failure can name it."""

    def __init__(self, model: nn.Module) -> None:
        self._names = {module: name for name, module in model.named_modules()}
        self._handles: list[Any] = []
        self.text = "the model"

    def __enter__(self) -> None:
        self._handles = [module.register_forward_pre_hook(self._note) for module in self._names]

    def __exit__(self, *raised: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _note(self, module: nn.Module, inputs: object) -> None:  # noqa: ARG002 - the signature of a hook
        self.text = f"{self._names[module] or 'the model'} ({type(module).__name__})"
