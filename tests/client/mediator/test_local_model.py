"""A causal model in a folder: a tiny one with random weights, which can write no plan, and one that is told what to."""

import json
from datetime import date
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers import decoders as token_decoders
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from client.mediator.lexical import Lexical
from client.mediator.local_model import LocalModel
from client.mediator.mediator import Mediator
from client.policy.site_schema import MediatorLimits
from common.errors import ConfigError

TODAY = date(2026, 1, 15)
WORDS = "frobnicated pleural effusion"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = token_decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(alphabet),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8192,
        eos_token_id=None,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    return path


def test_a_model_that_writes_no_plan_leaves_the_one_by_rules(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.mediator.local_model.MOST_TOKENS", 16)
    model = LocalModel(MediatorLimits(folder=str(folder), timeout_seconds=60), TODAY)
    made = Mediator(model, today=lambda: TODAY).plan(WORDS)
    assert made.plan == Lexical(TODAY).propose(WORDS)
    assert [refusal.check for refusal in made.refusals] == ["model"]
    assert made.model_digest == model.model_digest


def test_what_a_model_writes_is_read_as_a_plan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LocalModel(MediatorLimits(folder=str(folder), timeout_seconds=60), TODAY)
    right = Lexical(TODAY).propose(WORDS)
    written = torch.tensor([model._tokenizer(json.dumps(right.as_json()))["input_ids"]])

    def generate(*, input_ids: torch.Tensor, do_sample: bool, **_: object) -> torch.Tensor:
        assert not do_sample
        return torch.cat([input_ids, written], dim=1)

    monkeypatch.setattr(model._model, "generate", generate)
    made = Mediator(model, today=lambda: TODAY).plan(WORDS)
    assert (made.proposer, made.refusals) == ("local_model", ())


def test_a_folder_that_is_no_model_or_brings_code_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no config\.json"):
        LocalModel(MediatorLimits(folder=str(tmp_path)))
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text("raise SystemExit('code of the folder ran')")
    with pytest.raises(ConfigError, match="is no causal model that can be loaded"):
        LocalModel(MediatorLimits(folder=str(tmp_path)))
