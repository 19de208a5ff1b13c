"""One small KerasHub backbone of each architecture, with random weights, and the features that it should have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

keras_hub: Any
try:
    import keras_hub
except ImportError:
    keras_hub = None

SIDE = 32
SHAPE = (SIDE, SIDE, 3)
SCALE, OFFSET = [0.017, 0.0175, 0.018], [-2.1, -2.0, -1.8]
# Blocks of a transformer.
_BLOCKS = {"num_layers": 2, "num_heads": 2, "hidden_dim": 32}


def save_preset(family: str, folder: Path, *, converter: bool = True) -> Any:
    """Write the preset of a family to `folder` and return its backbone."""
    keras.utils.set_random_seed(0)
    backbone = BUILD[family]()
    _move_statistics(backbone)
    backbone.save_to_preset(str(folder))
    if converter:
        image_converter(family).save_to_preset(str(folder))
    return backbone


def image_converter(family: str) -> Any:
    kind = getattr(keras_hub.layers, f"{family}ImageConverter", keras_hub.layers.ImageConverter)
    return kind(image_size=(SIDE, SIDE), scale=SCALE, offset=OFFSET, interpolation="bicubic", antialias=True)


def expected_features(family: str, backbone: Any, images: np.ndarray) -> np.ndarray:
    """Return the pooled features of KerasHub's own layers."""
    inputs = images * np.array(SCALE, "float32") + np.array(OFFSET, "float32")
    if family in ("CLIP", "MetaCLIP2"):
        outputs = backbone.vision_pooler(backbone.vision_encoder({"images": inputs}))
        return np.asarray(backbone.vision_post_layer_norm(outputs) if family == "MetaCLIP2" else outputs)
    if family == "SigLIP":
        return np.asarray(backbone.get_vision_embeddings(inputs))
    name = {"DINOV2": "images", "DINOV3": "pixel_values"}.get(family)
    outputs = (backbone.image_encoder if family == "SAM" else backbone)(inputs if name is None else {name: inputs})
    outputs = np.asarray(outputs["stage2"] if family == "HGNetV2" else outputs)
    if family in ("ViT", "DeiT", "DINOV2", "DINOV3"):
        return outputs[:, 0]
    return outputs.mean(axis=tuple(range(1, outputs.ndim - 1)))


def _move_statistics(backbone: Any) -> None:
    """Give batch normalization other statistics than those at the start, which have no effect."""
    random = np.random.default_rng(0)
    for layer in backbone._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(random.normal(scale=0.1, size=layer.moving_mean.shape))
            layer.moving_variance.assign(random.uniform(0.5, 1.5, size=layer.moving_variance.shape))


def _vit() -> Any:
    return keras_hub.models.ViTBackbone(image_shape=SHAPE, patch_size=8, mlp_dim=64, **_BLOCKS)


def _deit() -> Any:
    return keras_hub.models.DeiTBackbone(image_shape=SHAPE, patch_size=8, intermediate_dim=64, **_BLOCKS)


def _dinov2() -> Any:
    return keras_hub.models.DINOV2Backbone(
        patch_size=8,
        intermediate_dim=64,
        image_shape=SHAPE,
        position_embedding_shape=SHAPE,
        num_register_tokens=2,
        **_BLOCKS,
    )


def _dinov3() -> Any:
    return keras_hub.models.DINOV3Backbone(patch_size=8, intermediate_dim=64, image_shape=SHAPE, **_BLOCKS)


def _siglip() -> Any:
    models = keras_hub.models
    vision = models.SigLIPVisionEncoder(patch_size=8, intermediate_dim=64, image_shape=SHAPE, **_BLOCKS)
    text = models.SigLIPTextEncoder(vocabulary_size=8, embedding_dim=32, intermediate_dim=64, **_BLOCKS)
    return models.SigLIPBackbone(vision, text)


def _clip(prefix: str = "CLIP") -> Any:
    models = keras_hub.models
    vision = getattr(models, f"{prefix}VisionEncoder")(
        patch_size=8, intermediate_dim=64, image_shape=SHAPE, name="vision", **_BLOCKS
    )
    text = getattr(models, f"{prefix}TextEncoder")(
        vocabulary_size=8, embedding_dim=32, intermediate_dim=64, name="text", **_BLOCKS
    )
    return getattr(models, f"{prefix}Backbone")(vision, text, projection_dim=16)


def _resnet() -> Any:
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
    )


def _efficientnet() -> Any:
    return keras_hub.models.EfficientNetBackbone(
        stackwise_kernel_sizes=[3, 3],
        stackwise_num_repeats=[1, 2],
        stackwise_input_filters=[8, 8],
        stackwise_output_filters=[8, 16],
        stackwise_expansion_ratios=[1, 4],
        stackwise_squeeze_and_excite_ratios=[0.25, 0.25],
        stackwise_strides=[1, 2],
        stackwise_block_types=["v1", "v1"],
        width_coefficient=1.0,
        depth_coefficient=1.0,
    )


def _mobilenet() -> Any:
    return keras_hub.models.MobileNetBackbone(
        stackwise_expansion=[[16], [16, 16]],
        stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[8], [16, 16]],
        stackwise_kernel_size=[[3], [5, 5]],
        stackwise_num_strides=[[2], [2, 1]],
        stackwise_se_ratio=[[None], [0.25, 0.25]],
        stackwise_activation=[["relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1], [2, 2]],
        output_num_filters=32,
        depthwise_filters=8,
        depthwise_stride=1,
        depthwise_residual=False,
        squeeze_and_excite=0.5,
        last_layer_filter=32,
    )


def _swin() -> Any:
    return keras_hub.models.SwinTransformerBackbone(
        image_shape=SHAPE, embed_dim=16, depths=(2, 2), num_heads=(2, 2), window_size=4, patch_size=4
    )


def _cspnet() -> Any:
    return keras_hub.models.CSPNetBackbone(
        stem_filters=32,
        stem_kernel_size=3,
        stem_strides=1,
        stackwise_depth=[1, 2],
        stackwise_strides=[2, 2],
        stackwise_num_filters=[32, 64],
        block_type="dark_block",
        stage_type="csp",
        bottle_ratio=(0.5, 1.0),
        block_ratio=(1.0, 0.5),
        expand_ratio=(2.0, 1.0),
        stem_padding="same",
        down_growth=True,
    )


def _hgnetv2() -> Any:
    return keras_hub.models.HGNetV2Backbone(
        depths=[1, 2],
        embedding_size=8,
        hidden_sizes=[16, 32],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=False,
        stackwise_stage_filters=[(8, 8, 16, 1, 1, 3), (16, 8, 32, 2, 2, 3)],
        apply_downsample=[False, True],
        use_lightweight_conv_block=[False, True],
    )


def _mit() -> Any:
    return keras_hub.models.MiTBackbone(
        image_shape=SHAPE,
        layerwise_depths=[2, 2],
        num_layers=2,
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[2, 1],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        hidden_dims=[16, 32],
    )


def _densenet() -> Any:
    return keras_hub.models.DenseNetBackbone(stackwise_num_repeats=[1, 2], growth_rate=8)


def _vgg() -> Any:
    return keras_hub.models.VGGBackbone(stackwise_num_repeats=[1, 2], stackwise_num_filters=[8, 16])


def _xception() -> Any:
    return keras_hub.models.XceptionBackbone(
        stackwise_conv_filters=[[8, 16], [16, 32], [32, 32]], stackwise_pooling=[True, True, False]
    )


def _mobilenetv5() -> Any:
    return keras_hub.models.MobileNetV5Backbone(
        stackwise_block_types=[["er"], ["uir", "uir", "mqa"]],
        stackwise_num_blocks=[1, 3],
        stackwise_num_filters=[[16], [32, 32, 32]],
        stackwise_strides=[[2], [2, 1, 1]],
        stackwise_act_layers=[["gelu"], ["gelu"] * 3],
        stackwise_exp_ratios=[[4.0], [4.0] * 3],
        stackwise_se_ratios=[[0.0], [0.0] * 3],
        stackwise_dw_kernel_sizes=[[0], [5, 5, 0]],
        stackwise_dw_start_kernel_sizes=[[0], [0] * 3],
        stackwise_dw_end_kernel_sizes=[[0], [0] * 3],
        stackwise_exp_kernel_sizes=[[3], [0] * 3],
        stackwise_pw_kernel_sizes=[[1], [0] * 3],
        stackwise_num_heads=[[0], [0, 0, 2]],
        stackwise_key_dims=[[0], [0, 0, 8]],
        stackwise_value_dims=[[0], [0, 0, 8]],
        stackwise_kv_strides=[[0], [0, 0, 1]],
        stackwise_use_cpe=[[False], [False] * 3],
        use_msfa=False,
    )


def _sam() -> Any:
    models, layers = keras_hub.models, keras_hub.layers
    encoder = models.ViTDetBackbone(
        hidden_size=16,
        num_layers=3,
        intermediate_dim=32,
        num_heads=2,
        global_attention_layer_indices=[1],
        patch_size=8,
        num_output_channels=8,
        window_size=2,
        image_shape=SHAPE,
    )
    prompts = layers.SAMPromptEncoder(
        hidden_size=8, image_embedding_size=(4, 4), input_image_size=(SIDE, SIDE), mask_in_channels=4
    )
    decoder = layers.SAMMaskDecoder(
        num_layers=1,
        hidden_size=8,
        intermediate_dim=16,
        num_heads=2,
        embedding_dim=8,
        iou_head_depth=2,
        iou_head_hidden_dim=8,
    )
    return models.SAMBackbone(encoder, prompts, decoder)


# In the order of how common they are.
BUILD: dict[str, Callable[[], Any]] = {
    "ViT": _vit,
    "DINOV2": _dinov2,
    "SigLIP": _siglip,
    "CLIP": _clip,
    "ResNet": _resnet,
    "EfficientNet": _efficientnet,
    "MobileNet": _mobilenet,
    "SwinTransformer": _swin,
    "DINOV3": _dinov3,
    "DeiT": _deit,
    "CSPNet": _cspnet,
    "HGNetV2": _hgnetv2,
    "MiT": _mit,
    "DenseNet": _densenet,
    "VGG": _vgg,
    "Xception": _xception,
    "MobileNetV5": _mobilenetv5,
    "MetaCLIP2": lambda: _clip("MetaCLIP2"),
    "SAM": _sam,
}
