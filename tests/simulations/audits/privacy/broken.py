"""Pipelines that are broken on purpose, each in one part: what the checks must catch. Production knows none of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from client.dp.engine import PatientDpSgd
from client.dp.grid_noise import OWN_ALONE, GridNoise, NoiseParts
from client.dp.randomness import KeystreamRandomness, Noise, Randomness, SeededRandomness, SystemRandomness
from client.dp.records import Gradients, PrivateStudies, Records, chunks_of_patients
from client.dp.step import GradientSource, Sampler
from client.ledger.ledger import Reservation
from client.site import Site, SiteAccounts
from client.training.train import gradient_source
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.losses.in_batch import InBatchContrast
from common.losses.interface import Coupling
from common.losses.objective import Objective
from common.losses.public import Public
from common.privacy.accountant import epsilon_of
from common.privacy.count_noise import CountNoise, gaussian_noise
from common.privacy.events import Event
from simulations.audits.privacy.pipeline import PRODUCTION, Pipeline
from simulations.federation.ledgers import open_accounts

# Noise and sample


@dataclass
class ScaledNoise:
    """Noise of another width than is asked for."""

    scale: float

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        return SystemRandomness().participants(num_patients, probability)

    def noise(self, num_values: int, *, standard_deviation: float, parts: NoiseParts = OWN_ALONE) -> Noise:
        """See `Randomness`."""
        if not self.scale:
            return GridNoise(None, 0.0)
        return SystemRandomness().noise(num_values, standard_deviation=self.scale * standard_deviation, parts=parts)


class Shuffled(SystemRandomness):
    """As many patients at every step, as batches of a shuffled order have."""

    def participants(self, num_patients: int, probability: float) -> Tensor:
        """See `Randomness`."""
        chosen = torch.zeros(num_patients, dtype=torch.bool)
        chosen[torch.randperm(num_patients)[: round(num_patients * probability)]] = True
        return chosen


def noise_of(scale: float) -> Pipeline:
    """Every noise that a site draws by itself is so much wider than stated."""
    return replace(PRODUCTION, randomness=lambda *_: ScaledNoise(scale))


def _keyed(labels: Callable[[str, int], object]) -> Callable[[str, int], Randomness]:
    return lambda site, number: KeystreamRandomness(hashlib.sha256(repr(labels(site, number)).encode()).digest())


def _float_noise(site: str, round_number: int) -> Randomness:
    return SeededRandomness(torch.Generator().manual_seed(hash((site, round_number)) % 2**31))


# Sources of gradients


@dataclass(frozen=True, kw_only=True)
class Wrapped(GradientSource):
    """A source that leaves all to production's; what is broken overrides a part."""

    inner: PatientDpSgd

    def sampler(self, model: DualEncoder, records: PrivateStudies) -> Sampler:
        """See `GradientSource`."""
        return self.inner.sampler(model, records)

    def noise(self, num_values: int) -> Noise:
        """See `GradientSource`."""
        return self.inner.noise(num_values)

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`."""
        return self.inner.gradient_of(model, sample, public, noise)


@dataclass
class Shrunk:
    """Noise over a number that follows from the patients."""

    noise: Noise
    by: int

    def added_to(self, total: Tensor) -> Tensor:
        """See `Noise`."""
        return total + self.noise.added_to(torch.zeros_like(total)) / self.by


class NoiseOverBatch(Wrapped):
    """The noise is divided by the size of the batch, as of a mean whose sum was noised for one."""

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`."""
        chunks = list(sample)
        size = max(1, sum(chunk.num_patients for chunk in chunks))
        return self.inner.gradient_of(model, chunks, public, lambda: Shrunk(noise(), size))


class ClipAfterAveraging(Wrapped):
    """Nobody's gradient is clipped, but their mean."""

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`."""
        clip = self.inner.clip_norm
        open_clip = replace(self.inner, clip_norm=1e9)
        mean = open_clip.gradient_of(model, sample, public, lambda: GridNoise(None, 0.0))
        length = math.sqrt(sum(float(value.double().square().sum()) for value in mean.values()))
        given: Tensor = noise().added_to(torch.cat([value.flatten() for value in mean.values()]) * 0)
        pieces = given.split([value.numel() for value in mean.values()])
        scale = min(1.0, clip / length) if length else 1.0
        return {
            name: value * scale + piece.view_as(value) / self.inner.expected_patients
            for (name, value), piece in zip(mean.items(), pieces, strict=True)
        }


class ClipByStudy(Wrapped):
    """Each study is clipped by itself, as if it were a patient."""

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`."""
        alone = [replace(chunk, patients=torch.arange(len(chunk.patients))) for chunk in sample]
        chunks = [part for chunk in alone for part in chunks_of_patients(chunk, self.inner.chunk_size)]
        return self.inner.gradient_of(model, chunks, public, noise)


class FirstStudyAlone(Wrapped):
    """A patient's gradient is that of the first study."""

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`."""
        firsts = []
        for chunk in sample:
            first = torch.ones(len(chunk.patients), dtype=torch.bool)
            first[1:] = chunk.patients[1:] != chunk.patients[:-1]
            firsts.append(chunk.rows(first.nonzero().flatten()))
        return self.inner.gradient_of(model, firsts, public, noise)


class BrokenStudiesCount(Wrapped):
    """A study that is no number makes the whole step no number."""

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`."""
        chunks = list(sample)
        given = self.inner.gradient_of(model, chunks, public, noise)
        finite = all(bool(chunk.images.double().isfinite().all()) for chunk in chunks)
        return given if finite else {name: value * math.nan for name, value in given.items()}


class NoNoiseForNobody(Wrapped):
    """A step that drew nobody adds no noise, so that it shows that it did."""

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`."""
        chunks = list(sample)
        return self.inner.gradient_of(model, chunks, public, noise if chunks else lambda: GridNoise(None, 0.0))


class SaysThatItCouplesNobody(InBatchContrast):
    """Takes the batch's other patients for negatives, and denies it."""

    coupling = Coupling.NONE  # type: ignore[assignment]


def with_source(kind: Callable[..., GradientSource]) -> Pipeline:
    """Production with another source of gradients around its own."""

    def source(site: Site, objective: Objective, **of_round: Any) -> GradientSource:
        return kind(inner=gradient_source(site, objective, **of_round))

    return replace(PRODUCTION, gradient_source=source)


def _in_batch(site: Site, objective: Objective, **of_round: Any) -> GradientSource:
    contrast = SaysThatItCouplesNobody(temperature=0.1, agreement_weight=1.0)
    return gradient_source(site, replace(objective, contrast=contrast), **of_round)


# Ledger, tables, accountant


class ForgetfulLedger:
    """Says that it charged, and writes nothing."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def reserve(self, *_: object, **__: object) -> Reservation:
        """See `Ledger`."""
        return Reservation(entry="0" * 64, epsilon=0.0)


def _forgetful(folder: Path, site: str, **given: Any) -> SiteAccounts:
    accounts = open_accounts(folder, site, **given)
    return replace(accounts, ledger=ForgetfulLedger(accounts.ledger))


def _one_marginal(config: RunConfig) -> CountNoise | None:
    epsilon = config.fairness.epsilon
    return None if epsilon is None else gaussian_noise(epsilon, config.fairness.delta, vectors=1)


def _sparing(events: Iterable[Event], *, delta: float) -> float:
    return 0.97 * epsilon_of(events, delta=delta)


BROKEN: dict[str, tuple[str, Pipeline]] = {
    "noise off": ("noise", noise_of(0.0)),
    "noise halved": ("noise", noise_of(0.5)),
    "noise 3% too narrow": ("noise", noise_of(0.97)),
    "noise divided by the batch": ("noise", with_source(NoiseOverBatch)),
    "no noise where nobody was drawn": ("noise", with_source(NoNoiseForNobody)),
    "clip after averaging": ("sensitivity", with_source(ClipAfterAveraging)),
    "clip by study of a patient with three": ("sensitivity", with_source(ClipByStudy)),
    "in-batch negatives": ("sensitivity", replace(PRODUCTION, gradient_source=_in_batch)),
    "shuffle instead of Poisson": ("sampling", replace(PRODUCTION, randomness=lambda *_: Shuffled())),
    "one noise key on two sites": ("independence", replace(PRODUCTION, randomness=_keyed(lambda _, number: number))),
    "one noise key in two rounds": ("independence", replace(PRODUCTION, randomness=_keyed(lambda site, _: site))),
    "noise repeated after a restart": ("independence", replace(PRODUCTION, randomness=_keyed(lambda *both: both))),
    "noise added as floats": ("floats", replace(PRODUCTION, randomness=_float_noise)),
    "gradient of the first study alone": ("gradients", with_source(FirstStudyAlone)),
    "broken study counts": ("broken-records", with_source(BrokenStudiesCount)),
    "ledger not written": ("charges", replace(PRODUCTION, accounts=_forgetful)),
    "narrower noise than was charged": ("tables", noise_of(0.9)),
    "table sensitivity of one marginal only": ("tables", replace(PRODUCTION, group_noise_of=_one_marginal)),
    "epsilon stated 3% too small": ("accounting", replace(PRODUCTION, accountant=_sparing)),
}
"""Each variant, the check that catches it, and the pipeline."""
