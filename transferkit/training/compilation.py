"""Compiles a classifier with the trainer's optimizer, loss and metrics, and never replaces those of the user."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from transferkit.modeling.keras_graph import release_graphs
from transferkit.modeling.precision import has_gpu, with_loss_scaling
from transferkit.modeling.serialization import check_serializable
from transferkit.training.arguments import check_trainable
from transferkit.training.description import describe
from transferkit.training.layer_rates import set_layer_rates
from transferkit.training.objective import Objective
from transferkit.training.optimizers import OptimizerOptions, rate_of
from transferkit.training.schedules import make_schedule

# Distinguishes the optimizers of trainers from those of users.
_OPTIMIZER_NAME = "transferkit_optimizer"


def check_not_compiled(model: keras.Model) -> None:
    """Raise a ValueError when the user compiled `model`: the settings would be lost."""
    if model.compiled and model.optimizer.name != _OPTIMIZER_NAME:
        optimizer, loss = type(model.optimizer).__name__, model.loss
        shown = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
        raise ValueError(
            "`model` must not be compiled: the trainer compiles it with its optimizer, a loss for logits, and metrics. "
            f"Received: a model compiled with {optimizer} and {shown}. Omit compile(...) and give the trainer "
            "`optimizer`, `loss` and `metrics`, or train the model with Keras' own fit."
        )


@dataclasses.dataclass(frozen=True)
class UpdateOptions:
    """How the weights are updated in one phase.

    Attributes:
        rate: the learning rate, of a schedule the largest one; None for that of the optimizer given by the user.
        schedule: see `make_schedule`.
        layer_decay, l2_sp: see `set_layer_rates`.
    """

    rate: float | None
    schedule: Any = "constant"
    layer_decay: float = 1.0
    l2_sp: float = 0.0

    def identity(self) -> dict[str, Any]:
        """Return plain values, for checkpoints."""
        return describe(vars(self))


class Compilation:
    """The optimizer of a trainer, and the state of the model for which it was made.

    Attributes:
        objective: the `Objective` of the present loss and metrics.
        updates: the `UpdateOptions` of the present optimizer.
    """

    objective: Objective
    updates: UpdateOptions
    _optimizer: Any
    _trained: list[int]

    def __init__(self, model: keras.Model, precision: str, objective: Objective, options: OptimizerOptions) -> None:
        self._model, self._precision, self._options = model, precision, options
        self._is_serializable = False
        self._make_optimizer(objective, UpdateOptions(None if options.has_own_schedule else options.rate), 1)
        if not model.compiled:
            # A model that another trainer compiled stays with it until this one trains.
            self._compile()

    @property
    def learning_rate(self) -> float:
        """The learning rate: of a schedule, the largest one."""
        rate = self.updates.rate
        return rate_of(self._optimizer) if rate is None or self._is_constant() else rate

    def prepare(
        self, objective: Objective, updates: UpdateOptions | None = None, *, steps: int = 1, renew: bool = False
    ) -> None:
        """Check before a phase of training that its result can be saved, and compile again where something changed.

        That may be the objective, the updates, `trainable` or, by another trainer of the same model, the optimizer.
        An optimizer with a constant learning rate is used on, with its state and another rate, unless `renew` is set.
        """
        check_not_compiled(self._model)
        check_trainable(self._model)
        if not self._is_serializable:
            check_serializable(self._model)
            self._is_serializable = True
        updates = updates or self.updates
        has_same_rules = dataclasses.replace(updates, rate=self.updates.rate) == self.updates and self._is_constant()
        changed = objective != self.objective or self._trained != self._trained_variables()
        if renew or changed or not has_same_rules or updates.rate is None:
            self._make_optimizer(objective, updates, steps)
            self._compile()
            return
        self.updates = updates
        self._optimizer.learning_rate = updates.rate
        if self._model.optimizer is not self._optimizer:
            self._compile()

    def _make_optimizer(self, objective: Objective, updates: UpdateOptions, steps: int) -> None:
        self.objective, self.updates = objective, updates
        rate = None if updates.rate is None else make_schedule(updates.schedule, updates.rate, steps)
        optimizer = release_graphs(self._options.make(rate))
        # Under the policy mixed_float16 Keras would wrap it in `compile`, and it would be taken for the user's.
        self._optimizer = with_loss_scaling(optimizer, self._precision, self._model.dtype_policy.name)
        self._optimizer.name = _OPTIMIZER_NAME
        # Built for the whole model, the optimizer lists its variables in one order, whichever part is trained.
        self._optimizer.build(self._model.trainable_variables)
        set_layer_rates(self._optimizer, self._model, layer_decay=updates.layer_decay, l2_sp=updates.l2_sp)
        self._trained = self._trained_variables()

    def _compile(self) -> None:
        loss, metrics = self.objective.loss(), self.objective.metrics()
        self._model.compile(optimizer=self._optimizer, loss=loss, metrics=metrics, jit_compile=jit_compile_mode())

    def _is_constant(self) -> bool:
        return self.updates.rate is not None and self.updates.schedule == "constant"

    def _trained_variables(self) -> list[int]:
        return [id(variable) for variable in self._model.trainable_variables]


def jit_compile_mode() -> bool | str:
    """Return Keras' `jit_compile` for this machine: XLA makes convolutional networks ten times slower on a CPU."""
    return "auto" if has_gpu() else False
