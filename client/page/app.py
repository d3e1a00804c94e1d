"""The page as a web application: one form, one answer, nothing kept between two searches.

A search is a `POST`, so that its words stand in no address, no history and no log. Whatever goes wrong is one line on
the page; the text of an error that nobody foresaw, which may quote a patient's data, stands nowhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest

import anyio
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from client.data.folder import StudyFolder
from client.deploy.searcher import Found, Searcher
from client.page.about import MODEL_PAGE, About
from client.page.asked import KS, MOST_CHARACTERS, MOST_FIELDS, Asked, asked_in
from client.page.door import Door, Keys
from client.page.render import policy, render
from client.page.shown import Shown, shown
from client.policy.site_config import study_folder
from client.search.build import CodeMaker
from client.search.index import Hit
from client.search.traits import Recorded, recorded_in
from common.errors import ConfigError, WardroundError
from common.hashing.codes import Codes
from common.retrieval.relevance import QueryKind
from common.search.how_sure import HowSure
from common.service.log_format import in_words
from common.types import StudyRecord

_MOST_PART_BYTES = 8 * MOST_CHARACTERS
_FAILED, _FORBIDDEN = 400, 403
_log = logging.getLogger("wardround.page")


@dataclass(frozen=True, kw_only=True)
class Typed:
    """The form as it was sent, so that the page shows it again; a picture has to be chosen anew."""

    text: str = ""
    gallery: str = "images"
    k: str = str(KS[1])
    least: str = ""
    greatest: str = ""
    sex: str = ""
    scanner: str = ""
    alone: bool = False

    @property
    def narrowed(self) -> bool:
        """Whether something narrows the own studies."""
        return any((self.least, self.greatest, self.sex, self.scanner))


def typed_in(form: FormData) -> Typed:
    """What a form holds, whatever it is."""
    values = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    names = {"text": "text", "gallery": "gallery", "k": "k", "from": "least", "to": "greatest"}
    names |= {"sex": "sex", "scanner": "scanner"}
    kept = {ours: values[name][:MOST_CHARACTERS] for name, ours in names.items() if name in values}
    return Typed(**kept, alone="alone" in values)


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page of one hospital.

    Attributes:
        searcher: Searches, here and at the others.
        model: Encodes what is asked.
        keys: Who comes in.
        about: The page about the model; None where its folder tells nothing.
        scanners: Names of scanners that a search can be narrowed to.
        one_at_a_time: Searches are; the readers of pictures set what is the process's (`client/data/dicom_image.py`).
    """

    searcher: Searcher
    model: CodeMaker
    keys: Keys = field(default_factory=Keys)
    about: About | None = None
    scanners: tuple[str, ...] = ()
    one_at_a_time: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))

    def application(self, *, port: int) -> ASGIApp:
        """What answers at a port of this machine."""
        routes = [Route("/", self._empty), Route("/search", self._searched, methods=["POST"])]
        if self.about is not None:
            routes.append(Route(MODEL_PAGE, HTMLResponse(self.about.page(self.searcher.site.site))))
        inner = Starlette(routes=routes, exception_handlers={HTTPException: self._refused})
        return Door(inner, self.keys, port=port, policy=policy())

    async def _empty(self, _: Request) -> HTMLResponse:
        return await self._page(Typed())

    async def _refused(self, _: Request, error: Exception) -> HTMLResponse:
        if not isinstance(error, HTTPException):
            raise error
        return await self._page(Typed(), problem=f"{error.detail}", status=error.status_code)

    async def _searched(self, request: Request) -> HTMLResponse:
        async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=_MOST_PART_BYTES) as form:
            token = form.get("token")
            if not isinstance(token, str) or not compare_digest(token.encode(), self.keys.form.encode()):
                raise HTTPException(_FORBIDDEN, "This form is not of this page; open the page again.")
            typed = typed_in(form)
            try:
                asked = await asked_in(form)
            except ConfigError as error:
                return await self._page(typed, problem=str(error), status=_FAILED)
        problem, answer = await self._alone(lambda: self._answered(asked))
        return await self._page(typed, problem=problem, answer=answer, status=_FAILED if problem else 200)

    async def _alone(self, work: Callable[[], tuple[str, Shown | None]]) -> tuple[str, Shown | None]:
        return await run_sync(work, limiter=self.one_at_a_time)

    def _answered(self, asked: Asked) -> tuple[str, Shown | None]:
        """What is wrong, or what was found."""
        try:
            code_P = asked.code_P(self.model, self.searcher.site.data)
            own = self.searcher.own(code_P, gallery=asked.gallery, k=asked.k, only=asked.only)
            found = self._with_others(own, code_P, asked)
            how_sure = self._how_sure(asked)
            return "", shown(found, self.searcher.index, self._folder(), query=asked.text, how_sure=how_sure)
        except WardroundError as error:
            return str(error), None
        except Exception as error:  # whatever it is: the page stands, and its text may hold a patient's data
            _log.warning("a search failed: %s", in_words(error))
            return f"The search failed ({in_words(error)}); wardround site check looks at the studies.", None

    def _with_others(self, own: tuple[Hit, ...], code_P: Codes, asked: Asked) -> Found:
        """The own studies, and what the others answer; where they do not, the own are worth showing all the same."""
        if asked.alone:
            return Found(own=own)
        try:
            return Found(own=own, others=self.searcher.others(code_P, gallery=asked.gallery, k=asked.k))
        except WardroundError as error:
            return Found(own=own, trouble=str(error))

    def _how_sure(self, asked: Asked) -> HowSure:
        relevance = None if self.about is None else self.about.relevance
        kind = QueryKind.IMAGE if asked.picture else QueryKind.TEXT
        return HowSure.of(relevance, query=kind, gallery=asked.gallery, bit_width=self.model.bit_width)

    def _folder(self) -> StudyFolder:
        return study_folder(self.searcher.site.data)

    async def _page(
        self, typed: Typed, *, problem: str = "", answer: Shown | None = None, status: int = 200
    ) -> HTMLResponse:
        num_studies, narrowing, trouble = await run_sync(self._standing, limiter=self.one_at_a_time)
        content = render(
            site=self.searcher.site.site,
            num_studies=num_studies,
            model=self.model.digest,
            bit_width=self.model.bit_width,
            token=self.keys.form,
            ks=KS,
            typed=typed,
            recorded=narrowing,
            scanners=self.scanners,
            problem=problem or trouble,
            shown=answer,
            about=self.about,
        )
        return HTMLResponse(content, status)

    def _standing(self) -> tuple[int, Recorded, str]:
        """Number of studies, what can narrow them, and what is wrong with the index."""
        try:
            index = self.searcher.index
            return len(index), recorded_in(index.stored["traits"].whole()), ""
        except WardroundError as error:
            return 0, Recorded(), str(error)


def scanners_of(folder: StudyFolder) -> tuple[str, ...]:
    """Names of the scanners of a folder's studies; an index keeps digests of them alone.

    Raises:
        DataError: The folder cannot be read.
    """
    records = (item for item in folder.records() if isinstance(item, StudyRecord))
    return tuple(sorted({record.scanner for record in records if record.scanner}))
