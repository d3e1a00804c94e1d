"""The page as a web application: one form, one answer, nothing kept between two searches but a line of who asked.

A search is a `POST`, so that its words stand in no address, no history and no log. Whatever goes wrong is one line on
the page; the text of an error that nobody foresaw, which may quote a patient's data, stands nowhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

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
from client.mediator.mediator import Mediator
from client.mediator.plan_relevance import PlanRelevance
from client.mediator.query_log import QueryLog, ShownHit, record_of
from client.mediator.rerank import num_looked_at
from client.mediator.understood import Mediates, Understood, understood
from client.page.about import MODEL_PAGE, About
from client.page.asked import KS, MOST_CHARACTERS, MOST_FIELDS, Asked, asked_in
from client.page.asked_list import AskedList
from client.page.door import FORBIDDEN, Door, FormTokens, WayIn
from client.page.feedback import Feedback, feedback_in, note_feedback
from client.page.render import FEEDBACK, PAGE, WHERE, policy, render
from client.page.shown import Shown, shown
from client.page.typed import Typed, typed_in
from client.page.where import Picked, SaliencyOf, Where, code_in, picked, where
from client.policy.site_config import study_folder
from client.search.build import CodeMaker
from client.search.index import Hit
from client.search.traits import Names, Recorded, recorded_in
from common.errors import ConfigError, PolicyRefusal, WardroundError
from common.hashing.codes import Codes
from common.retrieval.relevance import QueryKind
from common.search.how_sure import HowSure
from common.service.log_format import in_words

_MOST_PART_BYTES = 8 * MOST_CHARACTERS
_FAILED = 400
_log = logging.getLogger("wardround.page")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A search that was answered.

    Attributes:
        shown: What was found; None where a question has to be answered first.
        code: The query's code, in hexadecimal: what a map is asked for by.
        text: The words that were searched with; "" for a picture.
        understood: What was made of them; None for a picture.
        record: Digest of the query's record; "" for a picture, which has none.
    """

    shown: Shown | None
    code: str
    text: str
    understood: Understood | None = None
    record: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page of one hospital.

    Attributes:
        searcher: Searches, here and at the others.
        model: Encodes what is asked.
        saliency_of: Says where a picture agrees with a code.
        asked_list: Keeps who asked.
        query_log: Keeps what was planned and shown.
        mediator: Makes a plan of words.
        by_plan: How sure a hit is by its rank under a plan; None where the hospital names no file that tells it.
        about: The page about the model; None where its folder tells nothing.
        tokens: What stands in the forms.
        names: Names of scanners and modalities that a search can be narrowed to.
        one_at_a_time: Searches are; the readers of pictures set what is the process's (`client/data/dicom_image.py`).
        one_map_at_a_time: Maps are too, and searches do not wait for them.
    """

    searcher: Searcher
    model: CodeMaker
    saliency_of: SaliencyOf
    asked_list: AskedList
    query_log: QueryLog
    mediator: Mediates = field(default_factory=Mediator)
    by_plan: PlanRelevance | None = None
    about: About | None = None
    tokens: FormTokens = field(default_factory=FormTokens)
    names: Names = field(default_factory=Names)
    one_at_a_time: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))
    one_map_at_a_time: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))

    def application(self, way: WayIn) -> ASGIApp:
        """What answers to people who come in by a way."""
        routes = [
            Route("/", self._empty),
            Route("/search", self._searched, methods=["POST"]),
            Route("/where", self._where, methods=["POST"]),
            Route("/feedback", self._feedback, methods=["POST"]),
        ]
        if self.about is not None:
            routes.append(Route(MODEL_PAGE, HTMLResponse(self.about.page(self.searcher.site.site))))
        inner = Starlette(routes=routes, exception_handlers={HTTPException: self._refused})
        return Door(inner, way, policy=policy())

    async def _empty(self, request: Request) -> HTMLResponse:
        return await self._page(request, Typed())

    async def _refused(self, request: Request, error: Exception) -> HTMLResponse:
        if not isinstance(error, HTTPException):
            raise error
        return await self._page(request, Typed(), problem=f"{error.detail}", status=error.status_code)

    async def _searched(self, request: Request) -> HTMLResponse:
        async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=_MOST_PART_BYTES) as form:
            self._check_token(form, request)
            typed = typed_in(form)
            try:
                asked = await asked_in(form)
            except ConfigError as error:
                return await self._page(request, typed, problem=str(error), status=_FAILED)
        work = partial(self._answered, request.user, asked)
        problem, answer = await run_sync(_guarded, work, "search", limiter=self.one_at_a_time)
        return await self._page(request, typed, problem=problem, answer=answer, status=_FAILED if problem else 200)

    async def _where(self, request: Request) -> HTMLResponse:
        async with request.form(max_files=0, max_fields=MOST_FIELDS, max_part_size=_MOST_PART_BYTES) as form:
            self._check_token(form, request)
            values = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        found: Where | None = None
        pick = partial(self._picked, request.user, values)
        problem, of_study = await run_sync(_guarded, pick, "map", limiter=self.one_at_a_time)
        if of_study is not None:
            see = partial(where, *of_study, self.saliency_of)
            problem, found = await run_sync(_guarded, see, "map", limiter=self.one_map_at_a_time)
        content = render(
            WHERE,
            **self._frame(request),
            text=values.get("text", "")[:MOST_CHARACTERS],
            problem=problem,
            where=found,
        )
        return HTMLResponse(content, _FAILED if problem else 200)

    async def _feedback(self, request: Request) -> HTMLResponse:
        async with request.form(max_files=0, max_fields=MOST_FIELDS, max_part_size=_MOST_PART_BYTES) as form:
            self._check_token(form, request)
            values = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        work = partial(self._noted, request.user, values)
        problem, feedback = await run_sync(_guarded, work, "note", limiter=self.one_at_a_time)
        content = render(FEEDBACK, **self._frame(request), problem=problem, feedback=feedback)
        return HTMLResponse(content, _FAILED if problem else 200)

    def _noted(self, user: str, values: dict[str, str]) -> Feedback:
        feedback = feedback_in(values, self.searcher.index)
        note_feedback(self.searcher.site.state_folder, feedback, user=user)
        return feedback

    def _check_token(self, form: FormData, request: Request) -> None:
        if not self.tokens.holds(form.get("token"), request.user):
            raise HTTPException(FORBIDDEN, "This form is not of this page; open the page again.")

    def _picked(self, user: str, values: dict[str, str]) -> tuple[Picked, Codes]:
        """The picture that a map is asked for, and the code that it is held against."""
        code_P = code_in(values.get("code", ""), bit_width=self.model.bit_width)
        handle = values.get("handle", "")
        found = picked(handle, code_P, self.searcher.index, self._folder(), self.model)
        self.asked_list.note_where(user, handle)
        return found, code_P

    def _answered(self, user: str, asked: Asked) -> Answer:
        began = time.thread_time()
        made = understood(asked.text, self.mediator, dropped=asked.dropped) if asked.text else None
        if made is not None and made.refused:
            self._recorded(user, asked, made, None, seconds=time.thread_time() - began)
            raise PolicyRefusal(made.refused)
        if made is not None and made.unanswered:
            self._recorded(user, asked, made, None, seconds=time.thread_time() - began)
            return Answer(shown=None, code="", text=asked.text, understood=made)
        spoken = made.spoken if made else ""
        code_P = asked.code_P(self.model, self.searcher.site.data, spoken=spoken)
        self.asked_list.note_search(user, asked)
        plan = made.plan if made else None
        looked_at = num_looked_at(plan, asked.k)
        own = self.searcher.own(code_P, gallery=asked.gallery, k=looked_at, only=asked.only)
        found = self._with_others(own, code_P, asked)
        how_sure = self._how_sure(asked)
        content = shown(
            found,
            self.searcher.index,
            self._folder(),
            query=asked.text,
            plan=plan,
            k=asked.k,
            how_sure=how_sure,
            by_plan=self.by_plan,
            gallery=asked.gallery,
        )
        name = "" if made is None else self._recorded(user, asked, made, content, seconds=time.thread_time() - began)
        return Answer(shown=content, code=code_P.tobytes().hex(), text=asked.text, understood=made, record=name)

    def _recorded(self, user: str, asked: Asked, made: Understood, content: Shown | None, *, seconds: float) -> str:
        """Write down what was planned and is about to be shown; the record's digest."""
        own = () if content is None else content.own
        record = record_of(
            made,
            [ShownHit(handle=one.handle, distance=one.distance, judged=one.judged, told=one.told) for one in own],
            model=self.model.digest,
            user=user,
            alone=asked.alone,
            cpu_seconds=seconds,
            keep_words=self.searcher.site.mediator.keep_words,
            plan_relevance="" if content is None else content.own_sure.source,
        )
        return self.query_log.note(record)

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

    def _frame(self, request: Request) -> dict[str, object]:
        """What stands on every page."""
        return {
            "site": self.searcher.site.site,
            "user": request.user,
            "model": self.model.digest,
            "bit_width": self.model.bit_width,
        }

    async def _page(
        self, request: Request, typed: Typed, *, problem: str = "", answer: Answer | None = None, status: int = 200
    ) -> HTMLResponse:
        num_studies, narrowing, trouble = await run_sync(self._standing, limiter=self.one_at_a_time)
        content = render(
            PAGE,
            **self._frame(request),
            num_studies=num_studies,
            token=self.tokens.of(request.user),
            ks=KS,
            typed=typed,
            recorded=narrowing,
            names=self.names,
            problem=problem or trouble,
            shown=answer and answer.shown,
            code=answer and answer.code,
            looked_for=answer and answer.text,
            understood=answer and answer.understood,
            record=answer and answer.record,
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


def _guarded(work: Callable[[], T], what: str) -> tuple[str, T | None]:
    """What is wrong, or what the work gives."""
    try:
        return "", work()
    except WardroundError as error:
        return str(error), None
    except Exception as error:  # whatever it is: the page stands, and its text may hold a patient's data
        _log.warning("a %s failed: %s", what, in_words(error))
        return f"The {what} failed ({in_words(error)}); wardround site check looks at the studies.", None
