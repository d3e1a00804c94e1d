"""The data adapters by name (`data.adapter`); a synthetic cohort is a folder that `manifest` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from client.data.interface import Adapter
from client.data.rows import DEFAULT_SITE_COLUMN
from common.config.registry import Registry


class AdapterFactory(Protocol):
    """Makes the adapter of one layout for one folder; the folder is first touched by `studies()`."""

    def __call__(
        self, root: Path, *, allow_burned_in: bool, site_column: str = DEFAULT_SITE_COLUMN, pixel_bits: int = 0
    ) -> Adapter:
        """The adapter.

        Args:
            root: The data folder.
            allow_burned_in: Whether images that declare burned-in annotation are read.
            site_column: Column that names the site.
            pixel_bits: Bits of a grey value in picture files of more than eight; 0 where that is not declared.
        """
        ...


ADAPTERS: Registry[AdapterFactory] = Registry(
    "data.adapter",
    {
        "chexpert": "client.data.chexpert:chexpert",
        "dicom": "client.data.dicom:dicom",
        "manifest": "client.data.manifest:manifest",
        "medpix2": "client.data.medpix2:medpix2",
        "mimic_cxr": "client.data.mimic_cxr:mimic_cxr",
        "nih_cxr14": "client.data.nih_cxr14:nih_cxr14",
        "open_i": "client.data.open_i:open_i",
        "padchest": "client.data.padchest:padchest",
    },
)
