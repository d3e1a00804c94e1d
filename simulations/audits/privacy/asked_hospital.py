"""A hospital that others ask: production's desk, policy and book over an index of given codes, at a time that is put.

Limits are those of a `site.yaml` that names none.

Shapes: P bytes a code, M studies, Q questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from client.policy.site_schema import SearchLimits, SiteConfig
from client.search.book import opened_book
from client.search.generation import HANDLE_KEY_FILE, alone
from client.search.handles import HandleKey
from client.search.index import SearchIndex
from client.search.studies import HANDLE, IMAGE_STUDY, IndexedStudies
from client.search.told_handles import open_handles
from client.search.traits import traits_of
from common.errors import PolicyRefusal
from common.files import sha256_hex
from common.hashing.codes import Codes
from common.search.answer import SiteAnswer
from common.search.question import new_question
from common.types import StudyRecord
from simulations.audits.privacy.pipeline import Pipeline

ASKER, STRANGER = "riverside", "northgate"
LIMITS = SearchLimits(allowed=[ASKER])
MODEL = sha256_hex(b"a model that made no code here")
BEGINS = datetime(2026, 1, 5, 0, 10, tzinfo=UTC)
"""A day's beginning: a study has one told handle on a day, so that told studies can be counted."""
PAUSE = timedelta(minutes=2)
"""Between questions that are to be few in an hour."""


@dataclass(kw_only=True)
class AskedHospital:
    """A hospital whose clock stands where it is put, as others who ask it see it.

    Attributes:
        pipeline: Its desk and its policy.
        folder: Its index and, a folder for each walk, its books.
        code_bytes: Of a code.
        now: Its time.
        told: Handles that were told since the book was new.
    """

    pipeline: Pipeline
    folder: Path
    code_bytes: int
    now: datetime = BEGINS
    told: set[str] = field(default_factory=set)

    @contextmanager
    def open(self, book: str) -> Iterator[Callable[[Codes, str, int], SiteAnswer | None]]:
        """What asks a question with a code, in a name, for so many studies; None where the hospital refuses."""
        state = self.folder / book
        state.mkdir(exist_ok=True)
        policy = self.pipeline.policy(SiteConfig(search=LIMITS))
        index = SearchIndex.open(self.folder, key=None, model=MODEL, bit_width=8 * self.code_bytes)
        handles = open_handles(state, days=LIMITS.handle_days)
        with opened_book(state) as kept:
            desk = self.pipeline.desk(lambda: index, policy, LIMITS, kept, handles, now=lambda: self.now)

            def ask(code_P: Codes, asker: str, most: int) -> SiteAnswer | None:
                question = new_question(code_P, asker=asker, model=MODEL, gallery="images", most=most)
                try:
                    answer: SiteAnswer = desk.answer(replace(question, asked_at=self.now.isoformat()))
                except PolicyRefusal:
                    return None
                self.told |= {hit.handle for hit in answer.hits}
                return answer

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
                    if ask(code_P, asker, most) is None:
                        return num_answered
                    num_answered += 1
                    self.now += pause
        return num_answered

    def answers(self, book: str, code_P: Codes, *, after: timedelta) -> bool:
        """Whether the hospital that may ask is answered some time later."""
        self.now += after + timedelta(minutes=1)
        with self.open(book) as ask:
            return ask(code_P, ASKER, 1) is not None


def write_index(folder: Path, codes_MP: Codes) -> None:
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
            bit_width=8 * codes_MP.shape[1],
            source="",
        )
