"""Settings become plain data and come back the same; files are written whole or not at all."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import cloudpickle
import joblib
import numpy as np
import pytest
from annotated_types import Ge, Le, MinLen, Unit

from resdx.errors import RecipeError, RunError
from resdx.files import read_json, write_bytes, write_json
from resdx.recipes.library import get_recipe
from resdx.records import FractionBelow1, Positive, from_record, json_schema, record, set_field, to_record


@record
class Leaf:
    version: ClassVar[int] = 3
    size: int = 4
    share: float = 0.5
    keep: Literal["pad", "crop"] = "pad"
    on: bool = False


@record
class Branch:
    girth = 1
    kind: Literal["oak", "elm", "ash"] = "oak"
    order: Literal[1, 2] = 1
    length: Annotated[int, Ge(1), Le(40), Unit("metres")] = 5
    weight: Positive = 1.5
    bend: FractionBelow1 = 0.0
    alive: bool = True
    rings: Annotated[tuple[Positive, ...], MinLen(1)] = (1.0,)
    leaf: Leaf | None = None
    ends: tuple[float, float] = field(default=(0.0, 1.0), metadata={"stored": "old_ends"})

    def __post_init__(self) -> None:
        if self.kind == "ash" and self.weight < self.length:
            raise RecipeError("an ash is no thinner than it is long")


@record
class Bud:
    """Nothing to set."""


OWN = """
from typing import Annotated

from annotated_types import Ge, Le

from resdx.recipes import Recipe
from resdx.records import record
from resdx.transforms import Resize


@record
class Dim:
    takes = gives = "image"
    by: Annotated[float, Ge(0), Le(1)] = 0.5

    def __call__(self, image):
        return image * self.by


RECIPE = Recipe("own", "Own", prepare=(Resize(32), Dim(by=0.25)))
"""


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
    twin = type("Leaf", (), {"__module__": "elsewhere"})
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


CHECKED = [
    (lambda: Branch(kind="oka"), "Branch.kind cannot be 'oka'; did you mean 'oak'? (oak, elm or ash)"),
    (lambda: Branch(kind="maple"), "Branch.kind cannot be 'maple': it takes 'oak', 'elm' or 'ash'"),
    (lambda: Branch(kind=3), "Branch.kind cannot be 3: it takes 'oak', 'elm' or 'ash'"),
    (lambda: Branch(order=4), "Branch.order cannot be 4: it takes 1 or 2"),
    (lambda: Branch(order=True), "Branch.order cannot be True: it takes 1 or 2"),
    (lambda: Branch(length=0), "Branch.length cannot be 0: it takes a whole number from 1 to 40 metres"),
    (lambda: Branch(length="3"), "Branch.length cannot be '3': it takes a whole number from 1 to 40 metres"),
    (lambda: Branch(length=2.0), "Branch.length cannot be 2.0: it takes a whole number from 1 to 40 metres"),
    (lambda: Branch(length=True), "Branch.length cannot be True: it takes a whole number from 1 to 40 metres"),
    (lambda: Branch(weight=float("nan")), "Branch.weight cannot be nan: it takes a number above 0"),
    (lambda: Branch(weight=float("inf")), "Branch.weight cannot be inf: it takes a number above 0"),
    (lambda: Branch(weight=True), "Branch.weight cannot be True: it takes a number above 0"),
    (lambda: Branch(weight=None), "Branch.weight cannot be None: it takes a number above 0"),
    (lambda: Branch(bend=1), "Branch.bend cannot be 1: it takes a number from 0 to below 1"),
    (lambda: Branch(alive=1), "Branch.alive cannot be 1: it takes true or false"),
    (lambda: Branch(rings=[1.0]), "Branch.rings cannot be [1.0]: it takes a tuple of one or more numbers above 0"),
    (lambda: Branch(rings=()), "Branch.rings cannot be (): it takes a tuple of one or more numbers above 0"),
    (lambda: Branch(rings=(1.0, -2.0)), "Branch.rings cannot hold -2.0: it takes a tuple of one or more numbers above 0"),
    (lambda: Branch(leaf="green"), "Branch.leaf cannot be 'green': it takes Leaf() or None"),
    (lambda: Branch(leaf={"size": 3}), "Branch.leaf cannot be {'size': 3}: it takes Leaf() or None"),
    (lambda: Branch(ends=(1.0,)), "Branch.ends cannot be (1.0,): it takes a pair of numbers"),
    (lambda: Branch(lenght=3), "Branch has no field 'lenght'; did you mean length?"),
    (
        lambda: Branch(girth=3),
        "Branch has no field 'girth'; there are kind, order, length, weight, bend, alive, rings, leaf, ends",
    ),
    (lambda: Bud(size=3), "Bud has no field 'size'; it has none"),
    (lambda: Bud(3), "Bud takes no values, not 1 value by position"),
    (lambda: Leaf(4, 0.5, "pad", False, 7), "Leaf takes size, share, keep and on, not 5 values by position"),
    (lambda: Leaf(4, size=4), "Leaf.size is given twice, by position and by name; leave one out"),
    (lambda: Leaf("pad"), "Leaf.size cannot be 'pad': it takes a whole number"),
    (lambda: Tree(), "Tree.name is missing: it takes a string"),
    (lambda: Tree(nam="oak"), "Tree has no field 'nam'; did you mean name?"),
    (lambda: replace(Branch(), length=41), "Branch.length cannot be 41: it takes a whole number from 1 to 40 metres"),
    (lambda: set_field(Branch(), "kind", "ellm"), "kind cannot be 'ellm'; did you mean 'elm'? (oak, elm or ash)"),
    (lambda: set_field(Branch(), "order", "3"), "order cannot be '3': it takes 1 or 2"),
    (lambda: set_field(Branch(), "length", "-3"), "Branch.length cannot be -3: it takes a whole number from 1 to 40 metres"),
    (lambda: Branch(length=3, weight=2.0, kind="ash"), "an ash is no thinner than it is long"),
]


@pytest.mark.parametrize(("make", "what"), CHECKED, ids=[what[:60] for _, what in CHECKED])
def test_value_that_does_not_fit_is_refused_in_one_sentence(make, what):
    with pytest.raises(RecipeError) as caught:
        make()
    assert str(caught.value) == what


def test_long_value_is_cut_in_the_message():
    with pytest.raises(RecipeError) as caught:
        Branch(length="x" * 500)
    assert len(str(caught.value)) < 200


def test_whole_numbers_do_for_fractional_ones_and_stay_as_they_were_written():
    branch = Branch(weight=2, rings=(1, 2.5))
    assert repr(branch.weight) == "2" and repr(branch.rings) == "(1, 2.5)"
    assert json.dumps(to_record(branch)) == '{"is": "Branch", "weight": 2, "rings": [1, 2.5]}'
    assert set_field(branch, "order", "2").order == 2


def test_scalars_of_numpy_become_those_of_python():
    branch = Branch(length=np.int64(3), weight=np.float32(0.5), alive=np.bool_(True), rings=(np.float64(1.5), np.int32(2)))
    assert repr(branch) == repr(Branch(length=3, weight=0.5, alive=True, rings=(1.5, 2)))
    with pytest.raises(RecipeError, match=r"Branch\.length cannot be 3\.0: it takes a whole number"):
        Branch(length=np.float64(3))


def test_record_is_a_frozen_dataclass():
    branch = Branch(length=7, leaf=Leaf(2))
    with pytest.raises(FrozenInstanceError):
        branch.length = 3
    assert eval(repr(branch)) == branch and len({branch, Branch(length=7, leaf=Leaf(2)), Branch()}) == 2
    assert [one.name for one in fields(Branch)][:2] == ["kind", "order"] and asdict(branch)["leaf"]["size"] == 2
    assert str(inspect.signature(Leaf)).startswith("(size: 'int' = 4, share: 'float' = 0.5")
    assert Bud.__doc__ == "Nothing to set." and Branch.girth == 1


def test_class_that_is_a_dataclass_already_is_refused():
    with pytest.raises(RecipeError, match="Twig is a dataclass already; leave out @dataclass, which @record brings along"):

        @record
        @dataclass(frozen=True)
        class Twig:
            size: int = 1


def test_records_reach_workers():
    made = joblib.Parallel(2)(joblib.delayed(replace)(branch, length=9) for branch in (Branch(), Branch(leaf=Leaf(3))))
    assert made == [Branch(length=9), Branch(leaf=Leaf(3), length=9)]


def test_records_of_a_file_of_ones_own_travel_with_their_class(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    step = get_recipe(str(tmp_path / "own.py")).prepare[-1]
    (tmp_path / "step.pkl").write_bytes(cloudpickle.dumps(step))
    code = f"import pickle; step = pickle.load(open({str(tmp_path / 'step.pkl')!r}, 'rb')); print(step); type(step)(by=2)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert said.stdout == "Dim(by=0.25)\n"
    assert said.stderr.endswith("resdx.errors.RecipeError: Dim.by cannot be 2: it takes a number from 0 to 1\n")


def test_schema_says_how_a_record_is_stored():
    schema = json_schema(Branch)
    properties = schema["properties"]
    assert properties["is"] == {"const": "Branch"} and schema["required"] == ["is"] and schema["additionalProperties"] is False
    assert properties["length"].items() >= {"type": "integer", "minimum": 1, "maximum": 40, "default": 5}.items()
    assert properties["kind"].items() >= {"enum": ["oak", "elm", "ash"], "default": "oak"}.items()
    assert properties["old_ends"]["default"] == [0.0, 1.0] and "ends" not in properties
    assert schema["$defs"]["Leaf"]["properties"]["version"] == {"const": 3}
    assert json_schema(Tree)["required"] == ["is", "name"]


EXAMPLES = {told["is"]: told for told in reversed(read_json(Path(__file__).parent / "golden" / "records.json"))}


def wrong_values(kind):
    """Values that a type cannot take."""
    if kind is Any:
        return
    yield object()
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        yield "adma"
    elif get_origin(kind) is tuple:
        yield [1]
    elif kind in (int, float, bool, str):
        yield from {
            int: (True, 1.5, "3", None),
            float: (True, "0.1", float("nan"), float("-inf")),
            bool: (1, "yes"),
            str: (3, None),
        }[kind]


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_field_of_every_record_is_checked(name):
    get_recipe("mammograms"), get_recipe("pneumonia_off_the_shelf")  # which have a record of their own
    value = from_record(EXAMPLES[name])
    kinds = get_type_hints(type(value), include_extras=True)
    for one in fields(value):
        for wrong in wrong_values(kinds[one.name]):
            with pytest.raises(RecipeError) as caught:
                replace(value, **{one.name: wrong})
            assert str(caught.value).startswith(f"{type(value).__name__}.{one.name} cannot be ") and "\n" not in str(caught.value)
    with pytest.raises(RecipeError, match=f"^{type(value).__name__} has no field 'no_such_field'; "):
        type(value)(no_such_field=1)


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
