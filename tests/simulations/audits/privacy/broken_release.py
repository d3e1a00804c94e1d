"""Pipelines that are broken on purpose where something leaves a hospital, and where a loss is clipped pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.app import SiteSource, answer, build_client_app, introduction
from client.dp.pair_clip import PairClipDpSgd
from client.dp.randomness import Noise
from client.dp.records import Gradients, Records
from client.gate.gate import Gate, Guard
from client.ledger.ledger import Reservation
from client.policy.interface import Policy
from client.policy.search_rules import AllowedAskers, NearbyPerDay, QuestionsPerHour, StudiesPerDay
from client.policy.site_policy import policy_of
from client.policy.site_schema import SiteConfig
from client.search.book import Book
from client.search.desk import Desk
from client.site import SiteAccounts
from common.encoders.dual import DualEncoder
from common.losses.public import Public
from common.wire.evidence import context_of
from common.wire.flower import MODEL, hello_reply_to_records, reply_to_records, task_from_records
from common.wire.flower_arrays import arrays_from_record
from simulations.audits.privacy.pipeline import PRODUCTION, Pipeline
from simulations.federation.ledgers import open_accounts
from tests.simulations.audits.privacy.broken import Wrapped, with_source

# The gate


class OpenGate(Gate):
    """Lets everything through."""

    def __call__(self, message: Message, context: Context, handle: Callable[[Message, Context], Message]) -> Message:
        """See `Gate`."""
        return handle(message, context)


class TakesAnyPayment:
    """A ledger that settles whatever it is shown."""

    def settle(self, *_: object, **__: object) -> None:
        """See `Ledger`."""


def _gate_that_takes_any_payment(guard_of: Callable[[Context], Guard], log: Any) -> Gate:
    return Gate(lambda context: replace(guard_of(context), ledger=TakesAnyPayment()), log)  # type: ignore[arg-type]


def _app_beside_its_gate(lend_site: SiteSource, **_: Any) -> ClientApp:
    """A site's app, none of whose functions stands behind the gate."""
    app = ClientApp()

    @app.query()
    def hello(message: Message, context: Context) -> Message:
        with lend_site(context) as site:
            return Message(hello_reply_to_records(introduction(site)), reply_to=message)

    @app.train()
    def train_and_measure(message: Message, context: Context) -> Message:
        task = task_from_records(message.content)
        arrays = arrays_from_record(message.content.array_records[MODEL])
        with lend_site(context) as site:
            reply = answer(site, task, arrays, context=context_of(message.content))
            return Message(reply_to_records(reply), reply_to=message)

    return app


def _app_with_an_open_query(lend_site: SiteSource, **given: Any) -> Callable[[Message, Context], Message]:
    """Only the hello was registered without the gate."""
    guarded, bare = build_client_app(lend_site, **given), _app_beside_its_gate(lend_site)

    def app(message: Message, context: Context) -> Message:
        return (bare if message.metadata.message_type == "query" else guarded)(message, context)

    return app


# Searching


def _without(rule: type) -> Callable[[SiteConfig], Policy]:
    def policy(config: SiteConfig) -> Policy:
        whole = policy_of(config)
        return replace(whole, search_rules=tuple(one for one in whole.search_rules if not isinstance(one, rule)))

    return policy


class NotesNothing:
    """A book in which what was told is not written down."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def __getattr__(self, name: str) -> Any:
        return getattr(self._book, name)

    def note_told(self, *_: object, **__: object) -> None:
        """See `Book`."""


def _forgetful_desk(index: Any, policy: Any, limits: Any, book: Book, handles: Any, **given: Any) -> Desk:
    return Desk(index, policy, limits, NotesNothing(book), handles, **given)  # type: ignore[arg-type]


# The ledger


class LateLedger:
    """Charges when it is next asked for anything, after the noise was drawn."""

    def __init__(self, ledger: Any) -> None:
        self._ledger, self._owed = ledger, list[tuple[Any, Any]]()

    def __getattr__(self, name: str) -> Any:
        while self._owed:
            given, named = self._owed.pop()
            self._ledger.reserve(*given, **named)
        return getattr(self._ledger, name)

    def reserve(self, *given: Any, **named: Any) -> Reservation:
        """See `Ledger`."""
        self._owed.append((given, named))
        return Reservation(entry="0" * 64, epsilon=0.0)


def _late(folder: Path, site: str, **given: Any) -> SiteAccounts:
    accounts = open_accounts(folder, site, **given)
    return replace(accounts, ledger=LateLedger(accounts.ledger))  # type: ignore[arg-type]


# Losses that are clipped pair by pair


class ClipAfterPairsAreSummed(Wrapped):
    """No pair's gradient is clipped."""

    inner: PairClipDpSgd  # type: ignore[assignment]

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`."""
        return replace(self.inner, clip_norm=1e6).gradient_of(model, sample, public, noise)


class NegativesUnclipped(Wrapped):
    """A patient's own pair is clipped, and what it is to others is not."""

    inner: PairClipDpSgd  # type: ignore[assignment]

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`."""
        return replace(self.inner, negative_clip=1e6).gradient_of(model, sample, public, noise)


class NegativesClippedOneByOne(Wrapped):
    """Each negative pair is clipped as if it were the only one."""

    inner: PairClipDpSgd  # type: ignore[assignment]

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`."""
        each = self.inner.negative_clip * self.inner.most_sampled
        return replace(self.inner, negative_clip=each).gradient_of(model, sample, public, noise)


def _broken(**parts: Any) -> Pipeline:
    return replace(PRODUCTION, **parts)


RELEASES: dict[str, tuple[str, Pipeline]] = {
    "gate bypassed": ("gate", _broken(app=_app_beside_its_gate)),
    "one kind of message beside the gate": ("gate", _broken(app=_app_with_an_open_query)),
    "gate that lets all through": ("gate", _broken(gate=OpenGate)),
    "gate that takes any payment": ("gate", _broken(gate=_gate_that_takes_any_payment)),
    "ledger written after the noise": ("charges", _broken(accounts=_late)),
    "rule of questions an hour off": ("search-limits", _broken(policy=_without(QuestionsPerHour))),
    "rule of nearby questions off": ("search-limits", _broken(policy=_without(NearbyPerDay))),
    "rule of studies a day off": ("search-limits", _broken(policy=_without(StudiesPerDay))),
    "anybody may search": ("search-limits", _broken(policy=_without(AllowedAskers))),
    "studies that were told not noted": ("search-limits", _broken(desk=_forgetful_desk)),
    "pairs clipped after their sum": ("pair-clip", with_source(ClipAfterPairsAreSummed)),
    "negatives not clipped": ("pair-clip", with_source(NegativesUnclipped)),
    "negatives clipped one by one": ("pair-clip", with_source(NegativesClippedOneByOne)),
}
"""Each variant, the check that catches it, and the pipeline."""
