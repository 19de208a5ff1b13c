"""Engines: all give Keras' numbers, and one that does not is not trusted."""

from __future__ import annotations

import importlib.metadata
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training.conftest import small_network
from transferkit.engines import (
    EngineError,
    choose,
    compile_engine,
    estimate_seconds,
    openvino,
    relative_error,
)
from transferkit.engines.timings import estimate_seconds_per_image

BUILD = {
    "small": lambda: small_network(48),
    "MobileNetV2": lambda: keras.applications.MobileNetV2((64, 64, 3), weights=None, include_top=False, alpha=0.35),
    "ResNet50": lambda: keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3)),
    "EfficientNetV2B0": lambda: keras.applications.EfficientNetV2B0(
        weights=None, include_top=False, input_shape=(64, 64, 3)
    ),
    "ConvNeXtTiny": lambda: keras.applications.ConvNeXtTiny(weights=None, include_top=False, input_shape=(64, 64, 3)),
}


def images_for(model: keras.Model, count: int = 5) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *model.input_shape[1:])).astype(np.uint8)


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("engine", ["keras", "frozen_graph", "openvino"])
def test_engines_give_keras_numbers_also_for_part_of_a_batch(name: str, engine: str) -> None:
    model = BUILD[name]()
    images = images_for(model)
    expected = model.predict(images.astype("float32"), verbose=0)
    compiled = compile_engine(model, engine=engine, batch_size=8)
    (got,) = compiled(images)
    assert got.shape == expected.shape and got.dtype == np.float32
    assert relative_error((got,), (expected,)) < 1e-4


def test_half_precision_is_off_by_little_and_only_where_asked_for() -> None:
    model = BUILD["MobileNetV2"]()
    images = images_for(model, 8)
    expected = model.predict(images.astype("float32"), verbose=0)
    assert compile_engine(model, batch_size=8, count=None).precision == "float32"
    half = compile_engine(model, precision="bfloat16", batch_size=8)
    assert half.precision == "bfloat16"
    assert relative_error(half(images), (expected,)) < 5e-2


@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "EfficientNetV2B0"])
def test_tensorflow_computes_in_half_precision_too_where_asked_for(name: str) -> None:
    model = BUILD[name]()
    images = images_for(model, 8)
    expected = (model.predict(images.astype("float32"), verbose=0),)
    half = compile_engine(model, engine="frozen_graph", precision="bfloat16")
    assert half.precision == "bfloat16"
    assert 1e-5 < relative_error(half(images), expected) < 5e-2
    assert {layer.dtype_policy.name for layer in model._flatten_layers()} == {"float32"}
    np.testing.assert_array_equal(model.predict(images.astype("float32"), verbose=0), expected[0])


def test_float16_is_for_gpus() -> None:
    with pytest.raises(ValueError, match=r"must be 'float32' or 'bfloat16' without a GPU. Received: 'float16'"):
        compile_engine(small_network(48), precision="float16")


def test_a_model_of_several_outputs() -> None:
    base = small_network(48)
    model = keras.Model(base.inputs, [base.get_layer("block0_relu").output, base.output])
    images = images_for(model)
    expected = model.predict(images.astype("float32"), verbose=0)
    for engine in ("frozen_graph", "openvino"):
        got = compile_engine(model, engine=engine, batch_size=5)(images)
        assert relative_error(got, tuple(expected)) < 1e-4


class _Nan:
    name, precision, batch_size, streams = "openvino", "float32", 8, 1

    def __init__(self, *_: object) -> None:
        pass

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.full((len(images), 6, 6, 16), np.nan, np.float32),)


def test_an_engine_that_gives_nan_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "OpenVino", _Nan)
    model = small_network(48)
    with pytest.raises(EngineError, match="must give Keras' numbers within 0.0001. Received: openvino off by inf"):
        compile_engine(model, engine="openvino", batch_size=8)
    with pytest.warns(RuntimeWarning, match="It is left out"):
        assert compile_engine(model, batch_size=8, count=None).name == "frozen_graph"


def test_a_handful_of_images_is_not_worth_a_conversion() -> None:
    assert compile_engine(small_network(48), count=1).name == "keras"


def test_measurements_are_remembered_and_followed(own_home: Path) -> None:
    model = small_network(48)
    compile_engine(model, batch_size=8, count=None)
    file = own_home / "engines" / "measurements.json"
    (key,) = json.loads(file.read_text())
    for slow, fast in (("openvino", "frozen_graph"), ("frozen_graph", "openvino")):
        file.write_text(json.dumps({key: {slow: [0.0, 1.0], fast: [0.0, 1e-6]}}))
        assert compile_engine(model, batch_size=8, count=1000).name == fast


@pytest.mark.parametrize("broken", ["", "[]", '{"key": 1}', '{"KEY": {"openvino": ["a"]}}', '{"KEY": [1, 2]}'])
def test_measurements_that_cannot_be_read_count_as_none(own_home: Path, broken: str) -> None:
    model = small_network(48)
    compile_engine(model, batch_size=8, count=None)
    file = own_home / "engines" / "measurements.json"
    (key,) = json.loads(file.read_text())
    file.write_text(broken.replace("KEY", key))
    compile_engine(model, batch_size=8, count=None)
    assert set(json.loads(file.read_text())[key]) == {"openvino", "frozen_graph"}


@pytest.mark.parametrize(("seconds", "count", "expected"), [(1e-3, 100, "frozen_graph"), (1e-2, 1000, "openvino")])
def test_without_measurements_the_work_to_come_decides_whether_converting_pays(
    monkeypatch: pytest.MonkeyPatch, seconds: float, count: int, expected: str
) -> None:
    monkeypatch.setattr(choose, "estimate_seconds_per_image", lambda model: seconds)
    assert compile_engine(small_network(48), batch_size=8, count=count).name == expected


def test_what_was_converted_before_is_taken_for_few_images_too() -> None:
    model = small_network(48)
    assert compile_engine(model, batch_size=8, count=20).name == "frozen_graph"
    compile_engine(model, engine="openvino", batch_size=4)
    assert compile_engine(model, batch_size=4, count=20).name == "openvino"


def test_what_is_expected_follows_what_was_measured(own_home: Path) -> None:
    model = small_network(48)
    assert estimate_seconds(model, 0) == 0
    assert 0 < estimate_seconds(model, 1000) < estimate_seconds(model, 100_000)
    compile_engine(model, count=None)
    file = own_home / "engines" / "measurements.json"
    (key,) = json.loads(file.read_text())
    file.write_text(json.dumps({key: {"openvino": [9.0, 0.5], "frozen_graph": [3.0, 0.25]}}))
    assert estimate_seconds(model, 100) == pytest.approx(3 + 25)


def test_the_guess_grows_with_the_network() -> None:
    small, large = (estimate_seconds_per_image(BUILD[name]()) for name in ("MobileNetV2", "ResNet50"))
    # At this size they were seen to differ by four.
    assert 0 < 2 * small < large


@pytest.mark.parametrize("engine", ["keras", "frozen_graph", "openvino"])
def test_one_engine_serves_many_threads_and_any_number_of_images(engine: str) -> None:
    model = BUILD["MobileNetV2"]()
    images = images_for(model, 50)
    expected = model.predict(images.astype("float32"), verbose=0)
    compiled = compile_engine(model, engine=engine, batch_size=4)
    (whole,) = compiled(images)
    assert relative_error((whole,), (expected,)) < 1e-4
    parts = [slice(start, start + size) for size in (1, 3, 11, 50) for start in range(0, 50, size)]
    with ThreadPoolExecutor(max_workers=7) as pool:
        for part, (got,) in zip(parts, pool.map(lambda part: compiled(images[part]), parts)):
            assert relative_error((got,), (expected[part],)) < 1e-4


def test_a_call_that_fails_leaves_the_engine_in_order() -> None:
    model = small_network(48)
    compiled = compile_engine(model, engine="openvino", batch_size=4)
    images = images_for(model, 12)
    rows: list[int] = []

    def fail_often_and_run() -> None:
        for _ in range(10 * compiled.streams):
            with pytest.raises((RuntimeError, ValueError)):
                compiled(images[:, :40])
        rows.append(len(compiled(images)[0]))

    # In a thread that dies with the process: requests that were lost would be waited for without end.
    thread = threading.Thread(target=fail_often_and_run, daemon=True)
    thread.start()
    thread.join(timeout=120)
    assert rows == [12]


def test_a_converted_model_that_was_cut_is_converted_again(own_home: Path) -> None:
    model = small_network(48)
    compile_engine(model, engine="openvino", batch_size=8)
    (file,) = (own_home / "engines").glob("*.blob")
    whole = file.read_bytes()
    images = images_for(model)
    expected = model.predict(images.astype("float32"), verbose=0)
    middle = len(whole) // 2
    changed = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for broken in (whole[:-8], changed, whole[:10], b""):
        file.write_bytes(broken)
        assert openvino.load_compiled(file.stem, 8, "float32") is None
        assert relative_error(compile_engine(model, engine="openvino", batch_size=8)(images), (expected,)) < 1e-4
        assert openvino.load_compiled(file.stem, 8, "float32") is not None


@pytest.mark.parametrize("first", ["float32", "bfloat16"])
def test_a_converted_model_is_read_in_any_precision_and_converted_once(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    model = small_network(48)
    images = images_for(model)
    expected = model.predict(images.astype("float32"), verbose=0)
    compile_engine(model, engine="openvino", batch_size=8, precision=first)
    monkeypatch.setattr(choose.openvino, "convert", None)
    whole, reduced = (
        compile_engine(model, engine="openvino", batch_size=8, precision=precision)
        for precision in ("float32", "bfloat16")
    )
    assert (whole.precision, reduced.precision) == ("float32", "bfloat16")
    assert relative_error(whole(images), (expected,)) < 1e-5 < 1e-4 < relative_error(reduced(images), (expected,)) < 0.1


def test_without_the_extra_tensorflow_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(choose.openvino, "installed", lambda: False)
    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert compile_engine(small_network(48), batch_size=4, count=None).name == "frozen_graph"
    with pytest.raises(ImportError, match=r'pip install "transferkit\[fast\]"'):
        compile_engine(small_network(48), engine="openvino", batch_size=4)


def test_unknown_engines_and_open_sizes() -> None:
    with pytest.raises(ValueError, match="`engine` must be one of 'auto', 'keras', 'frozen_graph', 'openvino'"):
        compile_engine(small_network(48), engine="tensorrt")
    anywhere = keras.applications.MobileNetV2((None, None, 3), weights=None, include_top=False, alpha=0.35)
    with pytest.raises(EngineError, match="must have a fixed input size"):
        compile_engine(anywhere, engine="frozen_graph")
