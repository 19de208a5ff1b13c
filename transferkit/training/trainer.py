"""The trainer: frozen phase, fine-tuning, evaluation, prediction and saving."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_fraction, check_int, check_number
from transferkit._utils.process import without_retracing_warnings
from transferkit.data.dataset import Data
from transferkit.engines.selection import ENGINES
from transferkit.features.extraction import ExtractionOptions
from transferkit.modeling.freezing import unfreeze
from transferkit.modeling.image_model import check_image_model
from transferkit.modeling.keras_graph import find_backbone
from transferkit.modeling.precision import check_precision
from transferkit.modeling.sharing import warn_if_shared
from transferkit.training.arguments import check_callbacks, check_data, check_num_views
from transferkit.training.class_weight import ClassWeight
from transferkit.training.compilation import UpdateOptions, check_not_compiled
from transferkit.training.feature_data import extraction_cost
from transferkit.training.history import History, RunHistory, join_histories
from transferkit.training.improvement import keep_improvement, starting_point
from transferkit.training.learning_rate_search import LearningRateSearch, search_learning_rate
from transferkit.training.losses import check_loss
from transferkit.training.optimizers import OptimizerOptions
from transferkit.training.phase import Phase, gradual_boundaries
from transferkit.training.phases import FitOptions
from transferkit.training.plan import CacheSettings, Plan
from transferkit.training.runner import PhaseRequest, Runner, RunSettings
from transferkit.training.schedules import check_schedule
from transferkit.training.solvers import StepOptions, check_steps_suit, choose_solver
from transferkit.training.steps import MAX_FINE_TUNING_EPOCHS, resolve_epochs, steps_per_epoch
from transferkit.training.strategy import check_strategy
from transferkit.training.trained_classifier import TrainedClassifier

# By measurement on five data sets, see docs/training.md.
_FINE_TUNING_RATE = 0.3


@suggests_arguments
class Trainer(TrainedClassifier):
    """Trains a classifier: first its head on the frozen backbone, then the upper layers of the backbone too.

    The frozen part of the model is run once per image, on the fastest engine of the machine, and its features are
    cached on disk; only the rest is trained. With cache=False the whole model is trained on images by Keras' `fit`,
    with the same losses.

    Args:
        model: keras.Model from RGB images in [0, 255] to logits, for example from `build_classifier`.
        learning_rate: float > 0 or "auto". Learning rate of the frozen phase. Defaults to "auto": that of an
            `optimizer` instance, else 1e-3 (1e-2 for "sgd").
        optimizer: name or instance of a Keras optimizer, whose settings each phase copies. Defaults to "adam".
        weight_decay: float >= 0. Decoupled weight decay. Defaults to None, that of the optimizer.
        loss: None for cross-entropy, "focal"; for numbers "mse" (their default), "mae" or "huber" of residuals divided
            by the standard deviation of the training labels; or the name or instance of a Keras loss, or a function, of
            logits. Defaults to None.
        metrics: sequence of names ("auc", "pr_auc", "macro_f1", "balanced_accuracy", "top_5_accuracy",
            "precision_at_recall_0.9"), Keras metrics or functions, which get probabilities. Accuracy is always one.
            Defaults to ().
        label_smoothing: float in [0, 1). Defaults to 0.
        class_weight: as in `fit`, for all phases. Defaults to None.
        clip_norm: float > 0. Largest global norm of the gradients. Defaults to None.
        accumulate_steps: int >= 1. Batches whose gradients are averaged for one update. Defaults to 1.
        ema: bool or float in (0, 1). Momentum of an exponential moving average of the weights, which replaces them in
            validation and at the end; True is 0.99. Defaults to False.
        seed: int >= 0. Seed of the order of the images, of augmentation and of dropout. Defaults to 0.
        cache: bool. Whether features may be cached. Defaults to True.
        checkpoint_dir: str or path. Folder for the state after each epoch, callbacks included. The same script, run
            again after an interruption, continues from there and ends with the weights of the unbroken run. Defaults to
            None.
        callbacks: sequence of keras.callbacks.Callback, for every phase. Defaults to ().
        engine: "auto", "keras", "frozen_graph" or "openvino" (extra `fast`). The engine of the frozen part. Defaults to
            "auto", the fastest.
        precision: "float32"; "bfloat16", in which the frozen part is about twice as fast, with features off by 1e-3 to
            1e-2 of the largest on average, and in which convolutions and dense layers of the trained part compute where
            that was measured to be faster; or "float16", on GPUs. Variables, optimizer, loss, logits and the saved
            model stay float32. Defaults to "float32".
        max_feature_bytes: int >= 0. Maximum size of the cached features of a phase, in bytes. Defaults to the smaller
            of 10 GB and half the free disk.
        feature_dtype: "float32", or "float16" for cached features of half the size, rounded to three digits. Defaults
            to "float32".
        strategy: tf.distribute.MirroredStrategy, in whose scope the model was built, to train on several GPUs with the
            losses of one. Defaults to None.

    Attributes:
        model: the keras.Model, compiled.
        history: `RunHistory` of all phases.

    Raises:
        TypeError: when the model is not a keras.Model.
        ValueError: when an argument is out of range, or the model does not end in logits.

    Example:

    >>> trainer = Trainer(model, optimizer="adamw", metrics=["macro_f1"])  # doctest: +SKIP
    >>> trainer.fit(data, schedule="cosine").history["val_macro_f1"]  # doctest: +SKIP
    >>> trainer.fine_tune(data, epochs=10)  # doctest: +SKIP

    Reference: https://keras.io/guides/transfer_learning/
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        learning_rate: float | str = "auto",
        optimizer: str | keras.optimizers.Optimizer = "adam",
        weight_decay: float | None = None,
        loss: Any = None,
        metrics: Sequence[Any] = (),
        label_smoothing: float = 0.0,
        class_weight: ClassWeight = None,
        clip_norm: float | None = None,
        accumulate_steps: int = 1,
        ema: bool | float = False,
        seed: int = 0,
        cache: bool = True,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        engine: str = "auto",
        precision: str = "float32",
        max_feature_bytes: int | None = None,
        feature_dtype: str = "float32",
        strategy: tf.distribute.MirroredStrategy | None = None,
    ) -> None:
        check_image_model(model)
        check_not_compiled(model)
        options = OptimizerOptions(optimizer, learning_rate, weight_decay, clip_norm, accumulate_steps, ema)
        check_fraction("label_smoothing", label_smoothing, below_one=True)
        check_loss(loss, label_smoothing)
        self.model = model
        self.learning_rate: Any = options.rate
        self.seed: int = check_int("seed", seed, minimum=0)
        self.callbacks: tuple[Any, ...] = check_callbacks(callbacks)
        self.class_weight = class_weight
        self.engine: str = check_choice("engine", engine, ENGINES)
        cache_settings = CacheSettings(bool(cache), max_feature_bytes, feature_dtype)
        extraction = ExtractionOptions(seed, engine, check_precision(precision), feature_dtype=feature_dtype)
        listed = tuple(metrics) if isinstance(metrics, (list, tuple)) else (metrics,)
        objective = {"loss_name": loss, "label_smoothing": label_smoothing, "metric_names": listed}
        folder = None if checkpoint_dir is None else Path(checkpoint_dir)
        self._options = options
        check_strategy(strategy, model, options, loss)
        self._runner = Runner(model, RunSettings(cache_settings, extraction, options, objective, folder, strategy))
        self.history: RunHistory = self._runner.history

    def fit(
        self,
        data: Data,
        epochs: int | str = "auto",
        *,
        learning_rate: float | None = None,
        schedule: Any = "constant",
        early_stopping: int | None = None,
        keep_best: bool = False,
        monitor: str | None = None,
        num_views: int | str = "auto",
        solver: str = "auto",
        l2: float | str = "auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        class_weight: ClassWeight = None,
        verbose: int | str = "auto",
    ) -> History:
        """Train the trainable layers: the head alone, while the backbone is frozen.

        A second call continues with the state of the optimizer, unless there is a schedule. The first Ctrl-C ends the
        phase after the present epoch and keeps its weights.

        Args:
            data: `Data` from `DatasetBuilder.build()`, or from `Shards.to_data()` for a head on a frozen backbone.
            epochs: int >= 1 or "auto". Defaults to "auto": as many as take 300 steps, from 10 to 300.
            learning_rate: float > 0. Defaults to None, the present one: at first that of the trainer.
            schedule: "constant"; "cosine" (rises in a tenth of the steps, falls to 0); "one_cycle" (rises in a
                quarter); "plateau" (divided by 5 after 3 epochs without improvement); or a Keras LearningRateSchedule,
                whose steps count from 0 in each phase. Defaults to "constant".
            early_stopping: int >= 1. Epochs without improvement after which training stops. Defaults to None.
            keep_best: bool. Whether the weights of the best epoch are restored at the end. Defaults to False.
            monitor: str. Metric for these and for "plateau". Defaults to "val_loss", or "loss" without validation.
            num_views: int >= 1 or "auto". Views of each training image whose features are cached: the original and,
                from 2 on, augmented ones; epochs use them in turn. Training on images gives them other random changes
                in every epoch. Defaults to "auto", which is 1: augmented views did not raise the accuracy of heads, see
                docs/training.md.
            solver: "adam" for steps of the trainer's optimizer; "lbfgs" to set a linear head to its optimum, which is
                one epoch, without callbacks; or "auto": "lbfgs" for a linear head, up to 20 images per class and
                defaults of all options of steps, which is then more accurate, else "adam". Heads of the kinds
                "prototype" and "knn" are computed from the features, and require "auto". Defaults to "auto".
            l2: float >= 0 or "auto". Regularization for "lbfgs". Defaults to "auto": chosen on at least 100 validation
                images, else by cross-validation.
            callbacks: sequence of keras.callbacks.Callback for this call, after the trainer's. Epochs are numbered over
                all phases. Defaults to ().
            class_weight: dict of class name or index to weight, a number of at least 0; classes that are not given have
                the weight 1. "balanced" gives each class the same total weight. Defaults to that of the trainer.
            verbose: 0 (silent), 1 (progress bar), 2 (one line per epoch) or "auto": 1 on a terminal, else 2. Defaults
                to "auto".

        Returns:
            Keras' History; `.history` is a dict of lists.

        Raises:
            DataError: when the head does not match the data, or the data not that of an earlier phase.
            TrainingError: when the loss is not finite or grows without limit, or frozen weights changed.
            ValueError: when an argument is out of range, or "lbfgs" is used without a linear head.
        """
        weights = self.class_weight if class_weight is None else class_weight
        stepwise = {"callbacks": callbacks or self.callbacks, "class_weight": weights, "schedule": schedule}
        stepwise |= {"early_stopping": early_stopping, "keep_best": keep_best, "learning_rate": learning_rate}
        solver = choose_solver(solver, l2, self._runner, data, StepOptions(stepwise, epochs, num_views))
        options = self._fit_options(data, callbacks, class_weight, verbose)
        updates = self._updates(learning_rate, schedule, data, options)
        options = options.stopping(data, early_stopping, keep_best, monitor, schedule)
        strength = None if l2 == "auto" else float(l2)
        request = PhaseRequest("frozen", resolve_epochs(epochs, data), num_views, options, updates, solver, strength)
        return self._runner.run(request, data)

    def fine_tune(
        self,
        data: Data,
        epochs: int | str = "auto",
        *,
        unfreeze_from: int | str | None = None,
        fraction: float | None = None,
        blocks: int | None = None,
        batch_norm: bool = False,
        learning_rate: float | None = None,
        schedule: Any = None,
        layer_decay: float = 1.0,
        gradual: bool = False,
        l2_sp: float = 0.0,
        early_stopping: int | None = None,
        keep_best: bool | None = None,
        monitor: str | None = None,
        num_views: int | str = "auto",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        class_weight: ClassWeight = None,
        verbose: int | str = "auto",
    ) -> History:
        """Unfreeze the backbone, or its upper layers, and continue training at a lower learning rate.

        Give at most one of `unfreeze_from`, `fraction` and `blocks`; without any, all layers are unfrozen. Fewer layers
        take less time, because the features below them are cached. Where fine-tuning does not lower the loss of the
        validation images by more than two standard errors, the weights from before are kept. docs/training.md has the
        measurements behind the defaults.

        Args:
            data: `Data` from `DatasetBuilder.build()`.
            epochs: int >= 1 or "auto". Defaults to "auto": as many as take 300 steps, from 10 to 50.
            unfreeze_from: int or str. Index or name of the first trainable layer of the backbone. Defaults to None.
            fraction: float in [0, 1]. Fraction of the backbone's layers, from the top. Defaults to None.
            blocks: int >= 1. Number of blocks, from the top. Defaults to None.
            batch_norm: bool. Whether batch normalization above the boundary is trained, statistics included, and not
                kept in inference mode. It needs many images, in batches of 32 or more. Defaults to False.
            learning_rate: float > 0. Defaults to 0.3 times the trainer's.
            schedule: as in `fit`. Defaults to None: that of the trainer's optimizer, if it has one, else "cosine", or
                "constant" where a callback sets the learning rate or the size of a tf.data.Dataset is unknown.
            layer_decay: float in (0, 1]. Factor of the learning rate per block from the head down. Defaults to 1.
            gradual: bool. Whether layers are unfrozen in three stages from the top, with a third of the epochs each.
                Defaults to False.
            l2_sp: float >= 0. Strength of the pull toward the weights before the phase. Defaults to 0.
            keep_best: bool. As in `fit`; the weights before the phase count as an epoch. Defaults to None, which is
                True with validation images.
            early_stopping, monitor, num_views, callbacks, class_weight, verbose: as in `fit`.

        Returns:
            Keras' History; its epochs continue the numbering of earlier phases.

        Raises:
            DataError, TrainingError: as in `fit`.
            ValueError: when there is no such layer, or more than one way to choose it is given.
        """
        check_steps_suit(self.model)
        check_number("l2_sp", l2_sp, minimum=0)
        if check_fraction("layer_decay", layer_decay) == 0:
            raise ValueError("`layer_decay` must be in (0, 1]. Received: 0. Give 1 for the same rate in all layers.")
        num_views, epochs = check_num_views(num_views), resolve_epochs(epochs, data, most=MAX_FINE_TUNING_EPOCHS)
        options = self._fit_options(data, callbacks, class_weight, verbose)
        keep_best = "validation" in data.splits if keep_best is None else keep_best
        updates = self._updates(learning_rate, schedule, data, options, _FINE_TUNING_RATE * self.learning_rate)
        options = options.stopping(data, early_stopping, keep_best, monitor, schedule)
        options = dataclasses.replace(options, counts_start=options.monitor != "val_loss")
        updates = dataclasses.replace(updates, layer_decay=float(layer_decay), l2_sp=float(l2_sp))
        backbone = find_backbone(self.model)
        warn_if_shared(backbone, self.model)
        choice: dict[str, Any] = {"fraction": fraction, "blocks": blocks, "batch_norm": batch_norm}
        first = unfreeze(backbone, unfreeze_from, **choice, argument="unfreeze_from")
        stages = gradual_boundaries(first, len(backbone.layers), epochs) if gradual else [(first, epochs)]
        compares = bool(keep_best) and options.monitor == "val_loss"
        start = starting_point(self._runner, data) if compares else None
        histories = []
        for boundary, stage_epochs in stages:
            if gradual:
                unfreeze(backbone, boundary, batch_norm=batch_norm)
            request = PhaseRequest("fine-tuning", stage_epochs, num_views, options, updates, renew=True)
            histories.append(self._runner.run(request, data))
        if start is not None:
            keep_improvement(self._runner, data, start)
        return join_histories(self.model, histories, self.history.epochs)

    def fit_phases(self, data: Data, phases: Sequence[Phase]) -> History:
        """Run several phases one after another.

        Args:
            data: `Data` from `DatasetBuilder.build()`.
            phases: sequence of `Phase`.

        Returns:
            Keras' History of all of them.

        Raises:
            TypeError: when an element is not a `Phase`.
        """
        for phase in phases:
            if not isinstance(phase, Phase):
                raise TypeError(
                    f"`phases` must be a sequence of Phase. Received: {phase!r}. Give, for example, "
                    "[tk.Phase('frozen'), tk.Phase('fine-tuning')]."
                )
        methods: Any = [self.fit if phase.name == "frozen" else self.fine_tune for phase in phases]
        histories = [run(data, **phase.arguments) for run, phase in zip(methods, phases)]
        return join_histories(self.model, histories, self.history.epochs)

    def find_learning_rate(
        self, data: Data, *, start: float = 1e-6, end: float = 1.0, steps: int = 100
    ) -> LearningRateSearch:
        """Run a learning-rate range test on the layers that are trainable now; the trainer stays unchanged.

        Args:
            data: `Data` from `DatasetBuilder.build()`.
            start, end: floats > 0. The first and the last learning rate. Default to 1e-6 and 1.
            steps: int >= 10. Number of training steps. Defaults to 100.

        Returns:
            A `LearningRateSearch`: `.suggestion`, `.learning_rates`, `.losses`, `.plot()`.

        Raises:
            DataError: as in `fit`.
            ValueError: when an argument is out of range.

        Reference: Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186.
        """
        check_int("steps", steps, minimum=10)
        check_number("end", end, above=check_number("start", start, above=0))
        with without_retracing_warnings():
            return search_learning_rate(self._runner, data, start=start, end=end, steps=steps)

    def plan(self, data: Data, epochs: int | str = "auto", *, num_views: int | str = "auto") -> Plan:
        """Return how `fit` would train now: what is frozen, what is cached, and what the rest costs; `print` it.

        Args:
            data: `Data` from `DatasetBuilder.build()`.
            epochs: as in `fit`. Defaults to "auto".
            num_views: as in `fit`. Defaults to "auto".

        Returns:
            A `Plan`. Nothing is changed.
        """
        check_data(data, self.model, self._runner.classes)
        plan = self._runner.plan(data, num_views, measure=False)
        plan = dataclasses.replace(plan, epochs=resolve_epochs(epochs, data), steps_per_epoch=steps_per_epoch(data))
        if plan.trained_on == "features":
            cost = extraction_cost(plan, data, self._runner.settings.extraction)
            plan = dataclasses.replace(plan, cost=cost)
        return plan

    def _fit_options(self, data: Data, callbacks: Any, class_weight: Any, verbose: int | str) -> FitOptions:
        self._runner.objective(data)
        used = (*self.callbacks, *check_callbacks(callbacks))
        return FitOptions.of(data, used, self.class_weight if class_weight is None else class_weight, verbose)

    def _updates(
        self, learning_rate: float | None, schedule: Any, data: Data, options: FitOptions, default: float | None = None
    ) -> UpdateOptions:
        """Return the updates of a phase; `default` is its learning rate where it is not the present one."""
        if self._options.has_own_schedule and learning_rate is None:
            if schedule not in (None, "constant"):
                raise ValueError(
                    f"`schedule` must not be given with an optimizer that has one. Received: {schedule!r}. Give the "
                    "optimizer a number as its learning rate."
                )
            return UpdateOptions(None)
        schedule = check_schedule(schedule, steps_per_epoch(data), options.callbacks)
        if learning_rate is not None:
            return UpdateOptions(check_number("learning_rate", learning_rate, above=0), schedule)
        return UpdateOptions(self._runner.compilation.learning_rate if default is None else default, schedule)

    def __repr__(self) -> str:
        return f"Trainer({self.model.name!r}, learning_rate={self.learning_rate:g}, {self.history!r})"
