"""The studies of one folder, handed out to hospitals: each gets a folder of its own, and so do the public ones.

    public/          manifest.csv, images/
    SITE/studies/    the same, of each hospital

A study goes with its first image, as it was decoded. A hospital keeps its name where that may stand in a certificate;
else it is called by the nearest name that may: "St. Mary's" becomes "st-mary-s".
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PillowImage

from client.data.anchor_folder import public_test
from client.data.folder import StudyFolder
from client.data.manifest import OPTIONAL, REQUIRED
from client.data.patients import EXACT
from client.data.rows import DEFAULT_SITE_COLUMN
from client.data.splits import PUBLIC_SITE
from common.errors import DataError
from common.trust.names import NAME_RULE, is_name, nearest_name
from common.types import BadRow, Image, Study, StudyRecord, Unpaired
from simulations.deployment.folders import PUBLIC, RESERVED, studies_of

_COLUMNS = (*REQUIRED, *(column for column in OPTIONAL if column != DEFAULT_SITE_COLUMN))
"""The folder is the hospital."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the studies of all hospitals lie.

    Attributes:
        root: The folder.
        adapter: Its layout.
        split: Column of its `splits.csv` that says which studies are public; "" goes by the site.
        site_column: Column that names the hospital, and `PUBLIC_SITE` for a public study where there is no split.
    """

    root: Path
    adapter: str = "manifest"
    split: str = ""
    site_column: str = DEFAULT_SITE_COLUMN

    @property
    def folder(self) -> StudyFolder:
        """Its studies."""
        return StudyFolder(
            root=self.root,
            adapter=self.adapter,
            site_column=self.site_column,
            allow_burned_in=False,
            pixel_bits=0,
            same_patients=EXACT,
        )

    def is_public(self) -> Callable[[StudyRecord], bool]:
        """As `public_test`."""
        return public_test(self.root, adapter=self.adapter, split=self.split)


@dataclass(frozen=True)
class Shares:
    """Who gets what of a source.

    Attributes:
        source: It.
        names: A hospital's name in the source to that in the deployment.
    """

    source: Source
    names: Mapping[str, str]

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the hospitals in the deployment, sorted."""
        return tuple(sorted(self.names.values()))

    def hand_out(self, folder: Path) -> tuple[BadRow, ...]:
        """Write the folders; what of the source could not be read, and so went to nobody.

        Raises:
            DataError: The source cannot be read any more.
        """
        is_public, bad_rows = self.source.is_public(), []
        with ExitStack() as opened:

            def manifest_in(root: Path) -> _Manifest:
                return opened.enter_context(closing(_Manifest(root)))

            public = manifest_in(folder / PUBLIC)
            own = {site: manifest_in(studies_of(folder, name)) for site, name in self.names.items()}
            for item in self.source.folder.studies():
                if isinstance(item, BadRow):
                    bad_rows.append(item)
                elif is_public(item.record):
                    public.add(item)
                elif item.record.site is not None:
                    own[item.record.site].add(item)
        return tuple(bad_rows)


def shares_of(source: Source) -> Shares:
    """Who gets what, by the source's list alone: no image is decoded.

    Raises:
        ConfigError: The layout or the split is unknown.
        DataError: The source cannot be read, holds no public study, one of no hospital, or a hospital that can have no
            name in a deployment.
    """
    is_public, sites, num_public = source.is_public(), set(), 0
    for item in source.folder.records():
        if isinstance(item, BadRow):
            continue
        record = item if isinstance(item, StudyRecord) else item.record
        if is_public(record):
            num_public += 1
        elif record.site is None:
            raise DataError(
                f"{source.root}: a study names no hospital; fill in the column {source.site_column}, or name another"
            )
        else:
            sites.add(record.site)
    if not num_public:
        raise DataError(
            f"{source.root}: holds no public study; write {PUBLIC_SITE} into the column {source.site_column}, or name "
            "the column of splits.csv that says which are"
        )
    return Shares(source, _names(sorted(sites), source))


def _names(sites: Sequence[str], source: Source) -> dict[str, str]:
    found: dict[str, str] = {}
    for site in sites:
        name = site if is_name(site) else nearest_name(site)
        if not is_name(name) or name in RESERVED or name in found.values():
            raise DataError(
                f"{source.root}: column {source.site_column}: {site!r} cannot be a hospital's name: here it would be "
                f"{name!r}, which is another's or none; call it otherwise ({NAME_RULE})"
            )
        found[site] = name
    return found


class _Manifest:
    """A folder in the layout `manifest`, study by study."""

    def __init__(self, root: Path) -> None:
        self._root, self._number = root, 0
        (root / "images").mkdir(parents=True)
        self._file = (root / "manifest.csv").open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerow(_COLUMNS)

    def close(self) -> None:
        """No more will come."""
        self._file.close()

    def add(self, study: Study | Unpaired) -> None:
        """Write a study and its first image, where it has one."""
        record, images = study.record, (study.image,) if isinstance(study, Study) else study.images[:1]
        values = {
            **{column: getattr(record, column, None) for column in _COLUMNS},
            "image_path": self._written(images[0]) if images else None,
            "findings": ";".join(record.findings),
        }
        self._rows.writerow(["" if value is None else value for value in values.values()])

    def _written(self, image: Image) -> str:
        self._number += 1
        path = f"images/{self._number}.png"
        PillowImage.fromarray(image).save(self._root / path, compress_level=1)
        return path
