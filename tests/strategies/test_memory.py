"""How much memory an aggregation takes beside the updates and the result: some blocks, whatever the model's size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import sys
from pathlib import Path
import torch
from common.config.schema import AggregatorConfig
from strategies.composition import build_aggregator

def kib(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

built = build_aggregator(AggregatorConfig(name=sys.argv[1], num_byzantine=2), seed=0)
small_SP, large_SP = torch.randn(10, 300_000), torch.randn(10, 4_000_000)
built.aggregate(small_SP, torch.ones(10), built.init())  # what is loaded and kept once
Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
before = kib("VmRSS")
if sys.argv[2] == "copied":
    large_SP = large_SP.clone()
found = built.aggregate(large_SP, torch.ones(10), built.init())
result = found.update_P.numel() * 4 / 2**20
sys.stdout.write(str((kib("VmHWM") - before) / 1024 - result))
"""
MIB_OF_BLOCKS = 40
MIB_OF_UPDATES = 10 * 4_000_000 * 4 / 2**20


def _extra_mib(name: str, how: str) -> float:
    command = [sys.executable, "-c", MEASURE, name, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout)


needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")


@needs_proc
@pytest.mark.parametrize("name", ["nnm+trimmed_mean", "centered_clipping"])
def test_aggregation_takes_some_blocks_and_the_result(name: str) -> None:
    assert _extra_mib(name, "as_is") < MIB_OF_BLOCKS


@needs_proc
def test_copy_of_the_updates_would_be_seen() -> None:
    """The control."""
    assert _extra_mib("krum", "copied") > MIB_OF_UPDATES / 2
