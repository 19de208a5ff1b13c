"""The modules in examples/consumers/javascript, in Node alone, without packages."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.exporting.conftest import NAMES, SIZE, make_predictor
from tests.exporting.javascript import EXAMPLES, run_node
from transferkit.images import load_image

READ_METADATA = f"""
import {{ readFileSync }} from "node:fs";
import {{ readMetadata }} from "{EXAMPLES.as_uri()}/javascript/metadata.mjs";
console.log(JSON.stringify(readMetadata(readFileSync(process.argv[2]))));
"""
# For each job a file of RGB or RGBA bytes becomes a file of pixels.
TO_PIXELS = f"""
import {{ readFileSync, writeFileSync }} from "node:fs";
import {{ toPixels }} from "{EXAMPLES.as_uri()}/javascript/pixels.mjs";
for (const {{ path, image, spec, isJpeg }} of JSON.parse(readFileSync(process.argv[2]))) {{
  const data = readFileSync(path);
  try {{
    writeFileSync(path, toPixels({{ ...image, data }}, spec, isJpeg));
  }} catch (error) {{
    writeFileSync(path, error.message);
  }}
}}
"""
# Of 12 rows, "crop" keeps 10.5, which is rounded to 10.
SIZES = [(1, 1), (3, 50), (12, 16), (31, 17), (48, 64), (127, 130), (300, 187)]
SPECS = {
    "stretch": tk.ImageSpec((64, 48)),
    "crop": tk.ImageSpec((48, 64), resize="crop", crop_fraction=0.875),
    "pad": tk.ImageSpec((56, 61), resize="pad"),
}
Job = tuple[np.ndarray, tk.ImageSpec, bool]


def run_jobs(folder: Path, jobs: list[Job]) -> list[bytes]:
    """Return the result of `toPixels` for each image (height, width, channels), spec, and whether it is a JPEG."""
    described: list[dict[str, Any]] = []
    for number, (image, spec, is_jpeg) in enumerate(jobs):
        path = folder / f"{number}.bin"
        path.write_bytes(image.tobytes())
        size = dict(zip(("height", "width", "channels"), image.shape))
        described.append({"path": str(path), "image": size, "spec": spec.to_dict(), "isJpeg": is_jpeg})
    (folder / "jobs.json").write_text(json.dumps(described))
    (folder / "program.mjs").write_text(TO_PIXELS)
    run_node(folder / "program.mjs", folder / "jobs.json")
    return [Path(job["path"]).read_bytes() for job in described]


def make_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_pixels_are_equal(spec: tk.ImageSpec, tmp_path: Path) -> None:
    images = [make_image(*size) for size in SIZES]
    jobs = [(image, spec, False) for image in images]
    # Alpha is ignored: the programs have composed it.
    jobs += [(np.concatenate([image, np.full_like(image[..., :1], 255)], axis=-1), spec, False) for image in images]
    for actual, image in zip(run_jobs(tmp_path, jobs), images * 2):
        np.testing.assert_array_equal(np.frombuffer(actual, np.uint8), load_image(image, spec).ravel())


def test_jpeg_is_reduced_where_training_reduces(tmp_path: Path) -> None:
    specs = [tk.ImageSpec((20, 20)), tk.ImageSpec((20, 16), full_decode=True), tk.ImageSpec((20, 16), resize="pad")]
    # The scales are 1, 2, 4 and 8, some with incomplete blocks.
    sizes = [(79, 60), (80, 81), (81, 81), (167, 160), (323, 421)]
    jobs, expected = [], []
    for (height, width), spec in itertools.product(sizes, specs):
        rows, columns = np.mgrid[:height, :width] / [[[height]], [[width]]]
        smooth = np.stack([rows * 200, columns * 220, 100 + 100 * np.sin(6 * (rows + columns))], axis=-1)
        buffer = io.BytesIO()
        # Noise, which the means of blocks do not have, shows whether an image was reduced, and by how much.
        noise = np.random.default_rng(width).normal(0, 40, (height, width, 1))
        Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=95)
        jobs.append((np.asarray(Image.open(buffer)), spec, True))
        expected.append(load_image(buffer.getvalue(), spec).astype(int))
    for actual, pixels in zip(run_jobs(tmp_path, jobs), expected):
        assert np.abs(np.frombuffer(actual, np.uint8) - pixels.ravel()).mean() <= 2


def test_other_resizing_is_refused(tmp_path: Path) -> None:
    specs = [tk.ImageSpec((8, 8), interpolation="bicubic"), tk.ImageSpec((8, 8), antialias=True)]
    for message in run_jobs(tmp_path, [(make_image(9, 9), spec, False) for spec in specs]):
        assert b"bilinear interpolation without antialias" in message


def test_metadata(tmp_path: Path) -> None:
    names = ("ant ", "big\nbee", "Ünïcode 猫")
    assert len(names) == len(NAMES)
    spec = tk.ImageSpec((SIZE, SIZE), resize="crop", crop_fraction=0.875)
    predictor = tk.Predictor(make_predictor().model, names, spec, activation="softmax")
    tk.export(predictor, tmp_path / "model.onnx")
    (tmp_path / "program.mjs").write_text(READ_METADATA)
    metadata = json.loads(run_node(tmp_path / "program.mjs", tmp_path / "model.onnx"))
    assert metadata == {"labels": ["ant ", r"big\nbee", "Ünïcode 猫"], "spec": spec.to_dict()}
