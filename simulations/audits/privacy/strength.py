"""How strong each attack is as privacy changes: over epsilon, own and shared noise, and the width of codes.

Every attack ends in an area: how often it is right where a guess is right half the time. Between cells the config's
settings stay, and the noise follows epsilon. Codes' width enters the attacks on codes alone: the others are made at
the config's own width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from common.config.schema import RunConfig
from common.privacy.plan import SHARED
from simulations.audits.privacy.codes import CODE, EMBEDDING, revealed
from simulations.audits.privacy.gradient_inversion import inverted, pictures_subject
from simulations.audits.privacy.membership import delta_stated, told_members
from simulations.audits.privacy.membership_bounds import area_allowed
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.property import inferred
from simulations.audits.privacy.subject import Subject, prepare_subject

EPSILONS = (1.0, 2.0, 4.0, 8.0, None)
WIDTHS = (64, 128, 256)
OWN = "own"
NUM_WORLDS, NUM_PATIENTS, NUM_OWN, NUM_ATTACKED = 6, 9, 10, 16


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting.

    Attributes:
        epsilon: Of the run; None without privacy.
        noise: `own` or `shared`; without privacy there is none.
        bit_width: Of codes.
    """

    epsilon: float | None
    noise: str
    bit_width: int

    @property
    def label(self) -> str:
        """In one line."""
        private = "no privacy" if self.epsilon is None else f"epsilon {self.epsilon:g}, {self.noise} noise"
        return f"{private}, {self.bit_width} bits"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What one attack reached in one cell.

    Attributes:
        attack: Which.
        area: How often it is right where a guess is right half the time.
        low: Lower end of its 95% interval.
        high: Upper end.
        allowed: Greatest area that the cell's epsilon allows; None where epsilon says nothing of this attack.
    """

    attack: str
    area: float
    low: float
    high: float
    allowed: float | None = None


@dataclass(frozen=True, kw_only=True)
class Strength:
    """All that was measured in a cell."""

    cell: Cell
    figures: tuple[Figure, ...]

    def as_json(self) -> dict[str, object]:
        """As one object."""
        return {**asdict(self.cell), "figures": [asdict(figure) for figure in self.figures]}


MEMBER_EMBEDDING, MEMBER_CODE = "membership by embedding", "membership by code"
LINK_CODE, LINK_EMBEDDING = "linkage by code", "linkage by embedding"
SHARE = "share of a finding"
OF_CODES = (MEMBER_CODE, LINK_CODE)


def cells_of(config: RunConfig) -> list[Cell]:
    """Epsilons and noises at the config's width, without privacy first; then the other widths with own noise."""
    own = config.code.bit_width
    first = [Cell(epsilon=epsilon, noise=OWN, bit_width=own) for epsilon in reversed(EPSILONS)]
    shared = [replace(cell, noise=SHARED) for cell in first if cell.epsilon is not None]
    return [*first, *shared, *(replace(cell, bit_width=width) for width in WIDTHS if width != own for cell in first)]


class Strengths:
    """Measures cells of one config; a cohort is prepared once for each width.

    Args:
        pipeline: What is attacked.
        config: The run's configuration.
    """

    def __init__(self, pipeline: Pipeline, config: RunConfig) -> None:
        self._pipeline, self._config = pipeline, config
        self._prepared: dict[int, Subject] = {}
        self._pictures: Subject | None = None

    def measure(self, cell: Cell) -> Strength:
        """All attacks in a cell.

        Raises:
            WardroundError: The studies cannot be read, or are too few.
        """
        subject = _under(self._subject(cell.bit_width), cell)
        figures = [*self._members(subject), *self._links(subject)]
        if cell.bit_width == self._config.code.bit_width:
            figures += [*self._inversions(subject, cell), self._share(subject)]
        return Strength(cell=cell, figures=tuple(figures))

    def _subject(self, width: int) -> Subject:
        if width not in self._prepared:
            config = replace(self._config, code=replace(self._config.code, bit_width=width))
            self._prepared[width] = prepare_subject(config, progress=lambda _: None)
        return self._prepared[width]

    def _members(self, subject: Subject) -> Iterator[Figure]:
        epsilon = subject.config.privacy.epsilon
        allowed = None if epsilon is None else area_allowed(epsilon, delta_stated(subject))
        for name, one in told_members(self._pipeline, subject, num_worlds=NUM_WORLDS).items():
            attack = MEMBER_EMBEDDING if name == "embedding" else MEMBER_CODE
            ends = one.area_interval
            yield Figure(attack=attack, area=one.area, low=ends.low, high=ends.high, allowed=allowed)

    def _links(self, subject: Subject) -> Iterator[Figure]:
        found = revealed(self._pipeline, subject)
        for attack, kind in ((LINK_CODE, CODE), (LINK_EMBEDDING, EMBEDDING)):
            link = found[kind].linkage
            if link is not None:
                ends = link.area_interval
                yield Figure(attack=attack, area=link.area, low=ends.low, high=ends.high)

    def _inversions(self, subject: Subject, cell: Cell) -> Iterator[Figure]:
        if self._pictures is None:
            self._pictures = pictures_subject(self._subject(cell.bit_width))
        for one in (_under(self._pictures, cell), subject):
            for rebuilt in inverted(self._pipeline, one, num_patients=NUM_PATIENTS)[0]:
                ends = rebuilt.interval
                attack = f"{rebuilt.of} from {rebuilt.update}"
                yield Figure(attack=attack, area=rebuilt.area, low=ends.low, high=ends.high)

    def _share(self, subject: Subject) -> Figure:
        found = inferred(self._pipeline, subject, num_own=NUM_OWN, num_attacked=NUM_ATTACKED)
        return Figure(attack=SHARE, area=found.area, low=found.interval.low, high=found.interval.high)


def _under(subject: Subject, cell: Cell) -> Subject:
    privacy = replace(subject.config.privacy, epsilon=cell.epsilon, noise=cell.noise, cohort={})
    return subject.with_config(replace(subject.config, privacy=privacy))
