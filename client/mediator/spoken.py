"""What of a plan the encoder hears: words without what they exclude, acronyms written out.

A code hears "no effusion" as effusion, and "TR" as two letters. What is excluded is left to the comparison with
reports (`client/mediator/compare.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from client.mediator.plan import Plan, Span
from common.terminology.acronyms import acronyms
from common.terminology.modifiers import MODALITIES
from common.terminology.words import tokens

_GONE = "\0"


def spoken(query: str, plan: Plan) -> str:
    """The words that the encoder reads; the query itself where nothing would be left of it."""
    return written_out(plan.text) or query


def written_out(text: str) -> str:
    """Words with the acronyms of one meaning written out; kinds of image, which a report abbreviates too, are kept."""
    words = tokens(text)
    pieces, end = [], 0
    for one in acronyms(words):
        if len(one.senses) == 1 and one.senses[0].coded.code not in MODALITIES:
            sense = one.senses[0]
            pieces += [text[end : words[one.first].start], f"{sense.laterality} {sense.coded.meaning.lower()}".strip()]
            end = words[one.last - 1].end
    return "".join([*pieces, text[end:]])


def spoken_without(query: str, spans: Iterable[Span]) -> str:
    """A query without the characters of some spans, and without the joining words and commas that they leave."""
    kept = list(query)
    for span in spans:
        kept[span.start : span.end] = _GONE * (span.end - span.start)
    text = re.sub(rf"\s*{_GONE}+", " ", "".join(kept))
    text = re.sub(r"(?i)(?:\s+(?:but|and|or|with|also))+\s*(?=[,;.]|$)", "", text.rstrip())
    text = re.sub(r"(?:\s*[,;]\s*(?=[,;.]|$))|^\s*[,;]\s*", "", " ".join(text.split()))
    return re.sub(r"(?i)^(?:[\s,;]|(?:but|and|or|with)\s)+", "", text).strip()
