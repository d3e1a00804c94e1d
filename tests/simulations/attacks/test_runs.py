"""Every attack inside a run: two rounds go by, whatever the attackers send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.config.load import config_digest, load_config
from common.encoders.dual import DualEncoder
from common.wire.update import model_arrays
from server.checkpoint import RunState
from simulations.attacks.registry import ATTACKS
from simulations.federation.federate import Experiment, federate
from simulations.federation.members import each_its_own
from simulations.scenarios.simulate import Clock, prepare
from simulations.studies.consortium import Consortium

Run = Callable[..., RunState]

DROPPED = {
    "inf": {"nan"},
    "malformed": {"malformed"},
    "nan": {"nan"},
    "other_keys": {"keys"},
    "other_shape": {"shape"},
    "raise": {"raised"},
    "replayed": {"replay"},
    "silent": {"late"},
    "stale": {"round"},
}
"""Why admission drops the attacker in one round at least; the other attacks are for the rule."""


@pytest.fixture(scope="module")
def prepared(tiny_overrides: list[str], quiet_watcher: Any) -> tuple[Consortium, DualEncoder]:
    config = load_config([*tiny_overrides, "privacy.epsilon=null", "attack.name=backdoor"])
    return prepare(config, Clock(quiet_watcher))


@pytest.fixture(scope="module")
def run(
    tiny_overrides: list[str],
    prepared: tuple[Consortium, DualEncoder],
    quiet_watcher: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    consortium, model = prepared

    def federation(name: str, *overrides: str) -> RunState:
        deadline = "1" if name == "silent" else "60"
        config = load_config(
            [
                *tiny_overrides,
                "privacy.epsilon=null",
                f"attack.name={name}",
                "attack.num_sites=1",
                f"federation.deadline_seconds={deadline}",
                *overrides,
            ]
        )
        state = RunState.before_round_one(config_digest(config), model_arrays(model))
        experiment = Experiment(
            config=config,
            consortium=consortium,
            cut=each_its_own(consortium),
            model=model,
            folder=tmp_path_factory.mktemp(name),
            state=state,
            observer=quiet_watcher,
        )
        assert federate(experiment) is None
        return state

    return federation


@pytest.fixture(scope="module")
def fair(run: Run) -> dict[str, Any]:
    return run("none").arrays["model"]


@pytest.mark.parametrize("name", sorted({*ATTACKS.names} - {"none"}))
def test_two_rounds_go_by_and_only_the_attacker_is_dropped(run: Run, fair: dict[str, Any], name: str) -> None:
    state = run(name)
    assert [record["outcome"] for record in state.rounds] == ["updated", "updated"]
    *honest, attacker = sorted(state.sites)
    assert all(not state.sites[site].drops and state.sites[site].rounds_joined == 2 for site in honest)
    assert state.sites[attacker].drops.keys() == DROPPED.get(name, set())
    model = state.arrays["model"]
    assert all(np.isfinite(array).all() for array in model.values())
    assert any(not np.array_equal(model[key], fair[key]) for key in fair)


@pytest.mark.parametrize("name", ["alie", "backdoor", "ipm", "label_flip", "model_replacement", "weight_lying"])
def test_private_run_admits_what_states_its_releases(run: Run, name: str) -> None:
    state = run(name, "privacy.epsilon=8")
    assert all(not history.drops for history in state.sites.values())
    assert [record["outcome"] for record in state.rounds] == ["updated", "updated"]


@pytest.mark.parametrize("name", ["gaussian", "min_max", "mimic"])
def test_number_of_workers_changes_no_bit_of_an_attacked_run(run: Run, name: str) -> None:
    one, two = (run(name, f"workers={workers}").arrays["model"] for workers in (1, 2))
    assert all(np.array_equal(one[key], two[key]) for key in one)
