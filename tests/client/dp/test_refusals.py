"""Modules that mix patients or share randomness are refused in training, with the remedy; frozen ones are not."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn

from client.dp.refusals import refuse_unsound
from common.errors import ConfigError


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.SyncBatchNorm])
def test_batch_norm_in_training_is_refused(kind: type[nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(4, 4), kind(4))
    with pytest.raises(ConfigError, match=rf"^1 \({kind.__name__}\): .*LayerNorm or GroupNorm"):
        refuse_unsound(model)


def test_batch_norm_without_running_statistics_is_refused_even_in_evaluation() -> None:
    with pytest.raises(ConfigError, match="BatchNorm1d"):
        refuse_unsound(nn.BatchNorm1d(4, track_running_stats=False).eval())


def test_instance_norm_that_keeps_statistics_is_refused() -> None:
    refuse_unsound(nn.InstanceNorm1d(4))
    with pytest.raises(ConfigError, match="InstanceNorm1d"):
        refuse_unsound(nn.InstanceNorm1d(4, track_running_stats=True))


def test_dropout_in_training_is_refused() -> None:
    with pytest.raises(ConfigError, match="set its p to 0"):
        refuse_unsound(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1)))


def test_sound_models_pass() -> None:
    refuse_unsound(nn.Sequential(nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.Dropout(0.0), nn.Linear(4, 4)))
    refuse_unsound(nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5)).eval())


class Normalised(nn.Module):
    """A tower with a batch norm on top."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.norm = nn.BatchNorm1d(8)

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings `[B, 8]`."""
        normed: Tensor = self.norm(self.tower(features))
        return normed


@pytest.mark.parametrize("path", ["auto", "vmap", "linear", "ghost"])
def test_engine_refuses_before_any_gradient(make_case: Any, path: str) -> None:
    case = make_case("heads")
    case.model.image_tower = Normalised(case.model.image_tower)
    with pytest.raises(ConfigError, match=r"image_tower\.norm \(BatchNorm1d\)"):
        case.engine(gradients=path).clipped_sum(case.model, case.records, case.public)
