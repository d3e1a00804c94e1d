"""A model's folder: loads anywhere with one call, gives an item the same code, and tells what was changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import wardround
from common.errors import CheckFailed, ConfigError, TrustError, WardroundError
from common.files import sha256_of_file
from common.model import Model, graphs, load_model
from common.model.folder import written_whole
from common.model.form import FILES_FILE, FORM_FILE, GOLDEN_FILE, RELEVANCE_FILE, WEIGHTS_FILE, read_form
from common.model.golden import check_golden, golden_of
from common.model.graphs import IMAGE_GRAPH, REPORT_GRAPH, write_graphs
from common.model.relevance import read_relevance, write_relevance
from common.model.verify import verify_model
from common.trust.keys import SigningKey
from common.types import UnusableRow

TEXTS = ["no effusion", "", "Heart size is normal. " * 40, "left mass"]


@pytest.fixture(scope="module")
def model(exported_model: Path) -> Model:
    return load_model(exported_model)


def pictures(number: int) -> list[PIL.Image.Image]:
    generator = np.random.default_rng(0)
    sizes = [(20 + 7 * row % 90, 64) for row in range(number)]
    return [PIL.Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)) for size in sizes]


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def listed_anew(folder: Path) -> None:
    """What somebody does who changes a file and knows of the list."""
    (folder / FILES_FILE).unlink()
    with written_whole(folder.with_name("listed")) as beside:
        shutil.copytree(folder, beside, dirs_exist_ok=True)
    shutil.rmtree(folder)
    folder.with_name("listed").rename(folder)


def test_model_loads_without_flower_opacus_and_omegaconf(exported_model: Path, model: Model) -> None:
    script = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"flwr", "opacus", "omegaconf", "dp_accounting", "faiss", "pydicom", "typer"}:
            raise ImportError(f"blocked: {name}")
sys.meta_path.insert(0, Blocked())
from pathlib import Path
from common.model import load_model
print(load_model(Path(sys.argv[1])).encode_texts(["left mass"]).tobytes().hex())
try:
    import common.config.load
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(exported_model)],
        cwd=Path(wardround.__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    code, blocked = done.stdout.split("\n")[:2]
    assert code == model.encode_texts(["left mass"]).tobytes().hex()
    assert blocked.startswith("blocked: "), "the control: what is blocked cannot be imported"


def test_codes_are_the_packed_signs_of_the_relaxed_ones(model: Model) -> None:
    found = model.texts(TEXTS)
    assert found.codes.shape == (len(TEXTS), model.bit_width // 8)
    assert found.codes.dtype == np.uint8
    for relaxed, code in zip(found.relaxed, found.codes, strict=True):
        assert "".join(f"{byte:08b}" for byte in code) == "".join("1" if value >= 0 else "0" for value in relaxed)
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, rtol=1e-5)
    assert found.embeddings.dtype == np.float32


@pytest.mark.parametrize("number", [0, 1, 31, 32, 33, 70])
def test_item_is_encoded_alike_whatever_is_beside_it(model: Model, number: int) -> None:
    images = pictures(number)
    found = model.images(images)
    assert found.codes.shape == (number, model.bit_width // 8)
    assert model.encode_images(images).shape == found.codes.shape
    for row in {0, number // 2, number - 1} if number else set():
        alone = model.images([images[row]])
        np.testing.assert_allclose(alone.embeddings[0], found.embeddings[row], atol=1e-5)
        flipped = (alone.relaxed[0] >= 0) != (found.relaxed[row] >= 0)
        assert not (flipped & (np.abs(found.relaxed[row]) > 1e-5)).any()


def test_file_and_open_picture_give_the_same_code(model: Model, tmp_path: Path) -> None:
    deep = PIL.Image.fromarray(np.linspace(0, 4095, 4096).astype(np.uint16).reshape(64, 64))
    colour = pictures(1)[0].convert("RGB")
    for number, picture in enumerate((deep, colour)):
        path = tmp_path / f"{number}.png"
        picture.save(path)
        assert (model.encode_images([path]) == model.encode_images([picture])).all()


def test_grey_range_of_deep_pictures_is_the_forms(model: Model, tmp_path: Path) -> None:
    deep = np.linspace(0, 2047, 4096).astype(np.uint16).reshape(64, 64)  # half of what 12 bits hold
    PIL.Image.fromarray(deep).save(tmp_path / "a.png")
    shown = replace(model, form=replace(model.form, pixel_bits=12)).grey(tmp_path / "a.png")
    assert np.abs(shown - deep / 16.06).max() <= 1
    assert model.grey(tmp_path / "a.png").max() == 255, "its own range, where none is declared"


def test_picture_that_cannot_be_one_is_refused(model: Model, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UnusableRow, match="cannot be decoded"):
        model.encode_images([tmp_path / "a.png"])
    with pytest.raises(UnusableRow, match="claims 70000 x 1000 pixels"):
        model.encode_images([PIL.Image.new("1", (70_000, 1000))])


def test_folder_that_holds_verifies(exported_model: Path, model: Model) -> None:
    found = verify_model(exported_model)
    assert found.digest == model.digest
    assert found.signed is None
    with pytest.raises(TrustError, match="that nobody signed"):
        verify_model(exported_model, known=[SigningKey.fresh().public])


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_any_file_is_found(
    exported_model: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = copied(exported_model, tmp_path_factory.mktemp("tampered") / "model")
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(TrustError, match=str(folder)):
        verify_model(folder)


def test_how_sure_of_another_model_is_found_and_of_an_older_folder_absent(exported_model: Path, tmp_path: Path) -> None:
    folder = copied(exported_model, tmp_path / "model")
    relevance = read_relevance(folder)
    assert relevance is not None
    write_relevance(folder, replace(relevance, model="0" * 64))
    with pytest.raises(TrustError, match=r"relevance\.json: is not the file that files\.json lists"):
        read_relevance(folder)
    listed_anew(folder)
    assert read_relevance(folder) is not None, "the list alone protects nothing from who changes it too"
    with pytest.raises(TrustError, match=r"relevance\.json: was measured with another model"):
        verify_model(folder)
    (folder / RELEVANCE_FILE).write_bytes(json.dumps(relevance.as_json(), indent=1).encode())
    listed_anew(folder)
    with pytest.raises(TrustError, match=r"relevance\.json: is not written as it is made"):
        read_relevance(folder)
    (folder / RELEVANCE_FILE).unlink()
    with pytest.raises(TrustError, match=r"relevance\.json: is not the file that files\.json lists"):
        read_relevance(folder)
    listed_anew(folder)
    assert read_relevance(folder) is None
    assert not verify_model(folder).tells_how_sure


def test_file_too_many_or_missing_is_found(exported_model: Path, tmp_path: Path) -> None:
    folder = copied(exported_model, tmp_path / "model")
    (folder / "extra.py").touch()
    with pytest.raises(TrustError, match=r"extra\.py: is not a file of the model"):
        verify_model(folder)
    (folder / "extra.py").unlink()
    (folder / GOLDEN_FILE).unlink()
    with pytest.raises(TrustError, match=r"golden\.json: is missing"):
        verify_model(folder)


def test_changed_weights_with_a_list_made_anew_are_found(exported_model: Path, tmp_path: Path) -> None:
    folder = copied(exported_model, tmp_path / "model")
    weights = load_file(folder / WEIGHTS_FILE)
    save_file({**weights, "trained/hash_head.weight": -weights["trained/hash_head.weight"]}, folder / WEIGHTS_FILE)
    listed_anew(folder)
    with pytest.raises(TrustError, match=r"weights\.safetensors: is not the file that model\.json names"):
        load_model(folder)
    form = replace(read_form(exported_model), weights=sha256_of_file(folder / WEIGHTS_FILE))
    (folder / FORM_FILE).write_bytes(form.as_bytes())
    listed_anew(folder)
    assert load_model(folder).digest != load_model(exported_model).digest
    with pytest.raises(TrustError, match="makes another code of its example"):
        verify_model(folder)


@pytest.mark.parametrize("change", ["nan", "shape", "name"])
def test_weights_of_no_such_model_are_refused(exported_model: Path, tmp_path: Path, change: str) -> None:
    folder = copied(exported_model, tmp_path / "model")
    weights = load_file(folder / WEIGHTS_FILE)
    name = "trained/hash_head.weight"
    if change == "nan":
        weights[name][0, 0] = np.nan
    elif change == "shape":
        weights[name] = weights[name][:-1]
    else:
        weights["trained/other"] = weights[name]
    save_file(weights, folder / WEIGHTS_FILE)
    form = replace(read_form(exported_model), weights=sha256_of_file(folder / WEIGHTS_FILE))
    (folder / FORM_FILE).write_bytes(form.as_bytes())
    with pytest.raises(TrustError, match=r"not finite|not those of the model's form"):
        load_model(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"bit_width": 65},
        {"bit_width": "64"},
        {"pixel_bits": 1 << 40},
        {"encoder": {}},
        {"weights": "../x"},
        {"more": 1},
        {"encoder.name": "other"},
        {"encoder.image_path": "/etc"},
    ],
    ids=str,
)
def test_form_that_is_none_is_refused(exported_model: Path, tmp_path: Path, change: dict[str, object]) -> None:
    folder = copied(exported_model, tmp_path / "model")
    form = json.loads((folder / FORM_FILE).read_bytes())
    for name, value in change.items():
        outer, _, inner = name.partition(".")
        if inner:
            form[outer][inner] = value
        else:
            form[name] = value
    (folder / FORM_FILE).write_text(json.dumps(form))
    with pytest.raises(TrustError, match=FORM_FILE):
        load_model(folder)


def test_folder_without_a_model_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no model"):
        load_model(tmp_path)
    with pytest.raises(ConfigError, match="holds no model"):
        verify_model(tmp_path / "nowhere")


def test_example_lies_clear_of_ties_and_tells_other_arithmetic(exported_model: Path, model: Model) -> None:
    for name, found in golden_of(model).items():
        assert len(found.code) * 4 == model.bit_width, name
    check_golden(model, exported_model)
    broken = replace(model, form=replace(model.form, pixel_bits=0), encoder=_Mirrored(model))
    with pytest.raises(TrustError, match=r"another code of its example \(image\)"):
        check_golden(broken, exported_model)


class _Mirrored:
    """An encoder whose preprocessing changed."""

    def __init__(self, model: Model) -> None:
        self._encoder = model.encoder

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    def image_features(self, images: list[np.ndarray]) -> object:
        return self._encoder.image_features([image[:, ::-1].copy() for image in images])


def test_graphs_do_what_the_model_does(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    write_graphs(model, tmp_path)
    opsets = {one.domain: one.version for one in onnx.load(tmp_path / REPORT_GRAPH).opset_import}
    assert opsets[""] == graphs.OPSET
    session = onnxruntime.InferenceSession(tmp_path / IMAGE_GRAPH, providers=["CPUExecutionProvider"])
    images = pictures(9)
    inputs = model.encoder.image_prefix().prepare([np.asarray(image) for image in images])
    embeddings, relaxed = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    wanted = model.images(images)
    assert np.abs(embeddings - wanted.embeddings).max() < 1e-4
    clear = np.abs(wanted.relaxed) > 1e-4
    assert ((relaxed >= 0) == (wanted.relaxed >= 0))[clear].all()
    monkeypatch.setattr(graphs, "MOST_DIFFERENCE", -1.0)  # the control: the check can fail
    with pytest.raises(CheckFailed, match="its outputs differ"):
        write_graphs(model, tmp_path)


def test_graphs_without_their_packages_are_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(WardroundError, match=r"needs no_such_package; run: pip install 'wardround\[onnx\]'"):
        graphs.check_installed()
