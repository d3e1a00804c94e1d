"""A run becomes a bundle: its configuration, and the first model fitted to the public studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from types import MappingProxyType

from flwr.cli.build import build_fab_from_files

from client.data.anchor_folder import AnchorFolder
from client.data.anchors import read_anchors
from client.data.features import CachedEncoder
from client.training.calibrate import calibrate
from common.bundle import BundleFacts, app_files, written_bundle
from common.code_digest import code_digest
from common.config.load import config_as_yaml, config_digest
from common.config.schema import RunConfig
from common.device import CPU, check_device_word, is_here
from common.encoders.cache import FeatureCache, cache_folder
from common.encoders.public_fit import AnchorFeatures, Start, first_model, start_of
from common.encoders.public_parts import part_public, validation_to_arrays
from common.encoders.registry import ENCODERS
from common.errors import ConfigError
from common.files import sha256_hex
from common.pair_noise.cohort_file import Member
from common.privacy.bands import SMALL
from common.privacy.forecast import Forecast, forecast
from common.privacy.plan import SHARED, privacy_plan, with_cohort
from common.wire.update import model_arrays, to_safetensors

LIBRARIES = ("wardround", "flwr", "numpy", "torch")
"""Whose versions a bundle names."""

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Made:
    """A new bundle.

    Attributes:
        content: The file.
        hash: Its name.
        facts: What it says of itself.
        config: The run's configuration, calibrated where it asked for that.
        num_anchors: Public studies that the first model was fitted to.
        num_validated: Public studies that were kept for the server to watch it on.
        forecast: Whether noise will drown the run; None where the sites' bands are not known.
    """

    content: bytes
    hash: str
    facts: BundleFacts
    config: RunConfig
    num_anchors: int
    num_validated: int
    forecast: Forecast | None


def build_bundle(
    config: RunConfig,
    anchors: AnchorFolder,
    *,
    bands: tuple[str, ...],
    progress: Progress,
    cohort: Mapping[str, Member] = MappingProxyType({}),
) -> Made:
    """Read the public studies, fit the first model to them, and put a run together; no other study is looked at.

    With the same threads of torch, the first model has the same bits as that of a simulation of this config.

    Args:
        config: The run's configuration.
        anchors: Where the public studies lie.
        bands: Bands of the sites' patients, for `privacy.calibrate` and the forecast; none where they are not known,
        and
            of a cohort they are.
        progress: Told what is done next.
        cohort: The hospitals that share noise; none where each has its own.

    Raises:
        ConfigError: No hospital could ever run it.
        DataError: The public studies cannot be read.
    """
    config = with_cohort(config, {name: member.band for name, member in cohort.items()})
    bands = tuple(member.band for member in cohort.values()) or bands
    refuse_undeployable(config, bands)
    check_device_word(config.device)
    encoder = ENCODERS.load(config.encoder.name)(config.encoder)
    # The device is the hospitals'; a centre without one fits the first model where it can.
    fitted = config if is_here(config.device) else replace(config, device=CPU)
    progress("Reading and encoding the public studies")
    public = read_anchors(anchors, CachedEncoder(encoder, FeatureCache(cache_folder(config.encoder.cache))))
    progress("Fitting the first model to them")
    parts = part_public(public.features, config)
    model = first_model(encoder, parts.anchors, fitted)
    whole = to_safetensors(model_arrays(model))
    start = start_of(model, parts.anchors, fitted)
    validation = to_safetensors(validation_to_arrays(_seen(parts.validation, start, fitted)))
    if config.privacy.calibrate:
        config = calibrate(config, start.anchors, start.model, bands, progress=progress).config
    begun = to_safetensors(model_arrays(start.model))
    written = config_as_yaml(config).encode()
    facts = BundleFacts(
        run=config_digest(config),
        config=sha256_hex(written),
        model=sha256_hex(whole),
        start=sha256_hex(begun),
        validation=sha256_hex(validation),
        anchors=public.digest,
        code=code_digest(),
        versions={name: version(name) for name in LIBRARIES},
        cohort={name: cohort[name].key for name in config.privacy.cohort},
    )
    app, _ = build_fab_from_files(app_files(facts))
    return Made(
        content=written_bundle(app=app, config=written, model=whole, start=begun, validation=validation),
        hash=sha256_hex(app),
        facts=facts,
        config=config,
        num_anchors=len(parts.anchors.images),
        num_validated=0 if parts.validation is None else len(parts.validation.images),
        forecast=forecast(config, bands) if bands else None,
    )


def _seen(validation: AnchorFeatures | None, start: Start, config: RunConfig) -> AnchorFeatures | None:
    """The public validation as the model that trains sees it."""
    if validation is None or start.frozen is None:
        return validation
    return start.frozen.sees(validation.to(config.device))


def refuse_undeployable(config: RunConfig, bands: tuple[str, ...]) -> None:
    """Refuse what is for simulations alone, before anything is read.

    Raises:
        ConfigError: The run could not pass at any hospital; the key and the remedy are named.
    """
    if config.attack.name != "none":
        raise ConfigError(f"attack.name={config.attack.name}: is for simulations; set attack.name=none")
    if config.data.merged_sites:
        raise ConfigError(f"data.merged_sites={config.data.merged_sites}: is for simulations; set data.merged_sites=0")
    if config.privacy.epsilon is None:
        raise ConfigError("privacy.epsilon: null trains without privacy, which no hospital lets out; set a number")
    if config.evaluation.epsilon is None:
        raise ConfigError("evaluation.epsilon: null tells exact figures, which no hospital lets out; set a number")
    if config.privacy.noise == SHARED and not config.privacy.cohort:
        raise ConfigError("privacy.noise=shared: needs to know who shares it; give --cohort, see server cohort")
    privacy_plan(config, SMALL)
    if config.privacy.calibrate and not bands:
        raise ConfigError("privacy.calibrate: needs the bands of the sites' patients; give --bands, or set it to false")
