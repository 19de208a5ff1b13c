"""Training in reduced precision: close to float32, repeatable, measured before it is chosen, and gone afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data
from transferkit.engines import choose
from transferkit.modeling import precision as features_precision
from transferkit.modeling.precision import mixed_precision_layers, precision_scope
from transferkit.training import phases as phase
from transferkit.training import precision, trainer
from transferkit.training import precision_tuning as step_time
from transferkit.training.precision_tuning import measure_step_times, select_precision

FASTER = {"float32": 0.2, "bfloat16": 0.1}
SLOWER = {"float32": 0.1, "bfloat16": 0.2}


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let bfloat16 be measured as the faster one, whatever the machine."""
    monkeypatch.setattr(step_time, "measure_step_times", lambda *args, **options: FASTER)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let transferkit take the machine for one with a GPU, except for XLA, which takes long to compile here."""
    for module in (phase, features_precision, choose, precision, step_time):
        monkeypatch.setattr(module, "has_gpu", lambda: True)
    monkeypatch.setattr(phase, "jit", lambda: False)
    monkeypatch.setattr(trainer, "jit", lambda: False)
    yield


def tuned(data: Data, **options: Any) -> tk.Trainer:
    model = small_classifier(tk.AugmentationBlock(rotation=0.1), dropout=0.3)
    made = tk.Trainer(model, learning_rate=1e-2, **options)
    made.fit(data, epochs=1, verbose=0)
    made.fine_tune(data, epochs=2, unfreeze_from="block1_conv", batch_norm=True, verbose=0)
    return made


def policies(model: keras.Model) -> set[str]:
    return {layer.dtype_policy.name for layer in model._flatten_layers()}


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize("cache", [True, False])
def test_losses_are_close_to_float32_and_the_same_for_one_seed(data: Data, cache: bool) -> None:
    plain, *reduced = [tuned(data, precision=kind, cache=cache) for kind in ("float32", "bfloat16", "bfloat16")]
    assert [run.precision for run in reduced[0].history] == ["float32" if cache else "bfloat16", "bfloat16"]
    assert reduced[0].history.history == reduced[1].history.history
    for mine, theirs in zip(reduced[0].model.get_weights(), reduced[1].model.get_weights()):
        np.testing.assert_array_equal(mine, theirs)
    for name in ("loss", "val_loss"):
        mine, theirs = reduced[0].history.history[name], plain.history.history[name]
        np.testing.assert_allclose(mine, theirs, rtol=2e-2)
        assert mine != theirs


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize("cache", [True, False])
def test_the_model_is_float32_for_callbacks_and_afterwards(data: Data, tmp_path: Path, cache: bool) -> None:
    seen = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(policies(watch.model)))
    done = tuned(data, precision="bfloat16", cache=cache, callbacks=[watch])
    assert policies(done.model) == {"float32"} and all(kinds == {"float32"} for kinds in seen)
    assert {variable.dtype for variable in done.model.weights} == {"float32"}
    assert done.model.train_function is None and "train_step" not in vars(done.model)
    done.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert policies(loaded) == {"float32"}
    image = np.full((1, 32, 32, 3), 100.0, "float32")
    np.testing.assert_array_equal(loaded.predict(image, verbose=0), done.model.predict(image, verbose=0))


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize("cache", [True, False])
def test_the_model_is_float32_after_an_interruption(data: Data, cache: bool) -> None:
    def interrupt(batch: int, logs: Any) -> None:
        raise KeyboardInterrupt

    stop = keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)
    broken = tk.Trainer(small_classifier(), precision="bfloat16", cache=cache)
    with pytest.raises(KeyboardInterrupt):
        broken.fine_tune(data, epochs=1, fraction=1.0, callbacks=[stop], verbose=0)
    assert policies(broken.model) == {"float32"} and "train_step" not in vars(broken.model)
    broken.fine_tune(data, epochs=1, fraction=1.0, verbose=0)


def test_convolutions_and_dense_layers_are_reduced_and_logits_are_not() -> None:
    model = small_classifier(tk.AugmentationBlock(rotation=0.1), hidden=(8,))
    layers = mixed_precision_layers(model)
    names = [layer.name for layer in layers]
    assert names[:3] == ["block0_conv", "block1_conv", "block2_conv"]
    assert len(names) == 4 and "logits" not in names
    with precision_scope("bfloat16", layers):
        assert {layer.compute_dtype for layer in layers} == {"bfloat16"}
        assert model(np.zeros((2, 32, 32, 3), "float32")).dtype == "float32"


def test_measuring_changes_nothing(data: Data) -> None:
    model = tuned(data).model
    before = [keras.ops.convert_to_numpy(variable) for variable in [*model.variables, *model.optimizer.variables]]
    times = measure_step_times(model, ("float32", "bfloat16"), batch_size=4)
    assert all(seconds > 0 for seconds in times.values())
    for variable, value in zip([*model.variables, *model.optimizer.variables], before):
        np.testing.assert_array_equal(variable, value)
    assert policies(model) == {"float32"}


@pytest.mark.parametrize(("times", "chosen"), [(FASTER, "bfloat16"), (SLOWER, "float32")])
def test_the_faster_one_is_taken_and_measured_only_once(
    data: Data, own_home: Path, monkeypatch: pytest.MonkeyPatch, times: dict[str, float], chosen: str
) -> None:
    measured = []
    monkeypatch.setattr(step_time, "measure_step_times", lambda *args, **options: measured.append(1) or times)
    for _ in range(2):
        run = tk.Trainer(small_classifier(hidden=(8,)), precision="bfloat16")
        said = str(run.plan(data))
        assert ("will be measured" in said) == (not measured)
        run.fit(data, epochs=1, verbose=0)
        assert run.history.phases[0].precision == chosen
    assert measured == [1]
    assert f"computes in {chosen}: a step takes {times['bfloat16'] * 1e3:g} ms in bfloat16" in said
    assert list(json.loads((own_home / "engines" / "training-precision.json").read_text()).values()) == [times]


def test_a_broken_record_is_measured_anew(own_home: Path) -> None:
    file = own_home / "engines" / "training-precision.json"
    file.parent.mkdir()
    file.write_text("{half")
    choice = select_precision(small_classifier(hidden=(8,)), "bfloat16", batch_size=4, measure=True)
    assert "ms in bfloat16" in choice.reason and json.loads(file.read_text())


def test_nothing_to_gain_is_said_and_not_measured(data: Data, own_home: Path) -> None:
    plan = tk.Trainer(small_classifier(), precision="bfloat16").plan(data)
    assert "computes in float32: no convolution or dense layer of it stands below the logits." in str(plan)
    assert "computes in" not in str(tk.Trainer(small_classifier()).plan(data))


def test_a_layer_that_cannot_be_reduced_is_trained_in_float32(data: Data) -> None:
    class Strict(keras.layers.Dense):
        def call(self, inputs: Any) -> Any:
            if self.compute_dtype != "float32":
                raise ValueError("only float32")
            return super().call(inputs)

    images = keras.Input((32, 32, 3))
    x = Strict(4)(keras.layers.GlobalAveragePooling2D()(images))
    run = tk.Trainer(keras.Model(images, keras.layers.Dense(1)(x)), precision="bfloat16")
    with pytest.warns(RuntimeWarning, match="(?s)step in bfloat16 failed, and is left out: .*only float32"):
        run.fit(data, epochs=1, verbose=0)
    assert run.history.phases[0].precision == "float32"


@pytest.mark.usefixtures("faster")
def test_a_run_is_not_taken_up_in_another_precision(data: Data, tmp_path: Path) -> None:
    tk.Trainer(small_classifier(), checkpoint_dir=tmp_path, precision="bfloat16").fit(data, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="must belong to this run.*precision: 'bfloat16' then, 'float32' now"):
        tk.Trainer(small_classifier(), checkpoint_dir=tmp_path).fit(data, epochs=1, verbose=0)


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(ValueError) as error:
        tk.Trainer(small_classifier(), precision="float16")
    assert str(error.value) == (
        "`precision` must be 'float32' or 'bfloat16' on a machine without a GPU. Received: 'float16'. "
        "Choose 'bfloat16', or train on a GPU."
    )


def test_an_unknown_precision() -> None:
    with pytest.raises(ValueError, match="must be one of 'float32', 'bfloat16', 'float16'. Received: 'bfloat61'"):
        tk.Trainer(small_classifier(), precision="bfloat61")


@pytest.mark.usefixtures("gpu")
class TestWithAGpu:
    """What can be told without one: what is chosen, and that it trains; not that it is faster."""

    def test_all_layers_between_pixels_and_logits_are_reduced(self) -> None:
        names = [layer.name for layer in mixed_precision_layers(small_classifier(tk.AugmentationBlock(rotation=0.1)))]
        assert names[:3] == ["block0_conv", "block0_bn", "block0_relu"]
        assert "logits" not in names and not any("augmentation" in name or "resc" in name for name in names)

    @pytest.mark.parametrize("cache", [True, False])
    def test_half_precision_scales_the_loss_and_is_taken_up(self, data: Data, tmp_path: Path, cache: bool) -> None:
        plain = tuned(data, cache=cache)
        half = tuned(data, cache=cache, precision="float16", checkpoint_dir=tmp_path)
        assert isinstance(half.model.optimizer, keras.optimizers.LossScaleOptimizer)
        assert "computes in float16: it was asked for, and there is a GPU." in str(half.plan(data))
        np.testing.assert_allclose(half.history.history["loss"], plain.history.history["loss"], rtol=2e-2)
        assert policies(half.model) == {"float32"}
        again = tuned(data, cache=cache, precision="float16", checkpoint_dir=tmp_path)
        for mine, theirs in zip(again.model.get_weights(), half.model.get_weights()):
            np.testing.assert_array_equal(mine, theirs)

    def test_several_steps_a_call_take_an_epochs_own_batches(self) -> None:
        images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
        data = tk.DatasetBuilder((images, np.arange(60) % 2), image_size=32, batch_size=2, validation=0.1).build()
        run = tk.Trainer(small_classifier(), cache=False)
        history = run.fit(data, epochs=2, verbose=0).history
        steps = -(-len(data.splits["train"]) // 2)
        assert run.model.steps_per_execution > 1 and steps % run.model.steps_per_execution == 0
        assert int(run.model.optimizer.iterations) == 2 * steps
        assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
