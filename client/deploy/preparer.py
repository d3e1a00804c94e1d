"""Prepares a hospital's studies for the runs that it approved, a piece at a time, while nothing is asked of the worker.

An approved bundle is looked at once, when it is seen; one that a message asks for is looked at again, for studies may
have changed since. Those that are not prepared wait in a queue, the one that was asked for first. What fails is tried
again after a minute: somebody may have mended the table meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from client.deploy.approval import Approval, Approvals
from client.deploy.own_studies import check_listed
from client.policy.site_schema import SiteConfig
from client.store.pace import Progress
from client.store.store import Prepared, StudyStore
from common.bundle import Bundle
from common.errors import TrustError, WardroundError
from common.wire.preparing import Preparing

AGAIN_SECONDS = 60.0
"""From a failure to the next try."""

LOOK_SECONDS = 1.0
"""How often the approvals are looked at."""

_log = logging.getLogger("wardround.site")


class NotReady(WardroundError):
    """The studies are not prepared yet for the run that was asked for; the reason code says how far they are."""

    def __init__(self, preparing: Preparing) -> None:
        super().__init__(preparing.in_words())
        self.reason = preparing.reason


@dataclass
class _Job:
    """A preparation that is under way."""

    bundle: Bundle
    steps: Iterator[Progress]
    progress: Progress | None = None


class Preparer:
    """Prepares for one worker; from one thread.

    Args:
        site: The hospital's own configuration.
        approvals: Its approvals.
        wanted: Those of them whose runs are still to come.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        site: SiteConfig,
        approvals: Approvals,
        *,
        wanted: Callable[[], Iterable[Approval]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._approvals = approvals
        self._wanted = wanted
        self._clock = clock
        self._queue: list[Bundle] = []
        self._seen: set[str] = set()
        self._failed: dict[str, tuple[WardroundError, float]] = {}
        self._job: _Job | None = None
        self._next_look = 0.0

    def ready(self, bundle: Bundle) -> Prepared:
        """What is prepared for a run; where it is not, it is what is prepared next.

        Raises:
            NotReady: It is not prepared yet.
            WardroundError: It cannot be prepared; tried again after a minute.
        """
        error, until = self._failed.get(bundle.hash, (None, 0.0))
        if error is not None and self._clock() < until:
            raise error
        if self._job is None or self._job.bundle.hash != bundle.hash:
            prepared = self._store(bundle).open()
            if prepared is not None:
                return prepared
            self._put_first(bundle)
        raise NotReady(self._progress_of(bundle))

    def work(self) -> bool:
        """Do a piece of what is to be prepared; whether there is more to do at once."""
        if self._job is None:
            self._look()
            self._begin()
        if self._job is not None:
            self._step(self._job)
        return self._job is not None or bool(self._queue)

    def _look(self) -> None:
        """Queue each approved bundle that was not seen before and is not prepared."""
        if self._clock() < self._next_look:
            return
        self._next_look = self._clock() + LOOK_SECONDS
        try:
            new = [approval for approval in self._wanted() if approval.bundle not in self._seen]
        except TrustError:
            return  # whoever asks for that run is told
        for approval in new:
            self._seen.add(approval.bundle)
            try:
                bundle = self._approvals.bundle(approval)
                if self._store(bundle).open() is None:
                    self._queue.append(bundle)
            except WardroundError as error:
                _log.error("bundle %s: cannot be prepared for: %s", approval.bundle, error)

    def _begin(self) -> None:
        if self._queue:
            bundle = self._queue.pop(0)
            self._failed.pop(bundle.hash, None)
            _log.info("bundle %s: preparing the studies", bundle.hash)
            self._job = _Job(bundle, self._steps(bundle))

    def _steps(self, bundle: Bundle) -> Iterator[Progress]:
        store = self._store(bundle)
        check_listed(self._site, store.listed())
        yield from store.prepare(anchors=bundle.anchors)

    def _step(self, job: _Job) -> None:
        try:
            job.progress = next(job.steps)
        except StopIteration:
            _log.info("bundle %s: the studies are prepared", job.bundle.hash)
            self._job = None
        except WardroundError as error:
            _log.error("bundle %s: cannot be prepared for: %s", job.bundle.hash, error)
            self._failed[job.bundle.hash] = (error, self._clock() + AGAIN_SECONDS)
            self._job = None

    def _put_first(self, bundle: Bundle) -> None:
        self._seen.add(bundle.hash)
        self._queue = [bundle, *(one for one in self._queue if one.hash != bundle.hash)]

    def _progress_of(self, bundle: Bundle) -> Preparing:
        progress = self._job.progress if self._job is not None and self._job.bundle.hash == bundle.hash else None
        if progress is None:
            return Preparing(percent=0, minutes=0)
        return Preparing.at(done=progress.done, total=progress.total, seconds_left=progress.seconds_left)

    def _store(self, bundle: Bundle) -> StudyStore:
        return StudyStore(self._site, bundle.config.encoder)
