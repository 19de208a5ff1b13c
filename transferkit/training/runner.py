"""Runs the phases of a trainer: plan, features or images, checkpoints, guards, history."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit._utils.process import frozen_gc, without_retracing_warnings
from transferkit.calibration import Calibration
from transferkit.data.dataset import Data
from transferkit.data.examples import Split
from transferkit.data.pipeline import epoch_order, evaluation_dataset
from transferkit.data.stored_features import require_images
from transferkit.errors import TrainingError
from transferkit.features.extraction import ExtractionOptions, extract_features
from transferkit.head import has_unit, label_unit, set_unit
from transferkit.training.arguments import TrainedClasses, check_data, check_num_views
from transferkit.training.checkpoint import Checkpoint
from transferkit.training.compilation import Compilation, UpdateOptions
from transferkit.training.description import describe
from transferkit.training.distribution import DistributedModel, scope_of
from transferkit.training.evaluation import Evaluated, evaluate_batches
from transferkit.training.feature_data import evaluation_batches, load_features
from transferkit.training.feature_model import FeatureModel, ModelParts
from transferkit.training.few_shot_solver import solve_few_shot_head
from transferkit.training.guards import Interruption, LossGuard, NonFiniteLossError, unchanged_frozen_weights
from transferkit.training.history import History, PhaseRecord, RunHistory, make_history
from transferkit.training.linear_solver import solve_linear_head
from transferkit.training.objective import Objective, objective_for
from transferkit.training.optimizers import OptimizerOptions, rate_of
from transferkit.training.phases import FitOptions, PhaseRun, train_on_features, train_on_images
from transferkit.training.plan import CacheSettings, Plan, make_plan
from transferkit.training.precision_tuning import select_precision
from transferkit.training.run_identity import run_identity
from transferkit.training.steps import steps_per_epoch

Metrics = dict[str, list[float]]


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """The options of a trainer that hold for all phases.

    Attributes:
        cache: whether and how features are cached.
        extraction: how they are extracted; has seed, engine and precision.
        optimizer: how optimizers are made.
        objective: options of the `Objective`: loss, label smoothing, metrics.
        checkpoint_dir: folder of checkpoints, or None.
        strategy: tf.distribute.MirroredStrategy, or None for one device.
    """

    cache: CacheSettings
    extraction: ExtractionOptions
    optimizer: OptimizerOptions
    objective: dict[str, Any]
    checkpoint_dir: Path | None = None
    strategy: Any = None


@dataclasses.dataclass(frozen=True)
class PhaseRequest:
    """One phase to be run.

    Attributes:
        name: "frozen" or "fine-tuning".
        epochs: number of epochs.
        num_views: int or "auto".
        options: how the phase is run.
        updates: how the weights are updated.
        solver: "adam", "lbfgs", or the kind of a head that is computed.
        l2: regularization for "lbfgs", or None to choose it.
        renew: whether the optimizer starts again.
    """

    name: str
    epochs: int
    num_views: int | str
    options: FitOptions
    updates: UpdateOptions
    solver: str = "adam"
    l2: float | None = None
    renew: bool = False


class Runner:
    """The state of a trainer.

    Attributes:
        history: `RunHistory` of all phases.
        compilation: optimizer, loss and metrics of the model.
        classes: class names and image spec, from the first phase on.
        calibration: `Calibration` of the present weights, or None.
        training_splits: those of all phases.
        label_name: name of the labels in the last phase, or None.
        validation_split: that of the last phase, or None.
    """

    def __init__(self, model: keras.Model, settings: RunSettings) -> None:
        self.model: keras.Model = model
        self.settings: RunSettings = settings
        self.history: RunHistory = RunHistory()
        objective = dataclasses.replace(objective_for(model), **settings.objective)
        with scope_of(settings.strategy):
            self.compilation: Compilation = Compilation(
                model, settings.extraction.precision, objective, settings.optimizer
            )
        self.classes: TrainedClasses | None = None
        self.calibration: Calibration | None = None
        self.training_splits: list[Split] = []
        self.label_name: str | None = None
        self.validation_split: Split | None = None
        self._parts: ModelParts | None = None

    def objective(self, data: Data) -> Objective:
        """Return the objective for `data`, which must match the classifier."""
        mixes = bool(getattr(self.model_parts().partition.augmentation, "mixes", False))
        checked = check_data(data, self.model, self.classes)
        if checked.kind == "number":
            if mixes:
                raise ValueError(
                    "`mixup` and `cutmix` require class labels. Received: data with numbers as labels. Remove them "
                    "from the augmentation."
                )
            if not has_unit(self.model):
                train = data.splits["train"]
                checked = dataclasses.replace(checked, scale=label_unit(train.labels, train.weights)[1])
        return dataclasses.replace(checked, **self.settings.objective, soft_labels=mixes)

    def run(self, request: PhaseRequest, data: Data) -> History:
        """Train one phase, or continue it from its checkpoint."""
        # Before compiling: a wrong argument leaves the optimizer and its state.
        objective = self.objective(data)
        set_unit(self.model, data.splits["train"].labels, data.splits["train"].weights)
        steps = (steps_per_epoch(data) or 1) * request.epochs
        with scope_of(self.settings.strategy):
            self.compilation.prepare(objective, request.updates, steps=steps, renew=request.renew)
        # It is that of the weights before.
        self.calibration = None
        if data.splits["train"] not in self.training_splits:
            self.training_splits.append(data.splits["train"])
        self.label_name = data.label_name
        self.validation_split = data.splits.get("validation")
        plan = self.plan(data, request.num_views, measure=request.solver == "adam")
        rate, precision = self.compilation.learning_rate, plan.precision.precision
        first_epoch, started = self.history.epochs, time.perf_counter()
        interruption = Interruption()
        with frozen_gc(), without_retracing_warnings(), interruption, unchanged_frozen_weights(self.model):
            if request.solver == "adam":
                with scope_of(self.settings.strategy):
                    metrics = self._train(request, plan, data, interruption)
            else:
                metrics, rate, precision = self._solve(request, plan, data), 0.0, "float32"
                self.classes = TrainedClasses(tuple(data.class_names), data.image_spec)
        seconds = time.perf_counter() - started
        record = PhaseRecord(request.name, metrics, first_epoch, seconds, rate, plan.trained_on, precision)
        self.history.append(record)
        history = make_history(self.model, metrics, first_epoch)
        if interruption.requested:
            # After all is stored, so that a script does not go on to its next line.
            raise KeyboardInterrupt
        return history

    def plan(self, data: Data, num_views: int | str, *, measure: bool) -> Plan:
        """Return how a phase is trained now; with `measure`, the faster precision is measured where it is unknown."""
        views = check_num_views(num_views)
        plan = make_plan(self.model, data, self.model_parts().partition, self.settings.cache, views)
        precision = self.settings.extraction.precision
        if precision == "float32":
            return plan
        part = plan.partition.trainable if plan.trained_on == "features" else self.model
        choice = select_precision(part, precision, batch_size=data.batch_size, measure=measure)
        return dataclasses.replace(plan, precision=choice)

    def evaluate(self, dataset: tf.data.Dataset, split: Split | None) -> Evaluated:
        """Return labels and logits of a dataset, from cached features where that is possible."""
        parts = self.model_parts()
        if split is None or split.dataset is not None:
            return evaluate_batches(parts.evaluation_step("images"), dataset)
        if not self.settings.cache.enabled or parts.partition.frozen is None:
            require_images(split, "The evaluation of a classifier that is trained on images")
            # In the order of the split even where the dataset shuffles, so that the paths of the report are right.
            return evaluate_batches(parts.evaluation_step("images"), evaluation_dataset(split, batch_size=32))
        features = extract_features(split, parts.partition.frozen, self.settings.extraction)
        return evaluate_batches(parts.evaluation_step("features"), evaluation_batches(features, (split.labels,)))

    def model_parts(self) -> ModelParts:
        """Return the partition of the model and the models to fit."""
        self._parts = ModelParts.of(self.model, self._parts)
        return self._parts

    def _train(self, request: PhaseRequest, plan: Plan, data: Data, interruption: Interruption) -> Metrics:
        checkpoint = self._checkpoint(request, plan, data)
        metrics, finished = checkpoint.restore(self.model) if checkpoint is not None else ({}, False)
        # Before training: an interruption keeps the weights trained so far.
        self.classes = TrainedClasses(tuple(data.class_names), data.image_spec)
        if finished:
            return metrics
        first_epoch = self.history.epochs + len(metrics.get("loss", ()))
        is_stopped = bool(metrics) and self.model.stop_training
        last_epoch = first_epoch if is_stopped else self.history.epochs + request.epochs
        objective, seed = self.compilation.objective, self.settings.extraction.seed
        guard = LossGuard(self.model, float(np.log(max(2, objective.units))))
        run = PhaseRun(
            self.model,
            objective,
            seed,
            range(first_epoch, last_epoch),
            request.options,
            guard,
            interruption,
            checkpoint,
            metrics,
        )
        kind = FeatureModel if self.settings.strategy is None else DistributedModel
        trained = self.model_parts().to_fit(plan.trained_on, plan.precision.precision, kind)
        try:
            if plan.trained_on == "images":
                new = train_on_images(run, trained, data)
            else:
                features = load_features(plan, data, self.settings.extraction)
                new = train_on_features(run, trained, features, data.batch_size)
        except NonFiniteLossError as error:
            guard.restore()
            raise self._not_finite(error.step, guard.epoch, data) from error
        return {key: [*metrics.get(key, []), *map(float, values)] for key, values in new.items()} or metrics

    def _solve(self, request: PhaseRequest, plan: Plan, data: Data) -> Metrics:
        solver = "solver='lbfgs'" if request.solver == "lbfgs" else f"kind={request.solver!r}"
        if plan.trained_on == "images":
            raise ValueError(f"`{solver}` requires cached features. Received: {plan.reason}. Use solver='adam'.")
        if data.splits["train"].has_weights:
            raise ValueError(
                f"`{solver}` requires images of equal weight. Received: sample weights. Use solver='adam'."
            )
        features = load_features(plan, data, self.settings.extraction)
        trained, objective = plan.partition.trainable, self.compilation.objective
        if request.solver == "lbfgs":
            return solve_linear_head(trained, features, objective, data.num_classes, request.l2)
        return solve_few_shot_head(request.solver, trained, features, objective, data.num_classes)

    def _not_finite(self, step: int, epoch: int, data: Data) -> TrainingError:
        split, size = data.splits.get("train"), data.batch_size
        files = "a batch of your dataset"
        if split is not None and split.paths is not None:
            rows = epoch_order(len(split), self.settings.extraction.seed, epoch)[step * size : (step + 1) * size]
            files = f"the files {[split.paths[row] for row in rows[:32]]}"
        elif split is not None and split.dataset is None:
            rows = epoch_order(len(split), self.settings.extraction.seed, epoch)[step * size : (step + 1) * size]
            files = f"the images with the indices {rows[:32].tolist()}"
        return TrainingError(
            f"The loss must be finite. Received: a loss that is not, at step {step} of epoch {epoch}, with learning "
            f"rate {rate_of(self.model.optimizer):g} and {files}. The weights before this epoch were "
            "restored. Lower the learning rate, or set clip_norm=1.0."
        )

    def _checkpoint(self, request: PhaseRequest, plan: Plan, data: Data) -> Checkpoint | None:
        settings, options = self.settings, request.options
        if settings.checkpoint_dir is None:
            return None
        extraction, objective = settings.extraction, self.compilation.objective
        identity = {
            **{"phase": request.name, "epochs": request.epochs, "seed": extraction.seed},
            **{"learning_rate": self.compilation.learning_rate, "updates": request.updates.identity()},
            **{"optimizer": settings.optimizer.identity(), "objective": describe(vars(objective))},
            **{"engine": extraction.engine, "precision": extraction.precision, "feature_dtype": settings.cache.dtype},
            **{"trained_in": plan.precision.precision, "trained_on": plan.trained_on, "num_views": plan.num_views},
            **{"early_stopping": options.early_stopping, "keep_best": options.keep_best, "monitor": options.monitor},
            "replicas": 1 if settings.strategy is None else settings.strategy.num_replicas_in_sync,
            "class_weight": options.class_weight and sorted(options.class_weight.items()),
        }
        return Checkpoint(settings.checkpoint_dir, len(self.history), run_identity(self.model, data, identity))
