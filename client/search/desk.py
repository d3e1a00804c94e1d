"""Where a hospital answers the questions of others: what may be asked, looked up, rounded, and told under other names.

Nothing of a study leaves but a handle that opens here alone, and the distance of its code from the question's. No noise
lies on it: it is no differentially private release, and says so. What others can learn is bounded by who may ask, how
often, how near to what they asked before, and how many studies they are shown in a day (`search` in site.yaml).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from client.policy.interface import Policy, SearchRequest
from client.policy.site_schema import SearchLimits
from client.search.book import HOUR, KEPT, Book
from client.search.index import Gallery, SearchIndex
from client.search.told_handles import ToldHandles
from common.errors import PolicyRefusal
from common.search.answer import Hit, SiteAnswer
from common.search.question import Question


def local_now() -> datetime:
    """The time, where the hospital is."""
    return datetime.now(UTC).astimezone()


class Desk:
    """Answers the questions of other hospitals.

    Args:
        index: The hospital's, as it is now.
        policy: Its own.
        limits: What its policy says of searching.
        book: Who asked what.
        handles: What seals the handles.
        now: The time, with the hospital's time zone.
    """

    def __init__(
        self,
        index: Callable[[], SearchIndex],
        policy: Policy,
        limits: SearchLimits,
        book: Book,
        handles: ToldHandles,
        *,
        now: Callable[[], datetime] = local_now,
    ) -> None:
        self._index = index
        self._policy = policy
        self._limits = limits
        self._book = book
        self._handles = handles
        self._now = now

    def answer(self, question: Question) -> SiteAnswer:
        """The studies near a question's code. The question counts before it is answered.

        Raises:
            PolicyRefusal: The hospital's policy does not let it be answered, or its code is of another model.
            TrustError: It is too old, or was asked before; the book cannot be written.
        """
        now, code_P = self._now(), question.code_P
        question.check_time(now)
        self._policy.enforce(self._request(question, now))
        self._book.note_question(asker=question.asker, number=question.number, code_P=code_P, now=now)
        index = self._index()
        _check_model(question, index)
        most = min(question.most, self._limits.most_answers)
        near = index.search(code_P, gallery=Gallery(question.gallery), k=most)
        kept = near[: self._limits.most_answers]
        self._book.note_told(question.asker, [one.handle for one in kept], now=now)
        return SiteAnswer(
            question=question.digest,
            hits=tuple(
                Hit(
                    handle=self._handles.told(one.handle, today=now.date()),
                    distance=_rounded(one.distance, step=self._limits.distance_step),
                )
                for one in kept
            ),
            cut=len(near) > len(kept),
        )

    def _request(self, question: Question, now: datetime) -> SearchRequest:
        asker = question.asker
        return SearchRequest(
            asker=asker,
            asked_this_hour=self._book.num_asked(asker, since=now - HOUR),
            nearby_today=self._book.num_nearby(
                asker, question.code_P, within_bits=self._limits.nearby_bits, since=now - KEPT
            ),
            told_today=self._book.num_told(asker, since=now - KEPT),
            local_time=now.time(),
        )


def _check_model(question: Question, index: SearchIndex) -> None:
    width, head = 8 * len(question.code_P), index.head
    if (question.model, width) != (head.model, head.bit_width):
        raise PolicyRefusal(
            f"the question's code is of model {question.model[:12]}... with {width} bits, and the index of "
            f"{head.model[:12]}... with {head.bit_width}; index with the model that the consortium searches by: "
            "wardround site index"
        )


def _rounded(distance: int, *, step: int) -> int:
    """A distance rounded up."""
    return -(-distance // step) * step
