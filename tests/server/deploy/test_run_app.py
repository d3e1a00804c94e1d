"""The process of a run: what it refuses before it asks anybody, and how it is stopped between two rounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from common.config.load import load_config
from common.encoders.dual import trainable_names
from server.checkpoint import RunState
from server.deploy import run_app
from server.deploy.run_app import RunWatcher, StopRequested, gated, trained_model
from server.deploy.runs import Ending, Outcome, RunFolder, Wanted

STATE = RunState(
    "ab" * 32, 1, {"model": {}, "aggregator": {}, "optimizer": {}}, rounds=[{"outcome": "updated", "admitted": ["a"]}]
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    found = RunFolder(tmp_path / "runs" / "abab")
    found.want(Wanted.RUN)
    return found


def test_watcher_tells_what_happened_and_lets_the_run_go_on(run: RunFolder) -> None:
    watcher = RunWatcher(run)
    watcher.round_opened(1, ("a", "b"))
    watcher.site_answered("b", "policy")
    watcher.round_committed(STATE)
    events = [(event["event"], event.get("problem"), event.get("rounds")) for event in run.follow()[0]]
    assert events == [("round_opened", None, None), ("site_answered", "policy", None), ("round_committed", None, 1)]


def test_stop_is_heeded_once_the_round_is_on_the_disk(run: RunFolder) -> None:
    watcher = RunWatcher(run)
    run.want(Wanted.STOP)
    watcher.round_opened(1, ("a",))
    watcher.site_answered("a", None)
    with pytest.raises(StopRequested, match=f"wardround server resume {run.key}"):
        watcher.round_committed(STATE)
    assert run.follow()[0][-1]["event"] == "round_committed"


WITHHELD = {"release": {"reason": "the model must not be published"}}


def test_completed_run_whose_model_is_withheld_ends_with_one_and_why() -> None:
    done = Outcome(ending=Ending.COMPLETED, reason=None, exit_code=0)
    assert gated(done, WITHHELD) == Outcome(
        ending=Ending.COMPLETED, reason="the model must not be published", exit_code=1
    )
    assert gated(done, {"release": {"reason": None}}) == gated(done, {"release": None}) == done
    failed = Outcome(ending=Ending.FAILED, reason="budgets are spent", exit_code=3)
    assert gated(failed, WITHHELD) == failed


def test_trained_arrays_are_those_of_the_heads_alone_where_the_rest_is_frozen() -> None:
    heads = trainable_names(trained_model(load_config(["encoder.trainable=heads"])))
    everything = trainable_names(trained_model(load_config(["encoder.trainable=all"])))
    assert 0 < len(heads) < len(everything)


@pytest.mark.parametrize("name", ["look_again_soon", "cut_small"])
def test_process_of_a_run_looks_again_soon_and_cuts_small_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Looked(Exception):
        """Ends it there."""

    def look() -> None:
        raise Looked

    for other in ("look_again_soon", "cut_small"):  # they are for a process of its own
        monkeypatch.setattr(run_app, other, lambda: None)
    monkeypatch.setattr(run_app, name, look)
    monkeypatch.setattr(run_app, "run_of", lambda *_: None)
    monkeypatch.setenv(run_app.SERVER_VARIABLE, "nowhere")
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={run_app.RUN_FIELD: "x"})
    with pytest.raises(Looked):
        run_app.main(None, context)
