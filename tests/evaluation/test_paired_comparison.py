"""Report.compare: difference, interval and McNemar's test of two classifiers on the same images."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.evaluation import Report


def report_of(correct: np.ndarray, **options: object) -> Report:
    """Return a report of images of two classes by turns, that are predicted correctly or not."""
    labels = np.arange(len(correct)) % 2
    predicted = np.where(correct, labels, 1 - labels)
    probabilities = np.where(np.eye(2)[predicted] == 1, 0.8, 0.2)
    return Report(labels, probabilities, **{"class_names": ["cat", "dog"], **options})  # type: ignore[arg-type]


FIRST = report_of(np.array([True] * 9 + [False]))
SECOND = report_of(np.array([True] * 4 + [False] * 5 + [True]))


def test_compare_by_hand() -> None:
    found = FIRST.compare(SECOND)
    assert (found.metric, found.only_first, found.only_second) == ("accuracy", 5, 1)
    assert found.difference == pytest.approx(0.9 - 0.5)
    # Exact test: 2 (1 + 6) / 2^6.
    assert found.p_value == 0.21875
    assert found.interval.low < found.difference < found.interval.high
    assert (
        str(found) == f"accuracy: difference +0.4000 {found.interval}, p = 0.2188 (5 and 1 images correct in one only)"
    )


def test_compare_is_antisymmetric() -> None:
    there, back = FIRST.compare(SECOND, seed=1), SECOND.compare(FIRST, seed=1)
    assert back.difference == -there.difference and back.p_value == there.p_value
    assert back.interval == pytest.approx((-there.interval.high, -there.interval.low))


def test_compare_with_itself_is_0() -> None:
    found = FIRST.compare(FIRST, "macro_f1")
    assert (found.difference, found.interval, found.p_value, found.metric) == (0, (0, 0), 1, "macro_f1")


def test_compare_uses_the_same_images_for_both() -> None:
    # Both fail on nearly the same images: the difference varies much less than each accuracy.
    correct = np.random.default_rng(0).random(500) < 0.7
    other = correct.copy()
    other[np.flatnonzero(correct)[:5]] = False
    first, second = report_of(correct), report_of(other)
    low, high = first.compare(second).interval
    assert high - low < 0.3 * np.diff(first.confidence_interval())[0]
    assert low >= 0 and first.compare(second).difference == pytest.approx(0.01)


def test_compare_function_has_its_name() -> None:
    def smallest_recall(report: Report) -> float:
        return min(row["recall"] for row in report.per_class.values())

    found = FIRST.compare(SECOND, smallest_recall, samples=20)
    assert (found.metric, found.difference) == ("smallest_recall", pytest.approx(0.8 - 0.4))


def test_compare_multi_label_counts_images() -> None:
    labels = [[1, 0], [1, 1], [0, 0]]
    first = Report(labels, labels, class_names=["a", "b"])
    second = Report(labels, [[0, 1], [1, 0], [0, 0]], class_names=["a", "b"])
    found = first.compare(second)
    assert (found.only_first, found.only_second, found.difference) == (2, 0, pytest.approx(3 / 6))


@pytest.mark.parametrize(
    ("other", "received"),
    [
        (report_of(np.ones(10, bool), class_names=["cat", "fox"]), r"classes \['cat', 'dog'\] and \['cat', 'fox'\]"),
        (report_of(np.ones(8, bool)), r"labels \(10,\) and \(8,\)"),
        (Report([0] * 10, [[1, 0]] * 10, class_names=["cat", "dog"]), "different labels of 5 images"),
        (Report(np.ones((10, 2)), np.eye(2)[[0] * 10], class_names=["cat", "dog"]), r"labels \(10,\) and \(10, 2\)"),
    ],
)
def test_compare_other_images_raises(other: Report, received: str) -> None:
    with pytest.raises(ValueError, match=f"must be of the same images in the same order. Received: {received}"):
        FIRST.compare(other)


def test_compare_other_paths_raises() -> None:
    correct = np.ones(2, bool)
    first, second = report_of(correct, paths=["a", "b"]), report_of(correct, paths=["a", "c"])
    with pytest.raises(ValueError, match="different files, such as 'b' and 'c'"):
        first.compare(second)
    assert first.compare(report_of(correct)).difference == 0


def test_compare_something_else_raises() -> None:
    with pytest.raises(TypeError, match=r"`other` and `reports` must be of class Report\. Received: float"):
        FIRST.compare(0.9)  # type: ignore[arg-type]
