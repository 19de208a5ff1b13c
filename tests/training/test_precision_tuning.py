"""Training in reduced precision: close to float32, repeatable, measured before it is used, and without a trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data
from transferkit.engines import selection
from transferkit.modeling import precision as modeling_precision
from transferkit.training import compilation, phases, precision_tuning
from transferkit.training.precision_tuning import measure_step_times, select_precision

FASTER = {"float32": 0.2, "bfloat16": 0.1}
SLOWER = {"float32": 0.1, "bfloat16": 0.2}
# On images, both phases are in lower precision; on features the second one alone.
CACHE = [pytest.param(True, marks=pytest.mark.slow), False]


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let bfloat16 be measured as faster on any machine."""
    monkeypatch.setattr(precision_tuning, "measure_step_times", lambda *args, **options: FASTER)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transferkit find a GPU, without XLA, which takes long to compile on a CPU."""
    for module in (phases, modeling_precision, selection, precision_tuning):
        monkeypatch.setattr(module, "has_gpu", lambda: True)
    monkeypatch.setattr(phases, "jit_compile_mode", lambda: False)
    monkeypatch.setattr(compilation, "jit_compile_mode", lambda: False)


def tuned(data: Data, **options: Any) -> tk.Trainer:
    model = small_classifier(tk.AugmentationBlock(rotation=0.1), dropout=0.3)
    run = tk.Trainer(model, learning_rate=1e-2, **options)
    run.fit(data, epochs=1, verbose=0)
    run.fine_tune(data, epochs=2, unfreeze_from="block1_conv", batch_norm=True, verbose=0)
    return run


def policies(model: keras.Model) -> set[str]:
    return {layer.dtype_policy.name for layer in model._flatten_layers()}


def patched_methods(model: keras.Model) -> set[tuple[str, str]]:
    """Return (layer, name) of each attribute of an instance that hides a method of its class."""
    layers = list(model._flatten_layers())
    return {
        (layer.name, name) for layer in layers for name in vars(layer) if callable(getattr(type(layer), name, None))
    }


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize("cache", CACHE)
def test_fit_in_bfloat16_is_close_and_repeatable(data: Data, cache: bool) -> None:
    plain, *reduced = [tuned(data, precision=kind, cache=cache) for kind in ("float32", "bfloat16", "bfloat16")]
    assert [run.precision for run in reduced[0].history] == ["float32" if cache else "bfloat16", "bfloat16"]
    assert reduced[0].history.history == reduced[1].history.history
    for actual, expected in zip(reduced[0].model.get_weights(), reduced[1].model.get_weights()):
        np.testing.assert_array_equal(actual, expected)
    for name in ("loss", "val_loss"):
        actual, expected = reduced[0].history.history[name], plain.history.history[name]
        np.testing.assert_allclose(actual, expected, rtol=2e-2)
        assert actual != expected


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize("cache", CACHE)
def test_fit_in_bfloat16_leaves_float32_model(data: Data, tmp_path: Path, cache: bool) -> None:
    seen = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(policies(watch.model)))
    before = patched_methods(small_classifier(tk.AugmentationBlock(rotation=0.1), dropout=0.3))
    run = tuned(data, precision="bfloat16", cache=cache, callbacks=[watch])
    assert policies(run.model) == {"float32"} and all(kinds == {"float32"} for kinds in seen)
    assert {variable.dtype for variable in run.model.weights} == {"float32"}
    assert run.model.train_function is None and "train_step" not in vars(run.model)
    assert {name for _, name in patched_methods(run.model)} == {name for _, name in before}
    run.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert policies(loaded) == {"float32"}
    image = np.full((1, 32, 32, 3), 100.0, "float32")
    np.testing.assert_array_equal(loaded.predict(image, verbose=0), run.model.predict(image, verbose=0))


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize("cache", [True, False])
def test_fit_in_bfloat16_interrupted_leaves_float32_model(data: Data, cache: bool) -> None:
    def interrupt(batch: int, logs: Any) -> None:
        raise KeyboardInterrupt

    stop = keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)
    run = tk.Trainer(small_classifier(), precision="bfloat16", cache=cache)
    with pytest.raises(KeyboardInterrupt):
        run.fine_tune(data, epochs=1, fraction=1.0, callbacks=[stop], verbose=0)
    assert policies(run.model) == {"float32"} and "train_step" not in vars(run.model)
    run.fine_tune(data, epochs=1, fraction=1.0, verbose=0)


@pytest.mark.usefixtures("faster")
def test_fit_in_bfloat16_of_user_train_step_raises(data: Data) -> None:
    @keras.saving.register_keras_serializable("tests")
    class Own(keras.Model):
        def train_step(self, batch: Any) -> Any:
            return super().train_step(batch)

    small = small_classifier()
    run = tk.Trainer(Own(small.input, small.output), precision="bfloat16", cache=False)
    message = "Received: a model that overrides it. Use precision=.float32., or the train_step of keras.Model"
    with pytest.raises(ValueError, match=message):
        run.fit(data, epochs=1, verbose=0)
    assert policies(run.model) == {"float32"} and len(run.history) == 0
    tk.Trainer(Own(small.input, small.output), cache=False).fit(data, epochs=1, verbose=0)


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize("is_counted", [True, False])
def test_fit_in_bfloat16_on_tf_data_of_user(is_counted: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((images, np.arange(12) % 2)).batch(4)
    if not is_counted:
        batches = batches.filter(lambda images, labels: True)
    stream = tk.DatasetBuilder(batches, validation=batches, image_size=32, class_names=["a", "b"]).build()
    losses = []
    for precision in ("float32", "bfloat16"):
        run = tk.Trainer(small_classifier(dropout=0.0), learning_rate=1e-2, precision=precision)
        losses.append(run.fit(stream, epochs=2, verbose=0).history["val_loss"])
        assert (run.history.phases[0].precision, run.history.epochs) == (precision, 2)
        # Keras counts a step in which a dataset of unknown length ends.
        assert int(run.model.optimizer.iterations) == 6 or not is_counted
        assert policies(run.model) == {"float32"}
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-2)


def test_measure_step_times_changes_nothing(data: Data) -> None:
    model = tuned(data).model
    before = [keras.ops.convert_to_numpy(variable) for variable in [*model.variables, *model.optimizer.variables]]
    times = measure_step_times(model, ("float32", "bfloat16"), batch_size=4)
    assert all(seconds > 0 for seconds in times.values())
    for variable, value in zip([*model.variables, *model.optimizer.variables], before):
        np.testing.assert_array_equal(variable, value)
    assert policies(model) == {"float32"}


@pytest.mark.parametrize(("times", "chosen"), [(FASTER, "bfloat16"), (SLOWER, "float32")])
def test_select_precision_measures_once_and_uses_faster(
    data: Data, own_home: Path, monkeypatch: pytest.MonkeyPatch, times: dict[str, float], chosen: str
) -> None:
    measured = []
    monkeypatch.setattr(precision_tuning, "measure_step_times", lambda *args, **options: measured.append(1) or times)
    for _ in range(2):
        run = tk.Trainer(small_classifier(hidden=(8,)), precision="bfloat16")
        text = str(run.plan(data))
        is_open = "Training precision: float32 or bfloat16 (measured when training starts)" in text
        assert is_open == (not measured)
        run.fit(data, epochs=1, verbose=0)
        assert run.history.phases[0].precision == chosen
    assert measured == [1]
    assert f"Training precision: {chosen} (a step takes {times['bfloat16'] * 1e3:g} ms in bfloat16" in text
    assert list(json.loads((own_home / "engines" / "training-precision.json").read_text()).values()) == [times]


@pytest.mark.parametrize("content", ["{half", '{"KEY": 1}', '{"KEY": {"float32": "fast", "bfloat16": 1}}'])
def test_select_precision_with_damaged_measurements(own_home: Path, content: str) -> None:
    file, model = own_home / "engines" / "training-precision.json", small_classifier(hidden=(8,))
    select_precision(model, "bfloat16", batch_size=4, measure=True)
    (key,) = json.loads(file.read_text())
    file.write_text(content.replace("KEY", key))
    choice = select_precision(model, "bfloat16", batch_size=4, measure=True)
    assert "ms in bfloat16" in choice.reason and json.loads(file.read_text())[key]["float32"] > 0


def test_select_precision_without_matmul_is_float32(data: Data) -> None:
    plan = tk.Trainer(small_classifier(), precision="bfloat16").plan(data)
    reason = "there is no convolution or dense layer below the logits"
    assert f"Training precision: float32 ({reason})" in str(plan)
    assert "Training precision" not in str(tk.Trainer(small_classifier()).plan(data))


def test_fit_with_layer_that_needs_float32(data: Data, caplog: pytest.LogCaptureFixture) -> None:
    @keras.saving.register_keras_serializable("tests")
    class Strict(keras.layers.Dense):
        def call(self, inputs: Any) -> Any:
            if self.compute_dtype != "float32":
                raise ValueError("only float32")
            return super().call(inputs)

    images = keras.Input((32, 32, 3))
    x = Strict(4)(keras.layers.GlobalAveragePooling2D()(images))
    run = tk.Trainer(keras.Model(images, keras.layers.Dense(1)(x)), precision="bfloat16")
    run.fit(data, epochs=1, verbose=0)
    (record,) = caplog.records
    assert record.name == "transferkit" and "step in bfloat16 failed and is skipped: " in record.getMessage()
    assert "only float32" in record.getMessage()
    assert run.history.phases[0].precision == "float32"


@pytest.mark.usefixtures("faster")
def test_checkpoint_of_other_precision_raises(data: Data, tmp_path: Path) -> None:
    tk.Trainer(small_classifier(), checkpoint_dir=tmp_path, precision="bfloat16").fit(data, epochs=1, verbose=0)
    message = "must belong to this run.*precision: 'bfloat16' in the file, 'float32' now"
    with pytest.raises(ValueError, match=message):
        tk.Trainer(small_classifier(), checkpoint_dir=tmp_path).fit(data, epochs=1, verbose=0)


def test_trainer_float16_without_gpu_raises() -> None:
    with pytest.raises(ValueError) as error:
        tk.Trainer(small_classifier(), precision="float16")
    assert str(error.value) == (
        "`precision` must be 'float32' or 'bfloat16' on a machine without a GPU. Received: 'float16'. "
        "Choose 'bfloat16', or use a GPU."
    )


def test_trainer_unknown_precision_raises() -> None:
    with pytest.raises(ValueError, match="must be one of 'float32', 'bfloat16', 'float16'. Received: 'bfloat61'"):
        tk.Trainer(small_classifier(), precision="bfloat61")


@pytest.mark.usefixtures("gpu")
class TestWithGpu:
    """What can be tested without a GPU: the choices, and that training works; not the speed."""

    @pytest.mark.parametrize("cache", CACHE)
    def test_fit_in_float16_scales_loss_and_resumes(self, data: Data, tmp_path: Path, cache: bool) -> None:
        plain = tuned(data, cache=cache)
        half = tuned(data, cache=cache, precision="float16", checkpoint_dir=tmp_path)
        assert isinstance(half.model.optimizer, keras.optimizers.LossScaleOptimizer)
        assert "Training precision: float16 (requested, with a GPU)" in str(half.plan(data))
        np.testing.assert_allclose(half.history.history["loss"], plain.history.history["loss"], rtol=2e-2)
        assert policies(half.model) == {"float32"}
        again = tuned(data, cache=cache, precision="float16", checkpoint_dir=tmp_path)
        for actual, expected in zip(again.model.get_weights(), half.model.get_weights()):
            np.testing.assert_array_equal(actual, expected)

    def test_fit_on_images_takes_several_steps_per_call(self) -> None:
        images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
        data = tk.DatasetBuilder((images, np.arange(60) % 2), image_size=32, batch_size=2, validation=0.1).build()
        run = tk.Trainer(small_classifier(), cache=False)
        history = run.fit(data, epochs=2, verbose=0).history
        steps = -(-len(data.splits["train"]) // 2)
        assert run.model.steps_per_execution > 1 and steps % run.model.steps_per_execution == 0
        assert int(run.model.optimizer.iterations) == 2 * steps
        assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
