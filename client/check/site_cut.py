"""How a hospital's studies are cut into training, held-out and public ones: once, the same way for every run.

A run's seed would move patients between training and held-out, and those are two accounts of the ledger: so the cut is
the hospital's own `splits.csv`, or drawn with a seed that is always the same. `wardround site check` and the runs
themselves cut by this one function.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from client.data.published_split import fixed_roles
from client.data.splits import Role, draw_roles
from client.data.unpaired import UnpairedCount
from client.policy.site_schema import SiteData
from common.errors import ConfigError, DataError
from common.types import StudyRecord

SPLIT_SEED = 0


@dataclass(frozen=True, kw_only=True)
class SiteCut:
    """On which side each study of a hospital stands.

    Attributes:
        roles: The side of each split group; a study of another group takes no part.
        patients: The patients on each side, of those who have a study with both halves.
        lone: Patients of the training side who have unpaired studies alone: trained on where a run asks for it.
        num_on_two_sides: Patients with studies on more than one side.
        problems: Why the studies cannot be used as they are, each with its remedy; none where they can.
    """

    roles: Mapping[str, Role]
    patients: Mapping[Role, frozenset[str]]
    lone: frozenset[str]
    num_on_two_sides: int
    problems: tuple[str, ...]

    @property
    def most_trained(self) -> int:
        """Training patients of a run that trains on unpaired studies, too."""
        return len(self.patients[Role.TRAIN]) + len(self.lone)


def cut_site(
    data: SiteData, records: Sequence[StudyRecord], *, num_bad_rows: int, unpaired: UnpairedCount | None = None
) -> SiteCut:
    """The cut of a hospital's studies.

    Args:
        data: What its site.yaml says of them.
        records: Every study that can be read, whatever it lacks: its patient stays put when the report comes.
        num_bad_rows: Rows that cannot be read.
        unpaired: How many lack a half.
    """
    roles, fault = _roles(data, records)
    pairs = [record for record in records if record.lacks is None]
    patients, everybody = _patients_by_role(pairs, roles), _patients_by_role(records, roles)
    counts = Counter(patient for who in everybody.values() for patient in who)
    num_on_two_sides = sum(count > 1 for count in counts.values())
    bad_fraction = num_bad_rows / max(1, num_bad_rows + len(pairs))
    return SiteCut(
        roles=roles,
        patients=patients,
        lone=everybody[Role.TRAIN] - patients[Role.TRAIN],
        num_on_two_sides=num_on_two_sides,
        problems=tuple(_problems(data, patients, bad_fraction, fault, num_on_two_sides))
        if pairs
        else (_nothing(unpaired),),
    )


def _roles(data: SiteData, records: Sequence[StudyRecord]) -> tuple[Mapping[str, Role], str | None]:
    """The side of each split group, and why there are none."""
    try:
        if data.split:
            return fixed_roles(data.root, adapter=data.adapter, split=data.split), None
        drawn = draw_roles(records, seed=SPLIT_SEED, public_fraction=0.0, test_fraction=data.test_fraction)
    except (ConfigError, DataError) as error:
        return {}, str(error)
    return drawn, None


def _patients_by_role(records: Iterable[StudyRecord], roles: Mapping[str, Role]) -> dict[Role, frozenset[str]]:
    patients: dict[Role, set[str]] = {role: set() for role in Role}
    for record in records:
        if record.split_group in roles:
            patients[roles[record.split_group]].add(record.patient_id)
    return {role: frozenset(who) for role, who in patients.items()}


def _nothing(unpaired: UnpairedCount | None) -> str:
    return unpaired.only_problem if unpaired else "no study can be read; check data.adapter and data.root"


def _problems(
    data: SiteData,
    patients: Mapping[Role, frozenset[str]],
    bad_fraction: float,
    fault: str | None,
    num_on_two_sides: int,
) -> Iterator[str]:
    if bad_fraction > data.max_bad_fraction:
        yield (
            f"{bad_fraction:.1%} of the rows cannot be read, above data.max_bad_fraction={data.max_bad_fraction:g}; "
            "mend them, or raise it"
        )
    if fault is not None:
        yield fault
        return
    num_own = len(patients[Role.TRAIN] | patients[Role.TEST])
    if num_own < data.least_patients:
        yield f"{num_own} patients are fewer than data.least_patients={data.least_patients}; add some, or lower it"
    elif not patients[Role.TRAIN]:
        yield f"data.split={data.split}: leaves no training patients; choose another split"
    if num_on_two_sides:
        yield f"{num_on_two_sides} patients stand on two sides of data.split={data.split}; put each on one"
