"""The model of a deployed run, taken out of its folder: signed by the server, whole, and the same by ONNX."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from common.files import write_atomically
from common.model import Model, load_model
from common.model.graphs import IMAGE_GRAPH, MOST_DIFFERENCE, REPORT_GRAPH
from common.trust.keys import SigningKey
from server.deploy.runs import RunFolder, all_runs
from simulations.deployment.loopback import Loopback
from tests.e2e.deployed import RUN

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

TEXTS = ["Large left pleural effusion.", "No acute finding.", "Nodule in the right upper lobe, stable since 2021."]


def test_model_of_a_deployed_run_is_exported_verified_and_encodes_alike_by_onnx(loopback: Loopback) -> None:
    with loopback.running():
        loopback.make_bundle(RUN, "federation.rounds=1")
        loopback.approve()
        loopback.run()
    (run,) = all_runs(loopback.centre)
    check_model(loopback, run)


def check_model(loopback: Loopback, run: RunFolder) -> None:
    """Export it with its graphs, verify it with the right key and with another, and encode with both."""
    folder = loopback.folder / "exported"
    loopback.command("model", "export", run.path, "--out", folder, "--onnx")
    key, other = (loopback.folder / f"{name}.pem" for name in ("server", "other"))
    server = SigningKey.load(loopback.centre / "signing_key.pem").public
    key.write_bytes(server.pem)
    other.write_bytes(SigningKey.fresh().public.pem)
    found = json.loads(loopback.command("model", "verify", folder, "--public-key", key, "--json"))
    assert found["key_known"]
    assert (found["signed"]["key"], found["signed"]["covers_weights"]) == (server.hex, True)
    assert loopback.attempt("model", "verify", folder, "--public-key", other).returncode == 4
    _check_graphs(load_model(folder), folder, next((loopback.folder / loopback.sites[0]).rglob("*.png")))
    graph = folder / IMAGE_GRAPH
    content = graph.read_bytes()
    write_atomically(graph, content[:-1] + bytes([content[-1] ^ 1]))
    assert loopback.attempt("model", "verify", folder, "--public-key", key).returncode == 4


def _check_graphs(model: Model, folder: Path, picture: Path) -> None:
    """Embeddings within rounding, codes bit for bit but at ties."""
    onnxruntime = pytest.importorskip("onnxruntime")
    with PIL.Image.open(picture) as image:
        pixels = [np.asarray(image.convert("L"))]
    kinds = {
        IMAGE_GRAPH: (model.encoder.image_prefix().prepare(pixels), model.images([PIL.Image.fromarray(pixels[0])])),
        REPORT_GRAPH: (model.encoder.report_prefix().prepare(TEXTS), model.texts(TEXTS)),
    }
    for graph, (inputs, wanted) in kinds.items():
        session = onnxruntime.InferenceSession(folder / graph, providers=["CPUExecutionProvider"])
        embeddings, relaxed = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        assert np.abs(embeddings - wanted.embeddings).max() < MOST_DIFFERENCE
        clear = np.abs(wanted.relaxed) > MOST_DIFFERENCE
        assert ((relaxed >= 0) == (wanted.relaxed >= 0))[clear].all()
