"""Phantoms: bit-equal in the seed, the truth is where it is said to be, and what is planted is there."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from resdx.cases import Manifest
from resdx.errors import DataError
from resdx.phantoms import draw_phantoms


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), np.float32) / 255


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        draw_phantoms(tmp_path / name / "films", persons=4, size=48, leak=1, near=1, seed=seed)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def test_shares_are_exact_and_every_person_stays_in_one_class(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=20, images=2, size=32, prevalence=0.3)
    labels = {case.group: case.label for case in truth.manifest.cases}
    assert len(truth.manifest) == 40 and len(labels) == 20
    assert sum(label == "opacity" for label in labels.values()) == 6
    assert {case.source for case in truth.manifest.cases} == {"hospital 1", "hospital 2"}
    assert all((tmp_path / "films" / case.path).is_file() for case in truth.manifest.cases)


def test_opacity_is_brighter_than_the_mirrored_place_in_the_other_lung(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=20, images=1, size=96, prevalence=1)
    brighter = []
    for path, box in truth.boxes.items():
        film = pixels(tmp_path / "films" / path)
        rows, columns = slice(int(box.y1), int(box.y2) + 1), slice(int(box.x1), int(box.x2) + 1)
        brighter.append(film[rows, columns].mean() - film[:, ::-1][rows, columns].mean())
    assert np.mean(np.array(brighter) > 0) >= 0.9 and np.mean(brighter) > 0.05


def test_films_of_one_person_look_alike_but_differ(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=8, images=2, size=64, sources=1, prevalence=0)
    films = np.stack([pixels(tmp_path / "films" / case.path).ravel() for case in truth.manifest.cases])
    same = [np.abs(films[i] - films[i + 1]).mean() for i in range(0, 16, 2)]
    other = [np.abs(films[i] - films[i + 2]).mean() for i in range(0, 14, 2)]
    assert min(same) > 0.005 and np.median(same) < np.median(other)


def test_a_file_reads_as_a_chest_film_in_the_rough(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=4, images=1, size=96, prevalence=0)
    for case in truth.manifest.cases:
        film = pixels(tmp_path / "films" / case.path)
        lungs, spine, corner = film[30:50, 20:34].mean(), film[30:50, 44:52].mean(), film[80:, :2].mean()
        assert lungs < spine - 0.2 and corner < spine


def test_plants_are_what_they_say(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=10, size=64, leak=2, copies=2, near=2, label_noise=0.2)
    root, cases = tmp_path / "films", truth.manifest.by_id
    assert [len(pairs) for pairs in (truth.leaks, truth.copies, truth.near)] == [2, 2, 2]
    for original, planted in truth.leaks + truth.copies + truth.near:
        assert cases[original].group == cases[planted].group
        assert original.split("/")[1][:4] != planted.split("/")[1][:4]
    for original, planted in truth.copies:
        assert (root / original).read_bytes() == (root / planted).read_bytes()
    for original, planted in truth.near:
        with Image.open(root / planted) as small, Image.open(root / original) as large:
            assert small.format == "JPEG" and small.size == (51, 51)
            assert np.abs(np.asarray(small.resize(large.size), float) - np.asarray(large, float)).mean() < 8
    wrong = {case.group for case in truth.manifest.cases if case.id in truth.mislabelled}
    assert len(wrong) == 2 and all(case.id in truth.mislabelled for case in cases.values() if case.group in wrong)


def test_shortcut_of_one_gives_each_class_its_hospital(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=10, images=1, size=32, shortcut=1)
    assert {(case.label, case.source) for case in truth.manifest.cases} == {("normal", "hospital 1"), ("opacity", "hospital 2")}


def test_truth_table_beside_the_folder_is_a_manifest(tmp_path):
    truth = draw_phantoms(tmp_path / "films", persons=4, size=32)
    table = Manifest.read(tmp_path / "films-truth.csv")
    assert [case.boxes for case in table.cases] == [case.boxes for case in truth.manifest.cases]
    assert all((table.root / case.path).is_file() for case in table.cases)


@pytest.mark.parametrize(("wrong", "says"), [({"size": 8}, "32 pixels"), ({"shortcut": 2}, "between 0 and 1")])
def test_senseless_numbers_are_refused(tmp_path, wrong, says):
    with pytest.raises(DataError, match=says):
        draw_phantoms(tmp_path / "films", **wrong)


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        draw_phantoms(tmp_path)
