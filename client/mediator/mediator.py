"""From a clinician's words to a plan that was checked: the one way in, whoever proposes.

The words are brought into their plain form and read by rules (`lexical.py`). Where the rules explain all of them, that
plan is used and no model is asked. Otherwise the hospital's language model, if it has one, proposes; its plan is used
if it passes every check of `verify.py`. Whatever fails, the plan by rules is used, and it is said why. A plan by rules
passes the same checks or there is none.

Nothing here has an effect but the answer: no study, index or code is read, and no query is kept but in the memory of
this process, for the next time that it is asked.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from threading import Lock

from client.mediator.coverage import coverage
from client.mediator.grounds import Grounds
from client.mediator.interface import Modelled
from client.mediator.lexical import Lexical
from client.mediator.plan import Plan
from client.mediator.sanitise import Sanitised, sanitise
from client.mediator.verify import CHECKS, Refusal, verify
from common.canonical import digest
from common.errors import PlanError, WardroundError

MOST_CACHED = 256
"""Plans that are kept for the next time; each takes a few kB."""


@dataclass(frozen=True, kw_only=True)
class Mediated:
    """What became of words.

    Attributes:
        words: The words in their plain form; spans of the plan count their characters. "" where they were too many.
        plan: The plan to search by; None where there is none, and `refusals` say why.
        proposer: Whose plan it is; "" where there is none.
        coverage: Share of the content words that the plan explains.
        checks: Names of the checks that the plan passed.
        refusals: What was not done, and why: of the model's plan, of its not being asked, or of the words.
        changes: What the plain form changed.
        language: What the words seem to be written in.
        model_digest: Of the model that was asked; "" where none was.
        guard_digest: Of the fixed text that it was given; "" where none was.
        seconds: Time of each step that was taken.
        cached: Whether the plan was made before.
    """

    words: str
    plan: Plan | None = None
    proposer: str = ""
    coverage: float = 0.0
    checks: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    changes: tuple[str, ...] = ()
    language: str = "English"
    model_digest: str = ""
    guard_digest: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    cached: bool = False


class Mediator:
    """Turns words into checked plans.

    Args:
        model: The hospital's language model; None where it has none.
        today: What day it is; lengths of time count back from it.
    """

    def __init__(self, model: Modelled | None = None, *, today: Callable[[], date] | None = None) -> None:
        self._model = model
        self._today = today or (lambda: datetime.now(UTC).date())
        self._made: OrderedDict[str, Mediated] = OrderedDict()
        self._lock = Lock()

    def plan(self, query: str) -> Mediated:
        """The plan for a clinician's words. It never raises for what the words are, or for what a model does."""
        begun, today = time.perf_counter(), self._today()
        try:
            plain = sanitise(query)
        except PlanError as error:
            return Mediated(words="", refusals=(Refusal(check="length", field="query", reason=str(error)),))
        key = digest({"words": plain.text, "day": today.isoformat()})
        made = self._look_up(key)
        if made is not None:
            # What was changed is of this query: two that differ have one plain form.
            seconds = {"whole": time.perf_counter() - begun}
            return replace(made, changes=plain.changes, seconds=seconds, cached=True)
        made = self._make(plain, today)
        if not any(refusal.check == "model" for refusal in made.refusals):
            self._keep(key, made)  # a model that failed is asked again the next time
        return replace(made, seconds={**made.seconds, "whole": time.perf_counter() - begun})

    def _make(self, plain: Sanitised, today: date) -> Mediated:
        seconds: dict[str, float] = {}
        grounds = Grounds(plain.text, today=today)
        with _timed(seconds, "lexical"):
            by_rules = Lexical(today=today).propose(plain.text)
        with _timed(seconds, "verify"):
            refused = verify(by_rules, grounds)
        made = Mediated(
            words=plain.text,
            plan=None if refused else by_rules,
            proposer="" if refused else Lexical.name,
            coverage=coverage(plain.text, by_rules),
            checks=() if refused else tuple(CHECKS),
            refusals=refused,
            changes=plain.changes,
            language=plain.language,
            seconds=seconds,
        )
        if self._model is None or made.plan is None or _is_whole(made):
            return made
        return self._with_model(made, grounds, self._model)

    def _with_model(self, by_rules: Mediated, grounds: Grounds, model: Modelled) -> Mediated:
        """The model's plan where it holds, and else the one by rules."""
        asked = replace(by_rules, model_digest=model.model_digest, guard_digest=model.guard_digest)
        seconds = dict(by_rules.seconds)
        try:
            with _timed(seconds, model.name):
                plan = model.propose(grounds.words)
        except WardroundError as error:
            return replace(asked, seconds=seconds, refusals=(Refusal(check="model", field="", reason=str(error)),))
        with _timed(seconds, f"verify_{model.name}"):
            refused = verify(plan, grounds)
        if refused:
            return replace(asked, seconds=seconds, refusals=refused)
        share = coverage(grounds.words, plan)
        return replace(asked, plan=plan, proposer=model.name, coverage=share, seconds=seconds)

    def _look_up(self, key: str) -> Mediated | None:
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
            return self._made.get(key)

    def _keep(self, key: str, made: Mediated) -> None:
        with self._lock:
            self._made[key] = made
            while len(self._made) > MOST_CACHED:
                self._made.popitem(last=False)


def _is_whole(made: Mediated) -> bool:
    """Whether the rules explain every content word, and have nothing to ask back."""
    return made.coverage == 1 and made.plan is not None and not made.plan.ask_back


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    begun = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] = time.perf_counter() - begun
