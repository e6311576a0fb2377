"""What goes into a corpus: who is reserved, what is left out and why, and what is refused."""

import hashlib
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import TINY

from resdx.data.audit.audit import Audit
from resdx.data.cases import Case
from resdx.data.persons import units
from resdx.data.phantoms import draw_phantoms
from resdx.errors import AuditStop, DataError
from resdx.models.packed import Seen
from resdx.runs.provenance import hash_bytes
from resdx.runs.run import Run
from resdx.studies.stages import repeat
from resdx.studies.start import start
from resdx.training.pretraining.corpus import Member, gather, is_reserved, sort_out


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """Phantoms of 30 persons with a shipped test part, audited."""
    folder = tmp_path_factory.mktemp("corpus")
    draw_phantoms(folder / "films", persons=30, size=48, test_share=0.3, seed=5)
    start(folder / "films", recipe=TINY, out=folder / "run", quiet=True)
    repeat(Run.open(folder / "run", quiet=True), "scan")
    repeat(Run.open(folder / "run", quiet=True), "audit")
    return Run.open(folder / "run", quiet=True)


def case(name, group="", part="", labels=("ill",)):
    return Case(name, f"{name}.png", group=group, labels=labels, part=part)


def test_one_name_in_five_is_reserved_by_its_sha256():
    names = [f"p{i}" for i in range(2000)]
    assert is_reserved("p1") == (int(hashlib.sha256(b"p1").hexdigest(), 16) % 5 == 0)
    assert np.mean([is_reserved(name) for name in names]) == pytest.approx(0.2, abs=0.03)


def test_a_reserved_person_takes_the_persons_joined_to_it_along():
    names = [f"p{i}" for i in range(50)]
    kept = next(name for name in names if is_reserved(name))
    free = next(name for name in names if not is_reserved(name))
    cases = [case("a", kept), case("b", free), case("c", free)]
    assert [one.id for one in sort_out(cases, Audit(()))["reserved"]] == ["a"]
    joined = sort_out(cases, Audit((), clusters=(("a", "b"),)))
    assert [one.id for one in joined["reserved"]] == ["a", "b", "c"]


def test_a_shipped_test_part_is_left_out_with_what_it_shares():
    p1, p2, p3, p4 = [name for name in map("p{}".format, range(20)) if not is_reserved(name)][:4]
    cases = [case("a", p1, "test"), case("b", p1), case("c", p2), case("d", p3), case("e", p4, labels=None)]
    found = sort_out(cases, Audit((), clusters=(("a", "c"),), unreadable=()))
    assert {why: [one.id for one in those] for why, those in found.items() if those} == {
        "learnt": ["d"],
        "shipped test part": ["a"],
        "shares a person or picture with the shipped test part": ["b", "c"],
        "not assessed": ["e"],
    }
    assert [one.id for one in sort_out(cases, Audit(()), labels=False)["learnt"]] == ["c", "d", "e"]


def test_every_case_is_somewhere_and_no_unit_is_on_two_sides():
    rng = np.random.default_rng(0)
    cases = [case(f"c{i}", f"p{rng.integers(40)}") for i in range(120)]
    clusters = tuple((f"c{a}", f"c{b}") for a, b in rng.integers(120, size=(10, 2)) if a != b)
    found = sort_out(cases, Audit((), clusters=clusters))
    assert sum(map(len, found.values())) == len(cases)
    unit = dict(zip((one.id for one in cases), units(cases, clusters), strict=True))
    assert not {unit[one.id] for one in found["learnt"]} & {unit[one.id] for one in found["reserved"]}


def test_the_corpus_holds_pictures_targets_and_hashes_of_what_is_learnt(audited):
    corpus = gather([Member(audited, "films", "CC0"), Member(audited, "again", weight=4.0)], 32)
    first = corpus.pools[0]
    test = sum(one.part == "test" for one in audited.manifest.cases)
    assert first.left_out["shipped test part"] == test
    assert len(first.rows) == len(first.targets) == len(first.sha256) == len(first.ids)
    assert len(first.rows) + len(first.reserved) + sum(first.left_out.values()) == len(audited.manifest)
    assert first.pictures.images.shape[1:3] == (32, 32) and corpus.first == (0, 2, 4)
    files = {hashlib.sha256(path.read_bytes()).digest() for path in Path(audited.settings.data).rglob("*.png")}
    assert {row.tobytes() for row in first.sha256} <= files
    assert corpus.chance.tolist() == pytest.approx([0.2, 0.8])
    assert set(first.keys) & set(corpus.pools[1].keys) == set()  # the same picture in two sets is varied differently


def test_what_the_starting_weights_have_seen_is_reserved_no_more_and_must_not_be_a_targets_test(audited, tmp_path):
    facts = {fact.case: fact for fact in audited.read_as("audit.json", "audit", Audit.from_json).facts}
    plain = gather([Member(audited, "films")], 32).pools[0]
    reserved = next(one.id for one in sort_out(audited.manifest.cases, Audit(()))["reserved"])
    known = Seen({}, *(hash_bytes([getattr(facts[reserved], name)]) for name in ("sha256", "hash")))
    pool = gather([Member(audited, "films")], 32, known=known).pools[0]
    assert len(plain.reserved) - len(pool.reserved) == pool.left_out["reserved, but seen by the starting weights"] >= 1
    assert set(pool.reserved) < set(plain.reserved) and np.array_equal(pool.rows, plain.rows)
    target = start(audited.settings.data, recipe=TINY, out=tmp_path / "target", quiet=True)
    for name in ("scan", "audit", "split"):
        repeat(Run.open(target.path, quiet=True), name)
    target = Run.open(target.path, quiet=True)
    tested = target.cases("test")[0].id
    known = Seen({}, *(hash_bytes([getattr(facts[tested], name)]) for name in ("sha256", "hash")))
    draw_phantoms(tmp_path / "other", persons=20, size=48, seed=77)
    run = start(tmp_path / "other", recipe=TINY, out=tmp_path / "run", quiet=True)
    for name in ("scan", "audit"):
        repeat(Run.open(run.path, quiet=True), name)
    with pytest.raises(
        DataError, match=r"starting weights have learnt from holds 1 picture of the test part .*; start from others"
    ):
        gather([Member(Run.open(run.path, quiet=True), "other")], 32, targets=[target], known=known)


def test_draws_follow_from_seed_and_step_alone(audited):
    corpus = gather([Member(audited, "films"), Member(audited, "again")], 32)
    one, two, other = corpus.draw(64, 0, 7), corpus.draw(64, 0, 7), corpus.draw(64, 0, 8)
    assert all(a == c and np.array_equal(b, d) for (a, b), (c, d) in zip(one, two, strict=True))
    assert sum(len(at) for _, at in one) == 64
    assert not all(np.array_equal(b, d) for (_, b), (_, d) in zip(one, other, strict=False))


def test_a_set_that_holds_a_targets_test_pictures_is_refused_by_name(study):
    with pytest.raises(DataError, match=r"films holds \d+ pictures of the test part of .*; leave the set out"):
        gather([Member(study.run, "films")], 32, targets=[study.run])


def copied(folder, root, cases):
    """An audited run on copies of some cases, whose persons keep their names."""
    rows = []
    for i, one in enumerate(cases):
        (folder / "copies").mkdir(exist_ok=True)
        shutil.copy(root / one.path, folder / "copies" / f"{i}.png")
        rows.append(f"x{i},copies/{i}.png,{one.label},{one.group}")
    (folder / "copies.csv").write_text("\n".join(["id,path,labels,group", *rows]) + "\n")
    run = start(folder / "copies.csv", recipe=replace(TINY, source=None), out=folder / "run", quiet=True)
    repeat(run, "scan")
    with suppress(AuditStop):  # few persons in a class do not matter here
        repeat(Run.open(run.path, quiet=True), "audit")
    return Run.open(run.path, quiet=True)


def test_a_set_that_holds_another_picture_of_a_targets_test_person_is_refused(study, tmp_path):
    test = {case.id: case.group for case in study.run.cases("test")}
    manifest = study.run.manifest
    others = [one for one in manifest.cases if one.group in test.values() and one.id not in test and not is_reserved(one.group)]
    assert not others  # a split keeps a person's pictures together, so another one has to be drawn
    films = [one for one in manifest.cases if one.group in test.values()]
    for one in films:
        turned = Image.open(manifest.root / one.path).rotate(180)  # the perceptual hashes differ, and so do the pictures
        (tmp_path / "turned" / one.path).parent.mkdir(parents=True, exist_ok=True)
        turned.save(tmp_path / "turned" / one.path)
    run = copied(tmp_path, tmp_path / "turned", films)
    with pytest.raises(DataError, match=r"copies holds \d+ (pictures|persons) of the test part of .*; leave the set out"):
        gather([Member(run, "copies")], 32, targets=[study.run])


def test_what_one_set_keeps_for_a_test_is_left_out_of_the_others(audited, tmp_path):
    shipped = [one for one in audited.manifest.cases if one.part == "test"]
    others = [one for one in audited.manifest.cases if one.part != "test"][:30]
    copies = copied(tmp_path, audited.manifest.root, [*shipped, *others])
    alone = gather([Member(copies, "copies")], 32).pools[0]
    beside = gather([Member(audited, "films"), Member(copies, "copies")], 32).pools[1]
    learnt = {row.tobytes() for row in beside.sha256}
    tested = {hashlib.sha256((audited.manifest.root / one.path).read_bytes()).digest() for one in shipped}
    assert not learnt & tested
    assert len(alone.rows) - len(beside.rows) == beside.left_out["kept for a test by another set"] > 0


def test_two_sets_of_one_name_and_a_set_without_cases_are_refused(audited):
    with pytest.raises(DataError, match="two sets are called films"):
        gather([Member(audited, "films"), Member(audited, "films")], 32)
    everyone = audited.manifest.cases
    assert not sort_out([replace(one, part="test") for one in everyone], Audit(()))["learnt"]
