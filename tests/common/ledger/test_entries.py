"""Entries: one way to write each, read back alike, and nothing else is taken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError, LedgerError
from common.ledger.entries import (
    Account,
    Body,
    Budget,
    BudgetStated,
    Entry,
    Opened,
    Reserved,
    Settled,
    SharedNoise,
    StoredEntry,
    check_signature,
    entry_from_bytes,
    sign_entry,
)
from common.privacy.events import DiscreteLaplace, SampledGaussian
from common.trust.keys import SigningKey

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ACCOUNTS = st.builds(Account, dataset_digest=TEXT, cohort=TEXT)
CAPS = st.none() | st.floats(0, 1e6)
EVENTS = st.builds(
    SampledGaussian,
    noise_multiplier=st.floats(0, 1e6),
    sampling_probability=st.floats(0, 1),
    steps=st.integers(0, 10**6),
) | st.builds(DiscreteLaplace, noise_scale=st.floats(0, 1e6), releases=st.integers(0, 10**6))
BODIES = st.one_of(
    st.builds(Opened, site=TEXT, public_key=TEXT),
    st.builds(
        BudgetStated,
        budget=st.builds(Budget, epsilon=CAPS, delta=st.floats(1e-12, 0.5), epsilon_per_run=CAPS),
    ),
    st.builds(
        Reserved,
        account=ACCOUNTS,
        run=TEXT,
        round_number=st.integers(-(2**70), 2**70),
        release=TEXT,
        event=EVENTS,
    ),
    st.builds(Settled, reservation=TEXT),
)


@given(body=BODIES, sequence=st.integers(0, 2**60), time=TEXT, previous=TEXT)
def test_entry_is_read_back_as_it_was_written(body: Body, sequence: int, time: str, previous: str) -> None:
    entry = Entry(sequence=sequence, time=time, previous=previous, body=body)
    assert entry_from_bytes(entry.as_bytes()) == entry


def test_entry_bytes_are_the_documented_json() -> None:
    """Written out by hand: another program must come to the same digest."""
    event = SampledGaussian(noise_multiplier=1.5, sampling_probability=0.1, steps=5)
    account = Account(dataset_digest="ab", cohort="train")
    body = Reserved(account=account, run="cd", round_number=3, release="update", event=event)
    entry = Entry(sequence=4, time="2026-01-01T00:00:00.000+00:00", previous="ef", body=body)
    expected = (
        b'{"account":{"cohort":"train","dataset_digest":"ab"},'
        b'"event":{"event":"sampled_gaussian","noise_multiplier":1.5,"sampling_probability":0.1,"steps":5},'
        b'"kind":"reserved","previous":"ef","release":"update","round_number":3,"run":"cd","sequence":4,'
        b'"time":"2026-01-01T00:00:00.000+00:00"}'
    )
    assert entry.as_bytes() == expected


def test_stored_entry_is_digested_and_signed(key: SigningKey) -> None:
    stored = sign_entry(Entry(sequence=1, time="", previous="", body=Settled(reservation="x")), key)
    assert stored.digest == hashlib.sha256(stored.record).hexdigest()
    check_signature(stored.digest, stored.signature, key.public)
    with pytest.raises(LedgerError, match="signature"):
        check_signature(stored.digest[::-1], stored.signature, key.public)


Change = Callable[[dict[str, object]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v | {"kind": "refunded"},
        lambda v: v | {"note": "extra"},
        lambda v: {name: v[name] for name in v if name != "run"},
        lambda v: {name: v[name] for name in v if name != "sequence"},
        lambda v: v | {"sequence": True},
        lambda v: v | {"time": 5},
        lambda v: v | {"round_number": "3"},
        lambda v: v | {"release": None},
        lambda v: v | {"account": {"dataset_digest": ["x"], "cohort": "train"}},
        lambda v: v | {"account": {"dataset_digest": "x"}},
        lambda v: v | {"event": None},
        lambda v: v | {"event": dict(v["event"], steps=-5)},
        lambda v: v | {"event": dict(v["event"], steps=5.0)},
        lambda v: v | {"event": dict(v["event"], noise_multiplier=2)},
        lambda v: [v],
        lambda v: "text",  # noqa: ARG005
    ],
)
def test_json_that_is_no_entry_is_refused(change: Change) -> None:
    event = SampledGaussian(noise_multiplier=1.5, sampling_probability=0.1, steps=5)
    account = Account(dataset_digest="ab", cohort="train")
    body = Reserved(account=account, run="cd", round_number=3, release="update", event=event)
    value = json.loads(Entry(sequence=4, time="t", previous="ef", body=body).as_bytes())
    written = json.dumps(change(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    with pytest.raises(LedgerError):
        entry_from_bytes(written)


@pytest.mark.parametrize(
    "record",
    [b"", b"\xff", b"{", b"null", b"[" * 100_000, b'{"kind":NaN}'],
    ids=["empty", "not UTF-8", "cut", "null", "deep", "NaN"],
)
def test_bytes_that_are_no_json_object_are_refused(record: bytes) -> None:
    with pytest.raises(LedgerError):
        entry_from_bytes(record)


def test_second_way_to_write_an_entry_is_refused() -> None:
    entry = Entry(sequence=1, time="t", previous="p", body=Settled(reservation="x"))
    spaced = json.dumps(json.loads(entry.as_bytes()), sort_keys=True).encode()
    with pytest.raises(LedgerError, match="canonical"):
        entry_from_bytes(spaced)


def test_entry_that_could_not_be_read_back_is_never_signed(key: SigningKey) -> None:
    for site in ("\ud800", 5):
        body = Opened(site=site, public_key=key.public.hex)  # type: ignore[arg-type]
        with pytest.raises(LedgerError):
            sign_entry(Entry(sequence=1, time="t", previous="p", body=body), key)


@pytest.mark.parametrize("cap", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["epsilon", "epsilon_per_run"])
def test_cap_that_would_not_bind_is_refused(name: str, cap: float) -> None:
    with pytest.raises(ConfigError, match=f"budget.{name}"):
        Budget(**{"epsilon": 1.0, "delta": 1e-5, name: cap})


@pytest.mark.parametrize("delta", [0.0, -1e-5, 1.0, float("nan")])
def test_delta_that_states_nothing_is_refused(delta: float) -> None:
    with pytest.raises(ConfigError, match=r"budget\.delta"):
        Budget(epsilon=1.0, delta=delta)


def test_entry_holds_no_more_than_is_documented() -> None:
    """A ledger is shown to auditors: a new field must be a decision, not an accident."""
    fields = {
        Opened: {"site", "public_key", "format"},
        BudgetStated: {"budget"},
        Reserved: {"account", "run", "round_number", "release", "event", "shared"},
        SharedNoise: {"own_multiplier", "factor", "peers", "absent", "colluding", "cohort", "context"},
        Settled: {"reservation"},
        StoredEntry: {"record", "digest", "signature"},
    }
    for kind, names in fields.items():
        assert set(kind.__dataclass_fields__) == names
