"""Admission: what a reply must be before any rule sees it. A reply that is not is dropped and counted, never raised.

Checked in this order, with the reason that the report shows: the records (`malformed`, `size`), names, shapes and
types of the arrays (`keys`, `shape`, `dtype`), the releases (`mechanism`), finite numbers (`nan`), the norm (`norm`).

Shapes: P trained parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import AdmissionError
from common.privacy.events import SampledGaussian
from common.privacy.release import Mechanism
from common.wire.flower import UPDATE, Reply
from common.wire.update import ArrayPlan


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The rules of one run.

    Attributes:
        plan: Arrays that an update must have.
        event: Privacy event that an update must state; None in a run without privacy.
        max_norm: Greatest Euclidean norm of an update.
    """

    plan: ArrayPlan
    event: SampledGaussian | None
    max_norm: float

    def admit(self, reply: Reply, *, into_P: NDArray[np.float32]) -> None:
        """Check a reply and write its update into a row.

        Args:
            reply: Decoded reply; its arrays fit the plan.
            into_P: Row that receives the update; undefined where the reply is refused.

        Raises:
            AdmissionError: With the reason code.
        """
        if reply.update is None:
            raise AdmissionError("keys")
        mechanism = Mechanism.NOT_PRIVATE if self.event is None else Mechanism.PATIENT_DP_SGD
        stated = [(release.mechanism, release.event) for release in reply.releases if release.name == UPDATE]
        if stated != [(mechanism, self.event)]:
            raise AdmissionError("mechanism")
        self.plan.write_flat(reply.update, into_P)
        # One pass finds both: the square sum of a vector with NaN or infinity is not finite. Float64, so that
        # a finite vector never overflows.
        norm = float(np.sqrt(np.einsum("p,p->", into_P, into_P, dtype=np.float64)))
        if not np.isfinite(norm):
            raise AdmissionError("nan")
        if norm > self.max_norm:
            raise AdmissionError("norm")
