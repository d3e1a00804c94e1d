"""Updates of one patient, as the server sees them, for attacks that turn them back into the patient's studies.

Who knows everything else subtracts it: what is left of a hospital's update is what one patient moved, and the noise. So
the hospital under attack has this one patient alone. What is public of an update, the anchors' own gradient, is
subtracted as the attacker would: by the same training with nobody in it and no noise.

Two updates are made. *One step*, of which the attacker knows that the patient was drawn: more than the guarantee
speaks of, and the most that an inversion can start from. *A round*, as it is sent: each step draws the patient or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from client.dp.randomness import Randomness
from client.dp.records import Records
from client.dp.round_noise import RoundNoise
from client.site import Site
from common.wire.update import model_arrays
from simulations.audits.privacy.attackers_randomness import Everybody, Nobody
from simulations.audits.privacy.joint_training import Update, shared_noise, without_shared_noise
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject

STEP, ROUND = "one step", "a round"


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What the server sees of one patient.

    Attributes:
        site: Of the patient.
        patient: Number there.
        records: The truth: the patient's studies.
        others: Studies of other patients of the same hospital.
        updates: By `STEP` and `ROUND`, less what is public.
    """

    site: str
    patient: int
    records: Records
    others: Records
    updates: dict[str, Update]


def seen_of_patients(pipeline: Pipeline, subject: Subject, *, num_patients: int, num_others: int) -> Iterator[Seen]:
    """What the server sees of some patients, of all hospitals in turn: those with the fewest studies, who hide least.

    Args:
        pipeline: What trains.
        subject: On what.
        num_patients: Patients at most.
        num_others: Studies of others at most, beside each.
    """
    with subject.sites(pipeline) as sites:
        attacked = [_Attacked(pipeline, subject, sites, site) for site in sites]
        for turn in range(-(-num_patients // len(sites))):
            for one in attacked[: num_patients - turn * len(sites)]:
                if turn < one.site.private.num_patients:
                    yield one.seen(turn, num_others)


class _Attacked:
    """A hospital, with what is public of its steps."""

    def __init__(self, pipeline: Pipeline, subject: Subject, sites: Sequence[Site], site: Site) -> None:
        self._pipeline, self._sites, self.site = pipeline, sites, site
        self._arrays = model_arrays(subject.model)
        self._records = site.private.rows(slice(None))
        self._fewest_first = torch.argsort(self._records.studies_of_each(), stable=True)
        self._public = {name: self._update(silent, None) for name, silent in self._kinds(_silent(site))}

    def seen(self, turn: int, num_others: int) -> Seen:
        patient = int(self._fewest_first[turn])
        own_N = self._records.patients == patient
        rows, others = own_N.nonzero().flatten(), (~own_N).nonzero().flatten()
        alone = self._records.among(rows, torch.zeros(len(rows), dtype=torch.int64))
        updates = {}
        for name, site in self._kinds(replace(self.site, private=alone)):
            if name == STEP:
                site = replace(site, randomness=_with_everybody(site))
            noise = shared_noise(self._pipeline, self._sites, site, purpose=f"{name} of {site.name} {patient}")
            noised = self._update(site, noise)
            updates[name] = {key: value - self._public[name][key] for key, value in noised.items()}
        spread = others[torch.linspace(0, len(others) - 1, min(num_others, len(others))).long()]
        return Seen(
            site=self.site.name,
            patient=patient,
            records=alone,
            others=self._records.among(spread, self._records.patients[spread]),
            updates=updates,
        )

    @staticmethod
    def _kinds(site: Site) -> Iterator[tuple[str, Site]]:
        config = replace(site.config, training=replace(site.config.training, steps_per_round=1))
        yield STEP, replace(site, config=config)
        yield ROUND, site

    def _update(self, site: Site, noise: RoundNoise | None) -> Update:
        return self._pipeline.train(site, self._arrays, round_number=1, round_noise=noise)


def _silent(site: Site) -> Site:
    return replace(without_shared_noise(site), randomness=lambda _: Nobody())


def _with_everybody(site: Site) -> Callable[[int], Randomness]:
    return lambda round_number: Everybody(site.randomness(round_number))
