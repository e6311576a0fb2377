"""The audit on made pictures, each with one planted defect."""

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.ndimage import gaussian_filter

from resdx.apps.cli.main import cli
from resdx.data.audit.audit import Audit, audit, open_stops
from resdx.data.audit.file_facts import look
from resdx.data.cases import Case, Finding, Manifest
from resdx.data.persons import count_persons
from resdx.data.sources.listing import with_groups
from resdx.runs.run import Run
from resdx.studies.stages import repeat
from resdx.studies.start import start
from resdx.transforms.readers.image import ReadImage

SIDE = 96


def pixels(seed):
    draw = np.random.default_rng(seed)
    both = sum(gaussian_filter(draw.normal(size=(SIDE, SIDE)), s) * s for s in (2, 4, 8))
    return np.uint8(40 + 170 * (both - both.min()) / np.ptp(both))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """120 different films."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(120):
        Image.fromarray(pixels(number)).save(folder / f"{number}.png")
    return folder


def cases(count=48, **fields):
    """`count` cases, each of its own person, two classes in turn."""
    rows = [Case(id=f"c{i}", path=f"{i}.png", group=f"p{i}", labels=(("normal", "ill")[i % 2],)) for i in range(count)]
    return [replace(row, **{name: value(i) for name, value in fields.items()}) for i, row in enumerate(rows)]


def found(root, rows):
    result = audit(Manifest(root, tuple(rows)), ReadImage(), processes=1)
    return {finding.code: finding for finding in result.findings}, result


def add(root, name, image, **options):
    Image.fromarray(image).save(root / name, **options)
    return name


def test_a_clean_set_raises_nothing(root):
    findings, result = found(root, cases())
    assert not findings and not result.clusters and not result.unreadable and len(result.facts) == 48


def test_a_broken_file_is_listed_and_the_rest_goes_on(root):
    (root / "broken.png").write_bytes((root / "0.png").read_bytes()[:500])
    findings, result = found(root, [*cases(), Case("bad", "broken.png", "x", ("ill",)), Case("gone", "none.png", "y", ("ill",))])
    assert findings["unreadable"].grade == "look" and findings["unreadable"].cases == ("bad", "gone")
    assert [case for case, _ in result.unreadable] == ["bad", "gone"] and len(result.facts) == 48


def test_many_broken_files_stop(root):
    (root / "broken.png").write_bytes(b"")
    bad = [Case(f"bad{i}", "broken.png", f"x{i}", ("ill",)) for i in range(20)]
    assert found(root, [*cases(), *bad])[0]["unreadable"].grade == "stop"


def test_a_copy_in_the_same_class_and_person_is_a_note(root):
    findings, result = found(root, [*cases(), Case("copy", "0.png", "p0", ("normal",))])
    assert set(findings) == {"exact-copies"} and findings["exact-copies"].figures["copies"] == 1
    assert result.clusters == (("c0", "copy"),)


def test_one_picture_under_two_persons_and_two_classes(root):
    name = add(root, "mirror.png", pixels(2)[:, ::-1])
    findings, _ = found(root, [*cases(), Case("mirror", name, "other", ("ill",))])
    assert set(findings) == {"near-duplicates", "copies-across-classes", "copies-across-persons"}
    assert findings["copies-across-classes"].grade == "look" and "c2 = mirror" in findings["copies-across-classes"].text


@pytest.mark.parametrize(("whose", "grade"), [("p{}", "note"), ("other{}", "look"), ("", "look")])
def test_pictures_that_are_nearly_the_same_are_graded_by_whether_they_show_one_person(root, whose, grade):
    mirrored = [add(root, f"mirror{i}.png", pixels(i)[:, ::-1]) for i in range(4)]
    rows = cases()
    more = [replace(rows[i], id=f"m{i}", path=path, group=whose.format(i)) for i, path in enumerate(mirrored)]
    if not whose:
        rows = [replace(row, group="") for row in rows]
    found_it = found(root, [*rows, *more])[0]["near-duplicates"]
    assert found_it.grade == grade and ("All are of one person each" in found_it.text) == (grade == "note")


def test_many_identical_files_in_two_classes_stop(root):
    copies = [Case(f"copy{i}", f"{i}.png", f"p{i}", (("ill", "normal")[i % 2],)) for i in range(4)]
    assert found(root, [*cases(), *copies])[0]["copies-across-classes"].grade == "stop"


def test_label_sets_of_one_picture_may_not_differ(root):
    rows = cases(labels=lambda i: ("a", "b")[: i % 3])
    same = replace(rows[4], id="same", path="4.png")
    other = replace(rows[5], id="other", labels=("a",))
    assert "copies-across-classes" not in found(root, [*rows, same])[0]
    assert found(root, [*rows, other])[0]["copies-across-classes"].cases == ("c5", "other")


def test_a_copy_that_was_not_assessed_contradicts_nothing(root):
    findings, _ = found(root, [*cases(), Case("copy", "0.png", "p0", None)])
    assert set(findings) == {"exact-copies", "not-assessed"}


def test_copies_in_two_shipped_parts_give_the_share_of_the_test_part(root):
    rows = cases(part=lambda i: "test" if i < 12 else "train")
    findings, _ = found(root, [*rows, Case("copy", "3.png", "p3x", ("ill",), part="train")])
    assert findings["copies-across-parts"].figures == {"sets": 1, "test": 1, "test_share": 1 / 12, "dropped": 1}


def test_an_id_that_restarts_in_each_part_is_told_from_a_person_in_both(root):
    rows = cases(group=lambda i: f"p{i % 24}", part=lambda i: "test" if i < 24 else "train")
    findings, _ = found(root, rows)
    assert findings["id-may-restart"].figures["sets"] == 24 and "persons-across-parts" not in findings
    person = gaussian_filter(np.random.default_rng(7).normal(size=(24, SIDE, SIDE)), (0, 12, 12)) * 3000
    for i in range(48):
        add(root, f"person{i}.png", np.uint8(np.clip(pixels(i) * 0.35 + 60 + person[i % 24], 0, 255)))
    findings, _ = found(root, [replace(row, path=f"person{i}.png") for i, row in enumerate(rows)])
    assert "persons-across-parts" in findings and "id-may-restart" not in findings
    assert findings["persons-across-parts"].grade == "look"


def test_a_person_with_two_classes_is_a_look_unless_it_is_the_rule(root):
    rows = cases(group=lambda i: f"p{i // 4}", labels=lambda i: ("ill" if i // 4 % 2 or i == 0 else "normal",))
    assert found(root, rows)[0]["persons-across-classes"].grade == "look"
    assert found(root, cases(group=lambda i: f"p{i // 4}"))[0]["persons-across-classes"].grade == "note"


def test_no_persons_is_a_note(root):
    findings, _ = found(root, cases(group=lambda i: ""))
    assert set(findings) == {"no-person-id"} and findings["no-person-id"].grade == "note"


def test_persons_in_names_are_told_with_the_pattern_that_finds_them(root):
    person = gaussian_filter(np.random.default_rng(7).normal(size=(16, SIDE, SIDE)), (0, 12, 12)) * 3000
    rows = [
        replace(row, path=f"p{i // 3}_{i % 3}.png")
        for i, row in enumerate(cases(group=lambda i: "", labels=lambda i: ("ill" if i // 3 % 2 else "normal",)))
    ]
    for i, row in enumerate(rows):
        add(root, row.path, np.uint8(np.clip(pixels(i) * 0.35 + 60 + person[i // 3], 0, 255)))
    told = found(root, rows)[0]["names-may-be-persons"]
    assert told.grade == "look" and "more alike than others" in told.text and "c24, c25, c26" in told.text
    pattern = shlex.split(told.text.partition("source.group=")[2])[0]
    assert told.figures["persons"] == len({case.group for case in with_groups(rows, pattern)}) == 16
    findings, _ = found(root, with_groups(rows, pattern))
    assert "names-may-be-persons" not in findings and "no-person-id" not in findings


def test_eyes_of_a_person_need_not_be_alike_to_be_told(root):
    rows = [replace(row, path=f"{i // 2}_{('left', 'right')[i % 2]}.png") for i, row in enumerate(cases(group=lambda i: ""))]
    for i, row in enumerate(rows):
        add(root, row.path, pixels(i))
    assert found(root, rows)[0]["names-may-be-persons"].figures["persons"] == 24
    known = [replace(row, group="p1") if i == 3 else row for i, row in enumerate(rows)]
    assert "names-may-be-persons" not in found(root, known)[0]


def test_names_whose_other_files_are_all_broken_tell_nobody(root):
    rows = [replace(row, path=f"half{i // 2}_{i % 2}.png") for i, row in enumerate(cases(group=lambda i: ""))]
    for i, row in enumerate(rows):
        add(root, row.path, pixels(i)) if i % 2 else (root / row.path).write_bytes(b"no picture")
    findings, _ = found(root, rows)
    assert "unreadable" in findings and "names-may-be-persons" not in findings


def test_random_names_and_names_of_many_classes_are_no_persons(root):
    draw = np.random.default_rng(3)
    letters = np.array(list("0123456789abcdef"))
    rows = cases(100, group=lambda i: "")
    hashes = [replace(row, path=f"x{i % 30}{''.join(draw.choice(letters[10:], 9))}.png") for i, row in enumerate(rows)]
    kinds = [replace(row, path=f"kind{i % 12}/{i}.png", labels=(f"kind{i % 12}",)) for i, row in enumerate(rows)]
    for some in (hashes, kinds):
        for i, row in enumerate(some):
            (root / row.path).parent.mkdir(exist_ok=True)
            add(root, row.path, pixels(i))
        assert "names-may-be-persons" not in found(root, some)[0]


@pytest.mark.parametrize(("persons", "grade"), [(2, "stop"), (6, "look")])
def test_a_class_with_few_persons(root, persons, grade):
    rows = cases(labels=lambda i: ("rare" if i < persons else ("normal", "ill")[i % 2],))
    assert found(root, rows)[0]["too-few-persons"].grade == grade


def test_another_class_balance_in_the_test_part_is_a_note(root):
    findings, _ = found(
        root, cases(60, part=lambda i: "test" if i % 3 == 0 else "train", labels=lambda i: ("ill" if i % 3 == 0 else "normal",))
    )
    assert findings["part-balance"].grade == "note"


def test_a_class_from_one_source_stops(root):
    findings, result = found(root, cases(120, source=lambda i: ("clinic", "web")[i % 2]))
    assert findings["one-source-class"].grade == "stop" and findings["source-determines-class"].grade == "stop"
    assert open_stops(result, []) and not open_stops(result, ["one-source-class", "source-determines-class"])
    assert not found(root, cases(source=lambda i: ("clinic", "web")[i // 2 % 2]))[0]


def test_a_size_that_gives_the_class_away_stops(root):
    for i in range(120):
        add(root, f"size{i}.png", pixels(i)[: 90 if i % 2 else None])
    findings, _ = found(root, cases(120, path=lambda i: f"size{i}.png"))
    assert findings["file-determines-class"].grade == "stop"


def test_brightness_that_gives_the_class_away_is_only_a_look(root):
    for i in range(48):
        add(root, f"bright{i}.png", pixels(i) // 2 + (100 if i % 2 else 0))
    findings, _ = found(root, cases(path=lambda i: f"bright{i}.png"))
    assert findings["brightness-tells-class"].grade == "look" and "file-determines-class" not in findings


def test_the_audit_survives_json(root):
    _, result = found(root, [*cases(), Case("copy", "0.png", "p0", ("ill",)), Case("gone", "none.png", "y", ("ill",))])
    assert Audit.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_facts_are_those_of_the_file(root):
    name = add(root, "colour.jpg", np.stack([pixels(1)] * 3, 2)[:50])
    fact = look({"it": str(root / name)}, ReadImage(), processes=1).facts[0]
    assert (fact.width, fact.height, fact.format, fact.mode, fact.bits) == (SIDE, 50, "JPEG", "RGB", 8)
    assert fact.brightness == pytest.approx(pixels(1)[:50].mean() / 255, abs=0.01)


def test_workers_see_what_one_process_sees(root):
    paths = {f"{i}": str(root / f"{i % 120}.png") for i in range(300)}
    done = []
    many = look(paths, ReadImage(), processes=2, progress=lambda count, of: done.append((count, of)))
    one = look(paths, ReadImage(), processes=1)
    assert many.facts == one.facts and done[-1] == (300, 300)
    np.testing.assert_array_equal(many.thumbnails, one.thumbnails)


def test_accepted_codes_open_the_way():
    stop = Finding("one-source-class", "stop", "text")
    assert open_stops(Audit((stop,)), ()) == (stop,) and open_stops(Audit((stop,)), ("one-source-class",)) == ()


def test_what_the_audit_says_of_persons_in_names_works_as_it_is_printed(tmp_path):
    draw = np.random.default_rng(0)
    for i in range(48):
        folder = tmp_path / "films" / ("ill", "normal")[i // 3 % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (40, 40), np.uint8)).save(folder / f"P{i // 3:02d}_{i % 3}.png")
    (tmp_path / "films" / "ill" / "P00_9.png").write_bytes(b"no picture")
    run = start(tmp_path / "films", out=tmp_path / "run", quiet=True)
    for name in ("scan", "audit"):
        repeat(Run.open(run.path, quiet=True), name)
    found = {one["code"]: one["text"] for one in Run.open(run.path, quiet=True).read("audit.json", "audit")["findings"]}
    asked = shlex.split(found["names-may-be-persons"].partition("or with ")[2])
    for more in (asked, ["--recipe", "plain:features", *asked]):
        out = tmp_path / f"told-{len(more)}"
        told = CliRunner().invoke(cli, ["scan", str(tmp_path / "films"), "--out", str(out), "--json", *more])
        assert told.exit_code == 0, told.output
        assert count_persons(Run.open(out, quiet=True).manifest.cases) == 16
