"""Two sides with a log each: rounds that both write down, and an owner who rewrites what was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.evidence.audit_log import AuditLog
from common.evidence.log_entries import Kind
from common.evidence.log_files import GIVEN_HEAD_FILE, LOG_FILE
from common.evidence.log_trail import Counterpart, Trail
from common.trust.keys import SigningKey

RUN, CONTENT = "cd" * 32, "ab" * 32


@dataclass(frozen=True, kw_only=True)
class Side:
    """The server, or a hospital."""

    name: str
    folder: Path
    key: SigningKey

    @classmethod
    def create(cls, folder: Path, name: str) -> Side:
        """A side with a key of its own, and no log yet."""
        return cls(name=name, folder=folder / name, key=SigningKey.create(folder / "keys" / f"{name}.pem"))

    @property
    def file(self) -> Path:
        """Its log's file."""
        return self.folder / LOG_FILE

    @property
    def lines(self) -> list[bytes]:
        """The file's lines, without their ends."""
        return self.file.read_bytes().splitlines()

    @property
    def counterpart(self) -> Counterpart:
        """As the other side knows it."""
        return Counterpart(self.name, self.key.public)

    def open(self) -> AuditLog:
        """Its log, for appending."""
        return AuditLog(self.folder, owner=self.name, key=self.key)

    def write(self, lines: list[bytes]) -> None:
        """Put lines in the place of the log's."""
        self.file.write_bytes(b"".join(line + b"\n" for line in lines))


def admit(log: AuditLog, number: int, site: str = "north") -> None:
    log.append(Kind.UPDATE_ADMITTED, content=CONTENT, run=RUN, round=number, site=site)


def exchange(server: AuditLog, site: AuditLog) -> None:
    """Each side's head into the other one's log."""
    for sender, receiver in ((server, site), (site, server)):
        held = receiver.trail.held(sender.trail.owner)
        extension = sender.extension_for(known=held.content.size if held else 0)
        receiver.receive(extension, counterpart=sender.trail.owner)


def play(server: Side, site: Side, *, rounds: int) -> None:
    """Some rounds of a run that both sides write down; heads are exchanged at the end of each."""
    with server.open() as centre, site.open() as hospital:
        for number in range(1, rounds + 1):
            centre.append(Kind.ROUND_OPENED, content=CONTENT, run=RUN, round=number, sites=[site.name])
            hospital.append(
                Kind.RELEASE,
                content=CONTENT,
                run=RUN,
                round=number,
                release="update",
                mechanism="sampled_gaussian",
                ledger_entry=CONTENT,
            )
            admit(centre, number, site.name)
            exchange(centre, hospital)


def rewritten(lines: list[bytes], key: SigningKey, change: Callable[[int, dict[str, Any]], None]) -> list[bytes]:
    """The log as its owner would forge it: some entries changed, chained and signed anew."""
    trail, new = Trail(), []
    for number, line in enumerate(lines, start=1):
        entry = json.loads(line)["entry"]
        change(number, entry)
        kind, content = Kind(entry["kind"]), entry["content"]
        new.append(trail.next_line(kind, time=entry["time"], key=key, content=content, fields=entry["fields"]))
        trail.add(new[-1])
    return new


def forge(side: Side, change: Callable[[int, dict[str, Any]], None]) -> None:
    """Put a rewritten log in the place of a side's, and a head of it where the last one given away lay."""
    side.write(rewritten(side.lines, side.key, change))
    (side.folder / GIVEN_HEAD_FILE).unlink(missing_ok=True)


def change_content(at: int) -> Callable[[int, dict[str, Any]], None]:
    def change(number: int, entry: dict[str, Any]) -> None:
        if number == at:
            entry["content"] = "ee" * 32

    return change
