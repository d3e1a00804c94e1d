"""An audit's outcomes in a data protection officer's words; never that something is private."""

from __future__ import annotations

from collections.abc import Sequence

from simulations.audits.privacy.interface import Outcome

MARKS = {True: "holds", False: "does not hold", None: "cannot tell"}


def headline(outcomes: Sequence[Outcome]) -> str:
    """How many claims stood."""
    failed = [outcome for outcome in outcomes if outcome.holds is False]
    silent = [outcome for outcome in outcomes if outcome.holds is None]
    tried = f"{len(outcomes)} attack{'' if len(outcomes) == 1 else 's'} on the running code"
    unknown = f"; {len(silent)} could not tell" if silent else ""
    if failed:
        return f"{tried}: {len(failed)} broke a promise ({', '.join(one.name for one in failed)}){unknown}"
    return f"{tried}: none broke a promise{unknown}"


def _percent(confidence: float) -> str:
    """A confidence that is not rounded up to certainty."""
    return f"{min(confidence, 0.9999):.4%}".rstrip("0").rstrip(".") if confidence > 0.99 else f"{confidence:.0%}"


def verdict(outcome: Outcome) -> str:
    """The bound beside the claim."""
    if outcome.lower_bound is None or outcome.claimed_epsilon is None:
        return "No epsilon is claimed."
    sure = "by arithmetic" if outcome.confidence is None else f"with {_percent(outcome.confidence)} confidence"
    return f"Claimed: epsilon {outcome.claimed_epsilon:.4g} at most. Shown, {sure}: at least {outcome.lower_bound:.4g}."
