"""The trail: an audit log's entries, checked one after another, and the heads that they make and hold.

An entry is taken only if

1. it is written in the one way in which it can be;
2. it follows the entry before it: the next number, and that entry's digest;
3. its root is that of the Merkle tree up to it, and the key that the first entry names signed the head that it makes;
4. it may stand where it stands: whose log first, and once;
5. a head that it received of somebody else extends the one received of them before.

A trail says nothing of entries that are missing at its end. A head that was given away does: `check_against`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import TrustError
from common.evidence.log_entries import BEFORE_THE_FIRST, FORMAT, Kind, Line, LogEntry, Value, line_from_bytes
from common.evidence.log_heads import Extension, HeadContent, SignedHead, check_consistency
from common.evidence.merkle import Frontier, Tree, leaf_hash
from common.trust.keys import PublicKey, SigningKey


@dataclass(frozen=True)
class Counterpart:
    """Somebody whose heads are held.

    Attributes:
        owner: Its name.
        public_key: Key that its heads are signed with; a new key is a new counterpart, with a log of its own.
    """

    owner: str
    public_key: PublicKey


class Trail:
    """Entries that were checked, in their order. `add` is the only way in."""

    def __init__(self, lines: Iterable[bytes] = ()) -> None:
        self._entries: list[LogEntry] = []
        self._heads: list[SignedHead] = []
        self._tree = Tree()
        self._frontier = Frontier()
        self._owner: Counterpart | None = None
        self._received: dict[Counterpart, list[SignedHead]] = {}
        for line in lines:
            self.add(line)

    def add(self, content: bytes) -> SignedHead:
        """Check the next line and take it in.

        Returns:
            The head that it makes.

        Raises:
            TrustError: It breaks one of the rules above; the trail is as before.
        """
        try:
            return self._take(line_from_bytes(content))
        except TrustError as error:
            raise TrustError(f"entry {len(self) + 1}: {error}") from error

    def _take(self, line: Line) -> SignedHead:
        entry = line.entry
        if (entry.number, entry.previous) != (len(self) + 1, self._last_digest):
            raise TrustError("it does not follow the entry before it; entries are missing, new or swapped")
        if (entry.number == 1) != (entry.kind is Kind.LOG_OPENED):
            raise TrustError("a log begins with whose it is, and says so once")
        owner = self._owner or _owner_named_by(entry)
        leaf = leaf_hash(entry.as_bytes())
        frontier = self._frontier.grown(leaf)
        if line.root != frontier.root:
            raise TrustError("its root is not that of the entries up to it")
        head = SignedHead(content=self._content(line), signature=line.signature)
        head.check(owner.public_key)
        received = received_head(entry)
        if received is not None:
            self._note_received(*received)
        self._owner, self._frontier = owner, frontier
        self._entries.append(entry)
        self._heads.append(head)
        self._tree.add(leaf)
        return head

    def _note_received(self, counterpart: Counterpart, extension: Extension) -> None:
        try:
            check_consistency(extension, held=self.held(counterpart), key=counterpart.public_key)
        except TrustError as error:
            raise TrustError(f"the head received of {counterpart.owner}: {error}") from error
        self._received.setdefault(counterpart, []).append(extension.head)

    def next_line(
        self, kind: Kind, *, time: str, key: SigningKey, content: str | None, fields: Mapping[str, Value]
    ) -> bytes:
        """The line that would follow, signed; it is not added.

        Raises:
            TrustError: A field of the entry is missing, unknown or not of its form.
        """
        entry = LogEntry(
            number=len(self) + 1, time=time, previous=self._last_digest, kind=kind, content=content, fields=fields
        )
        root = self._frontier.grown(leaf_hash(entry.as_bytes())).root
        unsigned = Line(entry=entry, root=root, signature=b"")
        head = SignedHead.sign(self._content(unsigned), key)
        return Line(entry=entry, root=root, signature=head.signature).as_bytes()

    def _content(self, line: Line) -> HeadContent:
        digest = line.digest
        return HeadContent(
            log=self._heads[0].content.log if self._heads else digest,
            size=line.entry.number,
            root=line.root.hex(),
            digest=digest,
            time=line.entry.time,
        )

    @property
    def _last_digest(self) -> str:
        return self._heads[-1].content.digest if self._heads else BEFORE_THE_FIRST

    def __len__(self) -> int:
        """Number of entries."""
        return len(self._entries)

    def __iter__(self) -> Iterator[LogEntry]:
        """The entries, first to last."""
        return iter(self._entries)

    def __reversed__(self) -> Iterator[LogEntry]:
        """The entries, last to first."""
        return reversed(self._entries)

    def __getitem__(self, number: int) -> LogEntry:
        """An entry by its number, from 1.

        Raises:
            IndexError: There is none.
        """
        if number < 1:
            raise IndexError(number)
        return self._entries[number - 1]

    @property
    def owner(self) -> Counterpart:
        """Whose log this is, and the key that signed every head of it.

        Raises:
            TrustError: There is no entry.
        """
        if self._owner is None:
            raise TrustError("entry 1: is missing")
        return self._owner

    @property
    def head(self) -> SignedHead:
        """The last head.

        Raises:
            TrustError: There is no entry.
        """
        if not self._heads:
            raise TrustError("entry 1: is missing")
        return self._heads[-1]

    @property
    def heads(self) -> Sequence[SignedHead]:
        """The head that each entry made, first to last."""
        return self._heads

    @property
    def received(self) -> Mapping[Counterpart, list[SignedHead]]:
        """The heads of others that this log holds, in the order of their coming."""
        return self._received

    def held(self, counterpart: Counterpart) -> SignedHead | None:
        """The last head of somebody that this log holds; None where it holds none."""
        heads = self._received.get(counterpart)
        return heads[-1] if heads else None

    def extension(self, known: int) -> Extension:
        """The last head, and the proof that it extends one of `known` entries.

        Raises:
            TrustError: There are fewer entries than that.
        """
        if not 0 <= known <= len(self):
            raise TrustError(f"entry {len(self) + 1}: is missing; somebody holds a head of {known} entries")
        return Extension(head=self.head, known=known, proof=self._tree.consistency_proof(known))

    def inclusion(self, number: int) -> tuple[bytes, ...]:
        """The proof that the log of the last head has an entry under its number.

        Raises:
            ValueError: There is no such entry.
        """
        return self._tree.inclusion_proof(number - 1)

    def check_against(self, heads: Iterable[HeadContent], *, holder: str) -> None:
        """Return where this log still has what its owner once vouched for.

        Args:
            heads: Heads that its owner signed, as somebody else kept them.
            holder: Who kept them, in words.

        Raises:
            TrustError: An entry was rewritten or cut since; it is named as closely as the heads allow.
        """
        first = 1
        for head in sorted(heads, key=lambda kept: kept.size):
            last = head.size
            if last > len(self):
                raise TrustError(f"entry {len(self) + 1}: is missing; {holder} holds a signed head of {last} entries")
            if not self._has(head):
                where = f"entry {last}" if first >= last else f"entries {first} to {last}: one of them"
                raise TrustError(f"{where}: is not what {holder} holds a signed head of; the log was rewritten")
            first = last + 1

    def _has(self, content: HeadContent) -> bool:
        return content.size > 0 and self._heads[content.size - 1].content == content


def head_fields(counterpart: Counterpart, extension: Extension) -> dict[str, Value]:
    """Fields of an entry that notes a head received."""
    said = extension.as_json()
    return {"owner": counterpart.owner, "public_key": counterpart.public_key.hex, **said.pop("head"), **said}


def received_head(entry: LogEntry) -> tuple[Counterpart, Extension] | None:
    """What `head_fields` wrote; None for an entry of another kind.

    Raises:
        TrustError: A field holds something else than it should.
    """
    if entry.kind is not Kind.HEAD_RECEIVED:
        return None
    fields: dict[str, Any] = dict(entry.fields)
    counterpart = Counterpart(fields.pop("owner"), PublicKey.from_hex(fields.pop("public_key")))
    known, proof = fields.pop("known"), fields.pop("proof")
    return counterpart, Extension.from_json({"head": fields, "known": known, "proof": proof})


def _owner_named_by(entry: LogEntry) -> Counterpart:
    """Whose log a first entry opens.

    Raises:
        TrustError: It is of another format, or its key is none.
    """
    if entry.fields["format"] != FORMAT:
        raise TrustError(f"the log has format {entry.fields['format']}, and this version reads {FORMAT}")
    return Counterpart(str(entry.fields["owner"]), PublicKey.from_hex(str(entry.fields["public_key"])))
