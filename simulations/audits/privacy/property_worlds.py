"""Hospitals that differ in one share: a quarter, or three quarters, of the patients have a finding.

Their patients are drawn from all patients of the subject's hospitals: from one half of them the attacker's own
hospitals, from the other those under attack, so that no patient is in both. Each trains alone, round after round from
its own last model, and what the server sees of it is the sum of its updates. What other hospitals send would only move
the model between the rounds.

Shapes: W hospitals, P values of an update.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from client.audits.linear import Array
from client.data.splits import Role
from client.site import Site
from client.studies import private_among
from common.encoders.dual import trainable_names
from common.errors import DataError
from common.seeds import numpy_generator
from common.wire.update import model_arrays
from simulations.audits.privacy.attackers_randomness import Noiseless
from simulations.audits.privacy.joint_training import noise_on_update, shared_noise, stepped, without_shared_noise
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

FEW, MANY = 0.25, 0.75
LEAST_PATIENTS = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class Hospitals:
    """Hospitals of two kinds.

    Attributes:
        update_WP: What each sent, summed over the rounds.
        has_many_W: Whether many of its patients have the finding.
    """

    update_WP: Array
    has_many_W: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Property:
    """What is to be told.

    Attributes:
        finding: The one that nearest to half of the patients have.
        halves: Patients of either half, each as those without and with the finding.
        size: Patients of a hospital.
    """

    finding: str
    halves: tuple[tuple[tuple[str, ...], tuple[str, ...]], tuple[tuple[str, ...], tuple[str, ...]]]
    size: int


def property_of(subject: Subject) -> Property:
    """The finding to ask for, and who has it.

    Raises:
        DataError: No finding is recorded, or too few patients have it, or have it not.
    """
    has: dict[str, set[str]] = {}
    for record, role in zip(subject.consortium.records, subject.consortium.roles, strict=True):
        if role is not Role.PUBLIC and record.lacks is None:
            has.setdefault(record.patient_id, set()).update(record.findings)
    shares = {
        finding: sum(finding in findings for findings in has.values()) / len(has)
        for finding in sorted({finding for findings in has.values() for finding in findings})
    }
    if not shares:
        raise DataError("data: no findings are recorded; a hospital's share of one cannot be asked for")
    finding = min(shares, key=lambda name: abs(shares[name] - 0.5))
    patients = sorted(has)
    numpy_generator(subject.seed, "audit", "property", "halves").shuffle(patients)
    one, other = (
        tuple(tuple(p for p in part if (finding in has[p]) is with_it) for with_it in (False, True))
        for part in (patients[::2], patients[1::2])
    )
    size = int(min(len(group) for half in (one, other) for group in half) / MANY)
    if size < LEAST_PATIENTS:
        raise DataError(
            f"data: with {len(patients)} patients no two kinds of hospital of {LEAST_PATIENTS} can be made by {finding}"
        )
    return Property(finding=finding, halves=((one[0], one[1]), (other[0], other[1])), size=size)


def attackers_own(pipeline: Pipeline, subject: Subject, asked: Property, *, num_hospitals: int) -> Hospitals:
    """Hospitals that the attacker trains, of either kind in turn: clipped as the run's are, and without noise."""

    def noiseless(site: Site) -> Site:
        return replace(without_shared_noise(site), randomness=lambda _: Noiseless())

    return _hospitals(pipeline, subject, asked, half=0, num_hospitals=num_hospitals, as_trained=noiseless)


def under_attack(pipeline: Pipeline, subject: Subject, asked: Property, *, num_hospitals: int) -> Hospitals:
    """Hospitals that the server asks, of either kind in turn, with the run's noise."""
    return _hospitals(pipeline, subject, asked, half=1, num_hospitals=num_hospitals, as_trained=lambda site: site)


def noise_seen(pipeline: Pipeline, subject: Subject) -> float:
    """Deviation of the noise on each value of a hospital's summed updates: it is public."""
    with subject.sites(pipeline) as sites:
        return noise_on_update(
            sites[0], steps=subject.config.training.steps_per_round * subject.config.federation.rounds
        )


def _hospitals(
    pipeline: Pipeline,
    subject: Subject,
    asked: Property,
    *,
    half: int,
    num_hospitals: int,
    as_trained: Callable[[Site], Site],
) -> Hospitals:
    rows: dict[str, list[int]] = {patient: [] for group in asked.halves[half] for patient in group}
    for row, record in enumerate(subject.consortium.records):
        if record.patient_id in rows and record.lacks is None:
            rows[record.patient_id].append(row)
    has_many_W = np.arange(num_hospitals) % 2 == 1
    generator = numpy_generator(subject.seed, "audit", "property", half)
    updates = []
    for has_many in has_many_W:
        num_with = round(asked.size * (MANY if has_many else FEW))
        without, with_it = asked.halves[half]
        patients = [*generator.choice(without, asked.size - num_with, replace=False)]
        patients += [*generator.choice(with_it, num_with, replace=False)]
        private = private_among(subject.consortium, (row for one in patients for row in rows[one]))
        with subject.sites(pipeline) as sites:
            updates.append(_sent(pipeline, subject, sites, as_trained(replace(sites[0], private=private))))
    return Hospitals(update_WP=np.stack(updates), has_many_W=has_many_W)


def _sent(pipeline: Pipeline, subject: Subject, sites: Sequence[Site], site: Site) -> Array:
    """Sum of what a hospital sends over all rounds."""
    start = model_arrays(subject.model)
    arrays = start
    for round_number in range(1, subject.config.federation.rounds + 1):
        noise = shared_noise(pipeline, sites, site, purpose=str(round_number))
        update = pipeline.train(site, arrays, round_number=round_number, round_noise=noise)
        arrays = stepped(arrays, [update])
    names = trainable_names(subject.model)
    return np.concatenate([(arrays[name] - start[name]).ravel() for name in names]).astype(np.float64)
