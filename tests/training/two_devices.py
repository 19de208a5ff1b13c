"""Trains on one and on two logical CPU devices and prints the largest differences as JSON.

Logical devices are configured before TensorFlow starts, so the tests run this in a process of its own.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

import transferkit as tk
from transferkit.data.dataset import Data

SIZE, ROWS, BATCH = 32, 41, 8
CASES: dict[str, dict[str, Any]] = {
    # The second phase has the metrics and the loss of the first: without it where these are the point.
    "features": {"metrics": ["auc", "macro_f1", "balanced_accuracy", "top_2_accuracy"], "phases": 1},
    "images": {"cache": False, "precision": "bfloat16"},
    "sample_weights": {"data": "weighted", "loss": "focal", "label_smoothing": 0.1, "phases": 1},
    # Several options in one run, because most of its time is tracing.
    "dataset_and_adamw": {
        "data": "dataset",
        "optimizer": "AdamW",
        "weight_decay": 0.1,
        "fine_tune": {"layer_decay": 0.5, "l2_sp": 0.1},
    },
    "class_weight_and_schedules": {
        "class_weight": {0: 3.0},
        "ema": 0.9,
        "fit": {"schedule": "plateau"},
        "fine_tune": {"keep_best": True},
    },
    "stored_features": {"data": "shards", "phases": 1},
    "lbfgs": {"fit": {"solver": "lbfgs"}},
}


def main() -> None:
    """Print for each case that is named the differences of its losses and weights.

    With a folder for checkpoints in place of "-" also `predictions`, of one row, and what else the tests expect.
    """
    # One row in the last batch of eight: one device has nothing of it.
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    folder, *names = sys.argv[1:]
    found: dict[str, Any] = {name: differences(strategy, **CASES[name]) for name in names}
    if folder == "-":
        print(json.dumps(found))
        return
    unbroken, _ = train(strategy)
    found["predictions"] = [len(unbroken.predict(examples()[0][:1])), len(unbroken.model.weights[0].value.values)]
    found["augmented"] = augmented(strategy)
    found["resumed"] = resumed(strategy, folder, weights_of(unbroken))
    found["errors"] = errors(strategy)
    print(json.dumps(found))


def backbone_of() -> tk.Backbone:
    """Return a backbone of three blocks."""
    images = x = keras.Input((SIZE, SIZE, 3))
    for number, channels in enumerate((8, 12, 16)):
        x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", name=f"block{number}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block{number}_bn")(x)
        x = keras.layers.ReLU(name=f"block{number}_relu")(x)
    return tk.BackboneFactory.create(keras.Model(images, x), preprocessing="tf")


def classifier(augmentation: Any = None) -> keras.Model:
    """Return a classifier without dropout: each device draws its own random numbers."""
    return tk.build_classifier(backbone_of(), tk.ClassifierHead(3, dropout=0.0), augmentation=augmentation)


def examples() -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of three classes."""
    labels = np.arange(ROWS) % 3
    images = np.random.default_rng(0).integers(0, 200, (ROWS, SIZE, SIZE, 3)) + 20 * labels[:, None, None, None]
    return images.astype("uint8"), labels


def build(kind: str) -> Data:
    """Return training data, as arrays, with sample weights, as tf.data.Dataset or as shards of features."""
    images, labels = examples()
    if kind == "shards":
        return tk.Shards(Path(folder_of_shards().name, "shards")).to_data(validation=7, batch_size=BATCH)
    validation: Any = (255 - images[:7], labels[:7])
    source: Any = (images, labels, np.linspace(0.5, 2.0, ROWS)) if kind == "weighted" else (images, labels)
    if kind == "dataset":
        source = tf.data.Dataset.from_tensor_slices((images.astype("float32"), labels)).batch(BATCH)
        validation = tf.data.Dataset.from_tensor_slices((validation[0].astype("float32"), validation[1])).batch(4)
    names = {"class_names": ["a", "b", "c"]} if kind == "dataset" else {}
    return tk.DatasetBuilder(source, validation=validation, image_size=SIZE, batch_size=BATCH, **names).build()


@functools.cache
def folder_of_shards() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of the features of all images as files."""
    folder = tempfile.TemporaryDirectory()
    for number, (image, label) in enumerate(zip(*examples())):
        path = Path(folder.name, "images", "abc"[label], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    keras.utils.set_random_seed(0)
    out = Path(folder.name, "shards")
    tk.extract_features(Path(folder.name, "images"), backbone_of(), out=out, shard_size=10, progress=False)
    return folder


def train(
    strategy: Any,
    *,
    data: str = "arrays",
    fit: Any = None,
    fine_tune: Any = None,
    optimizer: str = "Adam",
    phases: int = 2,
    **options: Any,
) -> tuple[tk.Trainer, dict[str, list[float]]]:
    """Return the trainer after one or both phases, and the values of all epochs."""
    keras.utils.set_random_seed(0)
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        model = classifier()
        # With the default epsilon, a gradient that is zero but for rounding moves a weight by the learning rate.
        adam = getattr(keras.optimizers, optimizer)(0.01, epsilon=1e-2)
    trainer = tk.Trainer(model, strategy=strategy, optimizer=adam, **options)
    built = build(data)
    histories = [trainer.fit(built, epochs=2, verbose=0, **(fit or {})).history]
    if phases == 2:
        options = {"keep_best": False, **(fine_tune or {})}
        histories.append(trainer.fine_tune(built, epochs=2, verbose=0, **options).history)
    found = {f"{phase} {name}": part[name] for phase, part in enumerate(histories) for name in part}
    return trainer, found


def weights_of(trainer: tk.Trainer) -> list[np.ndarray]:
    """Return the weights of the classifier."""
    return [np.array(weight.value.value()) for weight in trainer.model.weights]


def differences(strategy: Any, **case: Any) -> dict[str, float]:
    """Return the largest difference of the values of each epoch, and of the weights, from those of one device."""
    (one, values), (several, others) = train(None, **case), train(strategy, **case)
    found = {name: float(np.abs(np.subtract(values[name], others[name])).max()) for name in values}
    pairs = zip(weights_of(one), weights_of(several))
    moved = max(float(np.abs(a - b).max()) for a, b in zip(weights_of(one), untrained_weights()))
    return {**found, "weights": max(float(np.abs(a - b).max()) for a, b in pairs), "moved": moved}


def augmented(strategy: Any) -> float:
    """Return the largest difference of the losses of training on images with and without augmentation."""
    losses = []
    for block in (None, tk.AugmentationBlock(rotation=0.5, contrast=0.9)):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = classifier(block)
        trainer = tk.Trainer(model, strategy=strategy, learning_rate=0.01, cache=False)
        losses.append(trainer.fit(build("arrays"), epochs=2, verbose=0).history["loss"])
    return float(np.abs(np.subtract(*losses)).max())


@functools.cache
def untrained_weights() -> list[np.ndarray]:
    """Return the weights before training."""
    keras.utils.set_random_seed(0)
    return weights_of(tk.Trainer(classifier()))


def resumed(strategy: Any, folder: str, unbroken: list[np.ndarray]) -> float:
    """Return the largest difference of the weights of a run with a checkpoint from those of an unbroken one."""
    train(strategy, checkpoint_dir=folder)
    again, _ = train(strategy, checkpoint_dir=folder)
    return max(float(np.abs(a - b).max()) for a, b in zip(unbroken, weights_of(again)))


def errors(strategy: Any) -> dict[str, str]:
    """Return the messages for what is not supported."""
    with strategy.scope():
        model = classifier()
        mixing = classifier(tk.AugmentationBlock(mixup=0.2))
    outside = classifier()
    unbatched = tf.data.Dataset.from_tensor_slices(examples()).batch(BATCH).filter(lambda *_: True)
    unknown = tk.DatasetBuilder(unbatched, class_names=["a", "b", "c"], image_size=SIZE).build()
    calls: dict[str, Any] = {
        "outside": lambda: tk.Trainer(outside, strategy=strategy),
        "none": lambda: tk.Trainer(model),
        "data_parallel": lambda: tk.Trainer(outside, strategy=keras.distribution.DataParallel(devices=["cpu:0"])),
        "other": lambda: tk.Trainer(outside, strategy="mirrored"),
        "clip_norm": lambda: tk.Trainer(model, strategy=strategy, clip_norm=1.0),
        "clipvalue": lambda: tk.Trainer(model, strategy=strategy, optimizer=keras.optimizers.SGD(0.1, clipvalue=1.0)),
        "accumulate_steps": lambda: tk.Trainer(model, strategy=strategy, accumulate_steps=2),
        "mixup": lambda: tk.Trainer(mixing, strategy=strategy),
        "reduction": lambda: tk.Trainer(
            model, strategy=strategy, loss=keras.losses.SparseCategoricalCrossentropy(True, reduction="sum")
        ),
        "unknown": lambda: tk.Trainer(model, strategy=strategy).fit(unknown, epochs=1, verbose=0),
        "find": lambda: tk.Trainer(model, strategy=strategy).find_learning_rate(build("arrays")),
    }
    messages = {}
    for name, call in calls.items():
        try:
            call()
            messages[name] = "no error"
        except (TypeError, ValueError) as error:
            messages[name] = str(error)
    return messages


if __name__ == "__main__":
    main()
