"""Inspects a data set by the features of its images."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_fraction
from transferkit._utils.files import atomic_write
from transferkit._utils.tables import html_lines
from transferkit._utils.text import printable, shorten
from transferkit.backbones.backbone import Backbone
from transferkit.backbones.factory import BackboneFactory
from transferkit.data.dataset import Data
from transferkit.data.numbers import require_classes
from transferkit.data.stored_features import require_images
from transferkit.errors import DataError
from transferkit.inspection.class_overlap import find_class_overlap
from transferkit.inspection.cleaning import drop_images, relabel_images
from transferkit.inspection.image_quality import find_quality_issues, measure_quality
from transferkit.inspection.inspected_images import InspectedImages
from transferkit.inspection.label_errors import LabelScores, score_labels
from transferkit.inspection.leave_one_out import leave_one_out_scores
from transferkit.inspection.page import write_page
from transferkit.inspection.records import ClassOverlap, ImageIssue, LabelIssue, NearDuplicate, Outlier
from transferkit.inspection.similarity import (
    duplicate_threshold,
    group_pairs,
    near_duplicate_pairs,
    outlier_distances,
    robust_scores,
)
from transferkit.inspection.table import table_lines
from transferkit.pages import PROJECTIONS

_MAX_OUTLIER_SCORE = 3.5
_MAX_SHOWN = 5


@suggests_arguments
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Inspection:
    """What `transferkit.inspect` found in a data set; the data are unchanged.

    Attributes:
        data: the `Data`.
        label_issues: list of `LabelIssue`, images for which another label is more probable, most suspicious first.
        near_duplicates: list of `NearDuplicate`, pairs of images, most similar first.
        outliers: list of `Outlier`, images unlike all others, farthest first.
        class_overlap: list of `ClassOverlap`, pairs of classes, most confused first.
        image_issues: list of `ImageIssue`, dark, bright, blurry, small or oddly shaped images, most unusual first.
        images: `InspectedImages`, all images with their features.
        label_scores: `LabelScores` of all images.

    Example:

    >>> inspection = tk.inspect(data, "EfficientNetLite0")  # doctest: +SKIP
    >>> for issue in inspection.label_issues[:20]:  # doctest: +SKIP
    ...     print(issue.image, issue.label, issue.suggested_label)
    """

    data: Data
    label_issues: list[LabelIssue]
    near_duplicates: list[NearDuplicate]
    outliers: list[Outlier]
    class_overlap: list[ClassOverlap]
    image_issues: list[ImageIssue]
    images: InspectedImages
    label_scores: LabelScores

    def clean(self, action: str = "drop", records: Iterable[Any] | None = None) -> Data:
        """Return new `Data` without some images, or with their suggested labels.

        Args:
            action: "drop" or "correct" (label issues alone). Defaults to "drop".
            records: the records to clean: label issues, outliers, image issues, or near duplicates, of which the second
                image is dropped. Defaults to None, the label issues of all splits whose `is_confident` is True.

        Returns:
            A new `Data`; the files and the inspected data are unchanged.

        Raises:
            DataError: when a split, or a class of the training split, would be empty.
            TypeError: for a record that cannot be cleaned in this way.

        Example:

        >>> inspection = tk.inspect(data, backbone)  # doctest: +SKIP
        >>> cleaned = inspection.clean("correct", inspection.label_issues[:20])  # doctest: +SKIP
        """
        check_choice("action", action, ("drop", "correct"))
        chosen = [issue for issue in self.label_issues if issue.is_confident] if records is None else list(records)
        kinds: tuple[type, ...] = (LabelIssue,)
        if action == "drop":
            kinds = (LabelIssue, Outlier, ImageIssue, NearDuplicate)
        for record in chosen:
            if not isinstance(record, kinds):
                expected = ", ".join(kind.__name__ for kind in kinds)
                raise TypeError(
                    f"`records` must be of the types {expected} to {action} images. Received: {type(record).__name__}. "
                    "Give, for example, inspection.label_issues[:20]."
                )
        if action == "drop":
            return drop_images(
                self.data, [one.second if isinstance(one, NearDuplicate) else one.image for one in chosen]
            )
        names = self.data.class_names
        return relabel_images(self.data, {one.image: names.index(one.suggested_label) for one in chosen})

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table with one row per image, which `DatasetBuilder` can read after you have checked it.

        Its columns are "path"; "label", the suggested label of a confident label issue, else the given one;
        "given_label"; "suggested_label"; "score", as in `LabelIssue`; "split"; and "issues".

        Args:
            path: the file, which is replaced if it exists.
        """
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            file.writelines(table_lines(self))

    def to_html(self, path: str | os.PathLike[str], *, projection: str = "pca") -> None:
        """Write a self-contained page with thumbnails, tables that can be sorted and filtered, and a map of the images.

        Args:
            path: the file, which is replaced if it exists.
            projection: "pca", "tsne" or "umap" (extra `maps`), the method of the map. Defaults to "pca".

        Raises:
            MissingExtraError: when the package of the projection is not installed.
            ValueError: for an unknown projection.
        """
        write_page(self, path, check_choice("projection", projection, PROJECTIONS))

    def __repr__(self) -> str:
        lines = [f"Inspection of {len(self.images):,} images, {len(self.data.class_names):,} classes"]
        confident = sum(issue.is_confident for issue in self.label_issues)
        lines.append(f"label issues: {len(self.label_issues):,}, {confident:,} of them confident")
        for issue in self.label_issues[:_MAX_SHOWN]:
            change = f"{printable(issue.label)} -> {printable(issue.suggested_label)}"
            lines.append(f"  {printable(issue.image)}: {change}, score {issue.score:.2f}")
        across = sum(pair.across_splits for pair in self.near_duplicates)
        lines.append(f"near duplicates: {len(self.near_duplicates):,} pairs, {across:,} across splits")
        lines.append(f"outliers: {len(self.outliers):,}")
        lines.append(f"image issues: {len(self.image_issues):,}")
        if self.class_overlap:
            names = " and ".join(map(printable, self.class_overlap[0].classes))
            lines.append(f"largest class overlap: {names}, {self.class_overlap[0].fraction:.1%} of their images")
        return shorten("\n".join(lines))

    def _repr_html_(self) -> str:
        return html_lines(repr(self).splitlines())


@suggests_arguments
def inspect(
    data: Data,
    backbone: Backbone | str,
    *,
    duplicate_similarity: float = 0.9,
    image_quality: bool = True,
) -> Inspection:
    """Find wrong labels, near duplicates, outliers, overlapping classes and poor images in a data set.

    Each label is compared with the prediction of a strongly regularized linear probe on the features, which was fitted
    to all other images except near duplicates. Features come from the cache where they were computed before.

    Args:
        data: `Data` of files or arrays with one label per image; all splits are inspected together.
        backbone: `Backbone`, or the name of one, with ImageNet weights.
        duplicate_similarity: float in [0, 1]. Cosine similarity of features from which two images are near duplicates.
            Where all images are similar, a higher one is used. Defaults to 0.9, which no two of 800 different photos
            of cats and dogs reached.
        image_quality: bool. Whether all images are decoded to find dark, bright, blurry and small ones. Defaults to
            True.

    Returns:
        An `Inspection`: `.label_issues`, `.near_duplicates`, `.outliers`, `.class_overlap`, `.image_issues`;
        `.clean()`, `.to_html()`, `.to_csv()`.

    Raises:
        DataError: for independent labels, a tf.data.Dataset, or data with a single class.
        ValueError: when an argument is out of range.

    Example:

    >>> inspection = tk.inspect(data, "EfficientNetLite0")  # doctest: +SKIP
    >>> inspection.to_html("inspection.html")  # doctest: +SKIP
    >>> cleaned = inspection.clean()  # doctest: +SKIP

    References: Northcutt et al., "Confident Learning", 2021, arXiv:1911.00068; Rifkin and Lippert, "Notes on
    Regularized Least Squares", 2007.
    """
    check_fraction("duplicate_similarity", duplicate_similarity)
    _check_data(data)
    if isinstance(backbone, str):
        backbone = BackboneFactory.create(backbone, input_shape=(*data.image_size, 3))
    images = InspectedImages.of(data, backbone)
    distances = outlier_distances(images.features)
    pairs = near_duplicate_pairs(images.features, duplicate_threshold(distances, duplicate_similarity))
    groups = group_pairs(pairs, len(images))
    scores = leave_one_out_scores(images.features, images.labels, len(data.class_names), groups)
    label_scores = score_labels(scores, images.labels)
    return Inspection(
        data,
        _label_issues(images, label_scores),
        [_near_duplicate(images, *pair) for pair in pairs],
        _outliers(images, distances),
        find_class_overlap(scores, images.labels, data.class_names),
        _image_issues(images) if image_quality else [],
        images,
        label_scores,
    )


def _check_data(data: Data) -> None:
    require_classes(data, "`inspect`")
    if data.multi_label:
        raise DataError("`data` must have one label per image. Received: independent labels. Inspect them one by one.")
    if any(split.dataset is not None for split in data.splits.values()):
        raise DataError("`data` must consist of files or arrays. Received: a tf.data.Dataset. Pass its images instead.")
    for split in data.splits.values():
        require_images(split, "`inspect`")
    if len(data.class_names) < 2:
        raise DataError(f"`data` must have at least two classes. Received: {len(data.class_names)}.")


def _label_issues(images: InspectedImages, scores: LabelScores) -> list[LabelIssue]:
    found = np.flatnonzero((scores.suspicion > 0.5) | scores.is_confident)
    order = found[np.argsort(-scores.suspicion[found], kind="stable")]
    return [
        LabelIssue(
            images.key(index),
            images.label(index),
            images.class_names[int(scores.suggested[index])],
            float(scores.suspicion[index]),
            bool(scores.is_confident[index]),
        )
        for index in order.tolist()
    ]


def _near_duplicate(images: InspectedImages, first: int, second: int, similarity: float) -> NearDuplicate:
    labels = images.label(first), images.label(second)
    return NearDuplicate(images.key(first), images.key(second), similarity, labels)


def _outliers(images: InspectedImages, distances: np.ndarray) -> list[Outlier]:
    scores = robust_scores(distances)
    found: Sequence[int] = np.flatnonzero(scores > _MAX_OUTLIER_SCORE).tolist()
    outliers = [Outlier(images.key(i), images.label(i), float(distances[i]), float(scores[i])) for i in found]
    return sorted(outliers, key=lambda outlier: -outlier.score)


def _image_issues(images: InspectedImages) -> list[ImageIssue]:
    issues = find_quality_issues(measure_quality(images.sources()))
    return [ImageIssue(images.key(one.position), images.label(one.position), *one[1:]) for one in issues]
