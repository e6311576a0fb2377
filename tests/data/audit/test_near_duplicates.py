"""The duplicate search on made pictures with planted copies."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from resdx.data.audit import near_duplicates as duplicates
from resdx.data.audit.near_duplicates import find_duplicates, portable_hash, spectrum, thumbnail

COUNT = 40


def picture(seed, side=192):
    """Made tissue: one anatomy that all share, and texture of its own."""
    draw = np.random.default_rng(seed)
    shared = gaussian_filter(np.random.default_rng(99).normal(size=(side, side)), 24) * 24 * 2
    own = sum(gaussian_filter(draw.normal(size=(side, side)), s) * s for s in (3, 6, 12))
    both = shared + own
    return Image.fromarray(np.uint8(255 * (both - both.min()) / np.ptp(both)))


def shrink(image):
    return thumbnail(np.asarray(image, np.float32)[:, :, None] / 255)


def encoded(image, quality=30):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out)


def crop(image, share, x, y):
    side = round(image.width * (1 - share))
    left, top = (round(at * (image.width - side)) for at in (x, y))
    return image.crop((left, top, left + side, top + side))


@pytest.fixture(scope="module")
def pictures():
    return [picture(seed) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def thumbnails(pictures):
    return np.stack([shrink(one) for one in pictures])


CHANGES = {
    "re-encoded": encoded,
    "half the size": lambda image: image.resize((96, 96)),
    "stretched": lambda image: image.resize((192, 230)),
    "darker": lambda image: image.point([round(255 * (v / 255) ** 1.5) for v in range(256)]),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "quarter turn": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "transposed": lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    "cropped by 10 % at a corner": lambda image: crop(image, 0.1, 0, 0),
    "cropped by 20 %": lambda image: crop(image, 0.2, 0.3, 0.8),
    "turned by 5 degrees": lambda image: image.rotate(5),
    "turned back by 15 degrees": lambda image: image.rotate(-15),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(name, pictures, thumbnails):
    copies = [shrink(CHANGES[name](pictures[i])) for i in range(4)]
    found = find_duplicates(np.concatenate([thumbnails, copies]))
    assert set(found) <= {(i, COUNT + i) for i in range(4)}
    assert len(found) >= (4 if "crop" not in name else 3)  # a crop may fall between two windows


def test_a_turn_of_wide_pictures_is_found_by_their_shape(pictures):
    wide = [one.crop((0, 24, 192, 24 + 128)) for one in pictures]
    together = np.stack([shrink(one) for one in [*wide, *(one.rotate(15) for one in wide[:4])]])
    assert find_duplicates(together, aspects=[1.5] * len(together)) == tuple((i, COUNT + i) for i in range(4))


def test_different_pictures_of_one_anatomy_stay_apart(thumbnails):
    assert find_duplicates(thumbnails) == ()


def test_clusters_are_transitive(pictures, thumbnails):
    mirrored = shrink(pictures[3].transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert find_duplicates(np.concatenate([thumbnails, [mirrored, shrink(encoded(pictures[3]))]])) == ((3, COUNT, COUNT + 1),)


def test_known_clusters_are_kept_and_joined(pictures, thumbnails):
    copy = shrink(encoded(pictures[0]))
    assert find_duplicates(np.concatenate([thumbnails, [copy]]), known=[(0, 7)]) == ((0, 7, COUNT),)


def test_flat_pictures_match_nothing():
    assert find_duplicates(np.zeros((5, 64, 64), np.uint8)) == ()


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count):
    assert find_duplicates(np.zeros((count, 64, 64), np.uint8)) == ()
    assert portable_hash(np.zeros((count, 64, 64), np.uint8)).shape == (count, 32)


def test_the_large_index_finds_the_same_copies(pictures, thumbnails, monkeypatch):
    copies = [shrink(encoded(pictures[i])) for i in range(6)]
    together = np.concatenate([thumbnails, copies])
    exact = find_duplicates(together)
    monkeypatch.setattr(duplicates, "EXACT", 0)
    assert find_duplicates(together) == exact == tuple((i, COUNT + i) for i in range(6))


def test_pictures_are_asked_about_in_pieces_without_a_difference(pictures, thumbnails, monkeypatch):
    copies = [shrink(change(pictures[k])) for k, change in enumerate(CHANGES.values())]
    flat = np.full((1, 64, 64), 7, np.uint8)
    together, shapes = np.concatenate([flat, thumbnails, copies]), [1.0] * (1 + COUNT + len(copies))
    whole = find_duplicates(together, aspects=shapes)
    assert len(whole) == len(CHANGES)
    monkeypatch.setattr(duplicates, "AT_ONCE", 7)
    assert find_duplicates(together, aspects=shapes) == whole


def test_thumbnail_is_the_area_mean_of_its_blocks():
    image = np.random.default_rng(0).random((128, 256, 1)).astype(np.float32)
    mean = image.reshape(64, 2, 64, 4).mean((1, 3))
    expected = (mean - mean.min()) / np.ptp(mean) * 255
    np.testing.assert_allclose(thumbnail(image), expected, atol=0.51)


def test_portable_hash_ignores_gain_and_offset_and_has_balanced_bits(thumbnails):
    faint = (thumbnails // 2 + 60).astype(np.uint8)
    differing = np.unpackbits(portable_hash(faint) ^ portable_hash(thumbnails), axis=1).sum(1)
    assert differing.max() <= 8
    ones = np.unpackbits(portable_hash(thumbnails), axis=1).sum(1).astype(int)
    assert abs(ones - 128).max() <= 2


def test_spectrum_has_length_one_and_no_mean(thumbnails):
    np.testing.assert_allclose(np.linalg.norm(spectrum(thumbnails), axis=1), 1, atol=1e-5)
    assert not spectrum(thumbnails)[:, 0].any()
