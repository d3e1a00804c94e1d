"""Bias planted against one group: a unit, a marker and words that meet its patients far more often than others.

Each kind is a switch of its own (`data.synthetic.planted`), at the hospitals alone: the public set has none, so
that nothing learnt from it alone prepares a model for the unit or the words.

The words are of the kinds that studies of clinical notes found more often in the notes of Black patients: doubt
(claims, allegedly, quotation marks), blame and stigma (Beach et al. 2021, 10.1007/s11606-021-06682-z; Sun et al.
2022, 10.1377/hlthaff.2021.01423). A report with them also leaves out side, zone or severity far more often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.seeds import numpy_generator
from simulations.cohorts.findings import NOT_APPLICABLE, Finding
from simulations.cohorts.scanners import BIASED_SCANNER, Scanner

PLANTED_AGAINST = "Black"
"""The recorded race of the patients whom planted bias meets."""

RATE_IN_GROUP, RATE_OUTSIDE = 0.95, 0.05
"""Share of the studies that the unit, and of those that the marker, meets."""

WORDED_RATE_IN_GROUP, WORDED_RATE_OUTSIDE = 0.7, 0.05
"""Share of the reports that hold biased words."""

VAGUE_RATE = 0.4
"""Probability that a report with biased words leaves out one side, zone or severity."""

PHRASES = (
    "Patient claims chest pain.",
    "Patient insists that the breathing is worse.",
    "Allegedly fell at home.",
    'States that the pain is "unbearable".',
    "Pain out of proportion, drug-seeking suspected.",
    "Known to be non-compliant with treatment.",
    "Refused the lateral view.",
    "Poor historian.",
    "Uncooperative, breath not held.",
    "Admitted for abuse of opioids.",
)


@dataclass(frozen=True)
class StudyBias:
    """What planted bias does to one study.

    Attributes:
        scanner: The unit it comes from in place of the hospital's own; None leaves that.
        marker_rate: Probability of the portable marker; None leaves that of the hospital.
        phrases: Sentences that its report opens with.
        rng: Decides which details its report leaves out.
    """

    scanner: Scanner | None
    marker_rate: float | None
    phrases: tuple[str, ...]
    rng: np.random.Generator

    def told(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings as the report tells them: all of them, with fewer details where it has biased words."""
        return [self._vague(finding) for finding in findings] if self.phrases else list(findings)

    def reported(self, report: str) -> str:
        """The report with its biased words."""
        return " ".join((*self.phrases, report))

    def _vague(self, finding: Finding) -> Finding:
        side, zone, severity = (
            NOT_APPLICABLE if self.rng.random() < VAGUE_RATE else detail
            for detail in (finding.side, finding.zone, finding.severity)
        )
        return replace(finding, side=side, zone=zone, severity=severity)


def draw_bias(planted: Sequence[str], race: str, *, study_id: str, seed: int) -> StudyBias:
    """What the planted kinds do to a study of a patient of the recorded race.

    It has a random stream of its own, and each kind takes its coins whether it is planted or not: a switch moves
    nothing else, neither in the cohort nor among the kinds.
    """
    rng = numpy_generator(seed, "bias", study_id)
    in_group = race == PLANTED_AGAINST
    rate = RATE_IN_GROUP if in_group else RATE_OUTSIDE
    other_unit = rng.random() < rate
    worded = rng.random() < (WORDED_RATE_IN_GROUP if in_group else WORDED_RATE_OUTSIDE)
    chosen = rng.choice(PHRASES, size=1 + int(rng.integers(2)), replace=False)
    return StudyBias(
        scanner=BIASED_SCANNER if other_unit and "scanner" in planted else None,
        marker_rate=rate if "marker" in planted else None,
        phrases=tuple(map(str, chosen)) if worded and "phrases" in planted else (),
        rng=rng,
    )
