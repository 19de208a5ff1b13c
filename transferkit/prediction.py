"""Predicts the classes of images with a trained model."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_int
from transferkit._utils.parallel import ordered_map
from transferkit.calibration import Calibration
from transferkit.data.inputs import expand, single_image
from transferkit.errors import ImageError
from transferkit.images.loading import load_images
from transferkit.images.spec import ImageSpec

ACTIVATIONS = ("sigmoid", "softmax", None)
# "auto" and the engines of transferkit.engines, which is imported when a model is run.
ENGINES = ("auto", "keras", "frozen_graph", "openvino")
# Images per decoding call.
_CHUNK = 16
# From this call on, many more are expected: so many that the conversion of any model pays off.
_CALLS_OF_LOOP, _ASSUMED_COUNT = 6, 1000
_UNCALIBRATED = Calibration()


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction for one image.

    Attributes:
        path: str. The file, or None for arrays and bytes.
        error: str. Why there is no prediction, or None.
        class_names: tuple of str, in the order of `probability_array`.
        probability_array: float32 (classes,); None with an error.
        calibration: `Calibration` of the classifier, or None.
    """

    path: str | None
    error: str | None
    class_names: tuple[str, ...]
    probability_array: np.ndarray | None
    calibration: Calibration | None = None

    @property
    def label(self) -> str | None:
        """The most probable class, of two classes the one on its side of a calibrated threshold; None with an error."""
        index = self._predicted_class()
        return None if index is None else self.class_names[index]

    @property
    def probability(self) -> float | None:
        """The probability of `label`, in [0, 1], or None with an error."""
        index = self._predicted_class()
        return None if self.probability_array is None or index is None else float(self.probability_array[index])

    @property
    def is_certain(self) -> bool | None:
        """Whether `probability` reaches the calibrated confidence; None without one, or with an error."""
        if self.calibration is None or self.calibration.min_confidence is None or self.probability is None:
            return None
        return self.probability >= self.calibration.min_confidence

    @property
    def label_set(self) -> tuple[str, ...] | None:
        """The plausible classes, with a calibrated coverage, or the independent labels that reach their thresholds.

        None without a calibration of these, or with an error.
        """
        if self.calibration is None or self.probability_array is None:
            return None
        indices = self.calibration.label_set(self.probability_array)
        return None if indices is None else tuple(self.class_names[index] for index in indices)

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
        names = ["path", "label", "probability", "probabilities", "error"]
        names += ["is_certain", "label_set"] if self.calibration is not None else []
        values = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def _predicted_class(self) -> int | None:
        if self.probability_array is None:
            return None
        return (self.calibration or _UNCALIBRATED).predicted_class(self.probability_array)

    def __repr__(self) -> str:
        text = f"error={self.error!r}" if self.error else f"label={self.label!r}, probability={self.probability:.4f}"
        return f"Prediction({text}, path={self.path!r})"


@suggests_arguments
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
        calibration: `Calibration` from `Trainer.calibrate`. Defaults to None.

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
        calibration: Calibration | None = None,
    ) -> None:
        self.model = model
        self.class_names = tuple(class_names)
        self.image_spec = image_spec
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        self.batch_size = check_int("batch_size", batch_size)
        self.engine = check_choice("engine", engine, ENGINES)
        if calibration is not None:
            calibration.check_fits(len(self.class_names), activation)
        self.calibration = calibration
        # For single images and for batches: the number of images that the engine was compiled for, and the engine.
        self._engines: dict[bool, tuple[int, Any]] = {}
        # Likewise: the number of calls and of images.
        self._seen = {True: (0, 0), False: (0, 0)}
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
            images: one image: a path, the bytes of a file, a Pillow image, or an array (height, width, 3), RGB in [0,
                255], of any size. Or several: a list of those, a folder (all images in it, sorted), a pattern such as
                "images/*.jpg", an array (n, height, width, 3), a split such as `data.test` (in the order of
                `data.files`), a tf.data.Dataset, or an iterator, which is read to its end.

        Returns:
            A `Prediction`, or a list of them in the same order. A file that cannot be read has a prediction with an
            `error`.

        Raises:
            DataError: for a folder without images.
            ImageError: for a path where there is nothing, or an array that has not the values of an RGB image.
            TypeError: for anything else.
            ValueError: when the model returns NaN, as after training with a learning rate that is too high.

        Example:

        >>> for prediction in predictor.predict("new_images/"):  # doctest: +SKIP
        ...     print(prediction.path, prediction.label or prediction.error)
        """
        single = single_image(images)
        if single is None:
            return list(self.iter_predict(images))
        return self._predict_batch([single], load_images([single], self.image_spec), self._engine_for(1))[0]

    def iter_predict(self, images: Any) -> Iterator[Prediction]:
        """Yield a `Prediction` for each of `images` in order, with a few batches in memory at a time.

        Of an iterator, such as the frames of a camera, one batch is read ahead: the first prediction follows after two
        batches. Set `batch_size` to 1 where each image is to be predicted soon.

        Args:
            images: as in `predict`.

        Raises:
            As `predict` does.
        """
        single = single_image(images)
        sources = expand(images) if single is None else [single]
        if isinstance(sources, list):
            return self._iter_batches(sources, self._engine_for(len(sources)), None) if sources else iter(())
        return self._iter_stream(sources)

    def _iter_stream(self, sources: Iterator[Any]) -> Iterator[Prediction]:
        """Yield the predictions of an iterator, of which one batch is read ahead."""
        first = list(itertools.islice(sources, self.batch_size))
        count = len(first) if len(first) < self.batch_size else _ASSUMED_COUNT
        if first:
            chunks_per_batch = -(-self.batch_size // _CHUNK)
            yield from self._iter_batches(itertools.chain(first, sources), self._engine_for(count), chunks_per_batch)

    def _iter_batches(
        self, sources: Iterable[Any], run: Callable[[np.ndarray], Any], ahead: int | None
    ) -> Iterator[Prediction]:
        """Yield predictions; the next batch is decoded while the model runs on this one."""
        source_iterator = iter(sources)
        chunk_size = min(_CHUNK, self.batch_size)
        chunks = iter(lambda: list(itertools.islice(source_iterator, chunk_size)), [])
        batch: list[Any] = []
        loaded: list[np.ndarray | ImageError] = []
        with contextlib.closing(ordered_map(self._load, chunks, ahead=ahead)) as loaded_chunks:
            for chunk, images in loaded_chunks:
                batch, loaded = batch + chunk, loaded + images
                if len(batch) >= self.batch_size:
                    yield from self._predict_batch(batch, loaded, run)
                    batch, loaded = [], []
        yield from self._predict_batch(batch, loaded, run)

    def _load(self, sources: list[Any]) -> tuple[list[Any], list[np.ndarray | ImageError]]:
        """Return the sources and their images; a file that is known not to be decodable is its error."""
        loaded = iter(load_images([one for one in sources if not isinstance(one, ImageError)], self.image_spec))
        return sources, [one if isinstance(one, ImageError) else next(loaded) for one in sources]

    def _predict_batch(
        self, sources: list[Any], loaded: list[np.ndarray | ImageError], run: Callable[[np.ndarray], Any]
    ) -> list[Prediction]:
        images = [image for image in loaded if not isinstance(image, ImageError)]
        rows: Iterator[np.ndarray] = iter(())
        if images:
            outputs = (self.calibration or _UNCALIBRATED).scale(run(np.stack(images))[0])
            rows = iter(to_probabilities(outputs, self.activation, len(self.class_names)))
        predictions = []
        for source, image in zip(sources, loaded):
            path = source.path if isinstance(source, ImageError) else source if isinstance(source, str) else None
            error, probabilities = (image.reason, None) if isinstance(image, ImageError) else (None, next(rows))
            predictions.append(Prediction(path, error, self.class_names, probabilities, self.calibration))
        return predictions

    def _engine_for(self, count: int) -> Callable[[np.ndarray], Any]:
        # A single image has all cores and a separate engine; images of a batch share them.
        single = count == 1
        calls, seen = self._seen[single] = self._seen[single][0] + 1, self._seen[single][1] + count
        compiled = self._engines.get(single)
        # Whether a conversion pays off depends on how many images follow. The best guess is as many as so far; after
        # some calls, a service or a loop over files that makes many more.
        expected = seen if calls < _CALLS_OF_LOOP else max(seen, _ASSUMED_COUNT)
        if compiled is None or expected > 10 * compiled[0]:
            from transferkit.engines import compile_engine, default_batch_size

            batch_size = 1 if single else min(self.batch_size, default_batch_size())
            engine = compile_engine(self.model, engine=self.engine, batch_size=batch_size, count=expected)
            compiled = self._engines[single] = expected, engine
        return compiled[1]

    def __repr__(self) -> str:
        size = self.image_spec.image_size
        return f"Predictor({self.model.name!r}, {len(self.class_names)} classes, image_size={size})"


def to_probabilities(outputs: Any, activation: str | None, num_classes: int) -> np.ndarray:
    """Return the probabilities (n, num_classes), float32, of a model's outputs (n, units); NaN raises a ValueError.

    >>> to_probabilities(np.array([[0.0]]), "sigmoid", 2)
    array([[0.5, 0.5]], dtype=float32)
    """
    values = np.asarray(outputs, "float64")
    if np.isnan(values).any():
        # The first class would be predicted for each image.
        raise ValueError("The outputs of a model must not be NaN. Received: NaN. Train it with a lower learning rate.")
    if activation == "sigmoid":
        values = np.exp(-np.logaddexp(0.0, -values))
        if values.shape[-1] == 1 and num_classes == 2:
            values = np.concatenate([1.0 - values, values], axis=-1)
    elif activation == "softmax":
        values = np.exp(values - values.max(axis=-1, keepdims=True))
        values /= values.sum(axis=-1, keepdims=True)
    return values.astype("float32")
