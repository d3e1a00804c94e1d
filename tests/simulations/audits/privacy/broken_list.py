"""Every broken variant with each check that is named for it, and which of them must be among them.

    python -m tests.simulations.audits.privacy.broken_list

measures how often each check catches its variant and how often production passes, and prints the tables of ADR 0053.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from simulations.audits.privacy.interface import CHECKS, QUICK
from simulations.audits.privacy.pipeline import PRODUCTION, Pipeline
from simulations.audits.privacy.subject import Subject
from tests.simulations.audits.privacy.broken import BROKEN
from tests.simulations.audits.privacy.broken_noise import OF_CANARIES, OF_COLLUDERS
from tests.simulations.audits.privacy.broken_release import RELEASES
from tests.simulations.audits.privacy.conftest import FOUR, prepared

COLLUDERS = "colluders"
MOST_RUNS = 20

MUST: tuple[str, ...] = (
    "noise off",
    "noise halved",
    "noise divided by the batch",
    "clip after averaging",
    "clip by study of a patient with three",
    "in-batch negatives",
    "shuffle instead of Poisson",
    "one noise key on two sites",
    "gate bypassed",
    "ledger not written",
    "one colluder more than stated",
    "pair noise only in the last step",
    "pair noise used twice",
    "absent peer not replaced",
    "table sensitivity of one marginal only",
    "rule of questions an hour off",
)
"""The variants that an audit of this kind is worth nothing without."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A variant, and a check that catches it.

    Attributes:
        variant: What is broken.
        check: Name of the check.
        pipeline: The broken one.
    """

    variant: str
    check: str
    pipeline: Pipeline

    @property
    def shares_noise(self) -> bool:
        """Whether it is told on a run in which hospitals share noise."""
        return self.check == COLLUDERS and self.variant != "noise halved"


CASES: tuple[Case, ...] = (
    *(Case(variant=name, check=check, pipeline=broken) for name, (check, broken) in (BROKEN | RELEASES).items()),
    *(Case(variant=name, check="canaries-everyone", pipeline=broken) for name, broken in OF_CANARIES.items()),
    *(Case(variant=name, check=COLLUDERS, pipeline=broken) for name, broken in OF_COLLUDERS.items()),
)


@dataclass(frozen=True, kw_only=True)
class Count:
    """How often a check said what it should.

    Attributes:
        right: Runs in which it did.
        runs: All of them, each with another seed of what the check draws for itself.
        seconds: Of CPU time, the mean of a run.
    """

    right: int
    runs: int
    seconds: float


def count(check: str, pipeline: Pipeline, subject: Subject, *, holds: bool, runs: int, budget: float) -> Count:
    """Run a check some times, or as often as a budget of CPU seconds lasts, and once at least."""
    right, done, begun = 0, 0, time.process_time()
    while done < runs and (not done or time.process_time() - begun < budget):
        outcome = CHECKS.load(check).outcome(pipeline, replace(subject, seed=subject.seed + done))
        right += outcome.holds is holds
        done += 1
    return Count(right=right, runs=done, seconds=(time.process_time() - begun) / done)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--runs", type=int, default=MOST_RUNS)
    parser.add_argument("--budget", type=float, default=8.0, help="CPU seconds for each row, after which it ends")
    parser.add_argument("--only", choices=("variants", "production"))
    given = parser.parse_args(arguments)
    logging.getLogger("wardround.site").setLevel(logging.CRITICAL)
    with TemporaryDirectory() as folder:
        own, sharing = prepared(Path(folder)), prepared(Path(folder), *FOUR)
        if given.only != "production":
            print("| broken on purpose | caught by | caught | CPU seconds a run |\n| --- | --- | --- | --- |")  # noqa: T201
            for case in sorted(CASES, key=lambda case: (case.variant not in MUST, case.variant)):
                subject = sharing if case.shares_noise else own
                found = count(case.check, case.pipeline, subject, holds=False, runs=given.runs, budget=given.budget)
                print(_row(case.variant, f"`{case.check}`", found), flush=True)  # noqa: T201
        if given.only != "variants":
            print("\n| production | on | passed | CPU seconds a run |\n| --- | --- | --- | --- |")  # noqa: T201
            for check in sorted(QUICK):
                subject = sharing if check == COLLUDERS else own
                found = count(check, PRODUCTION, subject, holds=True, runs=given.runs, budget=given.budget)
                print(_row(f"`{check}`", "shared noise" if subject is sharing else "own noise", found), flush=True)  # noqa: T201


def _row(what: str, beside: str, found: Count) -> str:
    return f"| {what} | {beside} | {found.right} of {found.runs} | {found.seconds:.2f} |"


if __name__ == "__main__":
    main()
