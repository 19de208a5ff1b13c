"""Images: from a file, bytes or an array to an RGB array of a given size, the same everywhere in the library."""

from transferkit.images.dataset import image_dataset
from transferkit.images.loading import content_hashes, load_image, load_images, read_image
from transferkit.images.spec import ImageSpec

__all__ = ["ImageSpec", "content_hashes", "image_dataset", "load_image", "load_images", "read_image"]
