"""The strength of attacks as one page for an ethics board: a sentence and a plot for each, and all figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.templates import page_templates
from simulations.audits.privacy.interface import Curve, Plot
from simulations.audits.privacy.page import Drawn, draw
from simulations.audits.privacy.strength import (
    EPSILONS,
    LINK_CODE,
    LINK_EMBEDDING,
    MEMBER_CODE,
    MEMBER_EMBEDDING,
    OF_CODES,
    OWN,
    SHARE,
    WIDTHS,
    Figure,
    Strength,
)

ASKED = {
    MEMBER_EMBEDDING: "Can it be told from the final model's embeddings who was trained on?",
    MEMBER_CODE: "Can it be told from the final model's codes who was trained on?",
    "picture from one step": "Does one step of one patient show the picture?",
    "picture from a round": "Does a round of one patient show the picture?",
    "features from one step": "Does one step of one patient point to the study?",
    "features from a round": "Does a round of one patient point to the study?",
    SHARE: "Does what a hospital sends tell how many of its patients have a finding?",
    LINK_CODE: "Does a code point to the patient's other studies?",
    LINK_EMBEDDING: "Does an embedding point to the patient's other studies?",
}
NO_PROMISE = {
    SHARE: "Epsilon is of one patient. A share is of many, and no epsilon here bounds it.",
    LINK_CODE: "No noise lies on a code. Epsilon is of training and does not bound this; limits of searching do.",
    LINK_EMBEDDING: "An embedding stays at its hospital.",
}


@dataclass(frozen=True)
class Shown:
    """One attack on the page.

    Attributes:
        question: What it asks.
        sentence: Without privacy and at the strictest epsilon.
        note: Where no epsilon bounds it.
        drawn: The plots.
    """

    question: str
    sentence: str
    note: str
    drawn: tuple[Drawn, ...]


def render(strengths: Sequence[Strength], *, bit_width: int, config_digest: str) -> str:
    """The page of what was measured."""
    here = Path(__file__).parent
    environment = page_templates(here)
    there = {figure.attack for one in strengths for figure in one.figures}
    return environment.get_template("strength.html").render(
        shown=[_shown(attack, strengths, bit_width) for attack in ASKED if attack in there],
        strengths=strengths,
        attacks=[attack for attack in ASKED if attack in there],
        config_digest=config_digest,
        style=(here / "page.css").read_text(encoding="utf-8"),
    )


def _shown(attack: str, strengths: Sequence[Strength], bit_width: int) -> Shown:
    of_width = [one for one in strengths if one.cell.bit_width == bit_width]
    drawn = [_named(_over_epsilon(attack, of_width), [_epsilon(one) for one in EPSILONS])]
    if attack in OF_CODES:
        drawn.append(_named(_over_width(attack, strengths), [str(width) for width in WIDTHS]))
    return Shown(ASKED[attack], _sentence(attack, of_width), NO_PROMISE.get(attack, ""), tuple(drawn))


def _sentence(attack: str, strengths: Sequence[Strength]) -> str:
    told = sorted(
        (one for one in strengths if one.cell.noise == OWN and _figure(one, attack) is not None),
        key=lambda one: -(one.cell.epsilon or float("inf")),
    )
    said = []
    for one in dict.fromkeys((told[0], told[-1])):
        figure = _figure(one, attack)
        if figure is not None:
            at = "Without privacy" if one.cell.epsilon is None else f"at epsilon {one.cell.epsilon:g}"
            said.append(f"{at} the attack is right in {figure.area:.0%} ({figure.low:.0%} to {figure.high:.0%})")
    told_of = "; ".join(said)
    return f"{told_of[:1].upper()}{told_of[1:]}. A guess is right in 50%."


def _over_epsilon(attack: str, strengths: Sequence[Strength]) -> Plot:
    curves = []
    for noise in dict.fromkeys(one.cell.noise for one in strengths):
        found = {
            EPSILONS.index(one.cell.epsilon): figure
            for one in strengths
            if one.cell.noise in {noise, *([OWN] if one.cell.epsilon is None else [])}
            and (figure := _figure(one, attack)) is not None
        }
        curves.append(_curve(f"{noise} noise", found))
    allowed = {
        EPSILONS.index(one.cell.epsilon): figure.allowed
        for one in strengths
        if one.cell.noise == OWN and (figure := _figure(one, attack)) is not None and figure.allowed is not None
    }
    if allowed:
        curves.append(Curve(label="allowed by epsilon", x=tuple(map(float, allowed)), y=tuple(allowed.values())))
    return Plot(
        title="By epsilon", x="epsilon of the run", y="right (0.5 is a guess)", curves=(*curves, _guess(len(EPSILONS)))
    )


def _over_width(attack: str, strengths: Sequence[Strength]) -> Plot:
    curves = [
        _curve(
            "no privacy" if epsilon is None else f"epsilon {epsilon:g}",
            {
                WIDTHS.index(one.cell.bit_width): figure
                for one in strengths
                if (one.cell.epsilon, one.cell.noise) == (epsilon, OWN)
                and one.cell.bit_width in WIDTHS
                and (figure := _figure(one, attack)) is not None
            },
        )
        for epsilon in (None, 8.0, 2.0)
    ]
    return Plot(
        title="By width of codes", x="bits of a code", y="right (0.5 is a guess)", curves=(*curves, _guess(len(WIDTHS)))
    )


def _curve(label: str, found: dict[int, Figure]) -> Curve:
    ordered = dict(sorted(found.items()))
    return Curve(
        label=label,
        x=tuple(map(float, ordered)),
        y=tuple(figure.area for figure in ordered.values()),
        low=tuple(figure.low for figure in ordered.values()),
        high=tuple(figure.high for figure in ordered.values()),
    )


def _guess(number: int) -> Curve:
    return Curve(label="a guess", x=(0.0, float(number - 1)), y=(0.5, 0.5))


def _named(plot: Plot, names: Sequence[str]) -> Drawn:
    """A plot whose places across have names: those of the line of guesses are the first and the last."""
    drawn = draw(plot)
    ((start, _), (stop, _)) = drawn.lines[-1][1]
    apart = (stop - start) / (len(names) - 1)
    return replace(drawn, x_ticks=tuple((round(start + apart * i, 1), name) for i, name in enumerate(names)))


def _epsilon(epsilon: float | None) -> str:
    return "none" if epsilon is None else f"{epsilon:g}"


def _figure(strength: Strength, attack: str) -> Figure | None:
    return next((figure for figure in strength.figures if figure.attack == attack), None)
