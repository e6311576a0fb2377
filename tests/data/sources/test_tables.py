"""Tables: rows become cases, and what does not fit becomes findings or an error that says what to do."""

from __future__ import annotations

import pytest
from write_files import finding, labels, pictures

from resdx.data.sources.tables import Table
from resdx.errors import DataError
from resdx.records import from_record, to_record


def table(root, text, **fields):
    (root / "t.csv").write_text(text, encoding="utf-8")
    return Table(**{"path": "file", "label": "dx", **fields})


def test_row_is_a_case(tmp_path):
    root = pictures(tmp_path, "img/a.png", "img/b.png")
    source = table(
        root,
        "\ufefffile , dx,who,,years,sex\na.png,sick,P1,x,054Y,male\nb.png,well,P2,,n/a,\n",
        folder="img",
        group="who",
        age="years",
        sex="sex",
    )
    first, second = source.scan(root).cases
    assert (first.id, first.labels, first.group, first.age, first.sex) == ("img/a.png", ("sick",), "P1", 54, "M")
    assert (second.age, second.sex) == (None, "")


def test_rows_and_files_that_do_not_fit_are_found(tmp_path):
    root = pictures(tmp_path, "a.png", "b.png", "c.png")
    manifest = table(root, "file,dx\na.png,sick\nb.png,well\nb.png,well\ngone.png,sick\n").scan(root)
    assert labels(manifest) == {"a.png": "sick", "b.png": "well"}
    assert finding(manifest, "rows-without-file").figures == {"count": 1}
    assert finding(manifest, "files-without-row").cases == ("c.png",)
    assert finding(manifest, "doubled-rows").figures == {"count": 1}
    assert finding(manifest, "conflicting-rows") is None


def test_rows_that_contradict_each_other_are_not_assessed(tmp_path):
    root = pictures(tmp_path, "a.png", "b.png", "c.png")
    manifest = table(root, "file,dx\na.png,sick\na.png,well\na.png,sick\nb.png,well\nc.png,sick\n").scan(root)
    assert labels(manifest) == {"a.png": None, "b.png": "well", "c.png": "sick"}
    assert finding(manifest, "conflicting-rows").cases == ("a.png",)
    assert finding(manifest, "not-assessed").cases == ("a.png",)


def test_file_is_found_without_its_suffix(tmp_path):
    root = pictures(tmp_path, "2020.01.24-p27.png", "b.png")
    manifest = table(root, "file,dx\n2020.01.24-p27,sick\nb.jpg,well\n").scan(root)
    assert labels(manifest) == {"2020.01.24-p27.png": "sick", "b.png": "well"}
    assert finding(manifest, "joined-by-stem").figures == {"count": 2}


def test_name_that_stands_for_two_files_fits_neither(tmp_path):
    root = pictures(tmp_path, "x/a.png", "y/a.png", "b.png", "c.png")
    manifest = table(root, "file,dx\na.png,sick\nx/a.png,sick\nb.png,well\n").scan(root)
    assert labels(manifest) == {"b.png": "well", "x/a.png": "sick"}


def test_columns_have_numbers_where_there_is_no_header(tmp_path):
    root = pictures(tmp_path, "a.png", "b.png")
    manifest = table(root, "a,0\nb,4\n", header=False, path="1", label="2").scan(root)
    assert labels(manifest) == {"a.png": "0", "b.png": "4"}


@pytest.mark.parametrize("sign", [";", "\t"])
def test_table_may_be_separated_by_other_signs(tmp_path, sign):
    root = pictures(tmp_path, "a.png", "b.png")
    assert len(table(root, f"file{sign}dx\na.png{sign}sick\nb.png{sign}well, quite\n").scan(root).classes) == 2


def test_labels_are_renamed_matched_or_not_assessed(tmp_path):
    root = pictures(tmp_path, *(f"{k}.png" for k in range(6)))
    text = 'file,dx\n0.png,\n1.png,todo\n2.png,"Cataract, mild"\n3.png,cataract and glaucoma\n4.png,fine\n5.png,odd\n'
    source = table(root, text, rename=(("fine", ""),), unknown=("^todo$",), patterns=(("cat", "cataract"), ("glau", "glaucoma")))
    assert labels(source.scan(root)) == {
        "0.png": None,
        "1.png": None,
        "2.png": "cat",
        "3.png": "cat|glau",
        "4.png": "",
        "5.png": "",
    }


def test_empty_label_can_be_a_class(tmp_path):
    root = pictures(tmp_path, "a.png", "b.png")
    assert labels(table(root, "file,dx\na.png,\nb.png,B\n", rename=(("", "normal"),)).scan(root))["a.png"] == "normal"


def test_rows_are_filtered_by_columns(tmp_path):
    root = pictures(tmp_path, "a.png", "b.png", "c.png")
    text = "file,dx,view\na.png,sick,PA\nb.png,well,AP\nc.png,well,L\n"
    manifest = table(root, text, where=(("view", "PA", "AP"),)).scan(root)
    assert list(labels(manifest)) == ["a.png", "b.png"]
    assert finding(manifest, "rows-left-out").figures == {"count": 1}
    assert finding(manifest, "files-without-row") is None


def test_row_can_hold_both_eyes_of_a_person(tmp_path):
    root = pictures(tmp_path, "1_left.png", "1_right.png", "2_left.png")
    text = "ID,left,right,dxl,dxr\n1,1_left.png,1_right.png,cataract,normal\n2,2_left.png,2_right.png,normal,normal\n"
    manifest = table(root, text, group="ID", sides=(("left", "dxl"), ("right", "dxr"))).scan(root)
    assert labels(manifest) == {"1_left.png": "cataract", "1_right.png": "normal", "2_left.png": "normal"}
    assert [case.group for case in manifest.cases] == ["1", "1", "2"]


def test_person_can_be_cut_out_or_counted_in_pairs(tmp_path):
    root = pictures(tmp_path, *(f"mdb00{k}.png" for k in range(1, 5)))
    text = "file,dx,who\n" + "".join(f"mdb00{k},{k % 2},film {k} of P{k // 4}\n" for k in range(1, 5))
    pairs = table(root, text, group="file", pairs=2).scan(root)
    assert [case.group for case in pairs.cases] == ["mdb1", "mdb1", "mdb2", "mdb2"]
    cut = table(root, text, group="who", group_pattern=r"(P\d)").scan(root)
    assert [case.group for case in cut.cases] == ["P0", "P0", "P0", "P1"]
    name = table(root, text, group_pattern=r"(\d+)\.", pairs=2).scan(root)
    assert [case.group for case in name.cases] == ["1", "1", "2", "2"]


@pytest.mark.parametrize(
    ("text", "fields", "what"),
    [
        ("file,diagnosis\na.png,x\n", {}, r"no column 'dx' \(there are file, diagnosis\)"),
        ("file,dx,dx\na.png,x,y\n", {}, "column 'dx' occurs 2 times"),
        ("file,dx\n", {}, "no rows below its header"),
        ("", {}, "no rows"),
        ("file,dx\nq.png,x\n", {}, r"none of its 1 rows names an image .* \(the first says 'q\.png'\)"),
        ("file,dx\na.png,x\nb.png,x\n", {}, r"all 2 cases are of one class \(x\)"),
        ("file,dx,who\na.png,x,no\n", {"group": "who", "group_pattern": r"(P\d)"}, "misses 'no' in column 'who'"),
        ("file,dx\na.png,x\n", {"file": "other.csv"}, r"other\.csv cannot be read"),
    ],
)
def test_wrong_table_is_explained(tmp_path, text, fields, what):
    source = table(pictures(tmp_path, "a.png", "b.png"), text)
    source = from_record({**to_record(source), **fields})
    with pytest.raises(DataError, match=what):
        source.scan(tmp_path)


def test_table_that_is_not_utf8_is_explained(tmp_path):
    (pictures(tmp_path, "a.png") / "t.csv").write_bytes("file,dx\na.png,grün\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8 text"):
        Table(path="file", label="dx").scan(tmp_path)


def test_table_must_be_named_where_there_are_two(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("file,dx\n")
    with pytest.raises(DataError, match=r"holds 2 tables \(a\.csv, b\.csv\)"):
        Table(path="file", label="dx").scan(tmp_path)
