"""What was made of a clinician's words, as it is shown back: what was understood, what not, and what is asked back.

Nobody has to be understood: where there is no plan, the words are searched as they stand, and that is said. Words that
name a patient are not searched, and not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from client.mediator.compatible import flags_of
from client.mediator.coverage import content_words
from client.mediator.mediator import Mediated
from client.mediator.parts import Part, parts_of, without
from client.mediator.plan import AskBack, Plan, Why
from client.mediator.reading import read
from client.mediator.spoken import spoken

NOTHING_LEFT = (
    "Nothing to look for is left beside what is excluded or was taken out, so the words are searched as they stand."
)

UNANSWERED = (
    "Nothing was searched: beside what is excluded there is nothing to look for, and what that is has to be answered "
    "first."
)


class Mediates(Protocol):
    """Who turns words into checked plans."""

    def plan(self, query: str) -> Mediated:
        """What becomes of words."""
        ...


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """One of the things that words may mean.

    Attributes:
        words: What it is.
        query: The query with it in place of the words.
    """

    words: str
    query: str


@dataclass(frozen=True, kw_only=True)
class AskedBack:
    """Words that mean more than one thing.

    Attributes:
        words: The words.
        meanings: What they may mean.
    """

    words: str
    meanings: tuple[Meaning, ...]


@dataclass(frozen=True, kw_only=True)
class Understood:
    """What was made of some words.

    Attributes:
        words: The words, in the form that the plan stands on.
        mediated: How the plan was made.
        plan: What is looked for, without what was taken out; None where there is no plan.
        spoken: What the encoder reads; "" where nothing is searched.
        parts: All that was understood.
        dropped: Keys of the parts that whoever asked took out.
        asked_back: What is asked back.
        not_understood: Words that no part stands on.
        notes: What was refused, and why.
        flags: What of it cannot go together in a body; it is looked for all the same.
        unanswered: Why nothing is searched before a question is answered; "" where something is.
        refused: Why nothing is searched at all; "" where something is.
    """

    words: str
    mediated: Mediated
    plan: Plan | None
    spoken: str
    parts: tuple[Part, ...] = ()
    dropped: frozenset[str] = frozenset()
    asked_back: tuple[AskedBack, ...] = ()
    not_understood: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    unanswered: str = ""
    refused: str = ""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a list of hits says above, a line each."""
        said = list(self.notes)
        if self.parts:
            said.append(f"Understood: {'; '.join(f'{part.kind} {part.words}' for part in self.parts)}.")
        said += [f"Please check: {flag}." for flag in self.flags]
        if self.not_understood:
            said.append(f"Not understood, and searched as words alone: {', '.join(self.not_understood)}.")
        for back in self.asked_back:
            choices = " or ".join(meaning.words for meaning in back.meanings)
            said.append(f"{back.words} can mean more than one thing: {choices}. Say which in full.")
        if self.unanswered:
            said.append(self.unanswered)
        return tuple(said)

    def as_json(self) -> dict[str, Any]:
        """A plain JSON object, with the plan in its grammar."""
        return {
            "plan": self.plan and self.plan.as_json(),
            "proposer": self.mediated.proposer,
            "searched_with": self.spoken,
            "parts": [{"kind": part.kind, "words": part.words} for part in self.parts],
            "asked_back": [
                {"words": back.words, "meanings": [meaning.words for meaning in back.meanings]}
                for back in self.asked_back
            ],
            "not_understood": list(self.not_understood),
            "notes": list(self.notes),
            "flags": list(self.flags),
        }


def understood(words: str, mediator: Mediates, *, dropped: frozenset[str] = frozenset()) -> Understood:
    """What a mediator makes of words.

    Args:
        words: As they were typed.
        mediator: Makes and checks the plan.
        dropped: Keys of the parts that were taken out; those that the plan does not have are forgotten.
    """
    mediated = mediator.plan(words)
    named = next((one for one in mediated.refusals if one.check == "identifiers" and one.field == "query"), None)
    if named is not None:
        refused = f"{named.reason}; leave it out, and search again"
        return Understood(words="", mediated=mediated, plan=None, spoken="", refused=refused)
    if mediated.plan is None:
        reasons = "; ".join(dict.fromkeys(one.reason for one in mediated.refusals))
        return Understood(
            words=words,
            mediated=mediated,
            plan=None,
            spoken=words,
            notes=(f"No plan was made: {reasons}. The words are searched as they stand.",),
        )
    plain, whole = mediated.words, mediated.plan
    parts = parts_of(whole)
    plan = without(plain, whole, dropped)
    is_open = bool(read(plain).denied_acronyms()) and not content_words(plan.text)
    return Understood(
        words=plain,
        mediated=mediated,
        plan=plan,
        spoken="" if is_open else spoken(plain, plan),
        parts=parts,
        dropped=dropped & {part.key for part in parts},
        asked_back=tuple(_asked_back(plain, one) for one in whole.ask_back),
        not_understood=_quoted(plain, whole.not_understood),
        notes=tuple(_notes(mediated, "" if is_open or plan.text else NOTHING_LEFT)),
        unanswered=UNANSWERED if is_open else "",
        flags=tuple(flag.words for flag in flags_of(plain, plan)),
    )


def _notes(mediated: Mediated, left: str) -> Iterator[str]:
    if mediated.changes:
        yield f"The words were brought into a plain form: {'; '.join(mediated.changes)}."
    if mediated.refusals:
        reasons = "; ".join(dict.fromkeys(one.reason for one in mediated.refusals))
        yield f"The language model's plan was not used: {reasons}. This is the plan by rules."
    if left:
        yield left


def _asked_back(words: str, one: AskBack) -> AskedBack:
    first, last = one.why[0].start, one.why[-1].end
    return AskedBack(
        words=words[first:last],
        meanings=tuple(
            Meaning(words=choice.meaning, query=f"{words[:first]}{choice.meaning.lower()}{words[last:]}")
            for choice in one.choices
        ),
    )


def _quoted(words: str, spans: Why) -> tuple[str, ...]:
    """The words of some spans, neighbours together."""
    runs: list[list[int]] = []
    for span in spans:
        if runs and not words[runs[-1][1] : span.start].strip():
            runs[-1][1] = span.end
        else:
            runs.append([span.start, span.end])
    return tuple(words[start:end] for start, end in runs)
