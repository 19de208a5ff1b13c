"""Graphs of training steps are freed with their models: a study of many fits must not grow."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data


@pytest.fixture
def only_new_objects() -> Iterator[None]:
    """Leave the objects and the garbage of other tests out of the collections and the counts of a test."""
    gc.freeze()
    yield
    gc.unfreeze()


def count_graphs() -> int:
    gc.collect()
    return sum(type(item).__name__.endswith("FuncGraph") for item in gc.get_objects())


@pytest.mark.usefixtures("only_new_objects")
@pytest.mark.parametrize("cache", [True, False])
def test_graphs_are_freed_after_fit(data: Data, cache: bool) -> None:
    counts = []
    for _ in range(3):
        trainer = tk.Trainer(small_classifier(), cache=cache)
        trainer.fit(data, epochs=1, verbose=0)
        del trainer
        counts.append(count_graphs())
    assert counts[2] <= counts[1]
