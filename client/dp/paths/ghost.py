"""Ghost clipping for large transformers: per-patient norms without per-patient gradients of the linear maps.

Linear maps hold nearly all weights of a transformer; they take the closed form of `linear.py`, over all tokens of all
studies of a patient. What is left (norms, embeddings, convolutions) is small, and Opacus 1.6 gives its per-record
gradients. One forward and one backward pass over activations, no pass over weights, and then one matrix product a map
(book-keeping, Bu et al., arXiv 2210.00038).

Of Opacus only the samplers by layer kind are used: its hooks count a module that is called twice, or weights read past
their module, wrongly (facts and sources in `common/decisions/0012-per-patient-gradient-paths.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

from client.dp.paths.capture import Call, capture, trained_modules
from client.dp.paths.interface import Differentiation, Materialised, Part, PatientGradients, mean_by_patient
from client.dp.paths.linear import Padding, is_linear, linear_parts
from client.dp.records import Records
from common.encoders.dual import DualEncoder, trainable_names
from common.errors import ConfigError
from common.losses.public import Public


@dataclass(frozen=True)
class GhostPath:
    """See the module's text."""

    differentiation: Differentiation

    def refuse(self, model: DualEncoder) -> None:
        """See `GradientPath`."""
        for name, module in trained_modules(model).items():
            if not is_linear(module) and type(module) not in GradSampleModule.GRAD_SAMPLERS:
                raise ConfigError(
                    f"training.gradients=ghost: {name} ({type(module).__name__}) owns trained parameters whose "
                    "gradients cannot be read off its input and output; freeze them or use training.gradients=vmap"
                )

    def chunk_size(self, records: Records, configured: int) -> int:  # noqa: ARG002 - the protocol
        """See `GradientPath`."""
        return configured

    def gradients(self, model: DualEncoder, chunk: Records, weight_R: Tensor, public: Public) -> PatientGradients:
        """See `GradientPath`."""
        calls, num_bad = capture(model, chunk, public, self.differentiation, path="ghost")
        padding = Padding.of(chunk)
        parts: dict[str, Part] = {}
        for name, module in trained_modules(model).items():
            if is_linear(module):
                parts |= linear_parts(name, module, calls[name], weight_R, padding)
            else:
                sampled = _sampled(module, calls[name])
                parts |= {
                    f"{name}.{own}": Materialised(mean_by_patient(sampled[parameter], chunk, weight_R))
                    for own, parameter in module.named_parameters(recurse=False)
                    if parameter.requires_grad
                }
        return PatientGradients([parts[name] for name in trainable_names(model)], num_bad)


def _sampled(module: nn.Module, calls: Sequence[Call]) -> dict[nn.Parameter, Tensor]:
    """Gradients `[R, ...]` of each of a module's parameters: those of its calls, added up."""
    total: dict[nn.Parameter, Tensor] = {}
    for call in calls:
        entered = call.entered.float() if call.entered.is_floating_point() else call.entered
        gradients = GradSampleModule.GRAD_SAMPLERS[type(module)](module, [entered], call.leaving.float())
        total = {parameter: total.get(parameter, 0) + gradient for parameter, gradient in gradients.items()}
    return total
