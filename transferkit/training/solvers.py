"""Which solver a phase uses: training steps, the optimum of a linear head, or weights computed from features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from transferkit._utils.checks import check_choice, check_number
from transferkit.data.dataset import Data
from transferkit.data.examples import Split
from transferkit.data.numbers import require_classes
from transferkit.features.linear_probe import FEW_PER_CLASS
from transferkit.head import few_shot_kind
from transferkit.training.arguments import check_data
from transferkit.training.linear_solver import linear_head
from transferkit.training.optimizers import OptimizerOptions
from transferkit.training.runner import Runner

SOLVERS = ("auto", "adam", "lbfgs")


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """Arguments of `fit` that only training steps use.

    Attributes:
        values: name of the argument to its value, None or empty where it is not given.
        epochs, num_views: arguments of `fit`, which the other solvers accept.
    """

    values: Mapping[str, Any]
    epochs: int | str = "auto"
    num_views: int | str = "auto"

    def given(self) -> dict[str, Any]:
        """Return those that were given, by name."""
        return {name: value for name, value in self.values.items() if not _is_default(name, value)}


def choose_solver(solver: str, l2: float | str, runner: Runner, data: Any, options: StepOptions) -> str:
    """Return "adam", "lbfgs", or the kind of a head that is computed.

    Raises:
        ValueError: for an unknown solver, or with an option that it does not support.
    """
    check_choice("solver", solver, SOLVERS)
    if solver == "lbfgs":
        require_classes(data, "solver='lbfgs'")
    objective, optimizer = runner.settings.objective, runner.settings.optimizer
    of_trainer = {"loss": objective["loss_name"], "label_smoothing": objective["label_smoothing"], "ema": optimizer.ema}
    options = dataclasses.replace(options, values={**options.values, **of_trainer})
    chosen = _resolve(solver, runner, data, options)
    if l2 != "auto":
        check_number("l2", l2, minimum=0, hint='Give a number such as 0.01, or "auto".')
    if l2 != "auto" and chosen != "lbfgs":
        raise ValueError(f"`l2` is for solver='lbfgs'. Received: l2={l2!r} with {_described(chosen)}. Omit it.")
    for name, value in options.given().items():
        if chosen != "adam":
            raise ValueError(
                f"`{name}` is not supported with {_described(chosen)}, which has no epochs. Received: {value!r}. Omit "
                "it, or use solver='adam' with a linear head."
            )
    return chosen


def check_steps_suit(model: keras.Model) -> None:
    """Raise a ValueError for a classifier whose head is computed, and not trained by steps."""
    kind = few_shot_kind(model)
    if kind is not None:
        raise ValueError(
            f"Fine-tuning requires a head that is trained by steps. Received: kind={kind!r}. Build the classifier with "
            "ClassifierHead(..., kind='linear')."
        )


def _resolve(solver: str, runner: Runner, data: Any, options: StepOptions) -> str:
    kind = few_shot_kind(runner.model)
    if kind is not None:
        if solver != "auto":
            raise ValueError(
                f"`solver` must be 'auto' for a head of kind={kind!r}, which is computed from the features. Received: "
                f"{solver!r}. Omit it."
            )
        return kind
    if solver != "auto":
        return solver
    return "lbfgs" if not options.given() and _is_few_shot(runner, data, options) else "adam"


def _is_few_shot(runner: Runner, data: Any, options: StepOptions) -> bool:
    """Return whether a linear head is trained on few images per class, without options of training steps.

    By measurement, the optimum is then more accurate than steps, see benchmarks/RESULTS.md.
    """
    split = data.splits.get("train") if isinstance(data, Data) else None
    if not isinstance(split, Split) or split.dataset is not None or split.has_weights or data.multi_label:
        return False
    if data.target == "number":
        return False
    is_default = options.epochs == "auto" and options.num_views in (1, "auto")
    if not is_default or len(split) > FEW_PER_CLASS * data.num_classes:
        return False
    if runner.settings.optimizer != OptimizerOptions() or runner.settings.strategy is not None:
        return False
    check_data(data, runner.model, runner.classes)
    head = linear_head(runner.model_parts().partition.trainable)
    is_free = head is not None and head.kernel_regularizer is None
    return is_free and runner.plan(data, 1, measure=False).trained_on == "features"


def _is_default(name: str, value: Any) -> bool:
    if name == "schedule" and isinstance(value, str):
        return value == "constant"
    return value is None or value is False or (isinstance(value, (tuple, list, float, int)) and not value)


def _described(solver: str) -> str:
    return f"solver={solver!r}" if solver in SOLVERS else f"a head of kind={solver!r}"
