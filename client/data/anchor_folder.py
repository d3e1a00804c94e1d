"""The public anchors as they lie on a disk: read without looking at any other study, and named, not encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from client.data.identity import anchors_digest, content_of
from client.data.interface import Adapter
from client.data.published_split import fixed_roles
from client.data.registry import ADAPTERS
from client.data.rows import DEFAULT_SITE_COLUMN
from client.data.splits import PUBLIC_SITE, Role
from common.errors import DataError
from common.types import Study, StudyRecord


@dataclass(frozen=True, kw_only=True)
class AnchorFolder:
    """Where public studies lie, perhaps among others.

    Attributes:
        root: The folder.
        adapter: Its layout.
        alone: Whether it is the public studies' own folder: then all of them are public where nothing says which are,
            neither a split nor a study's site. Never for a folder of a hospital's own studies.
        split: Column of `splits.csv` in the folder that says which studies are public; "" goes by `site_column`.
        site_column: Column that names the site; an anchor's is `PUBLIC_SITE`.
        allow_burned_in: Whether DICOM images that declare burned-in annotation are read.
    """

    root: Path
    adapter: str
    alone: bool = False
    split: str = ""
    site_column: str = DEFAULT_SITE_COLUMN
    allow_burned_in: bool = False

    def studies(self) -> Iterator[Study]:
        """The public studies in the order of the folder; at least one.

        Others are skipped as they come, and so are unpaired ones, which no study can be compared with. Rows that cannot
        be read are skipped too, for whether they are public is not known.

        Raises:
            ConfigError: The layout or the split is unknown.
            DataError: The folder cannot be read, or holds no public study.
        """
        is_public, is_empty = self._test(), True
        for item in self._adapter().studies():
            if isinstance(item, Study) and is_public(item.record):
                is_empty = False
                yield item
        if is_empty:
            raise DataError(
                f"{self.root}: holds no public study; write {PUBLIC_SITE} into the column {self.site_column}, or name "
                "the column of splits.csv that says which are"
            )

    def num_studies(self) -> int:
        """How many public studies the folder lists, without decoding an image.

        Raises:
            ConfigError: The layout or the split is unknown.
            DataError: The folder cannot be read.
        """
        is_public = self._test()
        return sum(isinstance(item, StudyRecord) and is_public(item) for item in self._adapter().records())

    def _adapter(self) -> Adapter:
        return ADAPTERS.load(self.adapter)(
            self.root, allow_burned_in=self.allow_burned_in, site_column=self.site_column
        )

    def _test(self) -> Callable[[StudyRecord], bool]:
        if not self.split and self.alone and not self._names_sites():
            return lambda record: record.site is None
        return public_test(self.root, adapter=self.adapter, split=self.split)

    def _names_sites(self) -> bool:
        return any(isinstance(item, StudyRecord) and item.site is not None for item in self._adapter().records())


def public_test(root: Path, *, adapter: str, split: str) -> Callable[[StudyRecord], bool]:
    """What says of a study whether it is public: its side of a split, or its site where `split` is "".

    Raises:
        ConfigError: The layout or the split is unknown.
        DataError: The split cannot be read.
    """
    if not split:
        return lambda record: record.site == PUBLIC_SITE
    roles = fixed_roles(root, adapter=adapter, split=split)
    return lambda record: roles.get(record.split_group) is Role.PUBLIC


def digest_of_anchors(folder: AnchorFolder) -> str:
    """What the public studies in a folder are called in a run, without encoding them.

    Raises:
        ConfigError: The layout or the split is unknown.
        DataError: The folder cannot be read, or holds no public study.
    """
    return anchors_digest(content_of(study) for study in folder.studies())
