"""The parts of production that an audit attacks, as one value whose defaults are production itself.

Nothing in production can be told to be broken. A test breaks a part by putting its own in its place with
`dataclasses.replace`, and must see a check fail; an audit takes the value as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from client.app import answer, build_client_app
from client.dp.randomness import Randomness, SystemRandomness
from client.dp.round_noise import Pairing, RoundNoise
from client.dp.step import GradientSource
from client.gate.gate import Gate
from client.measurement.draw_counts import drawn
from client.measurement.group_counts import group_counts
from client.measurement.noised_statistics import count, noised_statistics
from client.policy.site_policy import policy_of
from client.search.desk import Desk
from client.site import SiteAccounts
from client.training.train import gradient_source, train
from common.privacy.accountant import epsilon_of
from common.privacy.held_out import group_noise_of, noise_of
from simulations.federation.ledgers import open_accounts


def system_randomness(site: str, round_number: int) -> Randomness:  # noqa: ARG001 - no key follows from them
    """What a hospital draws from."""
    return SystemRandomness()


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The production parts under attack. Each has the signature of what stands here.

    Attributes:
        gradient_source: Makes a step: sample, clip, noise (`client/training/train.py`).
        train: A round's local steps; calls production's own gradient source.
        randomness: Of a site's round: sampling and own noise.
        open_round: The noise that a site shares in a round.
        count: Exact counts of the held-out patients.
        group_counts: The exact table by group.
        noise_of: The noise of the counts.
        group_noise_of: The noise of the table.
        drawn: Adds noise to exact counts.
        noised_statistics: What is told of the held-out patients.
        answer: A site's whole answer to a task, with its charges.
        gate: What stands around it.
        app: The whole app of a site, with its gate.
        accounts: Opens a site's ledger.
        policy: A hospital's policy, rules of searching among it.
        desk: Answers questions of other hospitals.
        accountant: Epsilon of events.
    """

    gradient_source: Callable[..., GradientSource] = gradient_source
    train: Callable[..., dict[str, Any]] = train
    randomness: Callable[[str, int], Randomness] = system_randomness
    open_round: Callable[..., RoundNoise] = Pairing.open_round
    count: Callable[..., Any] = count
    group_counts: Callable[..., Any] = group_counts
    noise_of: Callable[..., Any] = noise_of
    group_noise_of: Callable[..., Any] = group_noise_of
    drawn: Callable[..., Any] = drawn
    noised_statistics: Callable[..., dict[str, Any]] = noised_statistics
    answer: Callable[..., Any] = answer
    gate: Callable[..., Any] = Gate
    app: Callable[..., Any] = build_client_app
    accounts: Callable[..., SiteAccounts] = open_accounts
    policy: Callable[..., Any] = policy_of
    desk: Callable[..., Any] = Desk
    accountant: Callable[..., float] = epsilon_of


PRODUCTION = Pipeline()
