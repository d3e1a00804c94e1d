"""Rules that every file of the library keeps: no pickle, no print, no assert, a docstring for each package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import wardround

ROOT = Path(wardround.__file__).parent
FOLDERS = ("common", "strategies", "server", "client", "simulations", "configs")
SOURCES = sorted([ROOT / "wardround.py", *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))])
UNSAFE_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def problems(source: str) -> Iterator[str]:
    """What a library file must not hold."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert):
            yield f"line {node.lineno}: assert"
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (f"line {node.lineno}: imports {name}" for name in names if name.split(".")[0] in UNSAFE_MODULES)  # type: ignore[attr-defined]
        if isinstance(node, ast.Call):
            yield from _calls(node)


def _calls(node: ast.Call) -> Iterator[str]:
    called = ast.unparse(node.func)
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if called == "print":
        yield f"line {node.lineno}: print"
    if called == "torch.load" and options.get("weights_only") != "True":
        yield f"line {node.lineno}: torch.load without weights_only=True"
    if called in {"np.load", "numpy.load"} and options.get("allow_pickle", "False") != "False":
        yield f"line {node.lineno}: numpy.load with allow_pickle"
    if called in {"eval", "exec", "yaml.load", "yaml.unsafe_load", "torch.save"}:
        yield f"line {node.lineno}: {called}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_keeps_the_rules(path: Path) -> None:
    assert list(problems(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, pickle.other",
        "from joblib import dump",
        "def f():\n    import dill",
        "print(1)",
        "assert True",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "eval('1')",
    ],
)
def test_rules_catch_what_they_forbid(source: str) -> None:
    assert list(problems(source))


@pytest.mark.parametrize(
    "source", ["torch.load(path, weights_only=True)", "model.eval()", "np.load(path)", "yaml.safe_load(text)"]
)
def test_rules_let_the_rest_pass(source: str) -> None:
    assert list(problems(source)) == []


def test_every_source_folder_is_found() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == {"wardround.py", *FOLDERS}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_opens_with_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_folder_of_sources_is_a_package() -> None:
    assert {path.parent for path in SOURCES} - {ROOT} == {path.parent for path in SOURCES if path.name == "__init__.py"}
