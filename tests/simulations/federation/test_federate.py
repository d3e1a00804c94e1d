"""Sites from a consortium: who holds what, whose randomness, whose model, and that threads change no bit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Context, Message, RecordDict

from client.dp.randomness import SeededRandomness, SystemRandomness
from common.config.load import config_digest, load_config
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.errors import ConfigError
from common.seeds import torch_generator
from common.wire.update import model_arrays
from server.checkpoint import RunState
from simulations.federation.checks import check_names
from simulations.federation.federate import Engine, Experiment, federate
from simulations.federation.handlers import site_handlers
from simulations.federation.members import Members, build_sites, each_its_own, in_cohort
from simulations.scenarios.simulate import Clock, prepare
from simulations.studies.consortium import Consortium

Configure = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def configure(tiny_overrides: list[str]) -> Configure:
    return lambda *overrides: load_config([*tiny_overrides, "privacy.epsilon=null", *overrides])


@pytest.fixture(scope="module")
def prepared(configure: Configure, quiet_watcher: Any) -> tuple[Consortium, DualEncoder]:
    return prepare(configure(), Clock(quiet_watcher))


@pytest.fixture
def members(configure: Configure, prepared: tuple[Consortium, DualEncoder], tmp_path: Path) -> Callable[..., Members]:
    consortium, model = prepared

    def build(*overrides: str, **changes: Any) -> Members:
        config = configure(*overrides)
        found = {
            "config": config,
            "consortium": consortium,
            "cut": each_its_own(consortium),
            "model": model,
            "folder": tmp_path,
        }
        return Members(**{**found, **changes})

    return build


def test_sites_hold_their_own_studies(members: Callable[..., Members]) -> None:
    found = members()
    sites = build_sites(found)
    assert [site.name for site in sites] == list(found.consortium.sites) == sorted(found.cut)
    for site in sites:
        own = [record for record in found.consortium.records if record.site == site.name]
        patients = {record.patient_id for record in own}
        assert {record.patient_id for record in site.held_out.records} <= patients
        assert site.private.num_patients + len({r.patient_id for r in site.held_out.records}) == len(patients)
    assert sum(len(site.private.images) for site in sites) == len(
        found.consortium.private(found.consortium.sites).images
    )


def test_one_member_can_hold_all_studies(members: Callable[..., Members]) -> None:
    everyone = members().consortium.sites
    (centre,) = build_sites(members(cut={"centre": list(everyone)}))
    assert centre.private.num_patients == sum(site.private.num_patients for site in build_sites(members()))


def test_site_without_held_out_patients_takes_part(
    members: Callable[..., Members], prepared: tuple[Consortium, DualEncoder]
) -> None:
    consortium = prepared[0]
    first = consortium.sites[0]
    kept = [i for i, record in enumerate(consortium.records) if record.site != first or consortium.roles[i] != "test"]
    without = replace(
        consortium,
        images=consortium.images[kept],
        reports=consortium.reports[kept],
        records=tuple(consortium.records[i] for i in kept),
        roles=tuple(consortium.roles[i] for i in kept),
    )
    sites = {site.name: site for site in build_sites(members(consortium=without))}
    assert not sites[first].held_out.records
    assert sites[first].private.num_patients


def test_private_site_draws_from_the_system_unless_a_test_injects(members: Callable[..., Members]) -> None:
    injected = SeededRandomness(torch_generator(0))
    assert isinstance(build_sites(members())[0].randomness(1), SeededRandomness)
    assert isinstance(build_sites(members("privacy.epsilon=1"))[0].randomness(1), SystemRandomness)
    site = build_sites(members("privacy.epsilon=1", randomness=lambda *_: injected))[0]
    assert site.randomness(1) is injected


def test_batches_without_privacy_differ_by_site_and_round(members: Callable[..., Members]) -> None:
    def drawn(site: int, round_number: int) -> list[bool]:
        source = build_sites(members())[site].randomness(round_number)
        return source.participants(64, 0.5).tolist()  # type: ignore[no-any-return]

    assert drawn(0, 1) == drawn(0, 1)
    assert len({tuple(drawn(site, number)) for site in (0, 1) for number in (1, 2)}) == 4


@pytest.mark.parametrize("name", ["nan", "silent", "ipm"])
def test_attackers_are_the_last_sites(members: Callable[..., Members], name: str) -> None:
    honest, *attacked = site_handlers(members(f"attack.name={name}", "attack.num_sites=2"))
    assert attacked[0] is attacked[1] is not honest


def test_poison_is_for_the_last_sites_alone_and_leaves_their_band_true(members: Callable[..., Members]) -> None:
    fair = build_sites(members())
    poisoned = build_sites(members("attack.name=label_flip", "attack.num_sites=2"))
    same = [torch.equal(one.private.reports, other.private.reports) for one, other in zip(fair, poisoned, strict=True)]
    assert same == [True, False, False]
    for one, other in zip(fair, poisoned, strict=True):
        assert one.patients_band == other.patients_band
        assert torch.equal(one.private.images, other.private.images)
        assert torch.equal(one.held_out.reports, other.held_out.reports)


@pytest.mark.parametrize("name", ["label_flip", "ipm"])
def test_no_attackers_do_nothing(members: Callable[..., Members], name: str, quiet_watcher: Any) -> None:
    attacked = _final_model(members(f"attack.name={name}", "attack.num_sites=0"), quiet_watcher)
    assert attacked == _final_model(members(), quiet_watcher)


def test_attack_that_sees_the_others_needs_one_process(members: Callable[..., Members], quiet_watcher: Any) -> None:
    found = members("attack.name=alie", "attack.num_sites=1")
    state = RunState.before_round_one(config_digest(found.config), model_arrays(found.model))

    def never(*_: object) -> None:
        raise AssertionError("the run was started")

    experiment = Experiment(**vars(found), state=state, observer=quiet_watcher, engine=Engine("ray", never))
    with pytest.raises(ConfigError, match=r"attack\.name=alie: sees the honest updates.* --engine inprocess"):
        federate(experiment)


def test_attackers_without_an_attack_are_honest(members: Callable[..., Members]) -> None:
    handlers = site_handlers(members("attack.num_sites=2"))
    assert handlers[0] is handlers[1] is handlers[2]


def test_more_attackers_than_sites_are_refused(members: Callable[..., Members]) -> None:
    with pytest.raises(ConfigError, match=r"attack\.num_sites=4: there are 3 sites"):
        site_handlers(members("attack.name=nan", "attack.num_sites=4"))


def test_sites_that_work_at_once_never_share_a_model(
    members: Callable[..., Members], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four threads meet inside the site's code, so that each one holds its model while the others do."""
    lent: list[int] = []
    meeting = threading.Barrier(4, timeout=30)

    def train_app(lend: Any, *, guard_of: Any) -> Any:
        del guard_of

        def answer(message: Message, context: Context) -> None:
            del message
            with lend(context) as site:
                lent.append(id(site.model))
                meeting.wait()

        return answer

    monkeypatch.setattr("simulations.federation.handlers.build_client_app", train_app)
    handler = site_handlers(members())[0]
    threads = [
        threading.Thread(target=handler, args=(None, Context(0, 2, {"partition-id": n % 3}, RecordDict(), {})))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(set(lent)) == 4


def _final_model(members: Members, watcher: Any) -> dict[str, bytes]:
    model = model_arrays(members.model)
    state = RunState.before_round_one(config_digest(members.config), model)
    experiment = Experiment(**vars(members), state=state, observer=watcher)
    assert federate(experiment) is None
    return {name: array.tobytes() for name, array in state.arrays["model"].items()}


@pytest.mark.parametrize("epsilon", ["null", "1"])
def test_number_of_workers_changes_no_bit(
    members: Callable[..., Members], tmp_path: Path, quiet_watcher: Any, epsilon: str
) -> None:
    """From one fitted start: the public fit itself uses as many torch threads as there are workers."""

    def randomness(site: str, round_number: int) -> SeededRandomness:
        return SeededRandomness(torch_generator(0, site, round_number))

    torch.set_num_threads(1)
    start = {name: array.tobytes() for name, array in model_arrays(members().model).items()}
    one, two = (
        _final_model(
            members(
                f"privacy.epsilon={epsilon}",
                f"workers={workers}",
                randomness=randomness,
                folder=tmp_path / str(workers),
            ),
            quiet_watcher,
        )
        for workers in (1, 2)
    )
    assert one == two
    assert one != start


def test_run_that_changes_nothing_returns_why(members: Callable[..., Members], quiet_watcher: Any) -> None:
    found = members("attack.name=nan", "attack.num_sites=3", "federation.rounds=1")
    state = RunState.before_round_one(config_digest(found.config), model_arrays(found.model))
    problem = federate(Experiment(**vars(found), state=state, observer=quiet_watcher))
    assert problem is not None
    assert "no round changed the model" in str(problem)


def test_run_in_which_noise_is_shared_needs_one_process(members: Callable[..., Members], quiet_watcher: Any) -> None:
    members_ = members()
    config = in_cohort(at_epsilon(members_.config), members_.consortium, members_.cut)
    state = RunState(
        config_digest(config), 0, {"model": model_arrays(members_.model), "aggregator": {}, "optimizer": {}}
    )
    experiment = Experiment(
        **{**vars(members_), "config": config}, state=state, observer=quiet_watcher, engine=Engine("ray", _never)
    )
    with pytest.raises(ConfigError, match=r"privacy\.noise=shared.*several"):
        federate(experiment)


def at_epsilon(config: RunConfig) -> RunConfig:
    return replace(config, privacy=replace(config.privacy, epsilon=1.0, noise="shared"))


def _never(*_: Any) -> None:
    raise AssertionError("the engine was started")


@pytest.mark.parametrize("attack", ["backdoor", "label_flip"])
def test_poisoned_studies_and_an_adversary_are_refused_together(attack: str) -> None:
    config = load_config([f"attack.name={attack}", "mitigation.adversary_weight=1", "privacy.epsilon=null"])
    with pytest.raises(ConfigError, match=r"mitigation\.adversary_weight=0"):
        check_names(config)
