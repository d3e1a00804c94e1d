"""A run that ends while its message is coming, against Flower's own loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest
from flwr.supercore.run import RunNotRunningException
from flwr.supernode import start_client_internal

from client.deploy.ended_runs import end_with_ended_run

PULL = "_pull_and_store_message"


@pytest.fixture
def watched() -> Iterator[None]:
    whole = vars(start_client_internal)[PULL]
    end_with_ended_run()
    yield
    vars(start_client_internal)[PULL] = whole


def options(**changes: Any) -> dict[str, Any]:
    """A message of a known run, whose one part comes and is confirmed."""
    store = MagicMock()
    store.preregister.return_value = ["part"]
    message = MagicMock()
    message.metadata.run_id = 7
    names = ("state", "node_config", "get_run", "get_fab", "pull_object", "confirm_message_received")
    defaults = {name: MagicMock() for name in names}
    defaults |= {"object_store": store, "receive": lambda: (message, MagicMock()), "trusted_entities": None}
    return defaults | changes


def receive(**changes: Any) -> Any:
    return vars(start_client_internal)[PULL](**options(**changes))


ENDED = MagicMock(side_effect=RunNotRunningException)


def test_flower_leaves_the_task_of_an_ended_run_behind() -> None:
    """Why this is here: where Flower finishes it one day, this test fails, and the module can go."""
    state = MagicMock()
    assert receive(state=state, pull_object=ENDED) is None
    state.create_task.assert_called_once()
    state.finish_task.assert_not_called()


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("call", ["pull_object", "confirm_message_received"])
def test_supernode_ends_where_the_run_ended_once_there_is_a_task(call: str) -> None:
    with pytest.raises(SystemExit, match="started again"):
        receive(**{call: ENDED})


@pytest.mark.usefixtures("watched")
def test_supernode_goes_on_where_nothing_is_left_behind() -> None:
    assert receive() == 7
    assert receive(receive=lambda: None) is None
    assert receive(receive=ENDED) is None


def test_other_flower_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(start_client_internal), PULL, lambda state: state)
    with pytest.raises(RuntimeError, match=r"pyproject\.toml"):
        end_with_ended_run()
