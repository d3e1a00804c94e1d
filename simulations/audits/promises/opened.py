"""All that was handed over, opened once: what each check reads.

Nothing is trained, no network is asked, and no file is changed. A hospital's parts are put to its name by what they say
themselves, once checked: a log by its owner, a ledger and an index by their site.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from client.policy.site_config import load_site_config
from client.policy.site_schema import SiteConfig
from common.bundle import Bundle, read_bundle
from common.config.load import config_digest, read_run_config
from common.config.schema import RunConfig
from common.errors import CannotTell, CheckFailed, ConfigError, TrustError
from common.evidence.log_entries import Kind, LogEntry
from common.evidence.log_files import LOG_FILE
from common.evidence.log_trail import Trail
from common.evidence.manifest import MANIFEST_FILE
from common.evidence.run_audit import RunEvidence, audit_run
from common.ledger.audit import LedgerAudit
from common.trust.keys import PublicKey
from server.deploy.members import Members, read_members
from server.deploy.runs import BUNDLE_FILE
from server.report.summary import SUMMARY_FILE, validate
from server.report.write import ROUNDS_FILE
from simulations.audits.promises.handed_over import HandedOver
from simulations.audits.promises.parts import MIB, Part, part_of, read_object, read_rounds

CONFIG_FILE = "config.yaml"
DEPLOYMENT = "deployment"
"""The summary's word for an engine of which everything is signed."""
_MOST_QUOTED = 240
"""Characters of a message that quotes a file."""


@dataclass(frozen=True)
class Opened:
    """What was handed over, read.

    Attributes:
        handed: The files.
        evidence: What is signed, checked (`common/evidence/run_audit.py`).
        config: The run's configuration.
        summary: Its summary, of the schema's form.
        rounds: Its rounds.
        bundle: What hospitals approved.
        known: Public keys that were given from elsewhere.
    """

    handed: HandedOver
    evidence: RunEvidence
    config: Part[RunConfig]
    summary: Part[dict[str, Any]]
    rounds: Part[list[dict[str, Any]]]
    bundle: Part[Bundle]
    known: Sequence[PublicKey]

    @cached_property
    def trails(self) -> Mapping[Path, Trail]:
        """The logs that hold, by file."""
        return {folder / LOG_FILE: log.trail for folder, log in self.evidence.logs.logs.items()}

    @cached_property
    def server_log(self) -> tuple[Path, Trail] | None:
        """The server's log: the one that opened rounds; None where it is not here, or does not hold."""
        for path, trail in self.trails.items():
            if any(entry.kind is Kind.CHECKPOINT for entry in trail):
                return path, trail
        return None

    @cached_property
    def site_logs(self) -> Mapping[str, tuple[Path, Trail]]:
        """Hospitals' logs that hold, by hospital; of two of one hospital the longer one."""
        server = self.server_log[0] if self.server_log else None
        found: dict[str, tuple[Path, Trail]] = {}
        for path, trail in self.trails.items():
            name = trail.owner.owner
            if path != server and (name not in found or len(trail) > len(found[name][1])):
                found[name] = (path, trail)
        return found

    @cached_property
    def ledgers(self) -> Mapping[str, LedgerAudit]:
        """Hospitals' ledgers that hold, by hospital."""
        return self.evidence.ledgers

    @cached_property
    def policies(self) -> tuple[Part[SiteConfig], ...]:
        """Each `site.yaml`."""
        return tuple(part_of(path, load_site_config, most_bytes=MIB) for path in self.handed.policies)

    @cached_property
    def policy_of(self) -> Mapping[str, Part[SiteConfig]]:
        """Each `site.yaml` that can be read, by hospital."""
        return {part.value.site: part for part in self.policies if part.value is not None}

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """The hospitals of the run, as the manifest and the summary name them, else as their own files do."""
        named: Iterable[str] = [site.name for site in self.evidence.manifest.sites] if self.evidence.manifest else []
        reported = (self.summary.value or {}).get("sites", {})
        return tuple(dict.fromkeys([*named, *reported])) or tuple(sorted({*self.site_logs, *self.ledgers}))

    @cached_property
    def is_signed(self) -> bool:
        """Whether the run folder has evidence of a deployment: a manifest, or a log."""
        return (self.handed.run / MANIFEST_FILE).exists() or bool(self.evidence.logs.logs) or self.has_logs

    @property
    def has_logs(self) -> bool:
        """Whether there is any log, whole or not."""
        return any(finding.path.name == LOG_FILE for finding in self.evidence.findings)

    @cached_property
    def is_simulation(self) -> bool:
        """Whether this is the run of a simulation, by its own word and by having no signed evidence."""
        said = (self.summary.value or {}).get("engine", DEPLOYMENT)
        return said != DEPLOYMENT and not self.is_signed

    @cached_property
    def run(self) -> str | None:
        """Digest of the run's configuration; None where nobody says."""
        if self.config.value is not None:
            return config_digest(self.config.value)
        if self.evidence.manifest is not None:
            return self.evidence.manifest.run
        return (self.summary.value or {}).get("config_digest")

    def log_of(self, site: str) -> tuple[Path, Trail]:
        """A hospital's log, and its file.

        Raises:
            CannotTell: It is not here, or does not hold.
        """
        if site not in self.site_logs:
            raise CannotTell(f"log of {site}: {self._why_not(LOG_FILE)}")
        return self.site_logs[site]

    def log_of_server(self) -> tuple[Path, Trail]:
        """The server's log, and its file.

        Raises:
            CannotTell: It is not here, or does not hold.
        """
        if self.server_log is None:
            raise CannotTell(f"log of the server: {self._why_not(LOG_FILE)}")
        return self.server_log

    def ledger_of(self, site: str) -> LedgerAudit:
        """A hospital's ledger.

        Raises:
            CannotTell: It is not here, or does not hold.
        """
        if site not in self.ledgers:
            raise CannotTell(f"ledger of {site}: {self._why_not('.sqlite3')}")
        return self.ledgers[site]

    def _why_not(self, ending: str) -> str:
        broken = any(one.error is not None and one.path.name.endswith(ending) for one in self.evidence.findings)
        return "not handed over, or is one that does not hold" if broken else "not handed over"

    def of_run(self, trail: Trail) -> list[LogEntry]:
        """The entries of a log that are of this run."""
        return [entry for entry in trail if entry.fields.get("run") == self.run]

    def members(self) -> Part[Members] | None:
        """The member list under the server's key; None where it was not handed over."""
        if self.handed.members is None:
            return None
        return part_of(self.handed.members, partial(_read_members, self.server_log), most_bytes=16 * MIB)


def opened(handed: HandedOver, *, known: Sequence[PublicKey] = ()) -> Opened:
    """Open all that was handed over.

    Args:
        handed: What was.
        known: Public keys of owners of logs, from elsewhere.
    """
    run = handed.run
    return Opened(
        handed=handed,
        evidence=audit_run(
            run,
            known=known,
            logs={str(path): path for path in handed.logs},
            ledgers={str(path): path for path in handed.ledgers},
        ),
        config=part_of(run / CONFIG_FILE, _read_config, most_bytes=MIB),
        summary=part_of(run / SUMMARY_FILE, _read_summary, most_bytes=64 * MIB),
        rounds=part_of(run / ROUNDS_FILE, read_rounds, most_bytes=256 * MIB),
        bundle=part_of(run / BUNDLE_FILE, read_bundle, most_bytes=4096 * MIB),
        known=known,
    )


def _read_config(path: Path) -> RunConfig:
    try:
        return read_run_config(path)
    except (ConfigError, RecursionError) as error:
        says = str(error).removeprefix(f"{path}: ")
        raise CheckFailed(f"{path}: is no configuration of a run ({_cut(says)}); ask for it again") from error


def _read_summary(path: Path) -> dict[str, Any]:
    summary = read_object(path)
    try:
        validate(summary)
    except CheckFailed as error:
        raise CheckFailed(f"{path}: {_cut(str(error).removeprefix(f'{SUMMARY_FILE}: '))}") from error
    return summary


def _cut(text: str) -> str:
    """A message that may quote all of a damaged file, in a line that can be read."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_QUOTED else f"{line[:_MOST_QUOTED]} ..."


def _read_members(server_log: tuple[Path, Trail] | None, path: Path) -> Members:
    """The list, where the server's log holds and its owner's key signed it.

    Raises:
        CannotTell: The server's log, which names the key, is not here.
        TrustError: The list is damaged, or signed with another key.
    """
    if server_log is None:
        raise CannotTell(f"{path}: no log of the server is here that holds, so nobody is known who could sign it")
    owner = server_log[1].owner
    try:
        return read_members(path.read_bytes(), key=owner.public_key, consortium=owner.owner)
    except TrustError as error:
        raise TrustError(f"{path}: {error}") from error
