"""Words that are lost and misspelt: how many, in what order, and that padding stays padding."""

from __future__ import annotations

import numpy as np
import torch

from common.adversarial.words import with_errors

VOCABULARY = 10**6


def reports() -> torch.Tensor:
    """2,000 reports of 20 words that all differ, and 4 places of padding."""
    words = torch.arange(1, 2000 * 20 + 1).view(2000, 20)
    return torch.cat([words, torch.zeros(2000, 4, dtype=torch.int64)], dim=1)


def changed(share: float) -> torch.Tensor:
    return with_errors(reports(), share=share, vocabulary=VOCABULARY, generator=np.random.default_rng(0))


def test_half_of_the_share_is_lost_and_half_misspelt() -> None:
    found = changed(0.2)
    words = 2000 * 20
    lost = words - int((found > 0).sum())
    strange = sum(
        len(set(row[row > 0].tolist()) - set(own.tolist())) for row, own in zip(found, reports(), strict=True)
    )
    # Binomial, n = 40,000 and p = 0.1: five standard errors are 0.0075. The first word of a report is never lost.
    assert abs(lost / words - 0.1 * 19 / 20) < 0.0075
    assert abs(strange / words - 0.1) < 0.0075


def test_words_keep_their_order_and_padding_stands_at_the_end() -> None:
    for row in changed(0.3):
        held = row[row > 0]
        assert torch.equal(row[: len(held)], held)
    for row, own in zip(changed(0.3), reports(), strict=True):
        kept = [word for word in row.tolist() if word in set(own[own > 0].tolist())]
        assert kept == sorted(kept)


def test_a_share_of_nothing_changes_nothing() -> None:
    assert torch.equal(changed(0.0), reports())


def test_a_report_never_loses_all_its_words() -> None:
    one = torch.tensor([[5, 0, 0]]).expand(500, 3)
    found = with_errors(one, share=0.9, vocabulary=64, generator=np.random.default_rng(1))
    assert (found[:, 0] > 0).all()
    assert (found[:, 1:] == 0).all()
