"""Loads a saved classifier or an exported model, without TensorFlow where a runtime can run it."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice
from transferkit._utils.lazy import LazyModule
from transferkit.errors import ArtifactError
from transferkit.exported_metadata import parse_exported_metadata
from transferkit.metadata import Metadata, invalid_artifact, read_metadata
from transferkit.prediction import ENGINES, Predictor
from transferkit.prediction.exported_predictor import ExportedModel, ExportedPredictor
from transferkit.runtimes.loading import NAMES, RUNTIMES, find_runtimes, load_runtime, runtime_of
from transferkit.training_features import read_features

if TYPE_CHECKING:
    from transferkit import saving
else:
    # Imports TensorFlow.
    saving = LazyModule("transferkit.saving")

_ENGINES = tuple(dict.fromkeys((*ENGINES, *RUNTIMES)))


@suggests_arguments
def load(
    folder: str | os.PathLike[str],
    *,
    engine: str = "auto",
    augmentation: Any = None,
    num_views: int = 1,
    warm_up: bool = False,
) -> Predictor:
    """Load a classifier that `Trainer.save` wrote, or a model that `tk.export` wrote.

    Nothing in the folder can run code: the model is read in Keras' safe mode or by a runtime, the rest is JSON.

    Where the folder has an exported model, as after `trainer.save(folder, formats=["onnx"])`, and its runtime is asked
    for by `engine`, or TensorFlow is not installed, the classifier runs on NumPy, Pillow and that runtime alone.

    Args:
        folder: str or path. The saved folder, or an exported model: a ".onnx" or ".tflite" file, or a folder in
            OpenVINO's format.
        engine: "auto" (the fastest), "keras", "frozen_graph", "openvino" (extra `fast`), "onnx" (extra `onnx`) or
            "litert" (extra `litert`). "openvino" needs no exported model where TensorFlow is installed. Defaults to
            "auto".
        augmentation: `AugmentationBlock`, whose views of each image are predicted too (test-time augmentation).
            Defaults to None.
        num_views: int >= 1. Views per image, the first of which is the original. Defaults to 1.
        warm_up: bool. Whether the engines are prepared at once, as for a service, rather than by the first
            predictions. Defaults to False.

    Returns:
        A `Predictor`; its `.model` is the keras.Model, or an exported model.

    Raises:
        ArtifactError: when the folder is missing, damaged, changed since it was saved, or of a newer format, or has no
            model for the engine.
        MissingExtraError: when the package of the engine, or KerasHub for a backbone of it, is not installed.
        ValueError: for an unknown engine.

    Example:

    >>> tk.load("cats_dogs").predict("image.jpg").label  # doctest: +SKIP
    'cats'
    """
    check_choice("engine", engine, _ENGINES)
    path = Path(folder)
    options: dict[str, Any] = {"augmentation": augmentation, "num_views": num_views}
    predictor = _load_exported(path, engine, options) if runtime_of(path) else _load_saved(path, engine, options)
    if warm_up:
        predictor.warm_up()
    return predictor


def _load_exported(path: Path, engine: str, options: dict[str, Any]) -> Predictor:
    name = runtime_of(path)
    if engine not in ("auto", name):
        raise ValueError(
            f"`engine` must be 'auto' or {name!r} for {str(path)!r}. Received: {engine!r}. Load the saved classifier "
            "for other engines."
        )
    return ExportedPredictor(_exported_model(path), **options)


def _load_saved(folder: Path, engine: str, options: dict[str, Any]) -> Predictor:
    metadata = read_metadata(folder)
    runtime = _choose_runtime(folder, engine)
    if runtime is None:
        return saving.load_keras(folder, metadata, engine=engine, **options)
    calibration = read_features(folder, metadata)
    model = _exported_model(folder / NAMES[runtime])
    _check_belongs(folder, metadata, model)
    return ExportedPredictor(model, calibration=calibration, **options)


def _choose_runtime(folder: Path, engine: str) -> str | None:
    """Return the runtime for the exported model in the folder of a saved classifier, or None for the Keras model."""
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    if engine in RUNTIMES:
        if (folder / NAMES[engine]).exists():
            return engine
        if engine == "openvino" and has_tensorflow:
            return None
        raise ArtifactError(
            f"{str(folder)!r} must have {NAMES[engine]!r} for engine={engine!r}. Received: none. Add it "
            f"where TensorFlow is installed: tk.export(tk.load(folder), folder + '/{NAMES[engine]}', features=True, "
            f"format={engine!r})."
        )
    if has_tensorflow:
        return None
    found = find_runtimes(folder)
    if engine != "auto" or not found:
        raise ArtifactError(
            f"{str(folder)!r} must have a model for an installed runtime, or TensorFlow must be installed. Received: "
            f"engine={engine!r}, and exported models for {', '.join(_exported(folder)) or 'no runtime'}. Install "
            "tensorflow, or one of openvino, onnxruntime and ai-edge-litert and export the classifier for it: "
            "trainer.save(folder, formats=['openvino'])."
        )
    return found[0]


def _exported(folder: Path) -> list[str]:
    return [name for name in RUNTIMES if (folder / NAMES[name]).exists()]


def _exported_model(path: Path) -> ExportedModel:
    runtime = load_runtime(path)
    metadata = parse_exported_metadata(str(path), runtime.metadata)
    return ExportedModel(path, runtime, metadata)


def _check_belongs(folder: Path, metadata: Metadata, model: ExportedModel) -> None:
    """Raise an ArtifactError when an exported model is not that of the saved classifier."""
    exported = model.metadata
    saved = metadata.class_names, metadata.activation, metadata.image_spec, metadata.calibration
    if saved != (exported.class_names, exported.activation, exported.image_spec, exported.calibration):
        raise invalid_artifact(folder, f"{model.path.name} was exported from another classifier")
