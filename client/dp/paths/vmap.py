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

from client.dp.paths.interface import Differentiation, Materialised, PatientGradients, mean_by_patient, with_told
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

        def value(parameters: Gradients, record: dict[str, Tensor]) -> Tensor:
            pair = _embedded({**parameters, **frozen}, record)
            groups = record["groups"].unsqueeze(0) if "groups" in record else None
            return self.differentiation.objective(*pair, public, groups).squeeze(0)

        def _embedded(state: Gradients, record: dict[str, Tensor]) -> tuple[Embedded, Embedded]:
            """The record's two halves; a view of its image goes through the tower beside it."""
            images = torch.stack([record[name] for name in ("images", "views") if name in record])
            both, report = functional_call(model, state, (images, record["reports"].unsqueeze(0)))
            image, view = _row(both, slice(0, 1)), _row(both, slice(1, 2)) if "views" in record else None
            halves = record["halves"].unsqueeze(0) if "halves" in record else None
            return with_told(image, report, halves=halves, view=view)

        transformed = vmap(grad(value), in_dims=(None, 0))
        where = _LastModule(model)
        try:
            with self.differentiation.autocast(chunk.images.device), where:
                gradients: Gradients = transformed(trained, _columns(chunk))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, NotImplementedError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(
                f"training.gradients=vmap: {where.text} cannot be differentiated one record at a time ({reason}); "
                "write it without random draws, in-place changes and branches on data, or freeze it"
            ) from error
        return gradients


def _columns(chunk: Records) -> dict[str, Tensor]:
    """What the objective reads of each study, by name, where there is some of it."""
    columns = {name: getattr(chunk, name) for name in ("images", "views", "reports", "groups", "halves")}
    return {name: column for name, column in columns.items() if column is not None}


def _row(both: Embedded, row: slice) -> Embedded:
    """One of a record's images: the study's own, or its view."""
    return Embedded(both.embedding[row], both.code[row], None if both.group is None else both.group[row])


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
