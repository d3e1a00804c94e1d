"""Whether this machine reaches the consortium's server, by the way that `site.yaml` says."""

from __future__ import annotations

from dataclasses import dataclass

from client.network.way_out import WayOut, try_once
from client.policy.site_config import proxy_of
from client.policy.site_schema import SiteConfig
from client.state_folder import ADMISSION_FILE, REQUEST_FILE, ROOTS_FILE
from common.trust.admission import read_admission
from common.trust.envelope import read_file
from common.trust.request import read_request


@dataclass(frozen=True, kw_only=True)
class WayOutCheck:
    """How it went.

    Attributes:
        address: The server's host and port.
        proxy: The proxy's address; None where the hospital goes straight.
        problem: What is wrong, and what to do; None where the server answers.
    """

    address: str
    proxy: str | None
    problem: str | None


def check_way_out(site: SiteConfig) -> WayOutCheck | None:
    """Go the way once, without a word of who this is; None where the site has not joined yet.

    Raises:
        ConfigError: The file of the proxy's login holds something else.
        TrustError: It cannot be read, or the admission does not hold.
    """
    proxy, state = proxy_of(site), site.state_folder
    if not (state / ADMISSION_FILE).exists():
        return None
    request = read_request(read_file(state / REQUEST_FILE))
    server = read_admission(read_file(state / ADMISSION_FILE), request=request).consortium.address
    problem = try_once(WayOut(address=server, roots=state / ROOTS_FILE, proxy=proxy))
    return WayOutCheck(address=server, proxy=None if proxy is None else proxy.url, problem=problem)
