"""Sites in memory: a transport that decodes replies as the real one does, and a federation over it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import RecordDict

from common.config.load import config_digest, load_config
from common.config.schema import RunConfig
from common.errors import AdmissionError
from common.privacy.events import SampledGaussian
from common.privacy.plan import PrivacyPlan
from common.privacy.release import Mechanism, Release
from common.wire.flower import STATISTICS, UPDATE, Reply, Task, reply_from_records, reply_to_records
from common.wire.update import ArrayPlan, NamedArrays
from server.checkpoint import RunState
from server.federation import Federation
from server.recorder import NoRecorder, Recorder
from server.setup import Setup
from server.transport import Answer, Wait

BANDS = {"east": "16-31", "north": "32-63", "south": "16-31", "west": "64-127"}
BRIEF = {"brief": {"recall_at_10": 0.5, "codes_recall_at_10": 0.25}}
MODEL = {"towers.weight": np.zeros((2, 3), dtype=np.float32), "frozen.scale": np.ones(2, dtype=np.float32)}
TRAINED = ("towers.weight",)
IN_THE_OPEN = Release(name=UPDATE, mechanism=Mechanism.NOT_PRIVATE)
MEASURED = Release(name=STATISTICS, mechanism=Mechanism.NOT_PRIVATE)
PRIVACY = PrivacyPlan(  # every patient in every step: epsilon has a closed form
    event=SampledGaussian(noise_multiplier=2.0, sampling_probability=1.0, steps=1),
    delta=1e-3,
    clip_norm=1.0,
    expected_patients=1.0,
    learning_rate=0.1,
    public_weight=0.0,
)

Fault = Callable[[Reply, Task], Reply | RecordDict | str | None]
"""What a bad site sends in place of its honest reply: another one, raw records, a reason code, or nothing."""


def honest_update(site: str, round_number: int) -> NamedArrays:
    """A different update for each site and round, whose sums depend on their order."""
    generator = np.random.default_rng([*site.encode(), round_number])
    return {name: generator.normal(size=MODEL[name].shape).astype(np.float32) for name in TRAINED}


@dataclass
class MemoryTransport:
    """A `Transport` without a network.

    Attributes:
        bands: What the sites say of themselves.
        faults: Site to what it does in place of answering honestly.
        release: Of honest updates.
        order: Sorts the sites of a round by when they answer.
        asked: Tasks so far.
        stop_before: Round before which the process dies.
        later: Sites that come before a round, by its place among those that are played, with their bands.
        awaited: How many sites were waited for before each round.
        met: How many were waited for at the start.
        here: How many are there before each round; all that ever came where it says nothing.
    """

    bands: Mapping[str, str] = field(default_factory=lambda: dict(BANDS))
    faults: Mapping[str, Fault] = field(default_factory=dict)
    release: Release = IN_THE_OPEN
    order: Callable[[tuple[str, ...]], list[str]] = sorted
    asked: list[Task] = field(default_factory=list)
    stop_before: int | None = None
    later: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    awaited: list[int] = field(default_factory=list)
    met: list[int] = field(default_factory=list)
    here: Mapping[int, int] = field(default_factory=dict)

    def meet(self, wait: Wait) -> dict[str, str]:
        """See `Transport`."""
        self.met.append(wait.wanted)
        return dict(self.bands)

    def arrivals(self, wait: Wait) -> dict[str, str]:
        """See `Transport`."""
        self.awaited.append(wait.wanted)
        return dict(self.later.get(len(self.awaited), {}))

    def present(self, sites: tuple[str, ...]) -> tuple[str, ...]:
        """See `Transport`."""
        return sites

    def num_here(self, *, apart: Collection[str] = frozenset()) -> int:
        """See `Transport`."""
        came = len(self.bands) + sum(len(self.later.get(place, {})) for place in range(1, len(self.awaited) + 1))
        return self.here.get(len(self.awaited), came) - len(apart)

    def ask(
        self,
        task: Task,
        model: NamedArrays,  # noqa: ARG002 - of `Transport`
        plan: ArrayPlan,
        *,
        sites: tuple[str, ...],
        deadline_seconds: float,  # noqa: ARG002 - of `Transport`
    ) -> Iterator[Answer]:
        """See `Transport`."""
        if task.round_number == self.stop_before:
            raise KeyboardInterrupt
        self.asked.append(task)
        for site in self.order(sites):
            update = honest_update(site, task.round_number) if task.train else None
            sent: Reply | RecordDict | str | None = Reply(
                site=site,
                round_number=task.round_number,
                run=task.config_digest,
                update=update,
                statistics=BRIEF,
                releases=(self.release, MEASURED),
            )
            if site in self.faults and task.train:
                sent = self.faults[site](sent, task)  # type: ignore[arg-type]
            if sent is not None:
                yield decoded(site, sent, plan)


def decoded(site: str, sent: Reply | RecordDict | str, plan: ArrayPlan) -> Answer:
    """What the transport makes of what a site sent."""
    if isinstance(sent, str):
        return Answer(site, None, sent)
    try:
        return Answer(site, reply_from_records(reply_to_records(sent) if isinstance(sent, Reply) else sent, plan))
    except AdmissionError as error:
        return Answer(site, None, str(error))


@dataclass
class Log:
    """An `Observer` that remembers."""

    events: list[tuple[Any, ...]] = field(default_factory=list)

    def round_opened(self, round_number: int, asked: tuple[str, ...]) -> None:
        """See `Observer`."""
        self.events.append(("opened", round_number, asked))

    def site_answered(self, site: str, problem: str | None) -> None:
        """See `Observer`."""
        self.events.append(("answered", site, problem))

    def round_committed(self, state: RunState) -> None:
        """See `Observer`."""
        self.events.append(("committed", state.rounds_completed))


@dataclass(frozen=True)
class World:
    """A federation over sites in memory, in one run folder."""

    folder: Path
    log: Log = field(default_factory=Log)
    privacy: PrivacyPlan = PRIVACY
    bands: Mapping[str, str] = field(default_factory=lambda: dict(BANDS))
    recorder: Recorder = field(default_factory=NoRecorder)

    def transport(self, *, private: bool = False, **fields: Any) -> MemoryTransport:
        """A transport; `private` says that honest updates are released as a private run agrees."""
        transport = MemoryTransport(**fields)
        if private:
            transport.release = replace(transport.release, mechanism=Mechanism.PATIENT_DP_SGD, event=PRIVACY.event)
        return transport

    def honest_update(self, site: str, round_number: int) -> NamedArrays:
        """What an honest site of `transport` sends."""
        return honest_update(site, round_number)

    def config(self, *overrides: str) -> RunConfig:
        """Three rounds of the mean, without privacy."""
        mean = ("aggregator.name=mean", "aggregator.num_byzantine=0")
        return load_config(["federation.rounds=3", "privacy.epsilon=null", *mean, *overrides])

    def fresh_state(self, config: RunConfig) -> RunState:
        """The state before round one."""
        model = {name: array.copy() for name, array in MODEL.items()}
        return RunState.before_round_one(config_digest(config), model)

    def run(
        self,
        transport: MemoryTransport,
        *overrides: str,
        privacy: PrivacyPlan | None = None,
        state: RunState | None = None,
        least_sites: int = 1,
    ) -> RunState:
        """Run all rounds; the state that they leave."""
        config = self.config(*overrides)
        setup = Setup(
            config=config,
            trained=TRAINED,
            privacy=lambda band: privacy,  # noqa: ARG005 - the same plan for every band
            folder=self.folder,
            state=state or self.fresh_state(config),
            observer=self.log,
            recorder=self.recorder,
            least_sites=least_sites,
        )
        Federation(setup, transport).run()
        return setup.state


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
