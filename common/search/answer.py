"""What is answered: by one hospital, and by all of them together.

A hospital tells opaque handles and distances, no more. Of all hospitals the nearest are kept, and whoever ties with the
last of them: an order among equals would be an accident of names. Where a hospital did not answer, the answer is
partial, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.errors import AdmissionError
from common.search.question import MOST_ANSWERS
from common.trust.envelope import seal, unseal
from common.trust.keys import PublicKey, SigningKey

_HANDLE = re.compile(r"[A-Za-z0-9_-]{16,128}")
_PURPOSE = "search answer"
_MOST_DISTANCE = 512
"""Of codes of 256 bits, rounded up."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A study of a hospital.

    Attributes:
        handle: By which that hospital, and nobody else, finds it again.
        distance: Bits in which its code differs, rounded up as the hospital's policy says.
    """

    handle: str
    distance: int


@dataclass(frozen=True, kw_only=True)
class SiteAnswer:
    """What one hospital answers.

    Attributes:
        question: Digest of the question.
        hits: The nearest first.
        cut: Whether more studies tie with the last than the hospital tells.
    """

    question: str
    hits: tuple[Hit, ...]
    cut: bool


@dataclass(frozen=True, kw_only=True)
class SiteHit:
    """A study of some hospital.

    Attributes:
        site: Which.
        handle: By which that hospital finds it again.
        distance: In bits, rounded up.
    """

    site: str
    handle: str
    distance: int


@dataclass(frozen=True, kw_only=True)
class Silent:
    """A hospital that was asked, and whose studies are not in the answer.

    Attributes:
        site: Which.
        reason: `offline`, `late`, or the reason code that it gave.
    """

    site: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What all hospitals answer together.

    Attributes:
        question: Digest of the question.
        hits: The nearest first.
        cut: Hospitals that know of more studies at their last distance.
        answered: Hospitals whose studies are in it.
        silent: The others that were asked.
    """

    question: str
    hits: tuple[SiteHit, ...]
    cut: tuple[str, ...]
    answered: tuple[str, ...]
    silent: tuple[Silent, ...]

    @property
    def partial(self) -> bool:
        """Whether a hospital that was asked did not answer."""
        return bool(self.silent)

    def sealed(self, key: SigningKey) -> bytes:
        """The answer, with the server's signature."""
        return seal(self, key, purpose=_PURPOSE)


def read_answer(sealed: bytes, key: PublicKey, *, question: str) -> Answer:
    """The answer to a question, as the server's key sealed it.

    Raises:
        TrustError: It is damaged or sealed with another key.
        AdmissionError: It answers another question.
    """
    answer = unseal(sealed, Answer, key, purpose=_PURPOSE)
    if answer.question != question:
        raise AdmissionError("the server answered another question; ask again")
    return answer


def check_site_answer(answer: SiteAnswer, *, question: str, most: int) -> None:
    """Return where a hospital's answer can be one to this question: no more studies than asked for, but ties.

    Raises:
        AdmissionError: With a reason code.
    """
    if answer.question != question:
        raise AdmissionError("replayed")
    distances = [hit.distance for hit in answer.hits]
    if len(distances) > MOST_ANSWERS or (len(distances) > most and distances[most - 1] != distances[-1]):
        raise AdmissionError("size")
    handles = {hit.handle for hit in answer.hits}
    if answer.cut and not answer.hits:
        raise AdmissionError("malformed")
    if distances != sorted(distances) or not all(0 <= distance <= _MOST_DISTANCE for distance in distances):
        raise AdmissionError("malformed")
    if len(handles) < len(answer.hits) or not all(map(_HANDLE.fullmatch, handles)):
        raise AdmissionError("malformed")


def merged(question: str, answers: Mapping[str, SiteAnswer], silent: Sequence[Silent], *, most: int) -> Answer:
    """The nearest studies of all hospitals, with everyone that ties with the last of them.

    Args:
        question: Digest of the question.
        answers: By hospital.
        silent: Who was asked and did not answer.
        most: How many are wanted.
    """
    hits = sorted(
        (
            SiteHit(site=site, handle=hit.handle, distance=hit.distance)
            for site, said in answers.items()
            for hit in said.hits
        ),
        key=lambda hit: (hit.distance, hit.site, hit.handle),
    )
    last = hits[most - 1].distance if len(hits) > most else _MOST_DISTANCE
    return Answer(
        question=question,
        hits=tuple(hit for hit in hits if hit.distance <= last),
        cut=tuple(sorted(site for site, said in answers.items() if said.cut and said.hits[-1].distance <= last)),
        answered=tuple(sorted(answers)),
        silent=tuple(sorted(silent, key=lambda one: one.site)),
    )
