"""The checkpoint file: whole, refused with one line, or the old one."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import CheckpointError
from server.checkpoint import FILE, KINDS, RunState, SiteHistory, Watched, load_state, save_state

DIGEST = "ab" * 32


def _state(rounds_completed: int = 2) -> RunState:
    return RunState(
        config_digest=DIGEST,
        rounds_completed=rounds_completed,
        arrays={
            "model": {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "count": np.array(7, dtype=np.int64)},
            "aggregator": {},
            "optimizer": {"momentum": np.full(4, -0.0, dtype=np.float32)},
            "best": {"values": np.array([-0.5, -1e-300]), "model/weight": np.ones((2, 3), dtype=np.float32)},
        },
        sites={"St. Brigid / Ost": SiteHistory("16-31", 2, 1, {"nan": 1}, None, ["ab", "cd"], 1)},
        rounds=[{"round": 1, "admitted": ["St. Brigid / Ost"], "metrics": {}, "update_norm": 0.1}],
        start={"St. Brigid / Ost": {"brief": {"recall_at_10": 0.25}}},
        latest={"St. Brigid / Ost": {"groups": [{"group": "Größe"}]}},
        watched=Watched(start=-1.25, best_round=1, step=0.25),
    )


def _bits(state: RunState) -> dict[str, object]:
    """Everything in a state, arrays as shape, type and bytes."""
    arrays = {
        kind: {name: (array.shape, array.dtype, array.tobytes()) for name, array in found.items()}
        for kind, found in state.arrays.items()
    }
    return {**vars(state), "arrays": arrays}


def _refusal(folder: Path, digest: str = DIGEST) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_state(folder, config_digest=digest)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder / FILE) in message
    return message


def test_state_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = _state()
    save_state(saved, tmp_path)
    loaded = load_state(tmp_path, config_digest=DIGEST)
    assert _bits(loaded) == _bits(saved)


@settings(deadline=None, max_examples=20)
@given(
    values=st.lists(st.floats(width=32), min_size=0, max_size=5),
    kind=st.sampled_from(KINDS),
    name=st.text(min_size=1, max_size=10).filter(lambda text: text.isprintable()),
)
def test_any_array_comes_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], kind: str, name: str
) -> None:
    folder, state = tmp_path_factory.mktemp("state"), _state()
    state.arrays[kind][name] = np.array(values, dtype=np.float32)
    save_state(state, folder)
    loaded = load_state(folder, config_digest=DIGEST)
    assert loaded.arrays[kind][name].tobytes() == state.arrays[kind][name].tobytes()


def test_array_that_is_not_contiguous_is_saved_in_its_own_order(tmp_path: Path) -> None:
    state = _state()
    state.arrays["model"]["weight"] = np.arange(6, dtype=np.float32).reshape(2, 3).T
    save_state(state, tmp_path)
    assert load_state(tmp_path, config_digest=DIGEST).arrays["model"]["weight"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    assert "no run that can be resumed" in _refusal(tmp_path)


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    save_state(_state(), tmp_path)
    assert "belongs to a run with another config.yaml" in _refusal(tmp_path, "cd" * 32)


def test_checkpoint_cut_anywhere_is_refused(tmp_path: Path) -> None:
    save_state(_state(), tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    for length in [0, 1, 7, 8, 9, *range(10, len(whole), 97), len(whole) - 1]:
        (tmp_path / FILE).write_bytes(whole[:length])
        assert "damaged" in _refusal(tmp_path)


def test_checkpoint_with_one_flipped_bit_is_never_taken_for_another_state(tmp_path: Path) -> None:
    """It is refused, but for the few bits that mean nothing, such as the padding of the header."""
    save_state(_state(), tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    refused = 0
    for position in range(len(whole)):
        content = bytearray(whole)
        content[position] ^= 1 << position % 8
        (tmp_path / FILE).write_bytes(content)
        try:
            loaded = load_state(tmp_path, config_digest=DIGEST)
        except CheckpointError as error:
            assert "damaged" in str(error)
            refused += 1
        else:
            assert _bits(loaded) == _bits(_state())
    assert refused > 0.9 * len(whole)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_leaves_the_old_checkpoint_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    save_state(_state(rounds_completed=1), tmp_path)
    before = (tmp_path / FILE).read_bytes()

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path if call == "replace" else os, call, full)
        with pytest.raises(CheckpointError, match=r"No space left on device.*free the disk.*--resume") as caught:
            save_state(_state(rounds_completed=2), tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / FILE).read_bytes() == before
    assert [path.name for path in (tmp_path / FILE).parent.iterdir()] == [FILE.name]
    save_state(_state(rounds_completed=2), tmp_path)
    assert load_state(tmp_path, config_digest=DIGEST).rounds_completed == 2


def test_statistics_belong_to_the_model_that_the_last_round_left() -> None:
    state = _state()
    state.rounds = []
    state.note_statistics({"north": {"brief": {"recall_at_10": 0.1}}})
    assert state.start == {"north": {"brief": {"recall_at_10": 0.1}}}
    state.rounds = [{"round": 1, "metrics": {}}]
    state.note_statistics({"north": {"brief": {"recall_at_10": 0.2}}})
    assert state.rounds[0]["metrics"] == {"north": {"recall_at_10": 0.2}}
    assert state.start["north"]["brief"]["recall_at_10"] == 0.1
    assert state.latest["north"]["brief"]["recall_at_10"] == 0.2
