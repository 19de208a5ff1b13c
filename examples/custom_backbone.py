"""Backbones of one's own: one with weights that it brings along, and a small one from scratch.

    python examples/custom_backbone.py --data my_photos/     # one folder a class; a drawn sample without it

The first is EfficientNetLite0, whose architecture is Keras layers and whose ImageNet weights come with the extra
`offline`; it is registered here under a name of one's own, as any function that builds a keras.Model can be.
"""

from __future__ import annotations

import argparse
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import transferkit as tk
from transferkit.backbones.efficientnet_lite import build_efficientnet_lite0, load_efficientnet_lite0


def lite(input_shape: tuple[int, int, int], weights: str | None) -> keras.Model:
    """Build EfficientNet-Lite0, with its own weights unless `weights` is None."""
    model = build_efficientnet_lite0(input_shape)
    if weights is not None:
        load_efficientnet_lite0(model)
    return model


def small(input_shape: tuple[int, int, int], weights: str | None) -> keras.Model:
    """Build four convolutions, to be trained from scratch."""
    images = x = keras.Input(input_shape)
    for number, channels in enumerate((16, 32, 64, 128)):
        x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False, name=f"conv_{number}")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"norm_{number}")(x)
        x = keras.layers.ReLU(name=f"relu_{number}")(x)
    return keras.Model(images, x, name="small")


def main() -> None:
    """Train a classifier on each and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="a folder with one folder a class")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    folder = options.data or tk.datasets.synthetic_cats_and_dogs(os.path.join(tempfile.mkdtemp(), "drawn"))
    data = tk.DatasetBuilder(folder, image_size=options.image_size).build()
    print(data.report)
    shape = (options.image_size, options.image_size, 3)

    tk.BackboneFactory.register("my-lite", lite, preprocessing=keras.layers.Rescaling(1 / 128, offset=-127 / 128))
    pretrained = tk.BackboneFactory.create("my-lite", input_shape=shape)
    trainer = tk.Trainer(tk.build_classifier(pretrained, tk.ClassifierHead(data.num_classes)), learning_rate=1e-3)
    trainer.fit(data, epochs=options.epochs)
    print("Pretrained, frozen:", trainer.evaluate(data.validation), sep="\n")

    tk.BackboneFactory.register("my-small", small, preprocessing=keras.layers.Rescaling(1 / 255))
    scratch = tk.BackboneFactory.create("my-small", input_shape=shape)
    # From scratch everything is trained, the statistics of batch normalisation included.
    scratch.unfreeze(batch_norm=True)
    trainer = tk.Trainer(tk.build_classifier(scratch, tk.ClassifierHead(data.num_classes)), learning_rate=3e-3)
    trainer.fit(data, epochs=options.epochs)
    print("From scratch:", trainer.evaluate(data.validation), sep="\n")


if __name__ == "__main__":
    main()
