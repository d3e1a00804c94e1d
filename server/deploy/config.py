"""`consortium.yaml`: what the coordinating centre sets of its server. Which runs there are is not said here.

`configs/consortium.example.yaml` says what each key means.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from omegaconf import MISSING

from common.config.strict_file import read_strict
from common.errors import ConfigError, TrustError
from common.service.ports import OFF
from common.trust.keys import PublicKey
from common.trust.names import HOST_RULE, NAME_RULE, is_host, is_name

CONFIG_FILE = "consortium.yaml"


@dataclass(frozen=True)
class Validity:
    """How long what is made from now on holds, in days.

    Attributes:
        root_days: A root.
        server_days: A server certificate, at most as long as its root.
        crossover_days: The step from one root to the next: for as long, a site that knows the old one alone is served.
        request_days: A site's request.
    """

    root_days: int = 3650
    server_days: int = 365
    crossover_days: int = 90
    request_days: int = 30


@dataclass(frozen=True)
class ConsortiumConfig:
    """A consortium's server.

    Attributes:
        name: The consortium's.
        signing_key: The server's Ed25519 key, in hexadecimal: the fingerprint of all that it signed.
        hosts: Names and IP addresses by which sites reach the server; they dial the first.
        port: Where it listens for the sites.
        control_port: Where runs are sent and nodes registered; on loopback alone.
        metrics_port: Where Prometheus asks; on loopback alone, and 0 is nowhere.
        health_port: Where health is asked for (grpc.health.v1); on loopback alone, and 0 is nowhere.
        search_port: Where it listens for the questions of hospitals while a run is open for searching; 0 is nowhere.
        search_seconds: How long the others may take to answer one.
        validity: How long what is made from now on holds.
    """

    name: str = MISSING
    signing_key: str = MISSING
    hosts: list[str] = MISSING
    port: int = MISSING
    control_port: int = 8000
    metrics_port: int = 9464
    health_port: int = 9465
    search_port: int = OFF
    search_seconds: float = 10.0
    validity: Validity = field(default_factory=Validity)


RANGES: dict[str, tuple[float, float]] = {
    "port": (1, 65535),
    "control_port": (1, 65535),
    "metrics_port": (0, 65535),
    "health_port": (0, 65535),
    "search_port": (0, 65535),
    "search_seconds": (0.1, 600),
    "validity.root_days": (1, 36500),
    "validity.server_days": (1, 36500),
    "validity.crossover_days": (1, 3650),
    "validity.request_days": (1, 3650),
}
"""Least and greatest value of each number, both allowed."""


def read_consortium_config(path: Path) -> ConsortiumConfig:
    """The configuration in a `consortium.yaml`.

    Raises:
        ConfigError: The file cannot be read, or a key is unknown, missing, of a wrong type or out of range.
    """
    remedy = f"give --config FILE, the {CONFIG_FILE} that wardround server init made"
    try:
        config = read_strict(path, ConsortiumConfig, remedy=remedy)
        check_consortium_config(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return config


def check_consortium_config(config: ConsortiumConfig) -> None:
    """Check what the types cannot say.

    Raises:
        ConfigError: A value cannot be.
    """
    sections = asdict(config)
    values = sections | {f"validity.{name}": days for name, days in sections["validity"].items()}
    for key, (low, high) in RANGES.items():
        if not low <= values[key] <= high:
            raise ConfigError(f"{key}={values[key]}: out of range; give a value from {low} to {high}")
    if not is_name(config.name):
        raise ConfigError(f"name={config.name}: not a name; {NAME_RULE}")
    if not config.hosts or len(set(config.hosts)) < len(config.hosts):
        raise ConfigError("hosts: is empty or names one twice; list each name and IP address of the server once")
    for host in config.hosts:
        if not is_host(host):
            raise ConfigError(f"hosts: {host} is no host; {HOST_RULE}")
    _check_ports(config)
    try:
        PublicKey.from_hex(config.signing_key)
    except TrustError as error:
        raise ConfigError(
            "signing_key: is no Ed25519 key; restore the line that wardround server init wrote"
        ) from error


def _check_ports(config: ConsortiumConfig) -> None:
    taken = {config.port: "the port of the sites"}
    for key in ("control_port", "metrics_port", "health_port", "search_port"):
        port = getattr(config, key)
        if port in taken:
            raise ConfigError(f"{key}={port}: is {taken[port]}; give another")
        if port != OFF:
            taken[port] = key


def consortium_yaml(config: ConsortiumConfig) -> str:
    """The file, with what each key means."""
    validity = config.validity
    return f"""\
# A consortium's server. wardround server init writes it; keys, certificates and members lie beside it.
# After a change of hosts or port: wardround server rotate, and send each site its admission again.
name: {config.name}
signing_key: "{config.signing_key}"  # the server's, public
hosts: [{", ".join(f'"{host}"' for host in config.hosts)}]  # names and IP addresses of the server; sites dial the first
port: {config.port}  # for the sites
control_port: {config.control_port}  # on this machine alone: registers nodes, takes runs
metrics_port: {config.metrics_port}  # on this machine alone: /metrics for Prometheus; 0 for none
health_port: {config.health_port}  # on this machine alone: grpc.health.v1; 0 for none
search_port: {config.search_port}  # for the sites' searches, while wardround server search is on; 0 for none
search_seconds: {config.search_seconds}  # how long the other sites may take to answer one

validity:  # days, of what is made from now on
  root_days: {validity.root_days}
  server_days: {validity.server_days}  # certificate of the server; wardround server rotate makes the next
  crossover_days: {validity.crossover_days}  # after rotate --ca: how long sites with the old root alone are served
  request_days: {validity.request_days}  # how old a site's request may be
"""
