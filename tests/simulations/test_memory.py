"""Memory of a simulation: the pages that a round asks the system for, with the setting and without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

ROUNDS = """
import resource
from simulations.memory import keep_freed_memory
{before}

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def one_round():
    updates = [bytes(400_000) for _ in range(80)]
    # The last one freed is the top of the heap, as where the sites' replies are dropped in their order.
    while updates:
        updates.pop(0)

for _ in range(3):
    one_round()
before = faults()
for _ in range(5):
    one_round()
print(faults() - before)
"""
PAGES_OF_A_ROUND = 80 * 400_000 // 4096


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is of the GNU C library")
@pytest.mark.parametrize(("before", "keeps"), [("keep_freed_memory()", True), ("", False)])
def test_rounds_after_the_first_use_the_same_pages(before: str, *, keeps: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ROUNDS.format(before=before)], capture_output=True, text=True, check=True
    )

    faults = int(done.stdout)

    assert (faults < PAGES_OF_A_ROUND / 10) == keeps
