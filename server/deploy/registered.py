"""Which member stands behind each of Flower's nodes: told by the key that the node proves, never by what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, cast

from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid

from server.deploy.config import CONFIG_FILE
from server.deploy.control import openssh_of
from server.deploy.installation import Installation, read_installation
from server.deploy.members import Admitted


class _Nodes(Protocol):
    """What a deployment's grid can do beside what Flower's `Grid` promises."""

    def get_nodes(self) -> Iterable[NodeInfo]:
        """The nodes that are online."""
        ...


class SitesByNode:
    """Names of the present members whose nodes are online, by node id; asked anew each time.

    The member list is read each time too: a member that is revoked during a run is not asked again.

    Args:
        grid: Flower's grid of a deployment.
        installation: The server's folder.
    """

    def __init__(self, grid: Grid, installation: Installation) -> None:
        self._nodes = cast("_Nodes", grid)
        self._installation = installation

    def __call__(self) -> Mapping[int, str]:
        """The mapping as it is now."""
        names = {member.node_key: site for site, member in self._members().items()}
        keys = {node.node_id: openssh_of(node.public_key) for node in self._nodes.get_nodes()}
        return {node: names[key] for node, key in keys.items() if key in names}

    def _members(self) -> Mapping[str, Admitted]:
        return read_installation(self._installation.folder / CONFIG_FILE).members.present
