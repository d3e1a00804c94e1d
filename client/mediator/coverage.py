"""Which words of a query say something, and how many of them a plan explains."""

from __future__ import annotations

from functools import cache
from importlib import resources

from client.mediator.plan import Plan, Span, Why
from common.terminology.scope import steering_tokens
from common.terminology.words import Token, form, tokens


@cache
def request_words() -> frozenset[str]:
    """Words that say nothing of a study ("similar", "cases", "showing"), in the form that is compared."""
    text = (resources.files("client.mediator") / "request_words.csv").read_text(encoding="utf-8")
    return frozenset(form(word) for word in text.split()[1:])


def content_words(query: str) -> tuple[Token, ...]:
    """The words of a query that say something of a study: neither asking, nor negating, nor filling."""
    words = tokens(query)
    steering = steering_tokens(words)
    return tuple(
        token
        for number, token in enumerate(words)
        if token.is_word and token.form not in request_words() and number not in steering
    )


def coverage(query: str, plan: Plan) -> float:
    """Share of a query's content words that some part of a plan stands on, 0 to 1; of no such words it is 1."""
    words = content_words(query)
    explained = [token for token in words if _is_covered(token, plan.spans)]
    return len(explained) / len(words) if words else 1.0


def left_over(query: str, spans: Why) -> Why:
    """The content words that no part stands on."""
    return tuple(Span(token.start, token.end) for token in content_words(query) if not _is_covered(token, spans))


def _is_covered(token: Token, spans: Why) -> bool:
    return any(span.start <= token.start and token.end <= span.end for span in spans)
