"""A site that spends, as a process of its own: started by tests, which kill it or let several race.

It reads lines `FOLDER HOW EPSILON COUNT`. For each it forks COUNT children, which is quick, so that hundreds of them
can be killed; says the first one's process number, waits for all, and says `done` with how each ended. A child opens
the ledger in FOLDER and spends until it is killed or the budget is used up. It says `.` in the middle of each release.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from client.ledger.ledger import Account, Budget, Ledger
from common.errors import BudgetExhausted
from common.ledger import spending
from common.privacy.events import DiscreteLaplace
from common.trust.keys import SigningKey

ACCOUNT = Account(dataset_digest="ab" * 32, cohort="train")
EVENT = DiscreteLaplace(noise_scale=10.0, releases=1)


def basic_composition(events: Iterable[DiscreteLaplace], *, delta: float) -> float:  # noqa: ARG001
    """Epsilons, added up. It takes its time, as accounting does: the others may write meanwhile."""
    time.sleep(0.001)
    return round(sum(event.releases / event.noise_scale for event in events), 9)


def train() -> None:
    """What takes long between reserving and settling."""
    time.sleep(0.003)


def release(folder: Path, name: str) -> None:
    """Send something out of the site. The system keeps what was written when the process is killed."""
    descriptor = os.open(folder / "released", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{name}\n".encode())
    os.close(descriptor)


def spend(folder: Path, ledger: Ledger, how: str, number: int) -> None:
    """One release: the right way, or one of two wrong ones; or none."""
    name = f"{os.getpid()}-{number}"

    def reserve() -> str:
        return ledger.reserve(ACCOUNT, run="r", round_number=number, release=name, event=EVENT).entry

    if how == "right":
        entry = reserve()
        os.write(1, b".")
        train()
        release(folder, name)
        ledger.settle(entry, run="r", round_number=number, release=name, event=EVENT)
    elif how == "released_before_reserved":
        os.write(1, b".")
        release(folder, name)
        reserve()
    elif how == "opened":
        raise BudgetExhausted(name)
    elif how == "checked_before_reserved":
        if ledger.would_exceed(ACCOUNT, run="r", events=[EVENT]):
            raise BudgetExhausted(name)
        release(folder, name)
        with suppress(BudgetExhausted):
            reserve()


def child(folder: Path, how: str, epsilon: float) -> None:
    """Spend until the budget is used up."""
    key, budget = SigningKey.load(folder / "site_key.pem"), Budget(epsilon=epsilon, delta=1e-5)
    with (
        suppress(BudgetExhausted),
        Ledger.open(folder / "ledger.sqlite3", site="north", key=key, budget=budget) as ledger,
    ):
        for number in range(1000):
            spend(folder, ledger, how, number)


def forked(folder: Path, how: str, epsilon: float, gate: tuple[int, int]) -> int:
    """Process number of a new child, which waits until nobody else holds the gate's second end."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.close(gate[1])
        os.read(gate[0], 1)
        child(folder, how, epsilon)
        code = 0
    except BaseException:  # a fork must not go on as its parent would
        traceback.print_exc()
    os._exit(code)


def main() -> None:
    """Serve the lines."""
    spending.epsilon_of = basic_composition  # type: ignore[assignment]
    for line in sys.stdin:
        folder, how, epsilon, count = line.split()
        gate = os.pipe()
        children = [forked(Path(folder), how, float(epsilon), gate) for _ in range(int(count))]
        for end in gate:
            os.close(end)
        os.write(1, f"{children[0]}\n".encode())
        ended = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in children]
        os.write(1, f"done {' '.join(map(str, ended))}\n".encode())


if __name__ == "__main__":
    main()
