"""Measured and estimated times of engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.engines.conftest import MODELS
from transferkit.engines.timings import (
    Timing,
    estimate_seconds_per_image,
    hardware_id,
    load_timings,
    save_timings,
    seconds_per_image,
)


def test_estimate_seconds_per_image_grows_with_model() -> None:
    small, large = (estimate_seconds_per_image(MODELS[name]()) for name in ("MobileNetV2", "ResNet50"))
    # At this size they were measured to differ by four.
    assert 0 < 2 * small < large


def test_save_timings_adds_to_stored() -> None:
    assert load_timings("key") == {}
    save_timings("key", {"openvino": Timing(1.5, 0.25)})
    save_timings("other", {"openvino": Timing(9.0, 9.0)})
    save_timings("key", {"frozen_graph": Timing(0.5, 0.5)})
    assert load_timings("key") == {"openvino": Timing(1.5, 0.25), "frozen_graph": Timing(0.5, 0.5)}
    assert load_timings("other") == {"openvino": (9.0, 9.0)}


@pytest.mark.parametrize("content", ["", "[]", '{"key": 1}', '{"key": {"openvino": ["a"]}}', '{"key": [1, 2]}'])
def test_load_timings_of_damaged_file_is_empty(own_home: Path, content: str) -> None:
    file = own_home / "engines" / "measurements.json"
    file.parent.mkdir()
    file.write_text(content)
    assert load_timings("key") == {}


def test_seconds_per_image_uses_all_streams() -> None:
    shapes: list[tuple[int, ...]] = []

    class Engine:
        name, precision, batch_size, streams = "fake", "float32", 4, 3

        def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
            shapes.append(images.shape)
            return (images,)

    assert 0 < seconds_per_image(Engine(), (8, 8, 3)) < 1
    assert set(shapes) == {(12, 8, 8, 3)}


def test_hardware_id_is_stable() -> None:
    assert hardware_id() == hardware_id() and len(hardware_id()) == 3
