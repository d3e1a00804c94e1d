"""Word numbers of a report with some words lost and some misspelt.

A misspelt word is another number of the vocabulary, whichever: word numbers are hashes. Nothing of this looks at a
gradient. The choice of the one word that hurts most would be a cliff (see `ascent.py`), and a loss over what chance
does to words teaches a tower not to hang on one of them.

Shapes: B reports, T words.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PADDING = 0


def with_errors(words_BT: Tensor, *, share: float, vocabulary: int, generator: np.random.Generator) -> Tensor:
    """Reports in which each word is lost or misspelt with a probability, half of it each.

    At least the first word of a report stays in its place, or it would be no report.

    Args:
        words_BT: Numbers from 1; 0 is padding, at the end.
        share: The probability.
        vocabulary: One above the largest number.
        generator: Of chance.
    """
    chance_BT = torch.from_numpy(generator.random(tuple(words_BT.shape))).to(words_BT.device)
    other_BT = torch.from_numpy(generator.integers(1, vocabulary, tuple(words_BT.shape))).to(words_BT)
    misspelt_BT = torch.where((chance_BT < share / 2) & (words_BT != PADDING), other_BT, words_BT)
    lost_BT = (chance_BT >= share / 2) & (chance_BT < share)
    lost_BT[:, 0] = False
    kept_BT = misspelt_BT.masked_fill(lost_BT, PADDING)
    # What is lost leaves no gap: the words after it move up, in their order.
    order_BT = torch.argsort((kept_BT == PADDING).to(torch.uint8), dim=1, stable=True)
    return kept_BT.gather(1, order_BT)
