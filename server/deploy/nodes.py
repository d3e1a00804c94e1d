"""The nodes that Flower lets in are the keys of the consortium's present members: no more, no fewer.

Flower's list lives as long as its process; the member list is signed and stays. So each life of the SuperLink is told
anew, and told again when the list changes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from server.deploy.control import Node, NodeRegistry
from server.deploy.installation import Installation

_log = logging.getLogger("wardround.nodes")


@dataclass(frozen=True, kw_only=True)
class NodeChanges:
    """What makes Flower's list that of the members.

    Attributes:
        unregister: Nodes that are nobody's, or whose key is another member's.
        register: Public key to site.
    """

    unregister: tuple[Node, ...] = ()
    register: Mapping[str, str]


def plan_nodes(members: Mapping[str, str], nodes: Iterable[Node]) -> NodeChanges:
    """What is to be changed.

    Args:
        members: Site to its public node key, as one line of OpenSSH; the present members.
        nodes: What is registered.
    """
    wanted = {key: site for site, key in members.items()}
    unwanted, served = [], set()
    for node in nodes:
        if wanted.get(node.key) == node.name and node.key not in served:
            served.add(node.key)
        else:
            unwanted.append(node)
    return NodeChanges(
        unregister=tuple(unwanted), register={key: site for key, site in wanted.items() if key not in served}
    )


def sync_nodes(registry: NodeRegistry, installation: Installation) -> NodeChanges:
    """Make Flower's list that of the members; who is put out is put out before anyone is let in.

    Returns:
        What was changed.

    Raises:
        ControlError: The Control API cannot be reached, or refuses; call again.
    """
    members = {site: member.node_key for site, member in installation.members.present.items()}
    changes = plan_nodes(members, registry.nodes())
    for node in changes.unregister:
        registry.unregister(node.id)
        _log.warning("%s is let in no more", node.name or "a node without a name")
    for key, site in changes.register.items():
        registry.register(key, name=site)
        _log.info("%s is let in", site)
    return changes
