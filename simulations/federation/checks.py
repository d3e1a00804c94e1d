"""What of a configuration cannot run is refused before a study is read or a site trains."""

from __future__ import annotations

from common.config.schema import RunConfig
from common.errors import ConfigError
from common.losses.objective import build_objective
from common.privacy.bands import SMALL
from common.privacy.plan import SHARED, privacy_plan
from simulations.attacks.registry import ATTACKS
from strategies.composition import build_aggregator, check_cancels, check_least_sites
from strategies.optimizers.interface import build_optimizer


def check_names(config: RunConfig) -> None:
    """Refuse what cannot run before a study is read or a file written.

    Raises:
        ConfigError: A name is unknown, no noise reaches the epsilon, or the loss couples records under privacy.
    """
    if ATTACKS.load(config.attack.name).poison is not None and config.mitigation.adversary_weight:
        raise ConfigError(
            f"attack.name={config.attack.name}: poisoned studies have no groups for an adversary to tell; set "
            "mitigation.adversary_weight=0"
        )
    build_aggregator(config.aggregator, seed=config.seed)
    if config.privacy.noise == SHARED and config.privacy.epsilon is not None:
        check_cancels(config.aggregator)
    build_optimizer(config.server_optimizer)
    build_objective(config.loss, config.code)
    privacy_plan(config, SMALL)


def check_attackers(config: RunConfig, num_sites: int) -> None:
    """Refuse more attackers than there are sites.

    Raises:
        ConfigError: There are.
    """
    if config.attack.num_sites > num_sites:
        raise ConfigError(f"attack.num_sites={config.attack.num_sites}: there are {num_sites} sites")


def check_cohort(config: RunConfig, num_sites: int) -> None:
    """Refuse a cohort that its rule, or its attackers, are too many for, before it trains.

    Raises:
        ConfigError: There are fewer sites than the rule needs, or than attackers.
    """
    check_attackers(config, num_sites)
    check_least_sites(config.aggregator, num_sites)
