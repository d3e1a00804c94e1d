"""Does a hospital stop answering a hospital that asks too often, around one code, or for study after study?

What is found carries no noise: how much of an index others can learn is bounded by the hospital's rules alone. So a
desk with production's policy and book, and an index of made-up codes, is asked until it refuses, by the limits that a
`site.yaml` has where it names none. On the way the book is closed and opened anew, as after a restart. A stranger asks
too; and an hour later, or a day, the same question must be answered again, or the desk refuses everybody.

Shapes: P bytes a code, M studies, Q questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from client.search.book import HOUR, KEPT
from common.hashing.codes import Codes
from common.seeds import numpy_generator
from simulations.audits.privacy.asked_hospital import LIMITS, PAUSE, STRANGER, AskedHospital, write_index
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

NUM_STUDIES = 1_000
CODE_BYTES = 8
BEYOND = 20
"""Questions that are asked after the limit."""


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Ask until the desk refuses, by each limit."""
    codes_MP = numpy_generator(subject.seed, "audit", "search limits").integers(
        0, 256, (NUM_STUDIES, CODE_BYTES), np.uint8
    )
    with TemporaryDirectory() as folder:
        path = Path(folder)
        write_index(path, codes_MP)
        hospital = AskedHospital(pipeline=pipeline, folder=path, code_bytes=CODE_BYTES)
        found = [walk(hospital, codes_MP) for walk in (_often, _around_one_code, _study_after_study, _as_a_stranger)]
    broken = [one.words for one in found if one.got > one.most]
    mute = [one.words for one in found if not one.again]
    return Measured(
        holds=False if broken else None if mute else True,
        sentence=(
            f"Before the first refusal, over a restart: {'; '.join(one.words for one in found)}. "
            + ("The limits were passed. " if broken else "No limit was passed. ")
            + ("Later it did not answer again, so that nothing can be told." if mute else "Later it answered again.")
        ),
        power=(
            f"A rule that is off, or forgets over a restart, is seen: {BEYOND} questions are asked beyond each limit. "
            "What those can put together who ask within the limits is for the checks of codes."
        ),
    )


CHECK = Check(
    name="search-limits",
    question="Does a hospital stop answering a hospital that asks too much?",
    claim="Who may search a hospital's studies, how often and for how many of them in a day, the hospital sets itself.",
    measure=measure,
)


@dataclass(frozen=True, kw_only=True)
class _Walk:
    """What one way of asking came to.

    Attributes:
        what: What was counted.
        got: How many of them.
        most: That the limits allow.
        again: Whether there was an answer when the time was over.
    """

    what: str
    got: int
    most: int
    again: bool

    @property
    def words(self) -> str:
        return f"{self.got} {self.what}, most {self.most}"


def _often(hospital: AskedHospital, codes_MP: Codes) -> _Walk:
    most = LIMITS.questions_per_hour
    got = hospital.asked_until_refused("often", codes_MP[: most + BEYOND])
    again = hospital.answers("often", codes_MP[-1], after=HOUR)
    return _Walk(what="questions in an hour", got=got, most=most, again=again)


def _around_one_code(hospital: AskedHospital, codes_MP: Codes) -> _Walk:
    """Codes that are apart in up to two bits."""
    most = LIMITS.nearby_per_day
    near = np.repeat(codes_MP[:1], most + BEYOND, axis=0)
    for number in range(1, len(near)):
        near[number, number % CODE_BYTES] ^= 1
    got = hospital.asked_until_refused("around", near, pause=PAUSE)
    again = hospital.answers("around", codes_MP[0], after=KEPT)
    return _Walk(what="questions around one code in a day", got=got, most=most, again=again)


def _study_after_study(hospital: AskedHospital, codes_MP: Codes) -> _Walk:
    """The question that passes the limit may still be answered whole."""
    most = LIMITS.studies_per_day - 1 + LIMITS.most_answers
    codes = codes_MP[: 2 * LIMITS.studies_per_day // LIMITS.most_answers + BEYOND]
    hospital.asked_until_refused("studies", codes, most=LIMITS.most_answers, pause=PAUSE)
    got = len(hospital.told)
    again = hospital.answers("studies", codes_MP[-1], after=KEPT)
    return _Walk(what="studies in a day", got=got, most=most, again=again)


def _as_a_stranger(hospital: AskedHospital, codes_MP: Codes) -> _Walk:
    got = hospital.asked_until_refused("stranger", codes_MP[:BEYOND], asker=STRANGER)
    again = hospital.answers("stranger", codes_MP[-1], after=HOUR)
    return _Walk(what="questions of a hospital that may not search", got=got, most=0, again=again)
