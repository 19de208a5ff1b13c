"""Several labels per image: which colors of shapes are in it.

    python examples/multilabel.py

Makes images with one to three shapes, writes their paths and labels to a CSV file, trains one independent logit per
label on it, and predicts. --quick uses fewer images and epochs.

Accuracy of pairs of image and label on 101 test images after 30 epochs on the others: 0.97; macro F1 0.98.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

# TensorFlow reads this variable at import: print errors only.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image, ImageDraw

import transferkit as tk

OUTPUT = Path("output/multilabel")
COLORS = {"red": (210, 50, 40), "green": (50, 170, 60), "blue": (40, 70, 210)}
SIZE = 96


def main() -> None:
    """Make images, train, evaluate and predict."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="use 100 images and 10 epochs instead of 500 and 30")
    options = parser.parse_args()
    count, epochs = (100, 10) if options.quick else (500, 30)
    table = make_images(OUTPUT / f"images_{count}", count)

    data = tk.DatasetBuilder(table, test=0.2, image_size=SIZE, label_separator="|").build()
    print(data.report)
    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(SIZE, SIZE, 3))
    head = tk.ClassifierHead(data.num_classes, multi_label=True)
    trainer = tk.Trainer(tk.build_classifier(backbone, head), learning_rate=1e-2)
    trainer.fit(data, epochs=epochs)
    print(trainer.evaluate(data.test))
    for prediction in trainer.predict(data.files["test"][:5]):
        labels = [name for name, probability in prediction.probabilities.items() if probability > 0.5]
        print(prediction.path, labels)


def make_images(folder: Path, count: int) -> Path:
    """Write images and a CSV file with the columns path and label, such as "green|red"."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    rows = []
    for index in range(count):
        image = Image.fromarray(random.integers(150, 256, (SIZE, SIZE, 3), np.uint8))
        draw = ImageDraw.Draw(image)
        names = sorted(random.choice(list(COLORS), random.integers(1, 4), replace=False).tolist())
        for name in names:
            left, top = random.integers(0, SIZE - 40, 2).tolist()
            draw.ellipse((left, top, left + 38, top + 38), fill=COLORS[name])
        image.save(folder / f"{index}.png")
        rows.append({"path": folder / f"{index}.png", "label": "|".join(names)})
    with open(folder / "labels.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label"])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "labels.csv"


if __name__ == "__main__":
    main()
