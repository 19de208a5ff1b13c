"""Similar training images: order, similarity, and which features they are compared by."""

from __future__ import annotations

import numpy as np
import pytest

import transferkit as tk
from tests.explanation.conftest import make_model
from transferkit.data.examples import Split
from transferkit.explanation.neighbors import _most_similar, find_neighbors
from transferkit.modeling.embedding import embedding_model
from transferkit.modeling.fingerprint import model_fingerprint
from transferkit.modeling.partition import partition_model

NAMES = ("ant", "bee", "cat")


def plain(red: int, green: int, blue: int) -> np.ndarray:
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (4, 4, 3))


def split_of(*images: np.ndarray, labels: list[int]) -> Split:
    return Split("train", np.array(labels, np.int32), tk.ImageSpec((4, 4)), NAMES, images=np.stack(images))


def embedding(pooling: bool = False) -> tuple[tk.Predictor, object]:
    model = make_model(pooling=pooling)
    return model, embedding_model(model)


@pytest.mark.parametrize("pooling", [False, True])
def test_nearest_images_have_the_smallest_angles(pooling: bool) -> None:
    _, model = embedding(pooling)
    split = split_of(plain(0, 90, 0), plain(40, 0, 0), plain(60, 60, 0), labels=[1, 0, 2])
    (found,) = find_neighbors(model, split, plain(200, 0, 0)[None], [None], 2)
    assert [(one.index, one.label, one.path) for one in found] == [(1, "ant", None), (2, "cat", None)]
    np.testing.assert_allclose([one.similarity for one in found], [1, np.sqrt(0.5)], rtol=1e-5)
    np.testing.assert_array_equal(found[0].load((4, 4)), plain(40, 0, 0))


def test_features_are_those_that_training_caches() -> None:
    model, features = embedding()
    assert model_fingerprint(features) == model_fingerprint(partition_model(model).frozen)


def test_blocks_give_the_same_rows_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    training, queries = random.normal(size=(50, 3)), random.normal(size=(4, 3))
    training /= np.linalg.norm(training, axis=1, keepdims=True)
    monkeypatch.setattr("transferkit.explanation.neighbors._BLOCK_ROWS", 7)
    similarities, rows = _most_similar(training, queries, 5)
    expected = np.argsort(-(queries @ training.T), axis=1)[:, :5]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(similarities, np.take_along_axis(queries @ training.T, expected, 1), rtol=1e-5)


def test_dataset_of_user_is_refused() -> None:
    _, model = embedding()
    split = Split("train", np.zeros(0, np.int32), tk.ImageSpec((4, 4)), NAMES, dataset=object())
    with pytest.raises(tk.DataError, match=r"files or arrays. Received: a tf\.data\.Dataset"):
        find_neighbors(model, split, plain(1, 2, 3)[None], [None], 1)
