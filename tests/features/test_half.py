"""Features kept in half the space: asked for, rounded, clipped with a note, and trained on as float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.data import Split
from transferkit.features.extraction import extract_features
from transferkit.features.half import to_storage_dtype
from transferkit.images import ImageSpec


@given(arrays(np.float32, 20, elements=st.floats(-65504, 65504, width=32)))
def test_rounding_is_within_a_thousandth(features: np.ndarray) -> None:
    load_compiled = to_storage_dtype(features, "float16")
    assert load_compiled.dtype == np.float16
    np.testing.assert_allclose(load_compiled.astype(np.float32), features, rtol=1e-3, atol=1e-7)
    assert to_storage_dtype(features, "float32") is features


def test_what_is_beyond_is_clipped_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    load_compiled = to_storage_dtype(np.array([1e6, -np.inf, np.nan, 2.0], np.float32), "float16")
    np.testing.assert_array_equal(load_compiled, np.array([65504, -65504, np.nan, 2], np.float16))
    assert "2 features of 4 are beyond float16" in capsys.readouterr().err
    numbers = np.array([100_000])
    assert to_storage_dtype(numbers, "float16") is numbers


@pytest.mark.parametrize("store", [True, False])
def test_half_the_space_and_rows_of_their_own(drawn: Path, store: bool) -> None:
    paths = tuple(map(str, sorted(drawn.glob("train/*/*.jpg"))[:6]))
    split = Split("train", np.zeros(6, np.int32), ImageSpec((48, 48)), paths=paths)
    (whole,) = extract_features(split, small_network(48), store=store)
    (half,) = extract_features(split, small_network(48), store=store, feature_dtype="float16")
    assert (whole.dtype, half.dtype) == (np.float32, np.float16) and half.nbytes * 2 == whole.nbytes
    np.testing.assert_allclose(np.asarray(half, np.float32), np.asarray(whole), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_training_reads_them_as_float32(drawn: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferkit.training.feature_batches._IN_MEMORY_BYTES", limit)
    data = tk.DatasetBuilder(drawn / "train", validation=drawn / "validation", image_size=48, batch_size=16).build()
    losses, plans = [], []
    for kind in ("float32", "float16"):
        backbone = tk.BackboneFactory.create(small_network(48), preprocessing=None)
        head = tk.ClassifierHead(2, dropout=0.0)
        trainer = tk.Trainer(tk.build_classifier(backbone, head), learning_rate=1e-3, feature_dtype=kind)
        trainer.model.layers[-1].kernel.assign(np.ones(trainer.model.layers[-1].kernel.shape) / 10)
        plans.append(trainer.plan(data))
        losses.append(trainer.fit(data, epochs=2, verbose=0).history["val_loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)
    assert plans[1].total_bytes * 2 == plans[0].total_bytes


def test_another_type_is_an_error() -> None:
    model = tk.build_classifier(tk.BackboneFactory.create(small_network(48), preprocessing=None), tk.ClassifierHead(2))
    with pytest.raises(ValueError, match=r"`feature_dtype` must be one of 'float32', 'float16'"):
        tk.Trainer(model, feature_dtype="float8")
