"""Encoders from local Hugging Face folders: any vision model and any text model.

With `encoder.trainable_blocks=0` both models are frozen and only a whitened linear head is trained on their
mean hidden state. Otherwise the last blocks are trained too: the cached features are then the hidden states
that enter them, `[T, W]`, with the attention mask as one more column.

Shapes: B batch, T tokens, W width, D embedding.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from common.config.schema import EncoderConfig
from common.encoders.hub_backbone import (
    Backbone,
    HiddenStates,
    Tail,
    folder_digest,
    load_image_backbone,
    load_report_backbone,
)
from common.encoders.interface import Encoder, FeatureKeys, Prefix, Tower
from common.encoders.lora import adapted
from common.encoders.tone import with_tone
from common.encoders.whitened_head import WhitenedHead
from common.encoders.words import refuse_public_words
from common.errors import ConfigError
from common.types import Image

_VERSION = 1
"""Of the preprocessing and pooling written here; part of the cache keys."""

_FIT_BATCH = 64


def build(config: EncoderConfig) -> Encoder:
    """The encoder of `encoder.image_path` and `encoder.report_path`; models are loaded at first use.

    Raises:
        ConfigError: A path is missing or is not a model folder, or `encoder.trainable_blocks` is negative, or 0 where
            adapters are to train.
    """
    if config.trainable_blocks < 0:
        raise ConfigError(
            f"encoder.trainable_blocks={config.trainable_blocks}: cannot be negative; set it to 0 or more"
        )
    if config.trainable == "lora" and config.trainable_blocks == 0:
        raise ConfigError(
            "encoder.trainable=lora: there is no block to adapt; set encoder.trainable_blocks to 1 or more"
        )
    refuse_public_words(config)
    return with_tone(HubEncoder(config), config.tone)


class HubEncoder:
    """Two local models, frozen or with their last blocks trainable.

    Args:
        config: The encoder's config.
    """

    keys: FeatureKeys | None

    def __init__(self, config: EncoderConfig) -> None:
        self._config = config
        self._image_folder = Path(config.image_path).expanduser()
        self._report_folder = Path(config.report_path).expanduser()
        image_digest = folder_digest(self._image_folder, field="encoder.image_path")
        report_digest = folder_digest(self._report_folder, field="encoder.report_path")
        cut = f"cut{config.trainable_blocks}-v{_VERSION}"
        self.keys = FeatureKeys(
            image=f"hub-image-{image_digest[:16]}-{cut}",
            report=f"hub-report-{report_digest[:16]}-{config.max_tokens}tokens-{cut}",
        )

    @cached_property
    def _image_backbone(self) -> Backbone[Image]:
        return load_image_backbone(
            self._image_folder, field="encoder.image_path", trainable_blocks=self._config.trainable_blocks
        )

    @cached_property
    def _report_backbone(self) -> Backbone[str]:
        return load_report_backbone(
            self._report_folder,
            field="encoder.report_path",
            max_tokens=self._config.max_tokens,
            trainable_blocks=self._config.trainable_blocks,
        )

    def image_features(self, images: Sequence[Image]) -> Tensor:
        """`[B, W]`, or `[B, T, W + 1]` with trainable blocks."""
        return self._features(self._image_backbone.hidden_states(images))

    def report_features(self, reports: Sequence[str]) -> Tensor:
        """`[B, W]`, or `[B, T, W + 1]` with trainable blocks."""
        return self._features(self._report_backbone.hidden_states(reports))

    def image_prefix(self) -> Prefix[Image]:
        """See `Encoder`."""
        return self._image_backbone.prefix([np.zeros((16, 16), np.uint8)], features=self._features)

    def report_prefix(self) -> Prefix[str]:
        """See `Encoder`."""
        return self._report_backbone.prefix([""], features=self._features)

    def _features(self, hidden: HiddenStates) -> Tensor:
        if not self._config.trainable_blocks:
            return hidden.mean()
        return torch.cat([hidden.values, hidden.mask[..., None]], dim=-1)

    def towers(self, generator: torch.Generator) -> tuple[Tower, Tower]:  # noqa: ARG002 - nothing starts at random
        """Fresh towers; they start from the models' own blocks and the identity."""
        image = self.image_features([np.zeros((16, 16), np.uint8)])
        report = self.report_features([""])
        return self._tower(self._image_backbone.tail, image, 0), self._tower(self._report_backbone.tail, report, 1)

    def _tower(self, tail: Tail, example: Tensor, seed: int) -> Tower:
        if not tail.blocks:
            return WhitenedHead(example.shape[-1], self._config.embedding_dim)
        tower = TransformerTower(tail, WhitenedHead(example.shape[-1] - 1, self._config.embedding_dim))
        if self._config.trainable == "lora":
            tower.adapt(rank=self._config.lora_rank, seed=seed)
        return tower


class TransformerTower(Tower):
    """The last blocks of a transformer, its final norm, the mean over tokens and a whitened head.

    Args:
        tail: The blocks and the norm; they are copied, so that towers share no weights.
        head: Maps the mean hidden state to the embedding.
    """

    def __init__(self, tail: Tail, head: WhitenedHead) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(copy.deepcopy(block) for block in tail.blocks)
        self.final_norm = copy.deepcopy(tail.final_norm)
        self.head = head
        self.requires_grad_(requires_grad=True)

    def adapt(self, *, rank: int, seed: int) -> None:
        """Freeze the blocks and the norm, and train adapters on the blocks' linear maps instead.

        Raises:
            ConfigError: The rank is too high for a block.
        """
        self.blocks = adapted(self.blocks, rank=rank, seed=seed).eval()
        self.final_norm.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> TransformerTower:  # noqa: FBT001, FBT002 - the signature of nn.Module
        """Dropout stays off in training: vmap refuses random operations unless told how to share them."""
        super().train(mode)
        self.blocks.eval()
        return self

    def fit_to_public(self, features: Tensor) -> None:
        """Fit the head to the anchors' mean hidden states; the blocks keep their published weights.

        Raises:
            ConfigError: Fewer anchors than the embedding needs.
        """
        with torch.no_grad():
            pooled = torch.cat([self._pooled(batch) for batch in torch.split(features, _FIT_BATCH)])
        self.head.fit_to_public(pooled)

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings `[B, D]` of hidden states and mask `[B, T, W + 1]`."""
        embedding_BD: Tensor = self.head(self._pooled(features))
        return embedding_BD

    def _pooled(self, features: Tensor) -> Tensor:
        hidden_BTW, mask_BT = features[..., :-1], features[..., -1]
        bias_B11T = (1 - mask_BT)[:, None, None, :] * torch.finfo(hidden_BTW.dtype).min
        for block in self.blocks:
            hidden_BTW = block(hidden_BTW, bias_B11T)
        return HiddenStates(self.final_norm(hidden_BTW), mask_BT).mean()
