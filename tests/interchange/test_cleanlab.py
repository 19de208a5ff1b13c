"""Label issues as tables of cleanlab."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import transferkit as tk
from transferkit.interchange import from_cleanlab, to_cleanlab

pandas = pytest.importorskip("pandas")


def test_columns_are_those_of_cleanlab(inspection: Any) -> None:
    table = to_cleanlab(inspection)
    assert list(table) == ["is_label_issue", "label_quality", "given_label", "predicted_label", "path"]
    row = table[table.path.str.endswith("b%2.png")].iloc[0]
    assert (row.is_label_issue, row.given_label, row.predicted_label) == (True, 0, 1)
    # The margin is 0.2 - 0.8.
    assert row.label_quality == pytest.approx(0.2)
    assert (table.given_label == table.predicted_label).sum() == 3


def test_table_is_read_again(inspection: Any) -> None:
    (issue,) = from_cleanlab(to_cleanlab(inspection), inspection)
    assert issue.image.path.endswith("b%2.png")
    assert (issue.label, issue.suggested_label, issue.is_confident) == ("cats", "dogs", True)
    assert issue.score == pytest.approx(0.8)


def table(inspection: Any, **columns: Any) -> Any:
    count = len(inspection.images)
    found = {"is_label_issue": [True] * count, "label_quality": [0.5] * count, "predicted_label": [0] * count}
    return pandas.DataFrame({**found, **columns})


def test_issues_are_in_the_order_of_their_quality(inspection: Any) -> None:
    others = 1 - inspection.images.labels
    found = from_cleanlab(table(inspection, label_quality=[0.3, 0.1, 0.4, 0.2], predicted_label=others), inspection)
    assert [issue.image for issue in found] == [inspection.images.key(index) for index in (1, 3, 0, 2)]
    cleaned = inspection.clean("correct", found[:1])
    assert not np.array_equal(cleaned.splits["train"].labels, inspection.data.splits["train"].labels)


def test_names_and_scores_of_datalab(inspection: Any) -> None:
    names = [inspection.data.class_names[1 - label] for label in inspection.images.labels]
    issues = table(inspection, predicted_label=names, label_score=[0.4] * 4).drop(columns="label_quality")
    assert [issue.suggested_label for issue in from_cleanlab(issues, inspection)] == names


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda issues: issues.drop(columns="predicted_label"), "with the columns"),
        (lambda issues: issues[:2], "one row for each of 4 images.*Received: 2 rows"),
        (lambda issues: issues.assign(predicted_label=7), "must be class indices below 2 or class names. Received: 7"),
        (lambda issues: issues.assign(predicted_label="mice"), "Received: 'mice'"),
    ],
)
def test_errors(change: Any, text: str, inspection: Any) -> None:
    with pytest.raises(tk.DataError, match=text):
        from_cleanlab(change(table(inspection)), inspection)


def test_issues_of_cleanlab_itself() -> None:
    cleanlab = pytest.importorskip("cleanlab.classification")
    linear_model = pytest.importorskip("sklearn.linear_model")
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    images = generator.integers(0, 60, (80, 8, 8, 3), np.uint8) + (labels * 150).astype(np.uint8)[:, None, None, None]
    wrong = [3, 50]
    given = labels.copy()
    given[wrong] = 1 - given[wrong]
    data = tk.DatasetBuilder((images, given), image_size=8).build()
    inspected = tk.inspect(data, _Means(), image_quality=False)
    learner = cleanlab.CleanLearning(linear_model.LogisticRegression())
    found = from_cleanlab(learner.find_label_issues(inspected.images.features, inspected.images.labels), inspected)
    positions = {inspected.images.source(issue.image).tobytes() for issue in found}
    assert positions == {images[index].tobytes() for index in wrong}


class _Means(tk.Backbone):
    """Mean and deviation of the pixels."""

    def __init__(self) -> None:
        pass

    def features(self, split: Any, **_: Any) -> np.ndarray:
        pixels = np.asarray(split.images, np.float32).reshape(len(split), -1)
        return np.stack([pixels.mean(axis=1) / 255, pixels.std(axis=1) / 255], axis=1)
