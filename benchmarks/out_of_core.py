"""Trains a head on a million rows of features, out of core and in memory: memory, seconds, accuracy.

    python benchmarks/out_of_core.py [--rows 1000000] [--folder FOLDER]

Each way runs in another process, whose largest memory is printed. The features are sampled from a normal
distribution around a center per class; the folder of shards is made as `extract_features` makes it, without images.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

SIZE, CLASSES, BATCH, EPOCHS, SIDE = 1280, 10, 256, 3, 64
SPREAD = 7.0
# What a process does, and the title of its line.
WAYS = (
    ("import", "import of TensorFlow"),
    ("write", "write"),
    ("shards", "first"),
    ("shards", "again"),
    ("memory", "in memory"),
)


def main() -> None:
    """Write the shards, then train on them in each way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shard-size", type=int, default=1024)
    parser.add_argument("--folder")
    parser.add_argument("--way", choices=["import", "write", "shards", "memory"])
    arguments = parser.parse_args()
    if arguments.way:
        ways = {"import": make_only, "write": write, "shards": train_on_shards, "memory": train_in_memory}
        found = ways[arguments.way](arguments)
        print(json.dumps({**found, **memory()}))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        for way, title in WAYS:
            print(title, run(way, name, arguments), flush=True)


def run(way: str, folder: str, arguments: argparse.Namespace) -> str:
    """Return what another process prints for a way."""
    command = [sys.executable, __file__, "--way", way, "--folder", folder, "--rows", str(arguments.rows)]
    command += ["--shard-size", str(arguments.shard_size)]
    environment = {**os.environ, "TRANSFERKIT_HOME": str(Path(folder, "home"))}
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def memory() -> dict[str, int]:
    """Return the largest memory of this process so far; its present memory without the pages of program files."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak MB": round(peak / 1e3), "anonymous MB": round(int(status["RssAnon"].split()[0]) / 1e3)}


def make_backbone():
    """Return a backbone with features of the size."""
    import keras

    import transferkit as tk

    keras.utils.set_random_seed(0)
    images = keras.Input((SIDE, SIDE, 3))
    return tk.BackboneFactory.create(keras.Model(images, keras.layers.Conv2D(SIZE, 8, 8)(images)), preprocessing="tf")


def make_only(arguments: argparse.Namespace) -> dict:
    """Import TensorFlow and make the classifier."""
    import transferkit as tk

    tk.Trainer(tk.build_classifier(make_backbone(), tk.ClassifierHead(CLASSES)))
    return {}


def write(arguments: argparse.Namespace) -> dict:
    """Write the files of a job."""
    from transferkit.images.spec import ImageSpec
    from transferkit.sharding.job import Job
    from transferkit.sharding.shard_table import write_table
    from transferkit.sharding.storage import Folder
    from transferkit.sharding.tasks import FeatureTask

    task = FeatureTask(make_backbone().feature_extractor(), ImageSpec((SIDE, SIDE)), "float32")
    rows, size = arguments.rows, arguments.shard_size
    described = rows, size, -(-rows // size), task.columns, task.describe()
    job, folder = Job(task.kind, "synthetic", task.fingerprint(), *described), Folder(Path(arguments.folder, "shards"))
    job.write(folder)
    generator = np.random.default_rng(0)
    centers = generator.normal(size=(CLASSES, SIZE)).astype(np.float32)
    for number in range(job.num_shards):
        start, stop = number * size, min((number + 1) * size, rows)
        labels = generator.integers(0, CLASSES, stop - start)
        features = centers[labels] + SPREAD * 2 * generator.standard_normal((stop - start, SIZE), np.float32)
        paths = [f"/photos/{label}/{row:07d}.jpg" for row, label in zip(range(start, stop), labels)]
        texts, errors = [str(label) for label in labels], [None] * len(labels)
        columns = {"path": paths, "label": texts, "features": features, "error": errors}
        folder.write(job.shard_name(number), write_table(columns, engine="synthetic", num_errors=0))
    return {"shards": job.num_shards}


def train_on_shards(arguments: argparse.Namespace) -> dict:
    """Train with `Shards.to_data`."""
    import keras

    import transferkit as tk

    backbone = make_backbone()
    started = time.perf_counter()
    data = tk.Shards(Path(arguments.folder, "shards")).to_data(validation=0.1, test=0.1, batch_size=BATCH)
    opened = time.perf_counter() - started
    keras.utils.set_random_seed(1)
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(CLASSES, dropout=0.0)))
    started = time.perf_counter()
    trainer.fit(data, epochs=EPOCHS, verbose=0)
    seconds = time.perf_counter() - started
    return result(trainer.model, trainer.evaluate(data.test).accuracy, opened, seconds)


def train_in_memory(arguments: argparse.Namespace) -> dict:
    """Train the same head on the same rows in the same order, with all features in one array."""
    import keras

    import transferkit as tk
    from transferkit.data.pipeline import epoch_order

    backbone = make_backbone()
    started = time.perf_counter()
    shards = tk.Shards(Path(arguments.folder, "shards"))
    data = shards.to_data(validation=0.1, test=0.1, batch_size=BATCH)
    rows = {name: np.asarray(split.features.array) for name, split in data.splits.items()}
    labels = {name: split.labels for name, split in data.splits.items()}
    opened = time.perf_counter() - started
    keras.utils.set_random_seed(1)
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(CLASSES, dropout=0.0)))
    head = trainer.plan(data).partition.trainable
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    head.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"], jit_compile=False)
    started = time.perf_counter()
    for epoch in range(EPOCHS):
        order = epoch_order(len(labels["train"]), 0, epoch)
        head.fit(rows["train"][order], labels["train"][order], batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
    seconds = time.perf_counter() - started
    accuracy = head.evaluate(rows["test"], labels["test"], batch_size=BATCH, verbose=0, return_dict=True)["accuracy"]
    return result(trainer.model, accuracy, opened, seconds)


def result(model, accuracy: float, opened: float, seconds: float) -> dict:
    """Return the figures of a way."""
    total = float(sum(np.abs(np.asarray(weight.value)).sum() for weight in model.trainable_variables))
    return {
        "accuracy": round(float(accuracy), 5),
        "sum of weights": total,
        "open s": round(opened, 1),
        "s per epoch": round(seconds / EPOCHS, 1),
    }


if __name__ == "__main__":
    main()
