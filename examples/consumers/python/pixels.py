"""Read a photo as the classifier was trained on it, with NumPy and Pillow alone.

The pixels of JPEG files, in color or gray, are those of `transferkit.images.load_image` to the bit.
"""

import io

import numpy as np
from PIL import Image, ImageCms, ImageOps

# A profile that changes one of these colors by more than three levels is of another color space than sRGB.
LEVELS = np.array([0, 4, 8, 16, 32, 64, 96, 128, 160, 192, 224, 255], np.uint8)
COLORS = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS), axis=-1).reshape(len(LEVELS), -1, 3)
GRAYS = np.arange(256, dtype=np.uint8)[None]


def load_pixels(path, spec):
    """Return a photo as uint8 (height, width, 3); `spec` is "image_spec" in the metadata of the model."""
    if spec["interpolation"] != "bilinear" or spec["antialias"]:
        raise ValueError("pixels.py resizes with bilinear interpolation without antialias only.")
    height, width = spec["image_size"]
    with Image.open(path) as image:
        # Large JPEG files are decoded at 1/2, 1/4 or 1/8 of their size; other formats have no such mode.
        required = 2 * int(max(height, width) / spec["crop_fraction"])
        scale = next((scale for scale in (8, 4, 2) if min(image.size) // scale >= required), 1)
        if not spec["full_decode"]:
            image.draft("RGB", [max(1, side // scale) for side in image.size])
        pixels = np.asarray(to_srgb(ImageOps.exif_transpose(image)))
    if spec["resize"] == "crop":
        pixels = crop(pixels, height, width, spec["crop_fraction"])
    if spec["resize"] != "pad":
        return resize(pixels, height, width)
    factor = min(height / pixels.shape[0], width / pixels.shape[1])
    rows, columns = (max(1, round(side * factor)) for side in pixels.shape[:2])
    top, left = (height - rows) // 2, (width - columns) // 2
    padded = np.zeros((height, width, 3), np.uint8)
    padded[top : top + rows, left : left + columns] = resize(pixels, rows, columns)
    return padded


def to_srgb(image):
    """Return an image in sRGB; phones store colors of Display P3, for example."""
    if image.mode not in ("L", "RGB") or image.has_transparency_data:
        raise ValueError(f"The image must be in color or gray without transparency. Received: {image.mode}.")
    is_gray = image.mode == "L"
    flags = ImageCms.Flags.NOOPTIMIZE if is_gray else ImageCms.Flags.NONE
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        target = ImageCms.createProfile("sRGB")
        convert = ImageCms.buildTransform(profile, target, image.mode, "RGB", flags=flags).apply
    except (KeyError, OSError, ImageCms.PyCMSError):
        return image.convert("RGB")
    probe = Image.fromarray(GRAYS if is_gray else COLORS)
    change = np.asarray(convert(probe), np.int16) - np.asarray(probe.convert("RGB"))
    return image.convert("RGB") if np.abs(change).max() <= 3 else convert(image)


def crop(pixels, height, width, fraction):
    """Return the center of an image, with the aspect ratio of height to width."""
    rows, columns = pixels.shape[:2]
    kept_rows = max(1, round(min(rows, columns * height / width) * fraction))
    kept_columns = max(1, round(min(columns, rows * width / height) * fraction))
    top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
    return pixels[top : top + kept_rows, left : left + kept_columns]


def resize(pixels, height, width):
    """Return an image of another size by bilinear interpolation between the centers of pixels."""
    top, bottom, row_fraction = neighbors(pixels.shape[0], height)
    left, right, fraction = neighbors(pixels.shape[1], width)
    fraction = fraction[None, :, None]
    upper, lower = pixels[top].astype(np.float32), pixels[bottom].astype(np.float32)
    upper = upper[:, left] + (upper[:, right] - upper[:, left]) * fraction
    lower = lower[:, left] + (lower[:, right] - lower[:, left]) * fraction
    return np.rint(upper + (lower - upper) * row_fraction[:, None, None]).astype(np.uint8)


def neighbors(size, new_size):
    """Return the two source pixels of each new pixel, and its position between them."""
    # In float32 and in this order, because the last bit decides how a value is rounded.
    position = (np.arange(new_size, dtype=np.float32) + 0.5) * (size / new_size) - 0.5
    first = np.floor(position)
    second = np.minimum(np.ceil(position), size - 1)
    return np.maximum(first, 0).astype(int), second.astype(int), position - first
