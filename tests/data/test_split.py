"""Splits: persons whole, classes alike, shipped test parts untouched, leaks found."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from resdx.data.cases import Case, Manifest
from resdx.data.persons import persons, units
from resdx.data.split import PARTS, SHARES, RandomImages, ShippedParts, grouped_folds, part_hash, split
from resdx.errors import DataError


def manifest(*cases):
    return Manifest(Path(), cases)


def some_persons(count=200, images=3, classes=("well", "sick"), part=""):
    """`images` cases a person, persons of the classes in turn."""
    return [
        Case(f"{part}{p}-{i}", f"{part}{p}-{i}.png", group=f"{part}P{p}", labels=(classes[p % len(classes)],), part=part)
        for p in range(count)
        for i in range(images)
    ]


def where(result, cases):
    """group -> parts it is in."""
    out = defaultdict(set)
    for case in cases:
        out[case.group or case.id].add(result.parts[case.id])
    return out


# Units


def test_persons_and_clusters_join_transitively():
    cases = [Case(str(k), "x", group=group) for k, group in enumerate(("A", "B", "", "A", "C", ""))]
    joined = units(cases, [("1", "2"), ("0", "1", "gone")])
    assert len({joined[k] for k in (0, 1, 2, 3)}) == 1
    assert len({joined[0], joined[4], joined[5]}) == 3


def test_person_is_the_group_else_the_cluster_else_the_case():
    cases = [Case("a", "x", group="P1"), Case("b", "x"), Case("c", "x"), Case("d", "x")]
    assert persons(cases, [("b", "c")]) == {"a": "P1", "b": "like b", "c": "like b", "d": "case d"}
    assert persons(cases, [("d", "a")]) == {"a": "P1", "b": "case b", "c": "case c", "d": "P1"}


def test_persons_joined_by_near_duplicates_count_as_one_and_a_finding_says_how_many():
    cases = some_persons(60, 2)
    result = split(manifest(*cases), [("0-0", "1-0"), ("1-1", "2-0"), ("7-0", "7-1")])
    joined = {result.persons[case.id] for case in cases if case.group in ("P0", "P1", "P2")}
    assert joined == {"P0 (and 2 more)"} and len(set(result.persons.values())) == 58
    (finding,) = result.findings
    assert (finding.code, finding.grade, len(finding.cases)) == ("persons-joined", "note", 6)
    assert finding.text.startswith("3 persons joined by near-duplicates of their pictures count as 1")


# Honest splits


def test_shares_hold_for_every_class():
    cases = some_persons(400, 2, ("well", "well", "well", "sick"))
    result = split(manifest(*cases), ())
    for label in ("well", "sick"):
        of_class = [case for case in cases if case.label == label]
        counts = Counter(result.parts[case.id] for case in of_class)
        for part, share in zip(PARTS, SHARES, strict=True):
            assert abs(counts[part] / len(of_class) - share) < 0.02, (label, part)
    assert all(len(parts) == 1 for parts in where(result, cases).values())
    assert result.rule == "honest: by person, stratified" and result.findings == ()


def test_same_seed_same_split_and_another_seed_another():
    cases = some_persons(60)
    first, again, other = (split(manifest(*cases), (), seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first.parts != other.parts


def test_persons_with_many_images_go_to_every_part():
    rng = np.random.default_rng(0)
    cases = [
        Case(f"{p}-{i}", "x", group=f"P{p}", labels=("ab"[p % 2],))
        for p in range(150)
        for i in range(int(rng.lognormal(2, 1)) + 1)
    ]
    sizes = Counter(case.group for case in cases)
    means = defaultdict(list)
    for seed in range(10):
        result = split(manifest(*cases), (), seed=seed)
        part = {case.group: result.parts[case.id] for case in cases}
        for name in PARTS:
            means[name].append(np.mean([size for group, size in sizes.items() if part[group] == name]))
    overall = np.mean(list(sizes.values()))
    assert all(0.6 < np.mean(means[name]) / overall < 1.6 for name in PARTS)


def test_duplicates_of_different_persons_stay_together():
    cases = some_persons(100, 1)
    clusters = [(f"{k}-0", f"{k + 1}-0") for k in range(0, 100, 5)]
    result = split(manifest(*cases), clusters)
    assert all(result.parts[a] == result.parts[b] for a, b in clusters)


def test_cases_that_are_not_assessed_or_unreadable_take_no_part():
    cases = [*some_persons(40), Case("todo", "x", group="P1")]
    result = split(manifest(*cases), (), exclude=("0-0",))
    assert result.parts["todo"] == result.parts["0-0"] == ""
    assert list(result.parts) == [case.id for case in cases]


def test_shipped_test_part_is_not_altered_and_what_touches_it_is_removed():
    train, test = some_persons(100, part="train"), some_persons(30, part="test")
    same_person = replace(train[0], id="again", group=test[0].group)
    result = split(manifest(*train, same_person, *test), [(train[7].id, test[5].id)])
    assert set(result.ids("test")) == {case.id for case in test}
    cluster = {case.id for case in train if case.group == train[7].group}
    assert {case for case, part in result.parts.items() if not part} == {"again", *cluster}
    finding, joined = result.findings
    assert joined.code == "persons-joined" and joined.text.startswith("2 persons joined")
    assert (finding.code, set(finding.cases)) == ("removed-from-training", {"again", *cluster})
    assert finding.text.startswith(f"{1 + len(cluster)} cases outside the shipped test part")
    share = len(result.ids("train")) / (len(train) - len(cluster))
    assert abs(share - SHARES[0] / (1 - SHARES[3])) < 0.03


def test_shipped_validation_part_is_learnt_from():
    cases = [*some_persons(60, part="train"), *some_persons(20, part="val"), *some_persons(20, part="test")]
    assert all(split(manifest(*cases), ()).parts.values())


def test_split_without_persons_says_so():
    cases = [replace(case, group="") for case in some_persons(60)]
    assert "no person ids, so near-duplicate clusters stand for persons" in split(manifest(*cases), ()).rule


def test_too_few_persons_of_a_class_name_the_class():
    rare = [Case(f"r{k}", "x", group=f"R{k % 2}", labels=("rare",)) for k in range(8)]
    with pytest.raises(DataError, match="class 'rare' has 2 persons outside the test part; it takes 3"):
        split(manifest(*some_persons(40), *rare), ())


@pytest.mark.parametrize("new", [2, 0])
def test_too_few_persons_whom_the_weights_have_not_seen_name_the_class(new):
    rare = [Case(f"r{k}", "x", group=f"R{k}", labels=("rare",)) for k in range(8)]
    known = [case.id for case in rare[new:]]
    with pytest.raises(
        DataError, match=f"'rare' has {new} persons outside .* that the starting weights have not seen;.*--weights none"
    ):
        split(manifest(*some_persons(40), *rare), (), learnt=known)


def test_a_shipped_test_part_leaves_two_persons_of_a_class_enough():
    tested = [replace(case, id=f"t{case.id}", group=f"T{case.group}") for case in some_persons(12, part="test")]
    rare = [Case(f"r{k}", "x", group=f"R{k % 2}", labels=("rare",)) for k in range(8)]
    result = split(manifest(*some_persons(40), *tested, *rare), ())
    assert {result.parts[case.id] for case in tested} == {"test"} and "train" in {result.parts[case.id] for case in rare}
    with pytest.raises(DataError, match="class 'rare' has 1 person outside the test part; it takes 2"):
        split(manifest(*some_persons(40), *tested, *rare[::2]), ())


def test_calib_of_one_class_stops_before_training():
    one_sick = [replace(case, labels=("sick" if case.group == "P0" else "well",)) for case in some_persons(40, 1)]
    with pytest.raises(DataError, match=r"calib would hold \d+ cases, all of class 'well'.*frozen features"):
        split(manifest(*one_sick), [], protocol="assumed", published=RandomImages(test=0.2, seed=1))


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(DataError, match="no case outside the test part has a label"):
        split(manifest(*some_persons(20, part="test")), ())


# Train and test alone, where out-of-fold scores are cheap


@pytest.mark.parametrize("kind", ["dealt", "shipped", "fold"])
def test_small_split_for_cross_fitting_has_train_and_the_same_test_part(kind):
    cases = some_persons(200)
    if kind == "shipped":
        cases = [replace(case, part="test" if k < 90 else "") for k, case in enumerate(cases)]
    four, two = (split(manifest(*cases), (), fold=1 if kind == "fold" else None, cross_fit=fit) for fit in (False, True))
    calib = len({four.persons[case] for case in four.ids("calib")})
    assert 15 < calib < 100 and two.ids("test") == four.ids("test")
    assert set(two.ids("train")) == {*four.ids("train"), *four.ids("tune"), *four.ids("calib")}
    assert f"no tune and calib, which would hold {calib} persons: cross-fitted out-of-fold scores of train" in two.rule


def test_calib_of_a_hundred_persons_stays_a_part_of_its_own():
    cases = some_persons(860, 1)
    assert split(manifest(*cases), (), cross_fit=True) == split(manifest(*cases), ())


# Folds


def test_folds_test_every_case_once():
    cases = some_persons(50)
    tested = [case for fold in range(5) for case in split(manifest(*cases), (), fold=fold).ids("test")]
    assert sorted(tested) == sorted(case.id for case in cases)


def test_each_fold_has_all_parts_and_whole_persons():
    cases = some_persons(60)
    for fold in range(4):
        result = split(manifest(*cases), (), fold=fold, folds=4)
        assert result.rule == f"honest: fold {fold + 1} of 4, by person, stratified"
        assert all(len(parts) == 1 for parts in where(result, cases).values())
        assert all(result.ids(part) for part in PARTS)


def test_folds_leave_a_shipped_test_part_alone():
    train, test = some_persons(60, part="train"), some_persons(10, part="test")
    same_person = replace(train[0], id="again", group=test[0].group)
    for fold in range(5):
        result = split(manifest(*train, same_person, *test), (), fold=fold)
        assert not any(result.parts[case.id] for case in (*test, same_person))


def test_more_folds_than_persons_is_an_error():
    cases = some_persons(4)
    with pytest.raises(DataError, match="4 persons cannot make 5 folds; use --folds 4 or fewer"):
        split(manifest(*cases), (), fold=0)
    with pytest.raises(DataError, match="there is no fold 6 of 5"):
        split(manifest(*some_persons(50)), (), fold=5)


def test_few_large_persons_are_dealt_evenly():
    rng = np.random.default_rng(0)
    cases = [
        Case(f"{p}-{i}", "x", group=f"P{p}", labels=("sick" if rng.random() < p % 3 / 4 else "well",))
        for p in range(63)
        for i in range(int(rng.lognormal(4, 0.7)))
    ]
    shares = []
    for seed in range(5):
        fold = grouped_folds(cases, units(cases, ()), 5, seed)
        counts = np.zeros((2, 5))
        np.add.at(counts, ([int(case.label == "sick") for case in cases], fold), 1)
        shares.append(counts / counts.sum(1, keepdims=True))
    assert np.abs(np.array(shares) - 0.2).max() < 0.12


# Published and assumed splits


def test_random_images_leak_and_the_leak_is_found():
    cases = some_persons(100)
    result = split(manifest(*cases), (), protocol="published", published=RandomImages(0.2, seed=42))
    assert len(result.ids("test")) == int(0.2 * len(cases))
    parts = where(result, cases)
    leaking = {case.id for case in cases if result.parts[case.id] == "test" and len(parts[case.group]) > 1}
    (finding,) = result.findings
    assert (finding.code, finding.grade, set(finding.cases)) == ("split-leaks", "look", leaking)
    assert result.rule == "published: random images 80%/20%, seed 42"
    assert finding.text.startswith(f"{len(leaking)} of 60 test cases")


def test_assumed_split_does_not_depend_on_the_run_seed():
    cases = some_persons(40)
    first, other = (split(manifest(*cases), (), protocol="assumed", seed=seed) for seed in (0, 1))
    assert first.parts == other.parts
    assert first.rule == "assumed: random images 80%/20%, seed 42"


def test_published_shipped_part_keeps_what_leaks():
    cases = [*some_persons(60, part="train"), *some_persons(10, part="test")]
    cases.append(replace(cases[0], id="again", group=cases[-1].group))
    result = split(manifest(*cases), (), protocol="published", published=ShippedParts())
    assert set(result.ids("test")) == {case.id for case in cases if case.part == "test"}
    assert result.parts["again"] in PARTS[:3]
    assert result.findings[0].code == "split-leaks"


def test_duplicates_leak_too():
    cases = some_persons(100, 1)
    result = split(manifest(*cases), [tuple(case.id for case in cases)], protocol="assumed")
    assert set(result.findings[0].cases) == set(result.ids("test"))


def test_split_that_no_paper_states_is_refused():
    with pytest.raises(DataError, match="the paper does not state its split; use --protocol assumed"):
        split(manifest(*some_persons(40)), (), protocol="published")
    with pytest.raises(DataError, match="the data ships no test part"):
        split(manifest(*some_persons(40)), (), protocol="published", published=ShippedParts())


# Any manifest


@pytest.mark.parametrize("block", range(4))
def test_invariants_hold_for_any_manifest(block):
    for seed in range(50 * block, 50 * block + 50):
        cases, clusters = any_manifest(np.random.default_rng(seed))
        result = split(manifest(*cases), clusters, seed=seed)
        assert set(result.parts.values()) <= {"", *PARTS} and len(result.parts) == len(cases)
        unit = units(cases, clusters)
        parts = defaultdict(set)
        for case, number in zip(cases, unit, strict=True):
            if result.parts[case.id]:
                parts[number].add(result.parts[case.id])
        assert all(len(names) == 1 for names in parts.values())
        shipped = {case.id for case in cases if case.part == "test" and case.labels is not None}
        if shipped:
            assert set(result.ids("test")) == shipped
        removed = {case for finding in result.findings if finding.code == "removed-from-training" for case in finding.cases}
        left_out = {case.id for case in cases if case.labels is not None and not result.parts[case.id]}
        assert removed == left_out
        assert all(result.ids(part) for part in PARTS)


def any_manifest(rng):
    """Persons with 1 to 5 images, some unknown, some not assessed, some duplicates, perhaps a shipped test part."""
    classes = "abcde"[: rng.integers(2, 6)]
    cases = []
    for p in range(rng.integers(40, 60)):
        part = "test" if rng.random() < 0.15 else ""
        for i in range(rng.integers(1, 6)):
            labels = None if rng.random() < 0.05 else (str(rng.choice(list(classes))),)
            cases.append(Case(f"{p}-{i}", "x", group="" if rng.random() < 0.1 else f"P{p}", labels=labels, part=part))
    if rng.random() < 0.5:
        cases = [replace(case, part="") for case in cases]
    ids = [case.id for case in cases]
    clusters = [tuple(rng.choice(ids, rng.integers(2, 4), replace=False).tolist()) for _ in range(rng.integers(0, 8))]
    return cases, clusters


# The name of a test part, and the table


def test_part_hash_is_about_content_in_any_order():
    assert part_hash(["a", "b"], {"a": "1", "b": "2"}) == part_hash(["y", "x"], {"x": "1", "y": "2"})
    assert part_hash(["a"], {"a": "1"}) != part_hash(["a"], {"a": "2"})
    assert part_hash(["a"], {}) != part_hash(["b"], {})


def test_table_lists_every_case_with_part_and_person():
    cases = some_persons(40, 1)
    result = split(manifest(*cases, Case("todo", "x")), ())
    rows = [line.split(",") for line in result.to_csv().splitlines()]
    assert rows[0] == ["id", "part", "person"] and rows[-1] == ["todo", "", "case todo"]
    assert rows[1] == ["0-0", result.parts["0-0"], "P0"]
    assert len(rows) == 42


def test_one_person_of_many_cases_does_not_stand_for_a_class():
    """Sixty sick images of one person fill the test part's share of the class, but give nothing to resample."""
    many = {0: 60, 1: 50}
    cases = [
        Case(f"{person}-{i}", (f"{person}-{i}.png",), labels=("sick" if person < 30 and i else "well",), group=str(person))
        for person in range(60)
        for i in range(many.get(person, 4))
    ]
    for seed in range(5):
        result = split(manifest(*cases), (), seed=seed)
        sick = {case.group for case in cases if case.label == "sick" and result.parts[case.id] == "test"}
        assert len(sick) >= 2


@pytest.mark.parametrize("diseased", [3, 5])
def test_rare_class_reaches_train_calib_and_test(diseased):
    cases = [Case(f"{i}", f"{i}.png", labels=("ill" if i < diseased else "well",)) for i in range(60)]
    for seed in range(10):
        parts = split(manifest(*cases), (), seed=seed).parts
        assert {"train", "calib", "test"} <= {parts[f"{i}"] for i in range(diseased)}
