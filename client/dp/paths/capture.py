"""One batched pass that keeps what enters each trained module and the gradient of what leaves it.

A trained module's per-record gradients follow from the two without differentiating anybody alone (Goodfellow, arXiv
1510.01799). That holds only where the module's own call is the only use of its parameters, so every use is counted in
the graph: weights that a function reads past the module, or that two modules share, are refused.

Shapes: R studies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from client.dp.paths.interface import Differentiation, embedded
from client.dp.records import Records
from common.encoders.dual import DualEncoder
from common.errors import ConfigError
from common.losses.public import Public


@dataclass(frozen=True)
class Call:
    """One call of a trained module.

    Attributes:
        entered: Its input `[R, ...]`.
        leaving: Gradient of each record's value with respect to its output, `[R, ...]`.
    """

    entered: Tensor
    leaving: Tensor


def trained_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Modules that own trained parameters, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    }


def capture(
    model: DualEncoder, chunk: Records, public: Public, differentiation: Differentiation, *, path: str
) -> tuple[dict[str, list[Call]], int]:
    """Every trained module's calls, by the module's name, and the number of records that are not finite.

    A record with a non-finite number anywhere counts as zero everywhere.

    Raises:
        ConfigError: A trained parameter is used other than by its module's call.
    """
    modules = trained_modules(model)
    recorder = _Recorder(modules)
    with recorder, torch.enable_grad(), differentiation.autocast(chunk.images.device):
        value_R = differentiation.objective(*embedded(model, chunk), public, chunk.groups)
    _refuse_other_uses(value_R, modules, recorder, path=path)
    outputs = [output for output, _ in recorder.calls]
    leaving = torch.autograd.grad(value_R.sum(), outputs)
    pairs = [(entered, gradient) for (_, entered), gradient in zip(recorder.calls, leaving, strict=True)]
    bad_R = _not_finite(pairs)
    num_bad = int(bad_R.sum())
    calls: dict[str, list[Call]] = {name: [] for name in modules}
    for name, (entered, gradient) in zip(recorder.names, pairs, strict=True):
        calls[name].append(
            Call(_zeroed(entered, bad_R), _zeroed(gradient, bad_R)) if num_bad else Call(entered, gradient)
        )
    return calls, num_bad


class _Recorder:
    """Keeps the output and the input of each call of some modules, in the order of the calls."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._modules = modules
        self._handles: list[Any] = []
        self.names: list[str] = []
        self.calls: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> None:
        self._handles = [module.register_forward_hook(self._hook(name)) for name, module in self._modules.items()]

    def __exit__(self, *raised: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Any:  # noqa: ANN401 - torch's hook type is private
        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001 - a hook
            self.names.append(name)
            self.calls.append((output, inputs[0].detach()))

        return keep


def _refuse_other_uses(value_R: Tensor, modules: Mapping[str, nn.Module], recorder: _Recorder, *, path: str) -> None:
    uses, calls = Counter(_leaves(value_R)), Counter(recorder.names)
    for name, module in modules.items():
        for own, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and (uses[parameter] != calls[name] or not calls[name]):
                raise ConfigError(
                    f"training.gradients={path}: {name}.{own} is used {uses[parameter]} times "
                    f"in {calls[name]} calls of its module ({type(module).__name__}), so its gradient cannot be read "
                    "off the calls; use training.gradients=vmap, or call the module instead of its weights"
                )


def _leaves(value: Tensor) -> Iterator[Tensor]:
    """Each use of a leaf tensor in the graph of a value, as often as it is used."""
    seen = set()
    waiting = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for following, _ in node.next_functions:
            if following is not None and hasattr(following, "variable"):
                yield following.variable
            else:
                waiting.append(following)


def _not_finite(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Records with a number that is not finite, or so large that its square is not."""
    norms = [
        torch.linalg.vector_norm(value.flatten(1), dim=1, dtype=torch.float32)
        for pair in pairs
        for value in pair
        if value.is_floating_point()
    ]
    finite_R: Tensor = torch.stack(norms).isfinite().all(dim=0)
    return ~finite_R


def _zeroed(value: Tensor, bad_R: Tensor) -> Tensor:
    return value.masked_fill(bad_R.view(-1, *[1] * (value.dim() - 1)), 0)
