"""The systemd units and the image recipe fit the project: commands, exit codes, files, pins."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from common import errors
from common.service.supervisor import GRACE_SECONDS
from tests.test_readme import ROOT, error_classes, parse

UNITS = sorted(ROOT.glob("*/deploy/*.service"))
RECIPE = (ROOT / "Containerfile").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "ReadWritePaths": "/var/lib/wardround",
    "CapabilityBoundingSet": "",
    "LimitCORE": "0",
    "UMask": "0077",
    "KillMode": "mixed",
    "Restart": "on-failure",
}
STEPS = re.findall(r"^([A-Z]+) (.*)$", RECIPE.replace("\\\n", " "), flags=re.MULTILINE)

each_unit = pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)


def unit_of(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path, encoding="utf-8")
    return parser


def test_there_is_a_unit_for_each_side() -> None:
    assert [unit.name for unit in UNITS] == ["wardround-site.service", "wardround-server.service"]


@each_unit
def test_unit_starts_a_command_that_there_is(path: Path) -> None:
    program, *arguments = shlex.split(unit_of(path)["Service"]["ExecStart"])
    assert Path(program).name in PROJECT["project"]["scripts"]
    name, _ = parse(shlex.join(["wardround", *arguments]))
    assert name == f"{path.stem.removeprefix('wardround-')} start"


@each_unit
def test_unit_is_hardened(path: Path) -> None:
    service = unit_of(path)["Service"]
    assert {key: service[key] for key in HARDENED} == HARDENED


@each_unit
def test_unit_does_not_restart_what_does_not_mend_itself(path: Path) -> None:
    codes = {int(code) for code in unit_of(path)["Service"]["RestartPreventExitStatus"].split()}
    assert codes == {errors.ConfigError.exit_code, errors.TrustError.exit_code}
    assert codes < {error.exit_code for error in error_classes(errors.WardroundError)}


@each_unit
def test_unit_gives_the_supervisor_time_to_end(path: Path) -> None:
    assert int(unit_of(path)["Service"]["TimeoutStopSec"]) > 3 * GRACE_SECONDS


@each_unit
def test_unit_is_what_systemd_understands(path: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    runnable = tmp_path / path.name
    runnable.write_text(path.read_text(encoding="utf-8").replace("/opt/wardround/bin/wardround", "/usr/bin/env"))
    command = ["systemd-analyze", "verify", "--man=no", str(runnable)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_site_may_make_the_namespaces_that_take_the_network_away() -> None:
    site, server = (unit_of(path)["Service"] for path in UNITS)
    assert site["RestrictNamespaces"] == "user net"
    assert "AF_NETLINK" in site["RestrictAddressFamilies"].split()
    assert server["RestrictNamespaces"] == "yes"


def test_image_copies_what_the_package_is_made_of_and_nothing_else() -> None:
    copied = {source.rstrip("/") for step, rest in STEPS if step == "COPY" for source in rest.split()[:-1]}
    packages = {name.rstrip("*") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    modules = {f"{name}.py" for name in PROJECT["tool"]["setuptools"]["py-modules"]}
    needed = packages | modules | {"pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert copied - {"--from=build", "/opt/wardround"} == needed
    assert not [name for name in needed if not (ROOT / name).exists()]


def test_image_has_the_pinned_torch_and_a_supported_python() -> None:
    arguments = dict(rest.split("=", 1) for step, rest in STEPS if step == "ARG")
    assert arguments["TORCH"] in PROJECT["project"]["dependencies"]
    assert arguments["TORCH_INDEX"].endswith("/cpu")
    assert f">={re.search(r'python:(3[.][0-9]+)-slim', arguments['BASE'])[1]}" == PROJECT["project"]["requires-python"]  # type: ignore[index]


def test_image_runs_the_command_as_a_user_who_is_not_root() -> None:
    last = dict(STEPS[max(n for n, (step, _) in enumerate(STEPS) if step == "FROM") :])
    assert int(last["USER"].split(":")[0]) >= 10_000
    assert last["ENTRYPOINT"] == '["wardround"]'


def test_image_leaves_compilers_and_downloads_out() -> None:
    assert not [rest for step, rest in STEPS if step == "RUN" and re.search(r"apt|curl|wget|gcc|build-essential", rest)]
    assert "ADD" not in dict(STEPS)
