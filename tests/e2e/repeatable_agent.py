"""A site's agent whose worker takes sampling and noise from a seed: for tests alone, it takes the privacy away."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from client.deploy.agent import Agent
from client.deploy.identity import read_identity
from client.deploy.local_worker import open_worker
from client.deploy.worker import serve
from client.dp.randomness import Randomness, SeededRandomness
from client.policy.site_config import load_site_config
from common.seeds import torch_generator
from common.service.signals import end_by_signal


def noise_of(site: str, round_number: int) -> Randomness:
    """The same sampling and noise each time."""
    return SeededRandomness(torch_generator(7, "noise", site, round_number))


def be_agent(config_file: Path) -> None:
    identity = read_identity(load_site_config(config_file).state_folder, now=datetime.now(UTC))
    agent = Agent(identity, config_file, worker_command=[sys.executable, str(Path(__file__))])
    with end_by_signal() as end:
        agent.run(end, on_ready=lambda: print(f"{identity.name} is ready: ", flush=True))  # noqa: T201


def be_worker(config_file: Path, socket: Path) -> None:
    site = load_site_config(config_file).site
    with end_by_signal() as end, open_worker(config_file, randomness=lambda number: noise_of(site, number)) as worker:
        serve(worker.answer, socket, ended=end.is_set, work=worker.work)


if __name__ == "__main__":
    _, _, config, *rest = sys.argv
    if rest:
        be_worker(Path(config), Path(rest[1]))
    else:
        be_agent(Path(config))
