"""Predicts the classes or the numbers of images with a trained model."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_int
from transferkit._utils.hashing import fingerprint
from transferkit._utils.parallel import ordered_map
from transferkit.calibration import Calibration
from transferkit.calibration.distribution import neighbor_distances
from transferkit.data.inputs import expand, single_image
from transferkit.errors import ImageError
from transferkit.images.loading import load_images, stack_images
from transferkit.images.spec import ImageSpec
from transferkit.prediction.augmented_views import AugmentedViews
from transferkit.prediction.engine_cache import ENGINES, EngineCache
from transferkit.prediction.image_classifier import ImageClassifier
from transferkit.prediction.outputs import Outputs, outputs_of
from transferkit.prediction.probabilities import ACTIVATIONS

# Images per decoding call.
_CHUNK = 16
Run = Callable[[np.ndarray], tuple[np.ndarray, ...]]


@suggests_arguments
class Predictor(ImageClassifier):
    """A trained model with its class names and its image spec.

    Args:
        model: keras.Model from float32 (batch, height, width, 3), RGB in [0, 255], to logits, probabilities or numbers.
        class_names: sequence of str, in the order of the outputs; empty for numbers as labels.
        image_spec: `ImageSpec`. How files become images of the model's input size.
        activation: "sigmoid" (one logit for two classes, or independent labels), "softmax", or None when the model
            returns probabilities; "linear" when it returns a number, which is predicted.
        batch_size: int >= 1. Images decoded and run together. Defaults to 32.
        engine: "auto" (the fastest), "keras", "frozen_graph" or "openvino" (extra `fast`). Defaults to "auto".
        calibration: `Calibration` from `Trainer.calibrate`. Defaults to None.
        augmentation: `AugmentationBlock`, whose views of each image are predicted too; the probabilities are the means
            over the views. Defaults to None.
        num_views: int >= 1. Views per image, the first of which is the original; more than 1 requires `augmentation`.
            Defaults to 1.

    Raises:
        ValueError: when an argument is out of range, or the class names do not match the model.

    Example:

    >>> predictor = tk.load("cats_dogs")  # doctest: +SKIP
    >>> predictor.predict("image.jpg").label  # doctest: +SKIP
    'cats'
    """

    ENGINES: tuple[str, ...] = ENGINES

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
        augmentation: Any = None,
        num_views: int = 1,
    ) -> None:
        self.model = model
        self.class_names: tuple[str, ...] = tuple(class_names)
        self.image_spec = image_spec
        self.activation: str | None = check_choice("activation", activation, ACTIVATIONS)
        self.batch_size: int = check_int("batch_size", batch_size)
        self.engine: str = check_choice("engine", engine, self.ENGINES)
        self.calibration = calibration
        self.outputs: Outputs = outputs_of(self.class_names, self.activation, calibration, model.output_shape[-1])
        self._views = AugmentedViews(augmentation, num_views)
        self._engines, self._features_engine = self._engine_caches()

    @property
    def num_views(self) -> int:
        """The number of views of each image, whose probabilities are averaged."""
        return self._views.num_views

    def embed(self, images: Any) -> np.ndarray:
        """Return the features of images: the vector from which the head computes its logits.

        Args:
            images: as in `predict`.

        Returns:
            float32 array (n, features), one row per image; (features,) for one image.

        Raises:
            ImageError: for an image that cannot be read.
            ValueError: for a model without a graph of layers.

        Example:

        >>> predictor.embed(["cat.jpg", "dog.jpg"]).shape  # doctest: +SKIP
        (2, 1280)
        """
        single = single_image(images)
        sources = expand(images) if single is None else [single]
        embed = self._features_engine.for_count(1 if single is not None else 2 * self.batch_size)
        rows = [embed(stack_images(loaded))[0] for _, loaded in self._batches(sources, None)]
        if not rows:
            return np.zeros((0, embed(self._blank())[0].shape[1]), np.float32)
        return np.concatenate(rows) if single is None else rows[0][0]

    def explain(self, images: Any, **options: Any) -> Any:
        """Return heat maps of the parts of `images` on which predictions depend; see `transferkit.explain`."""
        from transferkit.explanation import explain

        return explain(self, images, **options)

    def warm_up(self) -> None:
        """Prepare the decoder and the engines for single images and for batches, so that no later call has to."""
        for engine in self._engines.for_service():
            self._run(self._blank(), engine)
        contents = io.BytesIO()
        Image.fromarray(self._blank()[0]).save(contents, "JPEG")
        load_images([contents.getvalue()], self.image_spec)

    def fingerprint(self) -> str:
        """Return digits that differ whenever the predictions could."""
        calibration = None if self.calibration is None else self.calibration.fingerprint()
        parts = self.class_names, self.activation, self.image_spec.cache_key(), calibration, self._views.key()
        return fingerprint(self._engines.model_id(), *parts)

    def engines_for(self, count: int) -> list[str]:
        """Return the names of the engines for `count` images, one per model."""
        return [self._engines.for_count(count).name]

    def with_engines(self, names: list[str]) -> Predictor:
        """Return a predictor with the engines of these `names`, one per model."""
        predictor = copy.copy(self)
        predictor.engine = names[0]
        predictor._engines, predictor._features_engine = predictor._engine_caches()
        return predictor

    @property
    def rows_per_batch(self) -> int:
        """The number of images that are run together."""
        chunk = min(_CHUNK, self.batch_size)
        return -(-self.batch_size // chunk) * chunk

    def _engine_caches(self) -> tuple[EngineCache, EngineCache]:
        """Return the engines of predictions and of features, which are compiled when they are used."""
        compares = self.calibration is not None and self.calibration.training_features is not None
        arguments = self.model, self.engine, self.batch_size
        outputs = "both" if compares else "predictions"
        return EngineCache(*arguments, outputs=outputs), EngineCache(*arguments, outputs="features")

    def _blank(self) -> np.ndarray:
        return np.zeros((1, *self.image_spec.image_size, 3), np.uint8)

    def _predict_single(self, source: Any) -> Any:
        return self._predict_batch([source], load_images([source], self.image_spec), self._engines.for_count(1))[0]

    def _iter_sources(self, sources: Iterable[Any], count: int, streamed: bool) -> Iterator[Any]:
        yield from self._iter_with(self._engines.for_count(count), sources, streamed)

    def _iter_with(self, run: Run, sources: Iterable[Any], streamed: bool) -> Iterator[Any]:
        """Yield predictions by an engine; the next batch is decoded while it runs on this one."""
        ahead = self.rows_per_batch // min(_CHUNK, self.batch_size) if streamed else None
        for batch, loaded in self._batches(sources, ahead):
            yield from self._predict_batch(batch, loaded, run)

    def _batches(
        self, sources: Iterable[Any], ahead: int | None
    ) -> Iterator[tuple[list[Any], list[np.ndarray | ImageError]]]:
        """Yield the sources and images of each batch."""
        source_iterator = iter(sources)
        chunk_size = min(_CHUNK, self.batch_size)
        chunks = iter(lambda: list(itertools.islice(source_iterator, chunk_size)), [])
        batch: list[Any] = []
        loaded: list[np.ndarray | ImageError] = []
        with contextlib.closing(ordered_map(self._load, chunks, ahead=ahead)) as loaded_chunks:
            for chunk, images in loaded_chunks:
                batch, loaded = batch + chunk, loaded + images
                if len(batch) >= self.batch_size:
                    yield batch, loaded
                    batch, loaded = [], []
        if batch:
            yield batch, loaded

    def _load(self, sources: list[Any]) -> tuple[list[Any], list[np.ndarray | ImageError]]:
        """Return the sources and their images; a file that is known not to be decodable is its error."""
        loaded = iter(load_images([one for one in sources if not isinstance(one, ImageError)], self.image_spec))
        return sources, [one if isinstance(one, ImageError) else next(loaded) for one in sources]

    def _predict_decoded(self, paths: Sequence[str], images: Sequence[np.ndarray | ImageError]) -> Iterator[Any]:
        """Yield predictions of images that were decoded as `image_spec` describes it."""
        run, step = self._engines.for_count(len(paths)), self.rows_per_batch
        for start in range(0, len(paths), step):
            rows = slice(start, start + step)
            yield from self._predict_batch(list(paths[rows]), list(images[rows]), run)

    def _predict_batch(self, sources: list[Any], loaded: list[np.ndarray | ImageError], run: Run) -> list[Any]:
        images = [image for image in loaded if not isinstance(image, ImageError)]
        rows: Iterator[tuple[np.ndarray, float | None]] = iter(())
        if images:
            values, distances = self._run(np.stack(images), run)
            rows = iter(zip(values, itertools.repeat(None) if distances is None else distances.tolist()))
        predictions = []
        for source, image in zip(sources, loaded):
            path = source.path if isinstance(source, ImageError) else source if isinstance(source, str) else None
            error, row = (image.reason, (None, None)) if isinstance(image, ImageError) else (None, next(rows))
            predictions.append(self.outputs.prediction(path, error, *row))
        return predictions

    def _run(self, images: np.ndarray, run: Run) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what `outputs.values` returns for images, and their distances (n,) to the training images or None."""
        views = [run(view) for view in self._views.of(images)]
        values = [self._values(outputs[0]) for outputs in views]
        mean = np.asarray(values[0] if len(views) == 1 else np.mean(values, axis=0, dtype=np.float64))
        reference = self._reference
        # The first view is the original.
        distances = None if reference is None else neighbor_distances(views[0][1], reference)
        return mean.astype(np.float32, copy=False), distances

    def _values(self, outputs: np.ndarray) -> np.ndarray:
        return self.outputs.values(outputs)

    @functools.cached_property
    def _reference(self) -> np.ndarray | None:
        features = None if self.calibration is None else self.calibration.training_features
        return None if features is None else features.astype(np.float32)

    def __repr__(self) -> str:
        size = self.image_spec.image_size
        return f"Predictor({self.model.name!r}, {self.outputs.describe()}, image_size={size})"
