"""What the rules by which studies are held against a plan are called: the terminology's tables and the order's weights.

A probability that was fitted to ranks means nothing where ranks are made otherwise.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from client.mediator import rerank, validate
from common.canonical import digest
from common.files import sha256_hex


@cache
def rules_digest() -> str:
    """SHA-256 over the tables of terms, by name, and over the weights and numbers of the order, in hexadecimal."""
    tables = {
        table.name: sha256_hex(table.read_bytes())
        for table in resources.files("common.terminology").iterdir()
        if table.name.endswith(".csv")
    }
    looked_at = {name: getattr(rerank, name) for name in ("WIDER", "MOST_JUDGED")}
    away = {name: getattr(validate, name) for name in ("NOT_NAMED", "CONTRADICTED", "RULED_OUT")}
    return digest({"tables": tables, "order": {**looked_at, **away}})
