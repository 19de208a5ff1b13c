"""The text part of KerasHub models of images and text: embeddings of prompts, and the scale of the logits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from transferkit.backbones.hub_catalogue import check_preset_name
from transferkit.backbones.hub_model import import_keras_hub
from transferkit.backbones.hub_presets import HUB, is_hub_name, preset_source
from transferkit.errors import MissingExtraError, WeightsError

_EXAMPLES = "such as 'hub:clip_vit_base_patch16' or 'hub:siglip_base_patch16_224'"
# Packages that tokenizers of KerasHub import where they are used.
_TOKENIZERS = ("tensorflow-text", "sentencepiece")
# Prompts that are encoded together.
_BATCH = 64


def image_text_preset(name: str | os.PathLike[str]) -> tuple[Any, Any]:
    """Return the backbone and the preprocessor of a preset of images and text.

    Raises:
        MissingExtraError: if KerasHub, or a package that its tokenizer requires, is not installed.
        ValueError: if there is no such preset, or it has no text part.
        WeightsError: if the preset cannot be loaded.
    """
    if not is_hub_name(name):
        raise ValueError(
            f"`backbone` must be a preset of images and text, {_EXAMPLES}, or a backbone of KerasHub. "
            f"Received: {name!r}."
        )
    hub = import_keras_hub("Zero-shot classification")
    preset = os.fspath(name).removeprefix(HUB)
    if os.fspath(name).startswith(HUB):
        check_preset_name(preset)
    backbone = preset_source(name, load_weights=True).backbone
    check_has_text(backbone)
    try:
        return backbone, hub.models.CausalLMPreprocessor.from_preset(preset)
    except ImportError as error:
        raise _missing_tokenizer(error) from error
    except Exception as error:  # KerasHub and the hubs' clients raise errors of many kinds
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise WeightsError(
            f"The tokenizer of the preset {os.fspath(name)!r} could not be loaded. Received: {reason} Give the "
            "backbone and the `preprocessor` as objects of KerasHub."
        ) from error


def check_has_text(backbone: Any) -> None:
    """Raise a ValueError unless a KerasHub backbone compares images with text."""
    if not hasattr(backbone, "get_text_embeddings") or _logit_layer(backbone) is None:
        name = getattr(backbone, "name", backbone)
        raise ValueError(
            f"`backbone` must have a text part. Received: {name!r} ({type(backbone).__name__}), without. Use a CLIP, "
            f"MetaCLIP 2 or SigLIP model, {_EXAMPLES}."
        )


def text_embeddings(backbone: Any, preprocessor: Any, prompts: Sequence[str]) -> np.ndarray:
    """Return the embeddings of prompts, projected, of length 1: float32 (prompts, dimensions).

    Raises:
        MissingExtraError: if a package that the tokenizer requires is not installed.
    """
    rows = []
    for start in range(0, len(prompts), _BATCH):
        tokens = _tokens(preprocessor, list(prompts[start : start + _BATCH]))
        rows.append(keras.ops.convert_to_numpy(backbone.get_text_embeddings(tokens)))
    return unit_length(np.concatenate(rows).astype("float32"))


def unit_length(rows: np.ndarray) -> np.ndarray:
    """Return rows divided by their lengths."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def logit_scale_and_bias(backbone: Any) -> tuple[float, float | None]:
    """Return the factor of the cosines, and what SigLIP adds to the products; None for models without a bias."""
    layer = _logit_layer(backbone)
    bias = getattr(layer, "logit_bias", None)
    scale = float(np.exp(keras.ops.convert_to_numpy(layer.logit_scale)))
    return scale, None if bias is None else float(keras.ops.convert_to_numpy(bias))


def _logit_layer(backbone: Any) -> Any:
    return next((layer for layer in getattr(backbone, "layers", ()) if hasattr(layer, "logit_scale")), None)


def _tokens(preprocessor: Any, prompts: list[str]) -> Any:
    # The preprocessors of KerasHub require images next to the prompts, and resize them; small ones cost least.
    images = np.zeros((len(prompts), 1, 1, 3), "float32")
    try:
        return preprocessor({"prompts": prompts, "images": images})["token_ids"]
    except ImportError as error:
        raise _missing_tokenizer(error) from error


def _missing_tokenizer(error: ImportError) -> MissingExtraError:
    package = next((name for name in _TOKENIZERS if name in str(error)), "tensorflow-text")
    return MissingExtraError("The tokenizer of zero-shot classification", package, "hub")
