"""Is every draw of noise paid for in the ledger before it is made, also when the process dies in the middle?

A site is told to train, as a server tells it, with a source of randomness that looks into the ledger's file at each
draw: what a release will cost must stand there, on the disk, before the first sample or noise of it. What is drawn is
counted too, so that the entry says what was done: as many steps, at no larger a rate, with no narrower a noise.

Then it is done again, and dies after some steps: what it was about to spend stays spent. The ledger is opened anew, as
after a restart, answers once more, and epsilon of all three rounds is recomputed by the audit's own accountant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from client.dp.grid_noise import OWN_ALONE, NoiseParts
from client.dp.randomness import Noise, Randomness
from client.site import Site, SiteAccounts
from common.canonical import digest
from common.ledger.entries import Reserved
from common.ledger.read import read_books
from common.privacy.events import SampledGaussian
from common.wire.flower import UPDATE, Task
from common.wire.update import model_arrays
from simulations.audits.privacy.interface import Check, Measured
from simulations.audits.privacy.loss_distribution import epsilon_bounds
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.steps import BY_PAIRS, Bench, bench
from simulations.audits.privacy.subject import Subject
from simulations.federation.ledgers import ledger_path

DIES_AFTER = 2
"""Draws of noise, where a round is made to die."""
MOST_APART = 0.02
SLACK = 1e-9


class Died(Exception):
    """The process that was simulated died."""


@dataclass
class Watched:
    """A source of randomness that notes what was on the disk when it was asked.

    Attributes:
        inner: What draws.
        charged: How many steps the ledger's file says were paid for, now.
        dies_after: Draws of noise after which it raises.
        deviations: Of each noise that was drawn.
        rates: Of each sample that was drawn.
        unpaid: Draws that the ledger did not know of.
    """

    inner: Randomness
    charged: Callable[[], int]
    dies_after: int | None = None
    deviations: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    unpaid: int = 0

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        self.unpaid += self.charged() < len(self.rates) + 1
        self.rates.append(probability)
        return self.inner.participants(num_patients, probability)

    def noise(self, num_values: int, *, standard_deviation: float, parts: NoiseParts = OWN_ALONE) -> Noise:
        """See `Randomness`."""
        self.unpaid += self.charged() < len(self.deviations) + 1
        if len(self.deviations) == self.dies_after:
            raise Died
        self.deviations.append(standard_deviation)
        return self.inner.noise(num_values, standard_deviation=standard_deviation, parts=parts)


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Train a round, a round that dies, and a round after a restart, with an eye on the ledger's file."""
    with TemporaryDirectory() as folder, bench(pipeline, subject) as on:
        if not isinstance(on.plan.event, SampledGaussian):
            return BY_PAIRS
        replay = _Replay(on, Path(folder), on.plan.event)
        rounds = [replay.round(1), replay.round(2, dies_after=DIES_AFTER), replay.round(3)]
        entries = replay.reserved()
    stated, low = replay.stated, replay.recomputed(len(rounds))
    faults = [fault for found in rounds for fault in found]
    if len(entries) != len(rounds):
        faults.append(f"the ledger holds {len(entries)} charges for {len(rounds)} rounds")
    if stated < low - SLACK or stated > low + MOST_APART:
        faults.append(f"it states epsilon {stated:.3f}")
    return Measured(
        holds=not faults,
        sentence=(
            f"Of {len(rounds)} rounds, one of which died after {DIES_AFTER} steps, and a restart, all were to be "
            f"charged before their first draw. The ledger states epsilon {stated:.3f}; recomputed it is at least "
            f"{low:.3f}. "
            + (f"Found: {'; '.join(faults)}." if faults else "Each draw was paid for, and was as the entry says.")
        ),
        power=("One draw that is not on the disk before it is made is seen, and so is a step more, or narrower noise."),
        claimed_epsilon=stated,
        lower_bound=low,
    )


CHECK = Check(
    name="charges",
    question="Is every draw of noise in the ledger before it is made, also when the process dies?",
    claim="What a round costs is written down before anything is drawn; a crash can waste budget and never regain it.",
    measure=measure,
)


class _Replay:
    """Rounds of one site against a ledger in a folder."""

    def __init__(self, on: Bench, folder: Path, event: SampledGaussian) -> None:
        self._on, self._folder, self._event = on, folder, event
        self._arrays = model_arrays(on.model)
        self.stated = 0.0

    def round(self, number: int, *, dies_after: int | None = None) -> list[str]:
        """One round, with the ledger opened for it as a process does; what was wrong with it."""
        before = len(self.reserved())
        watched = Watched(
            self._on.pipeline.randomness(self._on.site.name, number),
            charged=lambda: sum(one.event.steps for one in self.reserved()[before:] if _of_training(one)),
            dies_after=dies_after,
        )
        accounts = self._opened()
        try:
            self._answer(replace(self._on.site, accounts=accounts, randomness=lambda _: watched), number)
            self.stated = accounts.ledger.spent(accounts.training).epsilon
        except Died:
            if dies_after is None:
                raise
        finally:
            accounts.ledger.close()
        return list(self._faults(watched, number, died=dies_after is not None))

    def reserved(self) -> list[Reserved]:
        """What the ledger's file says was charged, read as an auditor reads it."""
        path = ledger_path(self._folder, self._on.site.name)
        if not path.exists():
            return []
        return [entry.body for entry in read_books(path) if isinstance(entry.body, Reserved)]

    def recomputed(self, rounds: int) -> float:
        """Epsilon of so many rounds, at least."""
        steps = replace(self._event, steps=self._event.steps * rounds)
        return epsilon_bounds(steps, delta=self._on.plan.delta).low

    def _opened(self) -> SiteAccounts:
        return self._on.pipeline.accounts(
            self._folder, self._on.site.name, data="audit", epsilon=None, delta=self._on.plan.delta
        )

    def _answer(self, site: Site, number: int) -> None:
        pair_keys = tuple(each.pairing.key.statement for each in self._on.sites if each.pairing is not None)
        task = Task(round_number=number, train=True, config_digest=site.config_digest, pair_keys=pair_keys)
        self._on.pipeline.answer(site, task, self._arrays, context=digest(["audit", number]))

    def _faults(self, watched: Watched, number: int, *, died: bool) -> list[str]:
        found = []
        if watched.unpaid:
            found.append(f"round {number}: {watched.unpaid} draws were not in the ledger when they were made")
        if len(watched.deviations) != (DIES_AFTER if died else self._event.steps):
            found.append(f"round {number}: {len(watched.deviations)} steps drew noise, of {self._event.steps} charged")
        least = self._on.plan.own_multiplier * self._on.plan.clip_norm
        if any(deviation < least for deviation in watched.deviations):
            found.append(
                f"round {number}: noise of deviation {min(watched.deviations):.4g}, below {least:.4g} as charged"
            )
        if any(rate > self._event.sampling_probability for rate in watched.rates):
            found.append(
                f"round {number}: patients were sampled at {max(watched.rates):g}, above the rate that was charged"
            )
        return found


def _of_training(reserved: Reserved) -> bool:
    return isinstance(reserved.event, SampledGaussian) and reserved.release == UPDATE
