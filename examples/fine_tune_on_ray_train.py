"""Experimental: fine-tune on several machines under Ray Train, with a custom training loop.

    python examples/fine_tune_on_ray_train.py --data /shared/photos --out /shared/run --workers 2

Requires the extra `ray`. `--data` and `--out` are folders that all machines have under the same path. Keras' `fit`
does not support MultiWorkerMirroredStrategy (https://github.com/keras-team/keras/issues/20585), so the loop is written
here. Each worker reads its own part of the training images; a step is the mean over the batches of all workers. Worker
0 writes a checkpoint after each epoch. When a worker or its machine is lost, Ray Train starts all workers again, and
they continue from the checkpoint, as the same command does after an interruption.

The servers of TensorFlow, through which the workers exchange gradients, listen on all network interfaces without
authentication: run it in a private network. A cluster that this program starts is bound to this machine.

Trainer.fine_tune on one machine, with MirroredStrategy for its GPUs, does more: guards, best weights, schedules.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

# TensorFlow reads this variable at import: print errors only.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np

CHECKPOINT, CLASSIFIER, LOG = "checkpoint.npz", "classifier", "losses.txt"


def main() -> None:
    """Train and print the report of the saved classifier."""
    options = parse_options()
    if options["address"] is None:
        # Binds a new cluster to the loopback; Ray reads the variable when it is imported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    out = Path(options["out"])
    out.mkdir(parents=True, exist_ok=True)
    ray.init(address=options["address"], include_dashboard=False, log_to_driver=False)
    resources = {"CPU": options["cpus_per_worker"]}
    trainer = TensorflowTrainer(
        train,
        train_loop_config=options,
        scaling_config=ScalingConfig(
            num_workers=options["workers"], use_gpu=options["use_gpu"], resources_per_worker=resources
        ),
        run_config=RunConfig(
            name="fine_tune", storage_path=str(out / "ray"), failure_config=FailureConfig(max_failures=3)
        ),
    )
    trainer.fit()
    ray.shutdown()
    evaluate(options)


def parse_options() -> dict:
    """Return the options, with synthetic images where no folder is given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of images with one subfolder per class (default: synthetic images)")
    parser.add_argument("--out", default="output/fine_tune_on_ray_train", help="folder of checkpoint and classifier")
    parser.add_argument("--address", help='of a Ray cluster, such as "auto" (default: a new one on this machine)')
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpus-per-worker", type=float, default=1)
    parser.add_argument("--use-gpu", action="store_true")
    parser.add_argument("--backbone", default="EfficientNetLite0")
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--blocks", type=int, default=2, help="blocks of the backbone that are trained, from the top")
    parser.add_argument("--batch-size", type=int, default=32, help="images per step of all workers together")
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few small images, two epochs")
    options = vars(parser.parse_args())
    if options["quick"]:
        options |= {"image_size": 64, "epochs": 2, "batch_size": 16}
    if not options["data"]:
        import transferkit as tk

        folder = Path(tempfile.mkdtemp(), "synthetic_images")
        tk.datasets.synthetic_cats_and_dogs(folder, training=80, validation=40, size=64)
        options["data"] = str(folder)
    return {**options, "data": os.path.abspath(options["data"]), "out": os.path.abspath(options["out"])}


def train(options: dict) -> None:
    """Train on one worker; Ray Train calls it on all of them at the same time."""
    import ray.train
    import tensorflow as tf

    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    # Reads the addresses of the workers from a variable that Ray Train has set.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    data = build_data(options)
    part = part_of_worker(data, options, rank, workers)
    with strategy.scope():
        model, optimizer, step = build_step(strategy, data, options, workers)
        first_epoch = restore(Path(options["out"]), model, optimizer)
    for epoch in range(first_epoch, options["epochs"]):
        losses = [float(strategy.reduce("SUM", step(*batch), axis=None)) for batch in part.train]
        loss = float(np.mean(losses))
        if rank == 0:
            write_checkpoint(Path(options["out"]), model, optimizer, epoch + 1)
            with open(Path(options["out"], LOG), "a") as log:
                log.write(f"epoch {epoch + 1}: loss {loss:.4f}\n")
        ray.train.report({"epoch": epoch, "loss": loss})
    if rank == 0:
        save(data, model, options)


def build_data(options: dict):
    """Return all images; every worker finds the same splits."""
    import transferkit as tk

    has_validation = os.path.isdir(os.path.join(options["data"], "validation"))
    validation = None if has_validation else 0.2
    size = options["image_size"]
    return tk.DatasetBuilder(options["data"], validation=validation, image_size=size, progress=False).build()


def part_of_worker(data, options: dict, rank: int, workers: int):
    """Return every `workers`-th training image: all parts have the same number, so that no worker waits for a batch."""
    import transferkit as tk

    paths, split = data.files["train"], data.splits["train"]
    rows = range(rank, len(paths) - len(paths) % workers, workers)
    source = [paths[row] for row in rows], [data.class_names[split.labels[row]] for row in rows]
    size, batch_size = options["image_size"], options["batch_size"] // workers
    return tk.DatasetBuilder(
        source, class_names=data.class_names, image_size=size, batch_size=batch_size, progress=False
    ).build()


def build_classifier(data, options: dict):
    """Return a classifier whose upper blocks are trained; batch normalization keeps its statistics."""
    import keras

    import transferkit as tk

    keras.utils.set_random_seed(0)
    size = options["image_size"]
    backbone = tk.BackboneFactory.create(options["backbone"], input_shape=(size, size, 3))
    model = tk.build_classifier(backbone, tk.ClassifierHead(data.num_classes))
    backbone.unfreeze(blocks=options["blocks"])
    return model


def build_step(strategy, data, options: dict, workers: int):
    """Return the classifier, its optimizer and the function of one step on all workers."""
    import keras
    import tensorflow as tf

    model = build_classifier(data, options)
    optimizer = keras.optimizers.Adam(options["learning_rate"])
    variables = model.trainable_variables
    optimizer.build(variables)
    units = model.output_shape[-1]
    losses = keras.losses.BinaryCrossentropy if units == 1 else keras.losses.SparseCategoricalCrossentropy
    loss_of = losses(from_logits=True, reduction="sum_over_batch_size")

    def replica(images, labels):
        labels = tf.reshape(labels, (-1, 1)) if units == 1 else labels
        with tf.GradientTape() as tape:
            # All parts and so all batches of a step have the same size: the mean of the means is that of all images.
            loss = loss_of(labels, model(images, training=True)) / workers
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        # Adds the gradients of all workers.
        optimizer.apply(gradients, variables)
        return loss

    return model, optimizer, tf.function(lambda images, labels: strategy.run(replica, (images, labels)))


def state_of(model, optimizer) -> list:
    """Return all variables, in a fixed order."""
    return [*model.weights, *optimizer.variables]


def write_checkpoint(out: Path, model, optimizer, epochs: int) -> None:
    """Write the state after some epochs; a file that is incomplete is never seen under its name."""
    arrays = {f"{number:05d}": np.array(variable) for number, variable in enumerate(state_of(model, optimizer))}
    temporary = out / f".{CHECKPOINT}"
    with open(temporary, "wb") as file:
        np.savez(file, epochs=epochs, **arrays)
    os.replace(temporary, out / CHECKPOINT)


def restore(out: Path, model, optimizer) -> int:
    """Set the state of a checkpoint, if there is one; return the number of its epochs."""
    if not (out / CHECKPOINT).exists():
        return 0
    with np.load(out / CHECKPOINT, allow_pickle=False) as arrays:
        for number, variable in enumerate(state_of(model, optimizer)):
            variable.assign(arrays[f"{number:05d}"])
        return int(arrays["epochs"])


def save(data, model, options: dict) -> None:
    """Save the classifier as `Trainer.save` does; its copy has no part in the strategy."""
    import transferkit as tk
    from transferkit.saving import save_classifier

    copy = build_classifier(data, options)
    copy.set_weights([np.array(weight) for weight in model.weights])
    activation = "sigmoid" if model.output_shape[-1] == 1 else "softmax"
    predictor = tk.Predictor(copy, data.class_names, data.image_spec, activation=activation)
    save_classifier(Path(options["out"], CLASSIFIER), predictor)


def evaluate(options: dict) -> None:
    """Print the report of the saved classifier."""
    import transferkit as tk

    report = tk.load(Path(options["out"], CLASSIFIER)).evaluate(build_data(options).validation)
    print(report)
    print(f"Accuracy of the saved classifier: {report.accuracy:.3f}")


if __name__ == "__main__":
    main()
