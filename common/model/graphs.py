"""Both towers as ONNX graphs, whole: from what an image or a text is prepared to, to embedding and code.

`image.onnx` and `report.onnx` have an input for each that `Prefix.prepare` gives and two outputs: `embeddings` `[B, D]`
of unit length, and `relaxed_codes` `[B, K]`; a bit is 1 where its value is zero or more. Frozen networks are in them.
The tokenizer of `encoder.name=pretrained` lies beside them; that of `hub` is in its folder.

Each is checked before it counts: by ONNX itself, and by running it beside the model on examples of several lengths.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.encoders.dual import Embedded
from common.encoders.interface import Prefix
from common.encoders.pretrained import report_folder
from common.errors import CheckFailed, ConfigError
from common.model.golden import golden_image, golden_text
from common.model.model import Model

IMAGE_GRAPH, REPORT_GRAPH, TOKENIZER_FILE = "image.onnx", "report.onnx", "tokenizer.json"
OUTPUTS = ("embeddings", "relaxed_codes")
OPSET = 18
MOST_DIFFERENCE = 1e-4
"""Of a graph's outputs from the model's; a bit nearer to zero than that is a tie."""
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


@dataclass(frozen=True)
class _Examples:
    """Inputs of a graph: one batch to draw it with, and others to hold it against the model."""

    drawn: Mapping[str, Tensor]
    others: tuple[Mapping[str, Tensor], ...]


class _Graph(nn.Module):
    """Prepared inputs to embedding and relaxed code."""

    def __init__(
        self, network: nn.Module, frozen: nn.Module, tower: nn.Module, embed: Callable[[Tensor], Embedded]
    ) -> None:
        super().__init__()
        self.network, self.frozen, self.tower = network, frozen, tower
        self._embed = embed

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        found = self._embed(self.frozen(self.network(*inputs)))
        return found.embedding, found.code


def check_installed() -> None:
    """Return where graphs can be written here.

    Raises:
        ConfigError: A package is not installed.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"--onnx: needs {', '.join(missing)}; run: pip install 'wardround[onnx]'")


def write_graphs(model: Model, folder: Path) -> None:
    """Write both graphs, and the tokenizer where there is one.

    Raises:
        CheckFailed: A graph does not do what the model does.
        OSError: The disk refuses it.
    """
    image, report, dual = model.encoder.image_prefix(), model.encoder.report_prefix(), model.dual
    seeing = _Graph(image.network, model.frozen.image, dual, dual.embed_images)
    _write(seeing, _examples(image, golden_image), folder / IMAGE_GRAPH)
    reading = _Graph(report.network, model.frozen.report, dual, dual.embed_reports)
    _write(reading, _examples(report, _text), folder / REPORT_GRAPH)
    if model.form.encoder.name == "pretrained":
        shutil.copyfile(report_folder() / TOKENIZER_FILE, folder / TOKENIZER_FILE)


def _examples(prefix: Prefix[Any], item: Callable[[int], Any]) -> _Examples:
    batches = ([item(number) for number in numbers] for numbers in ((0, 3, 5), (1,), (2, 4, 6, 7, 8)))
    drawn, *others = (prefix.prepare(batch) for batch in batches)
    return _Examples(drawn, (drawn, *others))


def _text(number: int) -> str:
    return golden_text(number) * (1 + 3 * number)


def _write(graph: _Graph, examples: _Examples, path: Path) -> None:
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph.eval(),
            tuple(examples.drawn.values()),
            dynamo=True,
            input_names=list(examples.drawn),
            output_names=list(OUTPUTS),
            dynamic_shapes=(tuple(_free_dimensions(value) for value in examples.drawn.values()),),
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
        if program is None:
            raise CheckFailed(f"{path.name}: torch gave no graph; export without --onnx")
        program.save(path)
    _check(graph, examples, path)


def _free_dimensions(value: Tensor) -> dict[int, Any]:
    """The number of items is free, and that of tokens where the model leaves it so."""
    free = {0: torch.export.Dim.AUTO}
    return free | {1: torch.export.Dim.AUTO} if value.ndim == 2 else free


def _check(graph: _Graph, examples: _Examples, path: Path) -> None:
    """Return where a graph is a valid one, and does what the model does.

    Raises:
        CheckFailed: It is not, or does something else.
    """
    import onnx
    import onnxruntime

    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for inputs in examples.others:
        with torch.no_grad():
            wanted = [output.numpy() for output in graph(*inputs.values())]
        found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        differ = max(float(np.abs(a - b).max()) for a, b in zip(wanted, found, strict=True))
        flipped = ((wanted[1] >= 0) != (found[1] >= 0)) & (np.abs(wanted[1]) > MOST_DIFFERENCE)
        if not differ <= MOST_DIFFERENCE or flipped.any():
            raise CheckFailed(
                f"{path.name}: its outputs differ by {differ:.2g} from the model's, at most {MOST_DIFFERENCE:g} is "
                "taken; export without --onnx"
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter remarks on what it finds, such as that torchvision is not there, and means no harm."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
