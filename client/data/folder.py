"""A folder of studies as a hospital's or a run's configuration names it: the one way to its studies."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from client.data.interface import Adapter
from client.data.patients import with_patients
from client.data.registry import ADAPTERS
from common.types import BadRow, Study, StudyRecord, Unpaired

T = TypeVar("T", bound=Study | Unpaired | BadRow)


@dataclass(frozen=True, kw_only=True)
class StudyFolder:
    """Where studies lie, and how they are read.

    Each method raises `ConfigError` where the layout is unknown, and `DataError` where the folder cannot be read.

    Attributes:
        root: The folder.
        adapter: Its layout.
        site_column: Column that names the site.
        allow_burned_in: Whether DICOM images that declare burned-in annotation are read.
        pixel_bits: Bits of a grey value in picture files of more than eight; 0 where that is not declared.
        same_patients: Whether identifiers of patients that are alike are one patient's (`client/data/patients.py`).
    """

    root: Path
    adapter: str
    site_column: str
    allow_burned_in: bool
    pixel_bits: int
    same_patients: str

    def written(self) -> str:
        """How its table is written, for people."""
        return self._adapter().written()

    def records(self) -> Iterator[StudyRecord | Unpaired | BadRow]:
        """As `Adapter.records`."""
        for item in self._adapter().records():
            yield self._with_patients(item) if isinstance(item, StudyRecord) else self._of_patient(item)

    def studies(self) -> Iterator[Study | Unpaired | BadRow]:
        """As `Adapter.studies`."""
        return (self._of_patient(item) for item in self._adapter().studies())

    def named(self, study_ids: Set[str]) -> Iterator[Study | Unpaired | BadRow]:
        """As `Adapter.named`."""
        return (self._of_patient(item) for item in self._adapter().named(study_ids))

    def _of_patient(self, item: T) -> T:
        """The same under its patient's identifier, where it has one."""
        if isinstance(item, Study | Unpaired):
            return replace(item, record=self._with_patients(item.record))
        return item

    def _with_patients(self, record: StudyRecord) -> StudyRecord:
        return with_patients(record, same_patients=self.same_patients)

    def _adapter(self) -> Adapter:
        return ADAPTERS.load(self.adapter)(
            self.root,
            allow_burned_in=self.allow_burned_in,
            site_column=self.site_column,
            pixel_bits=self.pixel_bits,
        )
