"""What two sides send each other beside each message of a round, so that neither can change its past alone.

The sender says which head of the receiver's log it holds, shows that its own log extends the one that the receiver
holds of it, and shows the entries that its message is about. The receiver checks, and notes the head.

A reply can get lost, so a sender does not always know which of its heads the receiver holds: it sends an extension
from each that may be held, all of them to one head.

    {"held": 12, "extensions": [{"head": ..., "known": 7, "proof": [...]}], "entries": [{"line": ..., "proof": [...]}]}

No I/O here. A message comes from somebody who may be hostile: what is decoded is bounded first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from common.canonical import canonical_json
from common.errors import EvidenceError, ReplayedError, TrustError
from common.evidence.log_entries import Kind, LogEntry, entry_from_json
from common.evidence.log_heads import Extension, SignedHead, check_consistency
from common.evidence.merkle import leaf_hash, verify_inclusion
from common.trust.keys import PublicKey

MOST_CHARACTERS = 2**18
"""Of one message's evidence: 64 extensions of a log of 2**40 entries have about 200,000."""

MOST_EXTENSIONS, MOST_ENTRIES = 64, 8
_MALFORMED = "evidence is not of its form; it is damaged or newer"


@dataclass(frozen=True)
class ProvenEntry:
    """An entry of the sender's log, and the proof that the head beside it covers it.

    Attributes:
        entry: The entry.
        proof: Of inclusion, in the tree of the head.
    """

    entry: LogEntry
    proof: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one side shows the other beside a message.

    Attributes:
        held: Size of the head that the sender holds of the receiver's log; 0 for none.
        extensions: Of the sender's log, to one head, from each size that the receiver may hold.
        entries: Entries of the sender's log that the message is about.

    Raises:
        EvidenceError: A size is none, there are too many, or the extensions lead to more heads than one.
    """

    held: int
    extensions: tuple[Extension, ...] = ()
    entries: tuple[ProvenEntry, ...] = ()

    def __post_init__(self) -> None:
        if type(self.held) is not int or self.held < 0:
            raise EvidenceError(_MALFORMED)
        if len(self.extensions) > MOST_EXTENSIONS or len(self.entries) > MOST_ENTRIES:
            raise EvidenceError("evidence holds more extensions or entries than any message needs")
        if any(extension.head != self.extensions[0].head for extension in self.extensions):
            raise EvidenceError("evidence leads to more heads than one")

    def encoded(self) -> str:
        """One JSON text."""
        return canonical_json(
            {
                "held": self.held,
                "extensions": [extension.as_json() for extension in self.extensions],
                "entries": [
                    {"line": proven.entry.as_json(), "proof": [found.hex() for found in proven.proof]}
                    for proven in self.entries
                ],
            }
        ).decode()


def decode(text: str) -> Evidence:
    """The evidence in a text that `Evidence.encoded` wrote; nothing of it is checked yet.

    Raises:
        EvidenceError: It is too long, or not of its form.
    """
    if len(text) > MOST_CHARACTERS:
        raise EvidenceError("evidence is longer than any message needs")
    try:
        said = dict(json.loads(text))
        extensions = tuple(map(Extension.from_json, said.pop("extensions")))
        entries = tuple(map(_proven, said.pop("entries")))
        return Evidence(extensions=extensions, entries=entries, **said)
    except EvidenceError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, TrustError) as error:
        raise EvidenceError(_MALFORMED) from error


def _proven(value: Mapping[str, Any]) -> ProvenEntry:
    return ProvenEntry(entry_from_json(value["line"]), tuple(bytes.fromhex(found) for found in value["proof"]))


def newer_extension(evidence: Evidence, *, held: SignedHead | None, key: PublicKey) -> Extension:
    """The extension from the head that is held of the sender, where it leads to a newer one.

    Raises:
        ReplayedError: The sender's head is not newer than the one that is held.
        EvidenceError: There is no such extension, or it does not hold.
    """
    if held is not None and held in [extension.head for extension in evidence.extensions]:
        raise ReplayedError("the message shows no newer head than an earlier one; it was sent before")
    return extension_from(evidence, held=held, key=key)


def extension_from(evidence: Evidence, *, held: SignedHead | None, key: PublicKey) -> Extension:
    """The extension from the head that is held of the sender; it may lead to the same head.

    Raises:
        ReplayedError: The sender's head is older than the one that is held, and signed by the sender.
        EvidenceError: There is no such extension, or it does not hold.
    """
    if not evidence.extensions:
        raise EvidenceError("the message shows no head of its sender's log")
    size = held.content.size if held else 0
    head = evidence.extensions[0].head
    _hold(head.check, key)
    if held is not None and head.content.log == held.content.log and head.content.size < size:
        raise ReplayedError(f"the message shows a head of {head.content.size} entries, {size} are held")
    found = next((one for one in evidence.extensions if one.known == size), None)
    if found is None:
        raise EvidenceError(f"the message does not show that its sender's log extends the {size} entries that are held")
    _hold(check_consistency, found, held=held, key=key)
    return found


def _hold(check: Callable[..., None], *arguments: object, **options: object) -> None:
    """Check, with what fails as an error of evidence.

    Raises:
        EvidenceError: The check fails.
    """
    try:
        check(*arguments, **options)
    except TrustError as error:
        raise EvidenceError(str(error)) from error


def proven_entries(evidence: Evidence, head: SignedHead) -> tuple[LogEntry, ...]:
    """The entries, each of them covered by a head that was checked.

    Raises:
        EvidenceError: One is not.
    """
    for proven in evidence.entries:
        try:
            verify_inclusion(
                leaf_hash(proven.entry.as_bytes()),
                proven.entry.number - 1,
                size=head.content.size,
                proof=proven.proof,
                root=bytes.fromhex(head.content.root),
            )
        except TrustError as error:
            raise EvidenceError(f"entry {proven.entry.number} is not in its sender's log: {error}") from error
    return tuple(proven.entry for proven in evidence.entries)


def check_round_opened(entries: tuple[LogEntry, ...], *, run: str, round_number: int, site: str, model: str) -> None:
    """Return where a task's one entry opens this round of this run, with this model, for this site.

    Raises:
        EvidenceError: It says something else, or there are more or none.
    """
    if len(entries) != 1 or entries[0].kind is not Kind.ROUND_OPENED:
        raise EvidenceError("the task does not come with the one entry that opened its round")
    (entry,) = entries
    if (entry.fields["run"], entry.fields["round"]) != (run, round_number):
        raise EvidenceError("the server's log opened another round than the task asks for")
    sites = entry.fields["sites"]
    if not isinstance(sites, list) or site not in sites:
        raise EvidenceError("the server's log opened the round without this site")
    if entry.content != model:
        raise EvidenceError("the model is another than the server's log says was sent")


def check_question_passed(
    entries: tuple[LogEntry, ...], *, run: str, question: str, asker: str, public_key: str, site: str
) -> None:
    """Return where a question's one entry passes it on to this site, in the name and under the key of its asker.

    Raises:
        EvidenceError: It says something else, or there are more or none.
    """
    if len(entries) != 1 or entries[0].kind is not Kind.QUESTION_PASSED:
        raise EvidenceError("the question does not come with the one entry that passed it on")
    (entry,) = entries
    said = (entry.fields["run"], entry.fields["asker"], entry.fields["public_key"], entry.content)
    if said != (run, asker, public_key, question):
        raise EvidenceError("the server's log passed on another question, or in another hospital's name")
    sites = entry.fields["sites"]
    if not isinstance(sites, list) or site not in sites:
        raise EvidenceError("the server's log passed the question on without this site")


@dataclass(frozen=True, kw_only=True)
class Released:
    """A record of a reply, as the site's log must have it.

    Attributes:
        release: The record's name.
        mechanism: How it was made.
        ledger_entry: Digest of what paid for it; None where it costs nothing.
        content: Digest of the record.
    """

    release: str
    mechanism: str
    ledger_entry: str | None
    content: str


def check_releases(
    entries: tuple[LogEntry, ...], released: tuple[Released, ...], *, run: str, round_number: int
) -> None:
    """Return where a site's log says of each record of a reply that it left, and says of no other.

    Raises:
        EvidenceError: It does not.
    """
    if any(entry.kind is not Kind.RELEASE for entry in entries):
        raise EvidenceError("the reply shows entries that are no releases")
    if any((entry.fields["run"], entry.fields["round"]) != (run, round_number) for entry in entries):
        raise EvidenceError("the reply shows releases of another run or round")
    said = {
        Released(
            release=str(entry.fields["release"]),
            mechanism=str(entry.fields["mechanism"]),
            ledger_entry=None if entry.fields["ledger_entry"] is None else str(entry.fields["ledger_entry"]),
            content=str(entry.content),
        )
        for entry in entries
    }
    if len(entries) != len(released) or said != set(released):
        raise EvidenceError("the reply holds something else than the site's log says was released")
