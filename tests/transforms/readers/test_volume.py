"""Slices of a scan as one sheet, and how they are named."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from write_files import pictures, write_dicom, write_picture

from resdx.data.phantoms import draw_layout
from resdx.data.sources.folders import FolderPerClass, Scans
from resdx.data.tasks import Classify
from resdx.errors import DataError, RecipeError
from resdx.inference.files import predict_files
from resdx.models.specs import Cnn, Net, Tiled
from resdx.recipes.learning import Training
from resdx.recipes.library import get_recipe
from resdx.recipes.recipe import Recipe
from resdx.runs.run import Run
from resdx.studies.stages import EVIDENCE, resume
from resdx.studies.start import start
from resdx.transforms.image import Resize
from resdx.transforms.readers.dicom import ReadDicom
from resdx.transforms.readers.volume import ReadScan, in_order, path_of, slices_of, spread


def values(sheet, rows, columns):
    """The mean of each tile, times 255, row by row."""
    height, width = sheet.shape[0] // rows, sheet.shape[1] // columns
    tiles = sheet[..., 0].reshape(rows, height, columns, width).mean((1, 3))
    return np.round(255 * tiles).astype(int).ravel().tolist()


def scan_of(root, grey):
    return path_of(in_order([str(write_picture(root / f"{k + 1}.png", value)) for k, value in enumerate(grey)][::-1]))


def test_slices_stand_row_by_row_in_the_order_of_their_numbers(tmp_path):
    path = scan_of(tmp_path, [10 * k for k in range(1, 13)])  # 10.png comes after 9.png
    sheet = ReadScan(rows=3, columns=4, side=16)(path)
    assert sheet.shape == (48, 64, 1) and sheet.dtype == np.float32
    assert values(sheet, 3, 4) == [10 * k for k in range(1, 13)]


def test_of_many_slices_some_are_taken_at_equal_distances_and_of_few_each_comes_as_often(tmp_path):
    assert spread(8, 4) == [1, 3, 5, 7]
    assert spread(2, 4) == [0, 0, 1, 1]
    assert spread(100, 4) == [12, 37, 62, 87]
    assert spread(5, 5) == list(range(5))
    assert values(ReadScan(2, 2, 16)(scan_of(tmp_path, [30, 60])), 2, 2) == [30, 30, 60, 60]


def test_a_single_picture_fills_the_sheet(tmp_path):
    film = str(write_picture(tmp_path / "film.png", 90))
    assert values(ReadScan(2, 2, 16)(film), 2, 2) == [90] * 4


def test_colour_of_one_slice_makes_the_sheet_a_colour_one(tmp_path):
    path = scan_of(tmp_path, [50, 60])
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "2.png")
    sheet = ReadScan(1, 2, 16)(path)
    assert sheet.shape == (16, 32, 3)
    np.testing.assert_allclose(sheet[0, [0, -1]], [[50 / 255] * 3, [1, 0, 0]], atol=1e-6)


def test_each_slice_goes_through_the_steps(tmp_path):
    class Dark:
        takes = gives = "image"

        def __call__(self, image):
            return image / 2

    assert values(ReadScan(1, 2, 16, each=(Dark(),))(scan_of(tmp_path, [60, 100])), 1, 2) == [30, 50]


def test_slices_of_dicom_lie_in_the_order_of_the_body(tmp_path):
    across = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}  # coronal: the stack runs along the second axis
    for name, place in (("1.dcm", 30), ("2.dcm", 10), ("3.dcm", 20)):
        write_dicom(tmp_path / "axial" / name, np.zeros((2, 2), np.uint8), SliceLocation=place)
        write_dicom(tmp_path / "coronal" / name, np.zeros((2, 2), np.uint8), ImagePositionPatient=[0, place, 50], **across)
    for folder in ("axial", "coronal"):
        slices = [f"{tmp_path}/{folder}/{k}.dcm" for k in (1, 2, 3)]
        assert in_order(slices) == [slices[1], slices[2], slices[0]]
    write_dicom(tmp_path / "axial" / "2.dcm", np.zeros((2, 2), np.uint8))  # one of them does not say
    assert in_order([f"{tmp_path}/axial/{k}.dcm" for k in (3, 2, 1)]) == [f"{tmp_path}/axial/{k}.dcm" for k in (1, 2, 3)]


def test_scans_of_the_public_layout_are_found(tmp_path):
    truth = draw_layout("covid-ct-md", tmp_path / "set", persons=6)
    recipe = get_recipe("covid_ct_scans")
    manifest = recipe.source.scan(tmp_path / "set")
    assert {case.group for case in manifest.cases} == {case.group for case in truth.cases} and len(manifest.cases) == 6
    assert sorted({case.label for case in manifest.cases}) == sorted(recipe.classes)
    names = [one.rpartition("/")[2] for one in slices_of(manifest.cases[0].path)]
    assert names == ["IM0003.dcm", "IM0001.dcm", "IM0002.dcm"]  # SliceLocation 0, 5 and 10
    assert recipe.read(f"{manifest.root}/{manifest.cases[0].path}").shape == (512, 512, 1)


def test_slices_of_dicom_keep_their_window(tmp_path):
    paths = [str(write_dicom(tmp_path / f"{k}.dcm", np.full((4, 4), value, np.int16))) for k, value in enumerate((-500, 500))]
    assert values(ReadScan(1, 2, 16, read=ReadDicom(low=-1000, high=1000))(path_of(paths)), 1, 2) == [64, 191]


def test_slices_of_a_volume_are_named_by_number_and_a_volume_alone_is_all_of_them(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume = np.broadcast_to(np.arange(4, dtype=np.float32) * 85, (5, 6, 4))
    file = str(tmp_path / "scan.nii.gz")
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), file)
    slices = [f"{file}#{k}" for k in range(4)]
    assert path_of(slices) == f"{file}#0|1|2|3"
    assert slices_of(path_of(slices)) == slices_of(file) == slices
    assert values(ReadScan(2, 2, 16)(file), 2, 2) == [0, 85, 170, 255]
    assert slices_of(f"{file}#2") == [f"{file}#2"]


@pytest.mark.parametrize("names", [["a.png"], ["b.png", "a.png"], ["s 1.png", "s%2.png", "s 10.png", "a.png"]])
def test_names_come_back(tmp_path, names):
    paths = [str(one) for one in (pictures(tmp_path, *names) / name for name in names)]
    assert slices_of(path_of(paths)) == paths


def test_a_scan_of_many_slices_may_have_a_path_longer_than_a_file_can(tmp_path):
    names = [f"{'slice' * 10}-{k}.png" for k in range(200)]
    folder = pictures(tmp_path, *names)
    paths = [str(folder / name) for name in names]
    assert slices_of(path_of(paths)) == paths
    assert ReadScan(2, 2, 16)(path_of(paths)).shape == (32, 32, 1)


def test_a_slice_that_is_gone_is_named(tmp_path):
    path = scan_of(tmp_path, [10, 20, 30])
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match=r"2\.png"):
        ReadScan(1, 3, 16)(path)


def test_slices_of_two_folders_are_no_scan(tmp_path):
    with pytest.raises(DataError, match="lie in one folder or file"):
        path_of([f"{tmp_path}/a/1.png", f"{tmp_path}/b/2.png"])


@pytest.mark.parametrize("fields", [{"rows": 0}, {"columns": 17}, {"side": 8}])
def test_reader_checks_itself(fields):
    with pytest.raises(
        RecipeError, match=r"ReadScan\.\w+ cannot be \d+: it takes a whole number from (1 to 16|16 to 512 pixels)$"
    ):
        ReadScan(**fields)


def test_a_person_has_a_scan_in_each_folder_and_class(tmp_path):
    files = [f"{kind}/{person}/{k}.png" for kind, person in (("ill", "p1"), ("ill", "p2"), ("well", "p3")) for k in range(3)]
    manifest = Scans(FolderPerClass(group="([^/]+)/[^/]+$")).scan(pictures(tmp_path, *files))
    assert [(case.group, case.label) for case in manifest.cases] == [("p1", "ill"), ("p2", "ill"), ("p3", "well")]
    assert len({case.id for case in manifest.cases}) == 3
    sheet = Resize(32)(ReadScan(2, 2, 16)(str(tmp_path / manifest.cases[1].path)))
    assert sheet.shape == (32, 32, 1)
    assert slices_of(manifest.cases[0].path) == files[:3]


def test_slices_without_a_person_are_scans_of_one(tmp_path):
    manifest = Scans(FolderPerClass()).scan(pictures(tmp_path, "a/1.png", "a/2.png", "b/1.png"))
    assert [case.path for case in manifest.cases] == ["a/1.png#1.png", "a/2.png#2.png", "b/1.png#1.png"]
    assert ReadScan(1, 1, 16)(str(tmp_path / "a/1.png#1.png")).shape == (16, 16, 1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small network trained on scans of four slices, one of which is bright in the ill."""
    root, draws = tmp_path_factory.mktemp("scans"), np.random.default_rng(0)
    for person in range(60):
        kind = ("ill", "well")[person % 2]
        grey = draws.integers(40, 90, 4)
        if kind == "ill":
            grey[draws.integers(4)] = 220
        for k, value in enumerate(grey):
            path = write_picture(root / "data" / kind / f"p{person}" / f"{k}.png")
            noisy = draws.normal(value, 12, (24, 24)).clip(0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(path)
    recipe = Recipe(
        name="scans",
        title="Scans",
        source=Scans(FolderPerClass(group="([^/]+)/[^/]+$")),
        read=ReadScan(2, 2, 16),
        prepare=(Resize(32),),
        model=Net(Tiled(Cnn((8,)), 2, 2, (1,))),
        task=Classify("ill"),
        learn=Training(epochs=12, batch=8, lr=0.01),
    )
    run = start(root / "data", recipe=recipe, out=root / "run", skip=EVIDENCE, quiet=True)
    resume(run)
    return Run.open(root / "run", quiet=True)


def test_a_network_finds_the_one_slice_that_tells(finished):
    assert finished.metrics.to_json()["scores"]["person"]["classes"]["ill"]["auroc"]["value"] == 1
    assert len(finished.manifest) == 60


def test_a_folder_of_slices_is_answered_as_the_scan_it_was(finished):
    test = finished.cases("test")
    folders = [Path(finished.settings.data) / Path(case.path.partition("#")[0]).parent for case in test]
    found, failures = predict_files(finished.path, folders, quiet=True)
    assert not failures
    rows = {row["case"]: row for row in csv.DictReader((finished.path / "predictions.csv").open(newline=""))}
    for case, one in zip(test, found, strict=True):
        assert one.probabilities["ill"] == pytest.approx(float(rows[case.id]["p_ill"]), abs=1e-4)
    whole, _ = predict_files(finished.path, [Path(finished.settings.data)], quiet=True)
    assert len(whole) == 60


def test_findings_name_scans(tmp_path):
    pictures(tmp_path, "a/p1/1.png", "a/p1/2.png", "b/p2/1.png", "loose.png")
    manifest = Scans(FolderPerClass(group="p(.)/")).scan(tmp_path)
    assert {case for one in manifest.findings for case in one.cases} <= {case.id for case in manifest.cases} | {"loose.png"}
