"""Which studies are public anchors, which train and which test; never two sides of one patient.

A split is a mapping from split_group to `Role`: read from a file of fixed splits, or drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from client.data.rows import Row, Table, read_table
from common.config.registry import near
from common.errors import ConfigError, DataError
from common.seeds import derive_seed
from common.types import BadRow, StudyRecord

GROUP_COLUMN = "split_group"

PUBLIC_SITE = "public"
"""What stands in the site column of a study that is an anchor."""


class Role(StrEnum):
    """The side of a split on which a study stands."""

    PUBLIC = "public"
    """Anchors: on every site's disk, not protected."""
    TRAIN = "train"
    """A site's private studies."""
    TEST = "test"
    """A site's held-out studies."""


def split_names(path: Path) -> list[str]:
    """Names of the splits in a file of fixed splits.

    Raises:
        DataError: The file cannot be read.
    """
    return _names(read_table(path, required=[GROUP_COLUMN]))


def read_splits(path: Path, *, split: str) -> dict[str, Role]:
    """Roles of the groups in a file of fixed splits (`splits.csv`: split_group, then one column a split).

    Args:
        path: The file.
        split: The column.

    Raises:
        ConfigError: The file has no such column; the near names are given.
        DataError: The file cannot be read, a role is unknown, or a group is blank or stands twice.
    """
    table = read_table(path, required=[GROUP_COLUMN])
    names = _names(table)
    split = split.casefold()
    if split not in names:
        raise ConfigError(f"data.split={split}: {path} has no such split; {near(split, names)}")
    roles: dict[str, Role] = {}
    for row in table.rows:
        if isinstance(row, BadRow):
            raise DataError(f"{path}: line {row.row}: {row.reason}; correct the row")
        group, role = row.values[GROUP_COLUMN], row.values[split]
        if not group or group in roles:
            raise DataError(f"{path}: line {row.line}: split_group is blank or repeated; give each group one row")
        if role not in list(Role):
            raise DataError(f"{path}: line {row.line}: {split} is not one of {', '.join(Role)}; correct it")
        roles[group] = Role(role)
    return roles


def roles_by_patient(table: Table, *, patient: str, role_of: Callable[[Row], Role | None]) -> dict[str, Role]:
    """Roles of the patients of a published split: a table with one row an image.

    Args:
        table: The table.
        patient: The column that names the patient.
        role_of: The side that a row names; None for one that takes no part.

    Raises:
        DataError: A row does not fit the header, or a patient stands on two sides.
    """
    roles: dict[str, Role] = {}
    for row in table.rows:
        if isinstance(row, BadRow):
            raise DataError(f"{table.path}: line {row.row}: {row.reason}; correct the row")
        name, role = row.get(patient), role_of(row)
        if name and role is not None and roles.setdefault(name, role) is not role:
            raise DataError(f"{table.path}: line {row.line}: puts a patient on a second side; correct the row")
    return roles


def split_groups(
    records: Iterable[StudyRecord], *, seed: int, public_fraction: float, test_fraction: float
) -> dict[str, Role]:
    """Draw a split: whole units go to public, test or train, where a unit is all groups that share patients.

    Units are ranked by a digest of the seed and of their first group's name, and the ranking is cut. The
    split so depends on neither order nor number of rows, and a unit added later moves few of the others.

    Args:
        records: The studies of all sites.
        seed: The run's seed.
        public_fraction: Share of the units that are public, rounded, at least one unit where it is above 0.
        test_fraction: Share of the units that are held out, likewise.

    Raises:
        ConfigError: A fraction is negative, or the two leave nothing to train on.
        DataError: There are too few units for three sides.
    """
    if not (public_fraction >= 0 and test_fraction >= 0 and public_fraction + test_fraction < 1):
        raise ConfigError("data.public_fraction, data.test_fraction: must be 0 or more and sum to less than 1")
    units = _units(records)
    ranked = sorted(units, key=lambda unit: (derive_seed(seed, "split", unit[0]), unit[0]))
    num_public, num_test = (_share(fraction, len(units)) for fraction in (public_fraction, test_fraction))
    if num_public + num_test >= len(units):
        raise DataError(f"data.root: {len(units)} separate split groups are too few for three sides; add patients")
    num_train = len(units) - num_public - num_test
    roles = [Role.PUBLIC] * num_public + [Role.TEST] * num_test + [Role.TRAIN] * num_train
    return {group: role for unit, role in zip(ranked, roles, strict=True) for group in unit}


def draw_roles(
    records: Sequence[StudyRecord], *, seed: int, public_fraction: float, test_fraction: float
) -> dict[str, Role]:
    """As `split_groups`, but groups of `PUBLIC_SITE` are public, and where there are some, no other is.

    Raises:
        ConfigError: As `split_groups`.
        DataError: As `split_groups`.
    """
    public = {record.split_group for record in records if record.site == PUBLIC_SITE}
    drawn = split_groups(
        [record for record in records if record.split_group not in public],
        seed=seed,
        public_fraction=0.0 if public else public_fraction,
        test_fraction=test_fraction,
    )
    return drawn | dict.fromkeys(public, Role.PUBLIC)


def _names(table: Table) -> list[str]:
    return [name for name in table.columns if name != GROUP_COLUMN]


def _share(fraction: float, total: int) -> int:
    return max(1, round(fraction * total)) if fraction > 0 else 0


def _units(records: Iterable[StudyRecord]) -> list[list[str]]:
    """Groups that a chain of shared patients connects, sorted within each unit (union-find, path halving)."""
    parent: dict[str, str] = {}
    group_of_patient: dict[str, str] = {}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    for record in records:
        parent.setdefault(record.split_group, record.split_group)
        neighbour = group_of_patient.setdefault(record.patient_id, record.split_group)
        parent[root(record.split_group)] = root(neighbour)
    units: dict[str, list[str]] = {}
    for group in sorted(parent):
        units.setdefault(root(group), []).append(group)
    return list(units.values())
