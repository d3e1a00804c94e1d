"""`wardround bench`: one object or a table."""

import json

import pytest
import typer
from typer.testing import CliRunner

from common.errors import ConfigError
from simulations.benchmarks import cli
from simulations.benchmarks.report import Row

runner = CliRunner()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setattr(cli.BENCHES, "load", lambda name: lambda: [Row(name=f"{name} row", seconds=0.5)])
    app = typer.Typer()
    app.command()(cli.bench_command)
    return app


def test_bench_json_prints_one_object(command: typer.Typer) -> None:
    done = runner.invoke(command, ["round", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["rows"][0]["name"] == "round row"


def test_bench_without_json_prints_a_table(command: typer.Typer) -> None:
    done = runner.invoke(command, ["round"])
    assert done.exit_code == 0
    assert "round row" in done.stdout
    assert "0.5000" in done.stdout


def test_bench_unknown_name_says_which_are_known() -> None:
    with pytest.raises(ConfigError, match="bench=rounds: unknown; did you mean round"):
        cli.bench_command("rounds", as_object=False)


def test_bench_deployment_is_the_same_over_real_processes_and_no_other_has_one(command: typer.Typer) -> None:
    for name, deployed in cli.DEPLOYED.items():
        done = runner.invoke(command, [name, "--deployment", "--json"])
        assert json.loads(done.stdout)["rows"][0]["name"] == f"{deployed} row"
    with pytest.raises(ConfigError, match="goes with wardround bench round, search alone"):
        cli.bench_command("dp", deployment=True)
