"""What the release gate found, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.report import words

MOST_REASONS = 3
"""Checks that the reason names."""

REMEDY = (
    "with more held-out patients or a larger fairness.epsilon more can be told, and fairness.accept_cannot_tell=true "
    "accepts what cannot"
)

ANSWERS = {"holds": "holds", "fails": "fails", "cannot_tell": "we cannot tell"}
"""What a check came to, as the report's table says it."""

_CHECKS = {
    "max_gap": "No group far below another",
    "min_group_recall": "Every group found often enough",
    "no_site_worse": "No hospital worse than at the start",
}


def title(check: Mapping[str, Any]) -> str:
    """What is checked."""
    name = _CHECKS[check["name"]]
    return name if check["attribute"] is None else f"{name}: {words.attribute(check['attribute']).lower()}"


def asked(check: Mapping[str, Any]) -> str:
    """What the config asks for."""
    bound = check["bound"]
    return {
        "max_gap": f"at most {words.unsigned(bound)} points",
        "min_group_recall": f"at least {words.percent(bound)}",
        "no_site_worse": "no loss",
    }[check["name"]]


def found(check: Mapping[str, Any]) -> str:
    """The figure that decides, with its interval."""
    value, low, high = check["value"], check["low"], check["high"]
    if value is None:
        return "too few groups are shown" if check["site"] is None else f"{check['site']} told nothing"
    group = words.group(check["group"]) if check["group"] is not None else check["site"]
    if check["name"] == "max_gap":
        against = words.group(check["against"])
        return (
            f"{group} lies {words.unsigned(value)} points below {against} "
            f"({words.unsigned(low)} to {words.unsigned(high)})"
        )
    if check["name"] == "min_group_recall":
        return f"{group} at {words.percent(value)} ({words.percent(low)} to {words.percent(high)})"
    return f"{group} {words.points(value)} points ({words.points(low)} to {words.points(high)})"


def sentence(check: Mapping[str, Any]) -> str:
    """A check in one sentence, without a full stop: the key, what was found, what was asked."""
    about = "" if check["attribute"] is None else f"{words.attribute(check['attribute']).lower()}: "
    told = "cannot be told" if check["answer"] == "cannot_tell" else check["answer"]
    return f"fairness.{check['name']} {told}: {about}{found(check)}, {asked(check)} asked"


def stands_against(checks: Sequence[Mapping[str, Any]], *, accept_cannot_tell: bool) -> list[Mapping[str, Any]]:
    """The checks that keep a model: those that fail, else those that cannot be told and have to be."""
    failed = [check for check in checks if check["answer"] == "fails"]
    untold = [check for check in checks if check["answer"] == "cannot_tell"]
    return failed or ([] if accept_cannot_tell else untold)


def reason(checks: Sequence[Mapping[str, Any]]) -> str:
    """Why a model is withheld, in one line.

    Args:
        checks: Those that stand against it, at least one.
    """
    named = "; ".join(sentence(check) for check in checks[:MOST_REASONS])
    more = len(checks) - MOST_REASONS
    rest = f"; and {words.plural(more, 'check')} more" if more > 0 else ""
    remedy = f"; {REMEDY}" if _can_be_told_yet(checks) else ""
    return f"the model must not be published: {named}{rest}{remedy}"


def withheld(summary: Mapping[str, Any]) -> list[str]:
    """Why a model is withheld, a sentence a check; none where it is not."""
    gate = summary.get("release")
    if not gate or gate["decision"] == "passed":
        return []
    checks = stands_against(gate["checks"], accept_cannot_tell=gate["accept_cannot_tell"])
    told = [f"{title(check)}: {ANSWERS[check['answer']]}; {found(check)}, {asked(check)} asked." for check in checks]
    return [*told, f"{words.capital(REMEDY)}."] if _can_be_told_yet(checks) else told


def _can_be_told_yet(checks: Sequence[Mapping[str, Any]]) -> bool:
    return any(check["answer"] == "cannot_tell" for check in checks)


def passed(summary: Mapping[str, Any]) -> str | None:
    """That the model may be published, in a sentence; None where it is withheld, and where nothing was asked for."""
    gate = summary.get("release")
    if not gate or gate["decision"] == "withheld":
        return None
    untold = sum(check["answer"] == "cannot_tell" for check in gate["checks"])
    number = words.plural(len(gate["checks"]), "fairness check")
    if untold:
        return (
            f"Of {number} none fails; {words.spelled(untold)} cannot be told, which the config accepts: "
            "the model may be published."
        )
    return f"{words.capital(number)} {'holds' if len(gate['checks']) == 1 else 'hold'}: the model may be published."
