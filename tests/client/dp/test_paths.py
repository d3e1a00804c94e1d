"""Every gradient path against the definition: one study at a time, in float64; and what each path must refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping
from torch import Tensor, nn

from client.dp.paths.choice import path_for
from client.dp.paths.ghost import GhostPath
from client.dp.paths.interface import Differentiation
from client.dp.paths.linear import FactoredWeight, LinearPath
from client.dp.paths.vmap import VmapPath
from client.dp.records import Gradients, Records
from common.errors import ConfigError

PATHS_OF = {
    "heads": ("vmap", "linear", "ghost"),
    "lora": ("vmap", "linear", "ghost"),
    "towers": ("vmap",),
    "towers_ghost": ("vmap", "ghost"),
}
CASES = [(case, path) for case, paths in PATHS_OF.items() for path in paths]


def relative_error(found: Gradients, expected: Gradients) -> float:
    assert list(found) == list(expected)
    first, second = (torch.cat([value.flatten().double() for value in side.values()]) for side in (found, expected))
    return float((first - second).norm() / second.norm())


# Equality


@pytest.mark.parametrize("clipping", ["flat", "per_layer"])
@pytest.mark.parametrize(("name", "path"), CASES)
def test_path_equals_loop(make_case: Any, loop_of: Any, name: str, path: str, clipping: str) -> None:
    """Patients with one, two, three and four studies; chunks that hold all, and that hold less than one patient."""
    case = make_case(name)
    expected = loop_of(name, clipping)
    for chunk_size in (1000, 3):
        engine = case.engine(gradients=path, clipping=clipping, chunk_size=chunk_size)
        assert relative_error(engine.clipped_sum(case.model, case.records, case.public), expected) < 1e-5


@pytest.mark.parametrize("term", ["unpaired", "invariance"])
@pytest.mark.parametrize(("name", "path"), CASES)
def test_path_equals_loop_for_a_term_of_lone_halves_alone(make_case: Any, name: str, path: str, term: str) -> None:
    """Patients of pairs and lone halves, and of lone halves only; chunks that hold less than one patient."""
    case = make_case(name)
    alone = case.with_terms(term)
    found = alone.engine(gradients=path, chunk_size=3).clipped_sum(case.model, alone.records, case.public)
    assert relative_error(found, alone.looped_sum()) < 1e-5


@pytest.mark.parametrize(("name", "path"), CASES)
def test_path_of_a_nested_code_equals_loop(make_case: Any, name: str, path: str) -> None:
    """A step that asks for the first 24 bits."""
    whole = make_case(name)
    case = replace(whole, public=whole.public.prefix(24))
    found = case.engine(gradients=path).clipped_sum(case.model, case.records, case.public)
    assert relative_error(found, case.looped_sum()) < 1e-5
    assert not found["hash_head.weight"][24:].any()


@pytest.mark.parametrize(("name", "path"), CASES)
def test_path_per_study_clip_is_caught(make_case: Any, loop_of: Any, name: str, path: str) -> None:
    """The control: clipping each study by itself is far from the loop."""
    case = make_case(name)
    each_alone = replace(case.records, patients=torch.arange(len(case.records.patients)))
    found = case.engine(gradients=path).clipped_sum(case.model, each_alone, case.public)
    assert relative_error(found, loop_of(name)) > 0.1


@pytest.mark.parametrize(("name", "path"), CASES)
def test_path_bfloat16_is_near_float32(make_case: Any, loop_of: Any, name: str, path: str) -> None:
    case = make_case(name)
    found = case.engine(gradients=path, precision="bfloat16").clipped_sum(case.model, case.records, case.public)
    assert 1e-5 < relative_error(found, loop_of(name)) < 0.2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("name", "path"), CASES)
def test_path_on_gpu_equals_loop(make_case: Any, loop_of: Any, name: str, path: str) -> None:
    case = make_case(name)
    expected = loop_of(name)
    model, records = case.model.to("cuda"), case.records.to("cuda")
    public = case.public_on("cuda")
    found = case.engine(gradients=path).clipped_sum(model, records, public)
    assert relative_error({key: value.cpu() for key, value in found.items()}, expected) < 1e-5


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # Opacus's hook on the embedding
def test_ghost_norms_equal_those_of_opacus(make_case: Any) -> None:
    """Independent of the loop: Opacus's own ghost clipping of one tower, one study a patient."""
    case = make_case("towers_ghost")
    tower, reports = case.model.report_tower, case.records.reports
    case.model.requires_grad_(requires_grad=False)
    tower.requires_grad_(requires_grad=True)
    tower.get_parameter("trunk.positions").requires_grad_(requires_grad=False)
    weight = torch.ones(len(reports))
    each = Records(case.records.images, reports, torch.arange(len(reports)))
    objective = case.with_terms("distillation", "margin", "score_level").objective
    path = GhostPath(Differentiation(objective=objective, precision="float32"))
    parts = path.gradients(case.model, each, weight, case.public).parts
    found = torch.stack([part.squares() for part in parts]).sum(dim=0).sqrt()

    wrapped = GradSampleModuleFastGradientClipping(tower, loss_reduction="sum", strict=False)
    wrapped.train()
    case.model.report_tower = wrapped
    objective(*case.model(case.records.images, reports), case.public).sum().backward()
    torch.testing.assert_close(found, wrapped.get_norm_sample(), rtol=1e-4, atol=1e-6)


# Rounding


def test_norm_of_terms_that_cancel_is_never_below_the_gradients() -> None:
    """1,000 patients whose two rows cancel to shares from 1 to 1e-6: a norm that is too small would break the bound."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1000, 1, 64, generator=generator).expand(-1, 2, -1).clone()
    g = torch.randn(1000, 1, 32, generator=generator).expand(-1, 2, -1).clone()
    shares = torch.logspace(0, -6, 1000)
    g[:, 1] = -g[:, 0] + shares[:, None] * torch.randn(1000, 32, generator=generator)
    exact = (g.double().mT @ z.double()).flatten(1).norm(dim=1)
    found = FactoredWeight(z, g).squares().double().sqrt()
    assert (found >= exact * (1 - 1e-5)).all()
    plain = shares > 0.01
    torch.testing.assert_close(found[plain], exact[plain], rtol=1e-5, atol=0)


# Choice and refusals


def chosen(case: Any, name: str) -> object:
    return path_for(name, case.model, Differentiation(objective=case.objective, precision="float32"))


def test_auto_takes_the_closed_form_where_all_trained_is_linear(make_case: Any) -> None:
    assert isinstance(chosen(make_case("heads"), "auto"), LinearPath)
    assert isinstance(chosen(make_case("lora"), "auto"), LinearPath)
    assert isinstance(chosen(make_case("towers"), "auto"), VmapPath)


def test_linear_refuses_what_is_not_linear(make_case: Any) -> None:
    with pytest.raises(ConfigError, match=r"training\.gradients=linear: .*Trunk.* is trained"):
        chosen(make_case("towers"), "linear")


def test_ghost_refuses_a_bare_parameter(make_case: Any) -> None:
    with pytest.raises(ConfigError, match=r"training\.gradients=ghost: image_tower\.trunk .*vmap"):
        chosen(make_case("towers"), "ghost")


def test_unknown_path_is_refused(make_case: Any) -> None:
    with pytest.raises(ConfigError, match=r"training\.gradients=vmpa: .*vmap"):
        chosen(make_case("heads"), "vmpa")


class Around(nn.Module):
    """Some change of a module's output."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner


class PastTheModule(Around):
    """Reads a weight past its module: a hook sees one use of two."""

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        raw: Tensor = self.inner(features)
        linear = self.inner.get_submodule("linear")
        return raw + nn.functional.linear(raw, linear.weight)


class Twice(Around):
    """Calls a norm twice."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__(inner)
        self.norm = nn.LayerNorm(8)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        raw: Tensor = self.norm(self.norm(self.inner(features)))
        return raw


class Drawn(Around):
    """Draws at random, which vmap refuses."""

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        raw: Tensor = self.inner(features)
        return nn.functional.dropout(raw, p=0.5, training=True)


class Branching(Around):
    """Branches on data, which vmap cannot follow."""

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        raw: Tensor = self.inner(features)
        return raw if raw.sum() > 0 else -raw


@pytest.mark.parametrize("path", ["linear", "ghost"])
def test_weight_read_past_its_module_is_refused(make_case: Any, path: str) -> None:
    case = make_case("heads")
    case.model.image_tower = PastTheModule(case.model.image_tower)
    with pytest.raises(ConfigError, match=r"inner\.linear\.weight is used 4 times in 2 calls .*vmap"):
        case.engine(gradients=path).clipped_sum(case.model, case.records, case.public)


def test_weight_read_past_its_module_is_right_under_vmap(make_case: Any) -> None:
    case = make_case("heads")
    case.model.image_tower = PastTheModule(case.model.image_tower)
    found = case.engine(gradients="vmap").clipped_sum(case.model, case.records, case.public)
    assert relative_error(found, case.looped_sum()) < 1e-5


def test_ghost_adds_up_the_calls_of_a_norm_that_is_called_twice(make_case: Any) -> None:
    case = make_case("heads")
    case.model.image_tower = Twice(case.model.image_tower)
    found = case.engine(gradients="ghost").clipped_sum(case.model, case.records, case.public)
    assert relative_error(found, case.looped_sum()) < 1e-5


class Idle(Around):
    """Owns a trained map that it never calls."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__(inner)
        self.idle = nn.Linear(8, 8)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        raw: Tensor = self.inner(features)
        return raw


@pytest.mark.parametrize("path", ["linear", "ghost"])
def test_trained_map_that_is_never_called_is_refused(make_case: Any, path: str) -> None:
    case = make_case("heads")
    case.model.image_tower = Idle(case.model.image_tower)
    with pytest.raises(ConfigError, match=r"image_tower\.idle\.weight is used 0 times in 0 calls"):
        case.engine(gradients=path).clipped_sum(case.model, case.records, case.public)


@pytest.mark.parametrize("kind", [Drawn, Branching])
def test_vmap_names_the_module_it_cannot_differentiate(make_case: Any, kind: type[Around]) -> None:
    case = make_case("heads")
    case.model.image_tower = kind(case.model.image_tower)
    with pytest.raises(ConfigError, match=r"training\.gradients=vmap: image_tower.*one record at a time") as caught:
        case.engine(gradients="vmap").clipped_sum(case.model, case.records, case.public)
    assert "\n" not in str(caught.value)
