"""The 1000 ImageNet classes, and pretrained ImageNet classifiers."""

from __future__ import annotations

import functools

import keras

from transferkit.backbones.backbone import get_preprocessing
from transferkit.backbones.spec import BackboneSpec
from transferkit.backbones.table import read_csv
from transferkit.images.spec import ImageSpec
from transferkit.prediction import Predictor

# The published accuracies were measured on a central crop of 0.875 of the shorter side, resized bicubically.
# https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/preprocessing.py
_CROP_FRACTION = 0.875


@functools.lru_cache(maxsize=1)
def imagenet_classes() -> tuple[str, ...]:
    """Return the 1000 unique class names of ImageNet 2012, in the order of the outputs.

    "crane" and "maillot" name two classes each; the WordNet id is appended to the second.

    >>> imagenet_classes()[281]
    'tabby'
    """
    names: list[str] = []
    for row in read_csv("imagenet_classes.csv"):
        names.append(f"{row['name']} ({row['wnid']})" if row["name"] in names else row["name"])
    return tuple(names)


def imagenet_predictor(model: keras.Model, spec: BackboneSpec) -> Predictor:
    """Return a `Predictor` of a keras.Model from preprocessed images to 1000 logits, with its preprocessing."""
    size = (spec.default_size, spec.default_size)
    images = keras.Input((*size, 3), name="image")
    logits = model(get_preprocessing(spec.preprocessing)(images))
    classifier = keras.Model(images, logits, name=f"{model.name}_imagenet")
    image_spec = ImageSpec(size, resize="crop", crop_fraction=_CROP_FRACTION, interpolation="bicubic", antialias=True)
    return Predictor(classifier, imagenet_classes(), image_spec, activation="softmax")
