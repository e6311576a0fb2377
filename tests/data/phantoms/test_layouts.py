"""Layouts of public sets.

What reads the set finds the persons and labels that were drawn, and the set's own oddities are there.
"""

import csv

import numpy as np
import pydicom
import pytest
from PIL import Image
from scipy.io import loadmat

from resdx.data.phantoms import LAYOUTS, draw_layout
from resdx.data.sources.folders import FilenamePattern, FolderPerClass, Npz, Table
from resdx.errors import DataError
from resdx.transforms.readers.image import ReadImage

SOURCES = {  # layout -> the folder to scan and the source that reads it
    "breakhis": ("", FilenamePattern(r"SOB/(?P<label>\w+)/[^/]+/\d+X/SOB_[BM]_[A-Z]+-(?P<group>\d+-\d+[A-Z]*)-\d+-\d+")),
    "chestxray14": (
        "",
        Table(
            file="Data_Entry_2017.csv",
            path="Image Index",
            label="Finding Labels",
            group="Patient ID",
            age="Patient Age",
            sex="Patient Gender",
            view="View Position",
            rename=(("No Finding", ""),),
            patterns=tuple((name, name) for name in ("Effusion", "Infiltration", "Nodule")),
        ),
    ),
    "covid-ct-md": ("", FolderPerClass()),
    "eyepacs": ("", Table(path="image", label="level", group_pattern=r"^(\d+)_")),
    "medmnist": ("", Npz()),
    "messidor": ("", Table(path="image_id", label="adjudicated_dr_grade")),
    "montgomery": ("MontgomerySet/CXR_png/", FilenamePattern(r"MCUCXR_(?P<group>\d+)_(?P<label>[01])")),
    "pcam": ("", Table(path="id", label="label")),
    "sars-cov-2-ct": ("", FolderPerClass()),
    "shenzhen": ("", FilenamePattern(r"CHNCXR_(?P<group>\d+)_(?P<label>[01])")),
}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_source_finds_the_persons_and_labels_of_a_layout(tmp_path, name):
    below, source = SOURCES[name]
    truth = draw_layout(name, tmp_path / "set", persons=10, seed=1)
    found = source.scan(tmp_path / "set" / below)
    told = {below + case.id: (case.group, case.labels, case.part) for case in found.cases}
    assert told == {case.id: (case.group, case.labels, case.part) for case in truth.cases}
    assert not [finding for finding in found.findings if finding.grade == "stop"]
    assert ReadImage()(f"{found.root}/{found.cases[0].path}").shape[:2] == (64, 64)


def test_every_layout_has_a_test():
    assert LAYOUTS.keys() == SOURCES.keys() | {"cheng", "face-mask", "mitbih", "parkinson-speech", "vowels"}


def test_one_seed_one_picture_and_the_label_shows(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        draw_layout("sars-cov-2-ct", tmp_path / name, seed=seed)
    a, b, c = (np.asarray(Image.open(tmp_path / name / "COVID" / "Covid (1).png"), float) for name in "abc")
    assert (a == b).all() and (a != c).any()


def test_films_of_chestxray14_bring_sex_age_view_boxes_and_official_lists(tmp_path):
    truth = draw_layout("chestxray14", tmp_path / "set")
    found = SOURCES["chestxray14"][1].scan(tmp_path / "set").by_id
    assert all(
        (found[case.id].sex, found[case.id].age, found[case.id].view) == (case.sex, case.age, case.view) for case in truth.cases
    )
    boxes = rows(tmp_path / "set/BBox_List_2017.csv")
    films = {case.path.split("/")[-1]: case for case in truth.cases}
    assert len(boxes) > 1 and all(films[row[0]].labels == ("Nodule",) and float(row[4]) > 3 for row in boxes[1:])
    lists = [set((tmp_path / f"set/{part}_list.txt").read_text().split()) for part in ("train_val", "test")]
    assert not lists[0] & lists[1] and lists[0] | lists[1] == films.keys()
    persons = [{films[name].group for name in names} for names in lists]
    assert not persons[0] & persons[1]


def test_clinical_readings_stand_beside_tuberculosis_films(tmp_path):
    for name, folder in (("shenzhen", "ChinaSet_AllFiles"), ("montgomery", "MontgomerySet")):
        for case in draw_layout(name, tmp_path / name).cases:
            stem = case.path.split("/")[-1][:-4]
            text = (tmp_path / name / folder / "ClinicalReadings" / f"{stem}.txt").read_text()
            assert ("normal" in text) == (case.label == "0")
    with Image.open(tmp_path / "montgomery/MontgomerySet/ManualMask/leftMask" / f"{stem}.png") as mask:
        assert set(np.unique(mask)) == {0, 255}


def test_slices_of_a_volume_lie_out_of_order_and_read_as_they_were_drawn(tmp_path):
    truth = draw_layout("covid-ct-md", tmp_path / "set")
    place = [float(pydicom.dcmread(tmp_path / "set" / case.path).SliceLocation) for case in truth.cases[:3]]
    assert place != sorted(place) and sorted(place) == [0, 5, 10]
    values = pydicom.dcmread(tmp_path / "set" / truth.cases[0].path)
    hounsfield = values.pixel_array * float(values.RescaleSlope) + float(values.RescaleIntercept)
    assert -1000 <= hounsfield.min() < -800 and -200 < hounsfield.max() <= 20
    assert np.load(tmp_path / "set/COVID-CT-MD/Slice-level-labels.npy").shape == (8, 3)


def test_brain_tumours_are_mat_files_with_the_public_fields(tmp_path):
    truth = draw_layout("cheng", tmp_path / "set")
    for case in truth.cases:
        cjdata = loadmat(tmp_path / "set" / case.path)["cjdata"][0, 0]
        assert cjdata["PID"][0] == case.group and str(int(cjdata["label"][0, 0])) == case.label
        assert cjdata["image"].shape == cjdata["tumorMask"].shape == (64, 64) and cjdata["image"].dtype == np.int16
        border = cjdata["tumorBorder"].reshape(-1, 2)
        inside = np.argwhere(cjdata["tumorMask"])[:, ::-1] + 0.5  # x and y, as the border has them
        np.testing.assert_allclose(inside.mean(0), border.mean(0), atol=0.6)
    folds = loadmat(tmp_path / "set/cvind.mat")["cvind"]
    assert folds.shape == (len(truth), 1) and set(folds.ravel()) <= {1, 2, 3, 4, 5}


def test_speech_table_has_two_headers_and_its_full_size_with_252_speakers(tmp_path):
    truth = draw_layout("parkinson-speech", tmp_path / "set", persons=252)
    groups, names, *values = rows(tmp_path / "set/pd_speech_features.csv")
    assert len(values) == 756 == len(truth) and {len(row) for row in (groups, names, *values)} == {755}
    assert names[:2] == ["id", "gender"] and names[-1] == "class" and len(set(names)) == 755
    assert [group for group in groups if group][:2] == ["Baseline Features", "Intensity Parameters"]
    assert groups.index("TQWT Features") == 755 - 1 - 432
    assert [(row[0], (row[-1],)) for row in values] == [(case.group, case.labels) for case in truth.cases]


def test_pcam_and_messidor_name_no_person(tmp_path):
    assert not any(case.group for name in ("pcam", "messidor") for case in draw_layout(name, tmp_path / name).cases)


@pytest.mark.parametrize(("name", "persons", "says"), [("padchest", 8, "there are breakhis"), ("pcam", 1, "2 persons")])
def test_what_cannot_be_drawn_is_refused(tmp_path, name, persons, says):
    with pytest.raises(DataError, match=says):
        draw_layout(name, tmp_path / "set", persons=persons)


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        draw_layout("pcam", tmp_path)
