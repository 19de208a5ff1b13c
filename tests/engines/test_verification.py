"""Comparison of engines with Keras."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.engines.conftest import keras_outputs
from tests.training.conftest import small_network
from transferkit.engines import verification
from transferkit.engines.verification import probe_images, reference_outputs, relative_error
from transferkit.modeling.fingerprint import model_fingerprint


def test_relative_error_is_relative_to_largest_expected() -> None:
    expected = np.array([[1.0, -4.0]]), np.array([[100.0]])
    assert relative_error(expected, expected) == 0
    assert relative_error((np.array([[2.0, -4.0]]), expected[1]), expected) == pytest.approx(0.25)
    assert relative_error((expected[0], np.array([[50.0]])), expected) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_relative_error_of_non_finite_outputs_is_infinite(value: float) -> None:
    assert relative_error((np.array([[1.0, value]]),), (np.ones((1, 2)),)) == np.inf


def test_relative_error_of_zeros_is_finite() -> None:
    zeros = (np.zeros((2, 3)),)
    assert relative_error(zeros, zeros) == 0
    assert relative_error((np.ones((2, 3)),), zeros) > 1


def test_probe_images_are_fixed() -> None:
    images = probe_images((48, 32, 3))
    assert images.shape == (2, 48, 32, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(images, probe_images((48, 32, 3)))
    assert images.std() > 20 and (images[0] != images[1]).any()


def test_reference_outputs_are_cached(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = small_network(48)
    model = keras.Model(base.inputs, [base.get_layer("block0_relu").output, base.output])
    model_id = model_fingerprint(model)
    expected = keras_outputs(model, probe_images((48, 48, 3)))
    first = reference_outputs(model, model_id)
    assert relative_error(first, expected) < 1e-6 and len(list((own_home / "engines").glob("*.outputs"))) == 1
    monkeypatch.setattr(verification, "KerasEngine", None)
    for output, again in zip(first, reference_outputs(model, model_id)):
        np.testing.assert_array_equal(output, again)


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def arrays_file(**arrays: np.ndarray) -> bytes:
    """Return arrays in the form of a file without a checksum."""
    contents = io.BytesIO()
    np.savez(contents, **arrays)  # type: ignore[arg-type]
    return contents.getvalue()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[:-1],
    "longer": lambda whole: whole + b"\0",
    "hash": lambda whole: flip(whole, 0),
    "header": lambda whole: flip(whole, 40),
    "compression": lambda whole: flip(whole, 32 + 8),
    "values": lambda whole: flip(whole, len(whole) // 2),
    "directory": lambda whole: flip(whole, len(whole) - 10),
    "other outputs": lambda whole: arrays_file(output_0=np.full((2, 5), np.nan)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_reference_outputs_of_damaged_cache(own_home: Path, damage: Callable[[bytes], bytes]) -> None:
    model = small_network(48)
    model_id = model_fingerprint(model)
    (expected,) = reference_outputs(model, model_id)
    (file,) = (own_home / "engines").glob("*.outputs")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    np.testing.assert_array_equal(reference_outputs(model, model_id)[0], expected)
    assert len(file.read_bytes()) == len(whole)
