"""Passes questions on, one at a time, and seals what all hospitals answer together. No Flower, no network."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from typing import Protocol

from common.search.answer import Answer, Silent, SiteAnswer, merged
from common.search.question import Question
from common.trust.keys import SigningKey
from server.search.counter import Counter, Members, Waiting

LOOK_SECONDS = 1.0
"""How often it is looked who is a member, who came, and whether the session is to end."""
GREETING_SECONDS = 60.0
LATE = "late"
"""Reason of a hospital that did not answer in time."""

_POLL_SECONDS = 0.1
_log = logging.getLogger("wardround.search")


class Channel(Protocol):
    """How questions reach the hospitals."""

    def look_around(self, *, seconds: float) -> None:
        """Meet who came since the last look; nobody is waited for."""
        ...

    def pass_on(
        self, question: Question, sealed: bytes, *, key: str, sites: Collection[str], deadline_seconds: float
    ) -> Iterator[tuple[str, SiteAnswer | str]]:
        """What hospitals answer, as it comes, or the reason why one does not."""
        ...


def serve_questions(
    counter: Counter,
    channel: Channel,
    *,
    members: Members,
    key: SigningKey,
    deadline_seconds: float,
    ended: Callable[[], bool],
) -> None:
    """Pass questions on until `ended` says so, which is asked once a second.

    Args:
        counter: Where questions are brought.
        channel: How they reach the hospitals.
        members: Who is asked.
        key: The server's, which seals answers.
        deadline_seconds: How long hospitals may take.
        ended: Whether to stop.
    """
    next_look = 0.0
    while True:
        if time.monotonic() >= next_look:
            if ended():
                return
            members()  # who joined meanwhile is met by this look, not only by the next question's
            channel.look_around(seconds=GREETING_SECONDS)
            next_look = time.monotonic() + LOOK_SECONDS
        waiting = counter.next(within_seconds=_POLL_SECONDS)
        if waiting is not None:
            answer = _answer(waiting, channel, sites=[*members()], deadline_seconds=deadline_seconds)
            _log.info(
                "%s asked: %d hospitals answered, %d did not",
                waiting.question.asker,
                len(answer.answered),
                len(answer.silent),
            )
            if waiting.answer.set_running_or_notify_cancel():
                waiting.answer.set_result(answer.sealed(key))


def _answer(waiting: Waiting, channel: Channel, *, sites: Collection[str], deadline_seconds: float) -> Answer:
    """What all hospitals but the one that asks, which searches its own studies itself, answer together."""
    question = waiting.question
    others = [site for site in sites if site != question.asker]
    said = dict(
        channel.pass_on(question, waiting.sealed, key=waiting.key, sites=others, deadline_seconds=deadline_seconds)
    )
    answers = {site: one for site, one in said.items() if isinstance(one, SiteAnswer)}
    silent = [Silent(site=site, reason=str(said.get(site, LATE))) for site in others if site not in answers]
    return merged(question.digest, answers, silent, most=question.most)
