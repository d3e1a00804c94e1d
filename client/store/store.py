"""A hospital's studies and the public ones, read, decoded and encoded once, and kept for every run of one encoder.

STATE/features/              features by content (`common/encoders/cache.py`): a batch is on the disk when it is encoded
STATE/prepared/KEY.json      the index of one way of preparing (`client/store/index.py`)
STATE/prepared/.lock         held by whoever prepares

KEY stands for all that decides what the studies become: the encoder, where they lie and how they are read, and the
installed code. The index is written last, so that a process that is killed at any point leaves what was encoded, and
the next one encodes the rest. Studies that change while they are read, or after, are not prepared.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from client.data.anchors import Anchors, anchors_of
from client.data.features import in_batches
from client.data.identity import anchors_digest, content_of
from client.policy.site_config import anchor_folder, study_folder
from client.policy.site_schema import SiteConfig
from client.store.index import Index, Indexed, read_index, write_index
from client.store.source import source_digest
from common.canonical import digest
from common.code_digest import code_digest
from common.config.schema import EncoderConfig
from common.encoders.cache import FeatureCache
from common.encoders.interface import Encoder, FeatureKeys
from common.encoders.registry import ENCODERS
from common.errors import DataError
from common.types import BadRow, Study, StudyRecord, Unpaired

FEATURES_FOLDER, PREPARED_FOLDER = "features", "prepared"
"""In the state folder; both are as private as the studies, and can be computed again."""

STUDIES_A_STEP = 32
"""Studies that a step encodes: what a process that is killed loses, and how long a question has to wait."""

_LOCK_FILE = ".lock"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a preparation is.

    Attributes:
        done: Studies that are read, and encoded where they were not before.
        total: Studies that the folders list.
        seconds_left: By the pace of the last steps that had to encode; None before there was one.
    """

    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Studies with the features of each.

    Attributes:
        images: Image features `[N, ...]` of the hospital's own studies.
        reports: Report features `[N, ...]`.
        records: Their records, N of them.
        num_bad_rows: Rows that could not be read.
        anchors: The public studies.
    """

    images: Tensor
    reports: Tensor
    records: tuple[StudyRecord, ...]
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
        self._cache = FeatureCache(site.state_folder / FEATURES_FOLDER)
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
        return self._site.state_folder / PREPARED_FOLDER / f"{self.key}.json"

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
            DataError: The studies cannot be read, change meanwhile, or are not the run's public ones.
            PreparedElsewhere: Another process does it.
        """
        with self._alone():
            source = self._source()
            pace = _Pace(self._anchors.num_studies() + sum(1 for _ in self.listed()))
            yield pace.progress
            public = _Gathered()
            for studies in in_batches(self._anchors.studies(), size=STUDIES_A_STEP):
                yield pace.after(len(studies), public.take(studies, self._ensure))
                pace.begin()
            _check_anchors(anchors, public.indexed.contents, self._anchors.root)
            own = _Gathered()
            for items in in_batches(self._own.studies(), size=STUDIES_A_STEP):
                yield pace.after(len(items), own.take(items, self._ensure))
                pace.begin()
            if self._source() != source:
                raise DataError(
                    f"{self._site.data.root}: changed while it was being prepared; prepare again when it is at rest"
                )
            index = Index(source=source, anchors=public.indexed, own=own.indexed, num_bad_rows=own.num_bad_rows)
            write_index(self._file, index)

    def open(self) -> Prepared | None:
        """What was prepared; None where nothing was, or the studies have changed since, or features are missing.

        Raises:
            DataError: A folder cannot be read.
        """
        index = read_index(self._file)
        if index is None or index.source != self._source() or not index.own.records:
            return None
        own, public = self._features(index.own), self._features(index.anchors)
        if own is None or public is None:
            return None
        patients = [record.patient_id for record in index.anchors.records]
        return Prepared(
            images=own[0],
            reports=own[1],
            records=index.own.records,
            num_bad_rows=index.num_bad_rows,
            anchors=anchors_of(patients, *public, contents=index.anchors.contents),
        )

    def _source(self) -> str:
        return source_digest((self._site.data.root, self._anchors.root), without=self._site.state_folder)

    def _ensure(self, studies: Sequence[Study], contents: Sequence[tuple[str, str]]) -> int:
        """Encode what was not encoded before; how many images and reports that were."""
        images, reports = zip(*contents, strict=True)
        encoder, cache, keys = self._encoder, self._cache, self._keys
        return cache.ensure(
            [study.image for study in studies], images, key=keys.image, compute=encoder.image_features
        ) + cache.ensure(
            [study.record.report for study in studies], reports, key=keys.report, compute=encoder.report_features
        )

    def _features(self, part: Indexed) -> tuple[Tensor, Tensor] | None:
        images = self._cache.stored(part.images, key=self._keys.image)
        reports = self._cache.stored(part.reports, key=self._keys.report)
        return None if images is None or reports is None else (images, reports)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        folder = self._site.state_folder / PREPARED_FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise PreparedElsewhere(
                f"{folder}: another process prepares here, perhaps the agent; let it, or end it first"
            ) from error
        finally:
            os.close(descriptor)


class _Gathered:
    """The index of what was read so far."""

    def __init__(self) -> None:
        self.num_bad_rows = 0
        self._records: list[StudyRecord] = []
        self._contents: list[tuple[str, str]] = []

    @property
    def indexed(self) -> Indexed:
        images, reports = zip(*self._contents, strict=True) if self._contents else ((), ())
        return Indexed(records=tuple(self._records), images=tuple(images), reports=tuple(reports))

    def take(
        self,
        items: Sequence[Study | Unpaired | BadRow],
        ensure: Callable[[Sequence[Study], Sequence[tuple[str, str]]], int],
    ) -> int:
        """Add a batch, encoded; how many images and reports had to be."""
        studies = [item for item in items if isinstance(item, Study)]
        self.num_bad_rows += sum(isinstance(item, BadRow) for item in items)
        if not studies:
            return 0
        contents = [content_of(study) for study in studies]
        num_encoded = ensure(studies, contents)
        self._records += [study.record for study in studies]
        self._contents += contents
        return num_encoded


class _Pace:
    """Progress, and how long the rest takes at the pace of the steps that had to encode."""

    def __init__(self, total: int) -> None:
        self.progress = Progress(done=0, total=total, seconds_left=None)
        self._seconds_a_study: float | None = None
        self.begin()

    def begin(self) -> None:
        """A step begins now; what its caller did since the last one is not counted."""
        self._step_began = time.monotonic()

    def after(self, num_studies: int, num_encoded: int) -> Progress:
        """The progress after a step."""
        seconds = (time.monotonic() - self._step_began) / max(1, num_studies)
        if num_encoded:
            known = self._seconds_a_study
            self._seconds_a_study = seconds if known is None else 0.8 * known + 0.2 * seconds
        done = min(self.progress.total, self.progress.done + num_studies)
        left = None if self._seconds_a_study is None else (self.progress.total - done) * self._seconds_a_study
        self.progress = replace(self.progress, done=done, seconds_left=left)
        return self.progress


def _check_anchors(wanted: str | None, contents: list[tuple[str, str]], root: Path) -> None:
    if wanted is not None and anchors_digest(contents) != wanted:
        raise DataError(f"{root}: holds other public studies than the run was made with; see wardround site approve")


def _keys_of(config: EncoderConfig) -> FeatureKeys:
    """Names for features that are trivial to compute, which a store keeps all the same: decoding is not trivial."""
    name = digest({key: value for key, value in _json_of(config).items() if key != "cache"})[:16]
    return FeatureKeys(image=f"plain-{config.name}-{name}", report=f"plain-{config.name}-{name}-text")


def _json_of(section: object) -> dict[str, object]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(section).items()}  # type: ignore[call-overload]
