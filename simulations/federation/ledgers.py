"""Ledgers of simulated sites: each site of a run has a fresh one in the run folder, with a key of its own.

`policy.epsilon` stands for every site's cap. The key lies beside the ledger, as it must for a run that is gone on
with: a simulation protects no patient, and shows what a hospital's own ledger would say.
"""

from __future__ import annotations

import re
from pathlib import Path

from client.data.identity import dataset_digest
from client.ledger.ledger import Ledger
from client.site import SiteAccounts
from common.errors import TrustError
from common.files import sha256_hex
from common.ledger.entries import HELD_OUT, TRAINING, Account, Budget
from common.trust.keys import SigningKey

FOLDER = "ledgers"


def open_accounts(folder: Path, site: str, *, data: str, epsilon: float | None, delta: float) -> SiteAccounts:
    """The ledger of one site in a run folder, and the accounts of its patients.

    Args:
        folder: Run folder.
        site: The site's name.
        data: Name of its data set.
        epsilon: Its cap; None sets none.
        delta: At which epsilon is stated.

    Raises:
        LedgerError: The ledger is damaged, or cannot be written.
        TrustError: Its key is gone or damaged.
    """
    path = ledger_path(folder, site)
    ledger = Ledger.open(
        path, site=site, key=_key(path.with_suffix(".pem")), budget=Budget(epsilon=epsilon, delta=delta)
    )
    return SiteAccounts(
        ledger=ledger,
        training=Account(dataset_digest=dataset_digest(site=site, name=data), cohort=TRAINING),
        held_out=Account(dataset_digest=dataset_digest(site=site, name=data), cohort=HELD_OUT),
    )


def ledger_path(folder: Path, site: str) -> Path:
    """Where a site's ledger lies; a name that is no plain file name is told apart by its digest."""
    plain = re.sub(r"[^A-Za-z0-9-]", "_", site)[:64]
    return folder / FOLDER / f"{plain if plain == site else f'{plain}-{sha256_hex(site.encode())[:8]}'}.sqlite3"


def _key(path: Path) -> SigningKey:
    """The key in a file, made by whichever process comes first."""
    try:
        return SigningKey.create(path)
    except TrustError:
        return SigningKey.load(path)
