"""The server: keeps Flower's processes running, tells them who is a member, and has the runs kept going.

    superlink   what sites talk to (`server/deploy/superlink.py`)
    superexec   Flower's own; starts the process of a run, and that ends with it

Everything that lasts is in files, and everything here can be killed at any moment: the supervisor, and its children die
with it; the SuperLink, and the superexec is ended before the next one starts, so that no process of a run outlives the
server that it reports to and two never write to one run folder; the superexec, and the run's process ends with it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from common.errors import WardroundError
from common.service.health import health_served, services_of
from common.service.metrics import metrics_served
from common.service.signals import end_by_signal
from common.service.supervisor import ChildStatus, Supervisor
from server.deploy.control import ControlClient, ControlUnreachable, Node
from server.deploy.flower_processes import SUPEREXEC, SUPERLINK, FlowerFiles, children
from server.deploy.installation import (
    LOOPBACK,
    MEMBERS_FILE,
    Installation,
    publish,
    read_installation,
    serving,
)
from server.deploy.metrics import ServerMetrics
from server.deploy.nodes import sync_nodes

POLL_SECONDS = 0.25
"""How often the processes are looked at."""

TICK_SECONDS = 1.0
"""How often members and runs are looked at."""

_WARN_EVERY = timedelta(days=1)

_log = logging.getLogger("wardround.server")


class Scheduler(Protocol):
    """Keeps the runs going."""

    def tick(self, carrier: ControlClient, generation: int) -> None:
        """Look once, and do what is due.

        Args:
            carrier: What runs are handed to.
            generation: Number of the SuperLink's starts: a new one knows nothing of the runs of the last.
        """
        ...


def serve(config_file: Path, *, scheduler_of: Callable[[Path], Scheduler]) -> None:
    """Run the server of a folder until SIGTERM or SIGINT.

    Args:
        config_file: The consortium's `consortium.yaml`.
        scheduler_of: Makes what keeps the runs going, of the server's folder.

    Raises:
        ConfigError: A server runs in this folder already, the folder's files do not agree, or a port is taken.
        TrustError: The folder cannot be believed, or a certificate has expired.
    """
    installation = read_installation(config_file)
    with serving(installation.folder), end_by_signal() as end, ExitStack() as stack:
        installation.check(datetime.now(UTC))
        publish(installation)
        service = Service(config_file, installation, scheduler=scheduler_of(installation.folder))
        stack.callback(service.stop)
        config = installation.config
        stack.enter_context(metrics_served(ServerMetrics(service), port=config.metrics_port))
        stack.enter_context(health_served(service.health, port=config.health_port))
        service.start()
        while not end.wait(POLL_SECONDS):
            service.poll()
        _log.info("ending")


class Service:
    """The server of a folder: start it, `poll` it a few times a second, stop it.

    Args:
        config_file: The consortium's `consortium.yaml`.
        installation: The server's folder, checked.
        scheduler: Keeps the runs going.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        config_file: Path,
        installation: Installation,
        *,
        scheduler: Scheduler,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        files = FlowerFiles(installation.folder)
        files.make_secrets()
        self._config_file = config_file
        self._installation = installation
        self._scheduler = scheduler
        self._control = files.control(installation)
        self._supervisor = Supervisor(
            children(config_file, installation, before_superlink=self._end_run), log_folder=files.logs
        )
        self._clock = clock
        self._next_tick = 0.0
        self._told: object = None
        self._warned: datetime | None = None
        self._trouble = ""

    def start(self) -> None:
        """Start the processes."""
        self._supervisor.start()

    def stop(self) -> None:
        """End the processes."""
        self._supervisor.stop()
        self._control.close()

    @property
    def folder(self) -> Path:
        """The server's folder."""
        return self._installation.folder

    def status(self) -> dict[str, ChildStatus]:
        """The processes."""
        return self._supervisor.status()

    def health(self) -> dict[str, bool]:
        """What serves now: the whole, and each process."""
        return services_of(is_ready=self.is_ready, children=self.status())

    def nodes(self) -> tuple[Node, ...]:
        """The SuperLink's nodes, by a connection of the caller's own, which may be of another thread.

        Raises:
            ControlError: It does not answer.
        """
        with FlowerFiles(self._installation.folder).control(self._installation) as control:
            return control.nodes()

    @property
    def is_ready(self) -> bool:
        """Whether the SuperLink that runs knows the members as they are now."""
        return self._told == self._to_tell()

    def poll(self) -> None:
        """See to the processes; once a second, to the members and the runs."""
        self._supervisor.tick()
        if self._clock() >= self._next_tick:
            self._next_tick = self._clock() + TICK_SECONDS
            self._tick()

    def _tick(self) -> None:
        self._warn()
        try:
            if not self.is_ready:
                self._tell_members()
            self._scheduler.tick(self._control, self._supervisor.generation(SUPERLINK))
            self._trouble = ""
        except ControlUnreachable:
            _log.debug("the SuperLink does not answer yet")
        except (WardroundError, OSError) as error:
            self._say_once(str(error))

    def _tell_members(self) -> None:
        """Tell the SuperLink who the members are: at the start, after each restart of it, and when that changes."""
        to_tell = self._to_tell()
        self._installation = read_installation(self._config_file)
        sync_nodes(self._control, self._installation)
        first, self._told = self._told is None, to_tell
        if first:
            config = self._installation.config
            _log.info(
                "serving sites on %s:%d, control on %s:%d", config.hosts[0], config.port, LOOPBACK, config.control_port
            )

    def _to_tell(self) -> object:
        """What the SuperLink's knowledge depends on: its life, and the member list, which is replaced as a whole."""
        found = (self._installation.folder / MEMBERS_FILE).stat()
        return self._supervisor.generation(SUPERLINK), found.st_ino, found.st_mtime_ns

    def _end_run(self) -> None:
        self._supervisor.kill(SUPEREXEC)

    def _warn(self) -> None:
        """Say once a day what ends soon."""
        now = datetime.now(UTC)
        if self._warned is not None and now - self._warned < _WARN_EVERY:
            return
        self._warned = now
        for expiry in self._installation.expiries:
            if expiry.is_near(now):
                _log.warning("%s; %s", expiry.in_words(now), expiry.remedy)

    def _say_once(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.error("%s", trouble)
        self._trouble = trouble
