"""Does a hospital stop answering a hospital that asks too often, around one code, or for study after study?

What is found carries no noise: how much of an index others can learn is bounded by the hospital's rules alone. So a
desk with production's policy and book, and an index of made-up codes, is asked until it refuses, by the limits that a
`site.yaml` has where it names none. On the way the book is closed and opened anew, as after a restart. A stranger asks
too; and an hour later, or a day, the same question must be answered again, or the desk refuses everybody.

Shapes: P bytes a code, M studies, Q questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from client.policy.site_schema import SearchLimits, SiteConfig
from client.search.book import HOUR, KEPT, opened_book
from client.search.generation import HANDLE_KEY_FILE, alone
from client.search.handles import HandleKey
from client.search.index import SearchIndex
from client.search.studies import HANDLE, IMAGE_STUDY, IndexedStudies
from client.search.told_handles import open_handles
from client.search.traits import traits_of
from common.errors import PolicyRefusal
from common.files import sha256_hex
from common.hashing.codes import Codes
from common.search.question import new_question
from common.seeds import numpy_generator
from common.types import StudyRecord
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

ASKER, STRANGER = "riverside", "northgate"
LIMITS = SearchLimits(allowed=[ASKER])
NUM_STUDIES = 1_000
CODE_BYTES = 8
MODEL = sha256_hex(b"a model that made no code here")
BEYOND = 20
"""Questions that are asked after the limit."""
BEGINS = datetime(2026, 1, 5, 0, 10, tzinfo=UTC)
"""A day's beginning: a study has one told handle on a day, so that told studies can be counted."""
PAUSE = timedelta(minutes=2)
"""Between questions that are to be few in an hour."""


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Ask until the desk refuses, by each limit."""
    codes_MP = numpy_generator(subject.seed, "audit", "search limits").integers(
        0, 256, (NUM_STUDIES, CODE_BYTES), np.uint8
    )
    with TemporaryDirectory() as folder:
        path = Path(folder)
        _write_index(path, codes_MP)
        hospital = _Hospital(pipeline=pipeline, folder=path)
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


@dataclass(kw_only=True)
class _Hospital:
    """A hospital whose clock stands where it is put.

    Attributes:
        pipeline: Its desk and its policy.
        folder: Its index and, a folder for each walk, its books.
        now: Its time.
        told: Handles that were told since the book was new.
    """

    pipeline: Pipeline
    folder: Path
    now: datetime = BEGINS
    told: set[str] = field(default_factory=set)

    @contextmanager
    def open(self, book: str) -> Iterator[Callable[[Codes, str, int], bool]]:
        """What asks a question with a code, in a name, for so many studies, and says whether it was answered."""
        state = self.folder / book
        state.mkdir(exist_ok=True)
        policy = self.pipeline.policy(SiteConfig(search=LIMITS))
        index = SearchIndex.open(self.folder, key=None, model=MODEL, bit_width=8 * CODE_BYTES)
        handles = open_handles(state, days=LIMITS.handle_days)
        with opened_book(state) as kept:
            desk = self.pipeline.desk(lambda: index, policy, LIMITS, kept, handles, now=lambda: self.now)

            def ask(code_P: Codes, asker: str, most: int) -> bool:
                question = new_question(code_P, asker=asker, model=MODEL, gallery="images", most=most)
                try:
                    answer = desk.answer(replace(question, asked_at=self.now.isoformat()))
                except PolicyRefusal:
                    return False
                self.told |= {hit.handle for hit in answer.hits}
                return True

            yield ask

    def asked_until_refused(
        self, book: str, codes_QP: Codes, *, most: int = 1, asker: str = ASKER, pause: timedelta = timedelta(0)
    ) -> int:
        """Number of questions that were answered; after a quarter the book is opened anew."""
        self.now, self.told = BEGINS, set()
        quarter, num_answered = len(codes_QP) // 4, 0
        for part in (codes_QP[:quarter], codes_QP[quarter:]):
            with self.open(book) as ask:
                for code_P in part:
                    if not ask(code_P, asker, most):
                        return num_answered
                    num_answered += 1
                    self.now += pause
        return num_answered

    def answers(self, book: str, code_P: Codes, *, after: timedelta) -> bool:
        """Whether the hospital that may ask is answered some time later."""
        self.now += after + timedelta(minutes=1)
        with self.open(book) as ask:
            return ask(code_P, ASKER, 1)


def _often(hospital: _Hospital, codes_MP: Codes) -> _Walk:
    most = LIMITS.questions_per_hour
    got = hospital.asked_until_refused("often", codes_MP[: most + BEYOND])
    again = hospital.answers("often", codes_MP[-1], after=HOUR)
    return _Walk(what="questions in an hour", got=got, most=most, again=again)


def _around_one_code(hospital: _Hospital, codes_MP: Codes) -> _Walk:
    """Codes that are apart in up to two bits."""
    most = LIMITS.nearby_per_day
    near = np.repeat(codes_MP[:1], most + BEYOND, axis=0)
    for number in range(1, len(near)):
        near[number, number % CODE_BYTES] ^= 1
    got = hospital.asked_until_refused("around", near, pause=PAUSE)
    again = hospital.answers("around", codes_MP[0], after=KEPT)
    return _Walk(what="questions around one code in a day", got=got, most=most, again=again)


def _study_after_study(hospital: _Hospital, codes_MP: Codes) -> _Walk:
    """The question that passes the limit may still be answered whole."""
    most = LIMITS.studies_per_day - 1 + LIMITS.most_answers
    codes = codes_MP[: 2 * LIMITS.studies_per_day // LIMITS.most_answers + BEYOND]
    hospital.asked_until_refused("studies", codes, most=LIMITS.most_answers, pause=PAUSE)
    got = len(hospital.told)
    again = hospital.answers("studies", codes_MP[-1], after=KEPT)
    return _Walk(what="studies in a day", got=got, most=most, again=again)


def _as_a_stranger(hospital: _Hospital, codes_MP: Codes) -> _Walk:
    got = hospital.asked_until_refused("stranger", codes_MP[:BEYOND], asker=STRANGER)
    again = hospital.answers("stranger", codes_MP[-1], after=HOUR)
    return _Walk(what="questions of a hospital that may not search", got=got, most=0, again=again)


def _write_index(folder: Path, codes_MP: Codes) -> None:
    """An index of a study with one image for each code."""
    names = [f"study-{number}" for number in range(len(codes_MP))]
    with alone(folder, site="audited", key=None) as writer:
        key = HandleKey.at(folder / HANDLE_KEY_FILE)
        studies = IndexedStudies(
            handles=np.array([key.of_study(name) for name in names], HANDLE),
            patients=np.array([key.of_patient(name) for name in names], HANDLE),
            contents=np.array([key.of_content(name) for name in names], HANDLE),
            names=np.array([name.encode() for name in names]),
            traits=traits_of([StudyRecord(study_id=name, patient_id=name, report="") for name in names]),
            reports=codes_MP,
            images=codes_MP,
            image_studies=np.arange(len(names), dtype=IMAGE_STUDY),
        )
        writer.write(
            studies.in_order(),
            withdrawn=np.empty(0, HANDLE),
            model=MODEL,
            bit_width=8 * CODE_BYTES,
            source="",
        )
