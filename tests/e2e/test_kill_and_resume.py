"""A private run that is killed at a random moment and gone on with ends in the same bits as one that was not.

The noise is injected, a source of its own for each site and round: fresh entropy would make any two runs differ.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import wardround
from client.dp.randomness import SeededRandomness
from common.config.load import config_digest, load_config
from common.errors import CheckpointError
from common.ledger.read import read_books
from common.seeds import torch_generator
from server.checkpoint import load_state
from simulations.federation.ledgers import ledger_path

OPTIONS = (
    "privacy.epsilon=1",
    "federation.rounds=6",
    "server_optimizer.name=fedavgm",
    "server_optimizer.momentum=0.5",
    "training.steps_per_round=20",
)
LONGEST_START_SECONDS, POLL_SECONDS = 60.0, 0.02

DRIVER = """
import json, sys
from pathlib import Path
from client.dp.randomness import SeededRandomness
from common.config.load import load_config
from common.seeds import torch_generator
from simulations.scenarios.simulate import simulate

class Nobody:
    def __getattr__(self, name):
        return lambda *arguments: None

simulate(
    load_config(json.loads(sys.argv[2])),
    Path(sys.argv[1]),
    watcher=Nobody(),
    randomness=lambda site, round_number: SeededRandomness(torch_generator(7, site, round_number)),
)
"""


def _randomness(site: str, round_number: int) -> SeededRandomness:
    return SeededRandomness(torch_generator(7, site, round_number))


@pytest.fixture(scope="module")
def whole(tiny_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The run that nobody killed."""
    return tiny_run(tmp_path_factory.mktemp("whole") / "run", *OPTIONS, randomness=_randomness)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
def test_killed_run_is_gone_on_with_to_the_same_bits(
    whole: Any, tiny_run: Any, tiny_overrides: list[str], tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)  # noqa: S311 - the moment of a kill is no secret
    least_rounds, pause_seconds = draw.randint(1, 4), draw.uniform(0.0, 0.2)
    folder, overrides = tmp_path / "run", [*tiny_overrides, *OPTIONS]
    killed_after = _run_and_kill(folder, overrides, least_rounds=least_rounds, pause_seconds=pause_seconds)
    print(f"seed {seed}: killed with {killed_after} rounds on the disk")  # noqa: T201 - shown when the test fails
    assert least_rounds <= killed_after <= 6

    resumed = tiny_run(folder, *OPTIONS, randomness=_randomness)
    assert resumed.state.rounds_completed == 6
    assert resumed.model == whole.model
    assert {name: array.tobytes() for name, array in resumed.state.arrays["optimizer"].items()} == {
        name: array.tobytes() for name, array in whole.state.arrays["optimizer"].items()
    }
    assert [record["admitted"] for record in resumed.state.rounds] == [
        record["admitted"] for record in whole.state.rounds
    ]
    assert resumed.summary["pooled"] == whole.summary["pooled"]
    for name, site in whole.state.sites.items():
        found = resumed.state.sites[name]
        assert (found.rounds_joined, found.drops) == (site.rounds_joined, site.drops)
        assert site.rounds_asked <= found.rounds_asked <= site.rounds_asked + 1  # a round cut short is spent
        books = read_books(ledger_path(folder, name))
        charged = [reserved for account in books.accounts for reserved in books.reservations(account).values()]
        assert site.rounds_joined <= len(charged) <= found.rounds_asked  # the ledger shows what was released, at least


def test_other_noise_would_not_pass(whole: Any, tiny_run: Any, tmp_path: Path) -> None:
    """The control of the equality."""

    def other(site: str, round_number: int) -> SeededRandomness:
        return SeededRandomness(torch_generator(8 if round_number == 6 else 7, site, round_number))

    assert tiny_run(tmp_path / "run", *OPTIONS, randomness=other).model != whole.model


def _run_and_kill(folder: Path, overrides: list[str], *, least_rounds: int, pause_seconds: float) -> int:
    """Start the run in a process of its own and kill it; rounds that are on the disk then."""
    digest = config_digest(load_config(overrides))
    environment = {**os.environ, "PYTHONPATH": str(Path(wardround.__file__).parent)}
    arguments = [sys.executable, "-c", DRIVER, str(folder), json.dumps(overrides)]
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + LONGEST_START_SECONDS
            while _rounds_on_disk(folder, digest) < least_rounds and process.poll() is None:
                assert time.monotonic() < deadline, "the run did not get to its rounds"
                time.sleep(POLL_SECONDS)
            time.sleep(pause_seconds)
        finally:
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    return _rounds_on_disk(folder, digest)


def _rounds_on_disk(folder: Path, digest: str) -> int:
    """0 before the first checkpoint; a checkpoint that is there is always whole."""
    try:
        return load_state(folder, config_digest=digest).rounds_completed
    except CheckpointError as error:
        assert "missing" in str(error)
        return 0
