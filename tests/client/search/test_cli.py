"""`site index` and `audit index`, as a hospital types them; the model is a stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.policy.site_schema import SiteConfig
from client.search.generation import search_folder
from client.state_folder import KEY_FILE
from common.trust.keys import SigningKey
from tests.client.search.conftest import NUM_PATIENTS, Run


def test_index_is_built_withdrawn_from_and_audited(
    run: Run, config: Path, site: SiteConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("site", "index", "--config", config, "--model", tmp_path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["studies"], told["encoded"], told["left_out"]) == (NUM_PATIENTS + 1, NUM_PATIENTS + 1, 1)
    assert run("site", "index", "--config", config, "--withdraw-patient", "p0", "--withdraw-study", "s1") == 0
    assert f"In the index: {NUM_PATIENTS - 2} studies" in (said := capsys.readouterr().out)
    public = tmp_path / "public.pem"
    public.write_bytes(SigningKey.load(site.state_folder / KEY_FILE).public.pem)
    assert run("audit", "index", search_folder(site), "--public-key", public, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["signature_checked"]
    assert found["root"] in said
    assert all(check["holds"] for check in found["checks"])
    assert {"images", "handles", "withdrawn", "order", "nothing withdrawn"} <= {row["name"] for row in found["checks"]}
    assert run("audit", "index", search_folder(site)) == 0
    assert "not looked at" in capsys.readouterr().out
    assert run("site", "index", "--config", config, "--withdraw-study", "typo") == 0
    assert "Nothing that was named is in the index" in capsys.readouterr().out


def test_audit_names_the_damaged_file_in_one_line(
    run: Run, config: Path, site: SiteConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("site", "index", "--config", config, "--model", tmp_path)
    (path,) = search_folder(site).rglob("images")
    content = bytearray(path.read_bytes())
    content[0] ^= 128
    path.write_bytes(content)
    capsys.readouterr()
    assert run("audit", "index", search_folder(site)) == 4
    said = capsys.readouterr()
    assert said.err.startswith(f"wardround: {path}: is not what was written; delete search/head.json")
    assert len(said.err.splitlines()) == 1
    assert run("site", "index", "--config", config, "--model", tmp_path) == 4
    (search_folder(site) / "head.json").unlink()
    assert run("site", "index", "--config", config, "--model", tmp_path) == 0, "the remedy is one"
    assert run("audit", "index", search_folder(site)) == 0


def test_audit_finds_a_withdrawn_study_that_was_put_back_and_signed(
    run: Run, config: Path, site: SiteConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from client.search.generation import alone, read_head, read_studies

    run("site", "index", "--config", config, "--model", tmp_path)
    folder, key = search_folder(site), SigningKey.load(site.state_folder / KEY_FILE)
    head = read_head(folder, key=key.public)
    studies, _ = read_studies(folder, head)
    with alone(folder, site=site.site, key=key) as writer:
        writer.write(studies, withdrawn=studies.patients[:1], model=head.model, bit_width=64, source="")
    assert run("audit", "index", folder) == 4
    assert "holds a study that was withdrawn" in capsys.readouterr().err


def test_what_is_asked_for_wrongly_is_a_usage_error(
    run: Run, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        ((), "--model: has no value"),
        (("--model", tmp_path, "--withdraw-study", "s1"), "--model: is not needed to withdraw"),
        (("--withdraw-study", "s1"), "holds no index"),
    ):
        assert run("site", "index", "--config", config, *arguments) == 2
        assert said in capsys.readouterr().err
    assert run("audit", "index", tmp_path) == 2
    assert "holds no index" in capsys.readouterr().err
