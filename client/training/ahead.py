"""What a step draws, drawn while another is computed: the next step's studies are read, this one's noise is made.

One thread draws, in the order in which a loop would: sample, noise, sample, noise. So the values are those of the loop,
whatever takes how long. Nothing is drawn before the first step is asked for, and no sample beyond the last one. Where a
step fails, or is refused, what was drawn for it and for the next is dropped; no other step gets it. What fails in the
thread is raised where it is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from client.dp.randomness import Noise
from client.dp.records import PrivateStudies, Records
from client.dp.step import GradientSource


@dataclass(frozen=True)
class Drawn:
    """What one step drew.

    Attributes:
        sample: The studies that it reads.
        noise: Waits for its noise.
    """

    sample: Records
    noise: Callable[[], Noise]


@contextmanager
def drawn_ahead(
    source: GradientSource, records: PrivateStudies, *, num_steps: int, num_values: int
) -> Iterator[Iterator[Drawn]]:
    """Lend the draws of each step, to be used before the next are asked for.

    Args:
        source: Draws them.
        records: A site's private studies.
        num_steps: Steps of the round.
        num_values: Values that the model trains.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="draws") as thread:
        try:
            yield _steps(thread, source, records, num_steps=num_steps, num_values=num_values)
        finally:
            thread.shutdown(cancel_futures=True)


def _steps(
    thread: ThreadPoolExecutor, source: GradientSource, records: PrivateStudies, *, num_steps: int, num_values: int
) -> Iterator[Drawn]:
    sample = thread.submit(source.sample, records)
    for step in range(num_steps):
        read = sample.result()
        noise = thread.submit(source.noise, num_values)
        if step + 1 < num_steps:
            sample = thread.submit(source.sample, records)
        yield Drawn(read, noise.result)
