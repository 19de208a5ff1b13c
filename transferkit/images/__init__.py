"""Images: from the bytes of a file to an RGB array of the wanted size, the same everywhere in the library."""

from transferkit.images.loading import content_hashes, image_dataset, load_image
from transferkit.images.pillow_decoder import read_image
from transferkit.images.spec import ImageSpec

__all__ = ["ImageSpec", "content_hashes", "image_dataset", "load_image", "read_image"]
