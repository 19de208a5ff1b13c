"""CPU time per image of each option of AugmentationBlock, next to the layer of Keras.

    python benchmarks/augmentation.py [--size 160] [--repeat 7]

"graph" is `call` in a tf.function on 32 images, "cached" is `augment` on 16 images as for cached features. The smallest
of several repetitions is printed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import transferkit as tk

# Options, and the layer of Keras that is closest: its name and arguments.
CASES: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"flip": "horizontal"}, "RandomFlip", {"mode": "horizontal"}),
    ({"rotation": 0.1}, "RandomRotation", {"factor": 0.1, "fill_mode": "reflect"}),
    ({"random_resized_crop": (0.3, 1.0)}, "RandomZoom", {"height_factor": 0.3}),
    ({"saturation": 0.3, "hue": 0.1}, "RandomColorJitter", {"saturation_factor": (0.7, 1.3), "hue_factor": 0.1}),
    ({"erasing": 0.5}, "RandomErasing", {}),
    ({"blur": 2.0}, "RandomGaussianBlur", {"kernel_size": 9}),
    ({"jpeg_quality": 20}, "", {}),
    ({"policy": "rand_augment"}, "RandAugment", {}),
    ({"policy": "trivial_augment"}, "", {}),
]


def main() -> None:
    """Print a table with one row per option."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=160, help="side in pixels")
    parser.add_argument("--repeat", type=int, default=7, help="repetitions")
    options = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (32, options.size, options.size, 3)).astype("uint8")
    print("| option | graph, ms | cached, ms | layer of Keras | graph, ms |")
    print("| --- | --- | --- | --- | --- |")
    few, seeds = images[:16], [(0, number) for number in range(16)]
    for arguments, name, layer_arguments in CASES:
        block = tk.AugmentationBlock(**{"flip": None, **arguments})
        in_graph = milliseconds(graph(block, images), len(images), options.repeat)
        cached = milliseconds(lambda block=block: block.augment(few, seeds), len(few), options.repeat)
        reference = "| | |"
        if name and hasattr(keras.layers, name):
            layer = getattr(keras.layers, name)(**layer_arguments)
            reference = f"| {name} | {milliseconds(graph(layer, images), len(images), options.repeat):.2f} |"
        text = ", ".join(f"`{key}={value!r}`" for key, value in arguments.items())
        print(f"| {text} | {in_graph:.2f} | {cached:.2f} {reference}")
    for arguments in ({"mixup": 0.2}, {"cutmix": 1.0}):
        block = tk.AugmentationBlock(flip=None, **arguments)
        labels = tf.one_hot(np.arange(len(images)) % 10, 10)
        batch = tf.constant(images, tf.float32)
        mix = tf.function(lambda block=block, batch=batch, labels=labels: block.mix_batch(batch, labels))
        duration = milliseconds(mix, len(images), options.repeat)
        print(f"| `{next(iter(arguments))}={next(iter(arguments.values()))}` | {duration:.2f} | | | |")


def graph(layer: Any, images: np.ndarray) -> Callable[[], Any]:
    """Return a function that calls a layer on float32 images in a graph."""
    batch = tf.constant(images, tf.float32)
    return tf.function(lambda: layer(batch, training=True))


def milliseconds(function: Callable[[], Any], count: int, repeat: int) -> float:
    """Return the smallest CPU time of a call, per image."""
    function()
    times = []
    for _ in range(repeat):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1000 * min(times) / count


if __name__ == "__main__":
    main()
