"""The scratch encoder: what must not matter does not, and each record has its own derivative."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from common.config.load import load_config
from common.config.schema import EncoderConfig
from common.encoders.interface import Tower
from common.encoders.scratch import ScratchEncoder, build, word_numbers
from common.errors import ConfigError

# Attention under vmap takes a slower path on the CPU, still faster than attention written out (0.19 s to 0.30 s).
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")

CONFIG = replace(
    load_config().encoder,
    embedding_dim=8,
    image_size=16,
    patch_size=4,
    width=16,
    image_depth=2,
    report_depth=2,
    num_heads=2,
    max_tokens=12,
    vocabulary=128,
    trainable="all",
)
REPORTS = ["No effusion.", "Large left effusion; heart enlarged.", "", "Nodule 12 mm. " * 9]


def towers(config: EncoderConfig = CONFIG) -> tuple[Tower, Tower]:
    return build(config).towers(torch.Generator().manual_seed(0))


def images(number: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(40, 120, (number, 16, 16), generator=generator, dtype=torch.uint8)


def reports() -> Tensor:
    return build(CONFIG).report_features(REPORTS)


@pytest.mark.parametrize(("side", "features"), [(0, images()), (1, reports())])
def test_vmap_gradient_equals_one_record_at_a_time(side: int, features: Tensor) -> None:
    tower = towers()[side]
    parameters = {name: value.detach() for name, value in tower.named_parameters()}

    def loss(values: dict[str, Tensor], feature: Tensor) -> Tensor:
        return functional_call(tower, values, (feature[None],)).sin().sum()

    by_record = vmap(grad(loss), in_dims=(None, 0))(parameters, features)
    for row, feature in enumerate(features):
        tower.zero_grad()
        tower(feature[None]).sin().sum().backward()
        for name, value in tower.named_parameters():
            torch.testing.assert_close(by_record[name][row], value.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("side", "features"), [(0, images()), (1, reports())])
def test_embedding_does_not_read_the_batch(side: int, features: Tensor) -> None:
    tower = towers()[side]
    whole = tower(features)
    for row in range(len(features)):
        torch.testing.assert_close(tower(features[row : row + 1])[0], whole[row], rtol=1e-4, atol=1e-5)


def test_padding_does_not_change_a_report() -> None:
    """A longer tower that agrees on the first positions gives the same embedding."""
    short, long = replace(CONFIG, max_tokens=12), replace(CONFIG, max_tokens=40)
    first, second = towers(short)[1], towers(long)[1]
    state = first.state_dict()
    positions = second.state_dict()["trunk.positions"].clone()
    positions[:12] = state["trunk.positions"]
    second.load_state_dict(state | {"trunk.positions": positions})
    found = second(build(long).report_features(REPORTS[:3]))
    torch.testing.assert_close(found, first(build(short).report_features(REPORTS[:3])), rtol=1e-4, atol=1e-5)


def test_order_of_words_does_matter() -> None:
    encoder, tower = build(CONFIG), towers()[1]
    first, second = tower(encoder.report_features(["effusion left no", "no effusion left"]))
    assert (first - second).norm() > 1e-3


@pytest.mark.parametrize(("gain", "offset"), [(2.0, 0.0), (1.0, 90.0), (2.0, 10.0), (0.5, 30.0)])
def test_gain_and_offset_of_the_scanner_hardly_matter(gain: float, offset: float) -> None:
    """One grey level is added to the spread, which keeps blank images finite and costs a few per cent."""
    tower, pixels = towers()[0], images()
    changed = (pixels.float() * gain + offset).round().to(torch.uint8)
    first, second = tower(pixels), tower(changed)
    assert ((first - second).norm(dim=1) < 0.1 * first.norm(dim=1)).all()
    assert (torch.cdist(first, first) + torch.eye(5) > 0.01).all()


@pytest.mark.parametrize("grey", [0, 255])
def test_blank_image_has_a_finite_embedding_and_gradient(grey: int) -> None:
    tower = towers()[0]
    found = tower(torch.full((1, 16, 16), grey, dtype=torch.uint8))
    found.sum().backward()
    assert found.isfinite().all()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in tower.parameters())


def test_patches_are_cut_row_by_row() -> None:
    """Against slices: the first linear map sees each patch whole, in reading order."""
    trunk = towers()[0].trunk
    seen: list[Tensor] = []
    trunk.patches.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))  # noqa: ARG005
    pixels = images(1)
    trunk(pixels)
    grey = pixels[0].float()
    grey = (grey - grey.mean()) / (grey.std() + 1)
    expected = [grey[y : y + 4, x : x + 4].flatten() for y in range(0, 16, 4) for x in range(0, 16, 4)]
    torch.testing.assert_close(seen[0][0], torch.stack(expected))


def test_start_comes_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = [value for tower in towers() for value in tower.state_dict().values()]
    torch.manual_seed(2)
    second = [value for tower in towers() for value in tower.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_every_parameter_takes_part() -> None:
    for tower, features in zip(towers(), (images(), reports()), strict=True):
        tower(features).sin().sum().backward()
        assert all(value.grad is not None and value.grad.any() for value in tower.parameters())


def test_split_gives_the_trunk_that_stays_and_a_head_that_trains() -> None:
    tower = towers(replace(CONFIG, trainable="heads"))[0]
    split = tower.split()
    assert split is not None
    trunk, head = split
    torch.testing.assert_close(tower.head(trunk(images())), tower(images()))
    assert head(trunk(images())).shape == (5, 8)
    assert not set(head.parameters()) & set(tower.parameters())


def test_tower_that_trains_whole_is_not_split() -> None:
    assert towers()[0].split() is None


def test_words_are_numbered_by_their_text_alone() -> None:
    first, second = word_numbers("Left effusion, LEFT!", vocabulary=128), word_numbers("left", vocabulary=128)
    assert first[0] == first[2] == second[0] != first[1]
    assert all(1 <= number < 128 for number in first)


def test_empty_report_is_one_word() -> None:
    assert word_numbers(" ,", vocabulary=128) == word_numbers("empty", vocabulary=128)


def test_report_features_are_padded_and_cut() -> None:
    found = reports()
    assert found.shape == (4, 12)
    assert found.dtype == torch.int64
    assert (found[0, 3:] == 0).all()
    assert (found[3] != 0).all()


def test_image_features_are_resized_to_one_square() -> None:
    encoder: ScratchEncoder = build(CONFIG)
    pixels = [np.full((40, 30), 7, dtype=np.uint8), np.arange(256, dtype=np.uint8).reshape(16, 16)]
    found = encoder.image_features(pixels)
    assert (found.shape, found.dtype) == ((2, 16, 16), torch.uint8)
    assert (found[0] == 7).all()
    np.testing.assert_array_equal(found[1].numpy(), pixels[1])


@pytest.mark.parametrize(("change", "key"), [({"patch_size": 5}, "image_size=16"), ({"num_heads": 3}, "width=16")])
def test_build_refuses_sizes_that_do_not_divide(change: dict[str, int], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"encoder\.{key} is not a multiple"):
        build(replace(CONFIG, **change))
