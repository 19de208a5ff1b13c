"""Backbones of KerasHub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import transferkit as tk

keras_hub = pytest.importorskip("keras_hub", reason="needs the extra `hub`")


def test_vision_transformer_trains(synthetic: Path, tmp_path: Path) -> None:
    model = keras_hub.models.ViTBackbone(
        image_shape=(64, 64, 3), patch_size=16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64
    )
    backbone = tk.BackboneFactory.create(model, preprocessing="tf")
    data = tk.DatasetBuilder(synthetic, image_size=64, batch_size=16).build()
    assert backbone.features(data.files["train"][:3]).shape == (3, 32)
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2)), learning_rate=1e-3)
    assert trainer.plan(data).trained_on == "features"
    trainer.fit(data, epochs=1, verbose=0)
    trainer.fine_tune(data, epochs=1, fraction=0.5, verbose=0)
    trainer.save(tmp_path / "vit")
    paths = data.files["validation"]
    for loaded, original in zip(tk.load(tmp_path / "vit").predict(paths), trainer.predict(paths)):
        np.testing.assert_allclose(loaded.probability_array, original.probability_array, atol=1e-5)
