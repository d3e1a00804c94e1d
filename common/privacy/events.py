"""Privacy events: what was done to patients' data, as immutable values that a ledger can store.

Unit of privacy: the patient. Neighbouring relation: add or remove one patient. The accountant can state the same
events for replacing one patient too.

An event of impossible numbers cannot be built: a negative count of steps would pay back what was spent.
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

    def __post_init__(self) -> None:
        _refuse_impossible(self)


@dataclass(frozen=True, kw_only=True)
class TruncatedSampledGaussian:
    """As `SampledGaussian`, where a sample of more than `most_sampled` patients is cut down to as many.

    The ones to keep are drawn by a random order of the patients, or one fixed in public: whom a patient crowds out
    may not depend on what is known of anyone.

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

    def __post_init__(self) -> None:
        _refuse_impossible(self)


@dataclass(frozen=True, kw_only=True)
class DiscreteLaplace:
    """`releases` integers, or vectors, with discrete Laplace noise, of which one patient moves each by the sensitivity.

    Attributes:
        noise_scale: Scale of the noise over the sensitivity; one release spends epsilon 1 / `noise_scale`.
        releases: Number of integers, or of vectors whose values a patient moves by the sensitivity altogether.
    """

    noise_scale: float
    releases: int

    def __post_init__(self) -> None:
        _refuse_impossible(self)


TrainingEvent: TypeAlias = SampledGaussian | TruncatedSampledGaussian
Event: TypeAlias = TrainingEvent | DiscreteLaplace

_KINDS: dict[str, type[Event]] = {
    "sampled_gaussian": SampledGaussian,
    "truncated_sampled_gaussian": TruncatedSampledGaussian,
    "discrete_laplace": DiscreteLaplace,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}

_MOST = 2**30
"""No cohort, run or noise is larger. A damaged record that said so would cost the accountant all its memory."""


def event_as_json(event: Event) -> dict[str, Any]:
    """The event as a JSON object."""
    return {"event": _NAMES[type(event)], **asdict(event)}


def event_from_json(value: Mapping[str, Any]) -> Event:
    """The event that `event_as_json` wrote.

    Raises:
        LedgerError: The value is no event: another kind, a field too many, too few, of another type or out of range.
    """
    try:
        kind = _KINDS[value["event"]]
        given = {name: field for name, field in value.items() if name != "event"}
        types: dict[str, tuple[type, ...]] = {f.name: (int,) if f.type == "int" else (int, float) for f in fields(kind)}
        if given.keys() != types.keys() or any(type(given[name]) not in types[name] for name in types):
            raise LedgerError("a privacy event has other fields than its kind; the record is damaged or newer")
        numbers: dict[str, Any] = {name: n if types[name] == (int,) else float(n) for name, n in given.items()}
        return kind(**numbers)
    except (KeyError, TypeError, AttributeError) as error:
        raise LedgerError("a privacy event of an unknown kind; the record is damaged or newer") from error
    except (ValueError, OverflowError) as error:
        raise LedgerError(f"a privacy event that cannot be ({error}); the record is damaged") from error


def _refuse_impossible(event: Event) -> None:
    """Return where an event's numbers can be.

    Raises:
        ValueError: A number is negative, beyond any cohort or none, or a probability is above 1.
    """
    for name, number in asdict(event).items():
        if not 0 <= number <= (1 if name == "sampling_probability" else _MOST):
            raise ValueError(f"a privacy event's {name}={number} is out of range")
