"""Predicts the classes of images with a trained model."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from transferkit._utils.checks import check_choice, check_int
from transferkit._utils.parallel import ordered_map
from transferkit.errors import ImageError
from transferkit.images.loading import load_images
from transferkit.images.spec import ImageSpec

ACTIVATIONS = ("sigmoid", "softmax", None)
# "auto" and the engines of transferkit.engines, which is imported when a model is run.
ENGINES = ("auto", "keras", "frozen_graph", "openvino")
# Images per decoding call.
_CHUNK = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction for one image.

    Attributes:
        path: str. The file, or None for arrays and bytes.
        error: str. Why there is no prediction, or None.
        class_names: tuple of str, in the order of `probability_array`.
        probability_array: float32 (classes,); None with an error.
    """

    path: str | None
    error: str | None
    class_names: tuple[str, ...]
    probability_array: np.ndarray | None

    @property
    def label(self) -> str | None:
        """The most probable class, or None with an error."""
        return None if self.probability_array is None else self.class_names[int(np.argmax(self.probability_array))]

    @property
    def probability(self) -> float | None:
        """The probability of `label`, in [0, 1], or None with an error."""
        return None if self.probability_array is None else float(np.max(self.probability_array))

    @property
    def probabilities(self) -> dict[str, float]:
        """Class name to probability; empty with an error."""
        return {} if self.probability_array is None else dict(zip(self.class_names, map(float, self.probability_array)))

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Return the `count` most probable (name, probability), best first.

        Args:
            count: int >= 1. Defaults to 5.
        """
        check_int("count", count)
        if self.probability_array is None:
            return []
        best = np.argsort(-self.probability_array, kind="stable")[:count]
        return [(self.class_names[index], float(self.probability_array[index])) for index in best]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        names = ("path", "label", "probability", "probabilities", "error")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        text = f"error={self.error!r}" if self.error else f"label={self.label!r}, probability={self.probability:.4f}"
        return f"Prediction({text}, path={self.path!r})"


class Predictor:
    """A trained model with its class names and its image spec.

    Args:
        model: keras.Model from float32 (batch, height, width, 3), RGB in [0, 255], to logits or probabilities.
        class_names: sequence of str, in the order of the outputs.
        image_spec: `ImageSpec`. How files become images of the model's input size.
        activation: "sigmoid" (one logit for two classes, or independent labels), "softmax", or None when the model
            returns probabilities.
        batch_size: int >= 1. Images decoded and run together. Defaults to 32.
        engine: "auto" (the fastest), "keras", "frozen_graph" or "openvino" (extra `fast`). Defaults to "auto".

    Raises:
        ValueError: when an argument is out of range, or the class names do not match the model.

    Example:

    >>> predictor = tk.load("cats_dogs")  # doctest: +SKIP
    >>> predictor.predict("image.jpg").label  # doctest: +SKIP
    'cats'
    """

    def __init__(
        self,
        model: Any,
        class_names: Sequence[str],
        image_spec: ImageSpec,
        *,
        activation: str | None,
        batch_size: int = 32,
        engine: str = "auto",
    ) -> None:
        self.model = model
        self.class_names = tuple(class_names)
        self.image_spec = image_spec
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        self.batch_size = check_int("batch_size", batch_size)
        self.engine = check_choice("engine", engine, ENGINES)
        # For single images and for batches: the number of images that the engine was compiled for, and the engine.
        self._engines: dict[bool, tuple[int, Any]] = {}
        self._images_seen = {True: 0, False: 0}
        outputs = model.output_shape[-1]
        expected = 1 if activation == "sigmoid" and len(self.class_names) == 2 and outputs == 1 else len(class_names)
        if outputs != expected:
            raise ValueError(
                f"`class_names` must name each output of the model. Received: {len(self.class_names)} names for "
                f"{outputs} outputs. Give the names of the training data, in their order."
            )

    def predict(self, images: Any) -> Prediction | list[Prediction]:
        """Predict the class of one image or of several.

        Args:
            images: a path, the bytes of a file, or an array (height, width, 3), RGB in [0, 255], of any size; or a list
                of those, or an array (n, height, width, 3).

        Returns:
            A `Prediction`, or a list of them in the same order. A file that cannot be read has a prediction with an
            `error`.

        Raises:
            TypeError: for anything other than a path, bytes or an array.
        """
        is_path = isinstance(images, (str, bytes, bytearray, os.PathLike))
        if is_path or (isinstance(images, np.ndarray) and images.ndim == 3):
            return self._predict_batch([images], load_images([images], self.image_spec), self._engine_for(1))[0]
        return list(self.iter_predict(images))

    def iter_predict(self, images: Any) -> Iterator[Prediction]:
        """Yield a `Prediction` for each of `images` in order, with a few batches in memory at a time.

        Args:
            images: a list of paths, bytes or arrays, or an array (n, height, width, 3).
        """
        sources = list(images)
        for source in sources:
            if not isinstance(source, (str, bytes, bytearray, os.PathLike, np.ndarray)):
                raise TypeError(
                    f"An image must be a path, bytes or an array. Received: {type(source).__name__}. "
                    "Give the path of a file, its bytes, or an array (height, width, 3)."
                )
        if not sources:
            return
        run = self._engine_for(len(sources))
        chunks = (sources[start : start + _CHUNK] for start in range(0, len(sources), _CHUNK))
        batch: list[Any] = []
        loaded: list[np.ndarray | ImageError] = []
        # The next batch is decoded while the model runs on this one.
        for chunk, loaded_chunk in ordered_map(lambda part: (part, load_images(part, self.image_spec)), chunks):
            batch, loaded = batch + chunk, loaded + loaded_chunk
            if len(batch) >= self.batch_size:
                yield from self._predict_batch(batch, loaded, run)
                batch, loaded = [], []
        yield from self._predict_batch(batch, loaded, run)

    def _predict_batch(
        self, sources: list[Any], loaded: list[np.ndarray | ImageError], run: Callable[[np.ndarray], Any]
    ) -> list[Prediction]:
        images = [image for image in loaded if not isinstance(image, ImageError)]
        rows: Iterator[np.ndarray] = iter(())
        if images:
            rows = iter(to_probabilities(run(np.stack(images))[0], self.activation, len(self.class_names)))
        predictions = []
        for source, image in zip(sources, loaded):
            path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
            error, probabilities = (image.reason, None) if isinstance(image, ImageError) else (None, next(rows))
            predictions.append(Prediction(path, error, self.class_names, probabilities))
        return predictions

    def _engine_for(self, count: int) -> Callable[[np.ndarray], Any]:
        # A single image has all cores and a separate engine; images of a batch share them.
        single = count == 1
        self._images_seen[single] += count
        compiled = self._engines.get(single)
        # Whether a conversion pays off depends on how many images follow: the best guess is as many as so far.
        if compiled is None or self._images_seen[single] > 10 * compiled[0]:
            from transferkit.engines import compile_engine, default_batch_size

            batch_size = 1 if single else min(self.batch_size, default_batch_size())
            seen = self._images_seen[single]
            engine = compile_engine(self.model, engine=self.engine, batch_size=batch_size, count=seen)
            compiled = self._engines[single] = seen, engine
        return compiled[1]

    def __repr__(self) -> str:
        size = self.image_spec.image_size
        return f"Predictor({self.model.name!r}, {len(self.class_names)} classes, image_size={size})"


def to_probabilities(outputs: Any, activation: str | None, num_classes: int) -> np.ndarray:
    """Return the probabilities (n, num_classes), float32, of a model's outputs (n, units).

    >>> to_probabilities(np.array([[0.0]]), "sigmoid", 2)
    array([[0.5, 0.5]], dtype=float32)
    """
    values = np.asarray(outputs, "float64")
    if activation == "sigmoid":
        values = np.exp(-np.logaddexp(0.0, -values))
        if values.shape[-1] == 1 and num_classes == 2:
            values = np.concatenate([1.0 - values, values], axis=-1)
    elif activation == "softmax":
        values = np.exp(values - values.max(axis=-1, keepdims=True))
        values /= values.sum(axis=-1, keepdims=True)
    return values.astype("float32")
