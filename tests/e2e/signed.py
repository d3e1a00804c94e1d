"""A federation in one process: server and sites with real keys, logs and recorders, and a network to tamper with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.gate.gate import Gate, Guard
from client.gate.recorder import SiteRecorder
from client.policy.interface import RunRequest
from client.policy.simulated import simulation_policy
from common.config.load import config_digest, load_config
from common.config.schema import RunConfig
from common.evidence.audit_log import AuditLog
from common.evidence.log_audit import audit_logs
from common.evidence.log_files import is_log
from common.evidence.run_audit import RunEvidence, audit_run
from common.privacy.bands import SMALL
from common.privacy.release import Mechanism, Release
from common.wire.flower import (
    SITE,
    STATISTICS,
    UPDATE,
    Hello,
    Reply,
    hello_reply_to_records,
    reply_to_records,
    task_from_records,
)
from server.app import GridTransport
from server.checkpoint import RunState, open_state
from server.federation import Federation
from server.recorder import ServerRecorder
from server.setup import Setup
from simulations.runtime import FIRST_NODE, Handler, InProcessGrid
from tests.common.evidence.logs import Side

NAMES = ("east", "north", "west")
MODEL = {"towers.weight": np.zeros((2, 3), dtype=np.float32), "frozen.scale": np.ones(2, dtype=np.float32)}
TRAINED = ("towers.weight",)
BRIEF = {"brief": {"recall_at_10": 0.5, "codes_recall_at_10": 0.25}}
MEASURED = (
    Release(name=SITE, mechanism=Mechanism.PUBLIC),
    Release(name=STATISTICS, mechanism=Mechanism.NOT_PRIVATE),
)
RELEASES = (*MEASURED, Release(name=UPDATE, mechanism=Mechanism.NOT_PRIVATE))

Wire = Callable[[Handler, Message, Context], Message | None]
"""The network between the server and one site: it carries a message, and the reply."""


def carry(site: Handler, message: Message, context: Context) -> Message | None:
    """An honest network."""
    return site(message, context)


def site_app(name: str, guard: Guard) -> ClientApp:
    """A site behind its gate whose update follows from its name and the round."""
    app = ClientApp()
    mods = [Gate(lambda context: guard, logging.getLogger("wardround.site"))]  # noqa: ARG005 - one site

    @app.query(mods=mods)  # type: ignore[arg-type]
    def hello(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower's signature
        return Message(hello_reply_to_records(Hello(site=name, patients_band="16-31")), reply_to=message)

    @app.train(mods=mods)  # type: ignore[arg-type]
    def train(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower's signature
        task = task_from_records(message.content)
        generator = np.random.default_rng([*name.encode(), task.round_number])
        update = {TRAINED[0]: generator.normal(size=(2, 3)).astype(np.float32)} if task.train else None
        reply = Reply(
            site=name,
            round_number=task.round_number,
            run=task.config_digest,
            update=update,
            statistics=BRIEF,
            releases=RELEASES if task.train else MEASURED,
        )
        return Message(reply_to_records(reply), reply_to=message)

    return app


@dataclass
class Quiet:
    """An `Observer` that only calls what a test hands it after each round."""

    after: Callable[[int], object]

    def round_opened(self, round_number: int, asked: tuple[str, ...]) -> None:
        """See `Observer`."""

    def site_answered(self, site: str, problem: str | None) -> None:
        """See `Observer`."""

    def round_committed(self, state: RunState) -> None:
        """See `Observer`."""
        self.after(state.rounds_completed)


@dataclass
class Consortium:
    """A server and three sites.

    Attributes:
        folder: Where everything lies.
        wires: The network of a site, where it is not honest.
        names: What each node is registered as.
        rounds: Of the run.
        deadline_seconds: Of a round.
        present: Nodes that are there.
        ends_on: What ends the run early and lets it be closed all the same.
        after_round: Called with the number of rounds after each checkpoint of a round.
    """

    folder: Path
    wires: dict[str, Wire] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=lambda: {FIRST_NODE + at: name for at, name in enumerate(NAMES)})
    rounds: int = 3
    deadline_seconds: float = 5.0
    present: Callable[[], set[int]] | None = None
    after_round: Callable[[int], object] = bool
    ends_on: type[BaseException] | None = None

    def __post_init__(self) -> None:
        self.sides = {name: Side.create(self.folder, name) for name in ("server", *NAMES)}
        self.logs: dict[str, AuditLog] = {}

    @property
    def run_folder(self) -> Path:
        """The run's folder."""
        return self.folder / "run"

    @property
    def config(self) -> RunConfig:
        """The mean over three sites, without privacy."""
        return load_config(
            [
                f"federation.rounds={self.rounds}",
                f"federation.deadline_seconds={self.deadline_seconds}",
                "federation.quorum=0.3",
                "privacy.epsilon=null",
                "aggregator.name=mean",
                "aggregator.num_byzantine=0",
            ]
        )

    def site(self, name: str) -> Handler:
        """The node of a site, at the far end of its network."""
        config = self.config
        run = RunRequest(
            config=config,
            config_digest=config_digest(config),
            bundle_hash=None,
            events=(),
            rounds=self.rounds,
            patients_band=SMALL,
            cohort=None,
            arrays=None,
            device="cpu",
            local_time=time(12),
        )

        def answer(message: Message, context: Context) -> Message | None:
            recorder = SiteRecorder(self.logs[name], site=name, server=self.sides["server"].counterpart)
            guard = Guard(policy=simulation_policy(), run=lambda: run, ledger=None, recorder=recorder)
            return self.wires.get(name, carry)(site_app(name, guard), message, context)

        return answer

    @contextmanager
    def opened(self) -> Iterator[None]:
        """All logs open; closed again whatever happens, as by a process that ends."""
        with ExitStack() as stack:
            self.logs |= {name: side.open() for name, side in self.sides.items()}
            stack.callback(lambda: [log.close() for log in self.logs.values()])
            yield

    def play(self) -> RunState:
        """Run, or go on with the run, to its end."""
        with self.opened():
            return self._play()

    def _play(self) -> RunState:
        config = self.config
        grid = Nodes([self.site(name) for name in NAMES], num_workers=1, present=self.present)
        state = open_state(self.run_folder, config_digest=config_digest(config), model=MODEL)
        recorder = ServerRecorder(
            self.logs["server"],
            members={name: self.sides[name].key.public for name in NAMES},
            config=config,
            folder=self.run_folder,
            key=self.sides["server"].key,
            privacy=lambda band: None,  # noqa: ARG005 - without privacy
        )
        setup = Setup(
            config=config,
            trained=TRAINED,
            privacy=lambda band: None,  # noqa: ARG005 - without privacy
            folder=self.run_folder,
            state=state,
            observer=Quiet(self.after_round),
            recorder=recorder,
        )
        transport = GridTransport(grid, recorder=recorder, names=lambda: self.names)
        try:
            with suppress(*filter(None, [self.ends_on])):
                Federation(setup, transport).run()
        finally:
            grid.close()
        report = self.run_folder / "summary.json"
        report.write_text("{}")
        recorder.closed(state, status="completed", files=[report])
        return state

    def reopen(self, name: str, change: Callable[[Side], None]) -> None:
        """Change a side's log while nobody has it open."""
        self.logs[name].close()
        change(self.sides[name])
        self.logs[name] = self.sides[name].open()

    def audit(self) -> RunEvidence:
        """The closed run's folder, with the sites' logs put beside the server's."""
        for name in NAMES:
            target = self.run_folder / "logs" / name / "log.jsonl"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.sides[name].file.read_bytes())
        return audit_run(self.run_folder)

    def audit_stopped(self) -> dict[str, str]:
        """What does not hold after a crash: in the run folder, whose copy of the log may be behind, and in all logs."""
        for name in NAMES:  # copies that an earlier audit put there are of another time than the server's
            (self.run_folder / "logs" / name / "log.jsonl").unlink(missing_ok=True)
        stopped = [side.folder for side in self.sides.values() if is_log(side.folder)]
        findings = [*audit_logs(stopped).findings]
        if (self.run_folder / "logs").exists():
            findings += audit_run(self.run_folder).findings
        return {finding.subject: finding.says for finding in findings if finding.error is not None}


class Nodes(InProcessGrid):
    """A grid some of whose nodes may be away."""

    def __init__(
        self, handlers: list[Handler], *, num_workers: int, present: Callable[[], set[int]] | None = None
    ) -> None:
        super().__init__(handlers, num_workers=num_workers)
        self._present = present

    def get_node_ids(self) -> list[int]:  # type: ignore[override]
        """The nodes that are there."""
        ids = list(super().get_node_ids())
        return ids if self._present is None else [node for node in ids if node in self._present()]


def problems(evidence: RunEvidence) -> Mapping[str, str]:
    """What does not hold."""
    return {finding.subject: finding.says for finding in evidence.findings if finding.error is not None}
