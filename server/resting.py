"""Who pays counts: a site whose updates hardly enter the model is asked no more, so that its patients pay no more.

A site's *share* is the lesser of an equal one and that of its band (`server/weights.py`) among the sites of a round:
no rule that counts hospitals alike, and none that counts patients alike, gives it less. A site *rests* once its weight
was below half of its share in three rounds in a row, of those in which its update helped to move the model: the others
say nothing of it. It rests until the end of the run; another rule is another run. It is still asked what the final
model finds, which costs its training patients nothing.

Weights follow from noised updates and public bands, so that who rests costs no epsilon.

What an attacker can do with it:

- Push a hospital out. It takes a weight below half of its share three times over, and no more sites rest than the rule
  is told to bear (f). A rule that bears f bad ones keeps its promise among the others as long as they are enough for
  it, and no site rests where they would be too few. With r sites at rest, f of S - r may be bad: kappa is that of a
  cohort so small. The mean bears nobody, so that under it nobody rests.
- Be pushed out. Then it can do no more harm, and f stays as it was: nobody knows whether a resting site was a bad one.
- Stay in by claiming a small band, and so a small share. It is then where it would be without this.

Without the bound by f the rule would empty the cohort one by one: nearest-neighbour mixing leaves out f of however
few there are.
"""

from __future__ import annotations

from collections.abc import Mapping

from server.checkpoint import SiteHistory
from server.weights import weights_of

LEAST_PART = 0.5
"""Part of its share that a site must count for."""
NUM_ROUNDS = 3
"""Rounds in a row below it after which a site rests."""


def resting(sites: Mapping[str, SiteHistory]) -> frozenset[str]:
    """The sites that are asked no more."""
    return frozenset(site for site, history in sites.items() if history.rests_from is not None)


def note_weights(
    sites: Mapping[str, SiteHistory], weights: Mapping[str, float], *, round_number: int, most: int
) -> list[str]:
    """Note what the sites of a round counted for, and let those rest that have counted for too little.

    Args:
        sites: All sites; changed in place.
        weights: Share of each site in a round's update; those of its sites.
        round_number: The round.
        most: How many sites may be at rest after it.

    Returns:
        The sites that rest from the next round on, those that counted least first.
    """
    parts = _parts({site: sites[site].patients_band for site in weights}, weights)
    for site, part in parts.items():
        history = sites[site]
        history.low_rounds = [*history.low_rounds, round_number] if part < LEAST_PART else []
    due = [site for site in parts if len(sites[site].low_rounds) >= NUM_ROUNDS]
    due.sort(key=lambda site: (parts[site], site))
    chosen = due[: max(0, most - len(resting(sites)))]
    for site in chosen:
        sites[site].rests_from = round_number + 1
    return chosen


def _parts(bands: Mapping[str, str], weights: Mapping[str, float]) -> dict[str, float]:
    """What each site counted for, over its share."""
    by_band = weights_of(list(bands.values())).tolist()
    whole = sum(by_band)
    return {site: weights[site] / min(1 / len(bands), own / whole) for site, own in zip(bands, by_band, strict=True)}
