"""Decisions about labels: read strictly, applied in the open, never to another file."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from resdx.data.cases import Case, Manifest
from resdx.data.label_corrections import Decision, apply_decisions, find_decisions, read_decisions
from resdx.data.sources.tables import DECISIONS, find_table
from resdx.errors import DataError

HEAD = "case,sha256,decision,label,by,note\n"


def manifest(folder):
    """Four files, two of each class."""
    cases = []
    for name, label in (("a", "normal"), ("b", "normal"), ("c", "opacity"), ("d", "opacity")):
        (folder / name).write_bytes(name.encode())
        cases.append(Case(name, name, f"p{name}", (label,)))
    return Manifest(folder, tuple(cases))


def sha(name):
    return hashlib.sha256(name.encode()).hexdigest()


def test_decisions_are_followed_and_told(tmp_path):
    decisions = [
        Decision("a", sha("a"), "relabel", ("opacity",), by="A. Reader"),
        Decision("b", sha("b"), "exclude", by="A. Reader"),
        Decision("c", sha("c"), "keep"),
    ]
    changed, findings = apply_decisions(manifest(tmp_path), decisions)
    assert [case.labels for case in changed.cases] == [("opacity",), None, ("opacity",), ("opacity",)]
    assert [(one.code, one.grade, one.cases) for one in findings] == [
        ("labels-changed", "note", ("a",)),
        ("labels-excluded", "note", ("b",)),
        ("labels-kept", "note", ("c",)),
    ]
    assert "normal to opacity 1" in findings[0].text and "A. Reader 1" in findings[0].text
    assert "nobody named 1" in findings[2].text


def test_no_decision_changes_nothing(tmp_path):
    assert apply_decisions(manifest(tmp_path), ()) == (manifest(tmp_path), ())


def test_another_file_and_an_absent_case_are_left_alone_and_told(tmp_path):
    decisions = [Decision("a", sha("b"), "relabel", ("opacity",)), Decision("x", sha("x"), "exclude")]
    changed, findings = apply_decisions(manifest(tmp_path), decisions)
    assert changed == manifest(tmp_path)
    assert {(one.code, one.grade, one.cases) for one in findings} == {
        ("decisions-without-case", "look", ("x",)),
        ("decisions-out-of-date", "look", ("a",)),
    }


def test_slices_of_one_file_are_known_by_that_file(tmp_path):
    (tmp_path / "set.npz").write_bytes(b"set")
    cases = tuple(Case(f"set.npz#{i}", f"set.npz#{i}", "p", (label,)) for i, label in enumerate(("x", "y")))
    changed, findings = apply_decisions(Manifest(tmp_path, cases), [Decision("set.npz#1", sha("set"), "relabel", ("x",))])
    assert [case.label for case in changed.cases] == ["x", "x"] and findings[0].code == "labels-changed"


def test_none_of_the_classes_is_a_label_too(tmp_path):
    (tmp_path / "t.csv").write_text(HEAD + "a,1,relabel,none,,\nb,2,relabel,x | y,,\n")
    assert [one.labels for one in read_decisions(tmp_path / "t.csv")] == [(), ("x", "y")]


def test_class_that_becomes_known_is_no_longer_unknown(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    cases = (Case("a", "a", "p", ("x",), unknown=("y", "z")), Case("b", "b", "q", ("y", "z")))
    changed, _ = apply_decisions(Manifest(tmp_path, cases), [Decision("a", sha("a"), "relabel", ("x", "y"))])
    assert changed.cases[0].labels == ("x", "y") and changed.cases[0].unknown == ("z",)


def test_label_that_the_data_does_not_know_is_refused(tmp_path):
    with pytest.raises(DataError, match="a is to become 'opacitty', but the data knows normal, opacity"):
        apply_decisions(manifest(tmp_path), [Decision("a", sha("a"), "relabel", ("opacitty",))])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("case,decision,label\na,keep,\n", "has no column 'sha256'"),
        ("", "has no column 'case'"),
        (HEAD + "a,1,delete,,,\n", "line 2: the decision is 'delete'"),
        (HEAD + "a,1,keep,,,\nb,,exclude,,,\n", "line 3: a decision needs the case and the sha256"),
        (HEAD + "a,1,relabel,,,\n", "line 2: relabel needs a label"),
        (HEAD + "a,1,keep,,,\na,1,exclude,,,\n", "decides about 'a' more than once"),
        (HEAD + 'a,1,"keep,,,\n', "cannot be read as a CSV table"),
    ],
)
def test_bad_table_is_refused_in_one_sentence(tmp_path, text, said):
    (tmp_path / DECISIONS).write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_decisions(tmp_path / DECISIONS)
    assert "\n" not in str(caught.value)


def test_table_that_is_no_text_is_refused(tmp_path):
    (tmp_path / DECISIONS).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as a CSV table in UTF-8"):
        read_decisions(tmp_path / DECISIONS)


def test_open_rows_decide_nothing_and_further_columns_are_passed_over(tmp_path):
    (tmp_path / DECISIONS).write_text("given,case,sha256,decision,label\nnormal,a,1,,\nnormal,b,2,keep,\n")
    assert read_decisions(tmp_path / DECISIONS) == (Decision("b", "2", "keep"),)


def test_table_is_found_in_either_folder_but_not_in_both(tmp_path):
    data, store = tmp_path / "data", tmp_path / "store"
    for folder in (data, store):
        folder.mkdir()
    assert find_decisions(data, store) is None
    (store / DECISIONS).write_text(HEAD)
    assert find_decisions(data, store) == (store / DECISIONS).resolve() == find_decisions(store, store)
    (data / DECISIONS).write_text(HEAD)
    with pytest.raises(DataError, match="there are two tables of decisions"):
        find_decisions(data, store)


def test_decisions_may_lie_beside_the_table_of_the_data(tmp_path):
    (tmp_path / "cases.csv").write_text("path,labels\n")
    (tmp_path / "label-decisions.csv").write_text("case,sha256,decision,label\n")
    assert find_table(tmp_path, "")[0] == "cases.csv"


def test_a_change_of_the_shipped_test_part_is_to_be_looked_at(tmp_path):
    whole = manifest(tmp_path)
    shipped = Manifest(whole.root, tuple(replace(case, part="test" if case.id in "ac" else "train") for case in whole.cases))
    decisions = [
        Decision("a", sha("a"), "relabel", ("opacity",)),
        Decision("b", sha("b"), "exclude"),
        Decision("c", sha("c"), "keep"),
    ]
    found = {one.code: one for one in apply_decisions(shipped, decisions)[1]}
    assert found["test-part-changed"].grade == "look" and found["test-part-changed"].cases == ("a",)
    assert "no longer the one that others have measured on: a." in found["test-part-changed"].text
