"""What a hospital asks of the others: which of their studies have a code near this one. A code, never words or pixels.

A question is sealed with the asking hospital's key: nobody can ask in another's name, and none can be changed on the
way. It holds a number of its own and the time, so that one that was sent before is known again.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from common.errors import ConfigError, TrustError
from common.hashing.codes import Codes, check_bit_width
from common.trust.envelope import body_digest, read_signed, seal, unseal
from common.trust.keys import PublicKey, SigningKey
from common.trust.names import is_name

MOST_BYTES = 4096
"""Of a sealed question; one of 256 bits has about 700."""
MOST_ANSWERS = 1000
"""That a question may ask of one hospital."""
LIFE = timedelta(minutes=5)
"""From asking to the last moment at which it may be answered, and as far as two clocks may be apart."""

GALLERIES = frozenset({"images", "reports"})

_PURPOSE = "search question"
_DIGEST, _NUMBER = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question.

    Attributes:
        asker: Name of the hospital that asks.
        model: Digest of the model that made the code, in hexadecimal: codes of another cannot be compared.
        code: The packed code, in hexadecimal.
        gallery: What the code is compared with: `images` or `reports`.
        most: How many studies each hospital is asked for.
        asked_at: When (ISO 8601, UTC).
        number: 32 random hexadecimal digits: no two questions are the same.

    Raises:
        TrustError: A value cannot be.
    """

    asker: str
    model: str
    code: str
    gallery: str
    most: int
    asked_at: str
    number: str

    def __post_init__(self) -> None:
        if not is_name(self.asker) or not _DIGEST.fullmatch(self.model) or not _NUMBER.fullmatch(self.number):
            raise TrustError("names a hospital, a model or a number that cannot be")
        if self.gallery not in GALLERIES:
            raise TrustError("asks for neither images nor reports")
        if not 1 <= self.most <= MOST_ANSWERS:
            raise TrustError(f"asks for {self.most} studies; 1 to {MOST_ANSWERS} can be asked for")
        try:
            check_bit_width(4 * len(self.code))
            bytes.fromhex(self.code)
            zone = datetime.fromisoformat(self.asked_at).utcoffset()
        except (ConfigError, ValueError) as error:
            raise TrustError("holds a code or a time that cannot be") from error
        if zone is None:
            raise TrustError("holds a time without its zone")

    @property
    def code_P(self) -> Codes:
        """The packed code, `[P]`."""
        return np.frombuffer(bytes.fromhex(self.code), dtype=np.uint8)

    @property
    def digest(self) -> str:
        """What logs name it by."""
        return body_digest(self)

    def check_time(self, now: datetime) -> None:
        """Return where it may be answered now.

        Raises:
            TrustError: It was asked too long ago, or is to be asked yet.
        """
        if abs(now - datetime.fromisoformat(self.asked_at)) > LIFE:
            raise TrustError(
                f"the question is of {self.asked_at}, and none is answered {LIFE.seconds // 60} minutes before or after"
                " its time; ask anew, and compare the clocks"
            )

    def sealed(self, key: SigningKey) -> bytes:
        """The question, with the asking hospital's signature."""
        return seal(self, key, purpose=_PURPOSE)


def new_question(code_P: Codes, *, asker: str, model: str, gallery: str, most: int) -> Question:
    """A question of now."""
    return Question(
        asker=asker,
        model=model,
        code=code_P.tobytes().hex(),
        gallery=gallery,
        most=most,
        asked_at=datetime.now(UTC).isoformat(timespec="seconds"),
        number=secrets.token_hex(16),
    )


def who_asks(sealed: bytes) -> str:
    """The hospital that a sealed question names, before anything of it is believed.

    Raises:
        TrustError: It is too long, or no question.
    """
    if len(sealed) > MOST_BYTES:
        raise TrustError("is longer than a question is")
    return read_signed(sealed, Question)[0].asker


def read_question(sealed: bytes, key: PublicKey) -> Question:
    """The question that a hospital's key sealed.

    Raises:
        TrustError: It is too long, no question, changed, or sealed with another key.
    """
    if len(sealed) > MOST_BYTES:
        raise TrustError("is longer than a question is")
    return unseal(sealed, Question, key, purpose=_PURPOSE)
