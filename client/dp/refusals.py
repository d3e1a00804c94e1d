"""Models that no per-record gradient can make private, refused with the reason and the remedy."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd

from common.errors import ConfigError


def refuse_unsound(model: nn.Module) -> None:
    """Refuse what couples records or breaks the independence of their randomness.

    Raises:
        ConfigError: A module normalises by the batch, updates running statistics, or draws dropout masks.
    """
    for name, module in model.named_modules():
        if isinstance(module, _NormBase) and _reads_the_batch(module):
            raise ConfigError(
                f"{name} ({type(module).__name__}): statistics of the batch mix patients, so clipping bounds nothing; "
                "use LayerNorm or GroupNorm, or keep the module frozen in evaluation mode with running statistics"
            )
        if isinstance(module, _DropoutNd) and module.training and module.p > 0:
            raise ConfigError(
                f"{name} ({type(module).__name__}): masks come from one stream for the whole batch, so removing a "
                "patient changes the others' masks; set its p to 0 or keep the module in evaluation mode"
            )


def _reads_the_batch(module: _NormBase) -> bool:
    if isinstance(module, _BatchNorm):
        return module.training or module.running_mean is None
    return module.training and module.track_running_stats
