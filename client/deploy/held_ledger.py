"""A worker's ledger: opened once it can be believed, and looked at anew until then."""

from __future__ import annotations

import logging

from client.check.budget import budget_of
from client.ledger.ledger import Ledger
from client.ledger.lost import paid_releases, refuse_forgetful
from client.policy.site_schema import SiteConfig
from client.state_folder import LEDGER_FILE
from common.errors import LedgerError, WardroundError
from common.evidence.audit_log import AuditLog
from common.ledger.books import Books
from common.ledger.read import read_books
from common.trust.keys import SigningKey

_log = logging.getLogger("wardround.site")


class LedgerHolder:
    """A hospital's ledger, opened once it can be believed.

    Args:
        config: The hospital's own configuration.
        key: Its key.
        log: Its audit log, which the ledger is held against.
    """

    def __init__(self, config: SiteConfig, key: SigningKey, log: AuditLog) -> None:
        self._config = config
        self._key = key
        self._log = log
        self._ledger: Ledger | None = None
        self._trouble = ""

    def open(self) -> Ledger:
        """The ledger, open.

        Raises:
            LedgerError: It is damaged, cannot be written, or lacks what the audit log notes; it is looked at anew with
                the next call.
        """
        if self._ledger is None:
            path = self._config.state_folder / LEDGER_FILE
            try:
                refuse_forgetful(path, read_books(path) if path.exists() else Books(), paid_releases(self._log.trail))
                self._ledger = Ledger.open(path, site=self._config.site, key=self._key, budget=budget_of(self._config))
            except WardroundError as error:
                self._say_once(str(error))
                raise LedgerError(str(error)) from error
        return self._ledger

    def close(self) -> None:
        """Close it, where it was opened."""
        if self._ledger is not None:
            self._ledger.close()

    def _say_once(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.critical("no ledger: %s", trouble)
        self._trouble = trouble
