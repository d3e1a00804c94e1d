"""One run of the federation: ask, admit, aggregate, step, commit, round after round; Flower is not seen from here.

A round counts once its checkpoint is on the disk. Updates are aggregated in the order of the sites' names, so that
the order of arrival changes nothing. No reply raises out of a round. Sites may come and go: one that comes, or comes
back, is asked from the next round on, with the history it had; one that is not there when it would be asked is dropped.
One that hardly counts is asked no more (`server/resting.py`), but for the last message, which only measures.

Shapes: S sites, P trained parameters.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import (
    AggregationError,
    BudgetExhausted,
    BundleRefused,
    CheckFailed,
    CohortSmall,
    ContextReused,
    PairKeyError,
    PolicyRefusal,
)
from common.privacy.plan import PrivacyPlan
from common.wire.flower import Reply
from common.wire.preparing import PREPARING
from common.wire.update import ArrayPlan
from server.admission import Admission
from server.checkpoint import SiteHistory, note_asked, save_state
from server.collector import Collector
from server.public_watch import PublicWatch
from server.resting import note_weights, resting
from server.rounds import Phase, Round, num_needed
from server.setup import Setup
from server.stepper import Stepper
from server.transport import OFFLINE, Transport, Wait

NOT_TRAINED = (
    BudgetExhausted.reason,
    BundleRefused.reason,
    PolicyRefusal.reason,
    PairKeyError.reason,
    CohortSmall.reason,
    ContextReused.reason,
    OFFLINE,
    PREPARING,
)
"""Reason codes of a site that did not train."""

UPDATED, STEPPED_BACK, QUORUM_MISSED = "updated", "stepped_back", "quorum_missed"
"""What comes of a round: the model moved; it moved, and fell below the best on public studies; too few took part."""
_UNCHANGED: Mapping[str, Any] = {"update_norm": None, "weights": {}}
"""Of a round that left the model as it was."""


class Federation:
    """One run."""

    def __init__(self, setup: Setup, transport: Transport) -> None:
        config = setup.config
        self._setup = setup
        self._transport = transport
        self._recorder = setup.recorder
        self._state = setup.state
        self._watch = PublicWatch(setup.validation, setup.trained) if setup.validation is not None else None
        self._plan = ArrayPlan.of({name: self._state.arrays["model"][name] for name in setup.trained})
        self._stepper = Stepper(config, self._plan, setup.privacy)
        self._admission = Admission.of(config, self._plan)
        self._collector = Collector(setup, transport, self._admission, self._plan)

    def run(self) -> None:
        """The rounds that are left, then one message that measures the final model.

        Raises:
            BudgetExhausted: So many sites refused for their privacy budget that no round can meet its quorum.
            CheckFailed: No site answered, too few came for a round, or no round met its quorum.
            CheckpointError: The disk refuses a checkpoint.
            TrustError: The server's log cannot be written.
        """
        self._recorder.run_opened()
        self._meet_sites()
        if self._watch is not None:
            self._watch.open(self._state)
        rounds = self._setup.config.federation.rounds
        number = self._state.rounds_completed
        while number < rounds and not self._is_out_of_budget():
            number += 1
            self._round(number)
        self._measure(rounds + 1)
        if self._is_out_of_budget():
            raise BudgetExhausted(
                f"stopped after round {number} of {rounds}: the hospitals' privacy budgets are spent "
                "(policy.epsilon in a simulation); their ledgers say by what"
            )
        if rounds and not any(record["outcome"] in {UPDATED, STEPPED_BACK} for record in self._state.rounds):
            raise CheckFailed("no round changed the model; the report and rounds.jsonl name the sites and the reasons")

    def _meet_sites(self) -> None:
        # A run that is gone on with waits for a quorum alone: who is away would hold up every restart.
        least = self._quorum if self._state.sites else self._setup.least_sites
        self._take_in(self._transport.meet(self._wait(least)))
        if not self._state.sites:
            raise CheckFailed("no site answered; check that the sites run and reach the server")
        self._save_meeting()

    def _await_sites(self, *, apart: Collection[str] = frozenset()) -> None:
        """Take in who came since, and wait for a quorum."""
        if self._take_in(self._transport.arrivals(self._wait(self._quorum, apart=apart))):
            self._save_meeting()

    def _wait(self, wanted: int, *, apart: Collection[str] = frozenset()) -> Wait:
        return Wait(
            apart=apart,
            wanted=wanted,
            needed=self._quorum,
            deadline_seconds=self._setup.config.federation.deadline_seconds,
            patience_seconds=self._setup.patience_seconds,
            watch=self._setup.watch_presence,
        )

    def _take_in(self, bands: dict[str, str]) -> bool:
        """Begin the histories of sites that were never there; whether there was one."""
        new = sorted(bands.keys() - self._state.sites.keys())
        self._state.sites.update((site, SiteHistory(bands[site])) for site in new)
        return bool(new)

    def _save_meeting(self) -> None:
        # One block for all rounds: fresh memory costs more than the copy into it.
        self._updates_SP = np.empty((len(self._state.sites), self._plan.num_values), dtype=np.float32)
        # The sites' names are on the disk before the first of them is charged.
        self._write_state()

    @property
    def _quorum(self) -> int:
        """How many sites must be there for a round."""
        expected = max(len(self._state.sites), self._setup.least_sites)
        return num_needed(expected, quorum=self._setup.config.federation.quorum)

    def _round(self, number: int) -> None:
        started = time.monotonic()
        at_rest = resting(self._state.sites)
        self._await_sites(apart=at_rest)
        num_here = self._transport.num_here(apart=at_rest)
        if num_here < self._quorum:
            # Nobody is asked, so that no patient pays for what cannot count.
            raise CheckFailed(
                f"round {number} needs {self._quorum} hospitals and {num_here} came within "
                "federation.patience_hours; see that they run, and resume"
            )
        self._train(number, started)

    def _train(self, number: int, started: float) -> None:
        updates_SP = self._updates_SP
        rows = {site: row for row, site in enumerate(sorted(self._state.sites))}
        fingerprints: dict[str, str | None] = {}

        def accept(reply: Reply, site: str) -> None:
            plan = self._plan_of(site)
            fingerprints[site] = self._admission.admit(
                reply,
                event=plan.event if plan else None,
                earlier=self._state.sites[site].fingerprints,
                into_P=updates_SP[rows[site]],
            )

        at_rest = resting(self._state.sites)
        asked = tuple(site for site in self._state.sites if site not in at_rest)
        self._charge(asked)
        round_ = self._collector.collect(number, accept, sites=asked, train=True)
        came_of = self._update(round_, updates_SP, rows)
        if came_of["outcome"] == UPDATED:
            self._remember(fingerprints)
            came_of |= self._judge(number)
        self._commit(number, round_, {**came_of, "to_rest": self._to_rest(number, came_of["weights"])}, started)

    def _to_rest(self, number: int, weights: Mapping[str, float]) -> list[str]:
        """The sites that are asked no more from the next round on; those that are left meet the quorum and the rule."""
        borne, whole = self._setup.config.aggregator.num_byzantine, len(self._state.sites)
        enough = [
            num_resting
            for num_resting in range(borne + 1)
            if (left := whole - num_resting) >= self._quorum and self._stepper.max_byzantine(left) >= borne
        ]
        most = max(enough, default=0)
        has_next = number < self._setup.config.federation.rounds
        return note_weights(self._state.sites, weights, round_number=number, most=most if has_next else 0)

    def _remember(self, fingerprints: dict[str, str | None]) -> None:
        """Keep what moved the model: where it stays, an honest site may come to the same update in the next round."""
        for site, fingerprint in fingerprints.items():
            if fingerprint is not None:
                self._state.sites[site].fingerprints.append(fingerprint)

    def _judge(self, number: int) -> dict[str, Any]:
        """Look on public studies whether the model may stay as the round left it."""
        if self._watch is None:
            return {}
        seen = self._watch.judge(self._state, round_number=number)
        return {"outcome": STEPPED_BACK if seen["stepped_back"] else UPDATED, "validation": seen}

    def _plan_of(self, site: str) -> PrivacyPlan | None:
        return self._setup.privacy(self._state.sites[site].patients_band)

    def _charge(self, asked: tuple[str, ...]) -> None:
        """Count the round as spent at every site that is asked before any of them draws its noise."""
        for site in asked:
            self._state.sites[site].rounds_asked += 1
        note_asked(self._state, self._setup.folder)

    def _is_out_of_budget(self) -> bool:
        """Whether the last round missed its quorum, and would have met it had no budget been spent."""
        if not self._state.rounds or self._state.rounds[-1]["outcome"] != QUORUM_MISSED:
            return False
        last = self._state.rounds[-1]
        out = sum(reason == BudgetExhausted.reason for reason in last["dropped"].values())
        needed = self._setup.config.federation.quorum * len(last["asked"])
        return out > 0 and bool(len(last["admitted"]) + out >= needed)

    def _measure(self, number: int) -> None:
        self._await_sites()
        everybody = tuple(self._state.sites)
        self._state.forget_counts()
        self._collector.collect(number, lambda reply, site: None, sites=everybody, train=False)  # noqa: ARG005 - nothing to admit
        self._save()

    def _update(self, round_: Round, updates_SP: NDArray[np.float32], rows: dict[str, int]) -> dict[str, Any]:
        """Aggregate and step; the part of the round's record that says what came of it."""
        if round_.phase is Phase.MISSED:
            return {**_UNCHANGED, "outcome": QUORUM_MISSED}
        admitted = sorted(round_.admitted)
        try:
            # A view where nobody is missing: the updates of a large cohort are not copied.
            whole = len(admitted) == len(updates_SP)
            cohort_SP = updates_SP if whole else updates_SP[[rows[site] for site in admitted]]
            aggregate = self._stepper.aggregate(self._state, cohort_SP, admitted)
        except AggregationError as error:
            return {**_UNCHANGED, "outcome": str(error)}
        if self._watch is not None:
            self._watch.keep_best(self._state)
        self._stepper.step(self._state, aggregate)
        return {
            "outcome": UPDATED,
            "update_norm": float(aggregate.update_P.norm()),
            "weights": dict(zip(admitted, aggregate.site_weights_S.tolist(), strict=True)),
        }

    def _commit(self, number: int, round_: Round, came_of: dict[str, Any], started: float) -> None:
        """Write a round to the disk, whatever came of it."""
        for site, history in self._state.sites.items():
            history.rounds_joined += site in round_.admitted
            if site in round_.dropped:
                reason = round_.dropped[site]
                history.drops[reason] = history.drops.get(reason, 0) + 1
                # A site that refuses does so before it draws any noise, and one that is offline was never asked.
                history.rounds_asked -= reason in NOT_TRAINED
        plans = {site: self._plan_of(site) for site in self._state.sites}
        record = {
            "round": number,
            "asked": list(round_.asked),
            "admitted": sorted(round_.admitted),
            "dropped": round_.dropped,
            "validation": None,
            **came_of,
            "seconds": time.monotonic() - started,
            "metrics": {},
            "epsilon": {
                site: plan.epsilon_after(self._state.sites[site].rounds_asked) if plan else None
                for site, plan in plans.items()
            },
        }
        self._state.rounds.append(record)
        self._state.rounds_completed += 1
        self._save()

    def _write_state(self) -> None:
        save_state(self._state, self._setup.folder, vouch=partial(self._recorder.checkpoint, self._state))
        self._recorder.committed(self._state)

    def _save(self) -> None:
        self._write_state()
        self._setup.observer.round_committed(self._state)
