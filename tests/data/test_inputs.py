"""Inputs of predict and features: each form gives the same sources, in a fixed order."""

import io
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.conftest import write_jpeg
from transferkit import DatasetBuilder
from transferkit.data.inputs import expand, single_image, to_split
from transferkit.errors import DataError, ImageError
from transferkit.images import ImageSpec, load_images

SPEC = ImageSpec((24, 32))


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def paths(folder):
    """The sorted files of a folder, with a file in a deeper folder and others that are no images."""
    write_jpeg(folder / "cats" / "more" / "z.jpeg", 900)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.jpg").write_bytes(b"")
    (folder / "@eaDir").mkdir()
    write_jpeg(folder / "@eaDir" / "copy.jpg", 901)
    return sorted(str(path) for path in folder.rglob("*.jp*g") if "@" not in str(path) and path.name[0] != ".")


def test_expand_lists_folder_recursively(folder, paths):
    assert len(paths) == 21
    assert expand(folder) == expand(str(folder)) == expand([folder]) == paths


def test_expand_reports_undecodable_files_in_their_place(folder, paths):
    video = folder / "cats" / "cat.2.mov"
    video.write_bytes(b"\0\0\0\x14ftypqt  ")
    sources = expand(folder)
    assert [getattr(source, "path", source) for source in sources] == sorted([*paths, str(video)])
    (error,) = [source for source in sources if isinstance(source, ImageError)]
    assert error.reason == "it is a video; extract its frames as JPEG or PNG"


def test_expand_matches_patterns(folder, paths, monkeypatch):
    cats = [path for path in paths if os.sep + "cat." in path]
    assert expand(str(folder / "cats" / "cat.*")) == cats
    assert expand(str(folder / "**" / "*.jp*g")) == paths
    assert expand([str(folder / "cats" / "cat.1*.jpg"), folder / "dogs" / "dog.0.jpg"])[-1] == paths[-8]
    assert expand(str(folder / "*s")) == paths
    monkeypatch.chdir(folder)
    assert expand("cats/*.jpg") == [os.path.relpath(path, folder) for path in cats]


def test_name_that_looks_like_a_pattern_is_a_file(tmp_path):
    write_jpeg(tmp_path / "a[1].jpg", 1)
    write_jpeg(tmp_path / "a1.jpg", 2)
    assert single_image(tmp_path / "a[1].jpg") == str(tmp_path / "a[1].jpg")
    assert expand([tmp_path / "a[1].jpg"]) == [str(tmp_path / "a[1].jpg")]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.jpg", "there is no such file; check the path, which is relative to"),
        ("*.jpg", "no file matches the pattern; check the path"),
        ("http://example.org/a.jpg", "it is a URL; download the image first"),
        ("a\0b.jpg", "there is no such file"),
    ],
)
def test_single_image_refuses_missing_path(path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match=message):
        single_image(path)


def test_expand_of_folder_without_images(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"`images` must be a folder with images. Received: .*empty', with none"):
        expand(tmp_path / "empty")
    (error,) = expand([tmp_path / "empty"])
    assert error.reason == "it is a folder without images"


@pytest.mark.parametrize("image", [noise(9, 7, 3), tf.constant(noise(9, 7, 3)), Image.new("L", (9, 7))])
def test_single_image_accepts_pixels(image):
    assert single_image(image).shape[2] == 3 and single_image([image]) is None and len(expand([image])) == 1


def test_single_image_refuses_pixels_of_other_range():
    with pytest.raises(ImageError, match="Multiply images in .0, 1. by 255"):
        single_image(noise(9, 7, 3) / 255)
    with pytest.raises(ImageError, match=r"np.repeat\(images\[..., None\], 3, axis=-1\)"):
        single_image(noise(9, 7))


def test_expand_of_array_checks_all_images():
    images = noise(50, 9, 7, 3).astype(np.float32)
    assert np.array_equal(expand(images), images)
    images[40] = np.nan
    with pytest.raises(ImageError, match="NaN or infinite values in image 40"):
        expand(images)
    with pytest.raises(ImageError, match="Put the channels last"):
        expand(noise(5, 3, 9, 7))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (3, "Received: int"),
        (None, "Received: NoneType"),
        ({"a.jpg": 1}, "Received: dict"),
        ({"a.jpg", "b.jpg"}, "Received: set"),
        ([["a.jpg"], ["b.jpg"]], "An image must be a path, .*Received: list. Give one list of images"),
        ([None], "An image must be a path, bytes, a file object, an array or a Pillow image. Received: NoneType"),
    ],
)
def test_expand_refuses_type(images, message):
    with pytest.raises(TypeError, match=message):
        expand(images)


def test_expand_refuses_data_and_frame(folder):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"path": ["a.jpg"], "label": ["a"]})
    assert single_image(frame) is None and expand(frame["path"]) == ["a.jpg"]
    with pytest.raises(TypeError, match=r"Give the column of its paths, for example frame\['path'\]"):
        expand(frame)
    with pytest.raises(TypeError, match="Give one of its splits, for example data.test"):
        expand(DatasetBuilder(folder, progress=False).build())


def test_expand_reads_iterator_lazily():
    frames = expand(noise(9, 7, 3) for _ in itertools.count())
    assert next(frames).shape == (9, 7, 3)
    assert list(expand(iter(["a.jpg", b"\xff\xd8\xff\0"]))) == ["a.jpg", b"\xff\xd8\xff\0"]


def test_expand_of_splits_and_datasets(folder):
    data = DatasetBuilder(folder, image_size=SPEC.image_size, validation=0.25, batch_size=4, progress=False).build()
    assert expand(data.train) == expand(data.splits["train"]) == data.files["train"]
    pixels = load_images(data.files["validation"], data.image_spec)
    for dataset in (data.validation.map(lambda images, labels: images), data.validation.unbatch()):
        assert np.array_equal(list(expand(dataset)), pixels)
    files = tf.data.Dataset.from_tensor_slices(data.files["validation"])
    assert list(expand(files)) == list(expand(files.batch(2))) == data.files["validation"]
    contents = [Path(path).read_bytes() for path in data.files["validation"]]
    assert list(expand(tf.data.Dataset.from_tensor_slices(contents))) == contents
    with pytest.raises(TypeError, match="elements of the type dict. Select the images with dataset.map"):
        next(expand(files.map(lambda path: {"path": path})))


def test_to_split_keeps_files_and_resizes_others(folder, paths):
    assert to_split(folder, SPEC).paths == tuple(paths) and to_split(paths[0], SPEC).paths == (paths[0],)
    expected = load_images(paths[:2], SPEC)
    contents = [Path(path).read_bytes() for path in paths[:2]]
    for images in (contents, [Image.open(path) for path in paths[:2]], expected):
        assert np.array_equal(to_split(images, SPEC).images, expected)
    floats = np.stack(expected).astype(np.float32) + 0.25 * (np.stack(expected) < 255)
    assert np.array_equal(to_split(floats, SPEC).images, floats)
    with pytest.raises(DataError, match="must have at least one image. Received: an empty list"):
        to_split([], SPEC)


def test_file_object_is_one_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"contents\nof a file")
    with open(tmp_path / "a.png", "rb") as file:
        assert single_image(file) == b"contents\nof a file"
    assert single_image(io.BytesIO(b"ab")) == b"ab"
    assert expand([io.BytesIO(b"ab"), io.BytesIO(b"c")]) == [b"ab", b"c"]
    with pytest.raises(TypeError, match="A file object must be opened in binary mode. Received: one that returns str"):
        single_image(io.StringIO("text"))
