"""A causal language model in a folder, in Hugging Face's layout, as a proposer of plans.

The folder is read as data: weights from safetensors alone, no code of its own, nothing from a network. The most likely
token is taken each time (greedy), up to a limit of tokens and of seconds. Nothing holds a local model to the grammar
while it writes, so an answer that is no plan is likelier than from an endpoint that does; it costs time and no more.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from client.mediator.conversation import guard_digest, messages, plan_of
from client.mediator.grounds import Grounds
from client.mediator.plan import Plan
from client.policy.site_schema import MediatorLimits
from common.canonical import digest
from common.errors import ConfigError, PlanError
from common.files import sha256_of_file

MOST_TOKENS = 2048
"""Of an answer; a usual plan has 500."""


class LocalModel:
    """The proposer.

    Args:
        settings: Of the hospital; `folder` is the model's.
        today: The day that lengths of time count back from; the day of asking unless given.

    Raises:
        ConfigError: The folder holds no causal model, or one that brings code of its own.
    """

    name = "local_model"

    def __init__(self, settings: MediatorLimits, today: date | None = None) -> None:
        folder = Path(settings.folder)
        if not (folder / "config.json").is_file():
            raise ConfigError(f"mediator.folder={folder}: holds no config.json; name a Hugging Face model's folder")
        self.model_digest = _digest_of(folder)
        self.guard_digest = guard_digest()
        self._today = today
        self._timeout_seconds = settings.timeout_seconds
        given: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **given)
            self._model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, **given).eval()
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
            raise ConfigError(
                f"mediator.folder={folder}: is no causal model that can be loaded; it needs a tokenizer, weights as "
                "safetensors, and no code of its own"
            ) from error

    def propose(self, query: str) -> Plan:
        """The model's plan.

        Raises:
            PlanError: There is none in time, or what it wrote is no plan.
        """
        begun = time.monotonic()
        today = self._today or datetime.now(UTC).date()
        grounds = Grounds(query, today=today)
        prompt = self._prompt(messages(grounds, today=today))
        longest = getattr(self._model.config, "max_position_embeddings", None)
        room = MOST_TOKENS if longest is None else min(MOST_TOKENS, longest - prompt["input_ids"].shape[1])
        if room <= 0:
            raise PlanError("the words and what the language model is given with them are longer than it can read")
        with torch.inference_mode():
            written = self._model.generate(
                **prompt,
                max_new_tokens=room,
                max_time=self._timeout_seconds,
                do_sample=False,
                pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id or 0,
            )
        if time.monotonic() - begun > self._timeout_seconds:
            raise PlanError(f"the language model did not answer within {self._timeout_seconds:g} seconds")
        answer = self._tokenizer.decode(written[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
        return plan_of(answer, grounds)

    def _prompt(self, chat: list[dict[str, str]]) -> Any:  # noqa: ANN401 - transformers' batch
        """The chat as the model's own template writes it; without one, one message after another."""
        if self._tokenizer.chat_template:
            return self._tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        text = "\n\n".join(message["content"] for message in chat) + "\n\n"
        return self._tokenizer(text, return_tensors="pt", return_token_type_ids=False)


def _digest_of(folder: Path) -> str:
    """Of all files in a folder, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest({path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files})
