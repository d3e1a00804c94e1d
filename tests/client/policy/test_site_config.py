"""site.yaml: the example, the defaults that refuse, and the one line that each mistake gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from client.data.anchor_folder import AnchorFolder
from client.policy.site_config import anchor_folder, load_site_config
from client.policy.site_schema import RANGES
from common.config.load import load_config
from common.encoders.registry import ENCODERS
from common.errors import ConfigError
from common.losses.interface import LOSSES

PORTAL = {"address": "https://search.north.example", "secret_file": "secret"}
EXAMPLE = Path(__file__).resolve().parents[3] / "configs" / "site.example.yaml"
DIGEST = "ab" * 32


def changed(content: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    section, _, name = key.rpartition(".")
    (content.setdefault(section, {}) if section else content)[name] = value
    return content


def test_example_loads_and_names_what_exists() -> None:
    config = load_site_config(EXAMPLE)
    assert set(config.training.losses) <= set(LOSSES.names)
    assert set(config.training.encoders) <= set(ENCODERS.names)
    assert config.releases.least_cell <= load_config().evaluation.least_group


def test_paths_are_relative_to_the_file(site_yaml: dict[str, Any], write_site: Callable[..., Path]) -> None:
    path = write_site(site_yaml)
    config = load_site_config(path)
    assert (config.state_folder, config.data.root) == (path.parent / "state", path.parent / "studies")


def test_absolute_path_stays(site_yaml: dict[str, Any], write_site: Callable[..., Path], tmp_path: Path) -> None:
    config = load_site_config(write_site(changed(site_yaml, "state_folder", str(tmp_path / "elsewhere"))))
    assert config.state_folder == tmp_path / "elsewhere"


def test_public_studies_lie_among_the_own_unless_they_have_a_folder(
    site_yaml: dict[str, Any], write_site: Callable[..., Path], tmp_path: Path
) -> None:
    site_yaml["data"] |= {"adapter": "dicom", "split": "fixed", "site_column": "ward", "allow_burned_in": True}
    among = AnchorFolder(
        root=tmp_path / "studies", adapter="dicom", split="fixed", site_column="ward", allow_burned_in=True
    )
    assert anchor_folder(load_site_config(write_site(site_yaml))) == among
    site_yaml["anchors"] = {"root": "public"}
    apart = AnchorFolder(root=tmp_path / "public", adapter="manifest", alone=True, allow_burned_in=True)
    assert anchor_folder(load_site_config(write_site(site_yaml))) == apart
    site_yaml["anchors"] = {"root": "/data/public", "adapter": "medpix2", "split": "s", "site_column": "c"}
    named = AnchorFolder(root=Path("/data/public"), adapter="medpix2", split="s", site_column="c", allow_burned_in=True)
    assert anchor_folder(load_site_config(write_site(site_yaml))) == replace(named, alone=True)


def test_lists_left_out_allow_nothing(site_yaml: dict[str, Any], write_site: Callable[..., Path]) -> None:
    site_yaml["training"] = {"least_noise_multiplier": 1}
    site_yaml["update"].pop("keys")
    site_yaml["releases"].pop("allowed")
    config = load_site_config(write_site(site_yaml))
    lists = [getattr(config.training, name) for name in ("losses", "encoders", "config_digests", "bundle_hashes")]
    assert [*lists, config.training.devices, config.update.keys, config.releases.allowed] == [
        [],
        [],
        [],
        [],
        [],
        [],
        {},
    ]


def test_agent_left_out_listens_nowhere(site_yaml: dict[str, Any], write_site: Callable[..., Path]) -> None:
    site_yaml.pop("agent")
    ports = load_site_config(write_site(site_yaml)).agent
    assert (ports.metrics_port, ports.health_port) == (0, 0)


def test_secret_of_the_proxy_lies_beside_the_file(site_yaml: dict[str, Any], write_site: Callable[..., Path]) -> None:
    path = write_site(site_yaml | {"page": PORTAL})
    assert load_site_config(path).page.secret_file == str(path.parent / "secret")


def test_config_cannot_be_changed(site_yaml: dict[str, Any], write_site: Callable[..., Path]) -> None:
    config = load_site_config(write_site(site_yaml))
    with pytest.raises(FrozenInstanceError):
        config.budget.epsilon = 100.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("budget.epsilom", 3, r"budget\.epsilom: unknown key; did you mean budget\.epsilon"),
        ("budgets", {"epsilon": 3}, "budgets: unknown key; did you mean budget"),
        ("budget.epsilon", "lots", r"budget\.epsilon: wrong type; it takes a number"),
        ("budget.epsilon", True, r"budget\.epsilon: wrong type"),
        ("budget.epsilon", None, r"budget\.epsilon: wrong type"),
        ("budget", 3, "budget: wrong type; it takes keys below it"),
        ("budget", [1], "budget: wrong type; it takes keys below it"),
        ("site", {"name": "north"}, "site: wrong type; it takes text"),
        ("update.most_values", 1.5, r"update\.most_values: wrong type; it takes a whole number"),
        ("training.losses", "anchor_contrast", r"training\.losses: wrong type; it takes a list of texts"),
        ("training.losses", [["anchor_contrast"]], r"training\.losses: wrong type; it takes a list of texts"),
        ("training.losses", ["any", "pair_clip"], r"training\.losses: lists any beside others"),
        ("training.config_digests", ["latest"], r"training\.config_digests: latest is no SHA-256"),
        ("training.bundle_hashes", [DIGEST.upper()], r"training\.bundle_hashes: ABAB"),
        ("training.hours", "at night", r'training\.hours: not hours; write "22:00-06:00"'),
        ("releases.allowed", {"update": "patient_dp_sgd"}, r"releases\.allowed: wrong type; it takes names, each"),
        ("releases.allowed", {"update": ["dp_sgd"]}, r"releases\.allowed\.update: dp_sgd is unknown; did you mean"),
        ("releases.allowed", {"statistics": ["not_private"]}, "not_private may not leave a hospital"),
        ("data.adapter", "dicoms", r"data\.adapter=dicoms: unknown; did you mean dicom"),
        ("anchors", {"adapter": "dicoms"}, r"anchors\.adapter=dicoms: unknown; did you mean dicom"),
        ("anchors", {"digest": DIGEST}, r"anchors\.digest: unknown key"),
        ("data.name", "", r"data\.name=: not a name"),
        ("site", "North Hospital", "site=North Hospital: not a name"),
        ("site", "../north", r"site=\.\./north: not a name"),
        ("site", "???", "site: has no value; it takes text"),
        ("state_folder", "${oc.env:HOME}", "is not supported; write the value itself"),
        ("agent.health_port", 9466, r"agent\.health_port=9466: is agent\.metrics_port; give another"),
        ("agent.health_port", 70000, r"agent\.health_port=70000: out of range"),
        ("mediator", {"endpoint": "http://127.0.0.1:1/v1"}, r"mediator\.model: has no value"),
        (
            "mediator",
            {"endpoint": "http://x/v1", "model": "m", "folder": "f"},
            r"mediator\.folder: names a model beside",
        ),
        ("mediator", {"model": "m"}, r"mediator\.endpoint: has no value"),
        ("mediator", {"timeout_seconds": 0}, r"mediator\.timeout_seconds=0.*out of range"),
        ("agent.proxy", "proxy:3128", r"agent\.proxy=proxy:3128: is no HTTP proxy; write http://HOST:PORT"),
        ("agent.proxy", "http://a:b@proxy:3128", r"agent\.proxy: holds a user or a password"),
        ("agent.proxy_login", "login", r"agent\.proxy_login: is for a proxy, and agent\.proxy names none"),
        ("page", {"secret_file": "secret"}, r"page\.secret_file: is for a proxy, and page\.address names none"),
        ("page", {"address": "https://search.north.example"}, r"page\.secret_file: has no value"),
        ("page", {"address": "http://search.north.example"}, r"page\.address=http://.*: write https://HOST"),
        ("page", {"address": "https://search.north.example/"}, r"page\.address=.*: write https://HOST"),
        ("page", {"address": "https://search.north.example:443"}, r"page\.address=.*: write https://HOST"),
        ("page", PORTAL | {"user_header": "Cookie"}, r"page\.user_header=Cookie: is no header of a proxy's own"),
        ("page", PORTAL | {"user_header": "X_User"}, r"page\.user_header=X_User: is no header of a proxy's own"),
        ("page", PORTAL | {"secret_header": "x-remote-user"}, r"page\.secret_header: is page\.user_header"),
        ("agent", {"port": 1}, r"agent\.port: unknown key; did you mean agent\."),
        ("budget.epsilon_per_run", 21, r"budget\.epsilon_per_run: is above budget\.epsilon"),
    ],
)
def test_mistake_is_one_line_with_file_field_and_remedy(
    site_yaml: dict[str, Any], write_site: Callable[..., Path], key: str, value: object, said: str
) -> None:
    path = write_site(changed(site_yaml, key, value))
    with pytest.raises(ConfigError, match=said) as caught:
        load_site_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["site", "state_folder", "data.name", "budget.delta", "training.least_noise_multiplier"]
)
def test_key_without_default_must_be_given(
    site_yaml: dict[str, Any], write_site: Callable[..., Path], key: str
) -> None:
    section, _, name = key.rpartition(".")
    (site_yaml[section] if section else site_yaml).pop(name)
    with pytest.raises(ConfigError, match=f"{key}: has no value; it takes"):
        load_site_config(write_site(site_yaml))


@pytest.mark.parametrize("key", RANGES)
@pytest.mark.parametrize("side", [0, 1])
def test_number_out_of_range_is_refused(
    site_yaml: dict[str, Any], write_site: Callable[..., Path], key: str, side: int
) -> None:
    end = RANGES[key][side]
    beyond = type(end)(end + (1 if side else -1))
    with pytest.raises(ConfigError, match=f"{key}=.*out of range"):
        load_site_config(write_site(changed(site_yaml, key, beyond)))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_budget_that_is_no_number_is_refused(
    site_yaml: dict[str, Any], write_site: Callable[..., Path], number: float
) -> None:
    with pytest.raises(ConfigError, match=r"budget\.epsilon=.*out of range"):
        load_site_config(write_site(changed(site_yaml, "budget.epsilon", number)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"site: [", r"is not YAML at line \d"),
        (b"site: north\nsite: south\n", "is not YAML at line 2 .found duplicate key site"),
        (b"- site\n", "holds no keys"),
        (b"", "site: has no value"),
        (b"site: n\xff", "is not UTF-8"),
    ],
)
def test_file_that_is_no_site_yaml_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load_site_config(path)


def test_missing_file_names_the_example(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read .*copy configs/site\.example\.yaml"):
        load_site_config(tmp_path / "none.yaml")
