"""Offline augmentation: copies that are the same whenever they are read, and what a split makes of them."""

import numpy as np
import pytest
from PIL import Image
from skimage.transform import AffineTransform, warp
from write_files import pictures, write_dicom

from resdx.data.sources.folders import Copies, FolderPerClass
from resdx.data.split import RandomImages, split
from resdx.errors import DataError, RecipeError
from resdx.transforms.readers.copies import ReadCopy
from resdx.transforms.readers.image import ReadImage


@pytest.fixture
def film(tmp_path):
    """A picture with a bright disc off its middle."""
    y, x = np.mgrid[:40, :50]
    Image.fromarray((255 * np.exp(-(((y - 14) / 6) ** 2) - ((x - 30) / 6) ** 2)).astype(np.uint8)).save(tmp_path / "film.png")
    return str(tmp_path / "film.png")


def centre(image):
    weight = image[..., 0]
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(weight * y).sum(), (weight * x).sum()]) / weight.sum()


def test_copy_zero_is_the_picture_itself(film):
    for path in (film, f"{film}#0"):
        np.testing.assert_array_equal(ReadCopy()(path), ReadImage()(film))


def test_copies_differ_from_each_other_and_never_from_themselves(film):
    first, second = ReadCopy()(f"{film}#1"), ReadCopy()(f"{film}#2")
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(ReadCopy()(f"{film}#1"), first)
    assert first.dtype == np.float32 and first.shape == (40, 50, 1) and 0 <= first.min() <= first.max() <= 1


def test_without_a_range_a_copy_is_the_picture(film):
    np.testing.assert_allclose(ReadCopy(0, 0, 0)(f"{film}#3"), ReadImage()(film), atol=1e-6)


@pytest.mark.parametrize("copy", range(1, 6))
def test_a_shifted_copy_has_moved_by_no_more_than_the_share(film, copy):
    moved = np.abs(centre(ReadCopy(0, 0.1, 0)(f"{film}#{copy}")) - centre(ReadImage()(film)))
    assert (moved <= np.array([4, 5]) + 0.2).all() and moved.max() > 0.05


def test_a_turned_copy_is_the_picture_turned_around_its_middle(film):
    image = ReadImage()(film)
    copy = ReadCopy(30, 0, 0)(f"{film}#1")
    middle = np.array([24.5, 19.5])  # x and y
    y, x = centre(copy) - middle[::-1]
    y0, x0 = centre(image) - middle[::-1]
    turn = np.arctan2(y, x) - np.arctan2(y0, x0)
    assert 0.01 < abs(turn) <= np.deg2rad(30) + 0.02
    move = AffineTransform(translation=-middle) + AffineTransform(rotation=turn) + AffineTransform(translation=middle)
    np.testing.assert_allclose(copy[..., 0], warp(image[..., 0], move.inverse, order=1), atol=0.03)


@pytest.mark.parametrize("fields", [{"degrees": 181}, {"shift": 1.0}, {"zoom": -0.1}])
def test_settings_out_of_range_are_refused(fields):
    with pytest.raises(RecipeError, match=r"ReadCopy\.\w+ cannot be \S+: it takes a number from 0 to (180|below 1)$"):
        ReadCopy(**fields)


def copied(tmp_path, group=r"^(p\d+)"):
    files = (f"{kind}/p{k}_{view}.png" for k, kind in enumerate(("a", "b") * 20) for view in range(2))
    return Copies(FolderPerClass(group=group), copies=3).scan(pictures(tmp_path, *files))


def test_each_picture_and_its_copies_are_cases_of_its_person(tmp_path):
    manifest = copied(tmp_path)
    assert len(manifest) == 80 * 4
    assert [case.path for case in manifest.cases[:4]] == [f"a/p0_0.png#{k}" for k in range(4)]
    assert {case.group for case in manifest.cases[:8]} == {"p0"}


def test_copies_of_a_picture_without_a_person_are_of_one_person(tmp_path):
    assert {case.group for case in copied(tmp_path, group=None).cases[:4]} == {"a/p0_0.png"}


def test_only_a_random_split_parts_copies(tmp_path):
    manifest = copied(tmp_path)
    honest = split(manifest, ())
    leaky = split(manifest, (), protocol="assumed", published=RandomImages(0.2))

    def torn(found):
        picture = {part: {case.partition("#")[0] for case in found.ids(part)} for part in ("train", "test")}
        return len(picture["train"] & picture["test"]) / len(picture["test"])

    assert torn(honest) == 0 and torn(leaky) > 0.8
    assert "split-leaks" in [finding.code for finding in leaky.findings]


def test_copies_are_made_of_files_of_one_picture_alone(tmp_path):
    with pytest.raises(RecipeError, match=r"Copies.copies cannot be 0: it takes a whole number of at least 1"):
        Copies(FolderPerClass(), copies=0)
    for name in "ab":
        write_dicom(tmp_path / name / "film.dcm", np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(DataError, match=r"a/film\.dcm#0 is one of several pictures in a file"):
        Copies(FolderPerClass()).scan(tmp_path)
