"""The rows of the catalogue, one per model."""

from __future__ import annotations

from typing import NamedTuple

from transferkit.backbones.spec import BackboneSpec

_KERAS = "https://keras.io/api/applications/"
_CONVNEXT = "https://github.com/facebookresearch/ConvNeXt"
_MOBILENET_V3 = "https://github.com/tensorflow/models/tree/master/research/slim/nets/mobilenet"
_LITE = "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"


class _Family(NamedTuple):
    preprocessing: str
    min_size: int
    license: str
    paper: str
    source: str = _KERAS


_FAMILIES = {
    "ConvNeXt": _Family("none", 32, "MIT", "https://arxiv.org/abs/2201.03545", _CONVNEXT),
    "DenseNet": _Family("torch", 32, "BSD-3-Clause", "https://arxiv.org/abs/1608.06993"),
    "EfficientNet": _Family("none", 32, "Apache-2.0", "https://arxiv.org/abs/1905.11946"),
    "EfficientNetLite": _Family("lite", 32, "Apache-2.0", "https://arxiv.org/abs/1905.11946", _LITE),
    "EfficientNetV2": _Family("none", 32, "Apache-2.0", "https://arxiv.org/abs/2104.00298"),
    "Inception": _Family("tf", 75, "Apache-2.0", "https://arxiv.org/abs/1512.00567"),
    "InceptionResNet": _Family("tf", 75, "Apache-2.0", "https://arxiv.org/abs/1602.07261"),
    "MobileNet": _Family("tf", 32, "Apache-2.0", "https://arxiv.org/abs/1704.04861"),
    "MobileNetV2": _Family("tf", 32, "Apache-2.0", "https://arxiv.org/abs/1801.04381"),
    "MobileNetV3": _Family("none", 32, "Apache-2.0", "https://arxiv.org/abs/1905.02244", _MOBILENET_V3),
    "NASNet": _Family("tf", 32, "Apache-2.0", "https://arxiv.org/abs/1707.07012"),
    "ResNet": _Family("caffe", 32, "MIT", "https://arxiv.org/abs/1512.03385"),
    "ResNetV2": _Family("tf", 32, "Apache-2.0", "https://arxiv.org/abs/1603.05027"),
    "VGG": _Family("caffe", 32, "CC-BY-4.0", "https://arxiv.org/abs/1409.1556"),
    "Xception": _Family("tf", 71, "MIT", "https://arxiv.org/abs/1610.02357"),
}

# name, family, parameters, features, depth, top-1 %, top-5 %, MB, default size
_TABLE: tuple[tuple[str, str, int, int, int | None, float | None, float | None, float | None, int], ...] = (
    ("ConvNeXtBase", "ConvNeXt", 88_591_464, 1024, None, 85.3, None, 338.58, 224),
    ("ConvNeXtLarge", "ConvNeXt", 197_767_336, 1536, None, 86.3, None, 755.07, 224),
    ("ConvNeXtSmall", "ConvNeXt", 50_223_688, 768, None, 82.3, None, 192.29, 224),
    ("ConvNeXtTiny", "ConvNeXt", 28_589_128, 768, None, 81.3, None, 109.42, 224),
    ("ConvNeXtXLarge", "ConvNeXt", 350_196_968, 2048, None, 86.7, None, 1310.0, 224),
    ("DenseNet121", "DenseNet", 8_062_504, 1024, 242, 75.0, 92.3, 33, 224),
    ("DenseNet169", "DenseNet", 14_307_880, 1664, 338, 76.2, 93.2, 57, 224),
    ("DenseNet201", "DenseNet", 20_242_984, 1920, 402, 77.3, 93.6, 80, 224),
    ("EfficientNetB0", "EfficientNet", 5_330_571, 1280, 132, 77.1, 93.3, 29, 224),
    ("EfficientNetB1", "EfficientNet", 7_856_239, 1280, 186, 79.1, 94.4, 31, 240),
    ("EfficientNetB2", "EfficientNet", 9_177_569, 1408, 186, 80.1, 94.9, 36, 260),
    ("EfficientNetB3", "EfficientNet", 12_320_535, 1536, 210, 81.6, 95.7, 48, 300),
    ("EfficientNetB4", "EfficientNet", 19_466_823, 1792, 258, 82.9, 96.4, 75, 380),
    ("EfficientNetB5", "EfficientNet", 30_562_527, 2048, 312, 83.6, 96.7, 118, 456),
    ("EfficientNetB6", "EfficientNet", 43_265_143, 2304, 360, 84.0, 96.8, 166, 528),
    ("EfficientNetB7", "EfficientNet", 66_658_687, 2560, 438, 84.3, 97.0, 256, 600),
    ("EfficientNetLite0", "EfficientNetLite", 4_694_024, 1280, None, 75.1, None, 18, 224),
    ("EfficientNetV2B0", "EfficientNetV2", 7_200_312, 1280, None, 78.7, 94.3, 29, 224),
    ("EfficientNetV2B1", "EfficientNetV2", 8_212_124, 1280, None, 79.8, 95.0, 34, 240),
    ("EfficientNetV2B2", "EfficientNetV2", 10_178_374, 1408, None, 80.5, 95.1, 42, 260),
    ("EfficientNetV2B3", "EfficientNetV2", 14_467_622, 1536, None, 82.0, 95.8, 59, 300),
    ("EfficientNetV2L", "EfficientNetV2", 119_027_848, 1280, None, 85.7, 97.5, 479, 480),
    ("EfficientNetV2M", "EfficientNetV2", 54_431_388, 1280, None, 85.3, 97.4, 220, 480),
    ("EfficientNetV2S", "EfficientNetV2", 21_612_360, 1280, None, 83.9, 96.7, 88, 384),
    ("InceptionResNetV2", "InceptionResNet", 55_873_736, 1536, 449, 80.3, 95.3, 215, 299),
    ("InceptionV3", "Inception", 23_851_784, 2048, 189, 77.9, 93.7, 92, 299),
    ("MobileNet", "MobileNet", 4_253_864, 1024, 55, 70.4, 89.5, 16, 224),
    ("MobileNetV2", "MobileNetV2", 3_538_984, 1280, 105, 71.3, 90.1, 14, 224),
    ("MobileNetV3Large", "MobileNetV3", 5_507_432, 960, None, 75.6, None, None, 224),
    ("MobileNetV3Small", "MobileNetV3", 2_554_968, 576, None, 68.1, None, None, 224),
    ("NASNetLarge", "NASNet", 88_949_818, 4032, 533, 82.5, 96.0, 343, 331),
    ("NASNetMobile", "NASNet", 5_326_716, 1056, 389, 74.4, 91.9, 23, 224),
    ("ResNet101", "ResNet", 44_707_176, 2048, 209, 76.4, 92.8, 171, 224),
    ("ResNet101V2", "ResNetV2", 44_675_560, 2048, 205, 77.2, 93.8, 171, 224),
    ("ResNet152", "ResNet", 60_419_944, 2048, 311, 76.6, 93.1, 232, 224),
    ("ResNet152V2", "ResNetV2", 60_380_648, 2048, 307, 78.0, 94.2, 232, 224),
    ("ResNet50", "ResNet", 25_636_712, 2048, 107, 74.9, 92.1, 98, 224),
    ("ResNet50V2", "ResNetV2", 25_613_800, 2048, 103, 76.0, 93.0, 98, 224),
    ("VGG16", "VGG", 138_357_544, 512, 16, 71.3, 90.1, 528, 224),
    ("VGG19", "VGG", 143_667_240, 512, 19, 71.3, 90.0, 549, 224),
    ("Xception", "Xception", 22_910_480, 2048, 81, 79.0, 94.5, 88, 299),
)


def _row(
    name: str,
    family: str,
    parameters: int,
    features: int,
    depth: int | None,
    top1: float | None,
    top5: float | None,
    size_mb: float | None,
    default_size: int,
) -> BackboneSpec:
    common = _FAMILIES[family]
    return BackboneSpec(
        name=name,
        family=family,
        parameters=parameters,
        features=features,
        depth=depth,
        top1=None if top1 is None else round(top1 / 100, 4),
        top5=None if top5 is None else round(top5 / 100, 4),
        size_mb=size_mb,
        default_size=default_size,
        min_size=common.min_size,
        preprocessing=common.preprocessing,
        license=common.license,
        paper=common.paper,
        source=common.source,
    )


ROWS: tuple[BackboneSpec, ...] = tuple(_row(*row) for row in _TABLE)
