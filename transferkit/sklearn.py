"""Image classifiers as estimators of scikit-learn (extra `sklearn`), for `cross_val_score`, `GridSearchCV`, pipelines.

Reference: https://scikit-learn.org/stable/developers/develop.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transferkit._utils.checks import check_int
from transferkit._utils.extras import import_extra
from transferkit.augmentation import AugmentationBlock
from transferkit.backbones import Backbone, BackboneFactory
from transferkit.classifier import build_classifier
from transferkit.data import DatasetBuilder
from transferkit.errors import DataError, ImageError
from transferkit.head import ClassifierHead
from transferkit.training import Trainer

__all__ = ["ImageClassifier", "ImageFeatures"]

_base: Any = import_extra("sklearn.base", "transferkit.sklearn", "scikit-learn", "sklearn")
_multiclass: Any = import_extra("sklearn.utils.multiclass", "transferkit.sklearn", "scikit-learn", "sklearn")
_validation: Any = import_extra("sklearn.utils.validation", "transferkit.sklearn", "scikit-learn", "sklearn")


class ImageClassifier(_base.ClassifierMixin, _base.BaseEstimator):  # type: ignore[misc]
    """A classifier on a pretrained backbone as an estimator of scikit-learn.

    The features of each image are computed once and cached, so that the folds of a cross-validation and the points of a
    grid train heads only.

    Args:
        backbone: str, a name of the catalogue. Defaults to "MobileNetV2".
        weights: "imagenet", a path of a weights file, or None for random weights. Defaults to "imagenet".
        image_size: int or (height, width), in pixels. Defaults to 160.
        epochs: int >= 1 or "auto". Epochs with a frozen backbone. Defaults to "auto"; see `Trainer.fit`.
        fine_tune_epochs: int >= 0. Epochs of fine-tuning afterwards. Defaults to 0.
        learning_rate: float > 0 or "auto". Defaults to "auto".
        dropout: float in [0, 1). Before the logits. Defaults to 0.2.
        augmentation: str, a preset of `AugmentationBlock.preset`, or None. Defaults to None.
        batch_size: int >= 1. Defaults to 32.
        seed: int >= 0. Of the order of images, dropout and augmentation; not of random weights of a backbone.
            Defaults to 0.
        engine: str, the inference engine; see `Trainer`. Defaults to "auto".
        verbose: 0, 1, 2 or "auto". As in `keras.Model.fit`. Defaults to 0.

    Attributes:
        classes_: array of the labels, sorted.
        predictor_: the fitted `Predictor`.
        trainer_: the `Trainer`, with its history.

    Example:

    >>> from sklearn.model_selection import cross_val_score
    >>> paths, labels = ["a.jpg", "b.jpg"], ["cats", "dogs"]
    >>> cross_val_score(tk.sklearn.ImageClassifier(), paths, labels, cv=5)  # doctest: +SKIP
    array([0.97, 0.98, 0.97, 0.98, 0.97])
    """

    def __init__(
        self,
        backbone: str = "MobileNetV2",
        *,
        weights: Any = "imagenet",
        image_size: int | tuple[int, int] = 160,
        epochs: int | str = "auto",
        fine_tune_epochs: int = 0,
        learning_rate: float | str = "auto",
        dropout: float = 0.2,
        augmentation: str | None = None,
        batch_size: int = 32,
        seed: int = 0,
        engine: str = "auto",
        verbose: int | str = 0,
    ) -> None:
        # scikit-learn requires that arguments are stored unchanged; they are checked by `fit`.
        self.backbone = backbone
        self.weights = weights
        self.image_size = image_size
        self.epochs = epochs
        self.fine_tune_epochs = fine_tune_epochs
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed
        self.engine = engine
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> ImageClassifier:
        """Train on images.

        Args:
            X: list of paths, or array (n, height, width, 3), RGB in [0, 255].
            y: array-like (n,). Labels of any type that can be sorted.

        Returns:
            This estimator.

        Raises:
            DataError: when there are fewer than two classes, or `y` has decimals.
            ImageError: when an image cannot be read.
            ValueError: when an argument is out of range, or `X` and `y` differ in length.
        """
        fine_tune_epochs = check_int("fine_tune_epochs", self.fine_tune_epochs, minimum=0)
        labels = _validation.column_or_1d(y)
        if _multiclass.type_of_target(labels) == "continuous":
            raise DataError(
                "`y` requires class labels. Received: numbers with decimals. Give classes, or train numbers with "
                "tk.DatasetBuilder(..., target='number') and tk.RegressionHead."
            )
        _validation.check_consistent_length(X, labels)
        classes, indices = np.unique(labels, return_inverse=True)
        self.classes_: np.ndarray = classes
        data = self._data(X, indices)
        preset = self.augmentation
        model = build_classifier(
            _backbone(self.backbone, self.weights, data.image_size),
            ClassifierHead(data.num_classes, dropout=self.dropout, seed=self.seed),
            augmentation=None if preset is None else AugmentationBlock.preset(preset, seed=self.seed),
        )
        trainer = Trainer(model, learning_rate=self.learning_rate, seed=self.seed, engine=self.engine)
        trainer.fit(data, self.epochs, verbose=self.verbose)
        if fine_tune_epochs:
            trainer.fine_tune(data, fine_tune_epochs, verbose=self.verbose)
        self.trainer_: Trainer = trainer
        self.predictor_: Any = trainer.predictor()
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities.

        Args:
            X: list of paths, bytes or Pillow images, or array (n, height, width, 3).

        Returns:
            Array (n, classes), columns in the order of `classes_`.

        Raises:
            ImageError: when an image cannot be read.
            NotFittedError: before `fit`.
        """
        _validation.check_is_fitted(self, "predictor_")
        rows = []
        for prediction in self.predictor_.iter_predict(X):
            if prediction.probability_array is None:
                raise ImageError(prediction.path or "<bytes>", str(prediction.error))
            rows.append(prediction.probability_array)
        return np.stack(rows)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable labels.

        Args:
            X: as in `predict_proba`.

        Returns:
            Array (n,) of labels in `classes_`.
        """
        # Before `fit` there are no classes either: the error is that of `predict_proba`.
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _data(self, X: Any, indices: np.ndarray) -> Any:
        names = [str(label) for label in self.classes_.tolist()]
        if len(set(names)) < max(2, len(names)):
            raise DataError(
                f"`y` must have at least two classes with different names. Received: {names!r}. Add images of others."
            )
        is_array = isinstance(X, np.ndarray) and X.ndim == 4
        source = (X, indices) if is_array else (list(X), [names[index] for index in indices])
        options: dict[str, Any] = {"image_size": self.image_size, "batch_size": self.batch_size, "seed": self.seed}
        return DatasetBuilder(source, class_names=names, on_error="raise", progress=False, **options).build()


class ImageFeatures(_base.TransformerMixin, _base.BaseEstimator):  # type: ignore[misc]
    """The pooled features of a pretrained backbone as a transformer of scikit-learn.

    Args:
        backbone: str, a name of the catalogue. Defaults to "MobileNetV2".
        weights: "imagenet", a path of a weights file, or None for random weights. Defaults to "imagenet".
        image_size: int or (height, width), in pixels. Defaults to 160.

    Example:

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> make_pipeline(tk.sklearn.ImageFeatures(), StandardScaler(), LogisticRegression(C=0.01))  # doctest: +SKIP
    """

    def __init__(
        self, backbone: str = "MobileNetV2", *, weights: Any = "imagenet", image_size: int | tuple[int, int] = 160
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.image_size = image_size

    def fit(self, X: Any, y: Any = None) -> ImageFeatures:
        """Create the backbone.

        Args:
            X: not used: the backbone is trained already.
            y: not used. Defaults to None.

        Returns:
            This transformer.
        """
        size = self.image_size
        shape = (size, size) if isinstance(size, int) else size
        self.backbone_: Backbone = _backbone(self.backbone, self.weights, shape)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return features.

        Args:
            X: list of paths, or array (n, height, width, 3), RGB in [0, 255].

        Returns:
            float32 array (n, features).

        Raises:
            ImageError: when an image cannot be read.
            NotFittedError: before `fit`.
        """
        _validation.check_is_fitted(self, "backbone_")
        return np.asarray(self.backbone_.features(X))


def _backbone(name: str, weights: Any, image_size: Sequence[int]) -> Backbone:
    return BackboneFactory.create(name, weights=weights, input_shape=(image_size[0], image_size[1], 3))
