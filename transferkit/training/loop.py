"""Running Keras' own fit over a model, or over the upper part of one whose lower part was run beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from transferkit.training.phases import Prepared


def run_fit(
    phase: Prepared,
    whole: keras.Model,
    *,
    first_epoch: int,
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int | str,
    class_weight: dict[int, float] | None = None,
) -> keras.callbacks.History:
    """Train what `phase` says, with `whole` as the model that the callbacks see; return the history.

    Args:
        phase: the model to train and its batches.
        whole: the classifier; checkpoints, early stopping and the like work on it.
        first_epoch: number of the first epoch, from 0.
        epochs: number of epochs to train.
        callbacks: Keras callbacks.
        verbose: as Keras takes it.
        class_weight: class index to weight, or None.
    """
    shown = keras.callbacks.CallbackList(
        [*callbacks, _Bridge(phase.trained, whole)],
        add_history=True,
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=first_epoch + epochs,
        steps=phase.steps,
        model=whole,
    )
    whole.stop_training = False
    phase.trained.fit(
        phase.batches,
        epochs=first_epoch + epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=phase.steps,
        validation_data=phase.validation,
        validation_steps=phase.validation_steps,
        callbacks=shown,
        class_weight=class_weight,
        # The batches are shuffled already; Keras warns when it is told to shuffle a dataset.
        shuffle=False,
        verbose=verbose,
    )
    return whole.history


class _Bridge(keras.callbacks.Callback):
    """Carries a callback's wish to stop, said of the whole model, to the part that is trained."""

    def __init__(self, trained: Any, whole: Any) -> None:
        super().__init__()
        self._trained, self._whole = trained, whole

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._trained.stop_training = self._whole.stop_training

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._trained.stop_training = self._whole.stop_training
        # Keras' fit returns the attribute that its History callback sets on the callbacks' model.
        self._trained.history = self._whole.history
