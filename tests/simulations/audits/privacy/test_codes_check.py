"""Codes tell no more of the patient than the embeddings they are cut from, and random codes nothing."""

from __future__ import annotations

from simulations.audits.privacy.codes import CHECK, CODE, EMBEDDING, RANDOM, revealed
from simulations.audits.privacy.pipeline import PRODUCTION
from simulations.audits.privacy.subject import Subject


def test_codes_are_told_beside_embeddings_and_random_codes_come_out_at_chance(subject: Subject) -> None:
    """Some 130 studies; the control's 95% interval may miss chance by 0.03."""
    found = revealed(PRODUCTION, subject)
    assert list(found) == [CODE, EMBEDDING, RANDOM]
    control = found[RANDOM].linkage
    assert control is not None
    assert control.area_interval.low - 0.03 < 0.5 < control.area_interval.high + 0.03
    embedding = found[EMBEDDING].linkage
    assert embedding is not None
    assert embedding.area_interval.low > 0.5


def test_codes_check_holds_for_production(subject: Subject) -> None:
    outcome = CHECK.outcome(PRODUCTION, subject)
    assert outcome.holds is True, outcome.sentence
    assert (outcome.claimed_epsilon, outcome.lower_bound) == (None, None)
