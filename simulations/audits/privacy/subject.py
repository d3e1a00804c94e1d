"""What is audited: a config, and the consortium that it names, prepared as a simulation prepares it.

Sites are built anew for each check, so that none finds what another left. Nothing is trained here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from client.dp.records import Records
from client.site import Site
from client.training.calibrate import calibrate
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.encoders.public_fit import first_model, start_of
from common.encoders.public_parts import part_public
from common.encoders.registry import ENCODERS
from common.losses.objective import Objective, build_objective
from common.losses.public import Public, embed_public
from common.privacy.bands import band_of
from common.seeds import torch_generator
from simulations.audits.privacy.pipeline import Pipeline
from simulations.federation.checks import check_names
from simulations.federation.members import Members, build_sites, each_its_own, in_cohort
from simulations.studies.consortium import Consortium
from simulations.studies.read import Progress, read_consortium


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A config and its cohort, ready to be attacked.

    Attributes:
        config: The run's configuration, calibrated as a run's is, with the cohort where noise is shared.
        consortium: The studies, as the frozen part of the model sees them.
        model: The model before round one; a check works on a copy.
        seed: Of what a check draws for itself: probes and canaries, never noise.
    """

    config: RunConfig
    consortium: Consortium
    model: DualEncoder
    seed: int

    @property
    def objective(self) -> Objective:
        """What the run minimises."""
        return build_objective(self.config.loss, self.config.code)

    def with_config(self, config: RunConfig) -> Subject:
        """The same studies and start under another config, such as another epsilon; it is not calibrated anew."""
        return replace(self, config=in_cohort(config, self.consortium, each_its_own(self.consortium)))

    @contextmanager
    def members(self, pipeline: Pipeline) -> Iterator[Members]:
        """The members of a federation, with ledgers in a folder that is gone afterwards."""
        with TemporaryDirectory() as folder:
            yield Members(
                config=self.config,
                consortium=self.consortium,
                cut=each_its_own(self.consortium),
                model=copy.deepcopy(self.model),
                folder=Path(folder),
                randomness=pipeline.randomness,
            )

    @contextmanager
    def sites(self, pipeline: Pipeline) -> Iterator[list[Site]]:
        """The sites, each with a model of its own, and with the pipeline's randomness."""
        with self.members(pipeline) as members:
            sites = build_sites(members)
            try:
                yield [
                    replace(
                        site,
                        model=copy.deepcopy(self.model),
                        randomness=partial(pipeline.randomness, site.name),
                    )
                    for site in sites
                ]
            finally:
                for site in sites:
                    if site.accounts is not None:
                        site.accounts.ledger.close()

    def public(self) -> Public:
        """What a private study is compared with in a step: anchors drawn by the seed."""
        anchors = part_public(self.consortium.public(), self.config).anchors.to(self.config.device)
        generator = torch_generator(self.seed, "audit", "anchors")
        drawn = anchors.draw(self.config.loss.num_anchors, generator)
        return embed_public(self.model, *drawn, progress=0.0)

    def some_studies(self, num_patients: int) -> Records:
        """The studies of the first patients of all hospitals, with both halves and one image each."""
        records = self.consortium.private_with_first_images(self.consortium.sites)
        return records.rows((records.patients < num_patients).nonzero().flatten()).to(self.config.device)


def prepare_subject(config: RunConfig, *, progress: Progress) -> Subject:
    """Read, encode and fit to the anchors what a config names; the settings are calibrated where the config says so.

    Args:
        config: The run's configuration.
        progress: Called with the number of studies read so far.

    Raises:
        ConfigError: A name in the config is unknown, or the loss couples records and the run is private.
        DataError: The studies cannot be read.
    """
    check_names(config)
    torch.set_num_threads(1)  # on tensors as small as these a second thread waits more than it works
    encoder = ENCODERS.load(config.encoder.name)(config.encoder)
    consortium = read_consortium(config, encoder, progress=progress)
    anchors = part_public(consortium.public(), config).anchors
    start = start_of(first_model(encoder, anchors, config), anchors, config)
    if start.frozen is not None:
        consortium = consortium.encoded_by(start.frozen, device=config.device)
        anchors = part_public(consortium.public(), config).anchors
    config = in_cohort(config, consortium, each_its_own(consortium))
    if config.privacy.calibrate and config.privacy.epsilon is not None:
        config = calibrate(config, anchors.to(config.device), start.model, _bands(consortium)).config
    return Subject(config=config, consortium=consortium, model=start.model, seed=config.seed)


def _bands(consortium: Consortium) -> Sequence[str]:
    return [band_of(consortium.private([site]).num_patients) for site in consortium.sites]
