"""Reports: every finding stated in a house's own words, some absent ones denied, the order shuffled.

A detail (side, zone or severity) is left out now and then, a finding never; nothing untrue is ever said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from common.seeds import derive_seed
from simulations.cohorts.findings import BILATERAL, DEVICE_NAMES, FINDING_NAMES, NOT_APPLICABLE, Finding
from simulations.cohorts.wordings import (
    CLEAR,
    CLOSINGS,
    DEGREES,
    DENIALS,
    DEVICE_FRAMES,
    FINDING_FRAMES,
    NORMAL_HEART,
    NOUNS,
    OPENINGS,
    REGIONS,
    SIDE_WORDS,
    ZONE_WORDS,
)

OMITTED_DETAIL_RATE = 0.04
"""Probability that a report leaves out one side, zone or severity."""

MAX_DENIALS = 3
NOT_IN_THE_LUNGS = {"cardiomegaly", "rib fracture", "hiatal hernia", *DEVICE_NAMES}
"""Findings beside which a report may still call the lungs clear."""

T = TypeVar("T")


@dataclass(frozen=True)
class HouseStyle:
    """How the radiologists of one site write.

    Attributes:
        seed: Decides the house's favourite of each list of wordings; None for the first, the textbook's.
        strength: Probability that the favourite is used; otherwise any wording, all equally likely.
    """

    seed: int | None
    strength: float

    def choose(self, slot: str, wordings: Sequence[T], rng: np.random.Generator) -> T:
        """One wording for a slot of the grammar."""
        if rng.random() < self.strength:
            favourite = 0 if self.seed is None else derive_seed(self.seed, slot) % len(wordings)
            return wordings[favourite]
        return wordings[int(rng.integers(len(wordings)))]


def write_report(findings: Sequence[Finding], style: HouseStyle, rng: np.random.Generator) -> str:
    """The report of a study.

    Args:
        findings: Everything that is found in the study, devices included.
        style: The house's favourites.
        rng: Decides everything that the style leaves open.
    """
    stated = [_sentence(_state(finding, style, rng)) for finding in findings if finding.name in FINDING_NAMES]
    devices = [_sentence(_state(finding, style, rng)) for finding in findings if finding.name in DEVICE_NAMES]
    rng.shuffle(stated)
    rng.shuffle(devices)
    negatives = [_sentence(text) for text in _negatives({finding.name for finding in findings}, style, rng)]
    blocks = style.choose(
        "order",
        ((stated, devices, negatives), (devices, stated, negatives), (negatives, stated, devices)),
        rng,
    )
    opening, closing = style.choose("opening", OPENINGS, rng), style.choose("closing", CLOSINGS, rng)
    return " ".join(part for part in (opening, *(text for block in blocks for text in block), closing) if part)


def _state(finding: Finding, style: HouseStyle, rng: np.random.Generator) -> str:
    """One finding or device in words."""
    told = replace(
        finding,
        side=_mostly(finding.side, rng),
        zone=_mostly(finding.zone, rng),
        severity=_mostly(finding.severity, rng),
    )
    singular, plural = style.choose(f"noun {told.name}", NOUNS[told.name], rng)
    degree = ""
    if told.severity:
        degree = style.choose(f"degree {told.name}", DEGREES[told.name], rng)[told.grade]
    frames = DEVICE_FRAMES if told.name in DEVICE_NAMES else FINDING_FRAMES
    frame = style.choose("device frame" if told.name in DEVICE_NAMES else "frame", frames, rng)
    text = frame.format(
        noun=plural if told.side == BILATERAL or degree in ("double", "paired", "multiple", "several") else singular,
        degree=degree,
        place=_adjective(told, style, rng),
        at=_prepositional(told, style, rng),
    )
    return " ".join(text.split()).removesuffix(",").replace(" ,", ",")


def _mostly(detail: str, rng: np.random.Generator) -> str:
    """The detail, or nothing once in a while."""
    return NOT_APPLICABLE if rng.random() < OMITTED_DETAIL_RATE else detail


def _adjective(finding: Finding, style: HouseStyle, rng: np.random.Generator) -> str:
    """`left upper zone`, `bilateral`, `upper zone` or nothing."""
    side = style.choose("side", SIDE_WORDS[finding.side], rng) if finding.side else ""
    return f"{side} {_region(finding, style, rng)}".strip()


def _prepositional(finding: Finding, style: HouseStyle, rng: np.random.Generator) -> str:
    """`in the left upper zone`, `in both upper zones`, `on the left`, `on both sides` or nothing."""
    region = _region(finding, style, rng)
    if finding.side == BILATERAL:
        return f"in both {region}s" if region else "on both sides"
    if region:
        return " ".join(f"in the {finding.side} {region}".split())
    return f"on the {finding.side}" if finding.side else ""


def _region(finding: Finding, style: HouseStyle, rng: np.random.Generator) -> str:
    if not finding.zone:
        return ""
    return f"{style.choose('zone', ZONE_WORDS[finding.zone], rng)} {style.choose('region', REGIONS, rng)}"


def _negatives(present: set[str], style: HouseStyle, rng: np.random.Generator) -> list[str]:
    """What is normal and what is denied, in random order."""
    absent = [name for name in FINDING_NAMES if name not in present]
    count = min(int(rng.integers(MAX_DENIALS + 1)), len(absent))
    denied = [absent[index] for index in rng.choice(len(absent), count, replace=False)] if count else []
    texts = []
    for name in denied:
        noun, _ = style.choose(f"noun {name}", NOUNS[name], rng)
        texts.append(style.choose("denial", DENIALS, rng).format(noun=noun))
    if present <= NOT_IN_THE_LUNGS:
        texts.append(style.choose("clear", CLEAR, rng))
    if "cardiomegaly" in absent and "cardiomegaly" not in denied and rng.random() < 0.5:
        texts.append(style.choose("heart", NORMAL_HEART, rng))
    rng.shuffle(texts)
    return texts


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
