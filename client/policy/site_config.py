"""How `site.yaml` becomes a `SiteConfig`; a wrong line is one error that names the file, the field and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from client.data.anchor_folder import AnchorFolder
from client.data.folder import StudyFolder
from client.data.patients import SAME_PATIENTS
from client.data.registry import ADAPTERS
from client.network.proxy import Proxy, check_proxy_url
from client.policy.hours import hours_of
from client.policy.site_schema import ANY, RANGES, AgentNetwork, MediatorLimits, PageAccess, SiteConfig, SiteData
from common.config.registry import near
from common.config.strict_file import TYPE_WORDS, leaf_types, read_strict
from common.errors import ConfigError
from common.privacy.release import Mechanism
from common.service.ports import OFF

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"https://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::(?!443$)[0-9]{1,5})?")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_BROWSERS_OWN = frozenset({"host", "origin", "cookie", "content-length", "content-type", "sec-fetch-site", "referer"})
"""Headers that a browser sends itself."""
_TYPES = dict(leaf_types(SiteConfig))
"""Every key with its type."""


def load_site_config(path: Path) -> SiteConfig:
    """The configuration in a hospital's `site.yaml`; its relative paths are relative to the file's folder.

    Raises:
        ConfigError: The file cannot be read, or a key is unknown, missing, of a wrong type or out of range.
    """
    try:
        config = read_strict(path, SiteConfig, remedy="copy configs/site.example.yaml and fill it in")
        _check(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    folder = path.resolve().parent
    data = replace(config.data, root=folder / config.data.root.expanduser())
    anchors = config.anchors
    if anchors.root:
        anchors = replace(anchors, root=str(folder / Path(anchors.root).expanduser()))
    agent = config.agent
    if agent.proxy_login:
        agent = replace(agent, proxy_login=str(folder / Path(agent.proxy_login).expanduser()))
    page = config.page
    if page.secret_file:
        page = replace(page, secret_file=str(folder / Path(page.secret_file).expanduser()))
    state = folder / config.state_folder.expanduser()
    mediator = _with_paths(config.mediator, folder)
    return replace(config, data=data, anchors=anchors, agent=agent, page=page, mediator=mediator, state_folder=state)


def _with_paths(mediator: MediatorLimits, folder: Path) -> MediatorLimits:
    given = (mediator.key_file, mediator.folder, mediator.relevance)
    key_file, model, relevance = (str(folder / Path(path).expanduser()) if path else "" for path in given)
    return replace(mediator, key_file=key_file, folder=model, relevance=relevance)


def study_folder(data: SiteData) -> StudyFolder:
    """Where a hospital's own studies lie."""
    return StudyFolder(
        root=data.root,
        adapter=data.adapter,
        site_column=data.site_column,
        allow_burned_in=data.allow_burned_in,
        pixel_bits=data.pixel_bits,
        same_patients=data.same_patients,
    )


def anchor_folder(config: SiteConfig) -> AnchorFolder:
    """Where a hospital has the public studies: in a folder of their own, or among its own studies."""
    found = config.anchors if config.anchors.root else config.data
    return AnchorFolder(
        root=Path(found.root),
        adapter=found.adapter,
        alone=bool(config.anchors.root),
        split=found.split,
        site_column=found.site_column,
        allow_burned_in=config.data.allow_burned_in,
    )


def proxy_of(config: SiteConfig) -> Proxy | None:
    """The proxy that the hospital goes out through; None where it goes straight.

    Raises:
        ConfigError: The file of its login holds something else.
        TrustError: It cannot be read, or others could read it too.
    """
    if not config.agent.proxy:
        return None
    proxy = Proxy(url=config.agent.proxy, login_file=config.agent.proxy_login)
    proxy.for_httpx()
    return proxy


def _check(config: SiteConfig) -> None:
    """Check what the types cannot say."""
    values = dict(_leaves(asdict(config)))
    for key, (low, high) in RANGES.items():
        if not low <= values[key] <= high:  # also false for NaN
            raise ConfigError(f"{key}={values[key]}: out of range; give a value from {low:g} to {high:g}")
    for key in ("site", "data.name"):
        if not _NAME.fullmatch(values[key]):
            raise ConfigError(
                f"{key}={values[key]}: not a name; use up to 63 of a-z, 0-9, - and _, a letter or digit first"
            )
    choices = {"data.adapter": ADAPTERS.names, "anchors.adapter": ADAPTERS.names, "data.same_patients": SAME_PATIENTS}
    for key, names in choices.items():
        if values[key] not in names:
            raise ConfigError(f"{key}={values[key]}: unknown; {near(values[key], list(names))}")
    if config.budget.epsilon_per_run > config.budget.epsilon:
        raise ConfigError("budget.epsilon_per_run: is above budget.epsilon; lower it, for no run can spend it")
    _check_agent(config.agent)
    _check_page(config.page)
    _check_mediator(config.mediator)
    _check_lists(values)
    _check_releases(config.releases.allowed)
    for key in ("training.hours", "search.hours"):
        try:
            hours_of(values[key])
        except ConfigError as error:
            raise ConfigError(f"{key}: {error}") from error


def _check_agent(agent: AgentNetwork) -> None:
    if agent.health_port != OFF and agent.health_port == agent.metrics_port:
        raise ConfigError(f"agent.health_port={agent.health_port}: is agent.metrics_port; give another")
    if agent.proxy:
        check_proxy_url(agent.proxy)
    elif agent.proxy_login:
        raise ConfigError("agent.proxy_login: is for a proxy, and agent.proxy names none; set it, or leave both out")


def _check_page(page: PageAccess) -> None:
    if not page.address:
        if page.secret_file:
            raise ConfigError(
                "page.secret_file: is for a proxy, and page.address names none; set it, or leave both out"
            )
        return
    if not _ADDRESS.fullmatch(page.address):
        raise ConfigError(f"page.address={page.address}: write https://HOST as browsers name it, and no path behind it")
    if not page.secret_file:
        raise ConfigError("page.secret_file: has no value; without a secret any program here could name a user")
    for key, header in (("user_header", page.user_header), ("secret_header", page.secret_header)):
        if not _HEADER.fullmatch(header) or header.casefold() in _BROWSERS_OWN:
            raise ConfigError(f"page.{key}={header}: is no header of a proxy's own; name one such as X-Remote-User")
    if page.user_header.casefold() == page.secret_header.casefold():
        raise ConfigError("page.secret_header: is page.user_header; give another")


def _check_mediator(mediator: MediatorLimits) -> None:
    if mediator.endpoint and mediator.folder:
        raise ConfigError("mediator.folder: names a model beside the one of mediator.endpoint; leave one of them out")
    if mediator.endpoint and not mediator.model:
        raise ConfigError("mediator.model: has no value; write the name by which the endpoint knows its model")
    if not mediator.endpoint and (mediator.model or mediator.key_file or mediator.allow_public):
        raise ConfigError(
            "mediator.endpoint: has no value, and model, key_file and allow_public are for one; set it, or "
            "leave them out"
        )


def _check_lists(values: Mapping[str, Any]) -> None:
    for key, kind in _TYPES.items():
        if kind != list[str]:
            continue
        if not all(isinstance(entry, str) and entry for entry in values[key]):
            raise ConfigError(f"{key}: wrong type; it takes {TYPE_WORDS[kind]}")
        if ANY in values[key] and len(values[key]) > 1:
            raise ConfigError(f"{key}: lists {ANY} beside others; write [{ANY}] alone, or leave it out")
    for key in ("training.config_digests", "training.bundle_hashes"):
        for entry in values[key]:
            if entry != ANY and not _DIGEST.fullmatch(entry):
                raise ConfigError(f"{key}: {entry} is no SHA-256; give 64 of 0-9 and a-f in quotes, or [{ANY}]")


def _check_releases(allowed: Mapping[str, list[str]]) -> None:
    known = [kind.value for kind in Mechanism if kind is not Mechanism.NOT_PRIVATE]
    for name, mechanisms in allowed.items():
        for mechanism in mechanisms:
            if mechanism == Mechanism.NOT_PRIVATE:
                raise ConfigError(f"releases.allowed.{name}: {mechanism} may not leave a hospital; take it out")
            if mechanism not in known:
                raise ConfigError(f"releases.allowed.{name}: {mechanism} is unknown; {near(str(mechanism), known)}")


def _leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in _TYPES:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value
