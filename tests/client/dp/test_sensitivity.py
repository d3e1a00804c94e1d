"""Sensitivity fuzz: the clipped sum never moves by more than C (1 + 1e-4) when a patient leaves.

For each loss that does not couple records, each path, each precision and both rules of the clip, against patients made
to be the worst; patients of several studies lack the report of one and the image of another. Broken variants must fail
the same fuzz: in-batch InfoNCE in the batched pass and under `vmap`, lone halves that learn from those of the batch, a
clip of each study by itself, and one of a patient's lone halves apart from their pairs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from client.dp.records import Gradients, Records
from common.config.load import load_config
from common.encoders.dual import Embedded
from common.losses.interface import LOSSES, TERMS, Coupling
from common.losses.objective import Objective, WeightedTerm, build_objective
from common.losses.public import Public, embed_public
from common.losses.unpaired import Unpaired
from simulations.audits.privacy.probes import (
    CROWD,
    PROBES,
    Probe,
    duplicate,
    hub,
    orthogonal,
    with_lone_halves,
    without_first_patient,
)
from simulations.audits.privacy.probes import crowd as near_copies
from tests.client.dp.conftest import read_by

CLIP = 0.5
BOUND = CLIP * (1 + 1e-4)
PATHS_OF = {
    "heads": ("vmap", "linear", "ghost"),
    "lora": ("vmap", "linear", "ghost"),
    "towers": ("vmap",),
    "towers_ghost": ("vmap", "ghost"),
}
CASES = [(case, path) for case, paths in PATHS_OF.items() for path in paths]
IN_BOTH = [(*case, "float32") for case in CASES] + [
    pytest.param(*case, "bfloat16", marks=() if case[0] == "heads" else pytest.mark.slow) for case in CASES
]
"""Halves of precision where they are cheap; `pytest -m slow` takes them everywhere."""


def objective_of(name: str) -> Objective:
    config = load_config([f"loss.name={name}", "loss.temperature=0.1", "code.bit_width=48", "code.num_centres=4"])
    return build_objective(config.loss, config.code)


def objectives() -> list[Objective]:
    """Every contrast that couples nobody, with every term beside it."""
    alone = [name for name in LOSSES.names if objective_of(name).coupling is Coupling.NONE]
    found = [objective_of("+".join([name, *TERMS.names])) for name in alone]
    assert all(objective.coupling is Coupling.NONE for objective in found)
    return found


class Nothing:
    """A contrast that asks nothing."""

    coupling = Coupling.NONE

    def __call__(self, image_BD: Tensor, report_BD: Tensor, *_: Tensor) -> Tensor:
        """See `Loss`."""
        return 0 * (image_BD + report_BD).sum(dim=-1)


class Follows:
    """A term that is told to couple nobody, and reads the first code of the batch."""

    coupling, reads_anchors, of_pairs = Coupling.NONE, False, False

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:  # noqa: ARG002
        """See `Term`."""
        return 10 * (image.code * image.code[:1].detach()).sum(dim=-1)


class UnpairedInBatch(Unpaired):
    """Takes the batch's own studies for anchors."""

    def __call__(self, image: Embedded, report: Embedded, public: Public) -> Tensor:
        """See `Term`."""
        batch = [Embedded(half.embedding.detach(), half.code.detach()) for half in (image, report)]
        return super().__call__(image, report, public._replace(image=batch[0], report=batch[1]))


# Patients


def crowd(case: Any, probe: Probe, *, studies: int) -> Records:
    """The probe beside near copies of the case's first study."""
    return near_copies(case.records, probe, studies=studies)


def flat(gradients: Gradients) -> Tensor:
    return torch.cat([value.flatten().double() for value in gradients.values()])


def moved(engine: Any, case: Any, records: Records) -> float:
    records = read_by(engine.objective, records)
    whole = flat(engine.clipped_sum(case.model, records, case.public))
    rest = flat(engine.clipped_sum(case.model, without_first_patient(records), case.public))
    assert whole.isfinite().all()
    return float((whole - rest).norm())


def floating(case: Any) -> Any:
    """The case with pixels as numbers that can be huge or no number at all."""
    return replace(case, records=replace(case.records, images=case.records.images.float()))


# The bound


@pytest.mark.parametrize(("name", "path", "precision"), IN_BOTH)
def test_sum_moves_by_at_most_the_clip(make_case: Any, name: str, path: str, precision: str) -> None:
    """Every probe with one and three studies, in chunks of 7 and of all, for each loss and rule."""
    case = floating(make_case(name))
    for objective in objectives():
        engine = case.engine(objective=objective, gradients=path, precision=precision)
        for probe in PROBES:
            for studies, chunk_size, clipping in ((1, 1000, "flat"), (3, 7, "flat"), (3, 1000, "per_layer")):
                records = crowd(case, probe, studies=studies)
                records = records if studies == 1 else with_lone_halves(records)
                distance = moved(replace(engine, chunk_size=chunk_size, clipping=clipping), case, records)
                assert distance <= BOUND, (probe.__name__, studies, chunk_size, clipping)


@pytest.mark.parametrize("term", TERMS.names)
def test_sum_moves_by_at_most_the_clip_for_each_term_alone(make_case: Any, term: str) -> None:
    case = floating(make_case("heads"))
    alone = replace(
        objective_of("anchor_contrast"), contrast=Nothing(), terms=objective_of(f"anchor_contrast+{term}").terms
    )
    for probe in PROBES:
        records = with_lone_halves(crowd(case, probe, studies=3))
        assert moved(case.engine(objective=alone, gradients="linear"), case, records) <= BOUND


@pytest.mark.parametrize("path", ["vmap", "linear"])
def test_sum_of_a_nested_code_moves_by_at_most_the_clip(make_case: Any, path: str) -> None:
    """Each width that a step may draw: the draw is public, so that all records share it."""
    whole = floating(make_case("heads"))
    for bits in (16, 40):
        case = replace(whole, public=whole.public.prefix(bits))
        engine = case.engine(objective=objectives()[0], gradients=path)
        for probe in PROBES:
            assert moved(engine, case, crowd(case, probe, studies=3)) <= BOUND, (probe.__name__, bits)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "path"), CASES)
def test_sum_on_gpu_moves_by_at_most_the_clip(make_case: Any, name: str, path: str, precision: str) -> None:
    case = floating(make_case(name))
    on_gpu = replace(case, model=case.model.to("cuda"), public=case.public_on("cuda"))
    engine = case.engine(gradients=path, precision=precision, chunk_size=7)
    for probe in PROBES:
        records = crowd(case, probe, studies=3).to("cuda")
        assert moved(engine, on_gpu, records) <= BOUND, probe.__name__


@pytest.mark.parametrize("path", ["vmap", "linear"])
def test_bound_is_reached(make_case: Any, path: str) -> None:
    """The fuzz is no empty one: a patient far from the anchors moves the sum by the clip itself."""
    case = make_case("heads")
    assert moved(case.engine(gradients=path), case, crowd(case, orthogonal, studies=3)) > 0.999 * CLIP


def test_many_equal_patients_leave_room_for_rounding(make_case: Any) -> None:
    """1,000 patients whose gradients all point one way: the sum is 1,000 clips long, its error is not."""
    case = make_case("heads")
    images, reports = (value[:1].expand(1000, -1) for value in (case.records.images, case.records.reports))
    records = Records(images, reports, torch.arange(1000), views=images)
    for path in ("vmap", "linear"):
        assert moved(case.engine(gradients=path, chunk_size=32), case, records) <= BOUND


@pytest.mark.parametrize(("name", "path"), CASES)
def test_record_that_is_not_finite_counts_as_zero(make_case: Any, name: str, path: str, caplog: Any) -> None:
    """One broken study of a patient of three: the others still count, and the site's log says how many do not."""
    case = floating(make_case(name))
    records = crowd(case, orthogonal, studies=3)
    images = records.images.clone()
    images[1] = math.nan
    broken = replace(records, images=images)
    found = flat(case.engine(gradients=path, clip_norm=1e6).clipped_sum(case.model, broken, case.public))
    fewer = records.rows(torch.tensor([0, *range(2, len(images))]))
    rest = without_first_patient(records)
    whole = flat(case.engine(gradients=path, clip_norm=1e6).clipped_sum(case.model, fewer, case.public))
    others = flat(case.engine(gradients=path, clip_norm=1e6).clipped_sum(case.model, rest, case.public))
    # Two studies of three: two thirds of the mean of the two.
    torch.testing.assert_close(found, others + (whole - others) * 2 / 3, rtol=1e-4, atol=1e-4)
    assert [record.name for record in caplog.records] == ["wardround.site"]
    assert "1 gradients" in caplog.text


# Broken variants


def test_term_that_reads_the_batch_is_caught(make_case: Any) -> None:
    case = make_case("heads")
    alone = Objective(Nothing(), 1.0, (WeightedTerm(Follows(), 1.0),))
    engine = case.engine(objective=alone, gradients="linear")
    assert max(moved(engine, case, crowd(case, probe, studies=1)) for probe in (hub, duplicate, orthogonal)) > 2 * BOUND


def test_lone_halves_that_learn_from_the_batch_are_caught(make_case: Any) -> None:
    case = make_case("heads")
    distances = []
    for probe in (hub, duplicate, orthogonal):
        records = crowd(case, probe, studies=1)
        lone = replace(records, halves=torch.tensor([[True, False]]).expand(len(records.patients), 2))
        for term, worst in ((UnpairedInBatch, distances), (Unpaired, [])):
            alone = Objective(Nothing(), 1.0, (WeightedTerm(term(temperature=0.02), 1.0),))
            worst.append(moved(case.engine(objective=alone, gradients="linear"), case, lone))
            assert term is UnpairedInBatch or worst[0] <= BOUND
    assert max(distances) > 2 * BOUND


def test_width_that_a_record_chooses_is_caught(make_case: Any) -> None:
    """The width drawn by what the batch holds, not by the seed: a patient who leaves changes everybody's codes."""
    case = make_case("heads")
    engine = case.engine(objective=objective_of("anchor_contrast+distillation"), gradients="linear")

    def clipped_sum(records: Records) -> Tensor:
        bits = 8 + 8 * (records.num_patients % 5)
        return flat(engine.clipped_sum(case.model, records, case.public.prefix(bits)))

    records = replace(crowd(case, orthogonal, studies=1), views=None)
    assert (clipped_sum(records) - clipped_sum(without_first_patient(records))).norm() > 2 * BOUND


def test_in_batch_contrast_in_the_batched_pass_is_caught(make_case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same engine and fuzz, the refusal bypassed: one hub moves everybody's gradient."""
    monkeypatch.setattr("client.dp.engine.refuse_coupled", lambda objective: None)  # noqa: ARG005
    case = make_case("heads")
    config = load_config(["loss.name=in_batch", "loss.temperature=0.02", "code.weight=0"])
    engine = case.engine(objective=build_objective(config.loss, config.code), gradients="linear")
    assert max(moved(engine, case, crowd(case, probe, studies=1)) for probe in (hub, duplicate, orthogonal)) > 2 * BOUND


def test_in_batch_contrast_under_vmap_is_caught(make_case: Any) -> None:
    """Under vmap a record is alone, so the batch comes in as what the engine takes for public."""
    case = make_case("heads")
    engine = case.engine(gradients="vmap")

    def clipped_sum(records: Records) -> Tensor:
        batch = embed_public(case.model, records.images, records.reports)
        return flat(engine.clipped_sum(case.model, records, batch))

    distances = []
    for probe in (hub, duplicate, orthogonal):
        records = crowd(case, probe, studies=1)
        distances.append(float((clipped_sum(records) - clipped_sum(without_first_patient(records))).norm()))
    assert max(distances) > 1.5 * BOUND


@pytest.mark.parametrize(("name", "path"), CASES)
def test_clip_of_each_study_by_itself_is_caught(make_case: Any, name: str, path: str) -> None:
    case = make_case(name)
    records = crowd(case, orthogonal, studies=3)
    each_alone = replace(records, patients=torch.arange(len(records.patients)))
    engine = case.engine(gradients=path)
    whole = flat(engine.clipped_sum(case.model, each_alone, case.public))
    rest = flat(engine.clipped_sum(case.model, without_first_patient(records), case.public))
    assert (whole - rest).norm() > 2 * BOUND


@pytest.mark.parametrize(("name", "path"), CASES)
def test_clip_of_lone_halves_apart_from_the_pairs_is_caught(make_case: Any, name: str, path: str) -> None:
    """A patient of three pairs and three lone halves, each kind clipped by itself, moves the sum beyond a clip."""
    case = make_case(name)
    records = crowd(case, orthogonal, studies=6)
    lacking = torch.tensor([0, 0, 0, 1, 1, 2, *[0] * CROWD])
    whole = replace(records, halves=torch.stack([lacking != 2, lacking != 1], dim=-1))
    engine = case.engine(gradients=path)
    pairs, lone = (whole.rows(rows) for rows in (lacking.eq(0).nonzero().flatten(), lacking.nonzero().flatten()))
    rest = flat(engine.clipped_sum(case.model, without_first_patient(whole), case.public))
    apart = [flat(engine.clipped_sum(case.model, part, case.public)) for part in (pairs, lone)]
    assert (apart[0] + apart[1] - rest).norm() > 1.3 * BOUND
    assert (flat(engine.clipped_sum(case.model, whole, case.public)) - rest).norm() <= BOUND
