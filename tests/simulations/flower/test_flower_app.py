"""What `flwr run` starts: components, run folder, nodes and sites."""

import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from flwr.app import Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.supercore.task_identity import TaskIdentity

from common.errors import ConfigError
from simulations.flower import flower_app
from simulations.flower.flower_app import RUN_FOLDER_VARIABLE

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def _context(partition: int = 0) -> Context:
    return Context(7, partition, {"partition-id": partition}, RecordDict(), {"overrides": "seed=1"})


@pytest.fixture
def question() -> Message:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    message = Message(RecordDict(), 2, MessageType.QUERY)
    message.metadata.__dict__["_message_id"] = "1"
    return message


@pytest.mark.parametrize(("component", "kind"), [("serverapp", ServerApp), ("clientapp", ClientApp)])
def test_pyproject_components_are_flowers_apps(component: str, kind: type) -> None:
    app = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["flwr"]["app"]
    module, _, attribute = app["components"][component].partition(":")
    assert isinstance(getattr(import_module(module), attribute), kind)
    assert flower_app.OVERRIDES_KEY in app["config"]


def test_bundle_holds_no_package_that_could_hide_the_installed_one() -> None:
    app = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["flwr"]["app"]
    assert all("/" not in pattern.removeprefix("/") and "*" not in pattern for pattern in app["fab-include"])


def test_run_folder_is_the_same_for_server_and_sites_and_the_variable_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(RUN_FOLDER_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    assert flower_app.run_folder(_context(0)) == flower_app.run_folder(_context(3)) == tmp_path / "runs" / "flower-7"
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(tmp_path / "named"))
    assert flower_app.run_folder(_context()) == tmp_path / "named"


def test_each_node_answers_as_its_own_site_and_a_spare_node_refuses(
    question: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    def site(name: str) -> Callable[[Message, Context], Message]:
        return lambda message, _: Message(RecordDict(), reply_to=message) if name == "b" else message

    monkeypatch.setattr(flower_app, "_handlers", lambda _: [site("a"), site("b")])
    assert flower_app.client_app(question, _context(0)) is question
    assert flower_app.client_app(question, _context(1)) is not question
    spare = flower_app.client_app(question, _context(2))
    assert spare.has_error()
    assert spare.error.reason == "spare"


def test_flower_run_with_fewer_nodes_than_sites_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def simulate(config: object, folder: Path, *, watcher: object, engine: object) -> None:
        asked.update(config=config, folder=folder, watcher=watcher)
        engine.run(None, SimpleNamespace(cut={"a": [], "b": [], "c": []}))  # type: ignore[attr-defined]

    monkeypatch.setattr(flower_app, "simulate", simulate)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(RUN_FOLDER_VARIABLE, raising=False)
    grid = SimpleNamespace(get_node_ids=lambda: (2, 3))
    with pytest.raises(ConfigError, match="2 nodes for 3 sites; add --federation-config num-supernodes=3"):
        flower_app.main(grid, _context())
    assert asked["config"].seed == 1  # type: ignore[attr-defined]
    assert asked["folder"] == tmp_path / "runs" / "flower-7"
