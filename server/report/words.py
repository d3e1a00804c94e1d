"""The hospital's words: names for the codes of a run, and numbers as people read them.

A number that is absent or not finite is an en dash, never `nan` or `None`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

DASH = "\N{EN DASH}"

DROP_REASONS = {
    "nan": "sent numbers that are not finite",
    "late": "answered after the deadline",
    "silent": "did not answer",
    "raised": "stopped with an error on its own machine",
    "keys": "sent other parameters than were asked for",
    "shape": "sent parameters of the wrong shape",
    "dtype": "sent numbers of the wrong type",
    "norm": "sent an update larger than allowed",
    "size": "sent a reply larger than allowed",
    "mechanism": "released its update by another mechanism than was agreed",
    "identity": "answered under another name",
    "band": "claimed a patient band that does not exist",
    "malformed": "sent a reply that cannot be read",
    "policy": "refused under its own policy",
    "budget": "had used up its privacy budget",
    "trust": "sent a signature that does not hold",
    "data": "could not read its studies",
    "config": "was set up differently from the run",
    "round": "answered for another round or run",
    "replay": "sent an earlier update again",
    "offline": "was not connected",
    "lost": "lost its connection while it trained",
    "name": "answered under another name than its key is registered under",
    "evidence": "sent a log or a signature that does not hold",
    "bundle": "has not approved this run",
    "ledger": "could not use its privacy ledger",
    "worker": "lost the process that trains",
    "replayed": "got an earlier message again, and refused it",
    "stale": "got a message of an earlier round, and refused it",
    "pair_key": "was to share noise with who it does not know, or was started anew",
    "cohort_small": "had fewer hospitals to share noise with than it asks for",
    "context_reused": "was asked for noise that it has drawn before, and refused",
    "preparing": "was still preparing its studies",
}
MOST_NAMED = 8
"""Groups that a sentence names."""
MOST_CHANCE = 0.5
"""Above it a recall says more of how few reports are searched than of the model."""

ENGINES = {"inprocess": "in process", "ray": "Ray", "deployment": "hospitals, over TLS"}
ATTRIBUTES = {"sex": "Sex", "age_band": "Age", "scanner": "Scanner", "race": "Race", "language": "Language"}
MECHANISMS = {"discrete_laplace": "discrete Laplace", "discrete_gaussian": "discrete Gaussian"}
METRICS = {
    "recall_at_1": "First hit",
    "recall_at_5": "In first 5",
    "recall_at_10": "In first 10",
    "mrr": "MRR",
    "map": "mAP",
}
BASELINES = {
    "public_only": "Public data only",
    "site_alone": "Best hospital alone",
    "federated": "Federation, no noise",
    "federated_epsilon_8": "Federation, epsilon 8",
    "federated_epsilon_2": "Federation, epsilon 2",
    "centralised": "All data in one place",
    "centralised_in_batch": "All in one place, in-batch contrast",
}
REMEDIES = {
    "none": "untreated",
    "sampling": "rates by group",
    "weight": "weights by group",
    "site_weights": "weights of hospitals",
    "score_level": "score level",
    "adversary": "adversary",
    "tone": "equalised pictures",
    "words": "public words",
}
RULES = {
    "mean": "mean",
    "median": "median",
    "trimmed_mean": "trimmed mean",
    "geometric_median": "geometric median",
    "krum": "Krum",
    "multi_krum": "Multi-Krum",
    "bulyan": "Bulyan",
    "centered_clipping": "centred clipping",
    "mda": "MDA",
    "smea": "SMEA",
    "caf": "CAF",
    "nnm": "NNM",
    "arc": "ARC",
}
NO_ATTACK = "none"
ATTACKS = {
    NO_ATTACK: ("No attack", "Nobody attacks: what the protection itself costs."),
    "alie": ("ALIE", "Sends the others' mean, moved just so far that it passes for one of them."),
    "ipm": ("IPM", "Sends the others' mean turned round and shortened, so that it looks small and harmless."),
    "sign_flip": ("Sign flip", "Trains as asked and sends the opposite."),
    "label_flip": ("Label flip", "Trains on reports that belong to other images."),
    "mimic": ("Mimic", "Sends what one honest hospital sends, which so counts several times."),
    "min_max": ("Min-max", "Goes as far from the others' mean as their own greatest distance allows."),
    "min_sum": ("Min-sum", "The same, within their own sum of squared distances."),
    "gaussian": ("Gaussian", "Sends random numbers."),
    "nan": ("NaN", "Sends what is no number."),
    "inf": ("Infinity", "Sends infinite numbers."),
    "model_replacement": ("Replacement", "Blows its update up so that it alone decides the model."),
    "backdoor": ("Backdoor", "Teaches the model to answer any image with a small patch with one report."),
    "weight_lying": ("False weight", "Claims far more patients than it has, to count for more."),
    "malformed": ("Malformed", "Sends what cannot be read."),
    "stale": ("Stale", "Sends what it made for an earlier round."),
    "replayed": ("Replayed", "Sends an earlier reply once more."),
}
"""Label and meaning of each attack; the attackers may see what the others send."""
_SMALL = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(value: float | None) -> str:
    """A rate between 0 and 1, as a percentage with one decimal."""
    return f"{100 * value:.1f}%" if value is not None and math.isfinite(value) else DASH


def rate(value: float | None, *, chance: float | None) -> str:
    """A rate as a percentage; as points over chance where a blind guess is right more often than not."""
    if value is None or chance is None or not math.isfinite(value) or chance <= MOST_CHANCE:
        return percent(value)
    return f"{100 * (value - chance):+.1f} over {100 * chance:.0f}%"


def attribute(name: str) -> str:
    """A marginal's heading: one attribute, or two of them crossed."""
    return " and ".join(ATTRIBUTES.get(part, part).lower() for part in name.split("*")).capitalize()


CODE_ATTACKS = {
    "none": "images as they are",
    "hag": "away from the own code (HAG)",
    "across": "away from the own report's code",
    "centre": "away from all that answers (centre)",
    "dhta": "towards other studies (DHTA)",
}
"""How the attacks on codes are named."""


def percent_range(interval: tuple[float, float] | None) -> str:
    """The two ends of an interval of rates."""
    return "" if interval is None else f"{100 * interval[0]:.1f}{DASH}{100 * interval[1]:.1f}"


def whole_percent(value: float | None) -> str:
    """A share as a whole percentage without the sign, for the cells of a large table; never rounded up."""
    return f"{math.floor(100 * value + 1e-9)}" if value is not None and math.isfinite(value) else DASH


def points(value: float | None) -> str:
    """A difference of rates, signed, in percentage points."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def unsigned(value: float | None) -> str:
    """A distance of rates, in percentage points."""
    return points(value).lstrip("+")


def group(name: str) -> str:
    """A group in a sentence; an intersection's parts with a comma between."""
    return name.replace(" * ", ", ")


def group_by(attribute_name: str, name: str) -> str:
    """A group in a sentence about several attributes, many of which have a group `unknown`."""
    return f"{attribute(attribute_name).lower()} {group(name)}"


def num_repeats(summary: Mapping[str, Any]) -> int:
    """Over how many repeats the figures of hospitals and groups are means; 1 for a run of its own."""
    told: Mapping[str, Mapping[str, Sequence[float]]] = summary.get("baselines") or {}
    return max((len(rates["recall_at_10"]) for rates in told.values()), default=1)


def decimal(value: float | None) -> str:
    """A number with three significant digits; very small ones as a power of ten."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    digits, _, exponent = f"{value:.2e}".partition("e")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    digits = digits.rstrip("0").rstrip(".")
    return power if digits == "1" else f"{digits} \N{MULTIPLICATION SIGN} {power}"


def epsilon(value: float | None) -> str:
    """A privacy spend, rounded up to two decimals so that the report never claims too little."""
    return f"{math.ceil(100 * value - 1e-9) / 100:.2f}" if value is not None and math.isfinite(value) else DASH


def count(value: float | None) -> str:
    """A whole number with thousands separators."""
    return f"{value:,.0f}" if value is not None and math.isfinite(value) else DASH


def duration(seconds: float | None) -> str:
    """Seconds as people say them: `8.2 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(started_at: str) -> str:
    """An ISO 8601 time in UTC, as `9 July 2026, 14:05 UTC`; any other text is given back as it is."""
    try:
        when = datetime.fromisoformat(started_at).astimezone(UTC)
    except ValueError:
        return started_at
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def spelled(number: int) -> str:
    """Small numbers as words, for a sentence."""
    return _SMALL[number] if 0 <= number < len(_SMALL) else f"{number:,}"


def plural(number: int, noun: str) -> str:
    """The number and its noun: `one round`, `three rounds`."""
    return f"{spelled(number)} {noun}{'' if number == 1 else 's'}"


def listing(names: Iterable[str]) -> str:
    """Names in a sentence: `a, b and c`."""
    *first, last = list(names) or [DASH]
    return f"{', '.join(first)} and {last}" if first else last


def capital(sentence: str) -> str:
    """The sentence with its first letter as a capital, the rest untouched."""
    return sentence[:1].upper() + sentence[1:]


def drop_reason(code: str) -> str:
    """A drop's reason in plain words; an unknown code verbatim."""
    return DROP_REASONS.get(code, code)


def remedy(name: str) -> str:
    """A remedy against a gap in plain words, those that go together joined by plus signs; an unknown name verbatim."""
    return " + ".join(REMEDIES.get(part, part) for part in name.split("+"))


def privacy(epsilon: float | None) -> str:
    """An epsilon in a title."""
    return "no noise" if epsilon is None else f"epsilon {epsilon:g}"


def rule(name: str) -> str:
    """An aggregator in plain words, its stages joined by plus signs; an unknown name verbatim."""
    return " + ".join(RULES.get(part, part) for part in name.split("+"))


def attack(name: str) -> str:
    """An attack's label; an unknown name verbatim."""
    return ATTACKS[name][0] if name in ATTACKS else name


def finite_values(values: Iterable[float | None]) -> tuple[float, ...]:
    """The values that are numbers."""
    return tuple(value for value in values if value is not None and math.isfinite(value))


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are numbers, or None where there is none."""
    numbers = finite_values(values)
    return sum(numbers) / len(numbers) if numbers else None
