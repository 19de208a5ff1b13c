"""Random numbers of training as a function of (seed, epoch), so that a run can be repeated from any epoch."""

from __future__ import annotations

import keras
import numpy as np


class ReseedCallback(keras.callbacks.Callback):
    """Set the state of every seed generator of a model (dropout, augmentation) at the start of each epoch.

    Keras saves the states of its seed generators nowhere, and a run that is taken up again would draw other
    numbers than the unbroken one. With the states a function of seed and epoch, it draws the same.

    Args:
        model: the whole classifier, also where only its upper part is trained: the number of a generator is its
            place in the whole.
        seed: integer of at least 0.
    """

    def __init__(self, model: keras.Model, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._states = [variable for variable in model.variables if variable.name == "seed_generator_state"]

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        for number, state in enumerate(self._states):
            drawn = np.random.SeedSequence([self._seed, epoch, number]).generate_state(1)[0]
            state.assign(np.array([drawn & 0x7FFFFFFF, 0]).astype(keras.backend.standardize_dtype(state.dtype)))
