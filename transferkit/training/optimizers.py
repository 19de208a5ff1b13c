"""The optimizer of a phase, made from the options of a trainer."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from transferkit._utils.checks import check_int, check_number, did_you_mean
from transferkit.training.description import describe

# By measurement on 3 to 50 images per class, see docs/training.md. SGD without momentum needs larger steps.
_AUTO_LEARNING_RATES = {"sgd": 1e-2}
_AUTO_LEARNING_RATE = 1e-3
_AUTO_EMA_MOMENTUM = 0.99
# Keras' names of classes, without the wrapper for loss scaling, which follows from the precision.
_CLASSES = {
    name.lower(): value
    for name, value in sorted(vars(keras.optimizers).items())
    if isinstance(value, type) and issubclass(value, keras.optimizers.Optimizer)
    if name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
}


@dataclasses.dataclass(frozen=True)
class OptimizerOptions:
    """How optimizers are made; each phase has a new one.

    Attributes:
        optimizer: name of a Keras optimizer, or an instance whose settings are copied.
        learning_rate: float > 0 or "auto".
        weight_decay: decoupled weight decay; None for that of the optimizer.
        clip_norm: largest global norm of the gradients, or None.
        accumulate_steps: batches whose gradients are averaged for one update.
        ema: momentum of the exponential moving average of the weights; False for none, True for 0.99.
    """

    optimizer: str | keras.optimizers.Optimizer = "adam"
    learning_rate: float | str = "auto"
    weight_decay: float | None = None
    clip_norm: float | None = None
    accumulate_steps: int = 1
    ema: float | bool = False

    def __post_init__(self) -> None:
        _check_optimizer(self.optimizer)
        if self.learning_rate != "auto":
            check_number("learning_rate", self.learning_rate, above=0, hint='Give a number such as 1e-3, or "auto".')
        if self.weight_decay is not None:
            check_number("weight_decay", self.weight_decay, minimum=0)
        if self.clip_norm is not None:
            check_number("clip_norm", self.clip_norm, above=0)
        check_int("accumulate_steps", self.accumulate_steps)
        if not isinstance(self.ema, bool) and not 0 < check_number("ema", self.ema, above=0) < 1:
            raise ValueError(f"`ema` must be in (0, 1), or a bool. Received: {self.ema!r}. Give, for example, 0.99.")

    @property
    def rate(self) -> float:
        """The learning rate at which the frozen phase starts; for "auto", that of an instance, or by name."""
        if self.learning_rate != "auto":
            return float(self.learning_rate)
        if isinstance(self.optimizer, str):
            return _AUTO_LEARNING_RATES.get(self.optimizer.lower(), _AUTO_LEARNING_RATE)
        return rate_of(self.optimizer)

    @property
    def has_own_schedule(self) -> bool:
        """Whether the optimizer is an instance with a learning-rate schedule."""
        schedule = keras.optimizers.schedules.LearningRateSchedule
        return not isinstance(self.optimizer, str) and isinstance(
            getattr(self.optimizer, "_learning_rate", None), schedule
        )

    def make(self, learning_rate: Any) -> keras.optimizers.Optimizer:
        """Return a new optimizer; `learning_rate` is a number, a Keras schedule, or None for that of an instance."""
        if isinstance(self.optimizer, str):
            made = _CLASSES[self.optimizer.lower()](learning_rate=learning_rate, **self._overrides())
        else:
            config: dict[str, Any] = {**self.optimizer.get_config(), **self._overrides()}
            if learning_rate is not None:
                is_number = isinstance(learning_rate, float)
                serialize = keras.optimizers.schedules.serialize
                config["learning_rate"] = learning_rate if is_number else serialize(learning_rate)
            made = type(self.optimizer).from_config(config)
        if self.ema:
            # The callback that exchanges weights and averages has done it already, in the right order of variables.
            made.finalize_variable_values = lambda variables: None
        return made

    def _overrides(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.weight_decay is not None:
            options["weight_decay"] = float(self.weight_decay)
        if self.clip_norm is not None:
            # Keras accepts one kind of clipping.
            options |= {"global_clipnorm": float(self.clip_norm), "clipnorm": None, "clipvalue": None}
        if self.accumulate_steps > 1:
            options["gradient_accumulation_steps"] = int(self.accumulate_steps)
        if self.ema:
            momentum = _AUTO_EMA_MOMENTUM if self.ema is True else float(self.ema)
            options |= {"use_ema": True, "ema_momentum": momentum, "ema_overwrite_frequency": None}
        return options

    def identity(self) -> dict[str, Any]:
        """Return the options as plain values, for checkpoints."""
        return describe({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


def rate_of(optimizer: keras.optimizers.Optimizer) -> float:
    """Return the present learning rate."""
    # The sum is a tensor: a variable on several devices has no `__float__`.
    return float(keras.ops.add(optimizer.learning_rate, 0.0))


def _check_optimizer(optimizer: Any) -> None:
    if isinstance(optimizer, keras.optimizers.Optimizer):
        return
    if isinstance(optimizer, str) and optimizer.lower() in _CLASSES:
        return
    hint = did_you_mean(optimizer, _CLASSES) or f"The names are {', '.join(_CLASSES)}."
    raise ValueError(
        f"`optimizer` must be the name or an instance of a Keras optimizer. Received: {optimizer!r}. {hint}"
    )
