"""From photographs to labels with a trained model."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transferkit._utils.checks import check_choice, check_int
from transferkit.engines import Engine, compile_engine, default_batch_size
from transferkit.errors import ImageError
from transferkit.images.loading import ImageSpec, load_images

# Images that one thread reads in a go.
_CHUNK = 16
ACTIVATIONS = ("sigmoid", "softmax", None)


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one image.

    Attributes:
        path: the file as it was given, or None for pixels and bytes.
        error: None, or why there is no label.
        names: the class names, in the order of `scores`.
        scores: float32 (classes,), the probability of each class; None where there is an error.
    """

    path: str | None
    error: str | None
    names: tuple[str, ...]
    scores: np.ndarray | None

    @property
    def label(self) -> str | None:
        """The most probable class, or None where there is an error."""
        return None if self.scores is None else self.names[int(np.argmax(self.scores))]

    @property
    def probability(self) -> float | None:
        """The probability of `label`, in [0, 1], or None where there is an error."""
        return None if self.scores is None else float(np.max(self.scores))

    @property
    def probabilities(self) -> dict[str, float]:
        """Class name to probability; empty where there is an error."""
        return {} if self.scores is None else dict(zip(self.names, map(float, self.scores)))

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Return the `count` most probable (name, probability), best first."""
        check_int("count", count)
        if self.scores is None:
            return []
        best = np.argsort(-self.scores, kind="stable")[:count]
        return [(self.names[index], float(self.scores[index])) for index in best]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "path": self.path,
            "label": self.label,
            "probability": self.probability,
            "probabilities": self.probabilities,
            "error": self.error,
        }

    def __repr__(self) -> str:
        said = f"error={self.error!r}" if self.error else f"label={self.label!r}, probability={self.probability:.4f}"
        return f"Prediction({said}, path={self.path!r})"


class Predictor:
    """A trained model with all it needs to label photographs: class names and how pixels are made.

    Args:
        model: keras.Model from float32 (batch, height, width, 3), RGB in [0, 255], to logits or probabilities.
        class_names: the names of the classes, in the order of the outputs.
        pixels: how a file becomes an image of the model's input size.
        activation: what turns the model's outputs into probabilities: "sigmoid" (one logit for two classes, or
            independent labels), "softmax", or None when the model gives probabilities already.
        batch_size: images read and run at once.
        engine: "auto", or the name of an engine of `transferkit.engines`.

    Example:

    >>> predictor = tk.load("cats_dogs")  # doctest: +SKIP
    >>> predictor.predict("photo.jpg").label  # doctest: +SKIP
    'cats'
    """

    def __init__(
        self,
        model: keras.Model,
        class_names: Sequence[str],
        pixels: ImageSpec,
        *,
        activation: str | None,
        batch_size: int = 32,
        engine: str = "auto",
    ) -> None:
        self.model = model
        self.class_names = tuple(class_names)
        self.image_spec = pixels
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        self.batch_size = check_int("batch_size", batch_size)
        self.engine = engine
        self._compiled: dict[bool, tuple[int, Engine]] = {}
        self._served = {True: 0, False: 0}
        outputs = model.output_shape[-1]
        expected = 1 if activation == "sigmoid" and len(self.class_names) == 2 and outputs == 1 else len(class_names)
        if outputs != expected:
            raise ValueError(
                f"`class_names` must name each output of the model. Received: {len(self.class_names)} names for "
                f"{outputs} outputs. Give the names that the model was trained with, in their order."
            )

    def predict(self, images: Any) -> Prediction | list[Prediction]:
        """Label one image or many.

        Args:
            images: a path, the bytes of a file, or an array (height, width, 3), RGB in [0, 255], of any size; or
                a list of those, or an array (n, height, width, 3).

        Returns:
            A `Prediction`, or a list of them in the order given. A file that cannot be read gives a prediction
            with an `error`; it never stops the others.

        Raises:
            TypeError: when something is not a path, bytes or an array.
        """
        if _is_single(images):
            return next(self.stream([images]))
        return list(self.stream(images))

    def stream(self, images: Any) -> Iterator[Prediction]:
        """Yield a `Prediction` for each of `images`, in order, holding only a few batches in memory."""
        sources = list(images) if not isinstance(images, np.ndarray) else images
        if not len(sources):
            return
        forward = self._engine_for(len(sources))
        batches = [sources[start : start + self.batch_size] for start in range(0, len(sources), self.batch_size)]
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            ahead = self._reading(batches[0], pool)
            for number, batch in enumerate(batches):
                loaded = [image for chunk in ahead for image in chunk]
                # The next batch is read while the model works on this one.
                if number + 1 < len(batches):
                    ahead = self._reading(batches[number + 1], pool)
                yield from self._label(batch, loaded, forward)

    def _reading(self, batch: Any, pool: ThreadPoolExecutor) -> Iterator[list[np.ndarray | ImageError]]:
        for source in batch:
            if not isinstance(source, (str, bytes, bytearray, os.PathLike, np.ndarray)):
                raise TypeError(
                    f"An image must be a path, bytes or an array. Received: {type(source).__name__}. "
                    "Give the file's path, its bytes, or pixels (height, width, 3)."
                )
        chunks = [batch[start : start + _CHUNK] for start in range(0, len(batch), _CHUNK)]
        return pool.map(lambda chunk: load_images(chunk, self.image_spec), chunks)

    def _label(
        self, sources: Any, loaded: list[np.ndarray | ImageError], forward: Callable[[np.ndarray], Any]
    ) -> Iterator[Prediction]:
        good = [image for image in loaded if not isinstance(image, ImageError)]
        rows = iter(self._probabilities(forward(np.stack(good))) if good else ())
        for source, image in zip(sources, loaded):
            path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
            if isinstance(image, ImageError):
                yield Prediction(path, image.reason, self.class_names, None)
            else:
                yield Prediction(path, None, self.class_names, next(rows))

    def _probabilities(self, outputs: Any) -> np.ndarray:
        return to_probabilities(outputs, self.activation, len(self.class_names))

    def _engine_for(self, count: int) -> Callable[[np.ndarray], Any]:
        # One image at a time gets all cores, and an engine of its own; many share them out.
        single = count == 1
        self._served[single] += count
        known = self._compiled.get(single)
        # What is worth converting for depends on how much is to come, and the best guess is: as much as came so far.
        if known is None or self._served[single] > 10 * known[0]:
            batch = 1 if single else min(self.batch_size, default_batch_size())
            engine = compile_engine(self.model, engine=self.engine, batch_size=batch, count=self._served[single])
            known = self._compiled[single] = self._served[single], engine
        engine = known[1]
        return lambda images: engine(images)[0]

    def __repr__(self) -> str:
        return (
            f"Predictor({self.model.name!r}, {len(self.class_names)} classes, image_size={self.image_spec.image_size})"
        )


def to_probabilities(outputs: Any, activation: str | None, num_classes: int) -> np.ndarray:
    """Turn a model's outputs (n, units) into probabilities (n, num_classes), float32.

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


def _is_single(images: Any) -> bool:
    if isinstance(images, np.ndarray):
        return images.ndim == 3
    return isinstance(images, (str, bytes, bytearray, os.PathLike, Path))
