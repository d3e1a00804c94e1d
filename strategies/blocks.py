"""A walk over the values of all updates in blocks that stay in the cache: bounded memory, one thread a worker.

The values are cut into a fixed number of spans and each span into blocks. A worker takes a span at a time; results
come back in the spans' order. So a sum over spans is the same on one core and on sixteen. Each worker is one torch
thread: two threads that share a small block wait for each other more than they work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import torch

T = TypeVar("T")

NUM_SPANS = 16
BLOCK_VALUES = {"cpu": 2**15, "cuda": 2**22}
"""Values of each update in a block. A CPU's second-level cache holds a block of ten sites."""


def block_values(device: torch.device) -> int:
    """Values of each update in a block on a device."""
    return BLOCK_VALUES.get(device.type, BLOCK_VALUES["cuda"])


def map_spans(num_values: int, work: Callable[[Iterator[slice]], T], *, block: int, device: torch.device) -> list[T]:
    """Let workers do something with every span.

    Args:
        num_values: Values of an update.
        work: Takes the blocks of one span, as slices of the values, in order.
        block: Most values of each update in a block.
        device: Where the updates are; a GPU gets one worker.

    Returns:
        One result a span, in order; none where there are no values.
    """
    spans = list(_spans(num_values, block))
    if not spans:
        return []
    num_workers = min(len(spans), len(os.sched_getaffinity(0))) if device.type == "cpu" else 1

    def of_worker(worker: int) -> list[T]:
        return [work(_blocks(span, block)) for span in spans[worker::num_workers]]

    with ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = list(pool.map(of_worker, range(num_workers)))
    return [found[number % num_workers][number // num_workers] for number in range(len(spans))]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let the calling thread be one torch thread, as each worker is, and give it back what it had."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _spans(num_values: int, block: int) -> Iterator[slice]:
    """Spans of whole blocks, near equal."""
    num_blocks = -(-num_values // block)
    ends = [round(num_blocks * number / NUM_SPANS) * block for number in range(NUM_SPANS + 1)]
    for start, stop in pairwise(ends):
        if start < stop:
            yield slice(start, min(stop, num_values))


def _blocks(span: slice, block: int) -> Iterator[slice]:
    for start in range(span.start, span.stop, block):
        yield slice(start, min(start + block, span.stop))
