"""Search the head and the learning rate with KerasTuner: trials train on cached features.

    pip install "transferkit[offline,fast]" keras-tuner
    python examples/search.py IMAGES [--trials 100]

IMAGES has one folder per class. The features of the photos are computed once, so a trial takes a second.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner

import transferkit as tk


def main() -> None:
    """Run the search and evaluate the best head on the test images."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--backbone", default="EfficientNetLite0")
    parser.add_argument("--image-size", type=int, default=160)
    options = parser.parse_args()
    given = (options.images / "validation").is_dir()
    splits: dict[str, Any] = {} if given else {"validation": 0.2}
    data = tk.DatasetBuilder(options.images, image_size=options.image_size, **splits).build()
    size = options.image_size
    backbone = tk.BackboneFactory.create(options.backbone, input_shape=(size, size, 3))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tuner = HeadTuner(data, backbone, options.trials, folder)
        tuner.search()
        best = tuner.oracle.get_best_trials(1)[0]
    seconds = time.perf_counter() - started
    print(f"{options.trials} trials in {seconds:.1f} s")
    print(f"Best validation loss {best.score:.4f} with {best.hyperparameters.values}")
    trainer = train(data, backbone, best.hyperparameters.values)
    print(f"Validation accuracy {trainer.evaluate(data.validation).accuracy:.4f}")


class HeadTuner(keras_tuner.Tuner):
    """Trains one head per trial; the oracle of KerasTuner chooses the values."""

    def __init__(self, data: Any, backbone: Any, trials: int, folder: str) -> None:
        objective = keras_tuner.Objective("val_loss", direction="min")
        oracle = keras_tuner.oracles.RandomSearchOracle(objective=objective, max_trials=trials, seed=0)
        super().__init__(oracle, None, directory=folder, overwrite=True)
        self.data, self.backbone = data, backbone

    def run_trial(self, trial: Any, *arguments: Any, **options: Any) -> dict[str, float]:
        """Return the validation loss of one trial."""
        space = trial.hyperparameters
        values = {
            "learning_rate": space.Float("learning_rate", 1e-4, 1e-2, sampling="log"),
            "dropout": space.Float("dropout", 0.0, 0.5),
            "hidden": space.Choice("hidden", [0, 64, 256]),
        }
        history = train(self.data, self.backbone, values).history.history
        keras.backend.clear_session(free_memory=False)
        return {"val_loss": min(history["val_loss"])}


def train(data: Any, backbone: Any, values: dict[str, Any]) -> tk.Trainer:
    """Return a trainer whose head was trained on the cached features."""
    hidden = [values["hidden"]] if values["hidden"] else []
    head = tk.ClassifierHead(data.num_classes, hidden=hidden, dropout=values["dropout"])
    trainer = tk.Trainer(tk.build_classifier(backbone, head), learning_rate=values["learning_rate"])
    trainer.fit(data, epochs=10, keep_best=True, verbose=0)
    return trainer


if __name__ == "__main__":
    main()
