"""An auditor's report in the words of its readers: verdicts, and epsilon as how often a guess can be right."""

from __future__ import annotations

import math
from collections import Counter

from server.report.words import spelled
from simulations.audits.promises.answers import Answer
from simulations.audits.promises.report import AuditReport, Kept
from simulations.audits.promises.spending import Spent

MARKS = {Answer.HOLDS: "holds", Answer.FAILS: "fails", Answer.CANNOT_TELL: "untold"}
"""Classes of the page's style."""
COHORTS = {"train": "patients in training", "held_out": "patients held out to measure"}
_ALMOST_ALWAYS = 0.9999


def headline(report: AuditReport) -> str:
    """How many promises hold, in a sentence."""
    counts = Counter(kept.answer for kept in report.promises)
    whole = len(report.promises)
    if counts[Answer.HOLDS] == whole:
        return f"All {spelled(whole)} promises hold, from what was handed over."
    parts = []
    if counts[Answer.FAILS]:
        parts.append(f"{spelled(counts[Answer.FAILS])} {_do(counts[Answer.FAILS])} not hold")
    if counts[Answer.CANNOT_TELL]:
        parts.append(f"{spelled(counts[Answer.CANNOT_TELL])} cannot be told")
    held = f"{spelled(counts[Answer.HOLDS])} {'holds' if counts[Answer.HOLDS] == 1 else 'hold'}"
    return f"Of {spelled(whole)} promises {', '.join([*parts, held])}."


def checked_from(report: AuditReport, kept: Kept) -> str:
    """How many checks a promise rests on, of which files, and by which commands."""
    own = [check for check in report.checks if kept.promise in check.promises]
    names = Counter(path.name for path in {path for check in own for path in check.files})
    files = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(names.items()))
    commands = sorted({" ".join(check.command.split()[:3]) for check in own})
    checks = f"{len(own)} {'check' if len(own) == 1 else 'checks'}"
    return f"{checks}, from {files or 'no file'}, by {', '.join(commands)}."


def most_often_right(epsilon: float, delta: float) -> float:
    """Greatest probability that any guess is right whether a patient was there, where both are as likely beforehand.

    Guarantee: (epsilon, delta)-differential privacy bounds a test's true positives by e^epsilon times its false ones
    and delta, and its true negatives the same way (Kairouz et al. 2015, arXiv 1311.0776, theorem 2.1). Unit of
    privacy: the patient. Neighbouring relation: add or remove one patient. Edge cases: epsilon 0 and delta 0 give one
    half, an infinite epsilon one.
    """
    if math.isinf(epsilon):
        return 1.0
    return min(1.0, 1 / (1 + math.exp(-epsilon)) + delta * math.exp(-epsilon) / (1 + math.exp(-epsilon)))


def guess(epsilon: float, delta: float) -> str:
    """What an epsilon means, in a sentence for people who do not know the word."""
    right = most_often_right(epsilon, delta)
    times = "more than 99.99" if right > _ALMOST_ALWAYS else f"{math.ceil(1e4 * right) / 100:.2f}"
    bound = "may be right" if right > _ALMOST_ALWAYS else "is right at most"
    return (
        f"whoever sees all that left the hospital, knows everything else, and guesses whether one patient was among "
        f"them, {bound} {times} times in 100; a blind guess is right 50 times"
    )


def account(one: Spent) -> str:
    """Whose account it is."""
    return f"{one.site}, {COHORTS.get(one.cohort, one.cohort)}"


def number(value: float | None) -> str:
    """An epsilon with two decimals; an en dash where there is none."""
    if value is None:
        return "\N{EN DASH}"
    return "infinite" if math.isinf(value) else f"{value:.2f}"


def size(num_bytes: int) -> str:
    """A file's size."""
    return f"{num_bytes:,} bytes"


def _do(count: int) -> str:
    return "does" if count == 1 else "do"
