"""Whether a run's device is on this machine: asked before anything is read, and answered with what there is."""

from __future__ import annotations

import torch

from common.errors import ConfigError

CPU = "cpu"


def check_device(device: str) -> None:
    """Return where this machine has the device.

    Raises:
        ConfigError: The word is no device, or the device is not here; what is here and the remedy are named.
    """
    kind = _kind_of(device)
    if is_here(device):
        return
    raise ConfigError(
        f"device={device}: is not on this machine, which has {', '.join(devices_here())}; {_remedy(kind)}"
    )


def check_device_word(device: str) -> None:
    """Return where a word names a device, on this machine or another.

    Raises:
        ConfigError: It does not.
    """
    _kind_of(device)


def is_here(device: str) -> bool:
    """Whether this machine has a device; the word names one."""
    found = torch.device(device)
    if found.type == CPU:
        return True
    if found.type == "cuda":
        return torch.cuda.is_available() and (found.index or 0) < torch.cuda.device_count()
    if found.type == "mps":
        return torch.backends.mps.is_available()
    try:
        torch.empty(1, device=found)
    except Exception:  # each backend has its own way to say that it is not there
        return False
    return True


def devices_here() -> list[str]:
    """The devices of this machine, the CPU first."""
    found = [CPU]
    if torch.cuda.is_available():
        found += [
            f"cuda:{number} ({torch.cuda.get_device_name(number)})" for number in range(torch.cuda.device_count())
        ]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def _kind_of(device: str) -> str:
    try:
        return torch.device(device).type
    except RuntimeError as error:
        raise ConfigError(f"device={device}: no such device; give one such as cpu, cuda, cuda:1 or mps") from error


def _remedy(kind: str) -> str:
    if kind == "cuda" and torch.version.cuda is None and torch.version.hip is None:
        return "the torch that is installed is built for the CPU alone: install one built for CUDA, or set device=cpu"
    if kind == "cuda":
        return "look with nvidia-smi whether its driver runs, or set device=cpu"
    return "set one of them"
