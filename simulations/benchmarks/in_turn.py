"""Kinds of step that take turns, each in a process of its own.

A process of its own is for its own peak memory (some 400 MiB of it are libraries) and because what one leaves in the
allocator slows another. The processes take turns, step by step, because the speed of a shared machine changes by the
minute.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import NamedTuple

from simulations.benchmarks.report import peak_mib

Step = Callable[[], object]


class Measured(NamedTuple):
    """Median time of a step by the wall clock, and of the process over all its threads; its peak memory."""

    wall: float
    cpu: float
    peak_mib: float | None


def measure(makers: Sequence[Callable[[], Step]], repeats: int) -> list[Measured]:
    """Medians of some kinds of step, each in a process of its own, taking turns; the first step is not counted."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_prepare, initargs=(maker,))
            )
            for maker in makers
        ]
        turns = [[process.submit(_timed_step).result() for process in processes] for _ in range(repeats + 1)]
        peaks = [process.submit(peak_mib).result() for process in processes]
    medians = [
        [statistics.median(clock) for clock in zip(*times[1:], strict=True)] for times in zip(*turns, strict=True)
    ]
    return [Measured(wall, cpu, peak) for (wall, cpu), peak in zip(medians, peaks, strict=True)]


_steps: list[Step] = []
"""In a process that measures: its one step."""


def _prepare(maker: Callable[[], Step]) -> None:
    _steps.append(maker())


def _timed_step() -> tuple[float, float]:
    (step,) = _steps
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - cpu
