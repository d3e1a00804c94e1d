"""Models that were each trained with half of the patients, and what is seen of every patient at each.

Each patient of the hospitals, training or held out, is in or out of each world by a coin of its own, as the bound asks
for: whoever is out is held out there. The hospitals then train together (`joint_training.py`) from the subject's public
start. These are whole federated runs, on the features that the frozen part has made once, without transport.

Shapes: W worlds, P patients, N studies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from client.audits.linear import Array
from client.data.splits import Role
from common.encoders.dual import DualEncoder, embed_in_batches
from common.errors import DataError
from common.seeds import numpy_generator
from simulations.audits.privacy.joint_training import trained_together
from simulations.audits.privacy.membership_lira import Worlds
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject
from simulations.studies.consortium import site_of

EMBEDDING, CODE = "embedding", "code"
LEAST_PATIENTS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Who may have been trained on.

    Attributes:
        rows_N: Positions of their studies in the consortium, with image and report.
        patient_N: Number of each study's patient.
        sites: Hospital of each patient.
    """

    rows_N: NDArray[np.intp]
    patient_N: NDArray[np.intp]
    sites: tuple[str, ...]

    @property
    def num_patients(self) -> int:
        """How many."""
        return len(self.sites)


def pool_of(subject: Subject) -> Pool:
    """All patients of the hospitals that have a study with both halves.

    Raises:
        DataError: There are fewer than twenty.
    """
    records, roles = subject.consortium.records, subject.consortium.roles
    rows = [i for i, role in enumerate(roles) if role is not Role.PUBLIC and records[i].lacks is None]
    names, first, patient_N = np.unique([records[i].patient_id for i in rows], return_index=True, return_inverse=True)
    if len(names) < LEAST_PATIENTS:
        raise DataError(
            f"data: {len(names)} patients at the hospitals; who was trained on can be judged from {LEAST_PATIENTS} on"
        )
    sites = tuple(site_of(records[rows[i]]) for i in first)
    return Pool(rows_N=np.array(rows), patient_N=patient_N.astype(np.intp), sites=sites)


def drawn_worlds(
    pipeline: Pipeline, subject: Subject, *, num_worlds: int, watch: Callable[[int], None] = lambda _: None
) -> dict[str, Worlds]:
    """Worlds by what is seen of a patient: the agreement of own image and report as embeddings, and as codes.

    Args:
        pipeline: What trains.
        subject: On what; the coins follow from its seed.
        num_worlds: W.
        watch: Called with the number of worlds that are done.

    Raises:
        DataError: There are too few patients.
    """
    pool = pool_of(subject)
    member_WP = np.stack([_coins(subject, pool, world) for world in range(num_worlds)])
    seen = []
    for world, model in enumerate(_models(pipeline, subject, pool, member_WP), start=1):
        seen.append(statistics(model, subject, pool))
        watch(world)
    return {
        name: Worlds(statistic_WP=np.stack([one[name] for one in seen]), member_WP=member_WP)
        for name in (EMBEDDING, CODE)
    }


def _coins(subject: Subject, pool: Pool, world: int) -> NDArray[np.bool_]:
    coins_P = numpy_generator(subject.seed, "audit", "membership", world).random(pool.num_patients) < 0.5
    for site in set(pool.sites):  # a hospital without a patient could not take part; it keeps its first
        of_site_P = np.array(pool.sites) == site
        if not coins_P[of_site_P].any():
            coins_P[of_site_P.argmax()] = True
    return coins_P


def _models(pipeline: Pipeline, subject: Subject, pool: Pool, member_WP: NDArray[np.bool_]) -> Iterator[DualEncoder]:
    for member_P in member_WP:
        roles = list(subject.consortium.roles)
        for row, patient in zip(pool.rows_N, pool.patient_N, strict=True):
            roles[row] = Role.TRAIN if member_P[patient] else Role.TEST
        world = replace(subject.consortium, roles=tuple(roles))
        yield trained_together(pipeline, replace(subject, consortium=world))


def statistics(model: DualEncoder, subject: Subject, pool: Pool) -> dict[str, Array]:
    """What is seen of each patient at a model, `[P]`: means over the patient's studies."""
    rows = torch.from_numpy(pool.rows_N)
    image, report = embed_in_batches(model, subject.consortium.images[rows], subject.consortium.reports[rows])
    of_studies = {
        EMBEDDING: (image.embedding * report.embedding).sum(dim=-1),
        CODE: (image.code.sign() * report.code.sign()).mean(dim=-1),
    }
    counts_P = np.bincount(pool.patient_N)
    return {
        name: np.bincount(pool.patient_N, weights=value_N.double().numpy()) / counts_P
        for name, value_N in of_studies.items()
    }
