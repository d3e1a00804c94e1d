"""The studies of an index in memory, while it is written: added, replaced, withdrawn.

Studies stand in the order of their handles, and the codes of their images in the order of the studies. So the same
studies give the same columns and the same root, whatever was added and withdrawn on the way: nothing of a withdrawn
study is left, not even where it stood.

Shapes: M studies, N images, P bytes a code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from client.search.handles import HANDLE_BYTES
from client.search.traits import TRAITS
from common.hashing.codes import Codes

HANDLE = np.dtype(f"S{HANDLE_BYTES}")
IMAGE_STUDY = np.dtype("<u4")
"""Number of a study, as the codes of images have it beside them."""

Handles = NDArray[np.bytes_]


@dataclass(frozen=True, kw_only=True, eq=False)
class IndexedStudies:
    """Studies and their codes; a field is a column of the index, under the same name.

    Attributes:
        handles: Of the studies `[M]`, ascending, none twice.
        patients: What their patients are called `[M]`.
        contents: What they held when they were encoded `[M]`.
        names: Their identifiers at the hospital `[M]`, the reference to what is shown of them.
        traits: What a search can be narrowed by `[M]`.
        reports: Codes of their reports `[M, P]`.
        images: Codes of their images `[N, P]`, each study's main one first.
        image_studies: Number of the study of each image `[N]`, ascending.
    """

    handles: Handles
    patients: Handles
    contents: Handles
    names: NDArray[np.bytes_]
    traits: NDArray[Any]
    reports: Codes
    images: Codes
    image_studies: NDArray[np.uint32]

    @classmethod
    def none(cls, bit_width: int) -> Self:
        """No study."""
        codes = np.empty((0, bit_width // 8), np.uint8)
        handles = np.empty(0, HANDLE)
        return cls(
            handles=handles,
            patients=handles,
            contents=handles,
            names=np.empty(0, "S1"),
            traits=np.empty(0, TRAITS),
            reports=codes,
            images=codes,
            image_studies=np.empty(0, IMAGE_STUDY),
        )

    def __len__(self) -> int:
        return len(self.handles)

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Every column by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def with_others(self, others: IndexedStudies) -> Self:
        """These and others; a study that is in both is the other one."""
        mine = self.among(~np.isin(self.handles, others.handles))
        both = {
            name: np.concatenate([column, others.columns[name]])
            for name, column in mine.columns.items()
            if name != "image_studies"
        }
        image_studies = np.concatenate([mine.image_studies, others.image_studies + IMAGE_STUDY.type(len(mine))])
        return type(self)(**both, image_studies=image_studies).in_order()

    def among(self, kept_M: NDArray[np.bool_]) -> Self:
        """Some of them."""
        kept_N = kept_M[self.image_studies]
        new_numbers = np.cumsum(kept_M) - 1
        return type(self)(
            **{name: column[kept_M] for name, column in self.columns.items() if not name.startswith("image")},
            images=self.images[kept_N],
            image_studies=new_numbers[self.image_studies[kept_N]].astype(IMAGE_STUDY),
        )

    def without(self, withdrawn: Handles) -> Self:
        """Those of which neither study nor patient is among the withdrawn."""
        return self.among(~(np.isin(self.handles, withdrawn) | np.isin(self.patients, withdrawn)))

    def in_order(self) -> Self:
        """The same, in the order of the handles."""
        order_M = np.argsort(self.handles, kind="stable")
        number_M = np.empty(len(order_M), IMAGE_STUDY)
        number_M[order_M] = np.arange(len(order_M), dtype=IMAGE_STUDY)
        studies_N = number_M[self.image_studies]
        order_N = np.argsort(studies_N, kind="stable")
        return type(self)(
            **{name: column[order_M] for name, column in self.columns.items() if not name.startswith("image")},
            images=self.images[order_N],
            image_studies=studies_N[order_N],
        )
