"""Hospitals' search indexes: every byte under the Merkle roots, the roots under the hospital's signature.

The key is the one that signed the hospital's log or ledger. An index is asked for where its hospital has answered
searches.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from client.search.audit import audit_index
from client.search.generation import HANDLE_KEY_FILE, HEAD_FILE, LOCK_FILE
from common.errors import CannotTell, TrustError
from common.evidence.log_entries import Kind
from common.evidence.log_trail import Trail
from common.trust.keys import PublicKey
from simulations.audits.promises.answers import Check, Promise, checked
from simulations.audits.promises.opened import Opened

_NOT_EVIDENCE = {LOCK_FILE, HANDLE_KEY_FILE}


def checks(opened: Opened) -> Iterator[Check]:
    """A check of each index that is here, and of each that should be."""
    answered = {site for site, (_, trail) in opened.site_logs.items() if _has_answered(trail)}
    seen: set[str] = set()
    for folder in opened.handed.indexes:
        found: list[str] = []
        check = checked(
            f"search index {folder}",
            partial(_check_index, opened, folder, found),
            promises=(Promise.OFFLINE,),
            files=sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in _NOT_EVIDENCE),
            command=f"wardround audit index {shlex.quote(str(folder))}",
        )
        yield check
        seen.update(found)
    for site in sorted(answered - seen):
        if len(opened.handed.indexes) == len(seen):  # else it may be the one that does not hold
            yield checked(
                f"search index of {site}",
                partial(_no_index, site),
                promises=(Promise.OFFLINE,),
                files=(),
                command="wardround audit index STATE/search",
            )


def _has_answered(trail: Trail) -> bool:
    return any(entry.kind is Kind.QUESTION_ANSWERED for entry in trail)


def _no_index(site: str) -> str:
    raise CannotTell(f"{site} has answered searches, and its index was not handed over")


def _check_index(opened: Opened, folder: Path, found: list[str]) -> str:
    """Every byte is what was written, under the key of the hospital that the index names."""
    head, _ = audit_index(folder, key=None)
    if head.site not in opened.sites:
        raise TrustError(f"{folder / HEAD_FILE}: is the index of {head.site}, which took no part in the run")
    key = _key_of(opened, head.site)
    head, parts = audit_index(folder, key=key)
    found.append(head.site)
    for part in parts:
        if part.error is not None:
            raise part.error
    whose = f"of {head.site}, {head.bit_width} bits, root {head.root[:12]}"
    if key is None:
        raise CannotTell(f"{folder}: {whose}: every byte holds, but nothing else of {head.site} names its key here")
    return f"{whose}: every byte is what {head.site} signed, and nothing withdrawn is in it"


def _key_of(opened: Opened, site: str) -> PublicKey | None:
    if site in opened.site_logs:
        return opened.site_logs[site][1].owner.public_key
    if site in opened.ledgers:
        return opened.ledgers[site].books.public_key
    return None
