"""Example datasets: cats and dogs, and synthetic images for machines without a network."""

from transferkit.datasets.archive import unpack
from transferkit.datasets.cats_and_dogs import cats_and_dogs
from transferkit.datasets.download import download
from transferkit.datasets.synthetic import synthetic_cats_and_dogs

__all__ = ["cats_and_dogs", "download", "synthetic_cats_and_dogs", "unpack"]
