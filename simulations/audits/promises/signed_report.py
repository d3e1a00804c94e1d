"""The report's folder: page, JSON and annex, and a signature of the auditor over all three, apart from them.

audit.json        the report for machines (`audit.schema.json`)
report.html       for people
dpia.md           the annex to a DPIA, to be filled in; a copy is filled in, for the signature is over this one
signature.json    digests of the three, sealed with the auditor's key; absent where no key was given

The folder is whole or absent.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from common.config.schema import RunConfig
from common.errors import CheckFailed, ConfigError, TrustError
from common.evidence.manifest import FileDigest, digest_files
from common.files import flush, named_in_errors, sha256_of_file
from common.trust.envelope import read_file, read_signed, seal, unseal
from common.trust.keys import PublicKey, SigningKey
from simulations.audits.promises.parts import read_object
from simulations.audits.promises.render import annex, page
from simulations.audits.promises.report import AuditReport

AUDIT_FILE, REPORT_FILE, ANNEX_FILE, SIGNATURE_FILE = "audit.json", "report.html", "dpia.md", "signature.json"
_SIGNED = (AUDIT_FILE, REPORT_FILE, ANNEX_FILE)
_PURPOSE = "auditor's report"


@dataclass(frozen=True, kw_only=True)
class SignedReport:
    """What an auditor signs.

    Attributes:
        run: Digest of the run's configuration, or "" where nobody said.
        made_at: When, UTC, ISO 8601.
        public_key: The auditor's, in hexadecimal.
        files: The report's files.
    """

    run: str
    made_at: str
    public_key: str
    files: tuple[FileDigest, ...]


def refuse_taken(folder: Path) -> None:
    """Return where a report may be written.

    Raises:
        ConfigError: There is something in its place already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--out {folder}: is there already; name a new folder")


def write_report(report: AuditReport, folder: Path, *, config: RunConfig | None, key: SigningKey | None) -> None:
    """Write the report's folder, whole or not at all.

    Raises:
        ConfigError: There is something in its place already.
        OSError: The disk refuses it; nothing is left.
    """
    refuse_taken(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with named_in_errors(folder):
            temporary.chmod(0o755)
            text = json.dumps(report.as_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            (temporary / AUDIT_FILE).write_text(text, encoding="utf-8")
            (temporary / REPORT_FILE).write_text(page(report), encoding="utf-8")
            (temporary / ANNEX_FILE).write_text(annex(report, config), encoding="utf-8")
            if key is not None:
                signed = SignedReport(
                    run=report.run or "",
                    made_at=report.made_at,
                    public_key=key.public.hex,
                    files=digest_files(temporary, *map(Path, _SIGNED)),
                )
                (temporary / SIGNATURE_FILE).write_bytes(seal(signed, key, purpose=_PURPOSE))
            for path in (*temporary.iterdir(), temporary):
                flush(path)
            temporary.replace(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    flush(folder.parent)


def verify_report(folder: Path, *, known: PublicKey | None) -> SignedReport:
    """Check a report's folder.

    1. The signature is that of the key that it names, and of the key that is known from elsewhere where one is.
    2. Each file is the one that was signed, and there is no other.
    3. The JSON is of its schema's form.

    Args:
        folder: The folder.
        known: The auditor's key, got from elsewhere; None takes the one that the signature names.

    Raises:
        CheckFailed: It is not signed, or of another form.
        ConfigError: There is no such folder.
        TrustError: A rule is broken; the file is named.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; name a report that wardround audit all --out wrote")
    path = folder / SIGNATURE_FILE
    if not path.exists():
        raise CheckFailed(f"{path}: is missing: nobody signed this report; --key signs one when it is made")
    content = read_file(path)
    try:
        named, _ = read_signed(content, SignedReport)
        signed = unseal(content, SignedReport, PublicKey.from_hex(named.public_key), purpose=_PURPOSE)
    except TrustError as error:
        raise TrustError(f"{path}: {error}") from error
    if known is not None and known.hex != signed.public_key:
        raise TrustError(f"{path}: is signed with another key than the one given")
    if tuple(file.name for file in signed.files) != _SIGNED:
        raise TrustError(f"{path}: lists other files than a report has")
    for file in signed.files:
        _check_file(folder, file)
    beside = sorted({found.name for found in folder.iterdir()} - {*_SIGNED, SIGNATURE_FILE})
    if beside:
        raise TrustError(f"{folder / beside[0]}: lies in the report's folder, and nobody signed it; take it out")
    validate(read_object(folder / AUDIT_FILE))
    return signed


def validate(said: dict[str, Any]) -> None:
    """Check a report's JSON against its schema.

    Raises:
        CheckFailed: A key is missing, unknown or of the wrong form; the first one is named.
    """
    problem = best_match(Draft202012Validator(load_schema()).iter_errors(said))
    if problem is not None:
        raise CheckFailed(f"{AUDIT_FILE}: {problem.json_path}: {problem.message[:200]}; it is damaged or newer")


def load_schema() -> dict[str, Any]:
    """The JSON Schema of `audit.json`."""
    schema: dict[str, Any] = json.loads(Path(__file__).with_name("audit.schema.json").read_bytes())
    return schema


def _check_file(folder: Path, file: FileDigest) -> None:
    path = folder / file.name
    try:
        found = sha256_of_file(path)
    except OSError as error:
        raise TrustError(f"{path}: cannot be read ({error.strerror}), and was signed") from error
    if found != file.sha256:
        raise TrustError(f"{path}: is not the file that was signed; it was changed or replaced")
