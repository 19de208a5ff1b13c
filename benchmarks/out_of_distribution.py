"""Detect images of other things than those a classifier was trained on.

    python benchmarks/out_of_distribution.py --data IMAGES --other PHOTOS [--weights FILE]

IMAGES has train/cats, train/dogs, validation/cats and validation/dogs; PHOTOS is a folder of photos of other things.
Synthetic images of cats and dogs are a second such set. For each backbone, the table has the areas under the ROC curves
of three scores: the distance to the fifth nearest training image, the Mahalanobis distance to the nearest class, and
the confidence. The last column is the fraction of each set with `in_distribution` False, where the threshold accepts 95
percent of the first half of the validation images; the other half is compared with the other images.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

import transferkit as tk
from transferkit.backbones.backbone import Backbone

SIZE = (160, 160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--other", required=True, type=Path)
    parser.add_argument("--weights", help="weights of MobileNetV2 with alpha 0.35, for a second backbone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as synthetic:
        tk.datasets.synthetic_cats_and_dogs(synthetic)
        others = {"other photos": options.other, "synthetic": Path(synthetic)}
        backbones = {"EfficientNetLite0": {}}
        if options.weights:
            backbones["MobileNetV2"] = {"alpha": 0.35, "weights": options.weights}
        print("| backbone | images | neighbors | Mahalanobis | confidence | detected |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, arguments in backbones.items():
            compare(tk.BackboneFactory.create(name, input_shape=(*SIZE, 3), **arguments), options.data, others)


def compare(backbone: Backbone, images: Path, others: dict[str, Path]) -> None:
    known, new = halves(images / "validation")
    data = tk.DatasetBuilder(images / "train", validation=known, image_size=SIZE).build()
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2)))
    trainer.fit(data, verbose=0)
    trainer.calibrate(data, in_distribution=0.95)
    predictor = trainer.predictor()
    mahalanobis = class_distances(predictor.embed(data.files["train"]), data.splits["train"].labels)
    inside = predictor.predict(new[0])
    for title, folder in others.items():
        outside = predictor.predict(image_files(folder))
        scores = {
            "neighbors": [[one.distance for one in group] for group in (inside, outside)],
            "Mahalanobis": [mahalanobis(predictor.embed([one.path for one in group])) for group in (inside, outside)],
            "confidence": [[-one.probability for one in group] for group in (inside, outside)],
        }
        areas = " | ".join(f"{area(*groups):.3f}" for groups in scores.values())
        detected = [np.mean([not one.in_distribution for one in group]) for group in (outside, inside)]
        print(f"| {backbone.name} | {len(outside)} {title} | {areas} | {detected[0]:.1%}, of known {detected[1]:.1%} |")


def halves(folder: Path) -> tuple[tuple[list[str], list[str]], tuple[list[str], list[str]]]:
    """Return the files and labels of every other image of each class, and those of the others."""
    files = [[(path, name.name) for path in image_files(name)] for name in sorted(folder.iterdir()) if name.is_dir()]
    parts = [[pair for of_class in files for pair in of_class[start::2]] for start in (0, 1)]
    first, second = (([path for path, _ in part], [label for _, label in part]) for part in parts)
    return first, second


def image_files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))


def class_distances(features: np.ndarray, labels: np.ndarray):
    """Return a function from features to the Mahalanobis distance to the nearest class mean."""
    means = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels)])
    precision = np.linalg.inv(ledoit_wolf(features - means[labels])[0])
    return lambda new: np.min([np.einsum("ij,jk,ik->i", new - mean, precision, new - mean) for mean in means], axis=0)


def area(inside: list[float], outside: list[float]) -> float:
    return float(roc_auc_score([0] * len(inside) + [1] * len(outside), [*inside, *outside]))


if __name__ == "__main__":
    main()
