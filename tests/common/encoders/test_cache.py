"""The feature cache: what is computed, what survives damage, who may read it."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.encoders.cache import FeatureCache, cache_folder
from common.errors import ConfigError


class Squares:
    """A computation that remembers what it was asked for and can be told to fail at one item."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.asked: list[int] = []
        self.fails_at = fails_at

    def __call__(self, items: Sequence[int]) -> Tensor:
        """One row an item: itself and its square."""
        if self.fails_at in items:
            raise RuntimeError("killed")
        self.asked.extend(items)
        return torch.tensor([[float(item), float(item * item)] for item in items])


def ask(cache: FeatureCache, items: list[int], compute: Squares, *, key: str = "squares-v1") -> Tensor:
    return cache.features(items, [f"d{item}" for item in items], key=key, compute=compute, batch_size=2)


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_cache_computes_only_what_is_missing(tmp_path: Path) -> None:
    first, second = Squares(), Squares()
    ask(FeatureCache(tmp_path), [1, 2, 3], first)
    features = ask(FeatureCache(tmp_path), [4, 3, 1], second)
    assert first.asked == [1, 2, 3]
    assert second.asked == [4]
    assert features.tolist() == [[4, 16], [3, 9], [1, 1]]


def test_cache_equal_content_is_computed_once(tmp_path: Path) -> None:
    compute = Squares()
    assert ask(FeatureCache(tmp_path), [5, 5, 6, 5], compute)[:, 0].tolist() == [5, 5, 6, 5]
    assert sorted(compute.asked) == [5, 6]


def test_cache_keys_do_not_mix(tmp_path: Path) -> None:
    compute = Squares()
    ask(FeatureCache(tmp_path), [1], compute, key="a")
    ask(FeatureCache(tmp_path), [1], compute, key="b")
    assert compute.asked == [1, 1]


@settings(max_examples=15, deadline=None)
@given(requests=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), max_size=5))
def test_cache_any_history_gives_the_right_rows(
    tmp_path_factory: pytest.TempPathFactory, requests: list[list[int]]
) -> None:
    cache, compute = FeatureCache(tmp_path_factory.mktemp("cache")), Squares()
    for items in requests:
        assert ask(cache, items, compute)[:, 1].tolist() == [item * item for item in items]
    assert len(compute.asked) == len(set(compute.asked))


def test_cache_present_items_are_never_touched(tmp_path: Path) -> None:
    class Undecodable(list[int]):
        def __getitem__(self, index: object) -> int:
            raise AssertionError(index)

    ask(FeatureCache(tmp_path), [1, 2], Squares())
    FeatureCache(tmp_path).features(Undecodable([1, 2]), ["d1", "d2"], key="squares-v1", compute=Squares())


def flipped(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


@pytest.mark.parametrize(
    "damage",
    [flipped, lambda content: content[:-4], lambda _: b"", lambda _: b"\xff" * 64],
    ids=["bit", "truncated", "empty", "noise"],
)
def test_cache_damaged_shard_is_computed_again(tmp_path: Path, damage, caplog: pytest.LogCaptureFixture) -> None:  # noqa: ANN001
    ask(FeatureCache(tmp_path), [1, 2, 3], Squares())
    path = shards(tmp_path)[0]
    path.write_bytes(damage(path.read_bytes()))
    compute = Squares()
    assert ask(FeatureCache(tmp_path), [1, 2, 3], compute)[:, 1].tolist() == [1, 4, 9]
    assert compute.asked in ([1, 2], [3])
    assert "damaged feature shard" in caplog.text
    again = Squares()
    ask(FeatureCache(tmp_path), [1, 2, 3], again)
    assert again.asked == []


def test_cache_keeps_the_batches_before_a_crash(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        ask(FeatureCache(tmp_path), [1, 2, 3, 4], Squares(fails_at=3))
    compute = Squares()
    ask(FeatureCache(tmp_path), [1, 2, 3, 4], compute)
    assert compute.asked == [3, 4]


def test_cache_only_the_owner_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    ask(FeatureCache(folder), [1], Squares())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "squares-v1").stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in shards(folder)] == [0o600]


WRITER = """
import sys, torch
from pathlib import Path
from common.encoders.cache import FeatureCache
items = list(range(int(sys.argv[2]), int(sys.argv[2]) + 40))
compute = lambda batch: torch.tensor([[float(i)] for i in batch])
rows = FeatureCache(Path(sys.argv[1])).features(items, list(map(str, items)), key="k", compute=compute, batch_size=1)
sys.exit(0 if rows[:, 0].tolist() == items else 1)
"""


def test_cache_two_processes_write_at_once(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), start], cwd=root) for start in ("0", "20")
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    items = list(range(60))
    rows = FeatureCache(tmp_path).features(items, list(map(str, items)), key="k", compute=Squares(fails_at=items[0]))
    assert rows[:, 0].tolist() == items


def test_cache_reports_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    FeatureCache(tmp_path).features(
        [1, 2, 3], ["a", "b", "c"], key="k", compute=Squares(), batch_size=2, progress=lambda *at: seen.append(at)
    )
    assert seen == [(2, 3), (3, 3)]


def test_cache_damaged_shard_is_removed(tmp_path: Path) -> None:
    ask(FeatureCache(tmp_path), [1, 2], Squares())
    (damaged,) = shards(tmp_path)
    damaged.write_bytes(flipped(damaged.read_bytes()))
    ask(FeatureCache(tmp_path), [2], Squares())
    assert damaged not in shards(tmp_path)


@pytest.mark.parametrize("key", ["", "../up", "a/b", ".hidden"])
def test_cache_key_cannot_leave_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="feature key"):
        ask(FeatureCache(tmp_path), [1], Squares(), key=key)


def test_cache_needs_as_many_digests_as_items(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 items and 2 digests"):
        FeatureCache(tmp_path).features([1], ["a", "b"], key="k", compute=Squares())


def test_cache_needs_one_row_an_item(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 rows of features for 2 items"):
        FeatureCache(tmp_path).features([1, 2], ["a", "b"], key="k", compute=lambda _: torch.zeros(1, 2))
    assert shards(tmp_path) == []


def test_cache_folder_that_is_a_file_names_the_key(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match=r"encoder\.cache=.*/file: cannot be used"):
        ask(FeatureCache(file), [1], Squares())


def test_cache_folder_follows_config_then_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("~/mine") == tmp_path / "mine"
    assert cache_folder("") == tmp_path / "xdg" / "wardround" / "features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder("") == tmp_path / ".cache" / "wardround" / "features"
