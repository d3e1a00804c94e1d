"""A simulation's hospitals as they answer a search: each with its index, its book and its sealed handles, as deployed.

What differs from a deployment is what a simulation opens: every question is allowed, distances are told as they are,
and the studies behind the handles are shown. All own studies of a hospital are in its index, as `wardround site index`
has them: public ones and those that lack a half are not.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from client.policy.interface import Policy
from client.policy.site_policy import search_rules_of
from client.policy.site_schema import SearchLimits
from client.search.book import opened_book
from client.search.desk import Desk
from client.search.index import SearchIndex
from client.search.told_handles import open_handles
from common.errors import TrustError, WardroundError
from common.files import write_atomically
from common.model import Model
from common.search.answer import Answer, Silent, SiteAnswer, check_site_answer, merged
from common.search.question import MOST_ANSWERS, Question
from simulations.search.opened_run import OpenedRun

ASKER = "researcher"
LIMITS = SearchLimits(
    allowed=[ASKER],
    most_answers=MOST_ANSWERS,
    distance_step=1,
    questions_per_hour=10**6,
    nearby_per_day=10**6,
    studies_per_day=10**9,
)
"""What a simulation opens; the rules themselves are those of a hospital."""

_SITES, _LIST = "sites", "sites.json"

_log = logging.getLogger("wardround.search")


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """A hospital of a simulation.

    Attributes:
        name: Its name.
        folder: Where its index, its book and its keys are.
        model: Digest of the model that its index was made with.
        bit_width: Bits of that model's codes.
        findings: Of its studies, by their identifiers.
    """

    name: str
    folder: Path
    model: str
    bit_width: int
    findings: Mapping[str, Sequence[str]]

    def index(self) -> SearchIndex:
        """Its index, open and checked.

        Raises:
            ConfigError: There is none.
            TrustError: It does not hold.
        """
        return SearchIndex.open(self.folder, key=None, model=self.model, bit_width=self.bit_width)

    def answer(self, question: Question) -> SiteAnswer:
        """What it answers, from the desk that a deployed hospital has.

        Raises:
            WardroundError: It does not answer.
        """
        policy = Policy(run_rules=(), release_rules=(), search_rules=search_rules_of(LIMITS))
        with opened_book(self.folder) as book:
            handles = open_handles(self.folder, days=LIMITS.handle_days)
            answer = Desk(self.index, policy, LIMITS, book, handles).answer(question)
        check_site_answer(answer, question=question.digest, most=question.most)
        return answer

    def handle_behind(self, told: str, *, today: date) -> str:
        """The index's own handle of a study that was told today."""
        return open_handles(self.folder, days=LIMITS.handle_days).own(told, today=today)


def ask_all(question: Question, hospitals: Iterable[Hospital]) -> Answer:
    """What all hospitals answer together; one that cannot answer makes it partial, and the log says why."""
    answers, silent = {}, []
    for hospital in hospitals:
        try:
            answers[hospital.name] = hospital.answer(question)
        except WardroundError as error:
            _log.warning("%s does not answer: %s", hospital.name, error)
            silent.append(Silent(site=hospital.name, reason=error.reason))
    return merged(question.digest, answers, silent, most=question.most)


@dataclass(frozen=True, kw_only=True)
class Hospitals:
    """All hospitals of a run.

    Attributes:
        sites: Each of them.
        spread: Of what the image tower sees of held-out studies: the unit of a certificate's noise.
    """

    sites: tuple[Hospital, ...]
    spread: float

    @classmethod
    def of(cls, run: OpenedRun, *, progress: Callable[[int], None]) -> Hospitals:
        """The hospitals of a run; their indexes are made the first time, and kept.

        Raises:
            DataError: The run's studies cannot be read.
            TrustError: What was kept is damaged.
        """
        folder = run.kept / _SITES
        path = folder / _LIST
        if not path.exists():
            from simulations.search.building import build_all  # here: a search of what is kept loads no data reader

            shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
            folder.mkdir(mode=0o700)
            write_atomically(path, json.dumps(build_all(run, folder, progress=progress)).encode())
        try:
            kept: dict[str, Any] = json.loads(path.read_bytes())
            sites = tuple(_hospital(run.model, folder / str(i), site) for i, site in enumerate(kept["sites"]))
            return cls(sites=sites, spread=float(kept["spread"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrustError(f"{path}: is damaged; delete {run.kept}, and it is made anew") from error


def _hospital(model: Model, folder: Path, kept: Mapping[str, Any]) -> Hospital:
    return Hospital(
        name=kept["name"], folder=folder, model=model.digest, bit_width=model.bit_width, findings=dict(kept["findings"])
    )
