"""A format whose package is not installed: the error names the extra, and nothing is written."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

import transferkit as tk
from tests.exporting.conftest import make_predictor
from tests.packages import skip_without

PATHS = {"onnx": "model.onnx", "litert": "model.tflite", "openvino": "model"}


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Make a package look as if it was not installed."""
    find = importlib.util.find_spec

    def find_other(name: str, *arguments: Any) -> Any:
        return None if name.split(".")[0] == package else find(name, *arguments)

    monkeypatch.setattr(importlib.util, "find_spec", find_other)
    for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(
    ("name", "package"),
    [("onnx", "onnxruntime"), ("onnx", "tf2onnx"), ("litert", "ai_edge_litert"), ("openvino", "openvino")],
)
def test_export_names_the_extra(name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = make_predictor()
    hide(monkeypatch, package)
    with pytest.raises(tk.MissingExtraError, match=rf'pip install "transferkit\[{name}\]"'):
        tk.export(predictor, tmp_path / PATHS[name], format=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "package"), [("onnx", "onnxruntime"), ("litert", "ai_edge_litert"), ("openvino", "openvino")]
)
def test_load_names_the_extra(name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without(package)
    tk.export(make_predictor(), tmp_path / PATHS[name], format=name)
    tk.load(tmp_path / PATHS[name])  # What was imported once must not answer for a package that is gone.
    hide(monkeypatch, package)
    with pytest.raises(tk.MissingExtraError, match=rf'pip install "transferkit\[{name}\]"'):
        tk.load(tmp_path / PATHS[name])
