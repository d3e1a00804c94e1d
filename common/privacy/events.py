"""Privacy events: what was done to patients' data, as immutable values that a ledger can store.

Unit of privacy: the patient. Neighbouring relation: add or remove one patient.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

UNIT_OF_PRIVACY = "patient"
NEIGHBORING_RELATION = "add_or_remove_one"


@dataclass(frozen=True, kw_only=True)
class SampledGaussian:
    """`steps` releases of a Gaussian mechanism, each on a Poisson sample of the patients.

    Attributes:
        noise_multiplier: Standard deviation of the noise over the sensitivity.
        sampling_probability: Probability with which each patient joins a step, independently; public.
        steps: Number of releases.
    """

    noise_multiplier: float
    sampling_probability: float
    steps: int

    def as_json(self) -> dict[str, Any]:
        """The event as a JSON object."""
        return {"event": "sampled_gaussian", **asdict(self)}
