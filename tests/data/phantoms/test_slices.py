"""Phantoms of slices and of an eye: their organ is where it is said to be, and the same seed gives the same picture."""

import numpy as np
import pytest

from resdx.data.phantoms.slices import draw_chest_slice, draw_eye, draw_head_slice

DRAWN = (draw_chest_slice, draw_head_slice, draw_eye)


@pytest.mark.parametrize("draw", DRAWN)
def test_same_seed_same_picture_and_another_seed_another(draw):
    first, again, other = draw(1, size=96)[0], draw(1, size=96)[0], draw(2, size=96)[0]
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01
    assert first.dtype == np.float32 and first.min() >= 0 and first.max() <= 1


def test_lungs_are_dark_inside_a_bright_body():
    for seed in range(3):
        picture, lungs = draw_chest_slice(seed, size=128, opacity=False)
        assert picture[lungs].mean() < 0.25 < 0.5 < picture[60:68, 10:14].mean() + 0.45
        assert 0.08 < lungs.mean() < 0.35


@pytest.mark.parametrize(("draw", "change"), [(draw_chest_slice, "opacity"), (draw_head_slice, "tumour"), (draw_eye, "lesions")])
def test_finding_changes_the_organ_and_nothing_outside(draw, change):
    (ill, organ), (well, _) = draw(3, size=128), draw(3, size=128, **{change: False})
    differs = np.abs(ill - well).max(axis=2) > 0.15
    assert differs.sum() > 20 and (differs & organ).sum() / differs.sum() > 0.9
