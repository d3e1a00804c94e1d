"""Hub encoders on tiny random models: features, trainable blocks, per-record gradients, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.func import functional_call, grad, vmap
from transformers import (
    AutoModel,
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)

from common.config.schema import EncoderConfig
from common.encoders.hub import HubEncoder, TransformerTower, build
from common.encoders.interface import Tower
from common.errors import ConfigError
from common.types import Image
from tests.common.encoders.hub_folders import MODELS, TEXT, VISION, WORDS, write_vision

REPORTS = ["no mass .", "effusion left", "", "a mass left . no effusion . no mass"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {name: write(root / name) for name, write in MODELS.items()}


def config(image: Path | str, report: Path | str, *, trainable_blocks: int = 0) -> EncoderConfig:
    return EncoderConfig(
        name="hub",
        embedding_dim=4,
        max_tokens=12,
        image_path=str(image),
        report_path=str(report),
        trainable_blocks=trainable_blocks,
    )


def encoder(folders: dict[str, Path], image: str, report: str, *, trainable_blocks: int = 0) -> HubEncoder:
    built = build(config(folders[image], folders[report], trainable_blocks=trainable_blocks))
    assert isinstance(built, HubEncoder)
    return built


def images() -> list[Image]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, size, dtype=np.uint8) for size in ((32, 32), (50, 20), (7, 90), (32, 40))]


def pixel_values(image: Image) -> Tensor:
    resized = np.asarray(PillowImage.fromarray(image).resize((32, 32), PillowImage.Resampling.BILINEAR)) / 255
    channels = [(resized - mean) / std for mean, std in ((0.4, 0.2), (0.5, 0.25), (0.6, 0.3))]
    return torch.tensor(np.stack(channels)[None], dtype=torch.float32)


def reference_states(folder: Path, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Hidden states of one record by the model's own forward pass, the last one after the final norm."""
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        outputs = model(**inputs, output_hidden_states=True)
    return (*outputs.hidden_states[:-1], outputs.last_hidden_state)


@pytest.mark.parametrize("name", ["vit", "dinov2"])
def test_hub_image_features_are_the_mean_of_the_last_states(folders: dict[str, Path], name: str) -> None:
    features = encoder(folders, name, "bert").image_features(images())
    for image, feature in zip(images(), features, strict=True):
        states = reference_states(folders[name], {"pixel_values": pixel_values(image)})
        torch.testing.assert_close(feature, states[-1][0].mean(dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_hub_report_features_do_not_depend_on_padding(folders: dict[str, Path], name: str) -> None:
    features = encoder(folders, "vit", name).report_features(REPORTS)
    tokenizer = AutoTokenizer.from_pretrained(folders[name])
    for report, feature in zip(REPORTS, features, strict=True):
        states = reference_states(folders[name], dict(tokenizer([report], return_tensors="pt")))
        torch.testing.assert_close(feature, states[-1][0].mean(dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trainable_blocks", [1, 3])
def test_hub_cut_features_are_the_states_that_enter_the_trained_blocks(
    folders: dict[str, Path], trainable_blocks: int
) -> None:
    cut = encoder(folders, "vit", "bert", trainable_blocks=trainable_blocks)
    reports, pictures = cut.report_features(REPORTS), cut.image_features(images())
    assert reports.shape == (4, 12, 17)
    assert pictures.shape == (4, 17, 17)
    tokenizer = AutoTokenizer.from_pretrained(folders["bert"])
    for report, feature in zip(REPORTS, reports, strict=True):
        states = reference_states(folders["bert"], dict(tokenizer([report], return_tensors="pt")))
        num_tokens = states[0].shape[1]
        assert feature[:, -1].tolist() == [1.0] * num_tokens + [0.0] * (12 - num_tokens)
        torch.testing.assert_close(feature[:num_tokens, :-1], states[-1 - trainable_blocks][0], rtol=1e-4, atol=1e-5)
    assert (pictures[..., -1] == 1).all()


PAIRS = [("vit", "bert"), ("dinov2", "roberta")]


@pytest.mark.parametrize(("image", "report"), PAIRS)
@pytest.mark.parametrize("trainable_blocks", [1, 2])
def test_hub_towers_finish_what_the_cut_left(
    folders: dict[str, Path], image: str, report: str, trainable_blocks: int
) -> None:
    whole, cut = encoder(folders, image, report), encoder(folders, image, report, trainable_blocks=trainable_blocks)
    expected = whole.image_features(images())[:, :4], whole.report_features(REPORTS)[:, :4]
    features = cut.image_features(images()), cut.report_features(REPORTS)
    for tower, feature, mean in zip(cut.towers(torch.Generator()), features, expected, strict=True):
        torch.testing.assert_close(tower.train()(feature).detach(), mean, rtol=1e-4, atol=1e-5)


def by_record_gradients(tower: Tower, features: Tensor) -> dict[str, Tensor]:
    parameters = {name: p.detach() for name, p in tower.named_parameters()}

    def loss(parameters: dict[str, Tensor], feature: Tensor) -> Tensor:
        return functional_call(tower, (parameters, dict(tower.named_buffers())), (feature[None],)).sin().sum()

    gradients: dict[str, Tensor] = vmap(grad(loss), in_dims=(None, 0))(parameters, features)
    return gradients


def one_record_gradient(tower: Tower, feature: Tensor) -> dict[str, Tensor]:
    tower.zero_grad()
    tower(feature[None]).sin().sum().backward()
    return {name: p.grad.clone() for name, p in tower.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("image", "report"), PAIRS)
@pytest.mark.parametrize("trainable_blocks", [0, 2])
def test_hub_vmap_gradients_equal_one_record_at_a_time(
    folders: dict[str, Path], image: str, report: str, trainable_blocks: int
) -> None:
    subject = encoder(folders, image, report, trainable_blocks=trainable_blocks)
    features = subject.image_features(images()), subject.report_features(REPORTS)
    for tower, feature in zip(subject.towers(torch.Generator()), features, strict=True):
        together = by_record_gradients(tower.train(), feature)
        for index, record in enumerate(feature):
            alone = one_record_gradient(tower, record)
            assert alone.keys() == together.keys()
            difference = sum(float((together[name][index] - alone[name]).square().sum()) for name in alone)
            size = sum(float(value.square().sum()) for value in alone.values())
            assert (difference / size) ** 0.5 < 1e-5


@pytest.mark.parametrize("trainable_blocks", [0, 1])
def test_hub_towers_fit_to_public_anchors(folders: dict[str, Path], trainable_blocks: int) -> None:
    subject = encoder(folders, "vit", "bert", trainable_blocks=trainable_blocks)
    anchors = subject.report_features([f"{a} {b} {c}" for a in WORDS[4:] for b in WORDS[4:] for c in WORDS[4:7]])
    _, tower = subject.towers(torch.Generator())
    tower.fit_to_public(anchors)
    embedding = tower(anchors).detach()
    covariance = torch.cov(embedding.T)
    torch.testing.assert_close(embedding.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-3)
    torch.testing.assert_close(covariance, torch.diag(covariance.diagonal()), rtol=0, atol=1e-2)
    with pytest.raises(ConfigError, match=r"encoder\.embedding_dim"):
        tower.fit_to_public(anchors[:4])


def test_hub_towers_share_no_weights(folders: dict[str, Path]) -> None:
    subject = encoder(folders, "vit", "bert", trainable_blocks=1)
    first, second = subject.towers(torch.Generator())[0], subject.towers(torch.Generator())[0]
    assert isinstance(first, TransformerTower)
    assert all(p.requires_grad for p in first.parameters())
    before = {name: p.detach().clone() for name, p in second.named_parameters()}
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1)
    assert all(torch.equal(before[name], p) for name, p in second.named_parameters())


def test_hub_features_can_be_trained_on(folders: dict[str, Path]) -> None:
    subject = encoder(folders, "vit", "bert")
    tower, _ = subject.towers(torch.Generator())
    tower(subject.image_features(images())).sum().backward()
    assert all(p.grad is not None for p in tower.parameters())


def test_hub_keys_follow_weights_and_settings(folders: dict[str, Path], tmp_path: Path) -> None:
    other = MODELS["bert"](tmp_path / "bert")
    frozen = encoder(folders, "vit", "bert").keys
    cut = encoder(folders, "vit", "bert", trainable_blocks=1).keys
    changed = build(config(folders["vit"], other)).keys
    assert frozen is not None
    assert cut is not None
    assert changed is not None
    assert frozen == encoder(folders, "vit", "bert").keys
    assert changed.image == frozen.image
    assert len({changed.report, frozen.report, cut.report}) == 3
    assert cut.image != frozen.image


@pytest.mark.parametrize("field", ["image_path", "report_path"])
@pytest.mark.parametrize("path", ["", "/nowhere/model"])
def test_hub_missing_folder_names_field_and_remedy(folders: dict[str, Path], field: str, path: str) -> None:
    wrong = config(folders["vit"], folders["bert"])
    setattr(wrong, field, path)
    with pytest.raises(ConfigError, match=rf"encoder\.{field}=.*not a model folder.*save_pretrained"):
        build(wrong)


def test_hub_negative_trainable_blocks_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"encoder\.trainable_blocks=-1"):
        build(config(folders["vit"], folders["bert"], trainable_blocks=-1))


def refused_image(folder: Path, report: Path, message: str, *, trainable_blocks: int = 0) -> None:
    subject = build(config(folder, report, trainable_blocks=trainable_blocks))
    with pytest.raises(ConfigError, match=message) as caught:
        subject.image_features(images())
    assert "\n" not in str(caught.value)


def test_hub_text_folder_is_no_vision_model(folders: dict[str, Path]) -> None:
    refused_image(folders["bert"], folders["bert"], r"encoder\.image_path=.*reads input_ids, not pixel_values")


def test_hub_two_tower_model_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    text = {**TEXT, "max_position_embeddings": 16}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=dict(VISION), projection_dim=8))
    refused_image(write_vision(tmp_path, clip), folders["bert"], r"clip model has more than one part")


def test_hub_pickled_weights_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = write_vision(tmp_path, ViTModel(ViTConfig(**VISION)))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused_image(folder, folders["bert"], r"encoder\.image_path=.*not usable as a vision encoder")


def test_hub_missing_weights_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = write_vision(tmp_path, ViTModel(ViTConfig(**VISION)))
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "layernorm_before" not in name},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    refused_image(folder, folders["bert"], r"6 weights are missing")


def test_hub_more_blocks_than_the_model_has_are_refused(folders: dict[str, Path]) -> None:
    message = r"encoder\.trainable_blocks=4, but the model has 3 blocks"
    refused_image(folders["vit"], folders["bert"], message, trainable_blocks=4)


def test_hub_unknown_architecture_works_frozen_only(folders: dict[str, Path], tmp_path: Path) -> None:
    model = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"))
    folder = write_vision(tmp_path, model.eval())
    subject = build(config(folder, folders["bert"]))
    feature = subject.image_features(images()[:1])
    with torch.no_grad():
        maps = model(pixel_values(images()[0])).last_hidden_state
    torch.testing.assert_close(feature, maps.mean(dim=(-2, -1)), rtol=1e-4, atol=1e-5)
    refused_image(folder, folders["bert"], r"blocks of a resnet model .*set it to 0", trainable_blocks=1)


def test_hub_more_tokens_than_the_model_reads_are_refused(folders: dict[str, Path]) -> None:
    long = config(folders["vit"], folders["roberta"])
    long.max_tokens = 64
    with pytest.raises(ConfigError, match=r"encoder\.report_path="):
        build(long).report_features(["no mass"])
