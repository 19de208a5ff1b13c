"""Options of `transferkit train`, and the objects that they describe."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Iterable
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit.cli import options as tables
from transferkit.cli.options import Option, given, number_or_text

tk: Any = LazyModule("transferkit")
keras: Any = LazyModule("keras")

DEFAULT_BACKBONE, DEFAULT_VALIDATION = "MobileNetV2", 0.2

BACKBONE = (
    Option("backbone", f"name from `transferkit backbones`; the default is {DEFAULT_BACKBONE}"),
    Option("weights", "imagenet, none, or the path of a file"),
)
HEAD = (
    Option("kind", "linear, mlp, prototype, cosine or knn"),
    Option("pooling", "avg, max or flatten"),
    Option("dropout", "fraction of the features dropped in training", float),
    Option("hidden", "units of hidden layers", int, "+"),
    Option("l2", "L2 regularization of the kernels", float),
    Option("scale", "factor of the cosines of prototype, cosine and knn", float),
    Option("neighbors", "training images that vote, for knn", int),
    Option("max_images", "largest number of training images, for knn", int),
)
AUGMENTATION = (Option("augmentation", "light, medium or strong"),)
# The options of a head for numbers as labels.
NUMBER_HEAD = tuple(option for option in HEAD if option.name in ("pooling", "dropout", "hidden", "l2"))
TRAINER = (
    Option("learning_rate", "of the frozen phase: a number or auto", number_or_text),
    Option("optimizer", "name of a Keras optimizer"),
    Option("weight_decay", "decoupled weight decay", float),
    Option("loss", "focal, or the name of a Keras loss; mse, mae or huber for numbers"),
    Option("metrics", "auc, pr_auc, macro_f1, balanced_accuracy, ...", nargs="+"),
    Option("label_smoothing", "fraction in [0, 1)", float),
    Option("class_weight", "balanced"),
    Option("clip_norm", "largest global norm of the gradients", float),
    Option("accumulate_steps", "batches per update", int),
    Option("ema", "momentum of the moving average of the weights", float),
    Option("seed", "of splits, initial weights, order, augmentation and dropout", int),
    Option("cache", "cache features", bool),
    Option("engine", "auto, keras, frozen_graph or openvino"),
    Option("precision", "float32, bfloat16 or float16"),
    Option("max_feature_bytes", "maximum size of cached features", int),
    Option("feature_dtype", "float32 or float16", str),
)
FIT = (
    Option("epochs", "a number or auto", number_or_text),
    Option("schedule", "constant, cosine, one_cycle or plateau"),
    Option("early_stopping", "epochs without improvement after which training stops", int),
    Option("keep_best", "restore the weights of the best epoch", bool),
    Option("monitor", "metric for early stopping and the best epoch"),
    Option("num_views", "cached views per training image", number_or_text),
    Option("solver", "auto, adam or lbfgs"),
)
FINE_TUNE = (
    Option("unfreeze_from", "index or name of the first trainable layer", number_or_text),
    Option("fraction", "fraction of the layers, from the top", float),
    Option("blocks", "number of blocks, from the top", int),
    Option("batch_norm", "train batch normalization", bool),
    Option("layer_decay", "factor of the learning rate per block", float),
    Option("gradual", "unfreeze in three stages", bool),
    Option("l2_sp", "strength of the pull toward the weights before", float),
)
FINE_TUNE_PHASE = (
    Option("fine_tune_epochs", "epochs of a second phase: a number or auto; none by default", number_or_text),
    Option("fine_tune_learning_rate", "of the second phase", float),
    *FINE_TUNE,
)
GROUPS: dict[str, tuple[Option, ...]] = {
    "data": tables.DATA,
    "model": (*BACKBONE, *HEAD, *AUGMENTATION),
    "training": (*TRAINER, *FIT),
    "fine-tuning": FINE_TUNE_PHASE,
}
NAMES: tuple[str, ...] = ("data", *(option.name for options in GROUPS.values() for option in options))


def with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a run, with the defaults of the API, so that a later version repeats it."""
    trainer, (head, head_options) = tk.Trainer, _head(values)
    found: dict[str, Any] = {"backbone": DEFAULT_BACKBONE, "weights": "imagenet"}
    for function, options in (
        (tk.DatasetBuilder, tables.DATA),
        (head, head_options),
        (trainer, TRAINER),
        (trainer.fit, FIT),
        (trainer.fine_tune, FINE_TUNE if "fine_tune_epochs" in values else ()),
    ):
        found |= _defaults(function, options)
    found |= values
    check_target(found)
    return {name: found[name] for name in NAMES if name in found}


def build_data(values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the `Data`, and the options with the validation split that was chosen where there was none."""
    seed = given(values, [option for option in TRAINER if option.name == "seed"])
    data = tk.DatasetBuilder(values["data"], **seed, **given(values, tables.DATA)).build()
    if "validation" in values or "validation" in data.splits:
        return data, values
    values = {**values, "validation": DEFAULT_VALIDATION}
    return tk.DatasetBuilder(values["data"], **seed, **given(values, tables.DATA)).build(), values


def build_trainer(data: Any, values: dict[str, Any], checkpoints: os.PathLike[str]) -> Any:
    """Return a `Trainer` of a new classifier."""
    seed = values["seed"]
    # Of random weights, with weights="none".
    keras.utils.set_random_seed(seed)
    weights = None if values["weights"] == "none" else values["weights"]
    backbone = tk.BackboneFactory.create(values["backbone"], input_shape=(*data.image_size, 3), weights=weights)
    kind, options = _head(values)
    classes = () if data.target == "number" else (data.num_classes,)
    multi_label = {} if data.target == "number" else {"multi_label": data.multi_label}
    head = kind(*classes, **multi_label, seed=seed, **given(values, options))
    preset = values.get("augmentation")
    augmentation = None if preset is None else tk.AugmentationBlock.preset(preset, seed=seed)
    model = tk.build_classifier(backbone, head, augmentation=augmentation)
    return tk.Trainer(model, checkpoint_dir=checkpoints, **given(values, TRAINER))


def train(trainer: Any, data: Any, values: dict[str, Any], verbose: int) -> bool:
    """Run the phases; return False where Ctrl-C ended one after a complete epoch.

    Raises:
        KeyboardInterrupt: after Ctrl-C in the middle of an epoch, or between phases.
    """
    phases = [functools.partial(trainer.fit, **given(values, FIT))]
    if "fine_tune_epochs" in values:
        rate, epochs = values.get("fine_tune_learning_rate"), values["fine_tune_epochs"]
        phases.append(
            functools.partial(trainer.fine_tune, epochs=epochs, learning_rate=rate, **given(values, FINE_TUNE))
        )
    for phase in phases:
        complete = len(trainer.history)
        try:
            phase(data, verbose=verbose)
        except KeyboardInterrupt:
            if len(trainer.history) == complete:
                raise
            return False
    return True


def check_target(values: dict[str, Any]) -> None:
    """Raise a ValueError for options of class heads with numbers as labels."""
    known = _head(values)[1]
    unused = [option.name for option in HEAD if option.name in values and option not in known]
    if unused:
        raise ValueError(
            f"`{unused[0]}` requires class labels. Received: {values[unused[0]]!r} with target='number'. Omit it."
        )


def _head(values: dict[str, Any]) -> tuple[Any, tuple[Option, ...]]:
    """Return the class of the head, and its options."""
    is_number = values.get("target") == "number"
    return (tk.RegressionHead, NUMBER_HEAD) if is_number else (tk.ClassifierHead, HEAD)


def check_fine_tuning(values: dict[str, Any]) -> None:
    """Raise a ValueError for options of a phase that is not run."""
    unused = [option.name for option in FINE_TUNE_PHASE[1:] if option.name in values]
    if unused and "fine_tune_epochs" not in values:
        raise ValueError(
            f"`{unused[0]}` must be given with `fine_tune_epochs`. Received: it alone. Add --fine-tune-epochs 10."
        )


def _defaults(function: Any, options: Iterable[Option]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    found = {}
    for option in options:
        value = parameters[option.name].default
        # Without a value, or with False for an option that has a number, the option is not used.
        if value is not None and (value is not False or option.type is bool):
            found[option.name] = list(value) if isinstance(value, tuple) else value
    return found
