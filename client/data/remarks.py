"""What was noticed of a folder's table: nothing that stops a run, all worth a look; counts and words, no value."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from client.data.patients import num_alike
from client.data.splits import Role
from common.types import StudyRecord


@dataclass(frozen=True, kw_only=True)
class Remarks:
    """What was noticed.

    Attributes:
        written: How the table is written: what stands between its fields, and its encoding.
        num_unread: Studies whose optional field, by its name, held something that was not understood.
        num_alike: Pairs of patients' identifiers that differ in case, width, white space or leading zeros alone.
        num_shared_across: Reports that patients of the training side share, word by word, with others of the held-out.
    """

    written: str
    num_unread: Mapping[str, int]
    num_alike: int
    num_shared_across: int

    def sentences(self) -> list[str]:
        """The remarks for people, each with its remedy."""
        found = [f"The table is written with {self.written}."]
        found += [
            f"{count:,} values of {name} were not understood and count as unknown; the studies are kept."
            for name, count in self.num_unread.items()
        ]
        if self.num_alike:
            found.append(
                f"{self.num_alike:,} pairs of patient identifiers differ only in case, width, white space or leading "
                "zeros; where they are the same patients, set data.same_patients=folded, or each is protected half."
            )
        if self.num_shared_across:
            found.append(
                f"{self.num_shared_across:,} reports stand, word by word, under different patients on both sides of "
                "the cut; where those are one patient, give their studies one patient_id or one split_group."
            )
        return found


def remarks_on(records: Iterable[StudyRecord], roles: Mapping[str, Role], *, written: str) -> Remarks:
    """Look at the records of a folder.

    Args:
        records: Of the studies that can be read.
        roles: The side of each split group.
        written: How the table is written.
    """
    records = list(records)
    unread = Counter(name for record in records for name in record.unread)
    sides: dict[str, dict[Role, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        if record.report and (role := roles.get(record.split_group)) is not None:
            sides[record.report][role].add(record.patient_id)
    return Remarks(
        written=written,
        num_unread=dict(sorted(unread.items())),
        num_alike=num_alike(record.patient_id for record in records),
        num_shared_across=sum(_is_across(found) for found in sides.values()),
    )


def _is_across(patients: Mapping[Role, set[str]]) -> bool:
    train, test = patients.get(Role.TRAIN, set()), patients.get(Role.TEST, set())
    return bool(train and test) and len(train | test) > 1
