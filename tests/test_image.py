"""Steps from image to image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from skimage.transform import downscale_local_mean

from resdx.errors import RecipeError
from resdx.steps.image import Grey, Rescale, Resize

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
    with pytest.raises(RecipeError, match=f"between 16 and 4096 pixels, not {size}"):
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
    with pytest.raises(RecipeError, match="0 <= low < high <= 100"):
        Rescale(60, 40)
