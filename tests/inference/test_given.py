"""What stands in the place of a file: an array, a Pillow image or a DICOM dataset is answered as its file is."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from write_files import write_dicom

from resdx.data.cases import Prediction
from resdx.errors import DataError
from resdx.inference.files import answer_files, in_order
from resdx.inference.given import named, one_by_one, read_given
from resdx.inference.predictor import Predictor
from resdx.transforms.readers.dicom import ReadDicom
from resdx.transforms.readers.image import ReadImage
from resdx.transforms.readers.voice import ReadVoice

RAMP = np.arange(12 * 9, dtype=np.uint8).reshape(12, 9) * 2
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP], 2)


@pytest.mark.parametrize("pixels", [RAMP, COLOUR, np.stack([RAMP] * 3, 2), RAMP.astype(np.uint16) * 300])
def test_array_of_a_png_is_read_as_the_png(tmp_path, pixels):
    path = tmp_path / "film.png"
    Image.fromarray(pixels).save(path)
    expected = ReadImage()(str(path))
    assert_array_equal(read_given("it", pixels, ReadImage()), expected)
    with Image.open(path) as image:
        assert_array_equal(read_given("it", image, ReadImage()), expected)
    assert_array_equal(read_given("it", path, ReadImage()), expected)


def test_white_of_a_scanner_with_fewer_bits_holds_for_arrays_too():
    pixels = np.array([[0, 4095]], np.uint16)
    assert read_given("it", pixels, ReadImage(bits=12)).ravel().tolist() == [0, 1]
    assert read_given("it", pixels, ReadImage()).max() == pytest.approx(4095 / 65535)


def test_floats_are_taken_as_they_are():
    pixels = np.linspace(0, 1, 24).reshape(4, 6)
    assert_array_equal(read_given("it", pixels, ReadImage())[..., 0], pixels.astype(np.float32))
    assert read_given("it", pixels[..., None], ReadImage()).shape == (4, 6, 1)


@pytest.mark.parametrize("read", [ReadImage(), ReadDicom(), ReadDicom(low=0, high=100)])
def test_dataset_is_read_as_its_file_and_stays_as_it_is(tmp_path, read):
    path = write_dicom(tmp_path / "film.dcm", RAMP.astype(np.uint16))
    dataset = pydicom.dcmread(path)
    before = dataset.to_json()
    assert_array_equal(read_given("it", dataset, read), read(str(path)))
    assert dataset.to_json() == before


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (np.zeros((4, 4, 2)), r"has shape \(4, 4, 2\); give \(height, width\)"),
        (np.zeros((0, 4)), r"has shape \(0, 4\)"),
        (np.zeros(4), r"has shape \(4,\)"),
        (np.zeros((4, 4), np.int64), "holds int64; give uint8, uint16, or floats"),
        (np.full((4, 4), 1.5), r"has values from 1.5 to 1.5; floats are in \[0, 1\]"),
        (np.full((4, 4), np.nan), r"has values from nan to nan; floats are in \[0, 1\]"),
        (pydicom.Dataset(), "holds no pixel data"),
    ],
)
def test_what_is_no_image_is_one_sentence(given, reason):
    with pytest.raises(DataError, match=rf"^images\[0\] {reason}"):
        read_given("images[0]", given, ReadImage())


def test_run_of_recordings_takes_files_only():
    with pytest.raises(DataError, match=r"the run reads files \(ReadVoice\), not pictures; give paths"):
        read_given("images[0]", RAMP, ReadVoice())


def test_one_is_a_list_of_one():
    assert one_by_one("a.png") == ["a.png"] and len(one_by_one(RAMP)) == len(one_by_one(COLOUR)) == 1
    assert len(one_by_one(np.zeros((3, 8, 8, 1)))) == 3 and len(one_by_one([RAMP, "a.png"])) == 2
    assert [name for name, _ in named([RAMP, "a.png", RAMP])] == ["images[0]", "a.png", "images[2]"]


def test_answers_to_files_and_to_what_stands_for_them_are_equal(study, films):
    paths = sorted(films.rglob("*.png"))[:6]
    predictor = Predictor.open(study.run, quiet=True)
    expected, _ = predictor.predict(paths)
    arrays = [np.asarray(Image.open(path)) for path in paths]
    for given in (arrays, [Image.open(path) for path in paths], [one / np.float32(255) for one in arrays]):
        found, failures = predictor.predict(given)
        assert not failures and [one.case for one in found] == [f"images[{i}]" for i in range(6)]
        assert [one.probabilities for one in found] == [one.probabilities for one in expected]
        assert [(one.label, one.conformal, one.flags) for one in found] == [
            (one.label, one.conformal, one.flags) for one in expected
        ]


def test_what_cannot_be_read_keeps_its_place(study, films):
    paths = sorted(films.rglob("*.png"))[:2]
    given = [np.zeros(4), paths[0], "gone.png", paths[1]]
    found = in_order(given, *answer_files(Predictor.open(study.run, quiet=True), given, quiet=True))
    assert [one.case for one in found] == ["images[0]", str(paths[0]), "gone.png", str(paths[1])]
    assert [bool(one.error) for one in found] == [True, False, True, False]
    assert found[2] == Prediction("gone.png", {}, None, error="gone.png is not there")


def test_maps_lie_over_the_prepared_picture(study, films):
    paths, failures = sorted(films.rglob("*.png"))[:3], []
    predictor = Predictor.open(study.run, quiet=True)
    found = list(predictor.explain([*paths, "gone.png"], failures))
    assert [one.case for one, _, _ in found] == list(map(str, paths)) and len(failures) == 1
    for _, picture, maps in found:
        assert picture.shape == (32, 32, 3) and picture.dtype == np.uint8
        assert maps.shape[0] == 2 and maps.min() >= 0
