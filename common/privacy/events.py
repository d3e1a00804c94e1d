"""Privacy events: what was done to patients' data, as immutable values that a ledger can store.

Unit of privacy: the patient. Neighbouring relation: add or remove one patient. The accountant can state the same
events for replacing one patient too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

from common.errors import LedgerError

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


@dataclass(frozen=True, kw_only=True)
class TruncatedSampledGaussian:
    """As `SampledGaussian`, where a sample of more than `most_sampled` patients is cut down to as many.

    Attributes:
        noise_multiplier: Standard deviation of the noise over the sensitivity.
        sampling_probability: Probability with which each patient joins a step, independently; public.
        steps: Number of releases.
        most_patients: Public upper bound on the patients of the cohort, the upper end of its band.
        most_sampled: Patients that a step reads at most; public.
    """

    noise_multiplier: float
    sampling_probability: float
    steps: int
    most_patients: int
    most_sampled: int


@dataclass(frozen=True, kw_only=True)
class DiscreteLaplace:
    """`releases` integers, each with discrete Laplace noise, of which one patient moves each by the sensitivity.

    Attributes:
        noise_scale: Scale of the noise over the sensitivity; one release spends epsilon 1 / `noise_scale`.
        releases: Number of integers.
    """

    noise_scale: float
    releases: int


Event: TypeAlias = SampledGaussian | TruncatedSampledGaussian | DiscreteLaplace

_KINDS: dict[str, type[Event]] = {
    "sampled_gaussian": SampledGaussian,
    "truncated_sampled_gaussian": TruncatedSampledGaussian,
    "discrete_laplace": DiscreteLaplace,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def event_as_json(event: Event) -> dict[str, Any]:
    """The event as a JSON object."""
    return {"event": _NAMES[type(event)], **asdict(event)}


def event_from_json(value: Mapping[str, Any]) -> Event:
    """The event that `event_as_json` wrote.

    Raises:
        LedgerError: The value is no event: another kind, a field too many, too few, or of another type.
    """
    try:
        kind = _KINDS[value["event"]]
        given = {name: field for name, field in value.items() if name != "event"}
        types: dict[str, tuple[type, ...]] = {f.name: (int,) if f.type == "int" else (int, float) for f in fields(kind)}
        if given.keys() != types.keys() or any(type(given[name]) not in types[name] for name in types):
            raise LedgerError("a privacy event has other fields than its kind; the record is damaged or newer")
        return kind(**{name: field if types[name] == (int,) else float(field) for name, field in given.items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise LedgerError("a privacy event of an unknown kind; the record is damaged or newer") from error
