"""PASCAL VOC: corners from 1, odd boxes as findings, pictures that are not there."""

import unicodedata

import pytest
from PIL import Image
from write_files import write_picture

from resdx.data.audit.audit import audit
from resdx.data.cases import Box
from resdx.data.sources.pascal_voc import Voc
from resdx.errors import DataError
from resdx.transforms.readers.image import ReadImage


def thing(name, x1, y1, x2, y2, difficult=0):
    corners = f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"


def note(root, stem, *things, name="", picture=True, size="<size><width>40</width><height>30</height></size>"):
    (root / "Annotations").mkdir(exist_ok=True)
    text = f"<annotation><filename>{name or stem + '.png'}</filename>{size}{''.join(things)}</annotation>"
    (root / "Annotations" / f"{stem}.xml").write_text(text)
    if picture:
        Image.new("L", (40, 30)).save(write_picture(root / "JPEGImages" / f"{stem}.png"))


def test_corners_count_from_one_and_classes_are_those_of_the_boxes(tmp_path):
    note(tmp_path, "1", thing("mask", 1, 2, 10, 20), thing("none", 11, 5, 40, 30))
    note(tmp_path, "2", thing("mask", 3, 3, 9, 9), name="other.jpg")  # found by the name of the XML
    note(tmp_path, "3")
    found = Voc(rename=(("none", "no mask"),)).scan(tmp_path)
    assert [(case.id, case.labels) for case in found.cases] == [
        ("JPEGImages/1.png", ("mask", "no mask")),
        ("JPEGImages/2.png", ("mask",)),
        ("JPEGImages/3.png", ()),
    ]
    assert found.cases[0].boxes == (Box("mask", 0, 1, 10, 20), Box("no mask", 10, 4, 40, 30))
    assert [one.code for one in found.findings if one.grade != "note"] == []


def test_boxes_that_cannot_be_used_are_named(tmp_path):
    note(tmp_path, "1", thing("mask", 5, 5, 5, 9), thing("mask", 60, 5, 70, 9), thing("", 1, 1, 9, 9), thing("mask", 2, 2, 9, 9))
    note(tmp_path, "2", thing("none", 30, 20, 90, 25), thing("mask", -20, 1, 10, 10))
    note(tmp_path, "3", thing("mask", 2, 2, 9, 9), picture=False)
    note(tmp_path, "4", thing("mask", 9, 2, 2, 9), thing("mask", "nan", 2, 9, 9))
    found = Voc().scan(tmp_path)
    wrong = Voc()._boxes(tmp_path / "Annotations" / "4.xml")[2]
    assert wrong == ["a box of mask whose corners are the wrong way round", "a box of mask with a corner that is no number"]
    told = {one.code: one for one in found.findings}
    assert told["bad-boxes"].text == (
        "5 of 8 boxes cannot be used and are left out: JPEGImages/1.png: a box of mask without an area; "
        "JPEGImages/1.png: a box of mask outside the picture; JPEGImages/1.png: a box without a name ..."
    )
    assert told["boxes-cut"].text == "2 boxes reach out of their picture and are cut to it: JPEGImages/2.png"
    assert told["boxes-without-picture"].text == "1 XML file without the picture that they name, left out: 3.xml"
    assert found.cases[1].boxes == (Box("none", 29, 19, 40, 25), Box("mask", 0, 0, 10, 10))


def test_difficult_objects_can_be_left_out(tmp_path):
    note(tmp_path, "1", thing("mask", 2, 2, 9, 9), thing("none", 2, 2, 9, 9, difficult=1))
    note(tmp_path, "2", thing("other", 2, 2, 9, 9))
    assert Voc().scan(tmp_path).cases[0].labels == ("mask", "none")
    assert Voc(difficult=False).scan(tmp_path).cases[0].labels == ("mask",)


def test_what_cannot_be_read_is_told(tmp_path):
    with pytest.raises(DataError, match=r"holds no XML files; resdx reads boxes in the layout of PASCAL VOC"):
        Voc().scan(tmp_path)
    with pytest.raises(DataError, match="is not there"):
        Voc().scan(tmp_path / "gone")
    note(tmp_path, "1", thing("mask", "left", 2, 9, 9))
    with pytest.raises(DataError, match=r"1\.xml cannot be read as an annotation of PASCAL VOC \(could not convert"):
        Voc().scan(tmp_path)
    (tmp_path / "Annotations" / "1.xml").write_text("<annotation>")
    with pytest.raises(DataError, match=r"1\.xml cannot be read as an annotation of PASCAL VOC \(no element found"):
        Voc().scan(tmp_path)


def test_of_several_pictures_the_one_beside_is_meant(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("L", (40, 30)).save(tmp_path / folder / "1.png")
    size = "<size><width>40</width><height>30</height></size>"
    (tmp_path / "a" / "1.xml").write_text(f"<annotation><filename>1.png</filename>{size}{thing('mask', 1, 1, 9, 9)}</annotation>")
    (tmp_path / "a" / "2.xml").write_text(f"<annotation><filename>9.png</filename>{size}{thing('none', 1, 1, 9, 9)}</annotation>")
    Image.new("L", (40, 30)).save(tmp_path / "a" / "2.png")
    assert [case.path for case in Voc().scan(tmp_path).cases] == ["a/1.png", "a/2.png"]
    (tmp_path / "a" / "1.xml").rename(tmp_path / "1.xml")
    with pytest.raises(DataError, match=r"1\.xml could be about a/1\.png or b/1\.png; put it beside its picture"):
        Voc().scan(tmp_path)
    (tmp_path / "1.xml").write_text("<svg/>")
    with pytest.raises(DataError, match=r"1\.xml cannot be read as an annotation of PASCAL VOC \(it is about <svg>\)"):
        Voc().scan(tmp_path)


def test_objects_can_be_chosen_and_one_class_is_enough(tmp_path):
    note(tmp_path, "1", thing("mask", 2, 2, 9, 9), thing("dog", 2, 2, 9, 9))
    note(tmp_path, "2", thing("mask", 3, 3, 9, 9))
    found = Voc(only=("mask",)).scan(tmp_path)
    assert found.classes == ("mask",) and [len(case.boxes) for case in found.cases] == [1, 1]
    assert next(one for one in found.findings if one.code == "other-objects").text == "1 box of other objects, left out: dog 1"
    note(tmp_path, "3", thing("With_Mask", 3, 3, 9, 9))
    odd = next(
        one for one in Voc(rename=(("with mask", "mask"),), only=("mask",)).scan(tmp_path).findings if one.code == "other-objects"
    )
    assert odd.grade == "look" and odd.text.endswith("Is With_Mask another spelling of an object that is kept? Then rename it")
    with pytest.raises(DataError, match="no object is called cat; there are With_Mask, dog, mask"):
        Voc(only=("cat",)).scan(tmp_path)


def test_pictures_without_an_xml_are_told(tmp_path):
    note(tmp_path, "1", thing("mask", 2, 2, 9, 9))
    Image.new("L", (40, 30)).save(write_picture(tmp_path / "JPEGImages" / "empty.png"))
    told = next(one for one in Voc().scan(tmp_path).findings if one.code == "pictures-without-boxes")
    assert told.text.startswith("1 picture without an XML file, left out: JPEGImages/empty.png") and told.grade == "look"


def test_folders_of_one_name_belong_together_and_names_are_compared_as_they_read(tmp_path):
    for part in ("train", "val"):
        note(tmp_path, "1", thing("mask", 2, 2, 9, 9))
        for place, suffix in (("Annotations", "xml"), ("JPEGImages", "png")):
            (tmp_path / place / part).mkdir(parents=True)
            (tmp_path / place / f"1.{suffix}").rename(tmp_path / place / part / f"1.{suffix}")
    assert [case.id for case in Voc().scan(tmp_path).cases] == ["JPEGImages/train/1.png", "JPEGImages/val/1.png"]
    other = tmp_path / "other"
    other.mkdir()
    note(other, unicodedata.normalize("NFD", "Zähne"), thing("tooth", 2, 2, 9, 9), picture=False)
    (other / "Annotations").rename(other / "notes")
    next((other / "notes").iterdir()).rename(other / "notes" / (unicodedata.normalize("NFD", "Zähne") + ".XML"))
    Image.new("L", (40, 30)).save(write_picture(other / "JPEGImages" / (unicodedata.normalize("NFC", "Zähne") + ".png")))
    assert len(Voc().scan(other).cases) == 1


def test_boxes_of_another_size_stop_the_audit(tmp_path):
    note(tmp_path, "1", thing("mask", 2, 2, 9, 9), size="<size><width>80</width><height>60</height></size>")
    note(tmp_path, "2", thing("mask", 30, 2, 90, 9), size="")
    note(tmp_path, "3", thing("mask", 3, 3, 9, 9))
    found = {one.code: one for one in audit(Voc().scan(tmp_path), ReadImage(), processes=1).findings}
    assert found["boxes-of-other-size"].grade == "stop" and found["boxes-of-other-size"].cases == ("JPEGImages/1.png",)
    assert "1.png is 40x30, its boxes are of 80x60" in found["boxes-of-other-size"].text
    assert found["boxes-outside"].cases == ("JPEGImages/2.png",)


def test_corners_that_are_no_numbers_are_no_box(tmp_path):
    note(tmp_path, "1", thing("mask", 2, 2, "inf", 9), thing("mask", 2, 2, 9, 9), size="")
    assert len(Voc().scan(tmp_path).cases[0].boxes) == 1
