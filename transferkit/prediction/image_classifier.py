"""What a predictor and an ensemble have in common: from images in any form to predictions."""

from __future__ import annotations

import abc
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Any

from transferkit.data.inputs import expand, single_image
from transferkit.prediction.engine_cache import ASSUMED_COUNT
from transferkit.prediction.labeled import evaluate_classifier
from transferkit.prediction.number_prediction import NumberPrediction
from transferkit.prediction.outputs import Outputs
from transferkit.prediction.prediction import Prediction
from transferkit.prediction.prediction_file import PredictionFile, write_predictions
from transferkit.prediction.predictions import Predictions


class ImageClassifier(abc.ABC):
    """A trained classifier of images; the base of `Predictor` and `Ensemble`."""

    class_names: tuple[str, ...]
    batch_size: int
    outputs: Outputs

    def predict(self, images: Any) -> Prediction | NumberPrediction | Predictions:
        """Predict the class, or the number, of one image or of several.

        Args:
            images: one image: a path, the bytes of a file, a file object in binary mode, a Pillow image, or an array
                (height, width, 3), RGB in [0, 255], of any size. Or several: a list of those, a folder (all images in
                it, sorted), a pattern such as "images/*.jpg", an array (n, height, width, 3), a split such as
                `data.test` (in the order of `data.files`), a tf.data.Dataset, or an iterator, which is read to its end.

        Returns:
            A `Prediction`, for numbers as labels a `NumberPrediction`; or `Predictions`, a list of them in the same
            order. A file that cannot be read has a prediction with an `error`.

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
        return Predictions(self.iter_predict(images)) if single is None else self._predict_single(single)

    def iter_predict(self, images: Any) -> Iterator[Any]:
        """Yield the prediction for each of `images` in order, with a few batches in memory at a time.

        Of an iterator, such as the frames of a camera, one batch is read ahead: the first prediction follows after two
        batches. Set `batch_size` to 1 where each image is to be predicted soon.

        Args:
            images: as in `predict`.

        Returns:
            An iterator of `Prediction`, or of `NumberPrediction` for numbers as labels.

        Raises:
            ImageError: as `predict` does.
        """
        single = single_image(images)
        sources = expand(images) if single is None else [single]
        return self._iter_list(sources) if isinstance(sources, list) else self._iter_stream(sources)

    def predict_to(self, images: Any, path: str | os.PathLike[str], *, probabilities: bool = True) -> PredictionFile:
        """Write a prediction for each of `images` to a table, with a few batches in memory at a time.

        Each batch of rows is written at once, next to `path` with the suffix ".partial". The same call, after an
        interruption of any kind, continues there and ends with the file of an unbroken run. A file that cannot be read
        has a row with an error.

        Args:
            images: as in `predict`. To continue after an interruption, an iterator must yield the same images again.
            path: str or path. A ".csv", ".jsonl" (JSON Lines) or ".parquet" file (extra `tables`), which is replaced
                when the new one is complete.
            probabilities: bool. Whether there is a column "p(<class>)" with the probability of each class, for classes.
                Defaults to True.

        Returns:
            A `PredictionFile`: `.path`, `.images`, `.errors`.

        Raises:
            MissingExtraError: for ".parquet" when pyarrow is not installed.
            StorageError: when the file cannot be written; the rows before are kept.
            ValueError: for another extension.
            ImageError: as `predict` does.

        Example:

        >>> predictor.predict_to("new_images/", "predictions.csv")  # doctest: +SKIP
        PredictionFile('predictions.csv', 20,000 images, 3 errors)
        """
        single = single_image(images)
        return write_predictions(self, expand(images) if single is None else [single], path, probabilities)

    def evaluate(self, dataset: Any) -> Any:
        """Evaluate on labeled images.

        Args:
            dataset: `Data`, for its test split, or the validation split where there is none; a split such as
                `data.test`; or a tf.data.Dataset of batches (images, labels). Files are read as in prediction.

        Returns:
            A `Report`, whose loss is the mean cross-entropy of the probabilities; for numbers as labels a
            `RegressionReport` without a loss.

        Raises:
            DataError: when the classes are not those of the classifier, or there is no labeled image.
            TypeError: for anything else.

        Example:

        >>> tk.load("cats_dogs").evaluate(data).accuracy  # doctest: +SKIP
        """
        return evaluate_classifier(self, dataset)

    @property
    def target(self) -> str:
        """Whether classes are predicted, "class", or numbers, "number"."""
        return self.outputs.target

    @property
    def multi_label(self) -> bool:
        """Whether an image can have any number of labels."""
        return self.outputs.multi_label

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """The calibrated thresholds of labels, or None."""
        return self.outputs.thresholds

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Return digits that differ whenever the predictions could."""

    @abc.abstractmethod
    def engines_for(self, count: int) -> list[str]:
        """Return the names of the engines for `count` images, one per model."""

    @abc.abstractmethod
    def with_engines(self, names: list[str]) -> ImageClassifier:
        """Return a classifier with the engines of these names, one per model."""

    @property
    @abc.abstractmethod
    def rows_per_batch(self) -> int:
        """The number of images that are run together."""

    @abc.abstractmethod
    def _predict_single(self, source: Any) -> Any: ...

    @abc.abstractmethod
    def _iter_sources(self, sources: Iterable[Any], count: int, streamed: bool) -> Iterator[Any]:
        """Yield the predictions of about `count` sources; where they are `streamed`, one batch is read ahead."""

    def _iter_list(self, sources: list[Any]) -> Iterator[Any]:
        return self._iter_sources(sources, len(sources), streamed=False) if sources else iter(())

    def _iter_stream(self, sources: Iterator[Any]) -> Iterator[Any]:
        """Yield the predictions of an iterator, of which one batch is read ahead."""
        first = list(itertools.islice(sources, self.batch_size))
        count = len(first) if len(first) < self.batch_size else ASSUMED_COUNT
        if first:
            yield from self._iter_sources(itertools.chain(first, sources), count, streamed=True)
