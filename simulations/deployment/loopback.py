"""A real consortium on this machine: a server and its hospitals as separate processes on loopback, by their commands.

Nothing is simulated but the patients. Each side has a folder of its own, and they share nothing but the files that
people would send each other: the invitation, the requests, the admissions and the bundle (`folders.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.config.load import load_config
from common.config.schema import RunConfig
from common.errors import CheckFailed
from common.evidence.run_audit import LEDGERS_FOLDER, LOGS_FOLDER
from common.privacy.plan import SHARED
from common.service.ports import OFF
from server.deploy.config import consortium_yaml, read_consortium_config
from server.deploy.runs import RunFolder, Standing, all_runs
from simulations.deployment.folders import BUNDLE_FILE, CENTRE, COHORT_FILE, EVIDENCE, MODEL, OUTPUT, PUBLIC, RUN_FILE

NAME = "loopback"
READY_WORDS = (b"serving sites on", b" is ready: ")
"""What server and agent say when they are."""
READY_SECONDS = 180.0
END_SECONDS = 20.0

SITE_YAML = """\
site: {site}
state_folder: state
data:
  name: chest
  adapter: manifest
  root: studies
anchors:
  adapter: manifest
  root: ../{public}
budget:
  epsilon: 100.0
  delta: 1.0e-5
  epsilon_per_run: 50.0
training:
  least_noise_multiplier: 0.1
  losses: [any]
  encoders: [any]
  devices: [any]
privacy:
  least_peers: 1
update:
  most_values: 20_000_000
  most_bytes: 80_000_000
  keys: ["*"]
releases:
  allowed:
    site: [public]
    update: [patient_dp_sgd]
    statistics: [discrete_laplace, discrete_gaussian]
    groups: [discrete_laplace, discrete_gaussian]
    found: [search_answer]
  least_cell: 11
search:
  allowed: [any]
  server_port: {search_port}
"""
"""What a hospital here allows: any private run within a wide budget. None that is real should."""


_WARDROUND: tuple[str, ...] = (
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); import wardround; wardround.main()",
)
"""The command, from wherever this file lies."""


@dataclass
class Loopback:
    """The consortium's folders and processes.

    Attributes:
        folder: All folders lie in it.
        sites: Names of the hospitals.
        environment: Added to each process's own.
        agent: What starts a hospital's agent, before `--config FILE`.
        processes: Those that run, by name: the server's, and one a hospital.
    """

    folder: Path
    sites: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    agent: tuple[str, ...] = field(default_factory=lambda: (*_WARDROUND, "site", "start"))
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def centre(self) -> Path:
        """The server's folder."""
        return self.folder / CENTRE

    @property
    def consortium_file(self) -> Path:
        """The server's configuration."""
        return self.centre / "consortium.yaml"

    @property
    def bundle(self) -> Path:
        """What the hospitals approve."""
        return self.folder / BUNDLE_FILE

    @property
    def model(self) -> Path:
        """What they search by."""
        return self.folder / MODEL

    @property
    def run_file(self) -> Path:
        """The run's configuration, where it differs from the base."""
        return self.folder / RUN_FILE

    def site_file(self, site: str) -> Path:
        """A hospital's configuration."""
        return self.folder / site / "site.yaml"

    def state(self, site: str) -> Path:
        """Where a hospital keeps keys, ledger and log."""
        return self.folder / site / "state"

    def log_file(self, name: str) -> Path:
        """What a process said."""
        return self.folder / OUTPUT / f"{name}.log"

    def command(self, *arguments: str | Path) -> str:
        """The standard output of a command that ends well.

        Raises:
            CheckFailed: It does not.
        """
        done = self.attempt(*arguments)
        if done.returncode != 0:
            words = " ".join(map(str, arguments))
            raise CheckFailed(f"wardround {words}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def attempt(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """A command, however it ends."""
        return subprocess.run(  # noqa: S603 - our own command
            [*_WARDROUND, *map(str, arguments)],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def shown(self, *arguments: str | Path) -> None:
        """A command that ends well, whose words go to this process's standard error as they come.

        Raises:
            CheckFailed: It does not.
        """
        done = subprocess.run(  # noqa: S603 - our own command
            [*_WARDROUND, *map(str, arguments)],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            check=False,
        )
        if done.returncode != 0:
            raise CheckFailed(f"wardround {' '.join(map(str, arguments))}: exit code {done.returncode}")

    def run(self) -> None:
        """Hand the bundle to the server, and follow it to its end, even one whose model must not be published.

        Raises:
            CheckFailed: The run did not complete.
        """
        try:
            self.shown("server", "run", self.bundle, "--config", self.consortium_file)
        except CheckFailed:
            ended = all_runs(self.centre)
            if not ended or ended[-1].standing is not Standing.COMPLETED:
                raise

    def provision(self) -> None:
        """Make the consortium, and let every hospital join it; their studies were handed out before."""
        port, control_port, search_port = free_ports(3)
        self.command("server", "init", self.centre, "--name", NAME, "--host", "127.0.0.1", "--port", str(port))
        # Servers that run beside this one have the usual ports.
        config = read_consortium_config(self.consortium_file)
        config = replace(config, control_port=control_port, metrics_port=OFF, health_port=OFF, search_port=search_port)
        self.consortium_file.write_text(consortium_yaml(config), encoding="utf-8")
        for site in self.sites:
            self.site_file(site).write_text(SITE_YAML.format(site=site, public=PUBLIC, search_port=search_port))
            self.command(
                "site",
                "init",
                self.state(site),
                "--consortium",
                self.centre / "consortium.json",
                "--name",
                site,
                "--yes",
            )
            request = self.state(site) / "request.json"
            self.command("server", "admit", request, "--yes", "--config", self.consortium_file)
            self.command("site", "join", self.state(site), self.centre / "admissions" / f"{site}.json")

    def make_bundle(self, run: str, *overrides: str) -> None:
        """Put the run together that the hospitals are asked to approve.

        Args:
            run: What differs from the base configuration, as YAML.
            overrides: Further KEY=VALUE.
        """
        self.run_file.write_text(run, encoding="utf-8")
        who = self._who_takes_part(load_config(overrides, file=self.run_file))
        public = self.folder / PUBLIC
        self.command("bundle", "--config", self.run_file, "--anchors", public, "--out", self.bundle, *who, *overrides)

    def _who_takes_part(self, config: RunConfig) -> tuple[str | Path, ...]:
        """What a bundle is told of the hospitals, where it asks: each tells its band, as its own check shows it."""
        if config.privacy.noise != SHARED and not config.privacy.calibrate:
            return ()
        checks = {
            site: self.command("site", "check", "--config", self.site_file(site), "--json") for site in self.sites
        }
        bands = {site: str(json.loads(check)["data"]["patients_band"]) for site, check in checks.items()}
        if config.privacy.noise != SHARED:
            return "--bands", ",".join(bands.values())
        file, named = self.folder / COHORT_FILE, [f"{site}={band}" for site, band in bands.items()]
        self.command("server", "cohort", *named, "--out", file, "--config", self.consortium_file)
        return "--cohort", file

    def approve(self, sites: Iterable[str] | None = None) -> None:
        """Let hospitals approve it."""
        for site in self.sites if sites is None else sites:
            self.command("site", "approve", self.bundle, "--config", self.site_file(site), "--yes")

    def start_server(self) -> None:
        """Start the server, and wait until it serves."""
        self._launch("server", *_WARDROUND, "server", "start", "--config", self.consortium_file)
        self._await_ready("server")

    def start_sites(self) -> None:
        """Start the hospitals' agents, and wait until all are connected."""
        for site in self.sites:
            self._launch(site, *self.agent, "--config", self.site_file(site))
        for site in self.sites:
            self._await_ready(site)

    def take_model(self, run: RunFolder, out: Path, *options: str) -> None:
        """Take the model that a run stands for, even its public start, in a new folder.

        Raises:
            CheckFailed: There is none.
        """
        try:
            self.command("model", "export", run.path, "--out", out, *options)
        except CheckFailed:
            if not out.exists():  # it is written whole, or not at all
                raise

    def open_search(self, run: RunFolder) -> None:
        """Take a run's model, have every hospital make its index with it, and open the run for their searches."""
        self.take_model(run, self.model)
        for site in self.sites:
            self.command("site", "index", "--model", self.model, "--config", self.site_file(site))
        self.command("server", "search", run.key, "--config", self.consortium_file)

    def close_search(self, run: RunFolder) -> None:
        """Close it again; what was asked is then in the run's evidence."""
        self.command("server", "search", run.key, "--close", "--config", self.consortium_file)

    def search(self, site: str, *query: str | Path) -> dict[str, Any]:
        """What a hospital's search finds, as `wardround site search --json` says it."""
        said = self.command("site", "search", "--config", self.site_file(site), "--model", self.model, "--json", *query)
        found: dict[str, Any] = json.loads(said)
        return found

    def stop(self, names: Sequence[str] | None = None) -> None:
        """Ask processes to end, hospitals first, and wait until they have."""
        ending = [(name, self.processes.pop(name)) for name in names or list(self.processes)[::-1]]
        for _, process in ending:
            process.send_signal(signal.SIGTERM)
        for name, process in ending:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise CheckFailed(f"{name}: did not end within {END_SECONDS:.0f} s") from error

    def evidence_of(self, run: Path) -> Path:
        """A copy of a run's folder with the hospitals' logs and ledgers in it, as an auditor would ask for them.

        The hospitals' processes have ended, so that each file is whole.
        """
        folder = self.folder / EVIDENCE
        shutil.copytree(run, folder)
        for site in self.sites:
            shutil.copytree(self.state(site) / "log", folder / LOGS_FOLDER / site)
            (folder / LEDGERS_FOLDER).mkdir(exist_ok=True)
            shutil.copyfile(self.state(site) / "ledger.sqlite3", folder / LEDGERS_FOLDER / f"{site}.sqlite3")
        return folder

    @contextmanager
    def running(self) -> Iterator[None]:
        """Server and hospitals, for the block."""
        try:
            self.start_server()
            self.start_sites()
            yield
        finally:
            self.stop()

    def _launch(self, name: str, *command: str | Path) -> None:
        self.log_file(name).parent.mkdir(exist_ok=True)
        with self.log_file(name).open("ab") as output:
            self.processes[name] = subprocess.Popen(  # noqa: S603 - our own command
                list(map(str, command)),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _await_ready(self, name: str) -> None:
        """Wait for the line that says so."""
        deadline, process = time.monotonic() + READY_SECONDS, self.processes[name]
        while not any(word in self.log_file(name).read_bytes() for word in READY_WORDS):
            if process.poll() is not None or time.monotonic() > deadline:
                said = self.log_file(name).read_text(errors="replace")[-2000:]
                raise CheckFailed(f"{name}: is not ready after {READY_SECONDS:.0f} s or has ended: {said}")
            time.sleep(0.1)

    def _environment(self) -> dict[str, str]:
        # Commands of Flower are found beside the Python that runs this.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "PATH": path, **self.environment}


def free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports
