"""Does anything leave a hospital that its gate should hold back?

What runs behind the gate is taken to be faulty here: production's own answer to a task is changed in one place, so that
it carries what it should not, or is not paid for. The gate must send a reason code in its stead, and let the answer
pass that was changed in nothing.

Then the whole app of a site is asked, as it is installed, by each kind of message, for what only a gate refuses: so a
function of it that does not stand behind the gate is seen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flwr.app import Context, Message, RecordDict

from client.gate.gate import Guard
from client.gate.recorder import NoRecorder
from client.policy.site_schema import (
    ANY,
    ReleaseLimits,
    SharedNoiseLimits,
    SiteBudget,
    SiteConfig,
    TrainingLimits,
    UpdateLimits,
)
from client.site import Site
from common.canonical import digest
from common.privacy.release import Mechanism
from common.wire.flower import (
    GROUPS,
    SITE,
    STATISTICS,
    UPDATE,
    Task,
    hello_to_records,
    reply_to_records,
    task_to_records,
)
from common.wire.flower_arrays import arrays_to_record
from common.wire.update import NamedArrays, model_arrays
from simulations.audits.privacy.faulty_answers import FAULTS, STUDY
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.steps import Bench, bench
from simulations.audits.privacy.subject import Subject
from simulations.runtime import be_the_server

QUERY, TRAIN, EVALUATE = "query", "train", "evaluate"
NODE = 2
_log = logging.getLogger("wardround.site")


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Put faulty code behind the gate, and ask the installed app for what it must refuse."""
    be_the_server()
    with TemporaryDirectory() as folder, bench(pipeline, subject) as on:
        trial = _Trial(on, Path(folder))
        passed, left = trial.gate()
        honest, answered = trial.app()
    left += answered
    num_tried = len(FAULTS) + 2 + len(trial.refused_by_the_app)
    return Measured(
        holds=False if left else True if passed and honest else None,
        sentence=(
            f"Of {num_tried} answers that should stay in the hospital, {len(left)} left"
            + (f": {'; '.join(left)}. " if left else ". ")
            + (
                "An answer that is as it should be left, and was paid for."
                if passed and honest
                else "An answer that is as it should be was held back too, so that this says little."
            )
        ),
        power=(
            "A gate that lets one of these faults through is seen, and a kind of message that does not pass it. What "
            "is hidden within the numbers of an update that has the right form and is paid for is not."
        ),
    )


CHECK = Check(
    name="gate",
    question="Does anything leave a hospital that its gate should hold back?",
    claim="Only what the hospital's policy names leaves, of a known form and paid for in the ledger.",
    measure=measure,
)


class _Trial:
    """One site behind its gate.

    Args:
        on: The site.
        folder: Where another ledger than the site's is kept.
    """

    def __init__(self, on: Bench, folder: Path) -> None:
        self._on, self._folder = on, folder
        self._site = on.site
        self._arrays: NamedArrays = model_arrays(on.model)
        self._policy = on.pipeline.policy(_as_agreed(on.site))

    def gate(self) -> tuple[bool, list[str]]:
        """Whether the right answer passed the gate, and what of the others did."""
        task = self._task(1)
        reply = self._on.pipeline.answer(self._site, task, self._arrays, context=digest(["audit", "gate"]))
        message = self._message(TRAIN, task_to_records(task, arrays_to_record(self._arrays)))
        left = [fault.__name__.replace("_", " ") for fault in FAULTS if self._leaves(message, partial(fault, reply))]
        if self._leaves(message, _fail):
            left.append("the text of an error")
        passed = self._leaves(message, lambda: reply_to_records(reply))
        if self._leaves(message, lambda: reply_to_records(reply)):
            left.append("an update that was paid for once, a second time")
        return passed, left

    def app(self) -> tuple[bool, list[str]]:
        """Whether the installed app answered as it should, and what else it answered."""
        honest = self._answers(self._site, self._policy, self._training(2))
        return honest, [name for name, answers in self.refused_by_the_app.items() if answers()]

    @property
    def refused_by_the_app(self) -> dict[str, Callable[[], bool]]:
        """What the installed app must refuse, and whether it answers."""
        nothing = self._on.pipeline.policy(replace(_as_agreed(self._site), releases=ReleaseLimits(least_cell=1)))
        other_run = replace(self._task(3), config_digest=digest([STUDY]))
        return {
            "a name where the policy lets nothing leave": lambda: self._answers(
                self._site, nothing, self._message(QUERY, hello_to_records())
            ),
            "training where the policy lets nothing leave": lambda: self._answers(
                self._site, nothing, self._training(4)
            ),
            "training for another run": lambda: self._answers(
                self._site,
                self._policy,
                self._message(TRAIN, task_to_records(other_run, arrays_to_record(self._arrays))),
            ),
            "training that another ledger paid for": self._paid_elsewhere,
            "a message of the kind evaluate": lambda: self._answers(
                self._site, self._policy, self._training(6, kind=EVALUATE)
            ),
        }

    def _paid_elsewhere(self) -> bool:
        accounts = self._on.pipeline.accounts(
            self._folder, self._site.name, data="audit", epsilon=None, delta=self._on.plan.delta
        )
        try:
            return self._answers(replace(self._site, accounts=accounts), self._policy, self._training(5))
        finally:
            accounts.ledger.close()

    def _leaves(self, message: Message, answer: Callable[[], RecordDict]) -> bool:
        """Whether code behind the gate gets an answer out, or its own words in place of a reason."""

        def handle(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower's signature
            return Message(answer(), reply_to=message)

        gate = self._on.pipeline.gate(lambda _: self._guard(self._policy), _log)
        return _has_left(lambda: gate(message, _context(), handle))

    def _answers(self, lent: Site, policy: Any, message: Message) -> bool:  # noqa: ANN401 - as the pipeline makes it
        @contextmanager
        def lend(_: Context) -> Iterator[Site]:
            yield lent

        app = self._on.pipeline.app(lend, guard_of=lambda _: self._guard(policy))
        return _has_left(lambda: app(message, _context()))

    def _guard(self, policy: Any) -> Guard:  # noqa: ANN401 - as the pipeline makes it
        accounts = self._site.accounts
        return Guard(
            policy=policy,
            run=self._site.request(bundle_hash=None),
            ledger=accounts.ledger if accounts else None,
            recorder=NoRecorder(),
        )

    def _task(self, number: int) -> Task:
        pair_keys = tuple(each.pairing.key.statement for each in self._on.sites if each.pairing is not None)
        return Task(round_number=number, train=True, config_digest=self._site.config_digest, pair_keys=pair_keys)

    def _training(self, number: int, *, kind: str = TRAIN) -> Message:
        return self._message(kind, task_to_records(self._task(number), arrays_to_record(self._arrays)))

    def _message(self, kind: str, content: RecordDict) -> Message:
        return Message(content, NODE, kind)


def _fail() -> RecordDict:
    raise ValueError(STUDY)


def _has_left(answer: Callable[[], Message]) -> bool:
    """Whether content left, or what a study holds with an error: what an app raises, Flower sends on with its text."""
    try:
        reply = answer()
    except Exception as error:
        return STUDY in str(error)
    return reply.has_content() or STUDY in (reply.error.reason or "")


def _context() -> Context:
    return Context(0, NODE, {}, RecordDict(), {})


def _as_agreed(site: Site) -> SiteConfig:
    """What a hospital sets that agreed to this run, and lets its private releases leave alone."""
    arrays, config = site.arrays, site.config
    delta = site.privacy.delta if site.privacy else 1.0
    noised = [str(Mechanism.DISCRETE_LAPLACE), str(Mechanism.DISCRETE_GAUSSIAN)]
    return SiteConfig(
        site=site.name,
        budget=SiteBudget(epsilon=1000.0, delta=delta, epsilon_per_run=1000.0),
        training=TrainingLimits(
            least_noise_multiplier=0.0,
            losses=[ANY],
            encoders=[ANY],
            config_digests=[site.config_digest],
            devices=[config.device],
        ),
        privacy=SharedNoiseLimits(least_peers=1),
        update=UpdateLimits(
            most_values=2 * arrays.num_values,
            most_bytes=16 * arrays.num_values,
            keys=list(arrays.arrays),
        ),
        releases=ReleaseLimits(
            allowed={
                SITE: [str(Mechanism.PUBLIC)],
                UPDATE: [str(Mechanism.PATIENT_DP_SGD)],
                STATISTICS: noised,
                GROUPS: noised,
            },
            least_cell=config.evaluation.least_group,
        ),
    )
