"""Who shares noise with whom: mutual, of a bounded number, and known from the names alone."""

from __future__ import annotations

import pytest

from common.pair_noise.peers import MOST_PEERS, num_peers, peers_of


@pytest.mark.parametrize("n", [1, 2, 5, 13, 14, 15, 50, 200])
def test_peers_are_mutual_and_as_many_as_stated(n: int) -> None:
    names = [f"site-{number}" for number in range(n)]
    peers = {name: peers_of(name, names) for name in names}
    for name, found in peers.items():
        assert len(found) == len(set(found)) == num_peers(n) == min(n - 1, MOST_PEERS)
        assert name not in found
        assert all(name in peers[peer] for peer in found)


def test_order_of_the_cohort_changes_nothing() -> None:
    names = [f"site-{number}" for number in range(30)]
    shuffled = names[17:] + names[:17][::-1]
    assert all(peers_of(name, names) == peers_of(name, shuffled) for name in names)


def test_stranger_has_no_peers() -> None:
    with pytest.raises(ValueError, match="not in"):
        peers_of("stranger", ["north", "south"])
