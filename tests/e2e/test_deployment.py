"""A server and three hospitals as separate processes on loopback, over TLS: they train, one refuses, they search.

Everything is done once, and looked at from all sides: starting a dozen processes is what takes the time.
"""

from __future__ import annotations

import csv
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from client.search.desk import local_now
from client.search.told_handles import open_handles
from client.state_folder import LEDGER_FILE
from common.evidence.log_entries import Kind, LogEntry, line_from_bytes
from common.evidence.log_files import LOG_FILE
from common.files import sha256_hex, write_atomically
from common.ledger.entries import Reserved
from common.ledger.read import read_books
from common.model import load_model
from common.model.graphs import IMAGE_GRAPH, MOST_DIFFERENCE, REPORT_GRAPH
from common.trust.keys import SigningKey
from server.deploy.runs import RunFolder, Standing, all_runs
from server.report.summary import validate
from simulations.deployment.loopback import Loopback
from tests.e2e.deployed import RUN, check_evidence, check_only_rounds_in_flight_were_lost, joined

pytestmark = pytest.mark.timeout(900)  # a dozen processes on two cores, beside another test

WORDS = "zyzzogeton: large left pleural effusion"
"""A word that no report and no log holds unless the question's text leaves the hospital."""


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What was done, in this order; all processes have ended.

    Attributes:
        loopback: The consortium; the last of its hospitals did not approve the second run.
        trained: Summary of a run of three rounds, of all hospitals.
        refused: How a run ended that one hospital refused, and that lets no hospital lose.
        by_words: What the first hospital found by words, by the channel of the first run.
        by_picture: What it found by a picture of its own.
        without_one: What it found by words after the last hospital was stopped.
    """

    loopback: Loopback
    trained: dict[str, Any]
    refused: subprocess.CompletedProcess[str]
    by_words: dict[str, Any]
    by_picture: dict[str, Any]
    without_one: dict[str, Any]

    @property
    def runs(self) -> tuple[RunFolder, RunFolder]:
        """The folders of both runs."""
        first, second = all_runs(self.loopback.centre)
        return first, second


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    with tempfile.TemporaryDirectory(prefix="wardround-") as folder:
        yield _all_done(joined(Path(folder)))


def _all_done(loopback: Loopback) -> Deployed:
    *willing, unwilling = loopback.sites
    run = ("server", "run", loopback.bundle, "--config", loopback.consortium_file, "--json")
    with loopback.running():
        loopback.make_bundle(RUN, "federation.rounds=3")
        loopback.approve()
        trained = json.loads(loopback.command(*run))
        # The run waits for all members, as long as a round may take, before it begins without one. The patients of the
        # unwilling one are told nothing of, so that this run, which lets no hospital lose, withholds its model.
        overrides = ("federation.rounds=1", "federation.deadline_seconds=15", "fairness.no_site_worse=true")
        loopback.make_bundle(RUN, *overrides)
        loopback.approve(willing)
        refused = loopback.attempt(*run)
        first, _ = all_runs(loopback.centre)
        loopback.open_search(first)
        asker = willing[0]
        by_words = loopback.search(asker, "--text", WORDS, "--k", "5")
        by_picture = loopback.search(asker, "--image", next((loopback.folder / asker / "studies").rglob("*.png")))
        loopback.stop([unwilling])
        without_one = loopback.search(asker, "--text", WORDS)
        loopback.close_search(first)
    return Deployed(
        loopback=loopback,
        trained=trained,
        refused=refused,
        by_words=by_words,
        by_picture=by_picture,
        without_one=without_one,
    )


def test_three_hospitals_train_over_tls(deployed: Deployed) -> None:
    summary = deployed.trained
    validate(summary)
    sites = deployed.loopback.sites
    assert (summary["status"], summary["rounds_completed"], summary["engine"]) == ("completed", 3, "deployment")
    assert {name: site["rounds_joined"] for name, site in summary["sites"].items()} == dict.fromkeys(sites, 3)
    assert all(0 < site["epsilon"] <= 8.01 for site in summary["sites"].values())
    assert all(site["epsilon_alone"] > site["epsilon"] for site in summary["sites"].values())
    assert "hospitals, over TLS" in (deployed.runs[0].path / "report.html").read_text(encoding="utf-8")


def test_every_ledger_says_who_shared_the_noise_of_each_round(deployed: Deployed) -> None:
    """And names the entry of the server's log that opened it."""
    loopback, run = deployed.loopback, deployed.trained["config_digest"]
    opened = [
        sha256_hex(entry.as_bytes())
        for entry in _entries_of(loopback.centre / "log")
        if entry.kind is Kind.ROUND_OPENED and entry.fields["run"] == run
    ]
    for site in loopback.sites:
        bodies = [entry.body for entry in read_books(loopback.state(site) / LEDGER_FILE)]
        shared = [body.shared for body in bodies if isinstance(body, Reserved) and body.run == run and body.shared]
        assert [one.context for one in shared] == opened[:3]
        assert all((one.peers, one.absent, one.colluding) == (2, 0, 1) for one in shared)


def test_nothing_of_a_patient_is_at_the_server(deployed: Deployed) -> None:
    """No report's words, patient or study identifier of a hospital lies in the server's folder or output."""
    loopback = deployed.loopback
    manifest = (loopback.folder / loopback.sites[0] / "studies" / "manifest.csv").read_text(encoding="utf-8")
    study, patient = manifest.splitlines()[1].split(",")[:2]
    for path in [*_files_in(loopback.centre), loopback.log_file("server")]:
        content = path.read_bytes()
        assert study.encode() not in content, path
        assert patient.encode() not in content, path


def test_hospital_that_did_not_approve_refuses_and_the_others_go_on(deployed: Deployed) -> None:
    *willing, unwilling = deployed.loopback.sites
    ended, (_, second) = deployed.refused, deployed.runs
    summary: dict[str, Any] = json.loads(ended.stdout)
    validate(summary)
    assert (summary["status"], summary["published"]) == ("completed", "start")
    assert (ended.returncode, summary["release"]["decision"]) == (1, "withheld")
    assert ended.stderr.strip().endswith(summary["release"]["reason"])
    assert second.outcome is not None
    assert (second.standing, second.outcome.exit_code) == (Standing.COMPLETED, 1)
    joined_in = {name: site["rounds_joined"] for name, site in summary["sites"].items() if site["rounds_joined"]}
    assert joined_in == dict.fromkeys(willing, 1)
    log = _entries_of(deployed.loopback.state(unwilling) / "log")
    assert {entry.fields["reason"] for entry in log if entry.kind is Kind.REFUSAL} == {"bundle"}


def test_hospitals_find_each_others_studies_and_say_who_is_silent(deployed: Deployed) -> None:
    first, second, last = deployed.loopback.sites
    by_words, by_picture, without_one = deployed.by_words, deployed.by_picture, deployed.without_one
    assert (by_words["sites_answered"], by_words["silent"]) == ([first, second, last], [])
    assert not by_words["partial"]
    assert {hit["site"] for hit in by_picture["hits"]} >= {first}
    assert min(hit["distance"] for hit in by_picture["hits"] if hit["site"] == first) == 0, "its own picture"
    assert without_one["partial"]
    assert without_one["sites_answered"] == [first, second]
    assert [(one["site"], one["reason"]) for one in without_one["silent"]] in ([(last, "offline")], [(last, "late")])
    log = _entries_of(deployed.loopback.state(second) / "log")
    assert [entry.fields["asker"] for entry in log if entry.kind is Kind.QUESTION_ANSWERED] == [first] * 3
    released = [entry for entry in log if entry.kind is Kind.RELEASE and entry.fields["release"] == "found"]
    assert [entry.fields["mechanism"] for entry in released] == ["search_answer"] * 3


def test_handle_opens_at_home_alone_and_only_with_a_reason(deployed: Deployed) -> None:
    loopback, told = deployed.loopback, _told_of_the_second(deployed)
    elsewhere, home, _ = loopback.sites
    opened = loopback.command("site", "resolve", told, "--config", loopback.site_file(home), "--reason", "tumour board")
    with (loopback.folder / home / "studies" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        assert opened.strip() in {row["study_id"] for row in csv.DictReader(file)}
    (line,) = (loopback.state(home) / "opened.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "tumour board"
    for handle, site in ((told, elsewhere), ("../../etc/passwd", home), ("A" * 64, home)):
        refused = loopback.attempt("site", "resolve", handle, "--config", loopback.site_file(site), "--reason", "x")
        assert refused.returncode == 2
        assert "none of this hospital" in refused.stderr


def test_nothing_but_codes_and_handles_leaves_a_hospital_that_searches(deployed: Deployed) -> None:
    """The words are in no file, a study's own handle and a picture in none of another hospital."""
    loopback = deployed.loopback
    drawn, (first, second, _) = loopback.folder / "cohort", loopback.sites
    files = [path for path in _files_in(loopback.folder) if not path.is_relative_to(drawn)]
    assert len(files) > 100
    assert not [path for path in files if b"zyzzogeton" in path.read_bytes()]
    own = open_handles(loopback.state(second), days=10_000)
    handle = bytes.fromhex(own.own(_told_of_the_second(deployed), today=local_now().date()))
    elsewhere = [path.read_bytes() for path in files if not path.is_relative_to(loopback.folder / second)]
    assert not [content for content in elsewhere if handle in content or handle.hex().encode() in content]
    away = [path.read_bytes() for path in files if not path.is_relative_to(loopback.folder / first)]
    pictures = [path.read_bytes() for path in list((loopback.folder / first / "studies").rglob("*.png"))[:20]]
    assert not [content for content in away if any(picture in content for picture in pictures)]


def test_all_that_is_signed_holds_and_a_changed_report_does_not(deployed: Deployed) -> None:
    loopback, (first, second) = deployed.loopback, deployed.runs
    # The hospitals' logs are newer than the server's copy in the second run's folder; with the first's, by whose
    # channel they searched, they fit.
    loopback.command("audit", "run", second.path)
    check_evidence(loopback, first)
    for run in (first, second):
        check_only_rounds_in_flight_were_lost(run)
    report = loopback.folder / "evidence" / "report.html"
    report.write_text(report.read_text(encoding="utf-8").replace("completed", "Completed") + " ", encoding="utf-8")
    assert loopback.attempt("audit", "run", loopback.folder / "evidence").returncode == 4


def test_models_of_both_runs_are_signed_by_the_server_and_the_first_is_the_same_by_onnx(deployed: Deployed) -> None:
    """The second run stands for its public start; so may the first, by chance: no config seeds its noise."""
    loopback = deployed.loopback
    key, other = (loopback.folder / f"{name}.pem" for name in ("server", "other"))
    server = SigningKey.load(loopback.centre / "signing_key.pem").public
    key.write_bytes(server.pem)
    other.write_bytes(SigningKey.fresh().public.pem)
    summaries = deployed.trained, json.loads(deployed.refused.stdout)
    folders = loopback.folder / "exported", loopback.folder / "withheld"
    for run, folder, options, summary in zip(deployed.runs, folders, (["--onnx"], []), summaries, strict=True):
        loopback.take_model(run, folder, *options)
        found = json.loads(loopback.command("model", "verify", folder, "--public-key", key, "--json"))
        assert found["key_known"]
        assert found["signed"]["key"] == server.hex
        assert found["signed"]["covers_weights"] == (summary["published"] != "start")
        assert loopback.attempt("model", "verify", folder, "--public-key", other).returncode == 4
    exported, _ = folders
    _check_graphs(exported, next((loopback.folder / loopback.sites[0]).rglob("*.png")))
    graph = exported / IMAGE_GRAPH
    content = graph.read_bytes()
    write_atomically(graph, content[:-1] + bytes([content[-1] ^ 1]))
    assert loopback.attempt("model", "verify", exported, "--public-key", key).returncode == 4


def _check_graphs(folder: Path, picture: Path) -> None:
    """Embeddings within rounding, codes bit for bit but at ties."""
    onnxruntime, model = pytest.importorskip("onnxruntime"), load_model(folder)
    texts = ["Large left pleural effusion.", "No acute finding.", "Nodule in the right upper lobe, stable since 2021."]
    with PIL.Image.open(picture) as image:
        pixels = np.asarray(image.convert("L"))
    kinds = {
        IMAGE_GRAPH: (model.encoder.image_prefix().prepare([pixels]), model.images([PIL.Image.fromarray(pixels)])),
        REPORT_GRAPH: (model.encoder.report_prefix().prepare(texts), model.texts(texts)),
    }
    for graph, (inputs, wanted) in kinds.items():
        session = onnxruntime.InferenceSession(folder / graph, providers=["CPUExecutionProvider"])
        embeddings, relaxed = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        assert np.abs(embeddings - wanted.embeddings).max() < MOST_DIFFERENCE
        clear = np.abs(wanted.relaxed) > MOST_DIFFERENCE
        assert ((relaxed >= 0) == (wanted.relaxed >= 0))[clear].all()


def _told_of_the_second(deployed: Deployed) -> str:
    """A handle that the second hospital told the first."""
    second = deployed.loopback.sites[1]
    return next(str(hit["handle"]) for hit in deployed.by_words["hits"] if hit["site"] == second)


def _entries_of(folder: Path) -> list[LogEntry]:
    """The entries of a log that nobody has open."""
    return [line_from_bytes(line).entry for line in (folder / LOG_FILE).read_bytes().splitlines()]


def _files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
