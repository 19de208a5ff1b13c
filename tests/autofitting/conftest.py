"""Synthetic images and small backbones for searches."""

from __future__ import annotations

from pathlib import Path

import pytest

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.autofitting import sources


@pytest.fixture(autouse=True)
def keras_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure backbones with Keras: the conversion for another engine takes seconds in each test."""
    compile_engine = sources.compile_engine
    monkeypatch.setattr(sources, "compile_engine", lambda model, count: compile_engine(model, engine="keras"))


def small_backbone(name: str = "small") -> tk.Backbone:
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    backbone.name = name
    return backbone


@pytest.fixture(scope="session")
def data(synthetic: Path) -> tk.Data:
    """40 training and 20 validation images, without a test split."""
    return tk.DatasetBuilder(synthetic, image_size=32, batch_size=16, progress=False).build()
