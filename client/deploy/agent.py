"""The agent: what a hospital leaves running. It keeps the SuperNode and the worker alive, and relays between them.

STATE/agent.lock       held while an agent runs
STATE/run/             private: the worker's socket, the SuperNode's secret, Flower's own folder
STATE/output/          what both processes write, each at most 20 MiB
STATE/supernode.json   the SuperNode's number at the server

The worker runs without the network where the platform allows. The SuperNode is started once the worker takes messages,
so that the server counts on no site that cannot answer. A server that is down, or does not know the site, is tried
again for as long as the agent runs. Where the site's admission ends, so does the agent.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from client.deploy.identity import SiteIdentity, check_admission
from client.deploy.isolation import without_network
from client.deploy.relay import Relay
from client.deploy.supernode import NAME as SUPERNODE
from client.deploy.supernode import Endpoint, SuperNode
from client.deploy.worker_client import WorkerClient
from client.network.proxy import Proxy
from common.errors import ConfigError
from common.service.health import services_of
from common.service.processes import ChildSpec
from common.service.supervisor import ChildStatus, Supervisor

WORKER = "worker"
WORKER_COMMAND = (sys.executable, "-P", "-m", "client.deploy.worker_main")
"""The site's own code, from where it is installed; `--config` and `--socket` follow."""

LOCK_FILE = "agent.lock"
RUN_FOLDER = "run"
OUTPUT_FOLDER = "output"
SOCKET_FILE = "worker.sock"

_TICK_SECONDS = 0.2
_HEALTH_SECONDS = 1.0
_EXPIRY_SECONDS = 3600.0
_WARN_EVERY = timedelta(days=1)
_RELAY_SECONDS = 1.0
_log = logging.getLogger("wardround.agent")


class Agent:
    """A site's agent.

    `run` does all of it; `start`, `tick` and `stop` are its parts. Call them from one thread, the main one.

    Args:
        identity: The member.
        config_file: The hospital's `site.yaml`, for the worker.
        proxy: The hospital's HTTP proxy; None goes straight.
        worker_command: Program and arguments of the worker.
        isolation: Beginning of the worker's command line; by default what takes the network away.
        clock: The time.
    """

    def __init__(
        self,
        identity: SiteIdentity,
        config_file: Path,
        *,
        proxy: Proxy | None = None,
        worker_command: Sequence[str] = WORKER_COMMAND,
        isolation: Callable[[], Sequence[str]] = without_network,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._identity = identity
        self._state = identity.keys.folder
        self._clock = clock
        self._worker_command = (*isolation(), *worker_command, "--config", str(config_file))
        self._client = WorkerClient(socket=self._run_folder / SOCKET_FILE)
        self._supernode = SuperNode(identity, self._run_folder, proxy=proxy)
        self._relay = Relay(
            endpoint=lambda: self._supernode.endpoint,
            secret=self._supernode.secret,
            activity=self._supernode.activity,
            worker=self._client,
            give_up=self._end_supernode,
        )
        self._supervisors: dict[str, Supervisor] = {}
        self._next_health = 0.0
        self._next_expiry = 0.0
        self._warned: datetime | None = None

    @property
    def ready(self) -> bool:
        """Whether the server has accepted the SuperNode that runs now; it was started when the worker took messages."""
        endpoint = self._supernode.endpoint
        return endpoint is not None and self._supernode.connected and self._runs(endpoint)

    def status(self) -> dict[str, ChildStatus]:
        """Both processes now; the SuperNode is missing until the worker has been healthy once."""
        return {name: status for each in self._supervisors.values() for name, status in each.status().items()}

    def health(self) -> dict[str, bool]:
        """What serves now: the whole, and each process."""
        return services_of(is_ready=self.ready, children=self.status())

    @property
    def answers(self) -> Mapping[str, int]:
        """Messages since the agent started, by the reason of a refusal (`Relay.answers`)."""
        return self._relay.answers

    def run(self, end: threading.Event, *, on_ready: Callable[[], None]) -> None:
        """Run until told to end.

        Args:
            end: Set when it is time.
            on_ready: Called once, when the site can answer.

        Raises:
            ConfigError: Another agent runs on this folder.
            TrustError: The admission has ended.
        """
        told = False
        with self._lock():
            try:
                self.start()
                while not end.wait(_TICK_SECONDS):
                    self.tick()
                    if self.ready and not told:
                        told = True
                        on_ready()
            finally:
                self.stop()

    def start(self) -> None:
        """Start the worker, and the relay.

        Raises:
            OSError: The state folder cannot be written.
        """
        self._run_folder.mkdir(exist_ok=True, mode=0o700)
        self._run_folder.chmod(0o700)
        command = (*self._worker_command, "--socket", str(self._client.socket))
        self._supervise(ChildSpec(name=WORKER, command=command))
        self._relay.start()

    def tick(self) -> None:
        """See to both processes, and to the site's admission; never blocks for more than a few seconds.

        Raises:
            TrustError: The admission has ended.
        """
        for supervisor in self._supervisors.values():
            supervisor.tick()
        self._check_expiry()
        if SUPERNODE not in self._supervisors and self._worker_takes_messages():
            self._supernode.prepare()
            self._supervise(self._supernode.spec())

    def stop(self) -> None:
        """End both processes, at the same time; the SuperNode tells the server that the site has gone."""
        self._relay.stop(within_seconds=_RELAY_SECONDS)
        with ThreadPoolExecutor() as pool:
            list(pool.map(Supervisor.stop, self._supervisors.values()))

    @property
    def _run_folder(self) -> Path:
        return self._state / RUN_FOLDER

    def _supervise(self, child: ChildSpec) -> None:
        supervisor = Supervisor([child], log_folder=self._state / OUTPUT_FOLDER)
        self._supervisors[child.name] = supervisor
        supervisor.start()

    def _worker_takes_messages(self) -> bool:
        if time.monotonic() < self._next_health:
            return False
        self._next_health = time.monotonic() + _HEALTH_SECONDS
        return self._client.is_healthy()

    def _check_expiry(self) -> None:
        if time.monotonic() < self._next_expiry:
            return
        self._next_expiry = time.monotonic() + _EXPIRY_SECONDS
        now = self._clock()
        check_admission(self._identity.admission, now)
        if self._warned is not None and now - self._warned < _WARN_EVERY:
            return
        for expiry in (self._identity.admission.expiry, self._identity.consortium.expiry):
            if expiry.is_near(now):
                self._warned = now
                _log.warning("%s; %s, and start the agent again", expiry.in_words(now), expiry.remedy)

    def _end_supernode(self, endpoint: Endpoint) -> None:
        """End the life of the SuperNode that an endpoint belongs to; the supervisor starts the next one."""
        if not self._runs(endpoint):
            return
        try:
            os.kill(endpoint.pid, signal.SIGTERM)
        except ProcessLookupError:
            _log.info("the SuperNode had ended already")

    def _runs(self, endpoint: Endpoint) -> bool:
        return self._supervisors[SUPERNODE].status()[SUPERNODE]["pid"] == endpoint.pid

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the state folder; the system lets go of it when this process ends, however it ends.

        Raises:
            ConfigError: Another agent holds it.
        """
        path = self._state / LOCK_FILE
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ConfigError(f"{path}: another agent of this site is running; end it first") from error
        try:
            yield
        finally:
            os.close(descriptor)
