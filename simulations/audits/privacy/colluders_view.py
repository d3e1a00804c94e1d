"""What a server and colluding members see of one patient's steps, in two worlds: with the patient, and without.

Each value of a message is a trial of the same game, for noise is drawn for each value by itself. So one message of many
values is many trials: in each, the patient adds one clip to the victim's sum in every step of the first round, and to
none in the others. The messages are made by the pipeline's own source of noise and shared keys.

The attackers are given more than a server has, as in the proof (`common/pair_noise/law.py`): what all others share
among themselves, and of what the victim shares, the colluders' part. They read what they see by the best linear
statistic, fitted to one half of the values and tried on the other: a fault of the noise needs no name to be found.

Shapes: R rows of what is seen, N values, half of them to fit and half to try.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from client.dp.discrete_gaussian import DEVIATION, discrete_gaussian
from client.dp.round_noise import RoundNoise
from client.site import Site
from common.canonical import digest
from common.losses.objective import Objective
from simulations.audits.privacy.bounds.gaussian_scores import most_noise
from simulations.audits.privacy.pipeline import Pipeline

NUM_VALUES = 1 << 14
ROUNDS, STEPS = 4, 2
"""Rounds that are seen, of which the patient is in the first, and steps of each."""

_LEAST_VARIANCE = 1e-10
"""Over the largest: what varies less is taken for exact. Messages are rounded to float32."""

Rows = NDArray[np.float64]


@dataclass
class Seen:
    """Everything that anybody could see of one world.

    Attributes:
        rows: `[N]` each.
        known_to: For each row the site whose collusion it takes; None where all attackers have it.
        patient: What the patient adds to each row, in clips.
    """

    rows: list[Rows] = field(default_factory=list)
    known_to: list[str | None] = field(default_factory=list)
    patient: list[float] = field(default_factory=list)

    def note(self, row: Rows, *, known_to: str | None = None, patient: float = 0.0) -> None:
        """Add a row."""
        self.rows.append(row)
        self.known_to.append(known_to)
        self.patient.append(patient)

    def among(self, colluders: Collection[str]) -> tuple[Rows, Rows]:
        """What attackers with these members see, `[R, N]`, and what the patient adds to it, `[R]`."""
        kept = [i for i, site in enumerate(self.known_to) if site is None or site in colluders]
        return np.stack([self.rows[i] for i in kept]), np.array([self.patient[i] for i in kept])


@dataclass(frozen=True, kw_only=True)
class Readings:
    """One statistic of each trial, to which the patient adds one.

    Attributes:
        inside: In the world with the patient.
        outside: In the other one.
    """

    inside: Rows
    outside: Rows

    def most_noise(self, confidence: float) -> float:
        """A noise multiplier of one step that is not reached."""
        noise = most_noise(self.inside, self.outside, sampling_probability=1.0, steps=1, confidence=confidence)
        return noise * math.sqrt(STEPS)


@dataclass(frozen=True, kw_only=True)
class Worlds:
    """Both worlds of one victim.

    Attributes:
        with_patient: What is seen where the victim has the patient.
        without: What is seen where not.
        others: The other sites that were there, in the order in which they collude.
    """

    with_patient: Seen
    without: Seen
    others: tuple[str, ...]

    def readings(self, num_colluding: int) -> Readings:
        """What the server and so many members make of both worlds."""
        colluders = self.others[:num_colluding]
        (there, patient), (absent, _) = (world.among(colluders) for world in (self.with_patient, self.without))
        half = NUM_VALUES // 2
        weights = _best_reading(np.hstack([there[:, :half], absent[:, :half]]), patient)
        return Readings(inside=weights @ there[:, half:], outside=weights @ absent[:, half:])


def play(pipeline: Pipeline, sites: Sequence[Site], objective: Objective) -> Worlds:
    """Two worlds of the last of the sites that are there.

    Args:
        pipeline: Makes the noise.
        sites: Those that are there; who is planned and is not is replaced by the sites themselves.
        objective: Of the run.
    """
    victim = sites[-1]
    with_patient, without = (_seen(pipeline, sites, objective, victim.name, has=has) for has in (True, False))
    return Worlds(with_patient=with_patient, without=without, others=tuple(site.name for site in sites[:-1]))


def _seen(pipeline: Pipeline, sites: Sequence[Site], objective: Objective, victim: str, *, has: bool) -> Seen:
    seen = Seen()
    for number in range(1, ROUNDS + 1):
        # In a run it is the digest of the entry of the server's log that opened the round.
        context = digest(["audit", number, has])
        opened, again = (_opened(pipeline, sites, context) for _ in range(2))
        sources = {
            site.name: pipeline.gradient_source(site, objective, round_number=number, round_noise=opened.get(site.name))
            for site in sites
        }
        for _ in range(STEPS):
            for site in sites:
                is_asked = site.name == victim and number == 1
                clip = 1.0 if site.privacy is None else site.privacy.clip_norm
                total = torch.full((NUM_VALUES,), clip if is_asked and has else 0.0, dtype=torch.float64)
                message = sources[site.name].noise(NUM_VALUES).added_to(total).double() / clip
                seen.note(message.numpy(), patient=float(is_asked))
            _note_draws(seen, sites, again, victim)
    return seen


def _opened(pipeline: Pipeline, sites: Sequence[Site], context: str) -> dict[str, RoundNoise]:
    """The round of each site that shares noise, opened by itself."""
    pairings = {site.name: site.pairing for site in sites if site.pairing is not None}
    statements = tuple(pairing.key.statement for pairing in pairings.values())
    return {name: pipeline.open_round(pairing, statements, context=context) for name, pairing in pairings.items()}


def _note_draws(seen: Seen, sites: Sequence[Site], opened: dict[str, RoundNoise], victim: str) -> None:
    """What all sites but the victim draw with their peers, each pair once."""
    names = [site.name for site in sites]
    for place, name in enumerate(names):
        if name == victim or name not in opened:
            continue
        shared = opened[name].next_step().shared
        peers = [peer for peer in names if peer != name]
        if len(shared) != len(peers):
            # Not everybody shares with everybody here, or nobody in this step.
            continue
        for peer, part in zip(peers, shared, strict=True):
            if peer == victim or names.index(peer) > place:
                drawn = discrete_gaussian(NUM_VALUES, part.stream) / DEVIATION
                seen.note(drawn, known_to=name if peer == victim else None)


def _best_reading(noise_RN: Rows, patient_R: Rows) -> Rows:
    """Weights `[R]` that let the patient stand out most, and add one; Fisher's linear discriminant."""
    half = noise_RN.shape[1] // 2
    centred = noise_RN.copy()
    for world in (slice(0, half), slice(half, None)):
        centred[:, world] -= centred[:, world].mean(axis=1, keepdims=True)
    variance_R, direction_RR = np.linalg.eigh(centred @ centred.T / centred.shape[1])
    along_R = direction_RR.T @ patient_R
    weights: Rows = direction_RR @ (along_R / np.maximum(variance_R, _LEAST_VARIANCE * variance_R.max()))
    return weights / float(weights @ patient_R)
