"""Compiles a classifier with the trainer's optimizer, loss and metrics, and never replaces those of the user."""

from __future__ import annotations

import keras

from transferkit.modeling.keras_graph import release_graphs
from transferkit.modeling.precision import has_gpu, with_loss_scaling
from transferkit.modeling.serialization import check_serializable
from transferkit.training.arguments import check_trainable
from transferkit.training.objective import Objective

# Distinguishes the optimizers of trainers from those of users.
_OPTIMIZER_NAME = "transferkit_adam"


def check_not_compiled(model: keras.Model) -> None:
    """Raise a ValueError when the user compiled `model`: the settings would be lost."""
    if model.compiled and model.optimizer.name != _OPTIMIZER_NAME:
        optimizer, loss = type(model.optimizer).__name__, model.loss
        shown = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
        raise ValueError(
            "`model` must not be compiled: the trainer compiles it with Adam, a loss for logits, and accuracy. "
            f"Received: a model compiled with {optimizer} and {shown}. Omit compile(...) and give the trainer "
            "`learning_rate`, or train the model with Keras' own fit."
        )


class Compilation:
    """The optimizer of a trainer, and the state of the model for which it was made.

    Attributes:
        objective: the `Objective` of the present loss and metrics.
    """

    def __init__(self, model: keras.Model, precision: str, objective: Objective, learning_rate: float) -> None:
        self._model, self._precision = model, precision
        self._is_serializable = False
        self._make_optimizer(objective, learning_rate)
        if not model.compiled:
            # A model that another trainer compiled stays with it until this one trains.
            self._compile()

    @property
    def learning_rate(self) -> float:
        """The present learning rate of the optimizer."""
        return float(self._optimizer.learning_rate)

    def renew(self, objective: Objective, learning_rate: float) -> None:
        """Compile with a new optimizer: a change of `trainable` takes effect only after compiling."""
        self._make_optimizer(objective, learning_rate)
        self._compile()

    def prepare(self, objective: Objective) -> None:
        """Check before a phase of training that its result can be saved, and compile again where something changed.

        That may be the objective, `trainable` or, by another trainer of the same model, the optimizer.
        """
        check_not_compiled(self._model)
        check_trainable(self._model)
        if not self._is_serializable:
            check_serializable(self._model)
            self._is_serializable = True
        if objective != self.objective or self._trained != self._trained_variables():
            self.renew(objective, self.learning_rate)
        elif self._model.optimizer is not self._optimizer:
            self._compile()

    def _make_optimizer(self, objective: Objective, learning_rate: float) -> None:
        self.objective = objective
        adam = release_graphs(keras.optimizers.Adam(learning_rate))
        # Under the policy mixed_float16 Keras would wrap it in `compile`, and it would be taken for the user's.
        self._optimizer = with_loss_scaling(adam, self._precision, self._model.dtype_policy.name)
        self._optimizer.name = _OPTIMIZER_NAME
        # Built for the whole model, the optimizer lists its variables in one order, whichever part is trained.
        self._optimizer.build(self._model.trainable_variables)
        self._trained = self._trained_variables()

    def _compile(self) -> None:
        loss, metrics = self.objective.loss(), self.objective.metrics()
        self._model.compile(optimizer=self._optimizer, loss=loss, metrics=metrics, jit_compile=jit_compile_mode())

    def _trained_variables(self) -> list[int]:
        return [id(variable) for variable in self._model.trainable_variables]


def jit_compile_mode() -> bool | str:
    """Return Keras' `jit_compile` for this machine: XLA makes convolutional networks ten times slower on a CPU."""
    return "auto" if has_gpu() else False
