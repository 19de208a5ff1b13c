"""Fingerprints of models."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np

from tests.training.conftest import small_network
from transferkit.modeling.fingerprint import model_fingerprint

_OTHER_PROCESS = """
from tests.training.conftest import small_network
from transferkit.modeling.fingerprint import model_fingerprint
small_network()
print(model_fingerprint(small_network(48)))
"""


def test_model_fingerprint_depends_on_structure_and_weights() -> None:
    first, second = small_network(48), small_network(48)
    assert model_fingerprint(first) == model_fingerprint(second)
    second.get_layer("block1_conv").set_weights([np.ones((3, 3, 8, 12)), np.zeros(12)])
    assert model_fingerprint(first) != model_fingerprint(second)
    assert model_fingerprint(small_network(32)) != model_fingerprint(first)


def test_model_fingerprint_ignores_names_and_trainable() -> None:
    def dense(name: str) -> keras.Model:
        images = keras.Input((4,), name=f"{name}_input")
        layer = keras.layers.Dense(2, name=name, kernel_initializer="ones")
        return keras.Model(images, layer(images), name=f"{name}_model")

    first, second = dense("one"), dense("two")
    second.trainable = False
    assert model_fingerprint(first) == model_fingerprint(second)


def test_model_fingerprint_depends_on_connections() -> None:
    def difference(swap: bool) -> keras.Model:
        images = keras.Input((4,))
        doubled = keras.layers.Rescaling(2.0)(images)
        pair = [doubled, images] if swap else [images, doubled]
        return keras.Model(images, keras.layers.Subtract()(pair))

    assert model_fingerprint(difference(False)) == model_fingerprint(difference(False))
    assert model_fingerprint(difference(False)) != model_fingerprint(difference(True))


def test_model_fingerprint_is_equal_in_other_process() -> None:
    run = subprocess.run([sys.executable, "-c", _OTHER_PROCESS], capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == model_fingerprint(small_network(48))
