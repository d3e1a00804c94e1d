"""Reports that read the same and are coded otherwise: words left out, and typing errors, where they move the code most.

Greedy, as TextFooler (Jin et al., AAAI 2020, arXiv 1907.11932) chooses words: each step tries every single change and
keeps the one that takes the code farthest from what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

LEAST_LETTERS = 4
"""Of a word that a typing error leaves readable."""


def substituted(outputs_of: Callable[[list[str]], Tensor], report: str, *, share: float) -> str:
    """The report with at most a share of its words changed, at least one where it has a word.

    Args:
        outputs_of: From texts to the hash head's outputs `[B, K]`.
        report: The text.
        share: Of the words, 0 to 1.
    """
    words = report.split()
    with torch.no_grad():
        own_K = torch.where(outputs_of([report])[0] >= 0, 1.0, -1.0)
        untouched = set(range(len(words)))
        for _ in range(max(1, int(share * len(words)))):
            candidates = list(_changes(words, untouched))
            if not candidates:
                break
            outputs_CK = outputs_of([" ".join(word for word in text if word) for _, text in candidates])
            position, words = candidates[int((torch.tanh(outputs_CK) @ own_K).argmin())]
            untouched.discard(position)
    return " ".join(word for word in words if word)


def _changes(words: list[str], untouched: set[int]) -> Iterator[tuple[int, list[str]]]:
    """Each way to change one word that was not changed before: left out, or two letters in its middle exchanged."""
    for position in sorted(untouched):
        word = words[position]
        middle = len(word) // 2
        ways = [""] if len(words) > 1 else []
        if len(word) >= LEAST_LETTERS and word[middle - 1] != word[middle]:
            ways.append(word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :])
        for way in ways:
            yield position, [*words[:position], way, *words[position + 1 :]]
