"""Lungs of drawn chest slices, whose masks are known by construction."""

import numpy as np
import pytest
from skimage.draw import disk, ellipse
from write_files import write_dicom

from resdx.errors import RecipeError
from resdx.transforms.lung import LungCrop, LungMask, find_lungs
from resdx.transforms.readers.dicom import ReadDicom

SIZE = 160
AIR, LUNG, TISSUE, BONE = -1000, -850, 40, 700  # Hounsfield units


def slice_of_chest(seed=0, size=SIZE, *, noise=30):
    """A slice in Hounsfield units (size, size) and where its lungs are: vessels and a nodule at the chest wall belong to them."""
    rng, scale = np.random.default_rng(seed), size / SIZE
    units, lungs = np.full((size, size), AIR, float), np.zeros((size, size), bool)

    def fill(value, row, column, height, width, into=units):
        into[ellipse(row * scale, column * scale, height * scale, width * scale, into.shape)] = value

    fill(TISSUE, 80, 80, 58, 74)
    for column in (48, 112):
        fill(True, 80, column, 40, 22, lungs)
    units[lungs] = LUNG
    fill(TISSUE, 85, 82, 22, 14)  # the heart, over the edge of a lung
    lungs &= units == LUNG
    fill(BONE, 122, 80, 10, 9)
    for row, column in rng.uniform((55, 40), (105, 56), (6, 2)):
        units[disk((row * scale, column * scale), 1.5 * scale)] = TISSUE  # vessels
    units[disk((80 * scale, 27.5 * scale), 2.5 * scale)] = TISSUE  # a nodule at the chest wall
    units[int(150 * scale) : int(153 * scale), int(20 * scale) : int(140 * scale)] = TISSUE  # the couch
    return units + rng.normal(0, noise, units.shape), lungs


def window(units, low=-1000, high=400):
    return np.clip((units - low) / (high - low), 0, 1).astype(np.float32)[..., None]


def dice(found, true):
    return 2 * (found & true).sum() / (found.sum() + true.sum())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("above", [0.0, (-400 + 1000) / 1400])
def test_lungs_are_found_whole(seed, above):
    units, lungs = slice_of_chest(seed)
    assert dice(find_lungs(window(units), above=above), lungs) > 0.95


def test_size_and_window_change_little():
    for size in (96, 200):
        units, lungs = slice_of_chest(size=size)
        assert dice(find_lungs(window(units)), lungs) > 0.93
    units, lungs = slice_of_chest()
    assert dice(find_lungs(window(units, -1400, 200)), lungs) > 0.93


def test_vessels_and_a_nodule_at_the_chest_wall_are_part_of_the_lung():
    units, lungs = slice_of_chest(noise=1)
    inside = lungs & (units > 0)
    assert inside.sum() > 30
    open_, closed = (find_lungs(window(units), closing=closing)[inside].mean() for closing in (0, 0.03))
    assert open_ < closed - 0.05 and closed > 0.75


def test_lungs_that_touch_the_edge_of_a_cut_picture_are_found():
    units, lungs = slice_of_chest()
    cut = slice(30, 130), slice(29, 131)
    assert lungs[cut][:, 0].any() and lungs[cut][:, -1].any()
    assert dice(find_lungs(window(units[cut])), lungs[cut]) > 0.93


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, lambda picture: np.swapaxes(picture, 0, 1)])
def test_a_turned_slice_has_turned_lungs(turn):
    picture = window(slice_of_chest()[0])
    assert dice(find_lungs(turn(picture)), turn(find_lungs(picture))) > 0.99


def test_mask_blackens_all_but_the_lungs_and_crop_cuts_to_them():
    units, lungs = slice_of_chest()
    picture = window(units)
    masked = LungMask()(picture)
    found = find_lungs(picture)
    assert (masked[~found] == 0).all() and (masked[found] == picture[found]).all() and masked.dtype == np.float32
    rows, columns = (np.flatnonzero(lungs.any(axis=axis)) for axis in (1, 0))
    height, width, _ = LungCrop()(picture).shape
    assert abs(height - np.ptp(rows)) <= 4 and abs(width - np.ptp(columns)) <= 4


@pytest.mark.parametrize("step", [LungMask(), LungCrop()])
def test_a_slice_without_lungs_stays(step):
    belly = np.full((SIZE, SIZE), AIR, float)
    belly[ellipse(80, 80, 58, 74)] = TISSUE
    for picture in (window(belly), np.zeros((32, 32, 1), np.float32), np.ones((32, 32, 3), np.float32)):
        assert (step(picture) == picture).all() and step(picture).shape == picture.shape


@pytest.mark.parametrize("fields", [{"above": 1.0}, {"above": -0.1}, {"closing": 0.5}, {"closing": float("nan")}])
def test_settings_out_of_range_are_refused(fields):
    for step in (LungMask, LungCrop):
        with pytest.raises(
            RecipeError, match=rf"{step.__name__}\.(above|closing) cannot be .*: it takes a number from 0 to below (1|0\.5)$"
        ):
            step(**fields)


def test_a_dicom_slice_in_hounsfield_units_shows_its_lungs(tmp_path):
    units, lungs = slice_of_chest()
    stored = np.round(units + 1024).clip(0).astype(np.int16)
    path = write_dicom(
        tmp_path / "slice.dcm", stored, RescaleSlope="1", RescaleIntercept="-1024", WindowCenter="40", WindowWidth="80"
    )
    picture = ReadDicom(low=-1000, high=400)(str(path))
    np.testing.assert_allclose(picture, window(stored - 1024.0), atol=1e-6)
    assert dice(find_lungs(picture), lungs) > 0.95
