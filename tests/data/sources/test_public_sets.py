"""Layouts of public sets: whom a picture shows, and what a list beside the pictures says."""

import pytest
from PIL import Image
from write_files import pictures

from resdx.data.cases import Box
from resdx.data.persons import count_persons
from resdx.data.phantoms import draw_layout
from resdx.data.sources.public_sets import BREAKHIS, KERMANY, MiniMias
from resdx.errors import DataError

LIST = """INFORMATION:
1st column: MIAS database reference number.

mdb001 G CIRC B 535 425 197
mdb002 G CIRC B 522 280 69
mdb002 G CALC M 100 200 10
mdb003 D NORM
mdb004 D ASYM B
mdb216 D CALC M *NOTE 3*
mdb999 F NORM
"""


def mias(folder, *, side=1024, names=("mdb001", "mdb002", "mdb003", "mdb004", "mdb216")):
    for name in names:
        Image.new("L", (side, side)).save(folder / f"{name}.pgm")
    (folder / "Info.txt").write_text(LIST)
    return folder


def test_films_of_mini_mias_are_two_a_woman(tmp_path):
    cases = MiniMias().scan(mias(tmp_path)).cases
    assert [case.group for case in cases] == ["woman 1", "woman 1", "woman 2", "woman 2", "woman 108"]
    assert [case.label for case in cases] == ["abnormal", "abnormal", "normal", "abnormal", "abnormal"]


@pytest.mark.parametrize("side", [1024, 512])
def test_a_circle_of_mini_mias_becomes_a_box_counted_from_the_top(tmp_path, side):
    first, second, *others = MiniMias().scan(mias(tmp_path, side=side)).cases
    share = side / 1024
    expected = Box("abnormal", 338 * share, (1024 - 425 - 197) * share, 732 * share, (1024 - 425 + 197) * share)
    assert first.boxes == (expected,)
    assert len(second.boxes) == 2 and not any(case.boxes for case in others)


def test_mini_mias_without_its_list_or_with_a_broken_film_says_so(tmp_path):
    with pytest.raises(DataError, match=r"Info\.txt cannot be read .*; it is the list that mini-MIAS comes with"):
        MiniMias().scan(tmp_path)
    mias(tmp_path)
    (tmp_path / "mdb001.pgm").write_bytes(b"no film")
    with pytest.raises(DataError, match=r"mdb001\.pgm cannot be read as an image"):
        MiniMias().scan(tmp_path)


def test_a_number_names_a_child_within_its_kind_only(tmp_path):
    names = ("PNEUMONIA/person1_virus_6.jpeg", "PNEUMONIA/person1_bacteria_1.jpeg", "PNEUMONIA/person1_bacteria_2.jpeg")
    manifest = KERMANY.scan(pictures(tmp_path, *names, "NORMAL/IM-0001-0001.jpeg", "NORMAL/NORMAL2-IM-0001-0001.jpeg"))
    assert count_persons(manifest.cases) == 4


def test_breakhis_knows_person_and_magnification(tmp_path):
    truth = draw_layout("breakhis", tmp_path / "set")
    manifest = BREAKHIS.scan(tmp_path / "set")
    assert [(case.group, case.view) for case in manifest.cases] == [
        (case.group.rstrip("AB"), case.path.rsplit("-", 2)[1]) for case in sorted(truth.cases, key=lambda case: case.path)
    ]
    assert {case.label for case in manifest.cases} == {"benign", "malignant"}
