"""The bundle: everything of a run that a hospital approves, in one file whose hash stands for all of it.

A ZIP file without compression, with these members in this order, and exactly one way to write them:

app.fab              Flower's app bundle: pyproject.toml, which names the ServerApp, and bundle.json
config.yaml          the run's configuration, as `config_as_yaml` writes it
model.safetensors    the first model, fitted to the public studies, whole: what a site takes its frozen part from
start.safetensors    the arrays of the first round: what trains of it, fitted to the public studies again
validation.safetensors  the public studies that the server watches the model on, as the part that trains sees them, and
                     which of them share findings or a report, without their names and texts

bundle.json holds the digests of the other members, of the public studies and of the code that it was made with, and the
keys of the hospitals that share noise in the run. So the bundle's hash, SHA-256 of app.fab, covers all of it; it is
also what Flower calls the app's hash. A site reads bundle.json and never loads the app.

What is read may come from a stranger: sizes are bounded before anything is parsed, nothing is written to a disk, and
what does not fit is one `TrustError` that names the file.
"""

from __future__ import annotations

import io
import json
import re
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from common.canonical import canonical_json
from common.config.load import config_as_yaml, config_digest, config_from_json
from common.config.schema import RunConfig
from common.errors import TrustError
from common.files import sha256_hex
from common.trust.names import is_name

FORMAT = 2
SERVER_APP = "server.deploy.run_app:app"
CLIENT_APP = "client.deploy.never:app"
"""A name that a site never loads: it answers with its own installed code."""

APP, CONFIG, MODEL, START = "app.fab", "config.yaml", "model.safetensors", "start.safetensors"
VALIDATION = "validation.safetensors"
MOST_BYTES: Mapping[str, int] = {
    APP: 1 << 16,
    CONFIG: 1 << 16,
    MODEL: 1 << 31,
    START: 1 << 31,
    VALIDATION: 1 << 31,
}
"""Members in their order, and the greatest size of each."""

_PROJECT, _FACTS, _CONTENT = "pyproject.toml", "bundle.json", ".info/CONTENT"
_MOST_APP_FILE_BYTES = 1 << 16
_DATE = (1980, 1, 1, 0, 0, 0)
_MOST_BRACKETS = 256
_ENVELOPE_BYTES = 1 << 12
"""More than the ZIP format needs around the members."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!_-]{0,63}")
_REMEDY = "ask the coordinating centre for it again"


@dataclass(frozen=True, kw_only=True)
class BundleFacts:
    """What bundle.json says.

    Attributes:
        run: Digest of the run's configuration.
        config: SHA-256 of config.yaml.
        model: SHA-256 of model.safetensors.
        start: SHA-256 of start.safetensors.
        validation: SHA-256 of validation.safetensors.
        anchors: Digest of the public studies.
        code: Digest of the wardround that made the bundle.
        versions: Of wardround, and of the libraries that it was made with.
        cohort: Signing key of each hospital that shares noise in the run, by name; empty where none does.
        format: Version of this form.
    """

    run: str
    config: str
    model: str
    start: str
    validation: str
    anchors: str
    code: str
    versions: Mapping[str, str]
    cohort: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A run as its bundle holds it.

    Attributes:
        hash: SHA-256 of `app`: the name of the bundle.
        facts: What bundle.json says; all of it was checked against the other members.
        config: The run's configuration.
        config_bytes: config.yaml.
        model: model.safetensors.
        start: start.safetensors.
        validation: validation.safetensors; no arrays where nothing is kept from the public fit.
        app: app.fab, for Flower.
    """

    hash: str
    facts: BundleFacts
    config: RunConfig
    config_bytes: bytes
    model: bytes
    start: bytes
    validation: bytes
    app: bytes

    @property
    def run(self) -> str:
        """Digest of the run's configuration."""
        return self.facts.run

    @property
    def code(self) -> str:
        """Digest of the wardround that made the bundle."""
        return self.facts.code

    @property
    def anchors(self) -> str:
        """Digest of the public studies."""
        return self.facts.anchors


def app_files(facts: BundleFacts) -> dict[str, bytes]:
    """The files that `app.fab` is built of."""
    return {_PROJECT: _project_text(facts).encode(), _FACTS: canonical_json(asdict(facts))}


def written_bundle(*, app: bytes, config: bytes, model: bytes, start: bytes, validation: bytes) -> bytes:
    """The bundle of these members; the same members give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, content in zip(MOST_BYTES, (app, config, model, start, validation), strict=True):
            file.writestr(_member(name), content)
    return buffer.getvalue()


def read_bundle(path: Path) -> Bundle:
    """The bundle in a file.

    Raises:
        TrustError: It cannot be read, is larger than a bundle is, is damaged, or its parts do not belong together.
    """
    most = sum(MOST_BYTES.values()) + _ENVELOPE_BYTES
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise TrustError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > most:
        raise TrustError(f"{path}: is larger than a bundle is; {_REMEDY}")
    try:
        return bundle_of(content)
    except TrustError as error:
        raise TrustError(f"{path}: {error}; {_REMEDY}") from error


def bundle_of(content: bytes) -> Bundle:
    """The bundle of a file's bytes.

    Raises:
        TrustError: The bytes are no bundle, or its parts do not belong together.
    """
    members = _members(content)
    facts = _facts(members[APP])
    said_of = {CONFIG: facts.config, MODEL: facts.model, START: facts.start, VALIDATION: facts.validation}
    for name, said in said_of.items():
        if sha256_hex(members[name]) != said:
            raise TrustError(f"{name}: is not the one that {APP} names")
    return Bundle(
        hash=sha256_hex(members[APP]),
        facts=facts,
        config=_config(members[CONFIG], facts),
        config_bytes=members[CONFIG],
        model=members[MODEL],
        start=members[START],
        validation=members[VALIDATION],
        app=members[APP],
    )


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system = 3  # as on Linux, wherever it is written
    info.external_attr = 0o644 << 16
    return info


@contextmanager
def _as_trust_error(text: str) -> Iterator[None]:
    """Whatever a stranger's bytes make a parser raise means that they do not fit; parsers raise what they like."""
    try:
        yield
    except TrustError:
        raise
    except Exception as error:
        raise TrustError(text) from error


def _members(content: bytes) -> dict[str, bytes]:
    """The members by name, where the bytes are the one way to write them."""
    with _as_trust_error("is no bundle, or damaged"), zipfile.ZipFile(io.BytesIO(content)) as file:
        infos = file.infolist()
        if [info.filename for info in infos] != list(MOST_BYTES):
            raise TrustError("holds other members than a bundle does")
        for info in infos:
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > MOST_BYTES[info.filename]:
                raise TrustError(f"{info.filename}: is compressed, or larger than it may be")
        app, config, model, start, validation = (file.read(info) for info in infos)
    if written_bundle(app=app, config=config, model=model, start=start, validation=validation) != content:
        raise TrustError("is not written as a bundle is; it is damaged")
    return dict(zip(MOST_BYTES, (app, config, model, start, validation), strict=True))


def _facts(app: bytes) -> BundleFacts:
    """What bundle.json says, where the app holds it, the project that belongs to it, and nothing else."""
    with _as_trust_error(f"{APP}: is no app of a bundle, or damaged or newer"):
        files = _app_contents(app)
        said: dict[str, Any] = json.loads(files[_FACTS])
        facts = BundleFacts(**said)
        _check_forms(facts)
        project = tomllib.loads(files[_PROJECT].decode())
    if files[_FACTS] != canonical_json(asdict(facts)) or project != tomllib.loads(_project_text(facts)):
        raise TrustError(f"{APP}: says more than a bundle does, or is damaged or newer")
    return facts


def _app_contents(app: bytes) -> dict[str, bytes]:
    """Files of the app, each once and of bounded size, as its own list of them says."""
    with zipfile.ZipFile(io.BytesIO(app)) as file:
        infos = file.infolist()
        if [info.filename for info in infos] != [_PROJECT, _FACTS, _CONTENT]:
            raise TrustError(f"{APP}: holds other files than a bundle's app does")
        if any(info.file_size > _MOST_APP_FILE_BYTES for info in infos):
            raise TrustError(f"{APP}: holds a file that is larger than any of a bundle")
        files = {info.filename: _bounded(file, info) for info in infos}
    listed = [f"{name},{sha256_hex(files[name])},{8 * len(files[name])}" for name in (_PROJECT, _FACTS)]
    if files[_CONTENT] != "\n".join(listed).encode():
        raise TrustError(f"{APP}: its list of files is not that of its files")
    return files


def _bounded(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A file's content; a header may lie about how much it unpacks to."""
    with file.open(info) as stream:
        content = stream.read(_MOST_APP_FILE_BYTES + 1)
    if len(content) > _MOST_APP_FILE_BYTES:
        raise TrustError(f"{APP}: holds a file that is larger than any of a bundle")
    return content


def _check_forms(facts: BundleFacts) -> None:
    if type(facts.format) is not int or facts.format != FORMAT:
        raise TrustError(f"{APP}: is of another format than {FORMAT}; update wardround")
    digests = (facts.run, facts.config, facts.model, facts.start, facts.validation, facts.anchors, facts.code)
    if not all(isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in digests):
        raise TrustError(f"{APP}: names something that is no SHA-256")
    if not all(is_name(name) and _DIGEST.fullmatch(key) for name, key in facts.cohort.items()):
        raise TrustError(f"{APP}: names a hospital or a key that is none")
    if len(set(facts.cohort.values())) < len(facts.cohort):
        raise TrustError(f"{APP}: names two hospitals with one key")
    if "wardround" not in facts.versions or not all(_VERSION.fullmatch(text) for text in facts.versions.values()):
        raise TrustError(f"{APP}: names a version that is none")


def _config(content: bytes, facts: BundleFacts) -> RunConfig:
    with _as_trust_error(f"{CONFIG}: is no configuration of a run that this version knows"):
        text = content.decode()
        config = None if _is_costly(text) else config_from_json(yaml.safe_load(text))
    if config is None or config_as_yaml(config).encode() != content or config_digest(config) != facts.run:
        raise TrustError(f"{CONFIG}: is not written as a run's configuration is, or of another run than {APP} says")
    if config.privacy.cohort.keys() != facts.cohort.keys():
        raise TrustError(f"{CONFIG}: names other hospitals that share noise than {APP} has keys of")
    return config


def _is_costly(text: str) -> bool:
    """Whether reading a YAML text could take long; none that `config_as_yaml` writes could.

    Many brackets take a parser minutes, and a text that refers to parts of itself can be small and stand for very much.
    """
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        return True
    return any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader))


def _project_text(facts: BundleFacts) -> str:
    """The app's pyproject.toml: what Flower asks for, and nothing that a person could hide something in."""
    return f"""[project]
name = "wardround-run"
version = "{facts.versions["wardround"]}"
description = "A run of wardround; its code is what is installed"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "wardround"

[tool.flwr.app.components]
serverapp = "{SERVER_APP}"
clientapp = "{CLIENT_APP}"

[tool.flwr.app.config]
run = "{facts.run}"
"""
