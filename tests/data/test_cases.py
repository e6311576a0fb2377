"""Cases and their table: out, in again, and wrong tables named by line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from resdx.data.cases import Box, Case, Finding, Manifest
from resdx.data.persons import count_persons
from resdx.errors import DataError

FULL = Case(
    id="7",
    path="a b/ü,1.png#3",
    group="P 1",
    labels=("sick", "old"),
    unknown=("smoker",),
    boxes=(Box("mass", 1, 2.5, 30, 40),),
    source='St. "Mary"',
    age=54.5,
    sex="F",
    view="PA",
    part="val",
    extra={"scanner": "x1"},
)


def table(tmp_path, text):
    (tmp_path / "manifest.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path / "manifest.csv"


def test_table_comes_back_the_same(tmp_path):
    cases = (
        FULL,
        Case("a", "a.png", extra={"scanner": ""}),
        Case("b", "b.png", labels=(), extra={"scanner": ""}),
        Case("c", "c.png", labels=("well",), age=0, extra={"scanner": ""}),
    )
    manifest = Manifest(tmp_path, cases)
    again = Manifest.read(table(tmp_path, manifest.to_csv()))
    assert again.cases == cases
    assert again.sha256 == manifest.sha256


def test_not_assessed_is_not_negative(tmp_path):
    manifest = Manifest.read(table(tmp_path, "path,labels\na.png,?\nb.png,\nc.png,x|y\n"))
    assert [case.labels for case in manifest.cases] == [None, (), ("x", "y")]
    assert [case.label for case in manifest.cases] == ["", "", "x"]
    assert manifest.classes == ("x", "y")


def test_hash_is_about_the_table_and_not_its_place(tmp_path):
    cases = (Case("a", "a.png", labels=("x",)), Case("b", "b.png", labels=("y",)))
    assert Manifest(Path("/one"), cases).sha256 == Manifest(Path("/two"), cases).sha256
    changed = (cases[0], replace(cases[1], group="P1"))
    assert Manifest(Path("/one"), changed).sha256 != Manifest(Path("/one"), cases).sha256


def test_table_of_a_spreadsheet_is_read(tmp_path):
    text = "\ufeffpath , labels,\r\na.png, sick ,note\r\n,,\r\nb.png,well\r\n".encode()
    manifest = Manifest.read(table(tmp_path, text), root=Path("/films"))
    assert [(case.id, case.labels) for case in manifest.cases] == [("a.png", ("sick",)), ("b.png", ("well",))]
    assert manifest.root == Path("/films")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", r"manifest\.csv is empty"),
        ("path,labels\n", "has a header but no rows"),
        ("path,label\na,b\n", r"no column 'labels' \(there are path, label\)"),
        ("path,labels,path\na,b,c\n", "column 'path' occurs 2 times"),
        ("path,labels\n,x\n", "line 2: the path is empty"),
        ("path,labels,part\na,x,\nb,x,tets\n", "line 3: part is 'tets'; it must be empty, train, val or test"),
        ("path,labels,age\na,x,old\n", "line 2: age or boxes cannot be read"),
        ('path,labels,boxes\na,x,"[[1,2]]"\n', "line 2: age or boxes cannot be read"),
        ("path,labels\na,x\na,y\n", "the id 'a' stands for more than one case; make the id column unique"),
        (b"path,labels\n\xe4.png,x\n", r"is not UTF-8 text \(byte 12\)"),
        ("path,labels\ra.png,x\r", "is not a CSV table"),
    ],
)
def test_wrong_table_is_named_by_its_place(tmp_path, text, what):
    with pytest.raises(DataError, match=what):
        Manifest.read(table(tmp_path, text))


def test_absent_table_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        Manifest.read(tmp_path / "none.csv")


def test_a_case_without_a_person_is_a_person_of_its_own():
    cases = [Case("a", "a", group="P1"), Case("b", "b", group="P1"), Case("c", "c"), Case("d", "d")]
    assert count_persons(cases) == 3
    assert not Manifest(Path(), tuple(cases)).grouped
    assert Manifest(Path(), tuple(cases[:2])).grouped


def test_finding_comes_back_from_json():
    finding = Finding("copies", "look", "Two copies.", ("a", "b"), {"count": 2})
    assert Finding.from_json(finding.to_json()) == finding


def test_cases_are_found_by_id():
    assert Manifest(Path(), (FULL,)).by_id == {"7": FULL}


@pytest.mark.parametrize(
    "told", ['[["a", 5, 5, 4, 9]]', '[["a", 1, 2, "x", 9]]', '[["", 1, 2, 3, 4]]', '[["a", 1, 2, NaN, 9]]', '[["a", 1, 2]]']
)
def test_boxes_that_are_none_are_refused_with_their_line(tmp_path, told):
    row = told.replace('"', '""')
    with pytest.raises(DataError, match="line 2: age or boxes cannot be read"):
        Manifest.read(table(tmp_path, f'path,labels,boxes\na.png,a,"{row}"\n'))
