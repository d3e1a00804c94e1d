"""A ledger's entries without a file: whose it is, a budget, two rounds of which one is settled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from common.ledger.entries import (
    BEFORE_THE_FIRST,
    Account,
    Body,
    Budget,
    BudgetStated,
    Entry,
    Opened,
    Reserved,
    Settled,
    StoredEntry,
    sign_entry,
)
from common.privacy.events import DiscreteLaplace, SampledGaussian
from common.trust.keys import SigningKey

TRAIN = Account(dataset_digest="ab" * 32, cohort="train")

Chain = Callable[..., list[StoredEntry]]


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "keys" / "site_key.pem")


@pytest.fixture
def chain(key: SigningKey) -> Chain:
    """Signs bodies into a chain that is right in itself, whatever the bodies say."""

    def make(bodies: Sequence[Body], *, signed_by: SigningKey = key) -> list[StoredEntry]:
        entries: list[StoredEntry] = []
        for sequence, body in enumerate(bodies, start=1):
            previous = entries[-1].digest if entries else BEFORE_THE_FIRST
            time = f"2026-01-01T00:00:{sequence:02d}.000+00:00"
            entries.append(sign_entry(Entry(sequence=sequence, time=time, previous=previous, body=body), signed_by))
        return entries

    return make


@pytest.fixture
def bodies(key: SigningKey, chain: Chain) -> list[Body]:
    """Seven entries."""
    said: list[Body] = [
        Opened(site="north", public_key=key.public.hex),
        BudgetStated(budget=Budget(epsilon=8.0, delta=1e-5, epsilon_per_run=4.0)),
        reserved(round_number=1),
    ]
    said.append(Settled(reservation=chain(said)[-1].digest))
    said.append(reserved(round_number=2))
    held_out = Account(dataset_digest=TRAIN.dataset_digest, cohort="held_out")
    said.append(
        Reserved(
            account=held_out,
            run="cd" * 32,
            round_number=2,
            release="statistics",
            event=DiscreteLaplace(noise_scale=10.0, releases=3),
        )
    )
    said.append(Settled(reservation=chain(said)[-1].digest))
    return said


def reserved(*, round_number: int, noise: float = 1.6) -> Reserved:
    event = SampledGaussian(noise_multiplier=noise, sampling_probability=0.1, steps=5)
    return Reserved(account=TRAIN, run="cd" * 32, round_number=round_number, release="update", event=event)
