"""Train from a CSV file with splits and weights, with your own metrics, and write the predictions to another one.

    python examples/csv_and_metrics.py

The file has the columns path, label, split and weight. Output is written to output/csv_and_metrics/: predictions.csv
with one row per test image, and report.html. --quick uses fewer images.

Accuracy on 100 synthetic test images after 20 epochs on 400: 1.0.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

# TensorFlow reads this variable at import: print errors only.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import transferkit as tk

OUTPUT = Path("output/csv_and_metrics")


def main() -> None:
    """Write the table, train on it, evaluate and predict."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="use 100 images instead of 500")
    options = parser.parse_args()
    counts = {"training": 80, "validation": 20} if options.quick else {"training": 400, "validation": 100}
    folder = tk.datasets.synthetic_cats_and_dogs(OUTPUT / f"images_{counts['training']}", **counts)
    table = write_table(folder, OUTPUT / "images.csv")

    data = tk.DatasetBuilder(table, validation=0.2, image_size=96, weight_column="weight").build()
    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(96, 96, 3))
    model = tk.build_classifier(backbone, tk.ClassifierHead(data.num_classes))
    # Metrics get probabilities, also where the model returns logits.
    trainer = tk.Trainer(model, metrics=["auc", keras.metrics.Precision(thresholds=0.9, name="precision_at_0.9")])
    history = trainer.fit(data, epochs=20, early_stopping=5)
    print(history)
    report = trainer.evaluate(data.test)
    print(report)
    print("95 % interval of the accuracy:", report.confidence_interval())
    report.to_html(OUTPUT / "report.html", predictor=trainer.predictor())
    trainer.predictor().predict_to(data.files["test"], OUTPUT / "predictions.csv")


def write_table(folder: Path, path: Path) -> Path:
    """Write a CSV file of images: those in validation/ are for testing, and dogs count twice."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "weight"])
        for image in sorted(folder.rglob("*.jpg")):
            label = image.parent.name
            split = "test" if "validation" in image.parts else "train"
            writer.writerow([image.resolve(), label, split, 2 if label == "dogs" else 1])
    return path


if __name__ == "__main__":
    main()
