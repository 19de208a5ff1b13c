"""Misspelled keyword arguments of everything that users call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit._utils.arguments import suggests_arguments


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tk.DatasetBuilder("photos", valdation=0.2), "`valdation` must be an argument of DatasetBuilder"),
        (lambda: tk.ClassifierHead(2, droput=0.1), "Did you mean 'dropout'"),
        (
            lambda: tk.Trainer(small_classifier(), learning_rat=1),
            "Received: learning_rat=1. Did you mean 'learning_rate'",
        ),
        (
            lambda: tk.Trainer(small_classifier()).fit(None, epoch=3),
            r"argument of Trainer.fit\(...\).*Did you mean 'epochs'",
        ),
        (lambda: tk.Trainer(small_classifier()).fine_tune(None, unfreeze=20), "Did you mean 'unfreeze_from'"),
        (lambda: tk.load("saved", engin="keras"), "Did you mean 'engine'"),
        (lambda: tk.Trainer(small_classifier(), zzz=1), "The arguments are model, learning_rate"),
        (lambda: tk.AugmentationBlock(rotate=0.2), "`rotate` must be an .* AugmentationBlock.*Did you mean 'rotation'"),
        (
            lambda: tk.BackboneFactory.classifier("MobileNetV2", (32, 32)),
            r"weights, sha256 must .*\(32, 32\) by position",
        ),
        (lambda: tk.BackboneFactory.register("a", None, "tf"), "Write, for example, preprocessing=..."),
        (lambda: tk.DatasetBuilder("photos", 0.2), "validation, test, .* by name. Received: 0.2 by position"),
    ],
)
def test_unknown_argument_raises(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_decorated_function_keeps_signature_and_result() -> None:
    @suggests_arguments
    def area(height: int, *, width: int = 2) -> int:
        """Return the area."""
        return height * width

    assert area(3, width=4) == 12 and area.__doc__ == "Return the area."
    assert list(inspect.signature(area).parameters) == ["height", "width"]
    assert "learning_rate" in inspect.signature(tk.Trainer).parameters
