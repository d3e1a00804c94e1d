"""An auditor's report: the claims, the checks behind them, the files behind those, and figures by hospital.

The same content goes to a page, to Markdown and to JSON (`audit.schema.json`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from common.evidence.run_audit import MOST_BYTES
from common.files import sha256_of_file
from common.trust.keys import PublicKey
from server.report.fairness.three_answers import three_answers
from server.report.words import drop_reason
from simulations.audits.promises import bad_hospital, crash, gate, indexes, served, signed_files, spending
from simulations.audits.promises.answers import Answer, Check, Promise, together
from simulations.audits.promises.claims import CANNOT_TELL, CLAIMS, KEYS_NOT_COMPARED
from simulations.audits.promises.opened import Opened
from simulations.audits.promises.spending import Spent

SCHEMA_VERSION = 1
_MOST_REASONS = 3
"""Lines that a promise's answer quotes."""


@dataclass(frozen=True, kw_only=True)
class EvidenceFile:
    """A file that was read.

    Attributes:
        path: As it was named.
        num_bytes: Its size.
        sha256: Digest of its bytes.
    """

    path: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A promise, and what became of it.

    Attributes:
        promise: Which.
        answer: What its checks come to together.
        sentence: The answer in a sentence.
        because: Lines of the checks that keep it from holding, the first few.
        num_more: Further such checks.
        checks: Names of all its checks.
        not_tested: What was not looked at.
    """

    promise: Promise
    answer: Answer
    sentence: str
    because: tuple[str, ...]
    num_more: int
    checks: tuple[str, ...]
    not_tested: tuple[str, ...]

    @property
    def title(self) -> str:
        """As in the README."""
        return CLAIMS[self.promise].title

    @property
    def means(self) -> str:
        """What it means for a patient or a hospital."""
        return CLAIMS[self.promise].means


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What was found.

    Attributes:
        made_at: When, UTC, ISO 8601.
        seconds: How long the checks took.
        run: Digest of the run's configuration; None where nobody says.
        run_folder: As it was named.
        is_simulation: Whether the run is a simulation's.
        sites: The hospitals of the run.
        promises: Each promise.
        checks: Each check.
        files: Each file that was read.
        spent: Epsilon by hospital and account, recomputed.
        drops: Replies that did not count, by hospital and reason.
        rounds: Rounds; None where the summary is not here.
        keys: Public keys that signed, by owner.
        keys_compared: Whether keys were given from elsewhere.
        private_keys: Private keys that were handed over, and should not have been.
        summary: The run's summary; None where it is not here or does not hold to its schema.
    """

    made_at: str
    seconds: float
    run: str | None
    run_folder: str
    is_simulation: bool
    sites: tuple[str, ...]
    promises: tuple[Kept, ...]
    checks: tuple[Check, ...]
    files: tuple[EvidenceFile, ...]
    spent: tuple[Spent, ...]
    drops: Mapping[str, Mapping[str, int]]
    rounds: int | None
    keys: Mapping[str, str]
    keys_compared: bool
    private_keys: tuple[str, ...]
    summary: Mapping[str, Any] | None

    @property
    def answer(self) -> Answer:
        """What all that a promise rests on comes to."""
        return together(check for check in self.checks if check.promises)

    @property
    def exit_code(self) -> int:
        """4 where a signature or digest does not hold, 1 where another check fails or one cannot be told, else 0."""
        failed = max(check.exit_code for check in self.checks)
        return failed or int(self.answer is not Answer.HOLDS)

    @property
    def first_failure(self) -> str:
        """The gravest check that does not hold, in one line; one that cannot be told where none fails."""
        worst = max(self.checks, key=lambda check: (check.exit_code, check.answer is Answer.CANNOT_TELL))
        return f"{worst.name}: {worst.says}"

    @property
    def answers(self) -> Sequence[tuple[str, str, tuple[str, ...]]]:
        """The report's own three answers on who is served worst: question, answer and what goes with it."""
        try:
            return [(one.question, one.answer, one.more) for one in three_answers(self.summary or {"sites": {}})]
        except (LookupError, TypeError, ValueError, AttributeError):
            return []  # figures that do not fit together: a check says so

    @property
    def drops_in_words(self) -> Mapping[str, str]:
        """Who was dropped how often, and why."""
        return {
            site: ", ".join(f"{drop_reason(code)} ({count})" for code, count in sorted(reasons.items()))
            for site, reasons in self.drops.items()
            if reasons
        }

    def as_json(self) -> dict[str, Any]:
        """The object of `audit.schema.json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "made_at": self.made_at,
            "wardround": version("wardround"),
            "seconds": self.seconds,
            "run": self.run,
            "run_folder": self.run_folder,
            "is_simulation": self.is_simulation,
            "holds": self.answer.as_json,
            "sites": list(self.sites),
            "rounds": self.rounds,
            "keys": dict(self.keys),
            "keys_compared": self.keys_compared,
            "private_keys_handed_over": list(self.private_keys),
            "promises": [_kept_as_json(kept) for kept in self.promises],
            "checks": [_check_as_json(check) for check in self.checks],
            "files": [asdict(file) for file in self.files],
            "spent": [_spent_as_json(one) for one in self.spent],
            "drops": {site: dict(reasons) for site, reasons in self.drops.items()},
            "groups": list((self.summary or {}).get("groups", [])),
            "fairness": dict((self.summary or {}).get("fairness", {})),
        }


def audit_report(opened: Opened, *, attacks: Sequence[Check] = (), now: datetime | None = None) -> AuditReport:
    """Make every check, and say what each promise comes to.

    Args:
        opened: What was handed over.
        attacks: Checks of attacks on the pipeline, from a file.
        now: The time, where a test sets it.
    """
    begun = time.perf_counter()
    rooms = (signed_files, indexes, gate, spending, bad_hospital, crash, served)
    checks = (*(check for room in rooms for check in room.checks(opened)), *attacks)
    summary = opened.summary.value
    return AuditReport(
        made_at=(now or datetime.now(UTC)).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - begun,
        run=opened.run,
        run_folder=str(opened.handed.run),
        is_simulation=opened.is_simulation,
        sites=opened.sites,
        promises=tuple(_kept(opened, promise, checks, has_attacks=bool(attacks)) for promise in Promise),
        checks=checks,
        files=_files(checks),
        spent=spending.spent(opened),
        drops=bad_hospital.drops(opened),
        rounds=None if summary is None else int(summary["rounds_completed"]),
        keys=_keys(opened),
        keys_compared=bool(opened.known),
        private_keys=tuple(map(str, opened.handed.private_keys)),
        summary=summary,
    )


def _kept(opened: Opened, promise: Promise, checks: Sequence[Check], *, has_attacks: bool) -> Kept:
    own = [check for check in checks if promise in check.promises]
    claim, answer = CLAIMS[promise], together(own)
    holds = (opened.is_simulation and claim.holds_unsigned) or claim.holds
    against = [check for check in own if check.answer is answer] if answer is not Answer.HOLDS else []
    against.sort(key=lambda check: -check.exit_code)
    not_tested = list(claim.not_tested)
    if promise is Promise.EPSILON and has_attacks:
        not_tested = not_tested[1:]
    if promise is Promise.OFFLINE and not opened.known:
        not_tested.append(KEYS_NOT_COMPARED)
    return Kept(
        promise=promise,
        answer=answer,
        sentence={
            Answer.HOLDS: holds,
            Answer.FAILS: claim.fails,
            Answer.CANNOT_TELL: CANNOT_TELL,
        }[answer],
        because=tuple(f"{check.name}: {check.says}" for check in against[:_MOST_REASONS]),
        num_more=max(0, len(against) - _MOST_REASONS),
        checks=tuple(check.name for check in own),
        not_tested=tuple(not_tested),
    )


def _files(checks: Sequence[Check]) -> tuple[EvidenceFile, ...]:
    """Every file that a check read, once, with the digest that it has now; a huge one is read by no check."""
    paths = dict.fromkeys(path for check in checks for path in check.files if path.stat().st_size <= MOST_BYTES)
    return tuple(
        EvidenceFile(path=str(path), num_bytes=path.stat().st_size, sha256=sha256_of_file(path)) for path in paths
    )


def _keys(opened: Opened) -> dict[str, str]:
    found: dict[str, PublicKey] = {site: audit.books.public_key for site, audit in opened.ledgers.items()}
    found |= {trail.owner.owner: trail.owner.public_key for trail in opened.trails.values()}
    return {owner: key.hex for owner, key in sorted(found.items())}


def _kept_as_json(kept: Kept) -> dict[str, Any]:
    return {
        "promise": kept.promise.value,
        "title": kept.title,
        "holds": kept.answer.as_json,
        "says": kept.sentence,
        "because": list(kept.because),
        "checks": list(kept.checks),
        "not_tested": list(kept.not_tested),
    }


def _check_as_json(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "promises": [promise.value for promise in check.promises],
        "holds": check.answer.as_json,
        "says": check.says,
        "files": [str(path) for path in check.files],
        "command": check.command,
        "seconds": check.seconds,
        "claimed_epsilon": _finite(check.claimed_epsilon),
        "lower_bound": check.lower_bound,
    }


def _spent_as_json(one: Spent) -> dict[str, Any]:
    return {name: _finite(value) if isinstance(value, float) else value for name, value in asdict(one).items()}


def _finite(value: float | None) -> float | None:
    """The value; null where a release had no noise, so that epsilon is infinite."""
    return value if value is not None and value < float("inf") else None
