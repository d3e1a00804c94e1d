"""The documents say only what is there: commands that parse, folders and files that exist, codes that are used."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import wardround
from client.data.registry import ADAPTERS
from common import errors
from common.config.load import load_config
from common.errors import ConfigError
from common.losses.composition import contrast_of
from common.losses.interface import LOSSES
from simulations.attacks.registry import ATTACKS
from simulations.benchmarks.cli import BENCHES
from simulations.cohorts.write import MANIFEST_COLUMNS
from strategies.composition import build_aggregator

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "OPERATING.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "common" / "decisions").glob("*.md")),
]
READERS_FILES = {"site.yaml", "run.yaml", "consortium.yaml"}
"""Configurations that a reader has written, or a command has."""
IGNORED = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()}


def commands(document: str) -> Iterator[str]:
    """Every `wardround ...` of the `sh` blocks; what a command prints stands in `text` blocks."""
    for block in re.findall(r"^```sh\n(.*?)^```", document, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield from (part.strip() for part in line.split("&&") if part.split()[:1] == ["wardround"])


def parse(command: str) -> tuple[str, dict[str, Any]]:
    """The sub-command and its parameters, as the command line itself reads them; nothing is run."""
    _, name, *arguments = shlex.split(command, comments=True)
    found = wardround.cli.get_command(click.Context(wardround.cli), name)
    if isinstance(found, click.Group):
        below, *arguments = arguments
        found, name = found.get_command(click.Context(found), below), f"{name} {below}"
    if found is None:
        raise click.UsageError(f"no such command: {name}")
    return name, found.make_context(name, arguments).params


def check(command: str) -> None:
    """Raise where the command could not even begin."""
    name, parameters = parse(command)
    if name == "bench":
        assert parameters["name"] in BENCHES.names
        return
    if name != "simulate":
        for path in (parameters.get("config"), parameters.get("ledger")):
            assert path is None or str(path).startswith("runs/") or Path(path).name in READERS_FILES
        return
    config = load_config(parameters["overrides"] or (), scenario=parameters["scenario"])
    assert config.data.adapter in {*ADAPTERS.names, "synthetic"}
    assert contrast_of(config.loss) in LOSSES.names
    build_aggregator(config.aggregator, seed=config.seed)
    assert config.attack.name in ATTACKS.names


def table_of(section: str) -> list[list[str]]:
    """Rows of the last table below a heading of the README, without its header."""
    body = README.split(f"\n## {section}\n")[1].split("\n## ")[0]
    table = re.findall(r"(?:^\|.*\n)+", body + "\n", flags=re.MULTILINE)[-1]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()[2:]]


def tree_paths(text: str) -> list[str]:
    """Paths below a folder of the repository that a text names; NAME stands for the reader's own."""
    folders = "|".join(re.escape(path.name) for path in ROOT.iterdir() if path.is_dir() and path.name not in IGNORED)
    return [path for path in re.findall(rf"`((?:{folders})/[^`\s]*)`", text) if "NAME" not in path]


def error_classes(base: type[errors.WardroundError]) -> Iterator[type[errors.WardroundError]]:
    yield base
    for below in base.__subclasses__():
        yield from error_classes(below)


@pytest.mark.parametrize("command", list(commands(README)))
def test_readme_command_parses(command: str) -> None:
    check(command)


def test_readme_shows_the_commands_that_matter() -> None:
    shown = [parse(command) for command in commands(README)]
    assert {name for name, _ in shown} == set(wardround.COMMANDS)
    simulated = [parameters for name, parameters in shown if name == "simulate"]
    assert any(not any(value for key, value in p.items() if key != "engine") for p in simulated), "the quickstart"
    for option in ("scenario", "resume", "out", "as_json", "overrides"):
        assert any(parameters[option] for parameters in simulated), option


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("wardround simulat", click.UsageError),
        ("wardround simulate --jsn", click.UsageError),
        ("wardround simulate --engine rays", click.UsageError),
        ("wardround simulate privacy.epsilom=2", ConfigError),
        ("wardround simulate federation.rounds=many", ConfigError),
        ("wardround simulate --scenario baseline", ConfigError),
        ("wardround simulate attack.name=flip", AssertionError),
        ("wardround bench rounds", AssertionError),
    ],
)
def test_readme_check_refuses_a_command_that_could_not_begin(command: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        check(command)


def test_readme_commands_are_read_from_shell_blocks_alone() -> None:
    document = "wardround a\n```sh\npip install . && wardround b x=1\nwardround c \\\n  --json  # why\n```\n"
    document += "```text\nwardround: 3 rows\nwardround d\n```\n"
    assert [shlex.split(found, comments=True)[1:] for found in commands(document)] == [["b", "x=1"], ["c", "--json"]]


def test_readme_folder_map_is_the_tree() -> None:
    mapped = [row[0].strip("` ") for row in table_of("Where things are")]
    there = {
        f"{path.name}/"
        for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith(".") and not any(path.match(name) for name in IGNORED)
    }
    assert sorted(mapped) == sorted(there)


def test_readme_exit_codes_are_those_of_the_errors() -> None:
    used = {error.exit_code for error in error_classes(errors.WardroundError)}
    assert {int(row[0]) for row in table_of("Use")} == {0, *used}


def test_readme_manifest_columns_are_those_of_a_manifest() -> None:
    """Those of a drawn cohort, and the language of the report, which is the same for all of one."""
    cells = [row[0] for row in table_of("Bring your own data")]
    named = sorted(name for cell in cells for name in re.findall(r"`(\w+)`", cell))
    assert named == sorted((*MANIFEST_COLUMNS, "language"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_document_names_only_what_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in target]
    missing = [target for target in links if not (document.parent / target).exists()]
    missing += [path for path in tree_paths(text) if not (ROOT / path).exists()]
    assert not missing


def test_document_paths_are_found_in_backticks() -> None:
    text = "See `server/app.py`, `client/nowhere.py`, `strategies/NAME.py`, `checkpoint/state` and server/rounds.py."
    assert tree_paths(text) == ["server/app.py", "client/nowhere.py"]
