"""A hospital's studies and the public ones, read, decoded and encoded once, and kept for every run of one encoder.

STATE/features/                       what is encoded and not yet in order, by content (`common/encoders/cache.py`)
STATE/prepared/KEY.json               the index of one way of preparing (`client/store/index.py`)
STATE/prepared/KEY-*.sqlite           its table of studies
STATE/prepared/KEY-*.{images,reports}.npy    its features, in the order of the table
STATE/prepared/.lock                  held by whoever prepares

KEY stands for all that decides what the studies become: the encoder, where they lie and how they are read, and the
installed code. The index is written last, so that a process that is killed at any point leaves what was encoded, and
the next one encodes the rest. Studies that change while they are read, or after, are not prepared.

Once the index is written, the pieces in `features` are deleted, and so is what was prepared before with the same
encoder: the new arrays hold it. So the disk holds the features once, and twice while they are put in order.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from client.data.anchors import Anchors, anchors_of
from client.data.features import in_batches
from client.data.identity import anchors_digest
from client.policy.site_config import anchor_folder, study_folder
from client.policy.site_schema import SiteConfig
from client.store.arrays import REMEDY
from client.store.index import Index, open_files, read_index, write_index
from client.store.pace import Pace, Progress
from client.store.preparation import LOCK_FILE, Preparation
from client.store.rows import StoredRows
from client.store.source import source_digest
from common.canonical import digest
from common.code_digest import code_digest
from common.config.schema import EncoderConfig
from common.encoders.cache import FeatureCache
from common.encoders.interface import Encoder, FeatureKeys
from common.encoders.registry import ENCODERS
from common.errors import DataError
from common.types import BadRow, StudyRecord, Unpaired

FEATURES_FOLDER, PREPARED_FOLDER = "features", "prepared"
"""In the state folder; both are as private as the studies, and can be computed again."""

STUDIES_A_STEP = 32
"""Studies that a step encodes: what a process that is killed loses, and how long a question has to wait."""

_log = logging.getLogger("wardround.site")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Studies with the features of each, which stay on the disk.

    Attributes:
        images: Image features `[N, ...]` of the hospital's own studies.
        reports: Report features `[N, ...]`.
        records: Their records, N of them, without the texts of the reports.
        texts: The texts of the reports of some of them, by position.
        num_bad_rows: Rows that could not be read.
        anchors: The public studies, in memory.
    """

    images: StoredRows
    reports: StoredRows
    records: tuple[StudyRecord, ...]
    texts: Callable[[Sequence[int]], list[str]]
    num_bad_rows: int
    anchors: Anchors


class PreparedElsewhere(DataError):
    """Another process prepares in this state folder now."""


class StudyStore:
    """What a hospital has prepared for the runs of one encoder.

    Args:
        site: The hospital's own configuration.
        encoder_config: The run's encoder.
        code: Digest of the installed wardround.

    Raises:
        ConfigError: The encoder cannot be had here.
    """

    def __init__(self, site: SiteConfig, encoder_config: EncoderConfig, *, code: str | None = None) -> None:
        self._site = site
        self._own = study_folder(site.data)
        self._anchors = anchor_folder(site)
        self._encoder: Encoder = ENCODERS.load(encoder_config.name)(encoder_config)
        self._keys = self._encoder.keys or _keys_of(encoder_config)
        self._folder = site.state_folder / PREPARED_FOLDER
        self.key = digest(
            {
                "image": self._keys.image,
                "report": self._keys.report,
                "data": _json_of(site.data),
                "anchors": _json_of(site.anchors),
                "code": code or code_digest(),
            }
        )[:32]

    @cached_property
    def _file(self) -> Path:
        return self._folder / f"{self.key}.json"

    def listed(self) -> Iterator[StudyRecord | Unpaired | BadRow]:
        """The hospital's own studies as its folder lists them, without decoding an image.

        Raises:
            ConfigError: The layout is unknown.
            DataError: The folder cannot be read.
        """
        return self._own.records()

    def prepare(self, *, anchors: str | None = None) -> Iterator[Progress]:
        """Read, decode and encode every study, a step at a time; it is prepared when the iterator has ended.

        Args:
            anchors: Digest of the public studies that the run was made with; None takes any.

        Raises:
            ConfigError: A layout is unknown, or the disk is full.
            DataError: The studies cannot be read, change meanwhile, or are not the run's public ones; or the disk is
                full.
            PreparedElsewhere: Another process does it.
        """
        with self._alone():
            source = self._source()
            pace = Pace(self._anchors.num_studies() + sum(1 for _ in self.listed()))
            yield pace.progress
            pieces = FeatureCache(self._site.state_folder / FEATURES_FOLDER)
            preparation = Preparation(self._folder, pieces, self._keys, self._encoder, key=self.key)
            for _ in preparation.find_earlier():
                yield pace.progress
            with preparation.table() as table:
                pace.begin()
                for studies in in_batches(self._anchors.studies(), size=STUDIES_A_STEP):
                    yield pace.after(len(studies), preparation.take(studies, table))
                    pace.begin()
                num_public = table.num_studies
                _check_anchors(anchors, table.pairs(), self._anchors.root)
                for items in in_batches(self._own.studies(), size=STUDIES_A_STEP):
                    yield pace.after(len(items), preparation.take(items, table))
                    pace.begin()
                if self._source() != source:
                    raise DataError(
                        f"{self._site.data.root}: changed while it was being prepared; prepare again when it is at rest"
                    )
            for _ in preparation.put_in_order():
                yield pace.progress
            index = preparation.index(source=source, num_public=num_public, num_own=table.num_studies - num_public)
            write_index(self._file, index)
            preparation.clear()

    def open(self) -> Prepared | None:
        """What was prepared; None where nothing was, the studies have changed since, or it is damaged.

        It reads the records and the public studies; the hospital's own features stay on the disk. Damage that it sees
        is logged, in a line.

        Raises:
            DataError: A folder cannot be read.
        """
        index = read_index(self._file)
        if index is None or index.source != self._source() or not index.num_own:
            return None
        try:
            return self._opened(index)
        except DataError as error:
            _log.warning("%s; until then the studies count as not prepared", error)
            return None

    def _opened(self, index: Index) -> Prepared:
        if index.key != self.key:
            raise DataError(f"{self._file}: was prepared for another encoder or other folders; {REMEDY}")
        files, num_public = open_files(self._folder, index), index.num_public
        images, reports = files.rows()
        public, own = slice(0, num_public), range(num_public, len(reports))
        records = files.table.records()
        contents = files.table.pairs(num_public)
        return Prepared(
            images=images.among(own),
            reports=reports.among(own),
            records=records[num_public:],
            texts=lambda studies: files.table.reports([num_public + study for study in studies]),
            num_bad_rows=index.num_bad_rows,
            anchors=anchors_of(
                [record.patient_id for record in records[public]], images[public], reports[public], contents=contents
            ),
        )

    def _source(self) -> str:
        return source_digest((self._site.data.root, self._anchors.root), without=self._site.state_folder)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        folder = self._folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise PreparedElsewhere(
                f"{folder}: another process prepares here, perhaps the agent; let it, or end it first"
            ) from error
        finally:
            os.close(descriptor)


def _check_anchors(wanted: str | None, contents: list[tuple[str, str]], root: Path) -> None:
    if wanted is not None and anchors_digest(contents) != wanted:
        raise DataError(f"{root}: holds other public studies than the run was made with; see wardround site approve")


def _keys_of(config: EncoderConfig) -> FeatureKeys:
    """Names for features that are trivial to compute, which a store keeps all the same: decoding is not trivial."""
    name = digest({key: value for key, value in _json_of(config).items() if key != "cache"})[:16]
    return FeatureKeys(image=f"plain-{config.name}-{name}", report=f"plain-{config.name}-{name}-text")


def _json_of(section: object) -> dict[str, object]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(section).items()}  # type: ignore[call-overload]
