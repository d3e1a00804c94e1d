"""The import rules of the design hold, and the tool that checks them can fail."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import wardround

ROOT = Path(wardround.__file__).parent
LINT = Path(sys.executable).with_name("lint-imports")
PACKAGES = ("common", "strategies", "server", "client", "simulations")
FLOWER_MAY_BE_IMPORTED_IN = {
    "common.wire.flower",
    "common.wire.flower_arrays",
    "strategies.flower",
    "server.app",
    "server.messages",
    "server.roll_call",
    "client.app",
    "client.deploy.bundle",
    "client.deploy.ended_runs",
    "client.deploy.fleet",
    "client.deploy.local_worker",
    "client.deploy.message_bytes",
    "client.deploy.pace",
    "client.deploy.relay",
    "client.deploy.runtime_api",
    "client.deploy.searching",
    "client.deploy.supernode",
    "client.deploy.supernode_main",
    "client.deploy.worker",
    "client.deploy.worker_client",
    "client.gate.forms",
    "client.gate.gate",
    "client.gate.search_gate",
    "common.wire.evidence",
    "common.wire.objects",
    "common.wire.searching",
    "server.deploy.control",
    "server.deploy.control_token",
    "server.deploy.link_state",
    "server.deploy.registered",
    "server.deploy.run_app",
    "server.deploy.superlink",
}
"""Outside `simulations`, which production never imports."""


def _contracts() -> list[dict[str, object]]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return list(tomllib.loads(text)["tool"]["importlinter"]["contracts"])


@pytest.mark.skipif(not LINT.exists(), reason="needs import-linter beside this Python (extra [dev])")
def test_import_contracts_are_kept() -> None:
    done = subprocess.run([LINT, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    assert re.search(rf"Contracts: {len(_contracts())} kept, 0 broken", done.stdout)


def test_flower_is_imported_where_the_design_allows_it() -> None:
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"(?m)^\s*(from|import) flwr\b", path.read_text(encoding="utf-8"))
    }
    assert {name for name in found if not name.startswith("simulations.")} == FLOWER_MAY_BE_IMPORTED_IN
    (contract,) = (contract for contract in _contracts() if contract.get("forbidden_modules") == ["flwr"])
    assert set(contract["ignore_imports"]) == {f"{name} -> flwr" for name in found}  # type: ignore[arg-type]


def test_contracts_cover_what_the_design_promises() -> None:
    forbidden = {str(name) for contract in _contracts() for name in contract.get("forbidden_modules", [])}  # type: ignore[attr-defined]
    assert {"flwr", "pydicom", "dp_accounting", "pickle", "strategies"} <= forbidden
    layers = [contract["layers"] for contract in _contracts() if contract["type"] == "layers"]
    assert ["simulations", "server | client", "strategies", "common"] in layers


@pytest.mark.parametrize("side", ["server", "client"])
def test_production_loads_neither_the_simulation_nor_the_other_side(side: str) -> None:
    other = {"server": "client", "client": "server"}[side]
    script = (
        f"import sys, {side}.app\n"
        f"found = sorted(name for name in sys.modules if name.split('.')[0] in ('simulations', '{other}'))\n"
        "sys.exit(' '.join(found) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


WITHOUT_TORCH = (
    "audit index",
    "audit ledger",
    "audit log",
    "audit run",
    "server admit",
    "server cohort",
    "server init",
    "server resume",
    "server run",
    "server search",
    "server start",
    "server status",
    "server stop",
    "site init",
    "site join",
    "site resolve",
    "site start",
)
"""Commands that train, encode and draw nothing: whoever types them does not wait until torch is there."""


def test_commands_that_compute_nothing_start_without_torch() -> None:
    modules = [wardround.COMMANDS[name][0].partition(":")[0] for name in WITHOUT_TORCH]
    slow = ("torch", "opacus", "sklearn", "transformers", "plotly")
    script = (
        "import importlib, sys\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(module)\n"
        f"    found = [name for name in {slow!r} if name in sys.modules]\n"
        "    if found: sys.exit(f'{module} imports {found}')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
