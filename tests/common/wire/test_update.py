"""Named arrays: plans, safetensors and models, against NumPy itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray
from torch import nn

from common.errors import AdmissionError, CheckpointError
from common.wire.update import (
    ArrayPlan,
    arrays_digest,
    from_safetensors,
    load_into,
    model_arrays,
    to_safetensors,
    write_tensor,
)

DTYPES = st.sampled_from(["float32", "float64", "float16", "int64", "int32", "uint8", "bool"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
NAMED = st.dictionaries(st.text("abc.", min_size=1, max_size=6), ARRAYS, max_size=4)


def same(first: NDArray[np.generic], second: NDArray[np.generic]) -> bool:
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


@given(NAMED)
def test_safetensors_round_trip(named: dict[str, NDArray[np.generic]]) -> None:
    found = from_safetensors(to_safetensors(named), source="model")
    assert found.keys() == named.keys()
    assert all(same(found[name], named[name]) for name in named)


def test_safetensors_of_views_hold_what_the_view_shows() -> None:
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    views = {"step": whole[::2, ::3], "turned": whole.T, "back": whole[::-1]}
    found = from_safetensors(to_safetensors(views), source="model")
    assert all(np.array_equal(found[name], view) for name, view in views.items())


@pytest.mark.parametrize("keep", [0, 4, 20, -1])
def test_safetensors_cut_short_name_the_file_and_the_remedy(keep: int) -> None:
    content = to_safetensors({"a": np.ones(8, dtype=np.float32)})
    with pytest.raises(CheckpointError, match=r"^model\.safetensors: damaged.*earlier checkpoint$"):
        from_safetensors(content[:keep], source="model.safetensors")


def test_digest_reads_names_values_shapes_and_types_but_not_their_order() -> None:
    base = {"a": np.ones((2, 3), dtype=np.float32), "b": np.zeros(2, dtype=np.float32)}
    assert arrays_digest(base) == arrays_digest(dict(reversed(base.items())))
    others = [
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"] * 2, "b": base["b"]},
        {"a": base["a"].reshape(3, 2), "b": base["b"]},
        {"a": base["a"].view(np.int32), "b": base["b"]},
    ]
    assert len({arrays_digest(other) for other in [base, *others]}) == 5


PLAN = ArrayPlan({"a": ((2, 3), "float32"), "b": ((), "float32"), "c": ((0,), "float32")})


def fitting() -> dict[str, NDArray[np.float32]]:
    return {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.float32(9).reshape(()),
        "c": np.zeros(0, dtype=np.float32),
    }


def test_plan_accepts_what_it_was_made_of() -> None:
    assert ArrayPlan.of(fitting()) == PLAN
    PLAN.check(fitting())
    assert PLAN.num_values == 7


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"d": np.zeros(1)}, "keys"),
        ({"a": None}, "keys"),
        ({"a": np.zeros((3, 2), dtype=np.float32)}, "shape"),
        ({"b": np.zeros(1, dtype=np.float32)}, "shape"),
        ({"a": np.zeros((2, 3))}, "dtype"),
        ({"a": np.zeros((2, 3), dtype=">f4")}, "dtype"),
    ],
)
def test_plan_refuses_with_the_reason(change: dict[str, NDArray[np.generic] | None], reason: str) -> None:
    changed = {name: value for name, value in (fitting() | change).items() if value is not None}
    with pytest.raises(AdmissionError, match=rf"^{reason}$"):
        PLAN.check(changed)


def test_flat_vector_keeps_the_plans_order_whatever_the_arrays_order() -> None:
    vector = np.empty(7, dtype=np.float32)
    PLAN.write_flat(dict(reversed(fitting().items())), vector)
    assert vector.tolist() == [0, 1, 2, 3, 4, 5, 9]
    assert all(same(value, fitting()[name]) for name, value in PLAN.unflatten(vector).items())


def test_model_arrays_are_copies_and_load_back() -> None:
    model, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    nn.init.normal_(model.weight)
    saved = model_arrays(model)
    nn.init.zeros_(model.weight)
    assert saved["weight"].any()
    for array in saved.values():
        array.setflags(write=False)
    load_into(other, saved)
    assert all(same(value, saved[name]) for name, value in model_arrays(other).items())


def test_load_into_refuses_another_models_arrays_and_changes_nothing() -> None:
    model = nn.Linear(3, 2)
    before = model_arrays(model)
    with pytest.raises(AdmissionError, match=r"^shape$"):
        load_into(model, {"weight": np.ones((2, 3), dtype=np.float32), "bias": np.ones(3, dtype=np.float32)})
    assert all(same(value, before[name]) for name, value in model_arrays(model).items())


def test_write_tensor_keeps_the_tensor_and_its_type() -> None:
    tensor = nn.Parameter(torch.zeros(2, dtype=torch.float32))
    write_tensor(tensor, np.array([1, 2], dtype=np.float32))
    assert tensor.tolist() == [1, 2]
    assert tensor.requires_grad
