"""The scratch encoder: a small vision transformer and a report transformer, trained from nothing, no download.

Pre-norm transformers (Dosovitskiy et al., arXiv 2010.11929; Xiong et al., arXiv 2002.04745) written as Linear and
scaled dot-product attention, so that they differentiate one record at a time: no BatchNorm, no packed attention
weights, no branch on data. Report tokens are word hashes: there is no vocabulary to fit and none to leak.

Shapes: B batch, T tokens, W width, D embedding.
"""

from __future__ import annotations

import copy
import re
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor, nn

from common.config.schema import EncoderConfig
from common.encoders.attention import attention
from common.encoders.interface import Encoder, FeatureKeys, Prefix, Tower
from common.encoders.lora import adapted
from common.encoders.tone import with_tone
from common.encoders.whitened_head import WhitenedHead
from common.encoders.words import PUBLIC_WORDS
from common.errors import ConfigError
from common.types import Image

PADDING = 0
_FIT_BATCH = 64
_WORD = re.compile(r"[a-z]+|\d+|[.;:]")


class Block(nn.Module):
    """Pre-norm transformer block on `[B, T, W]`."""

    def __init__(self, *, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Tokens `[B, T, W]`; the mask `[B, 1, 1, T]` is true where a token may be attended to."""
        tokens = tokens + self._attend(self.attention_norm(tokens), mask)
        hidden = nn.functional.gelu(self.mlp_in(self.mlp_norm(tokens)))
        added: Tensor = self.mlp_out(hidden)
        return tokens + added

    def _attend(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        heads = self.query_key_value(tokens).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.movedim(-3, 0).transpose(-3, -2)
        mixed = attention(query, key, value, mask)
        attended: Tensor = self.attention_out(mixed.transpose(-3, -2).flatten(-2))
        return attended


class ImageTrunk(nn.Module):
    """Vision transformer: grey pixels `[B, H, W]` of type uint8 to the mean of its patches `[B, W]`."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        num_patches = (config.image_size // config.patch_size) ** 2
        self.patches = nn.Linear(config.patch_size**2, config.width)
        self.positions = nn.Parameter(torch.zeros(num_patches, config.width))
        self.blocks = nn.ModuleList(
            Block(width=config.width, num_heads=config.num_heads) for _ in range(config.image_depth)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels `[B, H, W]` to `[B, W]`. Each image is standardised by itself: scanners differ in gain and offset."""
        size = self.patch_size
        grid = standardised(pixels.to(self.positions.dtype)).unflatten(-1, (-1, size))
        patches = grid.unflatten(-3, (-1, size)).transpose(-3, -2).flatten(-2).flatten(-3, -2)
        tokens = self.patches(patches) + self.positions
        for block in self.blocks:
            tokens = block(tokens, None)
        normed: Tensor = self.norm(tokens)
        return normed.mean(dim=-2)


def standardised(grey: Tensor) -> Tensor:
    """Grey images `[B, H, W]`, each less its own mean and over its own spread."""
    spread = grey.var(dim=(-2, -1), keepdim=True).sqrt() + 1
    return (grey - grey.mean(dim=(-2, -1), keepdim=True)) / spread


class ReportTrunk(nn.Module):
    """Transformer over word numbers `[B, T]` (0 is padding) to the mean of its words `[B, W]`."""

    known: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Parameter(torch.zeros(config.max_tokens, config.width))
        self.blocks = nn.ModuleList(
            Block(width=config.width, num_heads=config.num_heads) for _ in range(config.report_depth)
        )
        self.norm = nn.LayerNorm(config.width)
        self.reads_public_words = config.words == PUBLIC_WORDS
        if self.reads_public_words:
            self.register_buffer("known", torch.ones(config.vocabulary))

    def learn_words(self, words: Tensor) -> None:
        """Keep in mind which words public reports `[N, T]` have, where no others are to be read."""
        if self.reads_public_words:
            self.known.zero_()
            self.known[words.unique()] = 1.0

    def forward(self, words: Tensor) -> Tensor:
        """Word numbers `[B, T]` to `[B, W]`."""
        if self.reads_public_words:
            words = _without_unknown(words, self.known)
        present = words != PADDING
        tokens = self.words(words) + self.positions
        mask = present[..., None, None, :]
        for block in self.blocks:
            tokens = block(tokens, mask)
        weight = present[..., None].to(tokens.dtype)
        normed: Tensor = self.norm(tokens)
        return (normed * weight).sum(dim=-2) / weight.sum(dim=-2).clamp(min=1)


def _without_unknown(words: Tensor, known: Tensor) -> Tensor:
    """Word numbers `[B, T]` less those that are not known; the rest moves up. A report without a known word stays."""
    is_read = (known[words] > 0) & (words != PADDING)
    kept = torch.where(is_read | ~is_read.any(dim=-1, keepdim=True), words, PADDING)
    order = torch.argsort((kept == PADDING).to(torch.int8), dim=-1, stable=True)
    return torch.gather(kept, -1, order)


class TrunkTower(Tower):
    """A trunk and a linear map on top of it, `[B, W]` to embeddings `[B, D]`.

    Where only heads train, the trunk stays as the first public fit left it, and a whitened head takes the place of
    the linear map. Where adapters train, they train in the trunk that the public fit left, below such a head.
    """

    def __init__(self, trunk: nn.Module, config: EncoderConfig, *, adapter_seed: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(config.width, config.embedding_dim)
        self._config = config
        self._adapter_seed = adapter_seed

    def fit_to_public(self, features: Tensor) -> None:
        """See `Tower`; the words of the anchors are those that a report trunk may be told to read alone."""
        if isinstance(self.trunk, ReportTrunk):
            self.trunk.learn_words(features)

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings `[B, D]`."""
        embedding: Tensor = self.head(self.trunk(features))
        return embedding

    def split(self) -> tuple[nn.Module, Tower] | None:
        """See `Tower`."""
        if self._config.trainable == "all":
            return None
        head = WhitenedHead(self._config.width, self._config.embedding_dim)
        if self._config.trainable == "heads":
            return self.trunk, head
        return nn.Identity(), AdaptedTower(self.trunk, head, rank=self._config.lora_rank, seed=self._adapter_seed)


class AdaptedTower(Tower):
    """A fitted trunk with adapters on its blocks' linear maps, and a whitened head.

    Args:
        trunk: Image or report trunk; it is copied.
        head: Maps the trunk's output to the embedding.
        rank: Rank of the adapters.
        seed: Of their start.
    """

    def __init__(self, trunk: nn.Module, head: WhitenedHead, *, rank: int, seed: int) -> None:
        super().__init__()
        self.trunk = copy.deepcopy(trunk).requires_grad_(requires_grad=False)
        self.trunk.set_submodule("blocks", adapted(self.trunk.get_submodule("blocks"), rank=rank, seed=seed))
        self.head = head

    def fit_to_public(self, features: Tensor) -> None:
        """Fit the head to the trunk's output of the anchors.

        Raises:
            ConfigError: Fewer anchors than the embedding needs.
        """
        with torch.no_grad():
            self.head.fit_to_public(torch.cat([self.trunk(rows) for rows in features.split(_FIT_BATCH)]))

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings `[B, D]`."""
        embedding: Tensor = self.head(self.trunk(features))
        return embedding


class ScratchEncoder:
    """Pixels and word numbers as features, transformers as towers."""

    keys: FeatureKeys | None = None

    def __init__(self, config: EncoderConfig) -> None:
        self._config = config

    def image_features(self, images: Sequence[Image]) -> Tensor:
        """Grey pixels `[B, H, W]` of type uint8, resized to a square."""
        side = (self._config.image_size, self._config.image_size)
        resized = [
            image if image.shape == side else np.asarray(PillowImage.fromarray(image).resize(side)) for image in images
        ]
        return torch.from_numpy(np.stack(resized))

    def report_features(self, reports: Sequence[str]) -> Tensor:
        """Word numbers `[B, T]` of type int64; longer reports are cut at `max_tokens`."""
        numbers = torch.full((len(reports), self._config.max_tokens), PADDING, dtype=torch.int64)
        for row, report in zip(numbers, reports, strict=True):
            words = word_numbers(report, vocabulary=self._config.vocabulary)[: self._config.max_tokens]
            row[: len(words)] = torch.tensor(words)
        return numbers

    def image_prefix(self) -> Prefix[Image]:
        """See `Encoder`."""
        return Prefix(lambda images: {"pixels": self.image_features(images)}, nn.Identity())

    def report_prefix(self) -> Prefix[str]:
        """See `Encoder`."""
        return Prefix(lambda reports: {"words": self.report_features(reports)}, nn.Identity())

    def towers(self, generator: torch.Generator) -> tuple[Tower, Tower]:
        """Transformers whose random start comes from `generator` alone."""
        trunks = ImageTrunk(self._config), ReportTrunk(self._config)
        image, report = (TrunkTower(trunk, self._config, adapter_seed=seed) for seed, trunk in enumerate(trunks))
        for tower in (image, report):
            _start(tower, generator)
        return image, report


def word_numbers(report: str, *, vocabulary: int) -> list[int]:
    """Numbers in 1..vocabulary-1 of a report's words, by CRC-32; an empty report has the one word 'empty'."""
    words = _WORD.findall(report.lower()) or ["empty"]
    return [1 + zlib.crc32(word.encode()) % (vocabulary - 1) for word in words]


def build(config: EncoderConfig) -> Encoder:
    """The scratch encoder of a config.

    Raises:
        ConfigError: The image is not a whole number of patches, or the width of attention heads.
    """
    if config.image_size % config.patch_size:
        raise ConfigError(
            f"encoder.image_size={config.image_size} is not a multiple of encoder.patch_size={config.patch_size}"
        )
    if config.width % config.num_heads:
        raise ConfigError(f"encoder.width={config.width} is not a multiple of encoder.num_heads={config.num_heads}")
    return with_tone(ScratchEncoder(config), config.tone)


def _start(tower: nn.Module, generator: torch.Generator) -> None:
    """Linear maps that keep the variance; what a block adds starts small, so that depth does not add up at first."""
    for name, parameter in tower.named_parameters():
        if name.endswith("norm.weight"):
            nn.init.ones_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif name.endswith("positions"):
            nn.init.normal_(parameter, std=0.1, generator=generator)
        elif name.endswith("words.weight"):
            nn.init.normal_(parameter, std=0.5, generator=generator)
        else:
            gain = 0.4 if name.endswith("_out.weight") else 1.0
            nn.init.normal_(parameter, std=gain * parameter.shape[-1] ** -0.5, generator=generator)
