"""Compare heads for few images per class with logistic regression whose C is cross-validated.

    python benchmarks/few_shot.py --data IMAGES [--backbone EfficientNetLite0] [--per-class 10] [--seeds 5]
    python benchmarks/few_shot.py --data IMAGES --backbone MobileNetV2 --weights WEIGHTS.h5 --alpha 0.35

IMAGES has train/ and validation/, each with one folder per class. For each seed, some photos of each class of train/
are the training images; all others are the test images. "LogisticRegressionCV" is that of scikit-learn, on the same
features; "standardized" with features of variance 1. The columns are means over the seeds; the error is that of the
mean accuracy.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import transferkit as tk

# Head and arguments of `fit`.
HEADS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}),
    'solver="adam"': ({}, {"solver": "adam"}),
    'kind="prototype"': ({"kind": "prototype"}, {}),
    'kind="cosine"': ({"kind": "cosine"}, {}),
    'kind="knn"': ({"kind": "knn"}, {}),
    'kind="mlp"': ({"kind": "mlp"}, {}),
}
Row = tuple[float, float]


def main() -> None:
    """Print one row per head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--backbone", default="EfficientNetLite0")
    parser.add_argument("--weights", help="weights file without its top")
    parser.add_argument("--alpha", type=float, help="width multiplier of a MobileNetV2")
    parser.add_argument("--per-class", type=int, nargs="+", default=[10])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=list(HEADS))
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    backbone = make_backbone(options)
    print("| photos per class | head | accuracy | error | cross-entropy |")
    print("| --- | --- | --- | --- | --- |")
    for per_class in options.per_class:
        found: dict[str, list[Row]] = {}
        for seed in range(options.seeds):
            for name, row in rows(sample(options.data, per_class, seed), backbone, options.heads).items():
                found.setdefault(name, []).append(row)
        for name, values in found.items():
            accuracies, losses = np.array(values).T
            error = accuracies.std(ddof=1) / len(values) ** 0.5
            print(f"| {per_class} | {name} | {accuracies.mean():.4f} | {error:.4f} | {losses.mean():.3f} |", flush=True)


def make_backbone(options: argparse.Namespace) -> tk.Backbone:
    """Return the backbone of the options."""
    arguments: dict[str, Any] = {} if options.alpha is None else {"alpha": options.alpha}
    if options.weights is not None:
        arguments["weights"] = os.path.abspath(options.weights)
    return tk.BackboneFactory.create(options.backbone, input_shape=(160, 160, 3), **arguments)


def sample(folder: Path, per_class: int, seed: int) -> tk.Data:
    """Return data with `per_class` training images of each class, and all others as test images."""
    generator = np.random.default_rng(seed)
    training: tuple[list[str], list[str]] = ([], [])
    others: tuple[list[str], list[str]] = ([], [])
    for name in sorted(path.name for path in (folder / "train").iterdir()):
        files = sorted(map(str, (folder / "train" / name).glob("*.jpg")))
        chosen = set(generator.choice(len(files), per_class, replace=False).tolist())
        rest = [file for index, file in enumerate(files) if index not in chosen]
        rest += sorted(map(str, (folder / "validation" / name).glob("*.jpg")))
        for split, part in ((training, [files[index] for index in sorted(chosen)]), (others, rest)):
            split[0].extend(part)
            split[1].extend([name] * len(part))
    return tk.DatasetBuilder(training, test=others, image_size=160, seed=seed, progress=False).build()


def rows(data: tk.Data, backbone: tk.Backbone, heads: list[str]) -> dict[str, Row]:
    """Return accuracy and cross-entropy of each head on the test images."""
    found = {}
    splits = [data.splits[name] for name in ("train", "test")]
    (features, test_features), (labels, test_labels) = map(backbone.features, splits), (one.labels for one in splits)
    folds = int(min(5, np.bincount(labels).min()))
    if folds > 1:
        regression = LogisticRegressionCV(cv=folds, max_iter=5000)
        for name, model in (
            ("LogisticRegressionCV", regression),
            ("LogisticRegressionCV, standardized", make_pipeline(StandardScaler(), regression)),
        ):
            probabilities = model.fit(features, labels).predict_proba(test_features)
            accuracy = float(np.mean(probabilities.argmax(axis=1) == test_labels))
            found[name] = accuracy, log_loss(test_labels, probabilities)
    for name in heads:
        head, fit = HEADS[name]
        trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(data.num_classes, **head)))
        trainer.fit(data, verbose=0, **fit)
        report = trainer.evaluate(data.test)
        found[name] = report.accuracy, log_loss(test_labels, report.probabilities)
        keras.backend.clear_session()
    return found


if __name__ == "__main__":
    main()
