"""The watch on public studies: its measure, its comparison, and what becomes of a run that loses by it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.config.load import config_digest, load_config
from common.encoders.dual import DualEncoder, trainable_names
from common.encoders.public_fit import AnchorFeatures
from common.encoders.whitened_head import WhitenedHead
from common.hashing.head import HashHead
from common.seeds import torch_generator
from common.wire.flower import Reply, Task
from common.wire.update import NamedArrays, model_arrays
from server.checkpoint import RunState, load_state
from server.federation import STEPPED_BACK, UPDATED, Federation
from server.public_watch import TEMPERATURES, Comparison, PublicValidation, PublicWatch
from server.recorder import NoRecorder
from server.setup import Setup
from tests.server.conftest import MEASURED, MemoryTransport, World

DIM, PATIENTS = 6, 30
MOMENTUM = ("server_optimizer.name=fedavgm", "server_optimizer.momentum=0.5")
ROUNDS = "federation.rounds=6"


def a_model() -> DualEncoder:
    head = HashHead(embedding_dim=DIM, bit_width=48, num_centres=2, generator=torch_generator(0))
    return DualEncoder(WhitenedHead(DIM, DIM), WhitenedHead(DIM, DIM), head)


def some_studies(*, seed: int = 0) -> AnchorFeatures:
    """Studies whose image and report are alike, one to three a patient."""
    generator = torch_generator(seed, "studies")
    patients = torch.repeat_interleave(torch.arange(PATIENTS), torch.arange(PATIENTS) % 3 + 1)
    images = torch.randn(len(patients), DIM, generator=generator)
    return AnchorFeatures(images, images + 0.5 * torch.randn(images.shape, generator=generator), patients)


VALIDATION = PublicValidation(a_model(), some_studies())
START = model_arrays(a_model())
TRAINED = tuple(name for name in trainable_names(a_model()) if name.endswith("tower.linear.weight"))


def by_loops(arrays: NamedArrays, studies: AnchorFeatures) -> list[float]:
    """The measure of each patient, a temperature, a study and an answer at a time."""
    return max((at_temperature(t, arrays, studies) for t in TEMPERATURES), key=sum)


def at_temperature(temperature: float, arrays: NamedArrays, studies: AnchorFeatures) -> list[float]:

    def unit(vector: np.ndarray) -> np.ndarray:
        return vector / np.linalg.norm(vector)

    images = [unit(arrays["image_tower.linear.weight"].astype(float) @ row) for row in studies.images.double().numpy()]
    reports = [unit(arrays["report_tower.linear.weight"].astype(float) @ r) for r in studies.reports.double().numpy()]
    patients = studies.patients.tolist()

    def log_right(own: int, query: np.ndarray, answers: list[np.ndarray]) -> float:
        right = math.exp(query @ answers[own] / temperature)
        wrong = sum(
            math.exp(query @ answer / temperature)
            for other, answer in enumerate(answers)
            if patients[other] != patients[own]
        )
        return math.log(right / (right + wrong))

    values = [(log_right(i, images[i], reports) + log_right(i, reports[i], images)) / 2 for i in range(len(patients))]
    return [float(np.mean([v for v, p in zip(values, patients, strict=True) if p == who])) for who in range(PATIENTS)]


def moved(scale: float, *, seed: int = 1) -> dict[str, Any]:
    """The start with its trained arrays moved at random."""
    generator = np.random.default_rng(seed)
    return START | {n: START[n] + scale * generator.normal(size=START[n].shape).astype(np.float32) for n in TRAINED}


def test_model_that_forgets_gains_nothing_by_being_less_sure() -> None:
    """At one temperature a model that is too sure of itself would gain by telling nothing apart."""
    unlike = replace(some_studies(), reports=some_studies(seed=1).reports)
    nothing = START | {TRAINED[0]: np.ones((DIM, DIM), dtype=np.float32)}
    assert sum(at_temperature(0.01, START, unlike)) < sum(at_temperature(0.01, nothing, unlike))
    forgot, knew = VALIDATION.measure(nothing), VALIDATION.measure(START)
    assert knew.mean() > forgot.mean() + 1.0
    assert Comparison.of(forgot, knew).lost


@pytest.mark.parametrize("scale", [0.0, 0.3])
def test_measure_is_the_formula_in_plain_loops(scale: float) -> None:
    arrays = moved(scale)
    assert VALIDATION.measure(arrays) == pytest.approx(by_loops(arrays, some_studies()), rel=1e-5)


def test_measure_does_not_depend_on_what_was_measured_before() -> None:
    first = VALIDATION.measure(moved(0.1))
    VALIDATION.measure(moved(0.5))
    assert VALIDATION.measure(moved(0.1)).tobytes() == first.tobytes()


def test_studies_of_one_patient_are_no_wrong_answers_of_each_other() -> None:
    """Each study twice: each wrong answer counts twice, and the right one is no wrong one."""
    studies = some_studies()
    twice = torch.arange(len(studies.patients)).repeat_interleave(2)
    doubled = AnchorFeatures(studies.images[twice], studies.reports[twice], studies.patients[twice])
    fell = VALIDATION.measure(START) - replace(VALIDATION, studies=doubled).measure(START)
    assert 0 < fell.mean() < math.log(2)
    reference = by_loops(START, doubled)
    assert replace(VALIDATION, studies=doubled).measure(START) == pytest.approx(reference, rel=1e-5)


def test_error_is_that_of_the_mean_of_pairs() -> None:
    generator = np.random.default_rng(0)
    best, change = generator.normal(size=50), generator.normal(size=50)
    found = Comparison.of(best + change, best)
    assert found.difference == pytest.approx(sum(change) / 50)
    standard = math.sqrt(sum((change - change.mean()) ** 2) / 49 / 50)
    assert found.error == pytest.approx(2.00958 * standard, rel=1e-5)  # Student's t, 49 degrees, 97.5%


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ([-1.0, -1.0], True),
        ([-26.4, -24.4], True),
        ([-13.6, -11.4], False),
        ([1.0, 1.0], False),
        ([0.0, 0.0], False),
        ([math.nan, 1.0], True),
    ],
)
def test_model_lost_where_it_fell_by_more_than_the_error(change: list[float], *, lost: bool) -> None:
    assert Comparison.of(np.array(change), np.zeros(2)).lost is lost


Sends = Callable[[str, int], NamedArrays]


def towards_the_answers(_: str, round_number: int) -> NamedArrays:
    """A small step along the measure's own gradient at the start."""
    model = a_model()
    image, report = model(some_studies().images, some_studies().reports)
    loss = -(image.embedding * report.embedding).sum(-1).mean()
    parameters = [model.get_parameter(name) for name in TRAINED]
    gradients = torch.autograd.grad(loss, parameters)
    return {name: (-0.05 / round_number * gradient).numpy() for name, gradient in zip(TRAINED, gradients, strict=True)}


def drowned(site: str, round_number: int) -> NamedArrays:
    """Noise larger than the model."""
    generator = np.random.default_rng([*site.encode(), round_number])
    return {name: generator.normal(scale=2.0, size=START[name].shape).astype(np.float32) for name in TRAINED}


def thrown(site: str, round_number: int) -> NamedArrays:
    """Steps of a learning rate that is far too large."""
    return {name: np.float32(1e6) * array for name, array in drowned(site, round_number).items()}


def run_of(
    world: World,
    sends: Sends,
    *,
    validation: PublicValidation | None = VALIDATION,
    state: RunState | None = None,
    overrides: tuple[str, ...] = (ROUNDS, *MOMENTUM),
    statistics: dict[str, Any] | None = None,
    **fields: Any,
) -> RunState:
    """A run whose sites send what they are told."""

    def sent(reply: Reply, task: Task) -> Reply:
        told = reply if statistics is None else replace(reply, statistics=statistics, releases=reply.releases[:1])
        if statistics is not None:
            told = replace(told, releases=(*told.releases, MEASURED))
        return replace(told, update=sends(reply.site, task.round_number))

    config = world.config(*overrides)
    setup = Setup(
        config=config,
        trained=TRAINED,
        privacy=lambda band: None,  # noqa: ARG005 - without privacy
        folder=world.folder,
        state=state or RunState.before_round_one(config_digest(config), START),
        observer=world.log,
        recorder=NoRecorder(),
        validation=validation,
    )
    faults = dict.fromkeys(world.bands, sent)
    Federation(setup, MemoryTransport(faults=faults, **fields)).run()
    return setup.state


def lost_to_start(state: RunState) -> bool:
    """Whether the final model is worse than the start by more than the error."""
    return Comparison.of(VALIDATION.measure(state.arrays["model"]), VALIDATION.measure(START)).lost


def bits_of(state: RunState) -> dict[str, dict[str, bytes]]:
    return {kind: {name: a.tobytes() for name, a in arrays.items()} for kind, arrays in state.arrays.items()}


@pytest.mark.parametrize("sends", [drowned, thrown])
@pytest.mark.parametrize("optimizer", [(), MOMENTUM])
def test_drowned_run_steps_back_and_does_not_end_below_its_start(
    world: World, sends: Sends, optimizer: tuple[str, ...]
) -> None:
    state = run_of(world, sends, overrides=(ROUNDS, "federation.max_update_norm=1e9", *optimizer))
    backs = [record for record in state.rounds if record["outcome"] == STEPPED_BACK]
    assert len(backs) >= 4
    assert state.watched.step == 0.5 ** len(backs)
    assert [record["validation"]["step"] for record in backs] == [0.5**n for n in range(1, len(backs) + 1)]
    assert not lost_to_start(state)


def test_drowned_run_that_never_steps_back_ends_below_its_start(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken variant, which the test above must catch."""
    monkeypatch.setattr(Comparison, "lost", property(lambda _: False))
    state = run_of(world, drowned)
    monkeypatch.undo()
    assert lost_to_start(state)


def test_good_run_never_steps_back_and_is_the_run_that_nobody_watches(world: World, tmp_path: Path) -> None:
    watched = run_of(world, towards_the_answers)
    assert [record["outcome"] for record in watched.rounds] == [UPDATED] * 6
    assert all(record["validation"]["difference"] > 0 for record in watched.rounds)
    assert (watched.watched.step, watched.watched.best_round) == (1.0, 6)
    assert watched.arrays["best"].keys() == {"values"}
    alone = run_of(World(tmp_path / "alone"), towards_the_answers, validation=None)
    assert bits_of(alone) == bits_of(watched) | {"best": {}}
    assert all(record["validation"] is None for record in alone.rounds)


def test_step_back_restores_model_and_momentum_of_the_best(world: World) -> None:
    def sends(site: str, number: int) -> NamedArrays:
        return towards_the_answers(site, number) if number < 3 else drowned(site, number)

    good = run_of(World(world.folder / "good"), sends, overrides=("federation.rounds=2", *MOMENTUM))
    state = run_of(world, sends, overrides=("federation.rounds=3", *MOMENTUM))
    assert state.rounds[2]["outcome"] == STEPPED_BACK
    for kind in ("model", "optimizer", "best"):
        assert bits_of(state)[kind] == bits_of(good)[kind]
    assert (state.watched.best_round, state.watched.step) == (2, 0.5)
    assert all(len(site.fingerprints) == 2 for site in state.sites.values())


def test_model_within_the_error_goes_on_and_the_best_stays_the_best(world: World) -> None:
    """Small random steps: some rounds fall below the best by less than the error, and a later one may go back to it."""

    def sends(site: str, number: int) -> NamedArrays:
        return {name: np.float32(0.02) * array for name, array in drowned(site, number).items()}

    state = run_of(world, sends, overrides=("federation.rounds=12",))
    seen = [record["validation"] for record in state.rounds]
    within = [one for one in seen if one["difference"] <= 0 and not one["stepped_back"]]
    assert within
    assert all(one["difference"] >= -one["error"] for one in within)
    assert not lost_to_start(state)


def test_honest_site_may_send_again_what_was_undone(world: World) -> None:
    """From the same model a site without noise comes to the same update, which then is no replay."""
    same = drowned("any", 1)
    state = run_of(world, lambda *_: same, overrides=("federation.rounds=3",))
    assert [(record["outcome"], record["dropped"]) for record in state.rounds] == [(STEPPED_BACK, {})] * 3


@pytest.mark.parametrize("before", [2, 4, 6, 7])
def test_resumed_run_ends_in_the_same_bits(world: World, tmp_path: Path, before: int) -> None:
    def sends(site: str, number: int) -> NamedArrays:
        """Two good rounds, one within the error, then drowned ones."""
        if number < 3:
            return towards_the_answers(site, number)
        return {name: np.float32(0.01 if number == 3 else 1.0) * a for name, a in drowned(site, number).items()}

    whole = run_of(World(tmp_path / "whole"), sends)
    assert [record["outcome"] for record in whole.rounds].count(STEPPED_BACK) >= 2
    with pytest.raises(KeyboardInterrupt):
        run_of(world, sends, stop_before=before)
    state = load_state(world.folder, config_digest=config_digest(world.config(ROUNDS, *MOMENTUM)))
    resumed = run_of(world, sends, state=state)
    assert bits_of(resumed) == bits_of(whole)
    assert resumed.watched == whole.watched
    assert [r["validation"] for r in resumed.rounds] == [r["validation"] for r in whole.rounds]


def test_what_sites_tell_of_private_patients_changes_no_decision(world: World, tmp_path: Path) -> None:
    def told(recall: float) -> dict[str, Any]:
        return {"brief": {"recall_at_10": recall, "codes_recall_at_10": recall}}

    low, high = (run_of(World(tmp_path / str(recall)), drowned, statistics=told(recall)) for recall in (0.0, 1.0))
    assert bits_of(low) == bits_of(high)
    assert [r["validation"] for r in low.rounds] == [r["validation"] for r in high.rounds]
    other = replace(VALIDATION, studies=some_studies(seed=5))
    third = run_of(world, drowned, validation=other)
    assert [r["validation"] for r in third.rounds] != [r["validation"] for r in low.rounds]


def test_measure_has_no_place_for_what_is_private() -> None:
    """Public features are all that a validation holds, the model's arrays all that it is given."""
    assert vars(VALIDATION).keys() == {"model", "studies"}
    assert PublicValidation.measure.__annotations__.keys() == {"arrays", "return"}
    assert PublicWatch.judge.__annotations__.keys() == {"state", "round_number", "return"}


def test_config_knows_the_share() -> None:
    assert 0 < load_config([]).public_fit.validation_fraction < 0.5
