"""Compare heads trained with and without augmentation on the five data sets of recipes.py.

    python benchmarks/augmented_head.py --data IMAGES [--sets textures] [--augmentations none light] [--seeds 5]

Every row is `Trainer.fit` on a frozen backbone with `--num-views` views of each image, the original and augmented ones.
The gain is the mean difference of the test accuracy from the first row, with its standard error over the seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import keras
import numpy as np
from recipes import SETS, examples, load_data

import transferkit as tk

AUGMENTATIONS = ("none", "default", "light", "medium", "strong")


def main() -> None:
    """Print one row for each set and augmentation."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--augmentations", nargs="*", default=["none", "default"], choices=AUGMENTATIONS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--num-views", type=int, default=2)
    parser.add_argument("--backbone", default="EfficientNetLite0")
    options = parser.parse_args()
    print("| set | augmentation | accuracy | gain | standard error |")
    print("| --- | --- | --- | --- | --- |")
    for name in options.sets:
        reference = np.zeros(options.seeds)
        for augmentation in options.augmentations:
            accuracies = np.array([accuracy(name, augmentation, seed, options) for seed in range(options.seeds)])
            reference = accuracies if augmentation == options.augmentations[0] else reference
            gains = accuracies - reference
            error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
            print(
                f"| {name} | {augmentation} | {accuracies.mean():.4f} | {gains.mean():+.4f} | {error:.4f} |", flush=True
            )


def accuracy(name: str, augmentation: str, seed: int, options: argparse.Namespace) -> float:
    """Return the test accuracy of a head."""
    data = load_data(examples(name, SETS[name], seed, options.data), seed)
    size = data.image_size[0]
    made = tk.BackboneFactory.create(options.backbone, input_shape=(size, size, 3))
    model = tk.build_classifier(made, tk.ClassifierHead(data.num_classes), augmentation=layer_of(augmentation))
    trainer = tk.Trainer(model, seed=seed)
    trainer.fit(data, num_views=options.num_views, verbose=0)
    found = trainer.evaluate(data.test).accuracy
    keras.backend.clear_session()
    return found


def layer_of(augmentation: str) -> Any:
    """Return the augmentation layer, or None."""
    if augmentation == "none":
        return None
    return tk.AugmentationBlock() if augmentation == "default" else tk.AugmentationBlock.preset(augmentation)


if __name__ == "__main__":
    main()
