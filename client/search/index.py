"""A hospital's index, open for searching: codes in memory, checked there; handles and names are read when asked for.

Shapes: P bytes a code, M studies, N images, F found.
"""

from __future__ import annotations

from bisect import bisect_left
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from client.search.columns import REMEDY, StoredColumn
from client.search.generation import VERSION, Head, open_columns, read_head
from client.search.handles import handle_bytes
from client.search.traits import Filter
from common.errors import ConfigError, TrustError
from common.hashing.certificate import Certificate
from common.hashing.certified_search import surely_first
from common.hashing.codes import Codes, unpack
from common.retrieval.nearest import Nearest, all_within, nearest
from common.service.cores import usable_cores
from common.trust.keys import PublicKey

_IN_MEMORY = ("images", "reports", "image_studies")


class Gallery(StrEnum):
    """What a query is compared with."""

    IMAGES = "images"
    REPORTS = "reports"


@dataclass(frozen=True, slots=True)
class Hit:
    """A study that was found.

    Attributes:
        handle: What it is called here.
        distance: Hamming distance of the query's code to its nearest one in the gallery.
        certified: Whether it surely stays among the first k whatever befalls the query; None where that was not asked.
    """

    handle: str
    distance: int
    certified: bool | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchIndex:
    """An open index; `open` checks every byte of it. It stays what it was when another generation takes its place.

    Attributes:
        folder: Where it lies.
        head: What is signed of it.
        images: Codes `[N, P]`.
        reports: Codes `[M, P]`.
        image_studies: Number of the study of each image `[N]`.
        stored: The columns that stay on the disk.
    """

    folder: Path
    head: Head
    images: Codes
    reports: Codes
    image_studies: NDArray[np.uint32]
    stored: dict[str, StoredColumn]

    @classmethod
    def open(cls, folder: Path, *, key: PublicKey | None, model: str, bit_width: int) -> Self:
        """Open and check an index.

        Args:
            folder: The index.
            key: That of the hospital; None where it has none.
            model: Digest of the model that makes the queries.
            bit_width: Bits of its codes.

        Raises:
            ConfigError: There is no index.
            TrustError: A byte of it is not what was written, it is not signed with the key, or it was made by another
                model or has codes of another bit width.
        """
        head = read_head(folder, key=key)
        if head.version != VERSION:
            raise TrustError(
                f"{folder}: was made by an older wardround; run wardround site index, which reads the studies anew and "
                "keeps out what was withdrawn"
            )
        if (head.model, head.bit_width) != (model, bit_width):
            raise TrustError(
                f"{folder}: was made by model {head.model[:12]} of {head.bit_width} bits, and the queries come from "
                f"{model[:12]} of {bit_width} bits; run wardround site index with this model"
            )
        try:
            columns = open_columns(folder, head)
        except FileNotFoundError as error:
            if read_head(folder, key=key) != head:
                return cls.open(folder, key=key, model=model, bit_width=bit_width)
            raise TrustError(f"{error.filename}: is missing; {REMEDY}") from error
        in_memory = [columns.pop(name) for name in _IN_MEMORY]
        with ThreadPoolExecutor(usable_cores()) as pool:
            checks = [pool.submit(column.check) for column in columns.values()]
            loaded = list(pool.map(StoredColumn.loaded, in_memory))
            for check in checks:
                check.result()
        return cls(folder=folder, head=head, **dict(zip(_IN_MEMORY, loaded, strict=True)), stored=columns)

    @classmethod
    def open_as_made(cls, folder: Path, *, key: PublicKey | None) -> Self:
        """Open and check an index, whichever model made it; for who compares no code, or compares the model itself.

        Raises:
            ConfigError: There is no index.
            TrustError: A byte of it is not what was written, or it is not signed with the key.
        """
        head = read_head(folder, key=key)
        return cls.open(folder, key=key, model=head.model, bit_width=head.bit_width)

    def __len__(self) -> int:
        """Number of studies."""
        return len(self.reports)

    @property
    def is_current(self) -> bool:
        """Whether no other generation has taken its place; an index that is not is to be opened anew."""
        try:
            return read_head(self.folder, key=None).generation == self.head.generation
        except (ConfigError, TrustError):
            return False

    def search(
        self,
        query_P: Codes,
        *,
        gallery: Gallery,
        k: int,
        only: Filter | None = None,
        certificate: Certificate | None = None,
    ) -> tuple[Hit, ...]:
        """The k nearest studies, nearest first, and all that are as far as the k-th.

        A study of several images is as near as its nearest one. Studies of equal distance stand in the order of their
        handles, which says nothing of them.

        Args:
            query_P: A packed code of the index's model.
            gallery: Whether images or reports are compared with it.
            k: 1 or more.
            only: Which studies may be found.
            certificate: Of the query's code: each hit is then told to be certified or not
                (`common/hashing/certified_search.py`; of several images of a study each counts as a rival).

        Raises:
            TrustError: The query has another bit width, or the index cannot be read any more.
            ValueError: k is below 1, or the certificate is of another code.
        """
        if query_P.shape != (self.head.bit_width // 8,):
            raise TrustError(
                f"a query of {query_P.size * 8} bits does not fit an index of {self.head.bit_width} bits; "
                "make it with the index's model"
            )
        kept_M = None if only is None else only.mask(self.stored["traits"].whole())
        codes, owners = self._side(gallery)
        kept = kept_M if kept_M is None or owners is None else kept_M[owners]
        found = _studies(query_P, codes, owners, k, kept)
        if certificate is None:
            certified: list[bool | None] = [None] * len(found.rows_F)
        else:
            certified = _certified(query_P, codes, kept, certificate, found, k)
        handles = self.stored["handles"]
        studies = found.rows_F if owners is None else owners[found.rows_F]
        hits = zip(studies.tolist(), found.distances_F.tolist(), certified, strict=True)
        return tuple(Hit(handles.row(study).hex(), distance, surely) for study, distance, surely in hits)

    def study_of(self, handle: str) -> str:
        """The hospital's own identifier of a study: the reference to what can be shown of it.

        Raises:
            TrustError: It is no handle, or none of this index.
        """
        wanted, handles = handle_bytes(handle), self.stored["handles"]
        number = bisect_left(range(len(self)), wanted, key=handles.row)
        if number == len(self) or handles.row(number) != wanted:
            raise TrustError(f"{handle}: is no handle of this index; the study may have been withdrawn")
        name: bytes = self.stored["names"].row(number)
        return name.decode()

    def _side(self, gallery: Gallery) -> tuple[Codes, NDArray[np.uint32] | None]:
        """Codes of a gallery, and the study of each; None where the studies have one each, in their order."""
        return (self.reports, None) if gallery is Gallery.REPORTS else (self.images, self.image_studies)


def _studies(
    query_P: Codes,
    codes_NP: Codes,
    owners_N: NDArray[np.uint32] | None,
    k: int,
    kept_N: NDArray[np.bool_] | None,
) -> Nearest:
    """The nearest code of each of the k nearest studies, and of all that are as far as the k-th."""
    if owners_N is None:
        return nearest(query_P, codes_NP, k=k, kept_N=kept_N)
    depth = k
    while True:
        found = nearest(query_P, codes_NP, k=depth, kept_N=kept_N)
        first = np.sort(np.unique(owners_N[found.rows_F], return_index=True)[1])
        if len(first) >= k or len(found.rows_F) < depth:
            break
        depth *= 2
    # By distance, and then by study: images of equal distance lie in the order of their studies.
    distinct = Nearest(found.rows_F[first], found.distances_F[first])
    return distinct.within(int(distinct.distances_F[k - 1])) if len(first) >= k else distinct


def _certified(
    query_P: Codes,
    codes_NP: Codes,
    kept_N: NDArray[np.bool_] | None,
    certificate: Certificate,
    found: Nearest,
    k: int,
) -> list[bool | None]:
    if not np.array_equal(np.packbits(certificate.code), query_P):
        raise ValueError("the certificate is of another code than the query; search with the code that it certifies")
    if not len(found.rows_F):
        return []
    farthest = int(found.distances_F[-1]) + 2 * certificate.most_flips
    rivals = all_within(query_P, codes_NP, farthest, kept_N=kept_N)
    items_FK = unpack(codes_NP[found.rows_F]).astype(bool)
    return list(surely_first(k, certificate, items_FK, codes_NP[rivals.rows_F]).tolist())
