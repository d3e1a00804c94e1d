"""A hospital's index, made to hold what its folder holds: studies that are new or changed are encoded, others go.

The studies are read as every run reads them. The consortium's public studies, where they lie among the hospital's own,
are left out; so is what was withdrawn, study or patient, for as long as the index lives.

A part that is encoded is written before the next: a process that is killed loses `STUDIES_A_PART` studies at most, and
the next one goes on. Until the end the head says that the index is not whole (`Head.source`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import PIL.Image

from client.data.features import in_batches
from client.data.identity import image_digest, report_digest
from client.data.patients import FOLDED, folded
from client.data.splits import PUBLIC_SITE
from client.policy.site_config import study_folder
from client.policy.site_schema import SiteConfig
from client.search.generation import HANDLE_KEY_FILE, Head, IndexWriter, alone, read_studies, search_folder
from client.search.handles import HandleKey
from client.search.studies import HANDLE, IMAGE_STUDY, IndexedStudies
from client.search.traits import traits_of
from client.state_folder import KEY_FILE
from client.store.source import source_digest
from common.canonical import digest
from common.errors import ConfigError
from common.hashing.codes import Codes, check_bit_width
from common.trust.keys import SigningKey
from common.types import BadRow, Study, Unpaired

STUDIES_A_PART = 4096
_STUDIES_A_BATCH = 32
_LONGEST_NAME_BYTES = 256


class CodeMaker(Protocol):
    """The model, as far as an index needs it."""

    @property
    def digest(self) -> str:
        """Of everything that makes codes, in hexadecimal."""
        ...

    @property
    def bit_width(self) -> int:
        """Bits of a code."""
        ...

    def encode_images(self, images: Sequence[PIL.Image.Image], /) -> Codes:
        """Packed codes of images, a row each."""
        ...

    def encode_texts(self, texts: Sequence[str], /) -> Codes:
        """Packed codes of reports, a row each."""
        ...


@dataclass(frozen=True, kw_only=True)
class Built:
    """What has become of an index.

    Attributes:
        head: Its head.
        num_studies: Studies in it.
        num_images: Codes of images in it.
        num_encoded: Studies that were encoded now.
        num_gone: Studies that were in it, and are no more.
        num_kept_out: Studies of the folder that were withdrawn.
        num_left_out: Rows that cannot be read, or lack image or report.
    """

    head: Head
    num_studies: int
    num_images: int
    num_encoded: int = 0
    num_gone: int = 0
    num_kept_out: int = 0
    num_left_out: int = 0


def site_key(site: SiteConfig) -> SigningKey | None:
    """The key that signs a hospital's index; None where it has none yet.

    Raises:
        TrustError: It cannot be read, or others could read it too.
    """
    path = site.state_folder / KEY_FILE
    return SigningKey.load(path) if path.exists() else None


def build(site: SiteConfig, model: CodeMaker, *, tell: Callable[[int], None] = lambda _: None) -> Built:
    """Bring a hospital's index up to date.

    Args:
        site: The hospital's own configuration.
        model: Makes the codes.
        tell: Is told now and then how many rows of the folder were read.

    Raises:
        ConfigError: The layout is unknown, or the model gives no codes of its bit width.
        DataError: The folder cannot be read, or another process writes the index.
        TrustError: The index is damaged or signed with another key.
    """
    check_bit_width(model.bit_width)
    folder = search_folder(site)
    with alone(folder, site=site.site, key=site_key(site)) as writer:
        builder = _Builder(writer, HandleKey.at(folder / HANDLE_KEY_FILE), model)
        source, num_read = _source(site), 0
        if not builder.holds(source):
            for items in in_batches(study_folder(site.data).studies(), size=_STUDIES_A_BATCH):
                builder.take(items)
                num_read += len(items)
                tell(num_read)
            builder.finish(source)
        return builder.built()


def withdraw(site: SiteConfig, *, studies: Sequence[str] = (), patients: Sequence[str] = ()) -> Built:
    """Take studies and patients out of a hospital's index, and keep them out.

    When this returns, none of their codes is in a file of the index. Who has it open searches the old one until it is
    opened again (`SearchIndex.is_current`).

    Raises:
        ConfigError: There is no index.
        DataError: Another process writes it.
        TrustError: It is damaged or signed with another key.
    """
    folder = search_folder(site)
    with alone(folder, site=site.site, key=site_key(site)) as writer:
        head = writer.current()
        if head is None:
            raise ConfigError(f"{folder}: holds no index; there is nothing to withdraw from")
        key = HandleKey.at(folder / HANDLE_KEY_FILE)
        before, withdrawn = read_studies(folder, head)
        patients = [folded(name) for name in patients] if site.data.same_patients == FOLDED else patients
        new = [*map(key.of_study, studies), *map(key.of_patient, patients)]
        withdrawn = np.concatenate([withdrawn, np.array(new, HANDLE)])
        after = before.without(withdrawn)
        head = writer.write(after, withdrawn=withdrawn, model=head.model, bit_width=head.bit_width, source=head.source)
        return Built(
            head=head,
            num_studies=len(after),
            num_images=len(after.images),
            num_gone=len(before) - len(after),
        )


class _Builder:
    """One pass over the studies."""

    def __init__(self, writer: IndexWriter, key: HandleKey, model: CodeMaker) -> None:
        self._writer, self._key, self._model = writer, key, model
        self._head = writer.current()
        self._studies, self._withdrawn = IndexedStudies.none(model.bit_width), np.empty(0, HANDLE)
        if self._head is not None:
            studies, self._withdrawn = read_studies(writer.folder, self._head)
            if (self._head.model, self._head.bit_width) == (model.digest, model.bit_width):
                self._studies = studies
        self._out = frozenset(self._withdrawn.tolist())
        self._known = dict(zip(self._studies.handles.tolist(), self._studies.contents.tolist(), strict=True))
        self._seen: set[bytes] = set()
        self._part: list[IndexedStudies] = []
        self._num_encoded = self._num_gone = self._num_kept_out = self._num_left_out = 0

    def holds(self, source: str) -> bool:
        """Whether the index is of this model and of the folder as it is now."""
        head = self._head
        return head is not None and (head.model, head.source) == (self._model.digest, source)

    def take(self, items: Sequence[Study | Unpaired | BadRow]) -> None:
        """Encode what of a batch is new or changed."""
        fresh = []
        for item in items:
            if not isinstance(item, Study) or len(item.record.study_id.encode()) > _LONGEST_NAME_BYTES:
                self._num_left_out += 1
                continue
            if item.record.site == PUBLIC_SITE:
                continue
            handle, patient = self._key.of_study(item.record.study_id), self._key.of_patient(item.record.patient_id)
            if not self._out.isdisjoint((handle, patient)):
                self._num_kept_out += 1
                continue
            content = self._content(item)
            self._seen.add(handle)
            if self._known.get(handle) != content:
                fresh.append((item, handle, patient, content))
        if fresh:
            self._part.append(self._encoded(fresh))
            self._num_encoded += len(fresh)
        if sum(map(len, self._part)) >= STUDIES_A_PART:
            self._write(source="")

    def finish(self, source: str) -> None:
        """Write the last part, without what the folder does not hold any more."""
        self._merge()
        kept_M = np.isin(self._studies.handles, np.array(sorted(self._seen), HANDLE))
        self._num_gone = int((~kept_M).sum())
        self._studies = self._studies.among(kept_M)
        self._write(source=source)

    def built(self) -> Built:
        """What has become of the index."""
        if self._head is None:
            raise ConfigError(f"{self._writer.folder}: holds no index")
        return Built(
            head=self._head,
            num_studies=len(self._studies),
            num_images=len(self._studies.images),
            num_encoded=self._num_encoded,
            num_gone=self._num_gone,
            num_kept_out=self._num_kept_out,
            num_left_out=self._num_left_out,
        )

    def _content(self, study: Study) -> bytes:
        images = map(image_digest, (study.image, *study.other_images))
        traits = repr(traits_of([study.record])[0])
        return self._key.of_content(study.record.patient_id, traits, report_digest(study.record.report), *images)

    def _encoded(self, fresh: Sequence[tuple[Study, bytes, bytes, bytes]]) -> IndexedStudies:
        studies, handles, patients, contents = zip(*fresh, strict=True)
        images_of_each = [(study.image, *study.other_images) for study in studies]
        pictures = [PIL.Image.fromarray(image) for images in images_of_each for image in images]
        records = [study.record for study in studies]
        return IndexedStudies(
            handles=np.array(handles, HANDLE),
            patients=np.array(patients, HANDLE),
            contents=np.array(contents, HANDLE),
            names=np.array([record.study_id.encode() for record in records]),
            traits=traits_of(records),
            reports=self._codes(self._model.encode_texts([record.report for record in records]), len(records)),
            images=self._codes(self._model.encode_images(pictures), len(pictures)),
            image_studies=np.repeat(np.arange(len(records), dtype=IMAGE_STUDY), list(map(len, images_of_each))),
        )

    def _codes(self, codes: Codes, number: int) -> Codes:
        if codes.dtype != np.uint8 or codes.shape != (number, self._model.bit_width // 8):
            raise ConfigError(
                f"--model: gives {codes.dtype} {list(codes.shape)} for {number} items where codes of "
                f"{self._model.bit_width} bits are needed; export it again"
            )
        return codes

    def _merge(self) -> None:
        for part in self._part:
            self._studies = self._studies.with_others(part)
        self._part = []

    def _write(self, *, source: str) -> None:
        self._merge()
        self._head = self._writer.write(
            self._studies,
            withdrawn=self._withdrawn,
            model=self._model.digest,
            bit_width=self._model.bit_width,
            source=source,
        )


def _source(site: SiteConfig) -> str:
    """Digest of the studies' folder as it is, and of how it is read."""
    how = {name: str(value) for name, value in asdict(site.data).items()}
    return digest([how, source_digest((site.data.root,), without=site.state_folder)])
