"""Flower's list becomes that of the members, from whatever it was."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from common.errors import CheckFailed
from server.deploy.control import Node
from server.deploy.installation import Installation, read_installation
from server.deploy.membership import revoke
from server.deploy.nodes import plan_nodes, sync_nodes
from tests.server.deploy.joining import NOW, Asking, admitted


@dataclass
class Registry:
    """Flower's list, in memory: a key that was put out does not come back."""

    present: list[Node] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def nodes(self) -> tuple[Node, ...]:
        """All of it."""
        return tuple(self.present)

    def register(self, key: str, *, name: str) -> int:
        """One more."""
        if key in self.seen:
            raise CheckFailed("key in use")
        self.seen.add(key)
        self.calls.append(f"+{name}")
        self.present.append(Node(id=len(self.seen), key=key, name=name, online=False))
        return len(self.seen)

    def unregister(self, node_id: int) -> None:
        """One fewer."""
        [node] = [node for node in self.present if node.id == node_id]
        self.calls.append(f"-{node.name}")
        self.present.remove(node)


names = st.sampled_from(["a", "b", "c", "d"])
keys = st.sampled_from(["k1", "k2", "k3", "k4", "k5"])


@given(
    st.dictionaries(names, keys).filter(lambda members: len(set(members.values())) == len(members)),
    st.lists(st.tuples(keys, names), max_size=6),
)
def test_plan_leaves_the_members_and_nobody_else(members: dict[str, str], listed: list[tuple[str, str]]) -> None:
    nodes = [Node(id=number, key=key, name=name, online=False) for number, (key, name) in enumerate(listed)]
    changes = plan_nodes(members, nodes)
    out = {node.id for node in changes.unregister}
    left = [(node.key, node.name) for node in nodes if node.id not in out]
    after = [*left, *changes.register.items()]
    assert sorted(after) == sorted((key, name) for name, key in members.items())
    kept = {(key, name) for name, key in members.items()} & set(listed)
    assert set(left) == kept, "who is registered as they should be is left alone"


def test_plan_changes_nothing_where_nothing_is_to_be_changed() -> None:
    changes = plan_nodes({"a": "k1"}, [Node(id=1, key="k1", name="a", online=True)])
    assert (changes.unregister, dict(changes.register)) == ((), {})


def test_sync_follows_admissions_and_revocations(installation: Installation, site: Asking, other: Asking) -> None:
    registry, config_file = Registry(), installation.folder / "consortium.yaml"
    admitted(installation, site.request(installation))
    sync_nodes(registry, read_installation(config_file))
    assert registry.calls == ["+hospital-1"]
    assert registry.present[0].key == site.node_key.public.openssh
    revoke(config_file, "hospital-1", reason="left", now=NOW)
    admitted(installation, other.request(installation, "hospital-2"))
    sync_nodes(registry, read_installation(config_file))
    assert registry.calls == ["+hospital-1", "-hospital-1", "+hospital-2"], "out before in"
    sync_nodes(registry, read_installation(config_file))
    assert len(registry.calls) == 3


def test_stranger_in_the_list_is_put_out(installation: Installation) -> None:
    registry = Registry([Node(id=7, key="stranger", name="hospital-1", online=True)])
    sync_nodes(registry, installation)
    assert (registry.present, registry.calls) == ([], ["-hospital-1"])
