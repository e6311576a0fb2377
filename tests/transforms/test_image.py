"""Steps from image to image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from skimage.filters import unsharp_mask
from skimage.transform import downscale_local_mean

from resdx.errors import DataError, RecipeError
from resdx.transforms.image import (
    CircularCrop,
    Clahe,
    ContourCrop,
    CropForeground,
    Equalise,
    EyeRadius,
    Grey,
    HighEmphasis,
    Rescale,
    Resize,
    Smooth,
    SubtractBlur,
    UnsharpMask,
)

RNG = np.random.default_rng(0)


def noise(height, width, channels=1):
    return RNG.random((height, width, channels), np.float32)


@pytest.mark.parametrize("step", [Resize(20), Resize(20, keep="pad"), Resize(20, keep="crop"), Grey(), Rescale()])
@pytest.mark.parametrize("shape", [(16, 16, 1), (40, 23, 3), (23, 40, 1), (20, 20, 3)])
def test_steps_give_float32_in_zero_to_one(step, shape):
    image = noise(*shape)
    before = image.copy()
    out = step(image)
    assert out.dtype == np.float32 and 0 <= out.min() <= out.max() <= 1
    assert_array_equal(image, before)


@pytest.mark.parametrize("step", [Resize(24, keep=keep) for keep in ("stretch", "crop")] + [Grey()])
def test_flat_picture_stays_flat(step):
    assert_allclose(step(np.full((30, 45, 3), 0.4, np.float32)), 0.4, atol=1e-6)


def test_picture_of_the_right_size_stays_as_it_is():
    image = noise(32, 32, 3)
    for keep in ("stretch", "pad", "crop"):
        assert_allclose(Resize(32, keep=keep)(image), image, atol=1e-6)


def test_shrinking_averages():
    # The mean is kept, and a linear ramp shrinks to its own block means away from the border.
    image = noise(96, 64, 3)
    assert_allclose(Resize(32)(image).mean((0, 1)), image.mean((0, 1)), atol=0.01)
    ramp = np.broadcast_to(np.linspace(0, 1, 128, dtype=np.float32)[:, None, None], (128, 128, 1))
    assert_allclose(Resize(32)(ramp)[2:-2], downscale_local_mean(ramp, (4, 4, 1))[2:-2], atol=1e-5)


def test_padding_centres_on_black_and_cropping_centres():
    bright = np.ones((16, 32, 1), np.float32)
    padded = Resize(32, keep="pad")(bright)
    assert_array_equal(padded[8:24], 1)
    assert_array_equal(padded[[*range(8), *range(24, 32)]], 0)
    stripes = np.zeros((16, 32, 1), np.float32)
    stripes[:, 8:24] = 1
    assert_array_equal(Resize(16, keep="crop")(stripes), 1)


@pytest.mark.parametrize("size", [15, 4097])
def test_size_out_of_range_fails_when_written(size):
    with pytest.raises(RecipeError, match=f"Resize.size cannot be {size}: it takes a whole number from 16 to 4096 pixels"):
        Resize(size)


def test_grey_is_luminance_and_leaves_grey_alone():
    red, green, blue = np.eye(3, dtype=np.float32)
    assert_allclose(Grey()(np.array([[red, green, blue]]))[0, :, 0], [0.299, 0.587, 0.114])
    image = noise(8, 8)
    assert Grey()(image) is image


def test_rescale_reaches_from_black_to_white():
    image = 0.3 + 0.2 * noise(20, 20, 3)
    out = Rescale(0, 100)(image)
    assert (out.min(), out.max()) == (0, 1)
    assert_allclose(Rescale(0, 100)(0.5 * image + 0.1), out, atol=1e-5)  # brightness and contrast of the file do not matter
    assert_array_equal(Rescale()(np.full((4, 4, 1), 0.6, np.float32)), 0)


def test_rescale_cuts_off_outliers():
    image = np.linspace(0.4, 0.6, 10_000, dtype=np.float32).reshape(100, 100, 1).copy()
    image[0, 0], image[-1, -1] = 0, 1
    assert_allclose(Rescale()(image)[50, 50], 0.5, atol=0.01)
    with pytest.raises(RecipeError, match="Rescale needs low below high"):
        Rescale(60, 40)


# --- enhancement

EVERY = [
    UnsharpMask(),
    HighEmphasis(),
    Equalise(),
    Clahe(tiles=2),
    *(Smooth(kind) for kind in ("median", "gaussian", "wiener")),
    EyeRadius(12),
    SubtractBlur(),
    CircularCrop(),
    CropForeground(),
    ContourCrop(),
]


@pytest.mark.parametrize("step", EVERY)
@pytest.mark.parametrize("shape", [(32, 32, 1), (41, 30, 3), (30, 41, 1)])
@pytest.mark.parametrize("level", [None, 0.0, 0.4, 1.0])
def test_enhanced_pictures_are_float32_in_zero_to_one(step, shape, level):
    image = noise(*shape) if level is None else np.full(shape, level, np.float32)
    before = image.copy()
    out = step(image)
    assert out.dtype == np.float32 and out.shape[2] == shape[2] and out.size
    assert np.isfinite(out).all() and 0 <= out.min() <= out.max() <= 1
    assert_array_equal(image, before)


@pytest.mark.parametrize("step", [UnsharpMask(), *(Smooth(kind) for kind in ("median", "gaussian", "wiener")), CropForeground()])
def test_enhancing_leaves_a_flat_picture(step):
    assert_allclose(step(np.full((20, 24, 3), 0.4, np.float32)), 0.4, atol=1e-6)


def test_unsharp_masking_is_the_picture_plus_what_a_blur_takes_away():
    image = 0.3 + 0.4 * noise(40, 30, 1)
    reference = unsharp_mask(image[..., 0], radius=2, amount=0.5, preserve_range=True)
    assert_allclose(UnsharpMask(sigma=2, amount=0.5)(image)[3:-3, 3:-3, 0], np.clip(reference, 0, 1)[3:-3, 3:-3], atol=1e-2)
    edge = np.repeat([0.3, 0.7], 8).astype(np.float32).reshape(1, 16, 1).repeat(16, 0)
    sharp = UnsharpMask(sigma=1)(edge)
    assert sharp[8, 8, 0] - sharp[8, 7, 0] > edge[8, 8, 0] - edge[8, 7, 0]


@pytest.mark.parametrize("side", [64, 65])
def test_high_emphasis_halves_a_flat_picture_and_raises_fine_waves_by_its_gains(side):
    assert_allclose(HighEmphasis()(np.full((side, side, 1), 0.8, np.float32)), 0.4, atol=1e-6)
    place = np.arange(side)
    for cycles in (1, 8, 31):
        wave = 0.5 + 0.2 * np.cos(2 * np.pi * cycles * place / side)
        out = HighEmphasis(cutoff=6)(np.tile(wave, (side, 1))[..., None].astype(np.float32))
        gain = 0.5 + 0.75 * (1 - np.exp(-(cycles**2) / (2 * 6**2)))
        assert_allclose(out[..., 0], np.tile(0.25 + gain * (wave - 0.5), (side, 1)), atol=1e-5)
    assert gain == pytest.approx(1.25, abs=1e-5)


def test_equalised_levels_fill_the_range_evenly_and_keep_their_order():
    image = noise(64, 64) ** 3
    out = Equalise()(image)
    assert_allclose(np.quantile(out, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.12)
    coarse = np.round(image * 255)
    order = np.argsort(coarse, axis=None)
    assert (np.diff(out.ravel()[order]) >= 0).all()


def test_clahe_with_one_tile_and_no_limit_comes_near_to_equalisation():
    image = 0.2 + 0.3 * noise(64, 64)
    assert Clahe(tiles=1, limit=1.0)(image).std() > 2.5 * image.std()
    assert Clahe(tiles=1, limit=0.001)(image).std() < Clahe(tiles=1, limit=0.5)(image).std()


def test_a_median_removes_salt_and_keeps_an_edge():
    image = np.zeros((20, 20, 1), np.float32)
    image[:, 10:] = 1
    spoilt = image.copy()
    spoilt[5, 4] = spoilt[12, 5] = 1
    assert_array_equal(Smooth("median", 3)(spoilt), image)


def eye(radius, height=120, width=160, level=0.6):
    y, x = np.ogrid[:height, :width]
    disc = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) <= radius
    return np.where(disc[..., None], np.float32(level), np.float32(0)).repeat(3, axis=2)


@pytest.mark.parametrize("radius", [30, 45, 58])
def test_an_eye_gets_the_radius_that_was_asked_for(radius):
    out = EyeRadius(40)(eye(radius))
    row = out[out.shape[0] // 2].sum(1)
    assert (row > row.max() / 2).sum() / 2 == pytest.approx(40, abs=1.5)


def test_what_is_subtracted_does_not_depend_on_brightness():
    image = 0.3 + 0.05 * noise(40, 40, 3)
    step = SubtractBlur(sigma=4)
    assert_allclose(step(image), step(image + np.float32(0.2)), atol=1e-5)
    assert_allclose(step(np.full((20, 20, 3), 0.7, np.float32)), 0.5, atol=1e-6)


def test_the_disc_covers_its_share_of_the_square():
    out = CircularCrop(share=0.9, fill=0.0)(np.ones((400, 400, 1), np.float32))
    assert out.mean() == pytest.approx(np.pi / 4 * 0.81, abs=1e-3)
    image = noise(40, 30)
    assert_array_equal(CircularCrop(share=1.5)(image)[5:-5], image[5:-5])


@pytest.mark.parametrize("step", [CropForeground(), ContourCrop(erode=1, sigma=0.5)])
def test_cropping_finds_the_box(step):
    image = np.zeros((60, 80, 1), np.float32)
    image[10:40, 20:70] = 0.8
    out = step(image)
    assert abs(out.shape[0] - 30) <= 2 and abs(out.shape[1] - 50) <= 2
    assert step(np.zeros((8, 8, 1), np.float32)).shape == (8, 8, 1)


def test_a_contour_crop_leaves_a_letter_outside_the_head():
    image = np.zeros((100, 100, 1), np.float32)
    image[20:80, 25:75] = 0.7
    image[2:8, 2:8] = 1.0
    assert ContourCrop()(image).shape[0] < 70
    assert CropForeground()(image).shape[0] > 75


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: UnsharpMask(sigma=0), "UnsharpMask.sigma cannot be 0: it takes a number above 0"),
        (lambda: HighEmphasis(cutoff=-1), "HighEmphasis.cutoff cannot be -1: it takes a number above 0"),
        (lambda: Clahe(limit=2), "Clahe.limit cannot be 2: it takes a number above 0 and up to 1"),
        (lambda: Smooth(size=0), "Smooth.size cannot be 0: it takes a whole number of at least 1"),
        (lambda: CircularCrop(fill=2), "CircularCrop.fill cannot be 2: it takes a number from 0 to 1"),
        (lambda: CropForeground(above=1), "CropForeground.above cannot be 1: it takes a number from 0 to below 1"),
        (lambda: ContourCrop(erode=-1), "ContourCrop.erode cannot be -1: it takes a whole number of at least 0"),
    ],
)
def test_settings_out_of_range_fail_when_written(make, said):
    with pytest.raises(RecipeError, match=said):
        make()


def test_a_picture_that_would_fill_the_memory_is_refused_or_stays():
    with pytest.raises(DataError, match="a picture of 60000 x 1 pixels is too long to be padded to a square; crop it first"):
        Resize(32, keep="pad")(np.zeros((1, 60_000, 1), np.float32))
    speck = np.zeros((100, 100, 1), np.float32)
    speck[50, 50] = 1
    assert_array_equal(EyeRadius(112)(speck), speck)
