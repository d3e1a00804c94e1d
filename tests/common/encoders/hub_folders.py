"""Tiny random models, saved as Hugging Face folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    ViTConfig,
    ViTModel,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "no", "mass", "effusion", "left", "a", "."]
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
TEXT = {**SMALL, "intermediate_size": 24, "vocab_size": len(WORDS), "pad_token_id": 0}
VISION = {**SMALL, "intermediate_size": 24, "image_size": 32, "patch_size": 8}


def write_vision(folder: Path, model: torch.nn.Module) -> Path:
    model.save_pretrained(folder)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": 32, "width": 32},
        "resample": 2,
        "image_mean": [0.4, 0.5, 0.6],
        "image_std": [0.2, 0.25, 0.3],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def write_text(folder: Path, model: torch.nn.Module) -> Path:
    model.save_pretrained(folder)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL).save_pretrained(folder)
    return folder


MODELS: dict[str, Callable[[Path], Path]] = {
    "vit": lambda folder: write_vision(folder, ViTModel(ViTConfig(**VISION))),
    "dinov2": lambda folder: write_vision(
        folder, Dinov2Model(Dinov2Config(**SMALL, image_size=32, patch_size=8, drop_path_rate=0.1))
    ),
    "bert": lambda folder: write_text(folder, BertModel(BertConfig(**TEXT))),
    "roberta": lambda folder: write_text(folder, RobertaModel(RobertaConfig(**TEXT, max_position_embeddings=40))),
}
