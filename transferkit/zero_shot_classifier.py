"""Zero-shot classification: a classifier from class names, with a model of images and text."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit.backbones.backbone import Backbone
from transferkit.backbones.hub_presets import HubSource, build_hub_backbone
from transferkit.backbones.hub_text import (
    check_has_text,
    image_text_preset,
    logit_scale_and_bias,
    text_embeddings,
    unit_length,
)
from transferkit.classifier import compose
from transferkit.head.few_shot import COSINES, SCALE, cosine_layers
from transferkit.prediction import Predictor

_TEMPLATES = ("a photo of a {}.",)


@suggests_arguments
def zero_shot(
    class_names: Sequence[str],
    backbone: Any,
    *,
    preprocessor: Any = None,
    templates: str | Sequence[str] = _TEMPLATES,
) -> Predictor:
    """Create a classifier from the names of its classes, without training images.

    A model of images and text compares each image with one prompt per class and template. The embeddings of a class
    have length 1, are averaged over the templates, and have length 1 again. They become the weights of a cosine head,
    so that the classifier is a plain Keras model of the image part, without the text part. `Trainer` continues from
    these weights.

    Args:
        class_names: sequence of at least 2 different str, in the order of the outputs. For training, that of
            `data.class_names`.
        backbone: a CLIP, MetaCLIP 2 or SigLIP model of KerasHub (extra `hub`): the name of a preset, such as
            "hub:clip_vit_base_patch16", "hf://..." or the path of a preset's folder; or a keras_hub.models.Backbone.
        preprocessor: keras_hub.models.Preprocessor with the tokenizer and the image converter; required for a backbone
            object, and only for one. Defaults to None, that of the preset.
        templates: str or sequence of str, prompts with "{}" in place of the class name. Defaults to
            ("a photo of a {}.",).

    Returns:
        A `Predictor`. The logits are the scaled cosines of the model, plus the bias of SigLIP; of two classes, one
        logit, the difference of the two.

    Raises:
        MissingExtraError: if KerasHub, or a package that its tokenizer requires, is not installed.
        TypeError: if class names or templates have another type.
        ValueError: if class names are fewer than 2 or not different, a template has no "{}", the backbone has no text
            part, or the preprocessor no image converter.
        WeightsError: if the preset cannot be loaded.

    Example:

    >>> predictor = tk.zero_shot(["cat", "dog"], "hub:clip_vit_base_patch16")  # doctest: +SKIP
    >>> predictor.predict("image.jpg").label  # doctest: +SKIP
    'cat'
    """
    names, prompts = _checked_names(class_names), _checked_templates(templates)
    name, model, processor = _image_text_model(backbone, preprocessor)
    image_part = build_hub_backbone(
        HubSource(name, model, getattr(processor, "image_converter", None)), projection=True
    )
    if image_part.image_spec is None:
        raise ValueError(
            f"`preprocessor` must have an image converter. Received: {type(processor).__name__}, without. Give, for "
            "example, keras_hub.models.CLIPPreprocessor(tokenizer, image_converter)."
        )
    classes = np.stack([_class_embedding(model, processor, class_name, prompts) for class_name in names])
    classifier = _with_text_head(image_part, classes, *logit_scale_and_bias(model))
    return Predictor(classifier, names, image_part.image_spec, activation="sigmoid" if len(names) == 2 else "softmax")


def _image_text_model(backbone: Any, preprocessor: Any) -> tuple[str, Any, Any]:
    """Return the name, the backbone and the preprocessor of KerasHub."""
    if isinstance(backbone, (str, os.PathLike)):
        if preprocessor is not None:
            raise ValueError(
                f"`preprocessor` is for a backbone object. Received: {type(preprocessor).__name__} with the preset "
                f"{os.fspath(backbone)!r}, which has its own. Omit it."
            )
        return os.fspath(backbone), *image_text_preset(backbone)
    check_has_text(backbone)
    if not callable(preprocessor):
        raise ValueError(
            f"`preprocessor` must be given for a backbone object. Received: {preprocessor!r}. Give, for example, "
            "keras_hub.models.CLIPPreprocessor(tokenizer, image_converter)."
        )
    return backbone.name, backbone, preprocessor


def _class_embedding(model: Any, preprocessor: Any, class_name: str, templates: Sequence[str]) -> np.ndarray:
    prompts = [template.replace("{}", class_name) for template in templates]
    return unit_length(text_embeddings(model, preprocessor, prompts).mean(axis=0))


def _with_text_head(backbone: Backbone, classes: np.ndarray, scale: float, bias: float | None) -> keras.Model:
    """Return the classifier whose logits are scaled cosines to the embeddings of the classes."""
    if len(classes) == 2:
        # The bias is the same for all classes, so that the difference of two logits has none.
        classes, bias = classes[1:] - classes[:1], None
    lengths = np.linalg.norm(classes, axis=-1)
    layers = cosine_layers(len(classes), None, use_bias=bias is not None)
    model = compose(backbone, _chain(layers), name="classifier")
    # The constraint of the kernel keeps columns of length 1 in training; the factor has the rest.
    model.get_layer(COSINES).set_weights([(classes / np.maximum(lengths, 1e-12)[:, None]).T])
    factors = [scale * lengths] if bias is None else [scale * lengths, np.full(len(classes), bias)]
    model.get_layer(SCALE).set_weights(factors)
    return model


def _chain(layers: Sequence[keras.layers.Layer]) -> Callable[[Any], Any]:
    def apply(features: Any) -> Any:
        for layer in layers:
            features = layer(features)
        return features

    return apply


def _checked_names(names: Any) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"`class_names` must be a sequence of str. Received: {names!r}. Give, for example, ['cat', 'dog']."
        )
    names = tuple(names)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"`class_names` must be different. Received: {repeated[0]!r} more than once. Remove one.")
    if len(names) < 2 or not all(name.strip() for name in names):
        raise ValueError(
            f"`class_names` must be at least 2 names that are not empty. Received: {names}. Give, for example, "
            "['cat', 'dog']."
        )
    return names


def _checked_templates(templates: Any) -> tuple[str, ...]:
    templates = (templates,) if isinstance(templates, str) else tuple(templates)
    for template in templates:
        if not isinstance(template, str) or "{}" not in template:
            raise ValueError(
                f"`templates` must contain '{{}}' in place of the class name. Received: {template!r}. Give, for "
                "example, 'a photo of a {}.'."
            )
    if not templates:
        raise ValueError("`templates` must have at least one template. Received: none. Give 'a photo of a {}.'.")
    return templates
