"""A frozen transformer from a local Hugging Face folder: images or reports in, hidden states out.

Loading is strict: only safetensors weights (no pickle), only files of the folder (no network), no code from
the folder, and every weight that matters must be there. The last blocks can be cut off, to be trained.

Shapes: B batch, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Generic

import numpy as np
import torch
from torch import Tensor, nn

from common.canonical import digest
from common.encoders.interface import Item, Prefix
from common.errors import ConfigError
from common.files import sha256_of_file
from common.types import Image

_LOADED_FILES = {".safetensors", ".json", ".txt", ".model"}


@dataclass(frozen=True)
class _Layout:
    """Where an architecture keeps its blocks and its final norm (empty where blocks end with their own)."""

    blocks: str
    final_norm: str


_LAYOUTS = {
    "vit": _Layout("layers", "layernorm"),
    "dinov2": _Layout("encoder.layer", "layernorm"),
    "bert": _Layout("encoder.layer", ""),
    "roberta": _Layout("encoder.layer", ""),
}
"""Architectures whose blocks were checked for per-record gradients; any other can still be used frozen."""


@dataclass(frozen=True)
class Tail:
    """What was cut off: the last blocks, called as `block(hidden_BTW, bias_B11T)`, and the final norm."""

    blocks: tuple[nn.Module, ...]
    final_norm: nn.Module


@dataclass(frozen=True)
class HiddenStates:
    """Hidden states `[B, T, W]` and their mask `[B, T]`, 1 for a token and 0 for padding."""

    values: Tensor
    mask: Tensor

    def mean(self) -> Tensor:
        """Mean over the tokens that are not padding, `[B, W]`."""
        weights = self.mask[..., None]
        return (self.values * weights).sum(dim=-2) / weights.sum(dim=-2).clamp(min=1)


class Backbone(Generic[Item]):
    """A frozen model with its preprocessing.

    Args:
        model: In evaluation mode, with its last blocks cut off where they are trained elsewhere.
        prepare: Items to the model's inputs.
        tail: What was cut off; no blocks where the model is whole.
    """

    def __init__(
        self, model: nn.Module, *, prepare: Callable[[Sequence[Item]], Mapping[str, Tensor]], tail: Tail
    ) -> None:
        self._model = model
        self._prepare = prepare
        self.tail = tail

    @torch.no_grad()  # not inference_mode: its tensors cannot enter a later backward pass
    def hidden_states(self, items: Sequence[Item]) -> HiddenStates:
        """Output of the last block that is left, after the final norm where the model is whole."""
        return _hidden_states(self._model, self._prepare(items))

    def prefix(self, example: Sequence[Item], *, features: Callable[[HiddenStates], Tensor]) -> Prefix[Item]:
        """The preparation, and the model as a network.

        Args:
            example: Items whose inputs have the names of all inputs.
            features: What the network makes of the hidden states.
        """
        return Prefix(self._prepare, _Network(self._model, tuple(self._prepare(example)), features))


class _Network(nn.Module):
    """A model as a map of tensors: its inputs, in the order of their names, to features."""

    def __init__(self, model: nn.Module, names: tuple[str, ...], features: Callable[[HiddenStates], Tensor]) -> None:
        super().__init__()
        self._model = model
        self._names = names
        self._features = features

    def forward(self, *inputs: Tensor) -> Tensor:
        """Features `[B, ...]`."""
        return self._features(_hidden_states(self._model, dict(zip(self._names, inputs, strict=True))))


def _hidden_states(model: nn.Module, inputs: Mapping[str, Tensor]) -> HiddenStates:
    values: Tensor = model(**inputs).last_hidden_state
    if values.ndim == 4:  # feature maps [B, W, H', W'] of a convolutional network
        values = values.flatten(start_dim=2).transpose(1, 2)
    mask = inputs.get("attention_mask", torch.ones(values.shape[:2]))
    return HiddenStates(values, mask.to(values.dtype))


def load_image_backbone(folder: Path, *, field: str, trainable_blocks: int = 0) -> Backbone[Image]:
    """The vision model of a folder.

    Args:
        folder: With `config.json`, `model.safetensors` and `preprocessor_config.json`.
        field: The config key that named the folder, for error texts.
        trainable_blocks: How many of the last blocks to cut off.

    Raises:
        ConfigError: The folder is missing, holds no usable vision model, or its blocks cannot be cut.
    """
    with _refused(folder, field=field, kind="vision"):
        model = _load_model(folder, main_input="pixel_values")
        # The PIL backend: the default one needs torchvision.
        from transformers import AutoImageProcessor

        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")

        def prepare(images: Sequence[Image]) -> Mapping[str, Tensor]:
            rgb = [np.repeat(image[:, :, None], 3, axis=2) for image in images]
            inputs = processor(images=rgb, return_tensors="pt", input_data_format="channels_last")
            return {"pixel_values": inputs["pixel_values"]}

        backbone = Backbone(model, prepare=prepare, tail=_cut(model, trainable_blocks))
        backbone.hidden_states([np.zeros((16, 16), np.uint8)])
    return backbone


def load_report_backbone(folder: Path, *, field: str, max_tokens: int, trainable_blocks: int = 0) -> Backbone[str]:
    """The text model of a folder; longer reports are cut to `max_tokens`.

    Args:
        folder: With `config.json`, `model.safetensors` and a tokenizer.
        field: The config key that named the folder, for error texts.
        max_tokens: Tokens of a report, special ones included.
        trainable_blocks: How many of the last blocks to cut off. Every report is then padded to `max_tokens`,
            so that hidden states of different batches can be stacked.

    Raises:
        ConfigError: The folder is missing, holds no usable text model, its blocks cannot be cut, or it cannot
            read `max_tokens` tokens.
    """
    with _refused(folder, field=field, kind="text"):
        model = _load_model(folder, main_input="input_ids")
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        padding = "max_length" if trainable_blocks else "longest"

        def prepare(reports: Sequence[str]) -> Mapping[str, Tensor]:
            return dict(
                tokenizer(
                    list(reports),
                    padding=padding,
                    truncation=True,
                    max_length=max_tokens,
                    return_tensors="pt",
                )
            )

        backbone = Backbone(model, prepare=prepare, tail=_cut(model, trainable_blocks))
        backbone.hidden_states(["a " * max_tokens])
    return backbone


def folder_digest(folder: Path, *, field: str) -> str:
    """SHA-256 over the names and digests of the files that are loaded from a folder.

    Raises:
        ConfigError: It is not the folder of a model.
    """
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{field}={folder}: not a model folder (no config.json);"
            " give a local Hugging Face folder, as save_pretrained writes it"
        )
    return digest({path.name: sha256_of_file(path) for path in loaded_files(folder)})


def loaded_files(folder: Path) -> list[Path]:
    """The files that may be loaded from a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix in _LOADED_FILES)


@contextmanager
def _refused(folder: Path, *, field: str, kind: str) -> Iterator[None]:
    """Third-party exceptions of loading and of the first forward pass end here."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"{field}={folder}: not usable as a {kind} encoder: {reason};"
            f" give a local folder with the {kind} model alone, in safetensors format, and its preprocessing"
        ) from error


def _load_model(folder: Path, *, main_input: str) -> nn.Module:
    """The frozen model.

    Raises:
        ValueError: It has two modalities or a decoder, reads another modality, or lacks weights.
    """
    from transformers import AutoModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # it is drawn even where there is no terminal
    model, report = AutoModel.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        attn_implementation="eager",  # other kernels branch on the mask's values, which vmap cannot follow
        dtype=torch.float32,
        output_loading_info=True,
    )
    config = model.config
    if getattr(config, "sub_configs", None) or getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"a {config.model_type} model has more than one part; save the part that is needed alone")
    if model.main_input_name != main_input:
        raise ValueError(f"the model reads {model.main_input_name}, not {main_input}")
    # Weights that a folder lacks are drawn at random; only the pooler, which is not used, may be.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ValueError(f"{len(missing)} weights are missing, the first is {missing[0]}")
    frozen: nn.Module = model.eval().requires_grad_(requires_grad=False)
    return frozen


def _cut(model: nn.Module, num_blocks: int) -> Tail:
    """Take the last blocks and the final norm off a model.

    Raises:
        ValueError: The architecture is not known, or it has fewer blocks.
    """
    if num_blocks == 0:
        return Tail((), nn.Identity())
    name = str(getattr(model.config, "model_type", ""))
    if name not in _LAYOUTS:
        raise ValueError(
            f"encoder.trainable_blocks={num_blocks} does not know the blocks of a {name} model"
            f" (known: {', '.join(sorted(_LAYOUTS))}); set it to 0"
        )
    layout = _LAYOUTS[name]
    blocks: nn.ModuleList = attrgetter(layout.blocks)(model)
    if num_blocks > len(blocks):
        raise ValueError(f"encoder.trainable_blocks={num_blocks}, but the model has {len(blocks)} blocks")
    tail = tuple(blocks[len(blocks) - num_blocks :])
    del blocks[len(blocks) - num_blocks :]
    if not layout.final_norm:
        return Tail(tail, nn.Identity())
    final_norm: nn.Module = getattr(model, layout.final_norm)
    setattr(model, layout.final_norm, nn.Identity())
    return Tail(tail, final_norm)
