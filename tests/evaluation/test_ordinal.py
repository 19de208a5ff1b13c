"""Metrics of classes in an order and of groups of classes: equality with scikit-learn, golden numbers, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from transferkit.evaluation import Report

NAMES = ["cat/siamese", "cat/persian", "dog/pug", "dog/beagle", "bird"]


def random_report(seed: int) -> Report:
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(5), 60)
    return Report(generator.integers(5, size=60), probabilities, class_names=NAMES)


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_those_of_scikit_learn(seed: int) -> None:
    report = random_report(seed)
    expected = cohen_kappa_score(report.labels, report.predictions, weights="quadratic")
    assert report.quadratic_kappa == pytest.approx(expected)
    assert report.mean_absolute_error == pytest.approx(mean_absolute_error(report.labels, report.predictions))


def test_metrics_of_four_images() -> None:
    # Predicted 0, 1, 2, 0 for 0, 2, 2, 2: distances 0, 1, 0, 2.
    report = Report([0, 2, 2, 2], np.eye(3)[[0, 1, 2, 0]], class_names=["a", "b", "c"])
    assert report.mean_absolute_error == 0.75 and report.within_one_accuracy == 0.75
    # Squared distances 5/4; of independent images 3 + 5/4 - 2 * 1.5 * 0.75.
    assert report.quadratic_kappa == pytest.approx(1 - 1.25 / 2)


def test_kappa_of_one_class_is_nan() -> None:
    assert math.isnan(Report([1, 1], np.eye(3)[[1, 1]], class_names=["a", "b", "c"]).quadratic_kappa)


@pytest.mark.parametrize("metric", ["quadratic_kappa", "mean_absolute_error", "within_one_accuracy"])
def test_interval_contains_the_value_and_equals_that_of_a_function(metric: str) -> None:
    report = random_report(0)
    low, high = report.confidence_interval(metric, samples=200)
    assert low < getattr(report, metric) < high
    by_function = report.confidence_interval(lambda part: getattr(part, metric), samples=200)
    assert (low, high) == pytest.approx(by_function)


def test_order_requires_one_label_per_image() -> None:
    report = Report([[0, 1]], [[0.2, 0.7]], class_names=["a", "b"])
    with pytest.raises(
        ValueError, match="The metric 'quadratic_kappa' requires one label per image. Received: several"
    ):
        _ = report.quadratic_kappa


def test_groups_sum_the_probabilities_of_their_classes() -> None:
    report = random_report(0)
    grouped = report.grouped("/")
    assert grouped.class_names == ("bird", "cat", "dog")
    np.testing.assert_allclose(grouped.probabilities[:, 1], report.probabilities[:, :2].sum(axis=1))
    group_of = np.array([1, 1, 2, 2, 0])
    np.testing.assert_array_equal(grouped.labels, group_of[report.labels])
    mapping = {name: name.partition("/")[0] for name in NAMES}
    np.testing.assert_array_equal(report.grouped(mapping).probabilities, grouped.probabilities)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"bird": "x"}, "`groups` must have a group for every class. Received: none for 'cat/siamese'"),
        ({"birds": "x"}, "`groups` must have names of classes as keys. Received: 'birds'. Did you mean 'bird'"),
        (dict.fromkeys(NAMES, "x"), r"`groups` must have at least two groups. Received: \['x'\]"),
        ("", "`groups` must be a dict or a separator. Received: ''"),
    ],
)
def test_invalid_groups_raise(groups: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_report(0).grouped(groups)  # type: ignore[arg-type]


def test_groups_require_one_label_per_image() -> None:
    with pytest.raises(ValueError, match="`grouped` requires one label per image. Received: several"):
        Report([[0, 1]], [[0.2, 0.7]], class_names=["a", "b"]).grouped({"a": "x", "b": "y"})
