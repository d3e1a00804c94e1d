"""Questions of members are passed on to the others, once, and what comes back is sealed; nobody else gets anything."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from common.errors import TrustError
from common.search.answer import Hit, SiteAnswer, read_answer
from common.search.question import Question, new_question, read_question
from common.trust.keys import PublicKey, SigningKey
from server.search.counter import MOST_WAITING, PATH, Counter
from server.search.session import serve_questions

KEYS = {name: SigningKey.fresh() for name in ("northgate", "riverside", "st-marys")}
MEMBERS = {name: key.public for name, key in KEYS.items()}
SERVER = SigningKey.fresh()


def question(asker: str = "northgate") -> Question:
    return new_question(np.zeros(16, np.uint8), asker=asker, model="a" * 64, gallery="images", most=10)


class Hospitals:
    """A channel to hospitals, of which some are down."""

    def __init__(self, down: Mapping[str, str] | None = None) -> None:
        self.down = down or {}
        self.asked: list[tuple[str, ...]] = []

    def look_around(self, *, seconds: float) -> None:
        """See `Channel`."""
        assert seconds > 0

    def pass_on(
        self, asked: Question, sealed: bytes, *, key: str, sites: Collection[str], deadline_seconds: float
    ) -> Iterator[tuple[str, SiteAnswer | str]]:
        """See `Channel`."""
        assert (key, deadline_seconds) == (MEMBERS[asked.asker].hex, 5)
        assert read_question(sealed, MEMBERS[asked.asker]) == asked
        self.asked.append(tuple(sites))
        for site in sites:
            if site not in self.down:
                hits = (Hit(handle=f"handle-of-{site}-000000", distance=4),)
                yield site, SiteAnswer(question=asked.digest, hits=hits, cut=False)
            elif self.down[site]:
                yield site, self.down[site]


def replies(counter: Counter, requests: Sequence[httpx.Request]) -> list[httpx.Response]:
    """What the port says to requests that come at the same time; those that wait are turned away after two seconds."""

    async def sent() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(counter.application())) as client:
            sending = [asyncio.create_task(client.send(request)) for request in requests]
            await asyncio.wait(sending, timeout=2)
            counter.close()
            return await asyncio.gather(*sending)

    return asyncio.run(sent())


def post(content: bytes) -> httpx.Request:
    return httpx.Request("POST", f"https://server{PATH}", content=content)


def served(hospitals: Hospitals, counter: Counter) -> tuple[threading.Thread, threading.Event]:
    end = threading.Event()
    thread = threading.Thread(
        target=serve_questions,
        args=(counter, hospitals),
        kwargs={"members": lambda: MEMBERS, "key": SERVER, "deadline_seconds": 5, "ended": end.is_set},
    )
    thread.start()
    return thread, end


@pytest.mark.parametrize("down", [{}, {"riverside": "offline"}, {"riverside": ""}])
def test_question_is_answered_by_the_others_and_says_who_did_not(down: dict[str, str]) -> None:
    counter, hospitals = Counter(lambda: MEMBERS), Hospitals(down)
    thread, end = served(hospitals, counter)
    asked = question()
    try:
        (reply,) = replies(counter, [post(asked.sealed(KEYS["northgate"]))])
    finally:
        end.set()
        thread.join()
    answer = read_answer(reply.content, SERVER.public, question=asked.digest)
    assert hospitals.asked == [("riverside", "st-marys")]
    assert answer.partial == bool(down)
    assert answer.answered == (("st-marys",) if down else ("riverside", "st-marys"))
    assert [(one.site, one.reason) for one in answer.silent] == [(site, said or "late") for site, said in down.items()]


def test_nobody_but_a_member_with_a_question_of_now_is_heard() -> None:
    now = [datetime.now(UTC)]
    counter = Counter(lambda: MEMBERS, now=lambda: now[0])
    sealed = question().sealed(KEYS["northgate"])
    assert counter.take(sealed).key == MEMBERS["northgate"].hex
    refused = {
        "sent again": sealed,
        "in another's name": question("riverside").sealed(KEYS["northgate"]),
        "of a stranger": question("westgate").sealed(SigningKey.fresh()),
        "no question": b"{}",
    }
    for content in refused.values():
        with pytest.raises(TrustError):
            counter.take(content)
    later = question().sealed(KEYS["northgate"])
    now[0] += timedelta(minutes=6)
    with pytest.raises(TrustError, match="clocks"):
        counter.take(later)


def test_port_answers_with_a_status_alone_and_holds_a_bounded_queue() -> None:
    strange = [
        post(b"x"),
        post(b" " * 5000),
        httpx.Request("GET", f"https://server{PATH}"),
        httpx.Request("POST", "https://server/v1/fleet/pull-messages"),
    ]
    assert [reply.status_code for reply in replies(Counter(lambda: MEMBERS), strange)] == [403, 413, 405, 404]
    counter = Counter(lambda: MEMBERS)
    for _ in range(MOST_WAITING):
        counter.take(question().sealed(KEYS["northgate"]))
    (reply,) = replies(counter, [post(question().sealed(KEYS["northgate"]))])
    assert (reply.status_code, reply.content) == (503, b"")


def test_members_are_looked_at_before_it_is_looked_who_came() -> None:
    """Who joins while nobody asks is met all the same."""
    looks: list[str] = []
    end = threading.Event()

    class Looking(Hospitals):
        def look_around(self, *, seconds: float) -> None:
            super().look_around(seconds=seconds)
            looks.append("around")
            end.set()

    def members() -> Mapping[str, PublicKey]:
        looks.append("members")
        return MEMBERS

    counter = Counter(members)
    options = {"members": members, "key": SERVER, "deadline_seconds": 5, "ended": end.is_set}
    serve_questions(counter, Looking(), **options)  # type: ignore[arg-type]
    assert looks == ["members", "around"]
