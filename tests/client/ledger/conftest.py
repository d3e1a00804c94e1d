"""A site's ledger in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from client.ledger.ledger import Account, Budget, Ledger
from common.ledger import spending
from common.privacy.events import DiscreteLaplace, Event
from common.trust.keys import SigningKey

Open = Callable[..., Ledger]


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "keys" / "site_key.pem")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite3"


@pytest.fixture
def open_ledger(path: Path, key: SigningKey) -> Open:
    """Opens the ledger of site north, with a cap of epsilon 1 where no other is asked for."""

    def opened(
        at: Path = path,
        *,
        site: str = "north",
        signed_by: SigningKey = key,
        epsilon: float | None = 1.0,
        per_run: float | None = None,
    ) -> Ledger:
        budget = Budget(epsilon=epsilon, delta=1e-5, epsilon_per_run=per_run)
        return Ledger.open(at, site=site, key=signed_by, budget=budget)

    return opened


@pytest.fixture
def train() -> Account:
    return Account(dataset_digest="ab" * 32, cohort="train")


@pytest.fixture
def tenth() -> Event:
    """Epsilon 0.1, by basic composition a little more than by the accountant."""
    return DiscreteLaplace(noise_scale=10.0, releases=1)


@pytest.fixture
def basic_composition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds epsilons up: an accountant that costs nothing, for tests of everything but accounting."""

    def epsilon_of(events: Iterable[DiscreteLaplace], *, delta: float, **_: object) -> float:  # noqa: ARG001
        return round(sum(event.releases / event.noise_scale for event in events), 9)

    monkeypatch.setattr(spending, "epsilon_of", epsilon_of)
