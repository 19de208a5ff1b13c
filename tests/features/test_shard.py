"""Shards: rows of images as they are and in draws, each image decoded once, the same whoever computes them."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.data import Split
from transferkit.engines import relative_error
from transferkit.features import shard as module
from transferkit.features.extraction import HALF, extract_features, extract_views, missing_rows
from transferkit.features.shard import Shard, compute_shard
from transferkit.images import ImageSpec, load_image
from transferkit.modeling.fingerprint import model_fingerprint

SPEC = ImageSpec((48, 48))


class Pixels:
    """An engine that gives the images themselves."""

    name, precision, batch_size, streams = "pixels", "float32", 4, 1

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return (images.astype(np.float32).reshape(len(images), -1),)


@pytest.fixture
def split(drawn: Path) -> Split:
    paths = tuple(map(str, sorted(drawn.glob("train/*/*.jpg"))))
    return Split("train", np.zeros(len(paths), np.int32), SPEC, paths=paths)


@given(st.lists(st.integers(1, 40), max_size=30))
def test_chunks_cover_all_rows_and_part_no_image(repeats: list[int]) -> None:
    places = np.repeat(np.arange(len(repeats)), repeats).tolist()
    chunks = [places[rows] for rows in module._chunks(places)]
    assert [place for chunk in chunks for place in chunk] == places
    assert all(len(chunk) >= 16 for chunk in chunks[:-1])
    assert all(first[-1] != second[0] for first, second in itertools.pairwise(chunks))


def test_rows_come_in_order_and_are_counted(split: Split) -> None:
    places = np.random.default_rng(0).permutation(len(split)).tolist()
    counts: list[int] = []
    (rows,) = compute_shard(Shard(split, places), Pixels(), advance=counts.append)
    expected = [load_image(split.paths[place], SPEC) for place in places]
    np.testing.assert_array_equal(rows.reshape(-1, 48, 48, 3), expected)
    assert sum(counts) == len(split) and len(counts) > 1


def test_an_image_is_decoded_once_for_all_of_its_rows(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    original = module.decoded

    def counting(sources: list[str], spec: ImageSpec) -> np.ndarray:
        asked.extend(sources)
        return original(sources, spec)

    monkeypatch.setattr(module, "decoded", counting)
    extract_views(split, small_network(48), views=(None, 0, 1), augmentation=tk.AugmentationBlock(rotation=0.2))
    assert sorted(asked) == sorted(split.paths)


def test_images_and_draws_are_mixed_as_asked_for(split: Split) -> None:
    block = tk.AugmentationBlock(rotation=0.2)
    seeds = np.arange(12, dtype=np.uint32).reshape(6, 2)
    drawn = np.array([False, True, False, True, True, False])
    places = [0, 0, 1, 1, 2, 3]
    (rows,) = compute_shard(Shard(split, places, seeds, drawn, block), Pixels())
    (all_drawn,) = compute_shard(Shard(split, places, seeds, None, block), Pixels())
    for row, (place, is_draw) in enumerate(zip(places, drawn)):
        image = load_image(split.paths[place], SPEC)
        expected = np.asarray(block.draw(image[None], seeds[row : row + 1]))[0]
        np.testing.assert_allclose(all_drawn[row], expected.ravel(), atol=1e-3)
        np.testing.assert_allclose(rows[row], (expected if is_draw else image).ravel(), atol=1e-3)


@pytest.mark.parametrize("store", [True, False])
def test_views_are_what_each_alone_would_be(split: Split, store: bool) -> None:
    model, block = small_network(48), tk.AugmentationBlock(rotation=0.2)
    together = extract_views(split, model, views=(None, 0, 3), augmentation=block, seed=7, store=store)
    for view, (rows,) in zip((None, 0, 3), together):
        ((alone,),) = extract_views(split, model, views=(view,), augmentation=block, seed=7, store=False)
        assert relative_error((np.asarray(rows),), (np.asarray(alone),)) < 1e-5


def test_rows_of_images_as_they_are_serve_with_and_without_augmentation(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_network(48)
    ((first,), _) = extract_views(split, model, views=(None, 0), augmentation=tk.AugmentationBlock(rotation=0.2))
    monkeypatch.setattr("transferkit.features.extraction.compute_shard", None)
    (second,) = extract_features(split, model)
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))


def test_without_a_store_no_file_is_read_for_a_key(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Split, "keys", lambda self: pytest.fail("a key was worked out"))
    (rows,) = extract_features(split, small_network(48), store=False)
    assert len(rows) == len(split)


def test_half_and_half_is_each_image_once_as_its_contents_say(split: Split) -> None:
    model, block = small_network(48), tk.AugmentationBlock(rotation=0.2)
    options = {"augmentation": block, "seed": 3, "store": False}
    ((half,), (whole,), (drawn,)) = extract_views(split, model, views=(HALF, None, 0), **options)
    is_draw = np.array([np.allclose(mine, theirs, atol=1e-4) for mine, theirs in zip(half, drawn)])
    is_whole = np.array([np.allclose(mine, theirs, atol=1e-4) for mine, theirs in zip(half, whole)])
    assert (is_draw != is_whole).all()
    assert 0.2 * len(split) < is_draw.sum() < 0.8 * len(split)
    few = dataclasses.replace(split, paths=split.paths[5::3], labels=split.labels[5::3])
    ((part,),) = extract_views(few, model, views=(HALF,), **options)
    assert relative_error((part,), (half[5::3],)) < 1e-5


def test_what_is_missing_is_counted(split: Split) -> None:
    model, block = small_network(48), tk.AugmentationBlock(rotation=0.2)
    identity, views = model_fingerprint(model), {"views": (None, 0), "augmentation": block}
    assert missing_rows(split, identity, **views) == 2 * len(split)
    extract_features(split, model)
    assert missing_rows(split, identity, **views) == len(split)
    extract_views(split, model, **views)
    assert missing_rows(split, identity, **views) == 0
    assert missing_rows(split, identity, **views, seed=1) == len(split)
    assert missing_rows(split, identity, feature_dtype="float16") == len(split)


def test_a_file_that_cannot_be_read_is_named(split: Split, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    paths = (*split.paths, str(broken))
    with pytest.raises(tk.ImageError, match=r"broken\.jpg"):
        extract_features(Split("train", np.zeros(len(paths), np.int32), SPEC, paths=paths), small_network(48))
