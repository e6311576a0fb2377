"""Settings become plain data and come back the same; files are written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest

from resdx.errors import RecipeError, RunError
from resdx.files import read_json, write_bytes, write_json
from resdx.records import from_record, record, set_field, to_record


@record
class Leaf:
    version: ClassVar[int] = 3
    size: int = 4
    share: float = 0.5
    keep: Literal["pad", "crop"] = "pad"
    on: bool = False


@record
class Tree:
    name: str
    leaves: tuple[Leaf, ...] = (Leaf(),)
    pairs: tuple[tuple[str, str], ...] = ()
    limit: float | None = None
    names: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    first: Leaf = Leaf()
    notes: dict[str, int] = field(default_factory=dict)


def test_only_what_differs_from_the_default_is_stored():
    assert to_record(Leaf()) == {"is": "Leaf", "version": 3}
    assert to_record(Tree("oak", leaves=(Leaf(size=9),))) == {
        "is": "Tree",
        "name": "oak",
        "leaves": [{"is": "Leaf", "version": 3, "size": 9}],
    }


def test_what_was_stored_comes_back_through_json():
    tree = Tree(
        "ä oak", (Leaf(2, 0.1, "crop", True), Leaf()), (("a", "b"), ("c", "d")), 1.5, ("x",), (0.1, 1e-9), Leaf(7), {"n": 1}
    )
    assert from_record(json.loads(json.dumps(to_record(tree)))) == tree


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ({"is": "Bush"}, "uses 'Bush', which this version of resdx does not know"),
        ({"is": "Leaf", "version": 2}, "version 2 of Leaf, this resdx has version 3"),
        ({"is": "Leaf"}, "version None of Leaf"),
        ({"is": "Tree", "name": "oak", "height": 3}, "sets Tree.height"),
    ],
)
def test_what_this_version_does_not_know_is_refused(data, what):
    with pytest.raises(RunError, match=what):
        from_record(data)


def test_only_records_and_plain_values_can_be_stored():
    @dataclass(frozen=True)
    class Stranger:
        size: int = 1

    with pytest.raises(RecipeError, match="Stranger is not a registered record"):
        to_record(Stranger())
    with pytest.raises(RecipeError, match="a set cannot be stored"):
        to_record({1, 2})


def test_two_classes_of_one_name_are_refused():
    twin = dataclass(frozen=True)(type("Leaf", (), {"__module__": "elsewhere"}))
    with pytest.raises(RecipeError, match=r"two classes are named Leaf: .*test_records and elsewhere"):
        record(twin)


@pytest.mark.parametrize(
    ("dotted", "text", "value"),
    [
        ("name", "elm", Tree("elm")),
        ("leaves.0.size", "8", Tree("oak", (Leaf(8),))),
        ("leaves.0.keep", "crop", Tree("oak", (Leaf(keep="crop"),))),
        ("first.on", "TRUE", Tree("oak", first=Leaf(on=True))),
        ("limit", "2.5", Tree("oak", limit=2.5)),
        ("limit", "none", Tree("oak")),
        ("names", "a, b,", Tree("oak", names=("a", "b"))),
        ("numbers", "0.1,1e-3", Tree("oak", numbers=(0.1, 0.001))),
    ],
)
def test_field_is_set_by_its_type(dotted, text, value):
    assert set_field(Tree("oak"), dotted, text) == value


@pytest.mark.parametrize(
    ("dotted", "text", "what"),
    [
        ("first.sise", "1", r"no field 'first\.sise'; did you mean first\.size\?"),
        ("colour", "red", "no field 'colour'; there are name, leaves"),
        ("first.size", "many", r"first\.size cannot be 'many': it takes a whole number"),
        ("first.keep", "squash", "it takes 'pad' or 'crop'"),
        ("first.on", "2", "it takes true or false"),
        ("leaves.0", "3", r"leaves\.0 names a whole step; set one of its fields"),
        ("leaves.5.size", "3", r"no field 'leaves\.5\.size'"),
        ("name.size", "3", "name has no parts"),
        ("numbers", "a,b", "numbers cannot be 'a'"),
    ],
)
def test_setting_what_does_not_fit_says_what_would(dotted, text, what):
    with pytest.raises(RecipeError, match=what):
        set_field(Tree("oak"), dotted, text)


def test_file_is_replaced_as_a_whole(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    write_json(tmp_path / "a.json", {"x": "ü"})
    assert read_json(tmp_path / "a.json") == {"x": "ü"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_number_that_json_lacks_is_refused_and_the_old_file_stays(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert read_json(tmp_path / "a.json") == {"x": 1}


def test_write_that_fails_says_so_and_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()  # a folder cannot be replaced by a file, whoever asks
    with pytest.raises(RunError, match=r"taken cannot be written \(.*\); free some space"):
        write_bytes(tmp_path / "taken", b"x")
    with pytest.raises(RunError, match="cannot be written"):
        write_bytes(tmp_path / "absent" / "a.json", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_absent_and_broken_json_are_named(tmp_path):
    with pytest.raises(RunError, match=r"a\.json is not there"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b'{"x": \xff')
    with pytest.raises(RunError, match=r"a\.json cannot be read"):
        read_json(tmp_path / "a.json")
