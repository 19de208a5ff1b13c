"""cleanlab: label issues as its table, in both directions.

Format: https://docs.cleanlab.ai/stable/cleanlab/classification.html, `CleanLearning.get_label_issues`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transferkit._utils.dataframes import to_data_frame
from transferkit.errors import DataError
from transferkit.inspection.inspected_images import InspectedImages
from transferkit.inspection.inspection import Inspection
from transferkit.inspection.records import LabelIssue


def to_cleanlab(inspection: Inspection) -> Any:
    """Return the label issues of an inspection as the table of cleanlab's `CleanLearning.get_label_issues`.

    Args:
        inspection: `Inspection`.

    Returns:
        A pandas DataFrame with one row per image, in the order of `inspection.images`: "is_label_issue", of confident
        issues; "label_quality", 1 minus the score of `LabelIssue`; "given_label" and "predicted_label", class indices;
        and "path".

    Raises:
        MissingExtraError: when pandas is not installed: `pip install "transferkit[tables]"`.

    Example:

    >>> issues = tk.interchange.to_cleanlab(tk.inspect(data, "EfficientNetLite0"))  # doctest: +SKIP
    >>> issues.query("is_label_issue").sort_values("label_quality")  # doctest: +SKIP
    """
    images, scores = inspection.images, inspection.label_scores
    # Above 0.5, the suggested label is more probable than the given one.
    predicted = np.where(scores.suspicion > 0.5, scores.suggested, images.labels)
    columns = {
        "is_label_issue": scores.is_confident.tolist(),
        "label_quality": (1 - scores.suspicion).tolist(),
        "given_label": images.labels.tolist(),
        "predicted_label": predicted.tolist(),
        "path": [key.path for key in images.keys],
    }
    return to_data_frame(columns, "interchange.to_cleanlab")


def from_cleanlab(issues: Any, inspection: Inspection) -> list[LabelIssue]:
    """Return the label issues that cleanlab found, for `inspection.clean`.

    Args:
        issues: DataFrame with one row per image, in the order of `inspection.images`, with the columns
            "is_label_issue", "label_quality" and "predicted_label", as from `CleanLearning.get_label_issues` or
            `Datalab.get_issues("label")`.
        inspection: `Inspection`, whose images and features cleanlab was given.

    Returns:
        One `LabelIssue` for each row whose "is_label_issue" is True, in the order of their quality.

    Raises:
        DataError: when the table has other columns or another number of rows.

    Example:

    >>> images = inspection.images  # doctest: +SKIP
    >>> learner = cleanlab.classification.CleanLearning(LogisticRegression())  # doctest: +SKIP
    >>> found = learner.find_label_issues(images.features, images.labels)  # doctest: +SKIP
    >>> cleaned = inspection.clean("drop", tk.interchange.from_cleanlab(found, inspection))  # doctest: +SKIP
    """
    images: InspectedImages = inspection.images
    quality_name = "label_score" if "label_score" in issues else "label_quality"
    needed = ["is_label_issue", quality_name, "predicted_label"]
    missing = [name for name in needed if name not in issues]
    if missing or len(issues) != len(images):
        raise DataError(
            f"`issues` must have one row for each of {len(images):,} images and the columns {needed}. Received: "
            f"{len(issues):,} rows with the columns {list(issues)}. Give the result of find_label_issues."
        )
    flags, quality = np.asarray(issues["is_label_issue"], bool), np.asarray(issues[quality_name], float)
    predicted = np.asarray(issues["predicted_label"]).tolist()
    found = []
    for index in np.flatnonzero(flags)[np.argsort(quality[flags], kind="stable")]:
        suggested = _class_name(predicted[index], images.class_names)
        issue = LabelIssue(images.key(index), images.label(index), suggested, float(1 - quality[index]), True)
        if suggested != issue.label:
            found.append(issue)
    return found


def _class_name(value: Any, class_names: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in class_names:
        return value
    if not isinstance(value, str) and 0 <= int(value) < len(class_names):
        return class_names[int(value)]
    raise DataError(
        f"The predicted labels of `issues` must be class indices below {len(class_names)} or class names. Received: "
        f"{value!r}. Give cleanlab inspection.images.labels."
    )
