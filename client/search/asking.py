"""Asks the other hospitals, by way of the consortium's server: a code goes out, and a sealed answer comes.

What was typed or shown never leaves this process; the question holds its code alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx

from client.network.way_out import Steps, WayOut
from common.errors import ConfigError, TrustError, WardroundError
from common.search.answer import Answer, read_answer
from common.search.question import Question
from common.trust.keys import PublicKey, SigningKey

PATH = "/v1/search"
ANSWER_SECONDS = 60.0
"""How long an answer is waited for; the server waits for the hospitals for less."""

MOST_ANSWER_BYTES = 16 << 20

_REFUSED, _BUSY = 403, 503


class NotAnswered(WardroundError):
    """The other hospitals could not be asked; the own studies can be searched all the same."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where questions are brought.

    Attributes:
        way: How it is reached.
        key: What its answers are sealed with.
    """

    way: WayOut
    key: PublicKey


def ask(question: Question, server: Server, *, key: SigningKey) -> Answer:
    """What the other hospitals answer.

    Args:
        question: What is asked.
        server: Whom.
        key: This hospital's, which seals the question.

    Raises:
        NotAnswered: The server is not reached, or no run is open for searching.
        ConfigError: The server does not take this hospital's questions.
        TrustError: The answer is not the server's, or not to this question.
    """
    steps = Steps()
    extensions: dict[str, Callable[[str, object], None]] = {"trace": steps.note}
    with server.way.client(timeout_seconds=ANSWER_SECONDS) as client:
        try:
            reply = client.post(
                f"https://{server.way.address}{PATH}", content=question.sealed(key), extensions=extensions
            )
        except httpx.TransportError as error:
            raise NotAnswered(server.way.in_words(steps.problem_of(error))) from error
    if reply.status_code == _REFUSED:
        raise ConfigError(
            "the consortium's server takes no question of this hospital: it is no member now, its clock is wrong, or "
            "another key is in its place; ask the coordinating centre"
        )
    if reply.status_code == _BUSY:
        raise NotAnswered("too many questions wait at the server; ask again in a minute")
    if not reply.is_success:
        raise NotAnswered(
            f"what answers at {server.way.address} takes no questions (HTTP {reply.status_code}); ask the coordinating "
            "centre for search_port, and set search.server_port"
        )
    if len(reply.content) > MOST_ANSWER_BYTES:
        raise TrustError("the server's answer is longer than any is")
    return read_answer(reply.content, server.key, question=question.digest)
