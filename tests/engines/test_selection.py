"""Selection of engines: the fastest is used, and all have the outputs of Keras."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.engines.conftest import MODELS, images_for, keras_outputs
from tests.training.conftest import small_network
from transferkit.engines import EngineError, compile_engine, default_batch_size, estimate_seconds, openvino, selection
from transferkit.engines.selection import EngineSelector
from transferkit.engines.verification import relative_error
from transferkit.modeling.fingerprint import model_fingerprint


def measurements(own_home: Path) -> Path:
    return own_home / "engines" / "measurements.json"


# The other models have the operations of these too.
SLOW = {"ResNet50", "EfficientNetV2B0", "ConvNeXtTiny"}
assert set(MODELS) > SLOW


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in MODELS],
)
def model_with_outputs(request: pytest.FixtureRequest) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Return a model, images, less than a batch, and the outputs of Keras."""
    model = MODELS[request.param]()
    images = images_for(model)
    (expected,) = keras_outputs(model, images)
    return model, images, expected


@pytest.mark.parametrize("engine", ["keras", "frozen_graph", "openvino"])
def test_compile_engine_outputs_equal_keras(
    model_with_outputs: tuple[keras.Model, np.ndarray, np.ndarray], engine: str
) -> None:
    model, images, expected = model_with_outputs
    compiled = compile_engine(model, engine=engine, batch_size=8)
    (actual,) = compiled(images)
    assert actual.shape == expected.shape and actual.dtype == np.float32
    assert relative_error((actual,), (expected,)) < 1e-4


# Keras traces its function for each size of a batch.
@pytest.mark.parametrize("engine", [pytest.param("keras", marks=pytest.mark.slow), "frozen_graph", "openvino"])
def test_compile_engine_from_many_threads(engine: str) -> None:
    model = MODELS["MobileNetV2"]()
    images = images_for(model, 50)
    (expected,) = keras_outputs(model, images)
    compiled = compile_engine(model, engine=engine, batch_size=4)
    assert relative_error(compiled(images), (expected,)) < 1e-4
    parts = [slice(start, start + size) for size in (1, 3, 11, 50) for start in range(0, 50, size)]
    with ThreadPoolExecutor(max_workers=7) as pool:
        for part, actual in zip(parts, pool.map(lambda part: compiled(images[part]), parts)):
            assert relative_error(actual, (expected[part],)) < 1e-4


@pytest.mark.parametrize("engine", ["keras", "frozen_graph", "openvino"])
def test_compile_engine_with_several_outputs(engine: str) -> None:
    base = small_network(48)
    model = keras.Model(base.inputs, [base.get_layer("block0_relu").output, base.output])
    images = images_for(model)
    actual = compile_engine(model, engine=engine, batch_size=5)(images)
    assert relative_error(actual, keras_outputs(model, images)) < 1e-4
    assert [output.shape for output in actual] == [(5, 24, 24, 8), (5, 6, 6, 16)]


def test_compile_engine_reduced_precision_on_request_only() -> None:
    model = MODELS["MobileNetV2"]()
    images = images_for(model, 8)
    assert compile_engine(model, batch_size=8, count=None).precision == "float32"
    reduced = compile_engine(model, precision="bfloat16", batch_size=8)
    assert reduced.precision == "bfloat16"
    assert relative_error(reduced(images), keras_outputs(model, images)) < 5e-2


def test_compile_engine_float16_without_gpu_raises() -> None:
    message = r"must be 'float32' or 'bfloat16' on a machine without a GPU. Received: 'float16'"
    with pytest.raises(ValueError, match=message):
        compile_engine(small_network(48), precision="float16")


def test_compile_engine_unknown_engine_raises() -> None:
    with pytest.raises(ValueError, match="`engine` must be one of 'auto', 'keras', 'frozen_graph', 'openvino'"):
        compile_engine(small_network(48), engine="tensorrt")


def test_compile_engine_without_fixed_size_raises() -> None:
    model = keras.applications.MobileNetV2((None, None, 3), weights=None, include_top=False, alpha=0.35)
    with pytest.raises(EngineError, match="must have a fixed input size"):
        compile_engine(model, engine="frozen_graph")


def test_compile_engine_for_few_images_is_keras() -> None:
    assert compile_engine(small_network(48), count=1).name == "keras"


class _Nan:
    name, precision, batch_size, streams = "openvino", "float32", 8, 1

    def __init__(self, *_: object) -> None:
        pass

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.full((len(images), 6, 6, 16), np.nan, np.float32),)


def test_compile_engine_with_wrong_outputs_is_rejected(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino, "OpenVino", _Nan)
    model = small_network(48)
    with pytest.raises(EngineError, match="must equal Keras' within 0.0001. Received: openvino off by inf"):
        compile_engine(model, engine="openvino", batch_size=8)
    assert not caplog.records
    assert compile_engine(model, batch_size=8, count=None).name == "frozen_graph"
    assert "It is skipped" in caplog.text


@pytest.mark.parametrize("count", [None, 1000])
def test_compile_engine_auto_after_any_error_uses_next(
    count: int | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> Any:
        raise TypeError("convert() takes 3 arguments")

    monkeypatch.setattr(openvino, "convert", fail)
    monkeypatch.setattr(selection, "estimate_seconds_per_image", lambda model: 1e-2)
    model = small_network(48)
    engine = compile_engine(model, batch_size=8, count=count)
    assert engine.name == "frozen_graph"
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("transferkit", logging.WARNING)
    message = "The engine 'openvino' failed (TypeError: convert() takes 3 arguments)."
    end = "It is skipped." if count is None else "Using frozen_graph instead."
    assert record.getMessage() == f"{message} {end}"
    images = images_for(model)
    assert relative_error(engine(images), keras_outputs(model, images)) < 1e-4
    with pytest.raises(TypeError, match="takes 3 arguments"):
        compile_engine(model, engine="openvino", batch_size=8)


def test_compile_engine_auto_without_working_engine_raises(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> Any:
        raise RuntimeError("no memory")

    monkeypatch.setattr(EngineSelector, "_build", fail)
    with pytest.raises(EngineError, match="Received: none that does. Use engine='keras'"):
        compile_engine(small_network(48), batch_size=8, count=None)
    assert len(caplog.records) == 2


def test_compile_engine_uses_fastest_measured(own_home: Path) -> None:
    model = small_network(48)
    compile_engine(model, batch_size=8, count=None)
    file = measurements(own_home)
    (key,) = json.loads(file.read_text())
    for slow, fast in (("openvino", "frozen_graph"), ("frozen_graph", "openvino")):
        file.write_text(json.dumps({key: {slow: [0.0, 1.0], fast: [0.0, 1e-6]}}))
        assert compile_engine(model, batch_size=8, count=1000).name == fast


@pytest.mark.parametrize("broken", ["", "[]", '{"key": 1}', '{"KEY": {"openvino": ["a"]}}', '{"KEY": [1, 2]}'])
def test_compile_engine_with_damaged_measurements(own_home: Path, broken: str) -> None:
    model = small_network(48)
    compile_engine(model, batch_size=8, count=None)
    file = measurements(own_home)
    (key,) = json.loads(file.read_text())
    file.write_text(broken.replace("KEY", key))
    compile_engine(model, batch_size=8, count=None)
    assert set(json.loads(file.read_text())[key]) == {"openvino", "frozen_graph"}


@pytest.mark.parametrize(("seconds", "count", "expected"), [(1e-3, 100, "frozen_graph"), (1e-2, 1000, "openvino")])
def test_compile_engine_unmeasured_depends_on_work(
    monkeypatch: pytest.MonkeyPatch, seconds: float, count: int, expected: str
) -> None:
    monkeypatch.setattr(selection, "estimate_seconds_per_image", lambda model: seconds)
    assert compile_engine(small_network(48), batch_size=8, count=count).name == expected


def test_compile_engine_reuses_conversion_for_few_images() -> None:
    model = small_network(48)
    assert compile_engine(model, batch_size=8, count=20).name == "frozen_graph"
    compile_engine(model, engine="openvino", batch_size=4)
    assert compile_engine(model, batch_size=4, count=20).name == "openvino"


def test_compile_engine_uses_conversion_for_a_single_image() -> None:
    model = MODELS["small"]()
    assert compile_engine(model, count=1, batch_size=1).name == "keras"
    compile_engine(model, engine="openvino", batch_size=1)
    engine = compile_engine(model, count=1, batch_size=1)
    assert engine.name == "openvino"
    images = images_for(model, 1)
    np.testing.assert_allclose(engine(images)[0], keras_outputs(model, images)[0], atol=1e-4)
    # That of another batch size is not converted.
    assert compile_engine(model, count=1, batch_size=4).name == "keras"


def test_compile_engine_without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "openvino" else find(name))
    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert compile_engine(small_network(48), batch_size=4, count=None).name == "frozen_graph"
    with pytest.raises(ImportError, match=r'pip install "transferkit\[fast\]"'):
        compile_engine(small_network(48), engine="openvino", batch_size=4)


def test_estimate_seconds_uses_measurements(own_home: Path) -> None:
    model = small_network(48)
    assert estimate_seconds(model, 0) == 0
    assert 0 < estimate_seconds(model, 1000) < estimate_seconds(model, 100_000)
    compile_engine(model, count=None)
    file = measurements(own_home)
    (key,) = json.loads(file.read_text())
    file.write_text(json.dumps({key: {"openvino": [9.0, 0.5], "frozen_graph": [3.0, 0.25]}}))
    assert estimate_seconds(model, 100) == pytest.approx(3 + 25)


def test_engine_selector_create_by_name() -> None:
    model = small_network(48)
    selector = EngineSelector(model, 4, "float32", model_fingerprint(model))
    for name in ("frozen_graph", "openvino"):
        engine = selector.create(name)
        assert (engine.name, engine.batch_size, engine.precision) == (name, 4, "float32")


def test_default_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_batch_size() == 4
    monkeypatch.setattr(selection, "has_gpu", lambda: True)
    assert default_batch_size() == 64
