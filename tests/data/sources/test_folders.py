"""Scanning: folders, names, tables, headers and sets become cases, and what does not fit becomes findings."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest
from places import SHARED
from write_files import finding, labels, pictures, write_dicom

from resdx.data.persons import count_persons
from resdx.data.sources.detect import detect
from resdx.data.sources.folders import (
    MOST_CLASSES,
    DicomFolder,
    FilenamePattern,
    FolderPerClass,
    ManifestCsv,
    Npz,
    Table,
    Unlabelled,
)
from resdx.data.sources.listing import check_pattern, person_patterns
from resdx.errors import DataError, RecipeError
from resdx.records import from_record, to_record
from resdx.transforms.readers.image import ReadImage

DATA = SHARED / "data"
PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


# Folders


def test_folder_is_the_class(tmp_path):
    manifest = FolderPerClass().scan(pictures(tmp_path, "sick/b.png", "well/a.png", "well/deeper/c.png"))
    assert labels(manifest) == {"sick/b.png": "sick", "well/a.png": "well", "well/deeper/c.png": "well"}
    assert manifest.findings == ()


@pytest.mark.parametrize(("folder", "part"), [("Training", "train"), ("TEST", "test"), ("valid", "val"), ("validation", "val")])
def test_part_folders_are_known_by_their_usual_names(tmp_path, folder, part):
    manifest = FolderPerClass().scan(pictures(tmp_path, f"{folder}/sick/a.png", f"{folder}/well/b.png", f"well/{folder}/c.png"))
    assert {case.part for case in manifest.cases} == {part}
    assert manifest.classes == ("sick", "well")


def test_wrapper_folder_is_stepped_into(tmp_path):
    manifest = FolderPerClass().scan(pictures(tmp_path, "archive/xray/train/sick/a.png", "archive/xray/train/well/b.png"))
    assert labels(manifest) == {"archive/xray/train/sick/a.png": "sick", "archive/xray/train/well/b.png": "well"}
    assert {case.part for case in manifest.cases} == {"train"}


def test_folders_can_be_renamed(tmp_path):
    manifest = FolderPerClass(rename=(("NORMAL", "normal"),)).scan(pictures(tmp_path, "NORMAL/a.png", "sick/b.png"))
    assert manifest.classes == ("normal", "sick")


def test_person_is_what_the_brackets_catch(tmp_path):
    root = pictures(tmp_path, "sick/p1_virus_7.png", "sick/p1_bacteria_7.png", "well/IM-3.png")
    manifest = FolderPerClass(group=r"p(\d+)_(\w+)_|(IM)-(\d+)").scan(root)
    assert [case.group for case in manifest.cases] == ["1-bacteria", "1-virus", "IM-3"]


def test_pattern_with_a_slash_sees_the_path(tmp_path):
    manifest = FolderPerClass(group=r"/(p\d)/").scan(pictures(tmp_path, "sick/p1/a.png", "well/p1/b.png", "well/p2/c.png"))
    assert [case.group for case in manifest.cases] == ["p1", "p1", "p2"]


def test_pattern_that_misses_a_file_stops_with_the_first_three(tmp_path):
    root = pictures(tmp_path, "sick/p1.png", "well/x1.png", "well/x2.png", "well/x3.png", "well/x4.png")
    with pytest.raises(DataError, match=r"misses 4 of 5 files, such as well/x1\.png, well/x2\.png, well/x3\.png \.\.\."):
        FolderPerClass(group=r"(p\d)").scan(root)
    with pytest.raises(DataError, match="misses 5 of 5"):
        FolderPerClass(group=r"(q?)").scan(root)


@pytest.mark.parametrize(("pattern", "what"), [("(", "not a regular expression"), (r"p\d", "has no brackets")])
def test_wrong_pattern_fails_when_written(pattern, what):
    with pytest.raises(RecipeError, match=what):
        FolderPerClass(group=pattern)


@pytest.mark.parametrize(
    ("files", "pattern"),
    [
        ([f"ill/P{i:02d}a{k}_short.wav" for i in range(20) for k in range(3)], r"^(\D*\d+)"),
        ([f"ill/{chr(97 + i)}nna_{k}.wav" for i in range(20) for k in range(3)], r"^(\D+)\d"),
        ([f"ill/{i}_{side}.png" for i in range(20) for side in ("left", "right")], r"^(\D*\d+)"),
        ([f"ill/site{i % 4}-{i:03d}-{k}.png" for i in range(40) for k in range(2)], r"^(\D*\d+\D+\d+)"),
        ([f"ill/p{i}/{k}.png" for i in range(20) for k in range(3)], r"([^/]+)/[^/]+$"),
        ([f"{kind}/{kind} ({i}).png" for i in range(60) for kind in ("ill", "normal")], None),
        ([f"ill/IMG_{i}.png" for i in range(60)], None),
        ([f"ill/2024_{i}.png" for i in range(60)], None),
        ([f"ill/P{i}_{k}.png" for i in range(9) for k in range(5)], None),  # fewer than ten
        ([f"ill/P{i}_{k}.png" for i in range(20) for k in range(3)] + ["ill/x.png"], None),
        ([f"{kind}/{i}.png" for i in range(60) for kind in ("ill", "normal")], None),  # numbers start again
        ([f"ill/patient{i}/study1/view{k}.png" for i in range(20) for k in range(2)], r"([^/]+)/[^/]+/[^/]+$"),
        ([f"ill/p{i}/SE00{s}/IM{k}.png" for i in range(12) for s in range(2) for k in range(2)], r"([^/]+)/[^/]+/[^/]+$"),
        ([f"ill/P{i}_{k}" for i in range(20) for k in range(3)], r"^(\D*\d+)"),  # no extension
        (["a.png"], None),
        ([], None),
    ],
)
def test_names_that_may_hold_persons(files, pattern):
    assert next((one for one, told in person_patterns(files, fewest=10).items() if told), None) == pattern
    if pattern:
        check_pattern(pattern)


def test_other_files_are_ignored_and_counted(tmp_path):
    root = pictures(tmp_path, "sick/a.png", "well/b.png", ".cache/c.png", "sick/.d.png", "__MACOSX/sick/e.png")
    (root / "notes.txt").write_text("x")
    manifest = FolderPerClass().scan(root)
    assert len(manifest) == 2
    assert finding(manifest, "ignored-files").figures == {"files": 4}


def test_images_outside_class_folders_are_found(tmp_path):
    manifest = FolderPerClass().scan(pictures(tmp_path, "loose.png", "sick/a.png", "well/b.png"))
    assert finding(manifest, "files-without-class").cases == ("loose.png",)


def test_pictures_without_classes_keep_their_part_and_folders_of_persons(tmp_path):
    pictures(tmp_path / "parts", "train/1.png", "test/2.png")
    assert [case.part for case in Unlabelled().scan(tmp_path / "parts").cases] == ["test", "train"]
    pictures(tmp_path / "persons", *(f"p{i:03d}/{k}#1.png" for i in range(MOST_CLASSES + 1) for k in range(2)))
    cases = Unlabelled().scan(tmp_path / "persons").cases
    assert {case.group for case in cases} == {case.id[:4] for case in cases} and not any(case.labels for case in cases)
    assert {case.group for case in Unlabelled(group=r"^(\d)").scan(tmp_path / "persons").cases} == {"0", "1"}


def test_linked_folder_is_entered_once(tmp_path):
    root = pictures(tmp_path / "data", "sick/a.png", "well/b.png")
    (root / "sick" / "round").symlink_to(root)
    assert len(FolderPerClass().scan(root)) == 2


def test_table_adds_persons_to_folders(tmp_path):
    root = pictures(tmp_path, "sick/a.png", "well/a.png", "well/c.png")
    (root / "sick.csv").write_text("file,who,years\na.png,P1,54\n")
    (root / "well.csv").write_text("file,who\na,P2\nb,P3\n")
    tables = (
        Table("sick.csv", path="file", group="who", age="years", folder="sick"),
        Table("well.csv", path="file", group="who", folder="well"),
    )
    manifest = FolderPerClass(tables=tables).scan(root)
    assert [(case.id, case.group, case.age) for case in manifest.cases] == [
        ("sick/a.png", "P1", 54),
        ("well/a.png", "P2", None),
        ("well/c.png", "", None),
    ]
    assert finding(manifest, "rows-without-file").figures == {"count": 1}
    assert finding(manifest, "files-without-row").cases == ("well/c.png",)
    assert finding(manifest, "no-person").cases == ("well/c.png",)


# Names


def test_name_pattern_reads_every_field(tmp_path):
    pattern = r"(?P<label>[A-Z])_(?P<group>p\d+)_(?P<sex>[mf])(?P<age>\d+)_(?P<view>AP|PA)_(?P<part>\w+)\."
    manifest = FilenamePattern(pattern, rename=(("S", "sick"), ("W", "well"))).scan(
        pictures(tmp_path, "S_p1_m54_AP_training.png", "W_p2_f7_PA_test.png")
    )
    first, second = manifest.cases
    assert (first.labels, first.group, first.sex, first.age, first.view, first.part) == (("sick",), "p1", "M", 54, "AP", "train")
    assert (second.labels, second.group, second.sex, second.age, second.view, second.part) == (
        ("well",),
        "p2",
        "F",
        7,
        "PA",
        "test",
    )


@pytest.mark.parametrize(("pattern", "what"), [(r"(?P<group>\d)", "no .*label"), (r"(?P<label>\d)(?P<sexx>m)", "names 'sexx'")])
def test_name_pattern_is_checked_when_written(pattern, what):
    with pytest.raises(RecipeError, match=what):
        FilenamePattern(pattern)


# Own manifests, sets, DICOM and volumes


def test_manifest_keeps_the_rows_whose_file_is_there(tmp_path):
    pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "manifest.csv").write_text("path,labels\na.png,sick\nb.png,well\nc.png,sick\n")
    manifest = ManifestCsv().scan(tmp_path)
    assert labels(manifest) == {"a.png": "sick", "b.png": "well"}
    assert finding(manifest, "rows-without-file").figures == {"count": 1}


def test_manifest_may_hold_absolute_paths(tmp_path):
    pictures(tmp_path / "scans", "a.png")
    pictures(tmp_path / "tables", "b.png")
    table = tmp_path / "tables" / "manifest.csv"
    table.write_text(f"path,labels\n{tmp_path}/scans/a.png,sick\n{tmp_path}/tables/b.png,well\n")
    manifest = ManifestCsv().scan(table)
    assert [case.path for case in manifest.cases] == ["../scans/a.png", "b.png"]
    assert all(ReadImage()(f"{manifest.root}/{case.path}").shape == (3, 4, 1) for case in manifest.cases)


def test_npz_set_gives_parts_and_labels(tmp_path):
    images = np.zeros((2, 3, 4), np.uint8)
    np.savez(tmp_path / "set.npz", train_images=images, train_labels=[[0], [1]], test_images=images, test_labels=[[1], [0]])
    manifest = Npz(names=("well", "sick")).scan(tmp_path)
    assert [(case.id, case.label, case.part) for case in manifest.cases] == [
        ("set.npz#train/0", "well", "train"),
        ("set.npz#train/1", "sick", "train"),
        ("set.npz#test/0", "sick", "test"),
        ("set.npz#test/1", "well", "test"),
    ]
    assert ReadImage()(f"{tmp_path}/{manifest.cases[0].path}").shape == (3, 4, 1)
    with pytest.raises(DataError, match="has 2 classes, but 1 names"):
        Npz(names=("well",)).scan(tmp_path)


def test_npz_set_with_several_labels_an_image(tmp_path):
    np.savez(tmp_path / "set.npz", train_images=np.zeros((3, 2, 2), np.uint8), train_labels=[[0, 0], [1, 0], [1, 1]])
    assert [case.labels for case in Npz(names=("a", "b")).scan(tmp_path).cases] == [(), ("a",), ("a", "b")]


def test_dicom_header_fills_the_case(tmp_path):
    header = {"PatientID": "P1", "PatientSex": "F", "PatientAge": "018M", "InstitutionName": "St. Mary", "ViewPosition": "PA"}
    write_dicom(tmp_path / "sick" / "IM1", PIXELS, **header)
    write_dicom(tmp_path / "well" / "two.dcm", np.stack([PIXELS, PIXELS]), PatientID="P2", StationName="CT1")
    first, *frames = FolderPerClass().scan(tmp_path).cases
    assert (first.group, first.sex, first.age, first.source, first.view) == ("P1", "F", 1.5, "St. Mary", "PA")
    assert [(case.id, case.group, case.source) for case in frames] == [
        ("well/two.dcm#0", "P2", "CT1"),
        ("well/two.dcm#1", "P2", "CT1"),
    ]
    assert [ReadImage()(f"{tmp_path}/{case.path}").shape for case in (first, *frames)] == [(3, 4, 1)] * 3


def test_dicom_field_can_be_the_class(tmp_path):
    for k, part in enumerate(("CHEST", "HAND", None)):
        write_dicom(tmp_path / f"study{k}" / "IM1", PIXELS, PatientID=f"P{k}", **({"BodyPartExamined": part} if part else {}))
    manifest = DicomFolder(label="BodyPartExamined", rename=(("HAND", "hand"),)).scan(tmp_path)
    assert [case.labels for case in manifest.cases] == [("CHEST",), ("hand",), None]


def test_dicom_objects_without_image_are_left_out(tmp_path):
    write_dicom(tmp_path / "sick" / "a.dcm", PIXELS)
    write_dicom(tmp_path / "well" / "b.dcm", PIXELS)
    write_dicom(tmp_path / "well" / "report.dcm", PIXELS, PixelData=None, Rows=None, Columns=None)
    manifest = FolderPerClass().scan(tmp_path)
    assert len(manifest) == 2 and finding(manifest, "no-image").figures == {"files": 1}


def test_broken_dicom_stays_for_the_audit(tmp_path):
    write_dicom(tmp_path / "sick" / "a.dcm", PIXELS)
    (pictures(tmp_path, "well/b.png") / "well" / "c.dcm").write_bytes(b"")
    assert "well/c.dcm" in labels(FolderPerClass().scan(tmp_path))


def test_folders_of_persons_are_not_taken_for_classes(tmp_path):
    for k in range(3):
        write_dicom(tmp_path / f"patient{k}" / "IM1", PIXELS, PatientID=f"P{k}")
    assert finding(FolderPerClass().scan(tmp_path), "classes-are-persons").grade == "stop"


def test_volume_gives_its_slices_as_one_person(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    for name in ("sick", "well"):
        (tmp_path / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 2), np.float32), np.eye(4)), tmp_path / name / "v.nii.gz")
    manifest = FolderPerClass().scan(tmp_path)
    assert [case.id for case in manifest.cases] == [f"{name}/v.nii.gz#{k}" for name in ("sick", "well") for k in (0, 1)]
    assert count_persons(manifest.cases) == 2


def test_sources_are_records():
    for source in (
        FolderPerClass(group="(a)", rename=(("a", "b"),), tables=(Table("t.csv", group="who"),)),
        FilenamePattern("(?P<label>a)"),
        Table("t.csv", where=(("view", "PA", "AP"),), sides=(("a", "b"),)),
        DicomFolder("Modality"),
        Npz(names=("a",)),
        ManifestCsv(),
    ):
        assert from_record(to_record(source)) == source


# What lies there decides


def test_detect_chooses_by_what_lies_there(tmp_path):
    assert detect(pictures(tmp_path / "folders", "sick/a.png", "well/b.png")) == FolderPerClass()
    own = pictures(tmp_path / "own", "sick/a.png", "well/b.png")
    (own / "manifest.csv").write_text("path,labels\nsick/a.png,x\nwell/b.png,y\n")
    assert detect(own) == ManifestCsv() and detect(own / "manifest.csv").scan(own / "manifest.csv").classes == ("x", "y")
    np.savez(tmp_path / "set.npz", train_images=np.zeros((2, 2, 2), np.uint8), train_labels=[0, 1])
    assert detect(tmp_path / "set.npz").scan(tmp_path / "set.npz").classes == ("0", "1")


def test_detect_guesses_the_columns_of_a_table(tmp_path):
    root = pictures(tmp_path, "images/a.png", "images/b.png")
    (root / "metadata.csv").write_text("Patient ID,Image Name,diagnosis\n1,a.png,sick\n2,b.png,well\n")
    expected = Table("metadata.csv", path="Image Name", label="diagnosis", group="Patient ID")
    assert detect(root) == detect(root / "metadata.csv") == expected
    for place in (root, root / "metadata.csv"):
        assert labels(expected.scan(place)) == {"images/a.png": "sick", "images/b.png": "well"}
    (root / "metadata.csv").write_text("Image Name,kind\na.png,sick\n")
    with pytest.raises(DataError, match=r"no column is called like a class \(there are Image Name, kind\)"):
        detect(root)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ([], "holds no images; resdx reads a folder per class"),
        (["a.png", "b.png"], "holds 2 images but no class folders; .*manifest.csv.*npz"),
        (["sick/a.png", "sick/b.png"], r"holds 2 images but only one class \(sick\); .*a folder per class"),
        ([f"p{k}/a.png" for k in range(101)], "has 101 folders, which look like persons"),
    ],
)
def test_detect_says_what_would_work(tmp_path, names, what):
    with pytest.raises(DataError, match=what):
        detect(pictures(tmp_path, *names))


def test_detect_says_what_is_wrong_with_the_place(tmp_path):
    write_dicom(tmp_path / "only" / "IM1", PIXELS)
    for place, what in (
        (tmp_path / "gone", "is not there"),
        (tmp_path / "only" / "IM1", "is one file"),
        (tmp_path, "DicomFolder"),
    ):
        with pytest.raises(DataError, match=what):
            detect(place)


# Real data, as downloaded

COHEN = Table(
    *("metadata.csv", "filename", "finding", "patientid", "location"),
    folder="images",
    where=(("modality", "X-ray"),),
    patterns=(("covid", "^COVID-19"), ("other", "^(?!COVID-19)")),
    unknown=("^todo$",),
)
EYES = Table(
    *("full_df.csv", "", "", "ID"),
    age="Patient Age",
    sex="Patient Sex",
    folder="images",
    sides=(("Left-Fundus", "Left-Diagnostic Keywords"), ("Right-Fundus", "Right-Diagnostic Keywords")),
    patterns=(
        ("normal", r"^((^|[,，])\s*(normal fundus|lens dust)\s*)+$"),
        ("retinopathy", "proliferative retinopathy|diabetic retinopathy"),
        ("glaucoma", "glaucoma"),
        ("cataract", "cataract"),
        ("amd", "age-related macular degeneration"),
        ("hypertension", "hypertensive retinopathy"),
        ("myopia", "myopi[ac]"),
        (
            "other",
            r"(^|[,，])\s*(?!normal fundus|lens dust|hypertensive)"
            r"(?![^,，]*(proliferative ret|diabetic ret|glaucoma|cataract|age-related|myopi[ac]))[a-z]",
        ),
    ),
    unknown=("low image quality|no fundus image|photographically invisible|anterior segment|image offset|^lens dust$",),
)
REAL = {  # set: (source, cases, persons, cases by class, what the findings count)
    "cxr-pneumonia": (FolderPerClass(r"person(\d+)_(bacteria|virus)_|(IM|NORMAL2-IM)-(\d+)"), 5840, 4082, (1575, 4265), {}),
    "cxr-covid-cohen": (COHEN, 605, 360, (423, 98), {"rows-without-file": 153, "files-without-row": 4, "not-assessed": 84}),
    "cxr-covid-talo": (FolderPerClass(r"^(\d{8})_\d{3}\.|^(.+)\.\w+$"), 1124, 806, (124, 500, 500), {}),
    "ct-covid": (
        FolderPerClass(
            tables=(
                Table("COVID-CT-MetaInfo.csv", "File name", group="Patient ID", age="Age", sex="Gender", folder="CT_COVID"),
                Table("NonCOVID-CT-MetaInfo.csv", "image name", group="patient id", folder="CT_NonCOVID"),
            )
        ),
        *(746, 384, (349, 397), {"joined-by-stem": 83, "rows-without-file": 1}),
    ),
    "mri-brain": (FolderPerClass(), 1830, 1830, (515, 514, 309, 492), {}),
    "malaria-cells": (FolderPerClass(r"^(C\d+)"), 7833, 63, (3467, 4366), {}),
    "fundus-aptos": (
        Table("labels.csv", "1", "2", header=False, folder="images"),
        378,
        378,
        (193, 39, 104, 14, 28),
        {"rows-without-file": 3284},
    ),
    "fundus-odir": (EYES, 1930, 1023, (85, 89, 74, 58, 87, 899, 263, 495), {"doubled-rows": 1814, "not-assessed": 1}),
    "mammo-mias": (
        Table("labels_converted.csv", "Name", "Type", "Name", folder="images", pairs=2, rename=(("", "N"),)),
        *(322, 161, (63, 51, 207), {"doubled-rows": 8, "conflicting-rows": 1, "not-assessed": 1}),
    ),
    "us-breast": (FolderPerClass(), 780, 780, (437, 210, 133), {}),
    "skin-ham10000": (
        Table("HAM10000_metadata.csv", "image_id", "dx", "lesion_id", folder="images"),
        *(2089, 2089, (183, 264, 583, 60, 491, 428, 80), {"rows-without-file": 7926}),
    ),
}


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize("name", REAL)
def test_real_sets_have_their_known_counts(name):
    source, cases, persons, by_class, counts = REAL[name]
    manifest = source.scan(DATA / name)
    assert (len(manifest), count_persons(manifest.cases)) == (cases, persons)
    times = Counter(label for case in manifest.cases for label in case.labels or ())
    assert tuple(times[label] for label in manifest.classes) == by_class
    for code, count in counts.items():
        found = finding(manifest, code)
        assert (found.figures.get("count") or len(found.cases)) == count, code


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
def test_the_shipped_parts_of_cxr_pneumonia_share_no_person():
    start = time.perf_counter()
    manifest = REAL["cxr-pneumonia"][0].scan(DATA / "cxr-pneumonia")
    assert time.perf_counter() - start < 2  # a third of a second on an idle machine
    train, test = ({case.group for case in manifest.cases if case.part == part} for part in ("train", "test"))
    assert (len(train), len(test), len(train & test)) == (3654, 428, 0)


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
def test_both_labels_of_a_person_in_covid_cohen():
    cases = COHEN.scan(DATA / "cxr-covid-cohen").cases
    covid, other = ({case.group for case in cases if case.labels == (label,)} for label in ("covid", "other"))
    assert (len(other), len(covid & other)) == (61, 9)
