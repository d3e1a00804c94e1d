"""What a step draws, drawn while another is computed: the next step's studies are read, this one's noise is made.

One thread draws, in the order in which a loop would: sample, noise, sample, noise. So the values are those of the loop,
whatever takes how long. Another reads, and draws nothing. Nothing is drawn before the first step is asked for, and no
sample beyond the last one. Where a step fails, or is refused, what was drawn for it and for the next is dropped; no
other step gets it. What fails in a thread is raised where it is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from client.dp.randomness import Noise
from client.dp.records import PrivateStudies, Records
from client.dp.step import GradientSource, num_trained
from common.encoders.dual import DualEncoder


@dataclass(frozen=True)
class Drawn:
    """What one step drew.

    Attributes:
        sample: The studies that it reads, some at a time.
        noise: Waits for its noise.
    """

    sample: Iterable[Records]
    noise: Callable[[], Noise]


@contextmanager
def drawn_ahead(
    source: GradientSource, model: DualEncoder, records: PrivateStudies, *, num_steps: int
) -> Iterator[Iterator[Drawn]]:
    """Lend the draws of each step, to be used before the next are asked for.

    Args:
        source: Draws them.
        model: What is trained.
        records: A site's private studies.
        num_steps: Steps of the round.

    Raises:
        ConfigError: The model cannot be differentiated as asked.
    """
    draw, num_values = source.sampler(model, records), num_trained(model)
    reader, drawer = (ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("reads", "draws"))

    def steps() -> Iterator[Drawn]:
        sample = drawer.submit(draw, reader)
        for step in range(num_steps):
            studies = sample.result()
            noise = drawer.submit(source.noise, num_values)
            if step + 1 < num_steps:
                sample = drawer.submit(draw, reader)
            yield Drawn(studies, noise.result)

    try:
        yield steps()
    finally:
        # In this order: who draws hands on to who reads.
        drawer.shutdown(cancel_futures=True)
        reader.shutdown(cancel_futures=True)
