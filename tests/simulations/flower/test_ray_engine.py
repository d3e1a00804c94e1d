"""Ray's actors train the same model as the in-process runtime."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.config.load import load_config
from common.errors import ConfigError
from simulations.flower import ray_engine

SMALL = (
    "privacy.epsilon=null",
    "federation.rounds=2",
    "data.synthetic.num_sites=3",
    "data.synthetic.patients_per_site=30",
    "data.synthetic.public_patients=150",
    "public_fit.steps=10",
)


def test_ray_that_is_not_installed_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'wardround\[ray\]'"):
        ray_engine.check_ray_is_installed()


def test_ray_does_not_run_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "check_ray_is_installed", lambda: None)
    config = load_config()
    config = replace(config, baselines=replace(config.baselines, repeats=1))
    with pytest.raises(ConfigError, match="baselines"):
        ray_engine.simulate_with_ray(config, tmp_path, watcher=None)  # type: ignore[arg-type]


@pytest.mark.ray
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs pip install 'wardround[ray]'")
def test_ray_trains_the_same_model_as_the_in_process_runtime(tmp_path: Path) -> None:
    """Actors that refitted, or read other studies, would end with another model; so would more threads a site."""
    here, actors = _simulate(tmp_path, "inprocess"), _simulate(tmp_path, "ray")
    assert (here["engine"], actors["engine"]) == ("inprocess", "ray")
    assert actors["rounds_completed"] == 2
    assert actors["model_digest"] == here["model_digest"]
    assert {name: site["metrics"] for name, site in actors["sites"].items()} == {
        name: site["metrics"] for name, site in here["sites"].items()
    }


def _simulate(folder: Path, engine: str) -> dict[str, Any]:
    """A run in a process of its own: Ray's threads and warnings are not this test's."""
    command = [sys.executable, "-c", "import wardround; wardround.main()", "simulate", "--json", "--engine", engine]
    options = ["--out", str(folder / engine), f"encoder.cache={folder / 'cache'}", *SMALL]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
