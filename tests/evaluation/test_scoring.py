"""What metrics.json says: closed forms on small tables, agreement with the metrics themselves, and what is masked or counted."""

import json

import numpy as np
import pytest

from resdx.data.cases import Case
from resdx.data.tasks import Classify, MultiLabel, Ordinal
from resdx.errors import DataError
from resdx.evaluation.scoring import age_band, score
from resdx.metrics import classification as metrics
from resdx.metrics.intervals import estimate

DRAWS = 200
CLASSES = ("healthy", "ill")


def clinic(persons=60, images=3, seed=0, **facts):
    """Cases of two classes by person, probabilities (N, 2), and decisions at 0.5."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(persons), images)
    ill = 1 / (1 + np.exp(-(rng.normal(size=len(person)) + 2 * (person % 2) - 1)))
    cases = [
        Case(f"c{k}", f"c{k}.png", group=f"g{p}", labels=(CLASSES[p % 2],), **{key: value(k) for key, value in facts.items()})
        for k, p in enumerate(person)
    ]
    return cases, np.stack([1 - ill, ill], 1), [CLASSES[int(p > 0.5)] for p in ill]


def scored(cases, probabilities, decisions, task=None, classes=CLASSES, **settings):
    return score(task or Classify("ill"), classes, cases, probabilities, decisions, **{"draws": DRAWS, **settings}).to_json()


def test_image_figures_are_those_of_the_metrics_with_persons_as_groups():
    cases, probabilities, decisions = clinic()
    found = scored(cases, probabilities, decisions)["image"]
    truth, groups = np.array([case.label == "ill" for case in cases]).astype(float), [case.group for case in cases]
    area = estimate(metrics.auroc, truth, probabilities[:, 1], groups, replicates=DRAWS)
    assert found["classes"]["ill"]["auroc"] == area.to_json()
    decided = np.array([d == "ill" for d in decisions]).astype(float)
    assert found["classes"]["ill"]["sensitivity"] == estimate(metrics.sensitivity, truth, decided, groups).to_json()
    assert found["overall"]["accuracy"]["value"] == pytest.approx((truth == decided).mean())
    assert found["overall"]["macro_auroc"]["value"] == pytest.approx(area.value)


def test_confusion_and_support_by_hand():
    cases, _, _ = clinic(persons=4, images=2)
    decisions = ["healthy", "ill", "ill", "ill", "healthy", "healthy", "healthy", "ill"]
    found = scored(cases, np.full((8, 2), 0.5), decisions)["image"]
    assert found["confusion"] == [[3, 1], [1, 3]]
    assert found["classes"]["ill"]["support"] == {
        "positive": {"cases": 4, "persons": 2},
        "negative": {"cases": 4, "persons": 2},
    }


def test_the_page_is_json_and_every_figure_an_estimate():
    cases, probabilities, decisions = clinic(source=lambda k: "AB"[k % 2])
    found = json.loads(json.dumps(scored(cases, probabilities, decisions), allow_nan=False))
    figures = list(walk(found))
    assert len(figures) > 60
    assert all(f["low"] is None or f["low"] <= f["value"] <= f["high"] for f in figures)


def walk(node):
    if isinstance(node, dict):
        if {"value", "low", "high", "n", "note"} <= node.keys():
            yield node
        else:
            for child in node.values():
                yield from walk(child)
    elif isinstance(node, list):
        for child in node:
            yield from walk(child)


def test_a_person_is_the_mean_or_the_highest_of_their_images():
    cases = [Case(f"c{k}", "x", group=group, labels=("ill",)) for k, group in enumerate("aabb")]
    cases += [Case(f"c{k}", "x", group=group, labels=("healthy",)) for k, group in enumerate("ccdd", 4)]
    ill = np.array([0.9, 0.1, 0.4, 0.4, 0.45, 0.45, 0.2, 0.2])
    rows = np.stack([1 - ill, ill], 1)
    decisions = [CLASSES[int(p > 0.42)] for p in ill]
    mean, highest = (scored(cases, rows, decisions, pool=pool)["person"] for pool in ("mean", "max"))
    assert mean["classes"]["ill"]["auroc"]["value"] == 0.75  # 0.5 and 0.4 against 0.45 and 0.2
    assert highest["classes"]["ill"]["auroc"]["value"] == 0.75  # 0.9 and 0.4 against 0.45 and 0.2
    assert highest["confusion"] == [[1, 1], [1, 1]] and highest["persons"] == 4
    assert highest["overall"]["brier"]["value"] == pytest.approx(np.mean([0.1**2, 0.6**2, 0.45**2, 0.2**2]))


def test_person_level_equals_image_level_where_each_has_one_image():
    found = scored(*clinic(images=1))
    for image, person in zip(walk(found["image"]["classes"]), walk(found["person"]["classes"]), strict=True):
        assert image["value"] == pytest.approx(person["value"]) and image["n"] == person["n"]


def test_a_case_without_a_group_is_a_person_of_its_own():
    cases = [Case(f"c{k}", "x", labels=(CLASSES[k % 2],)) for k in range(40)]
    found = scored(cases, np.full((40, 2), 0.5), ["ill"] * 40)
    assert found["persons"] == 40 and found["image"]["overall"]["accuracy"]["n"] == 40


def test_one_ill_image_makes_the_person_ill_and_is_counted():
    cases, probabilities, decisions = clinic(persons=20)
    cases[0] = Case("c0", "x", group="g0", labels=("ill",))
    found = scored(cases, probabilities, decisions)
    assert found["mixed_persons"] == 1 and any("1 persons have cases of several labels" in note for note in found["notes"])
    assert found["person"]["classes"]["ill"]["support"]["positive"]["persons"] == 11


def test_of_several_classes_a_mixed_person_is_left_out_and_of_grades_the_highest_counts():
    cases = [Case(f"c{k}", "x", group=f"g{k // 2}", labels=("abc"[k % 3],)) for k in range(6)]
    arguments = (cases, np.full((6, 3), 1 / 3), ["a"] * 6)
    assert scored(*arguments, task=Classify(), classes=("a", "b", "c"))["person"]["cases"] == 0
    graded = scored(*arguments, task=Ordinal(), classes=("a", "b", "c"))["person"]
    assert np.array(graded["confusion"]).sum(1).tolist() == [0, 1, 2]
    assert "quadratic_kappa" in graded["overall"]


def test_what_was_not_assessed_is_masked_and_counted():
    cases, probabilities, decisions = clinic()
    cases[0] = Case("c0", "x", group="g0", labels=None)
    found = scored(cases, probabilities, decisions)
    assert found["not_assessed"] == 1 and found["image"]["cases"] == len(cases) - 1
    assert found["image"] == scored(cases[1:], probabilities[1:], decisions[1:])["image"]


def test_an_unknown_label_is_masked_for_its_class_alone():
    rng = np.random.default_rng(0)
    cases = [Case(f"c{k}", "x", labels=("nodule",) if k % 2 else (), unknown=("effusion",) if k < 10 else ()) for k in range(60)]
    found = scored(
        cases, rng.random((60, 2)), [("effusion",) if k % 3 else () for k in range(60)], MultiLabel(), ("effusion", "nodule")
    )
    image = found["image"]
    assert image["classes"]["effusion"]["support"]["negative"]["cases"] == 50
    assert image["classes"]["nodule"]["support"]["negative"]["cases"] == 30
    assert image["classes"]["effusion"]["auroc"]["value"] is None and image["curves"]["effusion"] is None
    assert image["confusion"] is None and image["overall"]["macro_auroc"]["value"] is not None


def test_referred_cases_stand_apart():
    cases, probabilities, decisions = clinic()
    unsure = np.abs(probabilities[:, 1] - 0.5) < 0.2
    abstaining = [None if doubt else decision for doubt, decision in zip(unsure, decisions, strict=True)]
    found = scored(cases, probabilities, abstaining)["image"]
    assert found["abstention"]["referred"]["value"] == pytest.approx(unsure.mean())
    assert found["abstention"]["accuracy"]["value"] > found["overall"]["accuracy"]["value"]
    assert (
        found["overall"] == scored(cases, probabilities, decisions)["image"]["overall"]
    )  # their likeliest class is the decision here


def test_all_referred_leaves_no_answers_to_judge():
    cases, probabilities, _ = clinic(persons=20)
    found = scored(cases, probabilities, [None] * len(cases))["image"]["abstention"]
    assert found["referred"]["value"] == 1 and found["accuracy"]["value"] is None and found["answered"] == 0


def test_subgroups_need_ten_persons_of_each_class():
    cases, probabilities, decisions = clinic(
        sex=lambda k: "F" if k < 150 else "M", age=lambda k: 10.0 if k < 90 else 70.0, source=lambda k: "one"
    )
    groups = scored(cases, probabilities, decisions)["subgroups"]
    assert set(groups) == {"sex", "age"} and set(groups["age"]) == {"<18", "65+"}
    assert groups["sex"]["F"]["classes"]["ill"]["auroc"]["low"] is not None
    assert groups["sex"]["M"]["classes"]["ill"] == {"note": "M: 5 persons with ill and 5 without; at least 10 of each are needed"}


@pytest.mark.parametrize(
    ("age", "band"), [(None, ""), (0, "<18"), (17.9, "<18"), (18, "18-39"), (40, "40-64"), (65, "65+"), (99, "65+")]
)
def test_age_bands(age, band):
    assert age_band(age) == band


def test_curves_rise_where_they_should():
    curves = scored(*clinic())["image"]["curves"]["ill"]
    assert curves["roc"]["fpr"][-1] == 1 and curves["roc"]["value"][-1] == 1
    assert np.all(np.diff(curves["roc"]["value"]) >= 0) and np.all(np.diff(curves["precision_recall"]["value"]) <= 0)
    assert sum(place["cases"] for place in curves["reliability"]) == 180
    assert len(curves["decision"]["threshold"]) == len(curves["decision"]["value"]) == len(curves["decision"]["treat_all"])


def test_wrong_input_is_refused_with_a_sentence():
    cases, probabilities, decisions = clinic(persons=4)
    with pytest.raises(DataError, match="do not fit"):
        scored(cases, probabilities[1:], decisions)
    with pytest.raises(DataError, match="between 0 and 1"):
        scored(cases, probabilities + 1, decisions)
    with pytest.raises(DataError, match="'sick', which is not among"):
        scored(cases, probabilities, ["sick", *decisions[1:]])
    with pytest.raises(DataError, match="takes exactly one or None"):
        scored(cases, probabilities, [("ill", "healthy"), *decisions[1:]])
    blind = [Case(case.id, "x", labels=None) for case in cases]
    with pytest.raises(DataError, match="none of the 12 cases has a known truth"):
        scored(blind, probabilities, decisions)


def test_mean_over_classes_says_which_class_the_part_lacks():
    rng = np.random.default_rng(0)
    classes, column = ("a", "b", "c"), np.arange(90) % 2
    cases = [Case(f"c{k}", "x", group=f"g{k}", labels=(classes[c],)) for k, c in enumerate(column)]
    p = rng.dirichlet(np.ones(3), 90)
    found = scored(cases, p, [classes[k] for k in p.argmax(1)], Classify(), classes)
    macro = found["image"]["overall"]["macro_auroc"]
    each = [metrics.auroc((column == k).astype(float), p[:, k]) for k in (0, 1)]
    assert macro["value"] == pytest.approx(np.mean(each))
    assert macro["note"].endswith("; mean without c, which the part does not hold")
    assert found["notes"][0] == "Means over classes leave out c: no case of the part is with it, or none without it."
    whole = scored(*clinic())
    assert not any("leave out" in note for note in whole["notes"])
    assert "mean without" not in whole["image"]["overall"]["macro_auroc"]["note"]


def test_mean_over_labels_says_which_label_everybody_has():
    rng = np.random.default_rng(0)
    labels = [("a", "b") if k % 3 else ("b",) for k in range(60)]
    cases = [Case(f"c{k}", "x", group=f"g{k}", labels=has) for k, has in enumerate(labels)]
    found = scored(cases, rng.random((60, 2)), labels, MultiLabel(), ("a", "b"))
    for name in ("macro_auroc", "macro_f1"):
        assert "mean without b, which" in found["image"]["overall"][name]["note"]
