"""Who shares noise with whom: everybody with everybody, and in a large cohort on a public graph.

A shared part costs one draw of noise a peer, and a dozen of them hide a message nearly as well as a hundred. So in a
cohort of more than `MOST_PEERS` + 1 the sites stand in a ring, in the order of their names, and each shares noise with
the `MOST_PEERS` nearest. The graph follows from the names alone: nobody chooses peers.
"""

from __future__ import annotations

from collections.abc import Iterable

MOST_PEERS = 12
"""Even, so that as many stand on either side."""


def num_peers(num_sites: int) -> int:
    """Peers of each site in a cohort of so many."""
    return min(max(num_sites - 1, 0), MOST_PEERS)


def peers_of(site: str, cohort: Iterable[str]) -> tuple[str, ...]:
    """The sites that share noise with a site, sorted. It is mutual: each of them has the site among its own.

    Raises:
        ValueError: The site is not of the cohort.
    """
    ring = sorted(cohort)
    here = ring.index(site)
    if len(ring) - 1 <= MOST_PEERS:
        return tuple(name for name in ring if name != site)
    steps = range(1, MOST_PEERS // 2 + 1)
    return tuple(sorted(ring[(here + side * step) % len(ring)] for step in steps for side in (-1, 1)))
