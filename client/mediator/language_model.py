"""A language model behind an OpenAI-compatible endpoint of the hospital, as a proposer of plans.

Chat completions with structured output (`response_format` of type `json_schema`), as vLLM, llama.cpp's server, Ollama
and others offer it. The model is given no tools, and an answer that calls one is no plan. Its most likely answer is
taken (temperature 0). An endpoint names its model; which weights it runs nobody can check from here, so `model_digest`
is of its address and that name.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

from client.mediator.conversation import guard_digest, messages, plan_of, schema
from client.mediator.endpoint import endpoint_of
from client.mediator.grounds import Grounds
from client.mediator.plan import Plan
from client.policy.site_schema import MediatorLimits
from common.canonical import canonical_json, digest
from common.errors import ConfigError, PlanError

MOST_TOKENS = 2048
"""Of an answer; a usual plan has 500."""


class LanguageModel:
    """The proposer.

    Args:
        settings: Of the hospital; `endpoint` and `model` name whom to ask.
        today: The day that lengths of time count back from; the day of asking unless given.

    Raises:
        ConfigError: The endpoint is no address that may be spoken to, or has no model's name.
    """

    name = "language_model"

    def __init__(self, settings: MediatorLimits, today: date | None = None) -> None:
        if not settings.model:
            raise ConfigError("mediator.model: has no value; write the name by which the endpoint knows its model")
        self._model = settings.model
        self._today = today
        self._endpoint = endpoint_of(
            settings.endpoint,
            key_file=settings.key_file,
            timeout_seconds=settings.timeout_seconds,
            allow_public=settings.allow_public,
        )
        self.model_digest = digest({"endpoint": self._endpoint.url, "model": self._model})
        self.guard_digest = guard_digest()

    def propose(self, query: str) -> Plan:
        """The model's plan.

        Raises:
            PlanError: There is none in time, or what answered is no plan.
        """
        today = self._today or datetime.now(UTC).date()
        grounds = Grounds(query, today=today)
        asked = {
            "model": self._model,
            "messages": messages(grounds, today=today),
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "plan", "strict": True, "schema": schema(grounds)},
            },
            "temperature": 0,
            "seed": 0,
            "n": 1,
            "max_tokens": MOST_TOKENS,
            "stream": False,
        }
        return plan_of(_content(self._endpoint.post("/chat/completions", canonical_json(asked))), grounds)


def _content(reply: bytes) -> str:
    """The text of the one answer in a reply; nothing else of it is looked at."""
    try:
        value: Any = json.loads(reply)
        choice = value["choices"][0]
        message, ended = choice["message"], choice.get("finish_reason")
        content, tools = message.get("content"), message.get("tool_calls") or message.get("function_call")
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise PlanError("the language model's endpoint does not answer as chat completions do") from error
    if tools:
        raise PlanError("the language model called a tool; it has none")
    if ended == "length":
        raise PlanError("the language model's answer was cut off")
    if not isinstance(content, str):
        raise PlanError("the language model answered with no text")
    return content
