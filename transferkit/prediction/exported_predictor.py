"""Predicts with an exported model: NumPy, Pillow and a runtime, without TensorFlow."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from transferkit._utils.hashing import sha256_of
from transferkit.calibration import Calibration
from transferkit.exported_metadata import ExportedMetadata
from transferkit.prediction.predictor import Predictor
from transferkit.prediction.probabilities import check_not_nan
from transferkit.runtimes.base import FEATURES, Outputs, Runtime, concatenate

# Images per call of a runtime, few enough for the caches of a processor.
_BATCH = 8


@dataclasses.dataclass(frozen=True, eq=False)
class ExportedModel:
    """An exported model and its runtime.

    Attributes:
        path: the file or folder.
        runtime: that runs it.
        metadata: that are stored in it.
    """

    path: Path
    runtime: Runtime
    metadata: ExportedMetadata

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.metadata.name

    @property
    def output_shape(self) -> tuple[None, int]:
        """The shape of the outputs of the model before the activation, as of a keras.Model."""
        count, activation = len(self.metadata.class_names), self.metadata.activation
        has_one_logit = activation == "sigmoid" and count == 2 and not self.metadata.multi_label
        return None, 1 if has_one_logit or activation == "linear" else count

    @property
    def has_features(self) -> bool:
        """Whether the features are an output."""
        return FEATURES in self.runtime.outputs

    def fingerprint(self) -> str:
        """Return digits that differ whenever the outputs of the model could."""
        files = [self.path] if self.path.is_file() else sorted(file for file in self.path.rglob("*") if file.is_file())
        return hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()


class ExportedPredictor(Predictor):
    """A `Predictor` of an exported model; created by `transferkit.load`.

    It predicts, embeds and evaluates as the predictor of the Keras model does. `explain` needs the Keras model.

    Args:
        model: with its runtime.
        calibration: of the classifier with the features of its training images, where these are known. Defaults to
            None, that of the metadata.
        options: `batch_size`, `augmentation` and `num_views` of `Predictor`.
    """

    ENGINES: tuple[str, ...] = ("openvino", "onnx", "litert")

    def __init__(self, model: ExportedModel, *, calibration: Calibration | None = None, **options: Any) -> None:
        metadata = model.metadata
        calibration = calibration or metadata.calibration
        if calibration is not None:
            has_reference = calibration.training_features is not None and model.has_features
            calibration = dataclasses.replace(
                calibration,
                # The graph has divided the logits by it.
                temperature=1.0,
                max_distance=calibration.max_distance if has_reference else None,
                training_features=calibration.training_features if has_reference else None,
            )
        super().__init__(
            model,
            metadata.class_names,
            metadata.image_spec,
            activation=metadata.activation,
            engine=model.runtime.name,
            calibration=calibration,
            **options,
        )

    def embed(self, images: Any) -> np.ndarray:
        """Return the features of images; see `Predictor.embed`.

        Raises:
            ValueError: when the model was exported without features.
        """
        if not self.model.has_features:
            raise ValueError(
                "`embed` requires a model that was exported with its features. Received: one without. Export it with "
                "tk.export(predictor, path, features=True)."
            )
        return super().embed(images)

    def explain(self, images: Any, **options: Any) -> Any:
        """Raise a ValueError: explanations need the gradients and layers of the Keras model."""
        raise ValueError(
            f"`explain` requires a Keras model. Received: a model of the runtime {self.engine!r}. Load the saved "
            "classifier with engine='keras' where TensorFlow is installed."
        )

    def with_engines(self, names: list[str]) -> ExportedPredictor:
        """Return the predictor itself, which has one engine."""
        return self

    def _engine_caches(self) -> tuple[Any, Any]:
        compares = self.calibration is not None and self.calibration.training_features is not None
        names = (self.outputs.name, FEATURES) if compares else (self.outputs.name,)
        return _RuntimeEngine(self.model, names), _RuntimeEngine(self.model, (FEATURES,))

    def _values(self, outputs: np.ndarray) -> np.ndarray:
        # The graph has applied temperature and activation.
        return check_not_nan(outputs)


class _RuntimeEngine:
    """The engine of a runtime, for any number of images; has the interface of `EngineCache`."""

    def __init__(self, model: ExportedModel, outputs: tuple[str, ...]) -> None:
        self._model, self._outputs = model, outputs
        self.name = model.runtime.name

    def for_count(self, count: int) -> _RuntimeEngine:
        return self

    def for_service(self) -> list[Any]:
        return [self]

    def model_id(self) -> str:
        return self._model.fingerprint()

    def __call__(self, images: np.ndarray) -> Outputs:
        parts = []
        for start in range(0, len(images), _BATCH):
            values = self._model.runtime(images[start : start + _BATCH])
            parts.append(tuple(values[name] for name in self._outputs))
        return concatenate(parts)
