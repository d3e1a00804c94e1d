"""How much of a hospital's index askers learn together who ask and ask, within what its site.yaml lets each of them.

The real desk answers, with the real book of who asked what and was told; only its clock is set. The askers share all
that they are told and share the questions out: codes of public studies first, then the same with some bits turned, each
asker at the pace that `questions_per_hour` leaves it. All is asked within one day. A handle is the same for all on one
day, so that they see which studies are the same.

The limits are each asker's own: that askers collude is nothing that a hospital can see. A server that invents members
is as many askers as it likes, where `search.allowed` is `any`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from client.policy.interface import Policy
from client.policy.site_policy import search_rules_of
from client.policy.site_schema import SearchLimits
from client.search.book import opened_book
from client.search.desk import Desk
from client.search.index import SearchIndex
from client.search.told_handles import open_handles
from common.errors import PolicyRefusal
from common.hashing.codes import Codes
from common.search.question import new_question

DAY = timedelta(days=1)
NO_LIMIT = 10**9
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_MOST_TURNED = 0.25
"""Of the bits of a public study's code, in a question that is made of it."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What askers learned of one index in a day.

    Attributes:
        askers: How many.
        limited: Whether the limits held; without, a hospital tells whatever it is asked for.
        questions: They asked together.
        answered: Of them.
        studies: They were told of, each counted once.
        of: Studies in the index.
    """

    askers: int
    limited: bool
    questions: int
    answered: int
    studies: int
    of: int

    @property
    def share(self) -> float:
        """Of the index."""
        return self.studies / self.of


def learned(
    index: SearchIndex,
    public_QP: Codes,
    *,
    limits: SearchLimits,
    num_askers: int,
    num_questions: int,
    generator: np.random.Generator,
    limited: bool = True,
) -> Learned:
    """Let askers ask.

    Args:
        index: The hospital's.
        public_QP: Codes that the askers have.
        limits: What its site.yaml says; who may ask is set here.
        num_askers: Who collude.
        num_questions: Of all of them together, in one day.
        generator: Of the questions.
        limited: Whether the limits on how often and how much hold.
    """
    askers = [f"asker-{number}" for number in range(num_askers)]
    limits = replace(limits, allowed=askers)
    if not limited:
        limits = replace(limits, questions_per_hour=NO_LIMIT, nearby_per_day=NO_LIMIT, studies_per_day=NO_LIMIT)
    handles, answered, clock = set[str](), 0, [_BEGIN]
    with tempfile.TemporaryDirectory(prefix="wardround-audit-") as name, opened_book(Path(name)) as book:
        policy = Policy(run_rules=(), release_rules=(), search_rules=search_rules_of(limits))
        told = open_handles(Path(name), days=limits.handle_days)
        desk = Desk(lambda: index, policy, limits, book, told, now=lambda: clock[0])
        for number, code_P in enumerate(questions(public_QP, num_questions, generator)):
            clock[0] = _BEGIN + number * DAY / num_questions
            question = new_question(
                code_P,
                asker=askers[number % num_askers],
                model=index.head.model,
                gallery="images",
                most=limits.most_answers,
            )
            try:
                answer = desk.answer(replace(question, asked_at=clock[0].isoformat()))
            except PolicyRefusal:
                continue
            answered += 1
            handles |= {told.own(hit.handle, today=clock[0].date()) for hit in answer.hits}
    return Learned(
        askers=num_askers,
        limited=limited,
        questions=num_questions,
        answered=answered,
        studies=len(handles),
        of=len(index),
    )


def questions(public_QP: Codes, number: int, generator: np.random.Generator) -> Iterator[Codes]:
    """Codes to ask for: the public ones, and then these with a random share of their bits turned."""
    bits = 8 * public_QP.shape[1]
    for asked in range(number):
        code_P = public_QP[asked % len(public_QP)]
        if asked >= len(public_QP):
            turned = generator.random(bits) < generator.uniform(0, _MOST_TURNED)
            code_P = code_P ^ np.packbits(turned, bitorder="little")
        yield code_P


def learned_by_each(
    index: SearchIndex,
    public_QP: Codes,
    *,
    limits: SearchLimits,
    askers: Sequence[int],
    num_questions: int,
    generator: np.random.Generator,
) -> tuple[Learned, ...]:
    """The same for several numbers of askers, and for one whom nothing limits: the control."""
    limited = [
        learned(index, public_QP, limits=limits, num_askers=some, num_questions=num_questions, generator=generator)
        for some in askers
    ]
    control = learned(
        index,
        public_QP,
        limits=limits,
        num_askers=1,
        num_questions=num_questions,
        generator=generator,
        limited=False,
    )
    return (*limited, control)
