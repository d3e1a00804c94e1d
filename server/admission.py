"""Admission: what a reply must be before any rule sees it. A reply that is not is dropped and counted, never raised.

Checked in this order, with the reason that the report shows:

1. On the wire (`common/wire/flower.py`): the names of the records and arrays (`keys`), bytes (`size`), the form of
   each record (`malformed`), the arrays' shapes and types (`shape`, `dtype`).
2. Where it comes from: the site that was asked (`identity`), this round of this run (`round`).
3. What it measured: the form (`malformed`) and how it was made (`mechanism`).
4. The update: that there is one (`keys`), how it was made (`mechanism`), finite numbers (`nan`), the norm (`norm`), and
   that it is not one which this site sent before (`replay`).

What a site claims of itself beside this is not used: its weight comes from its band alone (`server/weights.py`).

Shapes: P trained parameters.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.config.schema import RunConfig
from common.errors import AdmissionError, ConfigError
from common.fairness.table import table_of
from common.privacy import held_out
from common.privacy.events import Event
from common.privacy.plan import pair_law
from common.privacy.release import Mechanism
from common.wire.flower import GROUPS, STATISTICS, UPDATE, Reply, Task
from common.wire.update import ArrayPlan, checked_norm
from server.replay import fingerprint_of
from server.statistics import check_statistics

_MOST_COUNT = 2.0**40
"""No noised count of a hospital's patients is larger."""


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The rules of one run.

    Attributes:
        plan: Arrays that an update must have, all float32: whole numbers have no place in a distance.
        max_norm: Greatest Euclidean norm of an update.
        statistics_by: How the statistics of a reply must have been made.
        groups_by: How its counts by group must have been made; None where a run tells none.
        num_group_counts: How many they are.
    """

    plan: ArrayPlan
    max_norm: float
    statistics_by: Mechanism
    groups_by: Mechanism | None = None
    num_group_counts: int = 0

    @classmethod
    def of(cls, config: RunConfig, plan: ArrayPlan) -> Admission:
        """The rules of a configuration.

        Args:
            config: The run's configuration.
            plan: Arrays of an update.
        """
        counts, groups, law = held_out.noise_of(config), held_out.group_noise_of(config), pair_law(config)
        return cls(
            plan=plan,
            max_norm=config.federation.max_update_norm * (law.growth if law is not None else 1.0),
            statistics_by=Mechanism.NOT_PRIVATE if counts is None else counts.mechanism,
            groups_by=groups.mechanism if groups is not None else None,
            num_group_counts=table_of(config.fairness).num_counts if groups is not None else 0,
        )

    def __post_init__(self) -> None:
        for name, (_, dtype) in self.plan.arrays.items():
            if dtype != "float32":
                raise ConfigError(f"array {name} is {dtype}: only float32 is trained; choose other encoder.trainable")

    def check_reply(self, reply: Reply, *, site: str, task: Task) -> None:
        """Check what does not concern the update: nothing of a reply is used before.

        Args:
            reply: Decoded reply; its arrays fit the plan.
            site: Who was asked.
            task: What it was asked.

        Raises:
            AdmissionError: With the reason code.
        """
        if reply.site != site:
            raise AdmissionError("identity")
        if (reply.round_number, reply.run) != (task.round_number, task.config_digest):
            raise AdmissionError("round")
        # Figures are marked in the report by the run's config, so they must have been made as it says.
        if reply.statistics is not None:
            check_statistics(reply.statistics)
            _check_mechanism(reply, STATISTICS, self.statistics_by)
        if reply.groups is not None:
            if len(reply.groups) != self.num_group_counts or max(map(abs, reply.groups), default=0) > _MOST_COUNT:
                raise AdmissionError("malformed")
            _check_mechanism(reply, GROUPS, self.groups_by)

    def admit(
        self, reply: Reply, *, event: Event | None, earlier: Collection[str], into_P: NDArray[np.float32]
    ) -> str | None:
        """Check a reply's update and write it into a row.

        Args:
            reply: Reply that `check_reply` passed.
            event: Privacy event that the site's update must state; None in a run without privacy.
            earlier: Fingerprints of the site's updates that moved the model before.
            into_P: Row that receives the update; undefined where the reply is refused.

        Returns:
            The update's fingerprint; None where it is zero, which may come as often as it likes.

        Raises:
            AdmissionError: With the reason code.
        """
        if reply.update is None:
            raise AdmissionError("keys")
        mechanism = Mechanism.NOT_PRIVATE if event is None else Mechanism.PATIENT_DP_SGD
        stated = [(release.mechanism, release.event) for release in reply.releases if release.name == UPDATE]
        if stated != [(mechanism, event)]:
            raise AdmissionError("mechanism")
        self.plan.write_flat(reply.update, into_P)
        norm = checked_norm(into_P, max_norm=self.max_norm)
        if not norm and not into_P.any():
            return None
        fingerprint = fingerprint_of(into_P)
        if fingerprint in earlier:
            raise AdmissionError("replay")
        return fingerprint


def _check_mechanism(reply: Reply, name: str, mechanism: Mechanism | None) -> None:
    if [release.mechanism for release in reply.releases if release.name == name] != [mechanism]:
        raise AdmissionError("mechanism")
