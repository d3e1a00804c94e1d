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
from common.privacy.events import Event
from common.privacy.release import Mechanism
from common.wire.flower import UPDATE, Reply
from common.wire.update import ArrayPlan


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The rules of one run.

    Attributes:
        plan: Arrays that an update must have.
        max_norm: Greatest Euclidean norm of an update.
    """

    plan: ArrayPlan
    max_norm: float

    def admit(self, reply: Reply, *, event: Event | None, into_P: NDArray[np.float32]) -> None:
        """Check a reply and write its update into a row.

        Args:
            reply: Decoded reply; its arrays fit the plan.
            event: Privacy event that the site's update must state; None in a run without privacy.
            into_P: Row that receives the update; undefined where the reply is refused.

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
        # One fast pass admits: NaN or infinity anywhere makes the norm not finite. So does overflow of float32, far
        # above any limit; only a refused update is looked at again, to name the reason.
        with np.errstate(over="ignore"):
            norm = float(np.linalg.norm(into_P))
        if not (np.isfinite(norm) and norm <= self.max_norm):
            raise AdmissionError("norm" if np.isfinite(into_P).all() else "nan")
