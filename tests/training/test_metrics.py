"""Metrics of a classifier: golden values by hand, and equality with scikit-learn."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from transferkit.training.metrics import METRICS, BalancedAccuracy, make_metrics

LABELS = np.array([0, 0, 0, 1, 1, 2])
# Predicted classes 0, 0, 1, 1, 2, 2.
LOGITS = np.array(
    [[3, 0, 0], [2, 1, 0], [0, 1, -1], [0, 2, 1], [0, 1, 2], [-1, 0, 3]],
    "float32",
)


def value(kind: str, name: object, labels: np.ndarray, logits: np.ndarray, *, soft: bool = False) -> float:
    metric = make_metrics(kind, logits.shape[1], [name], soft_labels=soft)[-1]
    # In two batches, as in training.
    metric.update_state(keras.ops.convert_to_tensor(labels[:4]), keras.ops.convert_to_tensor(logits[:4]))
    metric.update_state(keras.ops.convert_to_tensor(labels[4:]), keras.ops.convert_to_tensor(logits[4:]))
    return float(metric.result())


def test_metrics_of_three_classes_by_hand() -> None:
    assert value("multi_class", "accuracy", LABELS, LOGITS) == pytest.approx(4 / 6)
    # Recalls 2/3, 1/2 and 1.
    assert value("multi_class", "balanced_accuracy", LABELS, LOGITS) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    # F1: class 0 precision 1, recall 2/3; class 1 1/2 and 1/2; class 2 1/2 and 1.
    assert value("multi_class", "macro_f1", LABELS, LOGITS) == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert value("multi_class", "top_2_accuracy", LABELS, LOGITS) == pytest.approx(1.0)
    assert value("multi_class", "top_1_accuracy", LABELS, LOGITS) == pytest.approx(4 / 6)


def test_metrics_of_two_classes_by_hand() -> None:
    labels, logits = np.array([0, 0, 0, 1, 1, 1]), np.array([[-2], [-1], [1], [0.2], [2], [3]], "float32")
    assert value("binary", "accuracy", labels, logits) == pytest.approx(5 / 6)
    # Predicted 0, 0, 1, 1, 1, 1: F1 of the first class 4/5, of the second 6/7.
    assert value("binary", "macro_f1", labels, logits) == pytest.approx((4 / 5 + 6 / 7) / 2)
    assert value("binary", "balanced_accuracy", labels, logits) == pytest.approx((2 / 3 + 1) / 2)
    # Of the 9 pairs of images, 8 are in the right order.
    assert value("binary", "auc", labels, logits) == pytest.approx(8 / 9, abs=0.01)
    assert value("binary", keras.metrics.Precision(name="p"), labels, logits) == pytest.approx(3 / 4)
    assert value("binary", "precision_at_recall_0.5", labels, logits) == pytest.approx(1.0)


def test_metrics_equal_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    labels, logits = generator.integers(0, 5, 400), generator.normal(size=(400, 5)).astype("float32")
    logits[np.arange(400), labels] += 1
    predicted = logits.argmax(axis=1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = {
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "macro_f1": metrics.f1_score(labels, predicted, average="macro"),
        "top_3_accuracy": metrics.top_k_accuracy_score(labels, logits, k=3),
        "auc": metrics.roc_auc_score(labels, probabilities, multi_class="ovr"),
    }
    for name, reference in expected.items():
        # Keras' AUC is a sum over 200 thresholds.
        assert value("multi_class", name, labels, logits) == pytest.approx(
            reference, abs=3e-3 if name == "auc" else 1e-6
        )


def test_multi_label_macro_f1_by_hand() -> None:
    labels = np.array([[1, 0], [1, 1], [0, 1], [0, 0], [1, 0]], "float32")
    logits = np.array([[2, -1], [-1, 1], [-1, -1], [1, -1], [1, 1]], "float32")
    # Class 0: 2 true positives, 1 false positive, 1 false negative; class 1: 1, 1, 1.
    assert value("multi_label", "macro_f1", labels, logits) == pytest.approx((2 / 3 + 1 / 2) / 2)
    for name in ("balanced_accuracy", "top_1_accuracy"):
        with pytest.raises(ValueError, match="`metrics` must suit independent labels"):
            make_metrics("multi_label", 2, [name])


def test_soft_labels_count_as_their_larger_class() -> None:
    soft = np.eye(3, dtype="float32")[LABELS] * 0.7 + 0.1
    for name in ("accuracy", "macro_f1", "balanced_accuracy", "auc"):
        expected = value("multi_class", name, LABELS, LOGITS)
        assert value("multi_class", name, soft, LOGITS, soft=True) == pytest.approx(expected)
        # Labels of validation images stay class indices.
        assert value("multi_class", name, LABELS, LOGITS, soft=True) == pytest.approx(expected)


@pytest.mark.parametrize("name", METRICS)
def test_metric_config_round_trip(name: str) -> None:
    for metric in make_metrics("multi_class", 6, [name]):
        copy = keras.metrics.deserialize(keras.metrics.serialize(metric))
        assert copy.name == metric.name and copy.get_config() == metric.get_config()


def test_balanced_accuracy_of_missing_class() -> None:
    metric = BalancedAccuracy(3)
    assert float(metric.result()) == 0
    metric.update_state(np.eye(3, dtype="float32")[[0, 0, 1]], np.eye(3, dtype="float32")[[0, 1, 1]])
    assert float(metric.result()) == pytest.approx(0.75)


def test_function_as_metric_gets_probabilities_and_data_labels() -> None:
    def mean_confidence(y_true: object, y_pred: object) -> object:
        assert len(y_true.shape) == 1  # type: ignore[attr-defined]
        return keras.ops.max(y_pred, axis=-1)

    expected = (np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)).max(axis=1).mean()
    assert value("multi_class", mean_confidence, LABELS, LOGITS) == pytest.approx(expected, abs=1e-6)
