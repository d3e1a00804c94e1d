"""`wardround bench aggregation`: every rule and the main compositions, beside ByzFL and Flower where installed.

A size has a process of its own that uses all cores it may. Memory is what a call takes above the updates, its result
included; what the libraries take once was taken before by a call on few values. Peers run on as many torch threads as
there are cores, in turns with the rule. A rule with two peers has two rows, which differ in the peer alone. Bound: one
pass that reads the updates, on the same cores; the fastest of some.

Shapes: S sites, P values of an update.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import torch
from torch import Tensor

from common.config.schema import AggregatorConfig
from common.seeds import torch_generator
from simulations.benchmarks.aggregation_peers import Peer, peers_of
from simulations.benchmarks.report import Row, extra_mib
from strategies.composition import build_aggregator

RULES = {
    "mean": 0,
    "median": 2,
    "trimmed_mean": 2,
    "geometric_median": 2,
    "krum": 2,
    "multi_krum": 2,
    "bulyan": 1,
    "centered_clipping": 2,
    "mda": 2,
    "smea": 2,
    "caf": 2,
    "nnm+median": 2,
    "nnm+trimmed_mean": 2,
    "arc+nnm+trimmed_mean": 2,
    "bucketing+median": 2,
    "clipping+trimmed_mean": 2,
}
"""Compositions, and how many bad sites each is told to bear; the mean bears none, Bulyan one of ten."""

MANY_SITES = {"median": 2, "nnm+trimmed_mean": 2}

NUM_WARM_UP_VALUES = 2**17
NUM_READS = 15
READ_VALUES = 2**20
MOST_REPEATS = 5
ENOUGH_SECONDS = 3.0
"""No call is made again that has taken so long in all."""

LARGEST_SHARE_OF_MEMORY = 0.5
"""Of the machine's, for a peer; one that needs more is left out."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Compositions on one size of cohort.

    Attributes:
        num_sites: S.
        num_values: P.
        rules: Compositions, and how many bad sites each bears.
    """

    num_sites: int
    num_values: int
    rules: Mapping[str, int]

    @property
    def size(self) -> str:
        """As it is shown."""
        return f"{self.num_sites}x{self.num_values / 1e6:g}M"


WORKLOADS = (
    Workload(num_sites=10, num_values=10_000_000, rules=RULES),
    Workload(num_sites=40, num_values=10_000_000, rules=MANY_SITES),
)


def bench_aggregation(workloads: Sequence[Workload] = WORKLOADS) -> list[Row]:
    """Rows of each workload, each in a fresh process."""
    rows: list[Row] = []
    for workload in workloads:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            rows += process.submit(measure, workload).result()
    return rows


def measure(workload: Workload) -> list[Row]:
    """Rows of a workload, in this process."""
    torch.set_num_threads(num_cores())
    updates_SP = drawn_updates(workload.num_sites, workload.num_values)
    bound_seconds = time_read(updates_SP)
    return [
        replace(row, name=f"{name} {workload.size}", bound_seconds=bound_seconds)
        for name, num_byzantine in workload.rules.items()
        for row in measure_rule(name, num_byzantine, updates_SP)
    ]


def measure_rule(name: str, num_byzantine: int, updates_SP: Tensor) -> list[Row]:
    """Extra memory and time of a composition in its first round, and the time of each peer: a row a peer, or one."""
    aggregator = build_aggregator(AggregatorConfig(name=name, num_byzantine=num_byzantine), seed=0)
    weights_S, state = torch.ones(len(updates_SP)), aggregator.init()
    aggregator.aggregate(updates_SP[:, :NUM_WARM_UP_VALUES], weights_S, state)
    call = partial(aggregator.aggregate, updates_SP, weights_S, state)
    peers = [
        peer
        for peer in peers_of(name, num_sites=len(updates_SP), num_byzantine=num_byzantine)
        if fits(peer, updates_SP)
    ]
    peak_mib = extra_mib(call)
    seconds, *peer_seconds = medians_in_turns([call, *(partial(peer.call, updates_SP) for peer in peers)])
    row = Row(name=name, seconds=seconds, peak_mib=peak_mib)
    return [
        replace(row, peer=peer.library, peer_seconds=found) for peer, found in zip(peers, peer_seconds, strict=True)
    ] or [row]


def fits(peer: Peer, updates_SP: Tensor) -> bool:
    """Whether a peer's memory is a fair share of this machine's."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return peer.num_copies * updates_SP.nbytes <= LARGEST_SHARE_OF_MEMORY * memory_bytes


def time_read(updates_SP: Tensor) -> float:
    """Seconds to read the updates once on all cores: the fastest of some passes."""
    # A maximum of long rows is as fast as memory is; sums and inner products are no faster.
    pieces = updates_SP.flatten().split(READ_VALUES)
    with ThreadPoolExecutor(num_cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return min(_seconds(lambda: list(pool.map(torch.amax, pieces))) for _ in range(NUM_READS))


def drawn_updates(num_sites: int, num_values: int) -> Tensor:
    """Updates `[S, P]`, normal about a common shift; the last two are reversed and ten times as long."""
    updates_SP = torch.empty(num_sites, num_values)
    updates_SP.normal_(mean=0.1, generator=torch_generator(0, "bench", num_sites, num_values))
    updates_SP[-2:] *= -10
    return updates_SP


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def medians_in_turns(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Median time of each call; they take turns, because the speed of a shared machine changes, and slow ones fewer."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(MOST_REPEATS):
        for call, own in zip(calls, times, strict=True):
            if sum(own) < ENOUGH_SECONDS:
                own.append(_seconds(call))
    return [statistics.median(own) for own in times]


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
