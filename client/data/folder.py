"""A folder of studies as a hospital's or a run's configuration names it: the one way to its studies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from client.data.interface import Adapter
from client.data.patients import with_patients
from client.data.registry import ADAPTERS
from common.types import BadRow, Study, StudyRecord


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

    def records(self) -> Iterator[StudyRecord | BadRow]:
        """As `Adapter.records`."""
        for item in self._adapter().records():
            yield item if isinstance(item, BadRow) else with_patients(item, same_patients=self.same_patients)

    def studies(self) -> Iterator[Study | BadRow]:
        """As `Adapter.studies`."""
        for item in self._adapter().studies():
            if isinstance(item, BadRow):
                yield item
            else:
                yield replace(item, record=with_patients(item.record, same_patients=self.same_patients))

    def _adapter(self) -> Adapter:
        return ADAPTERS.load(self.adapter)(
            self.root,
            allow_burned_in=self.allow_burned_in,
            site_column=self.site_column,
            pixel_bits=self.pixel_bits,
        )
