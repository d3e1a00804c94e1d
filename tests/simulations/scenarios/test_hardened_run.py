"""A run that trains against attacks: it says what attacked images find, and the same config gives the same model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

HARDENED = ("encoder.trainable=all", "training.adversarial.steps=1", "training.steps_per_round=2")


@pytest.fixture(scope="module")
def hardened(tiny_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two rounds, each study changed by one step."""
    return tiny_run(tmp_path_factory.mktemp("hardened") / "run", *HARDENED)


def test_run_says_what_attacked_images_find(hardened: Any) -> None:
    attacked = hardened.summary["pooled"]["attacked"]
    rows = {row["name"]: row for row in attacked["attacks"]}
    assert next(iter(rows)) == "none"
    assert set(rows) == {"none", "across", "centre", "dhta", "hag"}
    assert rows["none"]["flips"] == rows["none"]["moved"] == 0
    assert rows["hag"]["flips"] > 0
    assert rows["hag"]["ssim"] < 1
    assert "changed to mislead the search" in (hardened.folder / "report.html").read_text()


def test_same_config_gives_the_same_hardened_model(hardened: Any, tiny_run: Any, tmp_path: Path) -> None:
    again = tiny_run(tmp_path / "again", *HARDENED)
    assert again.model == hardened.model
    plain = tiny_run(tmp_path / "plain", *(key for key in HARDENED if "adversarial" not in key))
    assert plain.model != hardened.model
    assert plain.summary["pooled"]["attacked"] is None
