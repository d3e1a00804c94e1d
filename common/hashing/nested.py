"""Nested codes: the first bits of a code are a good code themselves, so that one model serves every width.

Kusupati et al. (Matryoshka Representation Learning, NeurIPS 2022) sum the loss over prefixes; Rippel, Gelbart and Adams
(Nested Dropout, ICML 2014) draw one prefix a step, which costs no more than a step without and has the same mean. Here
each step draws one of the widths, the whole code among them, each alike.

The draw is public: it comes from the run's seed, reads no record and is the same for all records of a step, so that
what is clipped is still a function of one record and public quantities.
"""

from __future__ import annotations

import torch

from common.config.schema import CodeConfig


def drawn_width(code: CodeConfig, generator: torch.Generator) -> int:
    """How many bits the terms of codes read in a step; where no width is nested all, and nothing is drawn."""
    if not code.nested_widths:
        return code.bit_width
    widths = [*code.nested_widths, code.bit_width]
    return widths[int(torch.randint(len(widths), (1,), generator=generator))]
