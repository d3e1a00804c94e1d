"""Reports that read the same and are coded otherwise: words left out, misspelt, or exchanged for a synonym.

Greedy, as TextFooler (Jin et al., AAAI 2020, arXiv 1907.11932) chooses words: each step tries every single change and
keeps the one that takes the code farthest to the goal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from simulations.adversarial.interface import Goal
from simulations.adversarial.synonyms import SYNONYMS

LEAST_LETTERS = 4
"""Of a word that a typing error leaves readable."""
AROUND = ".,;:"
"""What stands around a word and stays."""


def substituted(outputs_of: Callable[[list[str]], Tensor], report: str, goal: Goal, *, share: float) -> str:
    """The report with at most a share of its words changed, at least one where it has a word.

    Args:
        outputs_of: From texts to the hash head's outputs `[B, K]`.
        report: The text.
        goal: The one code, `[1, K]`, that it is driven away from, or towards.
        share: Of the words, 0 to 1.
    """
    words = report.split()
    with torch.no_grad():
        untouched = set(range(len(words)))
        for _ in range(max(1, int(share * len(words)))):
            candidates = list(_changes(words, untouched))
            if not candidates:
                break
            outputs_CK = outputs_of([" ".join(word for word in text if word) for _, text in candidates])
            agreement_C = goal.towards * (torch.tanh(outputs_CK) @ goal.code_BK[0])
            position, words = candidates[int(agreement_C.argmax())]
            untouched.discard(position)
    return " ".join(word for word in words if word)


def _changes(words: list[str], untouched: set[int]) -> Iterator[tuple[int, list[str]]]:
    """Each way to change one word that was not changed before."""
    for position in sorted(untouched):
        ways = [""] if len(words) > 1 else []
        for way in (*ways, *_misspelt(words[position]), *_synonyms(words[position])):
            yield position, [*words[:position], way, *words[position + 1 :]]


def _misspelt(word: str) -> Iterator[str]:
    """Two letters in its middle exchanged."""
    middle = len(word) // 2
    if len(word) >= LEAST_LETTERS and word[middle - 1] != word[middle]:
        yield word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]


def _synonyms(word: str) -> Iterator[str]:
    """Words in its place, with what stands after it."""
    bare = word.rstrip(AROUND)
    for other in SYNONYMS.get(bare.lower(), ()):
        yield other + word[len(bare) :]
