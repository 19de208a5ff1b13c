"""Plans: how a phase will be trained, and what that costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import transferkit as tk
from tests.training.conftest import multi_label_data, small_classifier
from transferkit.data import Data
from transferkit.features import extraction
from transferkit.training.plan import CacheSettings, ExtractionCost


def test_plan_cost_counts_missing_rows(data: Data) -> None:
    model = small_classifier(tk.AugmentationBlock(flip="horizontal", rotation=0.2))
    trainer = tk.Trainer(model)
    training, validation = len(data.splits["train"]), len(data.splits["validation"])
    plan = trainer.plan(data)
    assert (plan.cost.num_rows, plan.cost.num_missing) == (training + validation,) * 2
    assert "1 view per training image (the original; num_views=2 adds an augmented one)" in str(plan)
    trainer.fit(data, epochs=1, verbose=0)
    assert trainer.plan(data).cost.num_missing == 0
    assert f"Cached: {training + validation:,} of {training + validation:,}." in str(trainer.plan(data))
    more = trainer.plan(data, num_views=2)
    # The original of each image is cached.
    assert (more.cost.num_rows, more.cost.num_missing) == (2 * training + validation, training)
    assert "2 views per training image (1 augmented)" in str(more)
    assert f"Cached: {training + validation:,} of {2 * training + validation:,}. Estimated extraction time:" in str(
        more
    )
    assert tk.Trainer(small_classifier(), cache=False).plan(data).cost is None


def test_plan_text(data: Data) -> None:
    images = len(data.splits["train"]) + len(data.splits["validation"])
    lines = str(tk.Trainer(small_classifier()).plan(data)).splitlines()
    assert lines[:5] == [
        "Mode: cached features",
        "Trainable parameters: 17",
        "Steps: 300 (100 epochs of 3)",
        "Feature shape: (16,), 0.1 kB per image",
        f"1 view per training image; {images:,} images, 0.0 MB",
    ]
    assert lines[5].startswith(f"Cached: 0 of {images:,}. Estimated extraction time: ") and len(lines) == 6


def test_plan_beyond_limit_trains_on_images(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), max_feature_bytes=100)
    assert "the limit is" in str(trainer.plan(data))
    trainer.fit(data, epochs=1, verbose=0)
    assert trainer.history.phases[0].trained_on == "images"


def test_plan_reasons_to_train_on_images(data: Data) -> None:
    assert tk.Trainer(small_classifier(), cache=False).plan(data).reason == "cache=False"
    trainer = tk.Trainer(small_classifier())
    trainer.fine_tune(data, epochs=1, unfreeze_from=0, verbose=0)
    plan = trainer.plan(data)
    assert (plan.trained_on, plan.reason) == ("images", "no part of the model is frozen")
    assert str(plan).startswith("Mode: training on images (no part of the model is frozen)")
    batches = tf.data.Dataset.from_tensor_slices((np.zeros((4, 32, 32, 3), "uint8"), [0, 1, 0, 1])).batch(2)
    stream = tk.DatasetBuilder(batches, validation=batches, image_size=32, class_names=["a", "b"]).build()
    plan = tk.Trainer(small_classifier()).plan(stream)
    assert plan.reason == "the images of a tf.data.Dataset are not known in advance"


def test_plan_partition_is_that_of_model(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(tk.AugmentationBlock(rotation=0.1)))
    partition = trainer.plan(data).partition
    assert partition.augmentation is trainer.model.get_layer("augmentation")
    assert partition.feature_shapes == [(16,)] and "pooling" in partition.layers
    assert [layer.name for layer in partition.trainable.layers if layer.weights] == ["logits"]


def test_plan_changes_nothing(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "compile_engine", None)
    data = multi_label_data()
    # Of two logits, only the data show that they are independent labels.
    trainer = tk.Trainer(small_classifier(num_classes=2, multi_label=True))
    optimizer, loss = trainer.model.optimizer, trainer.model.loss
    plan = trainer.plan(data)
    assert (plan.trained_on, plan.cost.num_missing) == ("features", 40)
    assert trainer.model.optimizer is optimizer and trainer.model.loss is loss
    assert not (own_home / "features").exists()
    with pytest.raises(tk.DataError, match="no training data yet"):
        trainer.predict("image.jpg")


def test_plan_keeps_optimizer_of_trained_model() -> None:
    data = multi_label_data()
    trainer = tk.Trainer(small_classifier(num_classes=2, multi_label=True))
    trainer.fit(data, epochs=1, verbose=0)
    optimizer, steps = trainer.model.optimizer, int(trainer.model.optimizer.iterations)
    trainer.plan(data)
    trainer.evaluate(data)
    assert trainer.model.optimizer is optimizer and int(optimizer.iterations) == steps > 0
    trainer.fit(data, epochs=1, verbose=0)
    assert trainer.model.optimizer is optimizer and int(optimizer.iterations) == 2 * steps


def test_extraction_cost_text() -> None:
    assert str(ExtractionCost(1000, 0, 0.0)) == "Cached: 1,000 of 1,000."
    text = "Cached: 0 of 1,000. Estimated extraction time: 2.6 s plus decoding."
    assert str(ExtractionCost(1000, 1000, 2.6)) == text


def test_cache_settings_limit(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CacheSettings(True, 123, "float32").limit() == 123
    monkeypatch.setenv("TRANSFERKIT_HOME", str(own_home / "not" / "created"))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10**10}))
    assert CacheSettings(True, None, "float32").limit() == 5 * 10**9
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10**12}))
    assert CacheSettings(True, None, "float32").limit() == 10**10
