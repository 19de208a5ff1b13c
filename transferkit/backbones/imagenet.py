"""The 1000 ImageNet classes, and pretrained models as they are."""

from __future__ import annotations

import csv
import functools
from importlib import resources

import keras

from transferkit.backbones.backbone import get_preprocessing
from transferkit.backbones.spec import BackboneSpec
from transferkit.images.loading import ImageSpec
from transferkit.prediction import Predictor

# How each family's published accuracy was measured: the middle 0.875 of the shorter side, bicubic.
# https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/preprocessing.py
_CROP_FRACTION = 0.875


@functools.lru_cache(maxsize=1)
def imagenet_classes() -> tuple[str, ...]:
    """Return the names of the 1000 classes of ImageNet 2012, in the order of the outputs; no two are alike.

    Two words, crane and maillot, name two classes each; the second of each carries its WordNet id.

    >>> imagenet_classes()[281]
    'tabby'
    """
    table = resources.files("transferkit.backbones").joinpath("imagenet_classes.csv")
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names: list[str] = []
    for row in rows:
        names.append(f"{row['name']} ({row['wnid']})" if row["name"] in names else row["name"])
    return tuple(names)


def imagenet_predictor(network: keras.Model, spec: BackboneSpec) -> Predictor:
    """Return a `Predictor` of a network with its ImageNet top, its preprocessing put in front.

    Args:
        network: keras.Model from images in the family's range to 1000 logits.
        spec: its row of the catalogue.
    """
    size = (spec.default_size, spec.default_size)
    images = keras.Input((*size, 3), name="image")
    model = keras.Model(images, network(get_preprocessing(spec.preprocessing)(images)), name=f"{network.name}_imagenet")
    pixels = ImageSpec(size, resize="crop", crop_fraction=_CROP_FRACTION, interpolation="bicubic", antialias=True)
    return Predictor(model, imagenet_classes(), pixels, activation="softmax")
