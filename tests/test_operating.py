"""The operator's page: commands that parse, metrics and ports that there are, messages that are said."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

import wardround
from client.deploy.message_bytes import REASONS
from server.deploy.config import ConsortiumConfig
from server.deploy.scheduler import MOST_ATTEMPTS
from server.report.words import DROP_REASONS
from tests.test_readme import ROOT, commands, parse

PAGE = (ROOT / "OPERATING.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^```sh\n.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
QUOTED = re.findall(r"`([^`]+)`", PROSE)
INLINE = [text for text in QUOTED if text.startswith("wardround ")]
CODE = "".join(
    re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8"))
    for folder in ("common", "server", "client")
    for path in sorted((ROOT / folder).rglob("*.py"))
)
"""The source, each text that is written over several lines in one piece."""
METRIC = re.compile(r'(gauge|counter)s?\(\s*"(\w+)"')


def section(title: str) -> str:
    """What stands below a heading."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def check_inline(text: str) -> None:
    """Raise where a command that is only mentioned, without its arguments, does not exist or has no such option."""
    words = shlex.split(text)[1:]
    command: click.Command | None = wardround.cli
    while words and isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words.pop(0))
    if command is None or isinstance(command, click.Group):
        raise click.UsageError(text)
    known = {name for parameter in command.params for name in parameter.opts}
    unknown = [word for word in words if word.startswith("--") and word not in known]
    if unknown:
        raise click.NoSuchOption(unknown[0])


@pytest.mark.parametrize("command", sorted(set(commands(PAGE))))
def test_page_command_parses(command: str) -> None:
    parse(command)


@pytest.mark.parametrize("text", sorted(set(INLINE)))
def test_page_mentions_only_commands_that_there_are(text: str) -> None:
    check_inline(text)


@pytest.mark.parametrize("text", ["wardround server begin", "wardround server", "wardround site check --runs x"])
def test_check_of_a_mention_refuses_what_there_is_not(text: str) -> None:
    with pytest.raises(click.UsageError):
        check_inline(text)


def test_page_shows_every_command_of_server_and_site_but_those_for_trying_out() -> None:
    shown = {parse(command)[0] for command in commands(PAGE)}
    shown |= {" ".join(text.split()[1:3]) for text in INLINE}
    operated = {name for name in wardround.COMMANDS if name.startswith(("server ", "site "))}
    assert operated - shown == {"server demo", "site calibrate"}


def test_page_has_the_metrics_that_there_are() -> None:
    files = [ROOT / "server" / "deploy" / "metrics.py", ROOT / "client" / "deploy" / "metrics.py"]
    files.append(ROOT / "common" / "service" / "metrics.py")
    found = METRIC.findall("".join(path.read_text(encoding="utf-8") for path in files))
    measured = {f"wardround_{name}{'_total' if kind == 'counter' else ''}" for kind, name in found}
    assert len(measured) > 10
    named = set(re.findall(r"`(wardround_\w+)", section("Metrics")))
    assert named == measured
    assert set(re.findall(r"`(wardround_\w+)", PAGE)) == measured


def test_page_names_the_default_ports() -> None:
    table = section("Ports")
    for key in ("control_port", "metrics_port", "health_port"):
        assert f"| server | `{key}`, {getattr(ConsortiumConfig, key)}, 127.0.0.1" in table


def test_page_names_only_reasons_that_are_given() -> None:
    rows = re.findall(r"^\| reason (.*?) \|", section("What to do when"), flags=re.MULTILINE)
    named = {code for row in rows for code in re.findall(r"`(\w+)`", row) if not code.startswith("wardround")}
    assert len(named) > 6
    assert named <= REASONS
    alarming = re.search(r"any (.*) \|", section("Metrics"))
    assert alarming is not None
    assert set(re.findall(r"`(\w+)`", alarming[1])) <= set(DROP_REASONS)


def test_messages_that_the_page_quotes_are_said() -> None:
    rows = [row.split(" | ")[0] for row in section("What to do when").splitlines() if row.startswith("| ")]
    quoted = [text for row in rows for text in re.findall(r"`([^`]+)`", row) if " " in text]
    quoted += re.findall(r"log says `([^`]+)`", PAGE)
    said = [text for text in quoted if not text.startswith(("wardround ", "No space"))]
    assert len(said) > 6
    code = CODE.replace("{MOST_ATTEMPTS}", str(MOST_ATTEMPTS))
    assert not [text for text in said if text.removeprefix("the admission ") not in code]


def test_folders_and_files_that_the_page_names_are_in_the_code() -> None:
    names = re.findall(
        r"`(?:centre/|state/|\*/)?([a-z_]+\.(?:pem|json|sqlite3|jsonl|crt|yaml|log))`", section("Back up")
    )
    assert len(names) > 8
    assert not [name for name in names if f'"{name}"' not in CODE and name != "site.yaml"]


def test_page_is_found_from_the_units() -> None:
    for unit in Path(ROOT).glob("*/deploy/*.service"):
        assert "OPERATING.md" in unit.read_text(encoding="utf-8")
        assert unit.name in PAGE
