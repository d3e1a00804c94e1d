"""Named arrays: a model's arrays or a site's update, checked against a plan before any of it is used.

They are NumPy arrays, often read-only views of received bytes, so that nothing is copied before it is admitted.

Shapes: P values in all arrays together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor, nn

from common.errors import AdmissionError, CheckpointError
from common.files import sha256_hex

NamedArrays: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class ArrayPlan:
    """Names, shapes and types that an update must have: those of the trained parameters.

    Attributes:
        arrays: Name to shape and NumPy type, in the model's order.
    """

    arrays: Mapping[str, tuple[tuple[int, ...], str]]

    @classmethod
    def of(cls, arrays: NamedArrays) -> ArrayPlan:
        """The plan that these arrays fulfil."""
        return cls({name: (array.shape, str(array.dtype)) for name, array in arrays.items()})

    @property
    def num_values(self) -> int:
        """P."""
        return sum(math.prod(shape) for shape, _ in self.arrays.values())

    @property
    def num_bytes(self) -> int:
        """Bytes of all values together."""
        return sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in self.arrays.values())

    def check(self, arrays: NamedArrays) -> None:
        """Check names, then shapes, then types.

        Raises:
            AdmissionError: With the reason `keys`, `shape` or `dtype`.
        """
        if arrays.keys() != self.arrays.keys():
            raise AdmissionError("keys")
        for name, (shape, dtype) in self.arrays.items():
            if arrays[name].shape != shape:
                raise AdmissionError("shape")
            if arrays[name].dtype != np.dtype(dtype):
                raise AdmissionError("dtype")

    def write_flat(self, arrays: NamedArrays, vector: NDArray[np.float32]) -> None:
        """Write the arrays into a vector `[P]` in the plan's order."""
        start = 0
        for name in self.arrays:
            stop = start + arrays[name].size
            vector[start:stop] = arrays[name].reshape(-1)
            start = stop

    def unflatten(self, vector: NDArray[np.float32]) -> NamedArrays:
        """Views of a vector `[P]` as named arrays."""
        ends = np.cumsum([math.prod(shape) for shape, _ in self.arrays.values()])
        parts = np.split(vector, ends[:-1])
        return {name: part.reshape(shape) for (name, (shape, _)), part in zip(self.arrays.items(), parts, strict=True)}


def checked_norm(vector: NDArray[np.float32], *, max_norm: float) -> float:
    """The Euclidean norm of finite numbers, at most `max_norm`; 0 also where float32 is too coarse for the squares.

    Raises:
        AdmissionError: With the reason `nan` or `norm`.
    """
    # One fast pass admits: NaN or infinity anywhere makes the norm not finite. So does overflow of float32, far above
    # any limit; only a refused vector is looked at again, to name the reason.
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(vector))
    if not (np.isfinite(norm) and norm <= max_norm):
        raise AdmissionError("norm" if np.isfinite(vector).all() else "nan")
    return norm


def model_arrays(model: nn.Module) -> dict[str, NDArray[Any]]:
    """Copies of a model's parameters and buffers."""
    return {name: value.detach().cpu().numpy().copy() for name, value in model.state_dict().items()}


def load_into(model: nn.Module, arrays: NamedArrays) -> None:
    """Write named arrays into a model, in place.

    Raises:
        AdmissionError: The arrays are not those of the model.
    """
    check_arrays(model, arrays)
    for name, value in model.state_dict().items():
        write_tensor(value, arrays[name])


def check_arrays(model: nn.Module, arrays: NamedArrays) -> None:
    """Check that named arrays are a model's.

    Raises:
        AdmissionError: They are not.
    """
    state = model.state_dict()
    ArrayPlan({name: (tuple(value.shape), str(value.dtype)[6:]) for name, value in state.items()}).check(arrays)


def write_tensor(tensor: Tensor, array: NDArray[Any]) -> None:
    """Copy an array, possibly read-only, into a tensor on any device."""
    if tensor.device.type == "cpu":
        np.copyto(tensor.detach().numpy(), array)
    else:
        tensor.detach().copy_(torch.from_numpy(array.copy()))


def to_safetensors(arrays: NamedArrays) -> bytes:
    """The arrays as one safetensors file."""
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def from_safetensors(content: bytes, *, source: str) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file.

    Args:
        content: The file's bytes.
        source: The file's name, for the error.

    Raises:
        CheckpointError: The bytes are damaged.
    """
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{source}: damaged, not a whole safetensors file; use an earlier checkpoint") from error


def arrays_digest(arrays: NamedArrays) -> str:
    """SHA-256 over the safetensors form, names sorted: the model's identity in reports and logs."""
    return sha256_hex(to_safetensors(dict(sorted(arrays.items()))))
