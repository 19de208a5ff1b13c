"""Image files with their labels or predictions, from each kind of object that has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from transferkit.data.dataset import Data
from transferkit.data.numbers import require_classes
from transferkit.errors import DataError
from transferkit.inspection.inspection import Inspection
from transferkit.prediction.prediction import Prediction

# (paths, labels), as `DatasetBuilder` takes them.
PathsAndLabels = tuple[list[str], list[Any]]


class LabeledFile(NamedTuple):
    """An image file.

    Attributes:
        path: absolute path.
        labels: names of the labels that were given, or None where there are none.
        predicted: (label, probability or None) of each predicted label, or None where there are none.
    """

    path: str
    labels: tuple[str, ...] | None = None
    predicted: tuple[tuple[str, float | None], ...] | None = None


def labeled_files(source: Any) -> list[LabeledFile]:
    """Return the files of `Data`, of predictions or of an inspection; predictions with an error are left out.

    Raises:
        DataError: when the images are not files, or there is none.
        TypeError: for anything else.
    """
    if isinstance(source, Data):
        require_classes(source, "Interchange with other programs")
        files = list(_of_data(source))
    elif isinstance(source, Inspection):
        files = list(_of_inspection(source))
    elif isinstance(source, Iterable) and not isinstance(source, (str, bytes)):
        files = list(_of_predictions(source))
    else:
        raise TypeError(
            f"`source` must be Data, a list of predictions or an Inspection. Received: {type(source).__name__}. Give, "
            "for example, predictor.predict('photos/')."
        )
    if not files:
        raise DataError("`source` must have at least one image. Received: none. Give other images.")
    return files


def _of_data(data: Data) -> Iterator[LabeledFile]:
    for split in data.splits.values():
        for path, label in zip(_paths(split.paths, len(split)), split.labels):
            indices = label.nonzero()[0] if data.multi_label else (label,)
            yield LabeledFile(path, tuple(data.class_names[int(index)] for index in indices))


def _of_inspection(inspection: Inspection) -> Iterator[LabeledFile]:
    suggested = {issue.image: issue for issue in inspection.label_issues}
    for index, key in enumerate(inspection.images.keys):
        label = inspection.images.label(index)
        issue = suggested.get(key)
        better = ((label if issue is None else issue.suggested_label, None),)
        yield LabeledFile(_paths(key.path and [key.path], 1)[0], (label,), better)


def _of_predictions(predictions: Iterable[Any]) -> Iterator[LabeledFile]:
    for one in predictions:
        require_classes(one, "Interchange with other programs")
        if not isinstance(one, Prediction):
            raise TypeError(
                f"`source` must have predictions. Received: {type(one).__name__}. Give predictor.predict()."
            )
        if one.label is None or one.probability is None:
            continue
        thresholds = None if one.calibration is None else one.calibration.thresholds
        # With one threshold per class, the labels are independent.
        independent = thresholds is not None and len(thresholds) == len(one.class_names)
        chosen = one.label_set or () if independent else (one.label,)
        pairs = tuple((name, one.probabilities[name]) for name in chosen)
        yield LabeledFile(_paths(one.path and [one.path], 1)[0], None, pairs)


def _paths(paths: Any, count: int) -> list[str]:
    found = list(paths or ())
    if len(found) != count or any(".tfrecord@" in path for path in found):
        raise DataError("The images of `source` must be files. Received: arrays or records. Write them as files first.")
    return [os.path.abspath(path) for path in found]


def path_inside(root: Path, name: str) -> Path | None:
    """Return the path of a file that another program names, or None where it is not a file in the folder `root`."""
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root.resolve()) and path.is_file() else None
    except (OSError, ValueError):
        # A name that no file can have.
        return None
