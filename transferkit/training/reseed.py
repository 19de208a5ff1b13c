"""Random numbers of training as a function of (seed, epoch), so that a run can be repeated from any epoch."""

from __future__ import annotations

import keras
import numpy as np


class ReseedCallback(keras.callbacks.Callback):
    """Sets the state of every seed generator of a model (dropout, augmentation) at the start of each epoch.

    Keras does not save the states of seed generators, so a resumed run would generate other numbers than the unbroken
    one. As functions of seed and epoch the states are the same.

    Args:
        model: the classifier, also where only a part of it is trained: states are numbered by their position in it.
        seed: int >= 0.
    """

    def __init__(self, model: keras.Model, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._states = [variable for variable in model.variables if variable.name == "seed_generator_state"]

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        for position, state in enumerate(self._states):
            value = np.random.SeedSequence([self._seed, epoch, position]).generate_state(1)[0]
            state.assign(np.array([value & 0x7FFFFFFF, 0]).astype(keras.backend.standardize_dtype(state.dtype)))
