"""Losses on logits: the default of each kind of classification, or any loss of Keras."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras

from transferkit._utils.checks import did_you_mean

LOSSES = ("cross_entropy", "focal")
_CROSS_ENTROPY = ("cross_entropy", "crossentropy", "binary_crossentropy", "categorical_crossentropy")
# Losses that depend on the residual alone.
NUMBER_LOSSES: dict[str, Any] = {
    "mse": keras.losses.MeanSquaredError,
    "mae": keras.losses.MeanAbsoluteError,
    "huber": keras.losses.Huber,
}
_SPARSE = "sparse_categorical_crossentropy"
_FOCAL = ("focal", "binary_focal_crossentropy", "categorical_focal_crossentropy")


def to_columns(labels: Any, units: int) -> Any:
    """Return labels as float32 (n, units): class indices become one-hot vectors, other labels keep their values."""
    if units == 1:
        return keras.ops.reshape(keras.ops.cast(labels, "float32"), (-1, 1))
    if len(labels.shape) > 1 and labels.shape[-1] == units:
        return keras.ops.cast(labels, "float32")
    return keras.ops.one_hot(keras.ops.reshape(keras.ops.cast(labels, "int32"), (-1,)), units, dtype="float32")


@keras.saving.register_keras_serializable(package="transferkit")
class ColumnLoss(keras.losses.Loss):
    """Gives a loss that needs one column of labels per logit the class indices of a data set, as one-hot vectors.

    Args:
        loss: keras.losses.Loss for labels (n, units).
        units: int >= 1. Number of logits.
    """

    def __init__(self, loss: keras.losses.Loss, units: int, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name or loss.name, reduction=loss.reduction)
        self.loss, self.units = loss, units

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image."""
        return self.loss.call(to_columns(y_true, self.units), y_pred)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, for `from_config`."""
        return {"loss": keras.losses.serialize(self.loss), "units": self.units, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ColumnLoss:
        """Return a loss from `get_config()`."""
        return cls(**{**config, "loss": keras.losses.deserialize(config["loss"])})


@keras.saving.register_keras_serializable(package="transferkit")
class NumberLoss(keras.losses.Loss):
    """A loss of standardized residuals: that of labels and predictions divided by the scale of the labels.

    Args:
        loss: keras.losses.Loss.
        scale: float > 0.
    """

    def __init__(self, loss: keras.losses.Loss, scale: float, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name or loss.name, reduction=loss.reduction)
        self.loss, self.scale = loss, scale

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image."""
        residuals = (to_columns(y_true, 1) - keras.ops.cast(y_pred, "float32")) / self.scale
        return self.loss.call(residuals, keras.ops.zeros_like(residuals))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, for `from_config`."""
        return {"loss": keras.losses.serialize(self.loss), "scale": self.scale, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> NumberLoss:
        """Return a loss from `get_config()`."""
        return cls(**{**config, "loss": keras.losses.deserialize(config["loss"])})


def _number_loss(loss: Any, label_smoothing: float) -> keras.losses.Loss:
    """Return a loss of residuals, which are given as labels for predictions of 0."""
    if label_smoothing:
        raise ValueError(
            f"`label_smoothing` requires class labels. Received: {label_smoothing} with a RegressionHead. Remove it."
        )
    made = NUMBER_LOSSES[loss]() if isinstance(loss, str) and loss in NUMBER_LOSSES else loss
    if isinstance(made, tuple(NUMBER_LOSSES.values())):
        return made
    if loss is None:
        return keras.losses.MeanSquaredError()
    raise ValueError(
        f"`loss` must be one of {', '.join(map(repr, NUMBER_LOSSES))} for a RegressionHead. Received: {_name(loss)!r}. "
        "Omit it for 'mse'."
    )


def make_loss(
    kind: str,
    units: int,
    loss: Any = None,
    *,
    label_smoothing: float = 0.0,
    soft_labels: bool = False,
    scale: float = 1.0,
) -> Any:
    """Return a Keras loss for logits and the labels of a data set.

    Args:
        kind: "binary", "multi_class", "multi_label" or "number".
        units: number of logits.
        loss: None for cross-entropy, a name, or any loss of Keras on logits. Defaults to None.
        label_smoothing: in [0, 1). Defaults to 0.
        soft_labels: whether labels are fractions, as MixUp makes them. Defaults to False.
        scale: standard deviation of numbers as labels. Defaults to 1.
    """
    if kind == "number":
        return NumberLoss(_number_loss(loss, label_smoothing), scale)
    is_multi_class = kind == "multi_class"
    smoothing: dict[str, Any] = {"label_smoothing": label_smoothing} if label_smoothing else {}
    if loss is None or loss in _CROSS_ENTROPY or (is_multi_class and loss == _SPARSE):
        if not is_multi_class:
            made: keras.losses.Loss = keras.losses.BinaryCrossentropy(from_logits=True, **smoothing)
        elif not smoothing and not soft_labels:
            return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        else:
            made = keras.losses.CategoricalCrossentropy(from_logits=True, **smoothing)
    elif loss in _FOCAL:
        focal = keras.losses.CategoricalFocalCrossentropy if is_multi_class else keras.losses.BinaryFocalCrossentropy
        made = focal(from_logits=True, **smoothing)
    else:
        return _given_loss(loss, is_multi_class, units)
    return ColumnLoss(made, units) if is_multi_class else made


def check_loss(loss: Any, label_smoothing: float) -> None:
    """Raise a ValueError for a loss that cannot be used on logits, or smoothing that would be ignored."""
    known = (*_CROSS_ENTROPY, _SPARSE, *_FOCAL, "mse", "mae")
    if loss is None or (isinstance(loss, str) and loss in known):
        return
    if label_smoothing:
        raise ValueError(
            f"`label_smoothing` is not supported with the loss {_name(loss)!r}. Received: {label_smoothing}. Set it "
            "in the loss, or use loss='cross_entropy' or 'focal'."
        )
    if isinstance(loss, str):
        _named_loss(loss)
    elif not callable(loss):
        raise ValueError(
            f"`loss` must be a name, a keras.losses.Loss or a function. Received: {loss!r}. Give, for example, 'focal'."
        )
    elif isinstance(loss, keras.losses.Loss) and _config(loss).get("from_logits") is False:
        raise ValueError(
            f"`loss` is computed from logits. Received: {_name(loss)} with from_logits=False. "
            f"Write {type(loss).__name__}(from_logits=True)."
        )


def check_reduction(loss: Any) -> None:
    """Raise a ValueError for a loss that is not the mean over the images of a batch."""
    if isinstance(loss, keras.losses.Loss) and loss.reduction not in ("sum_over_batch_size", "mean"):
        raise ValueError(
            "`loss` must have the reduction 'sum_over_batch_size' on several devices. Received: "
            f"{_name(loss)} with {loss.reduction!r}. Omit `reduction`."
        )


def _given_loss(loss: Any, is_multi_class: bool, units: int) -> Any:
    loss = _named_loss(loss) if isinstance(loss, str) else loss
    is_keras = isinstance(loss, keras.losses.Loss) and type(loss).__module__.startswith("keras.")
    is_sparse = "sparse" in type(loss).__name__.lower()
    # Losses that users write get the labels of the data, as in Keras.
    return ColumnLoss(loss, units) if is_multi_class and is_keras and not is_sparse else loss


def _named_loss(name: str) -> Any:
    classes = {
        _snake(key): value
        for key, value in vars(keras.losses).items()
        if inspect.isclass(value) and issubclass(value, keras.losses.Loss) and value is not keras.losses.Loss
    }
    classes |= {name: NUMBER_LOSSES[name] for name in ("mse", "mae")}
    kind: Callable[..., Any] | None = classes.get(_snake(name))
    if kind is None:
        names = sorted({*LOSSES, *classes})
        hint = did_you_mean(name, names) or f"The names are {', '.join(names)}."
        raise ValueError(f"`loss` must be the name of a loss. Received: {name!r}. {hint}")
    takes_logits = "from_logits" in inspect.signature(kind).parameters
    return kind(from_logits=True) if takes_logits else kind()


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _config(loss: keras.losses.Loss) -> dict[str, Any]:
    try:
        return loss.get_config()
    except NotImplementedError:
        return {}


def _name(loss: Any) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
