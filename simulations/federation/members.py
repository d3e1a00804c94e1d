"""The sites of a federation, made of a consortium's studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from client.dp.randomness import Randomness, SeededRandomness, SystemRandomness
from client.dp.round_noise import Pairing
from client.site import Site, SiteAccounts
from client.studies import by_group
from client.training.train import views_of
from common.config.load import config_digest
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.encoders.public_parts import part_public
from common.pair_noise.keys import PairKey
from common.privacy.bands import band_of, delta_for
from common.privacy.plan import pair_law, privacy_plan, with_cohort
from common.seeds import torch_generator
from common.trust.keys import SigningKey
from common.wire.update import model_arrays
from simulations.attacks.registry import ATTACKS
from simulations.federation.checks import check_attackers
from simulations.federation.ledgers import open_accounts
from simulations.studies.consortium import Consortium

RandomnessOf = Callable[[str, int], Randomness]
"""Source of sampling and noise for a site and a round."""

Cut = Mapping[str, Sequence[str]]
"""Name of each federation member to the sites whose studies it holds."""


@dataclass(frozen=True, kw_only=True)
class Members:
    """The sites of a federation.

    Attributes:
        config: The run's configuration.
        consortium: The studies.
        cut: Who holds them; each site its own, or one member all.
        model: The model before round one; sites work on copies.
        folder: Run folder, for the sites' ledgers and the server's checkpoint.
        randomness: Source of private sampling and noise; None is the operating system's.
    """

    config: RunConfig
    consortium: Consortium
    cut: Cut
    model: DualEncoder
    folder: Path
    randomness: RandomnessOf | None = None


def each_its_own(consortium: Consortium) -> Cut:
    """The cut of a real federation: every site holds its own studies."""
    return {site: [site] for site in consortium.sites}


def in_cohort(config: RunConfig, consortium: Consortium, cut: Cut) -> RunConfig:
    """The config, with the members of a federation and their bands where they share noise."""
    return with_cohort(config, {name: band_of(consortium.private(held).num_patients) for name, held in cut.items()})


def build_sites(members: Members) -> list[Site]:
    """The members of a federation, in the order of their names; their model is a placeholder until one is lent."""
    config, consortium = members.config, members.consortium
    digest = config_digest(config)
    public = part_public(consortium.public(), config)
    anchors, public_pairs = public.anchors.to(config.device), public.unseen.to(config.device)
    start = model_arrays(members.model)
    poison, attackers = ATTACKS.load(config.attack.name).poison, attackers_of(config, sorted(members.cut))
    sites = []
    for name, held in sorted(members.cut.items()):
        private = by_group(consortium.private(held), consortium.private_records(held), config)
        held_out = consortium.held_out(held)
        if poison is not None and name in attackers:
            private = poison(consortium, held, config)
        views_of(config).refuse_features(private.rows(slice(0)).images)
        band = band_of(private.num_patients)
        privacy = privacy_plan(config, band)
        sites.append(
            Site(
                name=name,
                config=config,
                config_digest=digest,
                model=members.model,
                start=start,
                private=private.to(config.device),
                held_out=held_out.to(config.device),
                anchors=anchors,
                public_pairs=public_pairs,
                privacy=privacy,
                accounts=_accounts(members, name, band),
                randomness=_randomness(members, name, private=privacy is not None),
            )
        )
    return _paired(sites)


def attackers_of(config: RunConfig, sites: Sequence[str]) -> Sequence[str]:
    """The last sites.

    Raises:
        ConfigError: There are fewer sites than attackers.
    """
    check_attackers(config, len(sites))
    return sites[len(sites) - config.attack.num_sites :]


def _paired(sites: Sequence[Site]) -> list[Site]:
    """The sites, each with what it needs to share noise with the others, where the run has them do so.

    Their signing keys are of this process alone, as the keys that they sign are: there is nobody to deceive.
    """
    law = pair_law(sites[0].config) if sites else None
    if law is None:
        return list(sites)
    signing = {site.name: SigningKey.fresh() for site in sites}
    cohort = {name: key.public for name, key in signing.items()}
    return [
        replace(
            site,
            pairing=Pairing(
                key=PairKey(site=site.name, run=site.config_digest, signing_key=signing[site.name]),
                law=law,
                cohort=cohort,
                least_peers=0,
            ),
        )
        for site in sites
    ]


def _accounts(members: Members, site: str, band: str) -> SiteAccounts | None:
    """A site's ledger; none where the run spends nothing."""
    config = members.config
    privacy = privacy_plan(config, band)
    if privacy is None and config.evaluation.epsilon is None:
        return None
    return open_accounts(
        members.folder,
        site,
        data=config.data.adapter,
        epsilon=config.policy.epsilon,
        delta=privacy.delta if privacy else delta_for(band),
    )


def _randomness(members: Members, site: str, *, private: bool) -> Callable[[int], Randomness]:
    def of_round(round_number: int) -> Randomness:
        if not private:
            return SeededRandomness(torch_generator(members.config.seed, "batches", site, round_number))
        if members.randomness is not None:
            return members.randomness(site, round_number)
        return SystemRandomness()

    return of_round
