"""Small models of images and text of KerasHub, with random weights and a small vocabulary."""

from __future__ import annotations

import io
import string
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tests.backbones.tiny_hub_presets import SHAPE, image_converter, keras_hub

_BLOCKS = {"num_layers": 2, "num_heads": 2, "hidden_dim": 32, "intermediate_dim": 64}
# Tokens that a prompt is padded or cut to.
_LENGTH = 40
FAMILIES = ("CLIP", "MetaCLIP2", "SigLIP")


def image_text_model(family: str) -> tuple[Any, Any]:
    """Return the backbone and the preprocessor of a family."""
    keras.utils.set_random_seed(0)
    preprocessor = _preprocessor(family)
    vision = getattr(keras_hub.models, f"{family}VisionEncoder")(
        patch_size=8, image_shape=SHAPE, name="vision", **_BLOCKS
    )
    text = getattr(keras_hub.models, f"{family}TextEncoder")(
        vocabulary_size=preprocessor.tokenizer.vocabulary_size(),
        embedding_dim=32,
        max_sequence_length=_LENGTH,
        name="text",
        **_BLOCKS,
    )
    options = {} if family == "SigLIP" else {"projection_dim": 16}
    backbone = getattr(keras_hub.models, f"{family}Backbone")(vision, text, **options)
    _scale_text(backbone)
    if family == "SigLIP":
        backbone.siglip_head.logit_scale.assign(2.0)
        backbone.siglip_head.logit_bias.assign(-1.5)
    return backbone, preprocessor


def expected_logits(backbone: Any, preprocessor: Any, images: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
    """Return the logits (images, prompts) of KerasHub's own model, for images of its size in [0, 255]."""
    tokens = preprocessor({"prompts": list(prompts), "images": np.zeros((len(prompts), *SHAPE), "float32")})
    inputs = preprocessor.image_converter(images)
    return np.asarray(backbone({"images": inputs, "token_ids": tokens["token_ids"]})["vision_logits"])


def _scale_text(backbone: Any) -> None:
    """Scale the initial weights of the text part, with which all prompts have nearly the same embedding."""
    for weight in backbone.text_encoder.trainable_weights:
        if "embedding" in weight.path:
            weight.assign(weight * 50.0)


def _preprocessor(family: str) -> Any:
    models = keras_hub.models
    converter = image_converter(family)
    if family == "CLIP":
        return models.CLIPPreprocessor(_clip_tokenizer(), converter, sequence_length=_LENGTH)
    proto = _sentence_piece()
    if family == "SigLIP":
        return models.SigLIPPreprocessor(models.SigLIPTokenizer(proto), converter, sequence_length=_LENGTH)
    tokenizer = keras_hub.tokenizers.MetaCLIP2Tokenizer(proto)
    return models.MetaCLIP2CausalLMPreprocessor(tokenizer, converter, sequence_length=_LENGTH)


def _clip_tokenizer() -> Any:
    characters = [*string.ascii_lowercase, "."]
    tokens = [
        "!",
        "ph",
        "do",
        *characters,
        *(f"{character}</w>" for character in characters),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return keras_hub.models.CLIPTokenizer(vocabulary, ["p h", "d o"], pad_with_end_token=True)


def _sentence_piece() -> bytes:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a photo of a cat.", "a drawing of a dog.", string.ascii_lowercase]),
        model_writer=model,
        vocab_size=34,
        model_type="char",
        pad_id=-1,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        minloglevel=2,
    )
    return model.getvalue()
