"""How far does a report move when its words for sex, age or race are exchanged?

Counterfactual reports: woman becomes man, an age moves by thirty years, one race becomes another, and the medical
content stays. The stand-in is asked for the study's own image by the report as it is, by the exchanged one, and by
one in which as many function words were exchanged. Where the exchange costs more of the match than the neutral
edit, reports find their images by who the patient is, and so will a model.

Shapes: N studies whose report has such words, E components of reports.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from client.audits.contrasts import NUM_BOOTSTRAP
from client.audits.features import Components, Features
from client.audits.interface import ALPHA, Audited, Finding, Verdict, forest
from client.audits.permutation import NUM_EXCHANGES, holm
from client.audits.stand_in import StandIn, fit_stand_in
from client.audits.studies import AuditedStudies
from client.audits.words import percent
from common.fairness.groups import LEAST_PATIENTS
from common.seeds import numpy_generator

QUESTION = "How far does a report move when its words for sex, age or race are exchanged?"

_SEX = {"woman": "man", "women": "men", "female": "male", "she": "he", "lady": "gentleman", "girl": "boy", "mrs": "mr"}
_MALE = {male: female for female, male in _SEX.items()}
_SEX_WORDS = _SEX | _MALE | {"her": "his", "hers": "his", "his": "her", "him": "her"}
_RACES = (
    "black",
    "white",
    "asian",
    "hispanic",
    "caucasian",
    "african american",
    "african-american",
    "latino",
    "latina",
)
_PERSON = "man|woman|male|female|patient|boy|girl|gentleman|lady|adult|child|infant"
_FUNCTION_WORDS = (
    *("the", "a", "an", "is", "are", "was", "were", "and"),
    *("of", "in", "with", "to", "for", "on", "at"),
)

SEX = re.compile(rf"\b({'|'.join(_SEX_WORDS)})\b", re.IGNORECASE)
AGE = re.compile(r"\b(\d{1,3})(?=[- ]?(?:year|yr|y/?o\b|y\.o))", re.IGNORECASE)
RACE = re.compile(rf"\b({'|'.join(_RACES)})(?=[ -](?:{_PERSON}))|\b(caucasian|african[- ]american)\b", re.IGNORECASE)
NEUTRAL = re.compile(rf"\b({'|'.join(_FUNCTION_WORDS)})\b", re.IGNORECASE)

YEARS, MIDDLE_AGE = 30, 50


@dataclass(frozen=True)
class Swap:
    """A kind of words and what each becomes."""

    pattern: re.Pattern[str]
    other: Callable[[str], str]

    def of(self, text: str) -> tuple[str, int]:
        """The text with the words exchanged, and how many there were."""
        return self.pattern.subn(lambda found: self.other(found[0].lower()), text)


def _other_age(age: str) -> str:
    return str(int(age) + YEARS if int(age) < MIDDLE_AGE else int(age) - YEARS)


SWAPS: Mapping[str, Swap] = {
    "sex": Swap(SEX, lambda word: _SEX_WORDS[word]),
    "age": Swap(AGE, _other_age),
    "race": Swap(RACE, lambda word: "black" if word in {"white", "caucasian"} else "white"),
}


def neutral_edit(text: str, num: int, rng: np.random.Generator) -> str:
    """The text with as many of its function words exchanged for others, or all of them where it has fewer."""
    places = list(NEUTRAL.finditer(text))
    chosen = sorted(rng.choice(len(places), size=min(num, len(places)), replace=False)) if places else []
    for position in reversed(chosen):
        found = places[position]
        others = [word for word in _FUNCTION_WORDS if word != found[0].lower()]
        text = text[: found.start()] + others[int(rng.integers(len(others)))] + text[found.end() :]
    return text


def audit_swaps(studies: AuditedStudies, features: Features, images_ND: Components, reports_NE: Components) -> Audited:
    """Each kind of words: what the exchange costs beyond a neutral edit, by patient."""
    patients = tuple(record.patient_id for record in studies.records)
    stand_in = fit_stand_in(images_ND, reports_NE, patients)
    made = {kind: one for kind, swap in SWAPS.items() if (one := _make(kind, swap, studies)) is not None}
    tested = {kind: _cost(one, studies, features, stand_in, images_ND, reports_NE) for kind, one in made.items()}
    findings = tuple(_findings(tested))
    return Audited(name="swaps", question=QUESTION, findings=findings, figure=forest(findings))


@dataclass(frozen=True, kw_only=True)
class _Made:
    """The reports with words of one kind: their positions, exchanged, and with a neutral edit."""

    kind: str
    rows: list[int]
    exchanged: list[str]
    neutral: list[str]


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """What an exchange moved and cost: distances and ranks of exchange and neutral edit, and the cost by patient."""

    distances: tuple[float, float]
    ranks: tuple[float, float]
    mean: float
    low: float
    high: float
    p_value: float


def _make(kind: str, swap: Swap, studies: AuditedStudies) -> _Made | None:
    """The edited reports, or None where too few patients have any."""
    rng = numpy_generator(0, "audit", "swaps", kind)
    edited = [swap.of(record.report) for record in studies.records]
    rows = [i for i, (_, num) in enumerate(edited) if num]
    if len({studies.records[i].patient_id for i in rows}) < LEAST_PATIENTS:
        return None
    neutral = [neutral_edit(studies.records[i].report, edited[i][1], rng) for i in rows]
    return _Made(kind=kind, rows=rows, exchanged=[edited[i][0] for i in rows], neutral=neutral)


def _cost(
    made: _Made,
    studies: AuditedStudies,
    features: Features,
    stand_in: StandIn,
    images_ND: Components,
    reports_NE: Components,
) -> _Tested:
    before_N = stand_in.rank(images_ND, reports_NE)
    matches, ranks, distances = [], [], []
    for texts in (made.exchanged, made.neutral):
        edited_NE = reports_NE.copy()
        edited_NE[made.rows] = features.reports(texts)
        matches.append(stand_in.match(images_ND, edited_NE)[made.rows])
        ranks.append(float(np.abs(stand_in.rank(images_ND, edited_NE) - before_N)[made.rows].mean()))
        distances.append(float(np.linalg.norm((edited_NE - reports_NE)[made.rows], axis=1).mean()))
    owners = [studies.records[i].patient_id for i in made.rows]
    mean, low, high, p_value = sign_flip(matches[1] - matches[0], owners, made.kind)
    return _Tested(
        distances=(distances[0], distances[1]),
        ranks=(ranks[0], ranks[1]),
        mean=mean,
        low=low,
        high=high,
        p_value=p_value,
    )


def _findings(tested: Mapping[str, _Tested]) -> Iterator[Finding]:
    corrected = dict(zip(tested, holm([one.p_value for one in tested.values()]), strict=True))
    for kind in SWAPS:
        if kind not in tested:
            yield Finding(
                subject=f"words for {kind}",
                sentence=f"Too few reports have words for {kind} to exchange.",
                verdict=Verdict.CANNOT_TELL,
                measure="loss of the match",
            )
            continue
        one, found = tested[kind], corrected[kind] <= ALPHA
        yield Finding(
            subject=f"words for {kind}",
            sentence=(
                f"Exchanging the words for {kind} moves a report by {one.distances[0]:.2f} and the rank of its image "
                f"by {percent(one.ranks[0])} of the others, a neutral edit by {one.distances[1]:.2f} and "
                f"{percent(one.ranks[1])}; it costs {one.mean:+.3f} of the match"
                f"{': images are found by these words' if found else ''}."
            ),
            verdict=Verdict.FOUND if found else Verdict.NOT_FOUND,
            measure="loss of the match beyond a neutral edit",
            estimate=one.mean,
            low=one.low,
            high=one.high,
            p_value=corrected[kind],
        )


def sign_flip(cost_N: Components, owners: list[str], label: str) -> tuple[float, float, float, float]:
    """Mean over patients, its bootstrap interval, and the p-value that it is above zero by chance.

    Where an exchange costs nothing, each patient's cost is as likely to be a gain; so signs are flipped by patient.
    """
    rng = numpy_generator(0, "audit", "sign flip", label)
    by_patient: dict[str, list[float]] = defaultdict(list)
    for owner, cost in zip(owners, cost_N, strict=True):
        by_patient[owner].append(float(cost))
    cost_P = np.array([np.mean(costs) for costs in by_patient.values()])
    flipped_M = rng.choice((-1.0, 1.0), size=(NUM_EXCHANGES, len(cost_P))) @ cost_P
    drawn_B = cost_P[rng.integers(len(cost_P), size=(NUM_BOOTSTRAP, len(cost_P)))].mean(axis=1)
    low, high = np.quantile(drawn_B, (0.025, 0.975))
    p_value = (1 + int((flipped_M >= cost_P.sum() - 1e-12).sum())) / (1 + NUM_EXCHANGES)
    return float(cost_P.mean()), float(low), float(high), p_value
