"""A hospital in the run of a bundle: the bundle's model, its own studies as it always cuts them, and its ledger."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from client.check.budget import accounts_of
from client.deploy.own_studies import OwnStudies
from client.dp.randomness import Randomness, SystemRandomness
from client.dp.round_noise import Pairing
from client.ledger.ledger import Ledger
from client.policy.site_config import anchor_folder
from client.policy.site_schema import SiteConfig
from client.site import Site, SiteAccounts
from client.store.store import PREPARED_FOLDER, Prepared
from client.studies import by_group
from client.training.train import views_of
from common.bundle import Bundle
from common.encoders.public_fit import fresh_model, split_frozen
from common.encoders.public_parts import part_public
from common.encoders.registry import ENCODERS
from common.errors import ConfigError, DataError, TrustError, WardroundError
from common.pair_noise.keys import PairKey
from common.privacy.bands import band_of
from common.privacy.plan import check_shared_noise, pair_law, privacy_plan
from common.trust.keys import PublicKey, SigningKey
from common.wire.update import from_safetensors, load_into, model_arrays

RandomnessOf = Callable[[int], Randomness]
"""Source of sampling and noise for a round."""


def system_randomness(round_number: int) -> Randomness:  # noqa: ARG001 - the system's entropy knows no rounds
    """The operating system's."""
    return SystemRandomness()


def open_site(
    config: SiteConfig, bundle: Bundle, prepared: Prepared, ledger: Ledger, randomness: RandomnessOf, *, key: SigningKey
) -> Site:
    """A hospital in the run of a bundle, with its prepared studies.

    Raises:
        ConfigError: The run's encoder cannot be had here, no noise reaches its epsilon, or noise is shared by others.
        DataError: The public studies are others than the run's, or the hospital's studies cannot be used.
        TrustError: The bundle's model is not of its configuration.
    """
    run = bundle.config
    encoder = ENCODERS.load(run.encoder.name)(run.encoder)
    if prepared.anchors.digest != bundle.anchors:
        folder = anchor_folder(config).root
        raise DataError(f"{folder}: holds other public studies than the run was made with; see wardround site approve")
    whole = fresh_model(encoder, run)
    _load(whole, bundle.model)
    frozen, model = split_frozen(whole.to(run.device))
    _load(model, bundle.start)
    start = model_arrays(model)
    own, public = OwnStudies.of(config, prepared, run.loss), part_public(prepared.anchors.features, run)
    anchors, public_pairs = public.anchors.to(run.device), public.unseen.to(run.device)
    if frozen is not None:
        own = own.encoded_by(frozen, device=run.device, folder=config.state_folder / PREPARED_FOLDER)
        anchors, public_pairs = frozen.sees(anchors), frozen.sees(public_pairs)
    private = by_group(own.private(), own.private_records(), run)
    views_of(run).refuse_features(private.rows(slice(0)).images)
    check_shared_noise(run, band_of(private.num_patients))
    training, held_out = accounts_of(config)
    return Site(
        name=config.site,
        config=run,
        config_digest=bundle.run,
        model=model,
        start=start,
        private=private.to(run.device),
        held_out=own.held_out().to(run.device),
        anchors=anchors,
        public_pairs=public_pairs,
        privacy=privacy_plan(run, band_of(private.num_patients)),
        accounts=SiteAccounts(ledger=ledger, training=training, held_out=held_out),
        randomness=randomness,
        pairing=_pairing(config, bundle, key),
    )


def _pairing(config: SiteConfig, bundle: Bundle, key: SigningKey) -> Pairing | None:
    """What the hospital needs to share noise, with a key for this run that no other process has; None without.

    Raises:
        ConfigError: The hospital is not of the cohort that shares it, or its key is another there.
    """
    law = pair_law(bundle.config)
    if law is None:
        return None
    if bundle.facts.cohort.get(config.site) != key.public.hex:
        raise ConfigError(
            f"privacy.cohort: the run does not name {config.site} with this hospital's key among those that share noise"
        )
    return Pairing(
        key=PairKey(site=config.site, run=bundle.run, signing_key=key),
        law=law,
        cohort={name: PublicKey.from_hex(member) for name, member in bundle.facts.cohort.items()},
        least_peers=config.privacy.least_peers,
    )


def _load(model: nn.Module, content: bytes) -> None:
    try:
        load_into(model, from_safetensors(content, source="the bundle"))
    except WardroundError as error:
        raise TrustError("the bundle's model is not of its configuration; ask for the bundle again") from error
