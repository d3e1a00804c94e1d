"""`wardround audit ledger` and `wardround site budget`: what they say, and their exit codes."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import wardround
from client.data.identity import dataset_digest
from client.ledger.ledger import Account, Budget, Ledger
from common.config.load import config_as_yaml, config_digest, load_config
from common.config.schema import RunConfig
from common.privacy.accountant import epsilon_of
from common.privacy.bands import band_of
from common.privacy.events import DiscreteLaplace
from common.privacy.plan import privacy_plan
from common.trust.keys import SigningKey

SITE = """
site: north
state_folder: state
data: {name: chest, adapter: manifest, root: studies}
budget: {epsilon: %s, delta: 1.0e-5, epsilon_per_run: %s}
training: {least_noise_multiplier: 0.5}
update: {most_values: 1000, most_bytes: 1000}
releases: {least_cell: 11}
"""
EVENT = DiscreteLaplace(noise_scale=4.0, releases=2)
ACCOUNT = Account(dataset_digest=dataset_digest(site="north", name="chest"), cohort="train")


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> dict[str, Any]:
        """The JSON object on standard output."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process."""
    for name, value in (wardround.QUIET | {"COLUMNS": "160"}).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["wardround", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A hospital's site.yaml, with a key and a ledger: one release settled, one not."""
    config = tmp_path / "site.yaml"
    config.write_text(SITE % (8.0, 4.0))
    key = SigningKey.create(tmp_path / "state" / "site_key.pem")
    (tmp_path / "public.pem").write_bytes(key.public.pem)
    with Ledger.open(
        tmp_path / "state" / "ledger.sqlite3",
        site="north",
        key=key,
        budget=Budget(epsilon=8.0, delta=1e-5, epsilon_per_run=4.0),
    ) as ledger:
        for number in (1, 2):
            said: dict[str, Any] = {"run": "cd" * 32, "round_number": number, "release": "statistics", "event": EVENT}
            entry = ledger.reserve(ACCOUNT, **said).entry
            if number == 1:
                ledger.settle(entry, **said)
    return config


@pytest.fixture
def ledger(site: Path) -> Path:
    return site.parent / "state" / "ledger.sqlite3"


@pytest.fixture
def run_config(tmp_path: Path) -> Callable[..., Path]:
    def written(*overrides: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(config_as_yaml(small_run(*overrides)))
        return path

    return written


def small_run(*overrides: str) -> RunConfig:
    return load_config(["federation.rounds=2", "privacy.epsilon=2", "privacy.delta=1e-5", *overrides])


def test_audit_recomputes_from_the_file_alone(command: Command, ledger: Path) -> None:
    ended = command("audit", "ledger", ledger, "--json")
    assert (ended.code, ended.err) == (0, "")
    said = ended.said
    assert (said["site"], said["public_key_known"], said["head_file"]) == ("north", False, True)
    assert said["head"]["sequence"] == 5
    assert said["budget"] == {"epsilon": 8.0, "delta": 1e-5, "epsilon_per_run": 4.0, "epsilon_alone": None}
    assert (said["unit_of_privacy"], said["neighboring_relation"]) == ("patient", "add_or_remove_one")
    (account,) = said["accounts"]
    assert account["epsilon"] == epsilon_of([EVENT, EVENT], delta=1e-5)
    assert account["epsilon_replace_one"] > account["epsilon"]
    assert (account["cohort"], account["num_reserved"], account["num_settled"]) == ("train", 2, 1)
    (unsettled,) = account["unsettled"]
    assert (unsettled["round"], unsettled["release"]) == (2, "statistics")
    assert unsettled["event"] == {"event": "discrete_laplace", "noise_scale": 4.0, "releases": 2}


def test_audit_reads_well(command: Command, ledger: Path) -> None:
    ended = command("audit", "ledger", ledger)
    assert ended.code == 0
    for words in ("all 5 entries hold", "of north", "Not settled, and spent: statistics of round 2", "Delta: 1e-05"):
        assert words in ended.out
    assert "--public-key" in ended.out


def test_audit_against_the_known_key(command: Command, ledger: Path, tmp_path: Path) -> None:
    ended = command("audit", "ledger", ledger, "--public-key", tmp_path / "public.pem", "--json")
    assert (ended.code, ended.said["public_key_known"]) == (0, True)
    (tmp_path / "other.pem").write_bytes(SigningKey.create(tmp_path / "other_key.pem").public.pem)
    ended = command("audit", "ledger", ledger, "--public-key", tmp_path / "other.pem", "--json")
    assert (ended.code, ended.out) == (4, "")
    assert "another key than the one given" in ended.err


def test_audit_names_the_first_broken_entry(command: Command, ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("UPDATE entries SET digest = 'x' WHERE sequence > 3")
    ended = command("audit", "ledger", ledger)
    assert (ended.code, ended.out) == (4, "")
    assert ended.err.startswith(f"wardround: {ledger}: entry 4: ")
    assert ended.err.count("\n") == 1


def test_audit_of_an_overspent_ledger_fails_the_check(
    command: Command, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SigningKey.load(ledger.with_name("site_key.pem"))
    with Ledger.open(ledger, site="north", key=key, budget=Budget(epsilon=0.1, delta=1e-5)) as opened:
        monkeypatch.setattr("common.ledger.spending.epsilon_of", lambda *_, **__: 0.0)  # a broken site
        opened.reserve(ACCOUNT, run="ef", round_number=1, release="update", event=EVENT)
    monkeypatch.undo()
    ended = command("audit", "ledger", ledger, "--json")
    assert ended.code == 1
    assert len(ended.said["overspent"]) == 1
    assert "more was reserved than the budget let" in ended.err


@pytest.mark.parametrize("name", ["none.sqlite3", "site.yaml", "state"])
def test_audit_of_what_is_no_ledger_is_a_usage_error(command: Command, site: Path, name: str) -> None:
    ended = command("audit", "ledger", site.with_name(name))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("wardround: ")
    assert ended.err.count("\n") == 1


def test_audit_writes_infinite_epsilon_as_json(command: Command, tmp_path: Path) -> None:
    path, key = tmp_path / "ledger.sqlite3", SigningKey.create(tmp_path / "key.pem")
    with Ledger.open(path, site="north", key=key, budget=Budget(epsilon=None, delta=1e-5)) as opened:
        bare = DiscreteLaplace(noise_scale=0.0, releases=1)
        opened.reserve(ACCOUNT, run="r", round_number=1, release="update", event=bare)
    ended = command("audit", "ledger", path, "--json")
    assert ended.code == 0
    assert ended.said["accounts"][0]["epsilon"] is None
    assert "inf" in command("audit", "ledger", path).out


def test_budget_shows_each_account(command: Command, site: Path) -> None:
    ended = command("site", "budget", "--config", site, "--json")
    assert (ended.code, ended.err) == (0, "")
    said = ended.said
    train, held_out = said["accounts"]
    spent = epsilon_of([EVENT, EVENT], delta=1e-5)
    assert (train["cohort"], train["epsilon"], train["remaining"], train["cap"]) == ("train", spent, 8.0 - spent, 8.0)
    assert (train["num_reserved"], train["num_unsettled"], train["delta"]) == (2, 1, 1e-5)
    assert (held_out["cohort"], held_out["epsilon"], held_out["num_reserved"]) == ("held_out", 0.0, 0)
    assert (said["site"], said["entries"], said["head"]["sequence"], said["run"]) == ("north", 5, 5, [])
    shown = command("site", "budget", "--config", site).out
    for words in (
        "Privacy budget of north",
        "train patients",
        "held_out patients",
        f"{spent:.3f}",
        "1e-05",
        "5 entries",
    ):
        assert words in shown


def test_budget_of_a_ledger_alone(command: Command, ledger: Path) -> None:
    said = command("site", "budget", "--ledger", ledger, "--json").said
    (account,) = said["accounts"]
    assert (said["site"], account["cap"], account["num_reserved"]) == ("north", 8.0, 2)


def test_budget_before_there_is_a_ledger_makes_none(command: Command, site: Path, ledger: Path) -> None:
    for path in ledger.parent.iterdir():
        path.unlink()
    ended = command("site", "budget", "--config", site, "--json")
    assert (ended.code, ended.said["entries"], ended.said["head"]) == (0, 0, None)
    assert [account["epsilon"] for account in ended.said["accounts"]] == [0.0, 0.0]
    assert "there is none yet" in command("site", "budget", "--config", site).out
    assert list(ledger.parent.iterdir()) == []


def test_budget_says_what_a_run_would_cost(command: Command, site: Path, run_config: Callable[..., Path]) -> None:
    ended = command("site", "budget", "--config", site, "--run", run_config(), "--json")
    plan = privacy_plan(small_run(), band_of(100))
    assert plan is not None
    assert (ended.code, ended.err) == (0, "")
    (of_training,) = ended.said["run"]
    assert of_training == {
        "dataset_digest": ACCOUNT.dataset_digest,
        "cohort": "train",
        "cost": epsilon_of([plan.event] * 2, delta=1e-5),
        "epsilon_after": epsilon_of([EVENT, EVENT, plan.event, plan.event], delta=1e-5),
        "epsilon_of_run_after": epsilon_of([plan.event] * 2, delta=1e-5),
        "fits": True,
    }
    assert "it fits" in command("site", "budget", "--config", site, "--run", run_config()).out


@pytest.mark.parametrize(
    ("caps", "which"), [((2.1, 2.1), "the cap for all runs is 2.1"), ((8.0, 1.5), "the cap for one run is 1.5")]
)
def test_run_that_does_not_fit_is_refused(
    command: Command, site: Path, run_config: Callable[..., Path], caps: tuple[float, float], which: str
) -> None:
    site.write_text(SITE % caps)
    ended = command("site", "budget", "--config", site, "--run", run_config(), "--json")
    assert (ended.code, ended.said["run"][0]["fits"]) == (3, False)
    assert which in ended.err
    assert ended.err.count("\n") == 1


def test_run_counts_towards_what_it_spent_before(
    command: Command, site: Path, run_config: Callable[..., Path], ledger: Path
) -> None:
    key = SigningKey.load(ledger.with_name("site_key.pem"))
    digest = config_digest(small_run())
    with Ledger.open(ledger, site="north", key=key, budget=Budget(epsilon=8.0, delta=1e-5)) as opened:
        opened.reserve(ACCOUNT, run=digest, round_number=1, release="update", event=EVENT)
    said = command("site", "budget", "--config", site, "--run", run_config(), "--json").said["run"][0]
    assert said["epsilon_of_run_after"] > said["cost"]


def test_run_that_measures_in_earnest_costs_the_held_out_patients(
    command: Command, site: Path, run_config: Callable[..., Path]
) -> None:
    path = run_config("evaluation.epsilon=1")
    ended = command("site", "budget", "--config", site, "--run", path, "--json")
    train, held_out = ended.said["run"]
    assert (train["cohort"], held_out["cohort"]) == ("train", "held_out")
    assert held_out["cost"] == held_out["epsilon_after"] == pytest.approx(1.0, abs=0.01)
    assert "held_out patients: epsilon 1.000 alone" in command("site", "budget", "--config", site, "--run", path).out


def test_run_whose_noise_follows_from_the_patients_needs_their_number(
    command: Command, site: Path, run_config: Callable[..., Path]
) -> None:
    for override in ("loss.name=pair_clip", "privacy.delta=null"):
        path = run_config(override)
        ended = command("site", "budget", "--config", site, "--run", path)
        assert ended.code == 2
        assert "--patients" in ended.err
    costs = [
        command("site", "budget", "--config", site, "--run", path, "--patients", number, "--json").said["run"][0][
            "cost"
        ]
        for number in ("100", "5000")
    ]
    assert costs[0] > costs[1], "more patients, smaller delta, more noise"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--config site.yaml or --ledger PATH"),
        (["--config", "CONFIG", "--ledger", "LEDGER"], "one of the two"),
        (["--ledger", "LEDGER", "--run", "RUN"], "--run: needs --config"),
        (["--config", "none.yaml"], "none.yaml: cannot be read"),
        (["--ledger", "none.sqlite3"], "none.sqlite3: no such file"),
        (["--config", "CONFIG", "--run", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_wrong_options_are_one_line(
    command: Command, site: Path, ledger: Path, run_config: Callable[..., Path], arguments: list[str], says: str
) -> None:
    paths = {"CONFIG": site, "LEDGER": ledger, "RUN": run_config()}
    ended = command("site", "budget", *(paths.get(argument, argument) for argument in arguments))
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert ended.err.count("\n") == 1


def test_run_without_privacy_has_no_budget(command: Command, site: Path, run_config: Callable[..., Path]) -> None:
    ended = command("site", "budget", "--config", site, "--run", run_config("privacy.epsilon=null"))
    assert ended.code == 2
    assert "privacy.epsilon is null" in ended.err


def test_budget_of_a_damaged_ledger_is_not_shown(command: Command, site: Path, ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("DELETE FROM entries WHERE sequence = 5")
    ended = command("site", "budget", "--config", site)
    assert (ended.code, ended.out) == (4, "")
    assert "entry 5 is missing" in ended.err


def test_budget_checks_the_sites_own_key(command: Command, site: Path, ledger: Path) -> None:
    path = ledger.with_name("site_key.pem")
    path.unlink()
    SigningKey.create(path)
    ended = command("site", "budget", "--config", site)
    assert (ended.code, ended.out) == (4, "")
