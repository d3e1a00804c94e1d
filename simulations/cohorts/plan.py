"""What a cohort is drawn from: its size, how different its sites are, its confounder and its seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from common.config.ranges import CHOICES
from common.config.registry import near
from common.errors import ConfigError

PUBLIC = "public"
"""The `site` of the studies that every site may hold."""

PLANTED_KINDS = CHOICES["data.synthetic.planted"]

SITE_NAMES = ("northgate", "riverside", "st-marys", "hillview", "harbour")


@dataclass(frozen=True, kw_only=True)
class CohortPlan:
    """Everything that decides the bytes of a cohort.

    Attributes:
        num_sites: Hospitals.
        patients_per_site: Patients of each hospital; a patient has one to four studies.
        public_patients: Patients of the public set; 0 leaves it out.
        image_size: Pixels of an image's side.
        site_shift: 0, every hospital alike, to 1, each with its own scanners, patients and house style.
        confounder: Whether a marker follows one finding at every other site.
        seed: The run's seed.
        planted: Kinds of bias against one group of patients, of `PLANTED_KINDS`.
        unpaired: Share of the reports that are missing, at every second site beginning with the first.

    Raises:
        ConfigError: A value is out of range; the key, the value and the range are named.
    """

    num_sites: int
    patients_per_site: int
    public_patients: int
    image_size: int
    site_shift: float
    confounder: bool
    seed: int
    planted: tuple[str, ...] = ()
    unpaired: float = 0.0

    def __post_init__(self) -> None:
        _check_range("num_sites", self.num_sites, least=1, most=1_000)
        _check_range("patients_per_site", self.patients_per_site, least=1, most=1_000_000)
        _check_range("public_patients", self.public_patients, least=0, most=1_000_000)
        _check_range("image_size", self.image_size, least=32, most=1_024)
        _check_range("site_shift", self.site_shift, least=0.0, most=1.0)
        _check_range("unpaired", self.unpaired, least=0.0, most=0.95)
        for kind in self.planted:
            if kind not in PLANTED_KINDS:
                raise ConfigError(f"data.synthetic.planted={kind}: unknown; {near(kind, list(PLANTED_KINDS))}")

    @property
    def description(self) -> dict[str, Any]:
        """The plan as JSON; what came later is left out where it asks for nothing, as in a cohort drawn before."""
        described = asdict(self) | {"planted": sorted(set(self.planted))}
        return {key: value for key, value in described.items() if value or key not in {"planted", "unpaired"}}

    @property
    def site_names(self) -> tuple[str, ...]:
        """Names of the hospitals, the same first ones for any `num_sites`."""
        return tuple(site_name(position) for position in range(self.num_sites))

    @property
    def num_patients(self) -> int:
        """Patients of all hospitals and of the public set."""
        return self.num_sites * self.patients_per_site + self.public_patients


def site_name(position: int) -> str:
    """Name of the hospital at a position counted from 0: `northgate`, ..., `harbour`, `site-06`, ..."""
    return SITE_NAMES[position] if position < len(SITE_NAMES) else f"site-{position + 1:02d}"


def _check_range(field: str, value: float, *, least: float, most: float) -> None:
    if not least <= value <= most:  # NaN fails too
        raise ConfigError(f"data.synthetic.{field}={value}: must be between {least} and {most}")
