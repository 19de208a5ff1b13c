"""Metrics of a classifier by name, and any metric of Keras, computed from logits and the labels of a data set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras

from transferkit._utils.checks import did_you_mean
from transferkit.training.losses import to_columns

METRICS = (
    "accuracy",
    "auc",
    "balanced_accuracy",
    "macro_f1",
    "pr_auc",
    "precision_at_recall_0.9",
    "top_5_accuracy",
)
_TOP_K = re.compile(r"top_(\d+)_accuracy$")
_PRECISION_AT_RECALL = re.compile(r"precision_at_recall_(0?\.\d+|1(?:\.0)?)$")


@keras.saving.register_keras_serializable(package="transferkit")
class BalancedAccuracy(keras.metrics.Metric):
    """Mean recall of the classes that have images, as `balanced_accuracy_score` of scikit-learn.

    Args:
        num_classes: int >= 2. Labels and predictions are one-hot, or probabilities, (n, num_classes).
        name: str. Defaults to "balanced_accuracy".
    """

    def __init__(self, num_classes: int, name: str = "balanced_accuracy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.num_classes = num_classes
        self._hits = self.add_variable((num_classes,), "zeros", name="hits")
        self._counts = self.add_variable((num_classes,), "zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        ops = keras.ops
        if sample_weight is not None:
            y_true = y_true * ops.reshape(ops.cast(sample_weight, y_true.dtype), (-1, 1))
        hits = y_true * ops.one_hot(ops.argmax(y_pred, axis=-1), self.num_classes, dtype=y_true.dtype)
        self._hits.assign_add(ops.sum(hits, axis=0))
        self._counts.assign_add(ops.sum(y_true, axis=0))

    def result(self) -> Any:
        """Return the mean recall."""
        ops = keras.ops
        recalls = ops.divide_no_nan(self._hits, self._counts)
        present = ops.cast(self._counts > 0, recalls.dtype)
        return ops.divide_no_nan(ops.sum(recalls), ops.sum(present))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, for `from_config`."""
        return {**super().get_config(), "num_classes": self.num_classes}


@keras.saving.register_keras_serializable(package="transferkit")
class ProbabilityMetric(keras.metrics.Metric):
    """Gives a metric probabilities instead of logits, and labels in the form that it needs.

    Args:
        metric: keras.metrics.Metric.
        kind: "binary", "multi_class" or "multi_label".
        units: int >= 1. Number of logits.
        labels: "columns" (n, units), "one_hot" (n, classes; two for a binary classifier), "indices" (n,) or "data", as
            in the data set.
        name: str. Defaults to that of the metric.
    """

    def __init__(
        self, metric: keras.metrics.Metric, kind: str, units: int, labels: str = "columns", name: str | None = None
    ) -> None:
        super().__init__(name=name or metric.name)
        self.metric, self.kind, self.units, self.labels = metric, kind, units, labels

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Add a batch of labels and logits."""
        ops = keras.ops
        if self.kind == "number":
            return self.metric.update_state(to_columns(y_true, 1), y_pred, sample_weight=sample_weight)
        y_pred = ops.softmax(y_pred) if self.kind == "multi_class" else ops.sigmoid(y_pred)
        if self.labels == "columns":
            y_true = self._hard_columns(y_true)
        elif self.labels == "one_hot":
            y_true = self._hard_columns(y_true)
            if self.units == 1:
                y_true = ops.concatenate([1 - y_true, y_true], axis=-1)
                y_pred = ops.concatenate([1 - y_pred, y_pred], axis=-1)
        elif self.labels == "indices":
            y_true = ops.argmax(to_columns(y_true, self.units), axis=-1)
        return self.metric.update_state(y_true, y_pred, sample_weight=sample_weight)

    def _hard_columns(self, labels: Any) -> Any:
        """Return labels of 0 and 1: MixUp gives an image fractions of two classes, of which the larger counts."""
        columns = to_columns(labels, self.units)
        if self.kind == "multi_class":
            return keras.ops.one_hot(keras.ops.argmax(columns, axis=-1), self.units, dtype="float32")
        return keras.ops.cast(columns > 0.5, "float32")

    def result(self) -> Any:
        """Return the value of the metric."""
        return self.metric.result()

    def reset_state(self) -> None:
        """Start again."""
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, for `from_config`."""
        metric = keras.metrics.serialize(self.metric)
        return {"metric": metric, "kind": self.kind, "units": self.units, "labels": self.labels, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ProbabilityMetric:
        """Return a metric from `get_config()`."""
        return cls(**{**config, "metric": keras.metrics.deserialize(config["metric"])})


def accuracy(kind: str, units: int, *, soft_labels: bool = False) -> keras.metrics.Metric:
    """Return the accuracy on logits, named "accuracy"."""
    if soft_labels:
        of_columns = keras.metrics.CategoricalAccuracy if kind == "multi_class" else keras.metrics.BinaryAccuracy
        return ProbabilityMetric(of_columns(name="accuracy"), kind, units)
    if kind == "multi_class":
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    # Keras' default threshold of 0.5 is for probabilities; of a logit it would mean a probability of 0.62.
    return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)


def make_metrics(
    kind: str, units: int, metrics: Sequence[Any] | None, *, soft_labels: bool = False
) -> list[keras.metrics.Metric]:
    """Return new metrics for logits: accuracy and those of `metrics`, which get probabilities.

    Raises:
        ValueError: for an unknown name, or a metric that does not exist for this kind of classification.
    """
    if kind == "number":
        return _number_metrics(metrics or ())
    made = [accuracy(kind, units, soft_labels=soft_labels)]
    made += [_make(metric, kind, units) for metric in metrics or () if metric != "accuracy"]
    names = [metric.name for metric in made]
    if len(set(names)) < len(names):
        raise ValueError(f"`metrics` must have different names. Received: {names}. Give one of them name=...")
    return made


def _number_metrics(metrics: Sequence[Any]) -> list[keras.metrics.Metric]:
    """Return the metrics of numbers, in the unit of the labels."""
    if metrics:
        raise ValueError(
            f"`metrics` requires class labels. Received: {list(metrics)!r} with a RegressionHead, whose metrics are "
            "'mae', 'rmse' and 'r2'. Remove it."
        )
    made = [keras.metrics.MeanAbsoluteError(name="mae"), keras.metrics.RootMeanSquaredError(name="rmse")]
    return [ProbabilityMetric(metric, "number", 1) for metric in (*made, keras.metrics.R2Score(name="r2"))]


def _make(metric: Any, kind: str, units: int) -> keras.metrics.Metric:
    if isinstance(metric, str):
        found = _named(metric, kind, units)
        if found is not None:
            return found
        metric = _keras_metric(metric)
    if isinstance(metric, type) and issubclass(metric, keras.metrics.Metric):
        metric = metric()
    if isinstance(metric, keras.metrics.Metric):
        # A metric belongs to one model: the classifier and its trained part have one each.
        copy = type(metric).from_config(metric.get_config())
        return ProbabilityMetric(copy, kind, units, _label_form(copy, kind))
    if callable(metric):
        name = getattr(metric, "__name__", type(metric).__name__)
        return ProbabilityMetric(keras.metrics.MeanMetricWrapper(metric, name=name), kind, units, "data")
    raise ValueError(
        f"`metrics` must be names, Keras metrics or functions. Received: {metric!r}. "
        f"The names are {', '.join(METRICS)}."
    )


def _label_form(metric: keras.metrics.Metric, kind: str) -> str:
    if not type(metric).__module__.startswith("keras."):
        # Metrics that users write get the labels of the data, as in Keras.
        return "data"
    return "indices" if kind == "multi_class" and type(metric).__name__.startswith("Sparse") else "columns"


def _named(name: str, kind: str, units: int) -> keras.metrics.Metric | None:
    lowered = name.lower()
    if lowered in ("auc", "pr_auc"):
        curve = "PR" if lowered == "pr_auc" else "ROC"
        options = {} if kind == "binary" else {"multi_label": True, "num_labels": units}
        return ProbabilityMetric(keras.metrics.AUC(curve=curve, name=name, **options), kind, units)
    if lowered == "macro_f1":
        threshold = 0.5 if kind == "multi_label" else None
        metric = keras.metrics.F1Score(average="macro", threshold=threshold, name=name)
        return ProbabilityMetric(metric, kind, units, "one_hot")
    if lowered == "balanced_accuracy":
        _refuse_multi_label(name, kind)
        return ProbabilityMetric(BalancedAccuracy(max(2, units), name=name), kind, units, "one_hot")
    if match := _TOP_K.match(lowered):
        _refuse_multi_label(name, kind)
        if int(match[1]) > max(2, units) or int(match[1]) < 1:
            raise ValueError(
                f"`metrics` must have a k in 'top_k_accuracy' of at least 1 and at most the {max(2, units)} classes. "
                f"Received: {name!r}. Give another number."
            )
        return ProbabilityMetric(
            keras.metrics.TopKCategoricalAccuracy(int(match[1]), name=name), kind, units, "one_hot"
        )
    if match := _PRECISION_AT_RECALL.match(lowered):
        return ProbabilityMetric(keras.metrics.PrecisionAtRecall(float(match[1]), name=name), kind, units)
    return None


def _keras_metric(name: str) -> Any:
    try:
        return keras.metrics.get(name)
    except ValueError:
        hint = did_you_mean(name, METRICS) or f"The names are {', '.join(METRICS)}."
        raise ValueError(f"`metrics` must have names of metrics. Received: {name!r}. {hint}") from None


def _refuse_multi_label(name: str, kind: str) -> None:
    if kind == "multi_label":
        raise ValueError(
            f"`metrics` must suit independent labels. Received: {name!r}, which needs one label per image. "
            "Use 'macro_f1', 'auc' or 'pr_auc'."
        )
