"""The public function: explains the predictions of a classifier for images."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_int
from transferkit.data.inputs import expand, single_image
from transferkit.errors import DataError, ImageError
from transferkit.explanation.attribution import Method
from transferkit.explanation.class_activation import VARIANTS, ClassActivation
from transferkit.explanation.classifier_source import ClassifierSource, classifier_source
from transferkit.explanation.explained_model import PREDICTED
from transferkit.explanation.explanation import Explanation, Explanations
from transferkit.explanation.integrated_gradients import IntegratedGradients
from transferkit.explanation.neighbors import find_neighbors
from transferkit.explanation.occlusion import Occlusion
from transferkit.images.loading import load_images
from transferkit.modeling.embedding import embedding_model

METHODS = (*VARIANTS, "integrated_gradients", "occlusion")


@suggests_arguments
def explain(
    predictor: Any,
    images: Any,
    method: str | Method = "grad_cam",
    *,
    class_name: str | None = None,
    data: Any = None,
    neighbors: int = 5,
    batch_size: int = 16,
) -> Explanation | Explanations:
    """Explain which parts of images speak for a class, or raise a number, and which training images are similar.

    Args:
        predictor: a `Predictor`, as from `tk.load`, or a `Trainer` after its first phase of training.
        images: anything that `Predictor.predict` accepts.
        method: "grad_cam", "grad_cam++", "hires_cam", "layer_cam", "integrated_gradients", "occlusion", or one of
            `tk.explanation.ClassActivation`, `IntegratedGradients` and `Occlusion` with options. Defaults to
            "grad_cam".
        class_name: str. The class to explain. Defaults to None, the predicted class of each image. Not for numbers as
            labels.
        data: `Data`, of whose training split the most similar images are found. Defaults to None, without them.
        neighbors: int >= 1. Number of similar training images, with `data`. Defaults to 5.
        batch_size: int >= 1. Images in memory at a time. Defaults to 16.

    Returns:
        An `Explanation` for one image, or `Explanations`, a list in the same order. A file that cannot be read has one
        with an `error`.

    Raises:
        DataError: for a folder without images, a trainer that is not trained, or a `class_name` for numbers.
        ImageError: for a path where there is nothing, or an array that has not the values of an RGB image.
        TypeError: for a classifier or images of another type.
        ValueError: when an argument is out of its range, or the model has no feature map for the method.

    Example:

    >>> explanation = tk.explain(trainer, "photo.jpg")  # doctest: +SKIP
    >>> explanation.show("photo_explained.png")  # doctest: +SKIP
    >>> paths = [mistake["path"] for mistake in report.mistakes(9)]  # doctest: +SKIP
    >>> tk.explain(trainer, paths, data=data).show("mistakes.png")  # doctest: +SKIP
    """
    method = _to_method(method)
    classifier = classifier_source(predictor)
    index = classifier.class_index(class_name)
    check_int("neighbors", neighbors)
    check_int("batch_size", batch_size)
    split = None if data is None else _training_split(data, classifier)
    single = single_image(images)
    sources = iter(expand(images) if single is None else [single])
    explanations = Explanations()
    for batch in iter(lambda: list(itertools.islice(sources, batch_size)), []):
        explanations += _explain_batch(classifier, batch, method, index)
    if split is not None:
        explanations = _with_neighbors(classifier, explanations, split, neighbors)
    return explanations if single is None else explanations[0]


def _to_method(method: str | Method) -> Method:
    if not isinstance(method, str) and callable(getattr(method, "attribute", None)) and not isinstance(method, type):
        return method
    check_choice("method", method, METHODS)
    others: dict[Any, Callable[[], Method]] = {
        "integrated_gradients": IntegratedGradients,
        "occlusion": Occlusion,
    }
    return others[method]() if method in others else ClassActivation(str(method))


def _training_split(data: Any, classifier: ClassifierSource) -> Any:
    splits = getattr(data, "splits", None)
    if splits is None:
        raise TypeError(
            f"`data` must be Data of a DatasetBuilder. Received: {type(data).__name__}. Give the data of the training."
        )
    if "train" not in splits:
        raise DataError("`data` must have training images. Received: data without. Give the data of the training.")
    split, size = splits["train"], classifier.image_spec.image_size
    if split.image_spec.image_size != size:
        raise DataError(
            f"`data` must have images of the classifier's size, {size}. Received: {split.image_spec.image_size}. Give "
            "the data of the training."
        )
    return split


def _explain_batch(
    classifier: ClassifierSource, sources: Sequence[Any], method: Method, index: int
) -> Iterator[Explanation]:
    valid = [source for source in sources if not isinstance(source, ImageError)]
    loaded = iter(load_images(valid, classifier.image_spec))
    results = [source if isinstance(source, ImageError) else next(loaded) for source in sources]
    images = [image for image in results if not isinstance(image, ImageError)]
    explained = _explain_images(classifier, np.stack(images), method, index) if images else iter(())
    for source, result in zip(sources, results):
        if isinstance(result, ImageError):
            yield Explanation(source.path if isinstance(source, ImageError) else _path_of(source), result.reason)
        else:
            yield dataclasses.replace(next(explained), path=_path_of(source))


def _explain_images(
    classifier: ClassifierSource, images: np.ndarray, method: Method, index: int
) -> Iterator[Explanation]:
    """Yield explanations of images uint8 (n, height, width, 3) in order."""
    batch, classes = images.astype(np.float32), np.full(len(images), index, np.int32)
    values, heatmaps, outputs = method.attribute(classifier.model, batch, classes)
    probabilities = classifier.to_probabilities(outputs)
    if index == PREDICTED:
        classes = np.array([classifier.predicted_class(row) for row in probabilities], np.int32)
        # A calibrated threshold may predict another class than the one with the largest logit.
        others = classes != classifier.model.predicted(outputs)
        if others.any():
            values[others], heatmaps[others], _ = method.attribute(classifier.model, batch[others], classes[others])
    for row, image in enumerate(images):
        explained = classifier.outputs.explained(probabilities[row], int(classes[row]))
        yield Explanation(None, None, image, heatmaps[row], values[row], method=method.name, **explained)


def _with_neighbors(classifier: ClassifierSource, explanations: Explanations, split: Any, count: int) -> Explanations:
    valid = [one for one in explanations if one.image is not None]
    if not valid:
        return explanations
    images, paths = np.stack([one.image for one in valid if one.image is not None]), [one.path for one in valid]
    found = iter(find_neighbors(embedding_model(classifier.model.model), split, images, paths, count))
    return Explanations(
        one if one.image is None else dataclasses.replace(one, neighbors=next(found)) for one in explanations
    )


def _path_of(source: Any) -> str | None:
    return source if isinstance(source, str) else None
