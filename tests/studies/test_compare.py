"""Runs compared on identical cases: what is refused, what is said, and that every figure is the run's own."""

import json
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from resdx.data.audit.audit import Audit
from resdx.data.audit.file_facts import Facts
from resdx.data.cases import Case, Manifest
from resdx.data.split import part_hash
from resdx.data.tasks import Classify, MultiLabel, truth
from resdx.errors import RunError
from resdx.evaluation.calibrate import fit_calibration
from resdx.evaluation.figures import answers_of
from resdx.evaluation.scoring import score
from resdx.files import write_bytes, write_json, write_text
from resdx.metrics.estimate import Estimate
from resdx.metrics.paired_tests import delong, holm, mcnemar, obuchowski
from resdx.recipes.learning import Training
from resdx.recipes.recipe import Recipe
from resdx.records import to_record
from resdx.report import charts
from resdx.runs.run import Run, Scores
from resdx.runs.settings import Settings
from resdx.studies.compare import compare, table, write_comparison

FILMS = Recipe("films", "Films", task=Classify("opacity"), classes=("normal", "opacity"))
BETTER = replace(FILMS, learn=Training(epochs=30))


def finished(store, name, *, recipe=FILMS, skill=1.5, seed=0, images=1, first=0, noise=0, **settings):
    """A run whose logits are simulated, judged by the functions that judge real ones; 60 calib and 80 test persons."""
    persons = [f"p{i + first:03d}" for i in range(140)]
    labels = {person: recipe.classes[int(person[1:]) % len(recipe.classes)] for person in persons}
    cases = [Case(f"{p}_{k}.png", f"{p}_{k}.png", group=p, labels=(labels[p],)) for p in persons for k in range(images)]
    run = Run.create(store / name, recipe, Settings(str(store / "films"), seed=seed, **settings), quiet=True)
    part = {case.id: "calib" if case.group in persons[:60] else "test" for case in cases}
    write_text(run.path / "manifest.csv", Manifest(store / "films", tuple(cases)).to_csv())
    write_text(run.path / "split.csv", "id,part,person\n" + "".join(f"{c.id},{part[c.id]},{c.group}\n" for c in cases))
    facts = tuple(Facts(case.id, f"sha of {case.id}", 8, 8, "PNG", "L", 8, 0.5) for case in cases)
    write_json(run.path / "audit.json", Audit((), facts=facts).to_json())
    write_bytes(run.path / "familiarity.safetensors", b"")
    known = truth(recipe.task, recipe.classes, cases)
    shared, own = (np.random.default_rng(s).normal(size=(len(persons), known.shape[1])) for s in (99, 1000 * seed + noise))
    logits = (skill * known + (shared + own).repeat(images, 0)).astype(np.float32)
    rows = {which: [i for i, case in enumerate(cases) if part[case.id] == which] for which in ("calib", "test")}
    calib = logits[rows["calib"]], known[rows["calib"]], [cases[i].group for i in rows["calib"]]
    calibration = fit_calibration(recipe.task, recipe.classes, *calib, balanced_training=False)
    write_json(run.path / "calibration.json", to_record(calibration))
    _evaluate(run, calibration, [cases[i] for i in rows["test"]], logits[rows["test"]])
    return Run.open(run.path, quiet=True)


def _evaluate(run, calibration, cases, logits):
    ids = tuple(case.id for case in cases)
    run.write_scores("test", Scores(ids, logits, np.zeros((len(ids), 2), np.float32)))
    probabilities = calibration.probabilities(logits)
    called = [tuple(np.array(run.recipe.classes)[row]) for row in calibration.choose(probabilities, logits=logits)]
    scores = score(run.recipe.task, run.recipe.classes, cases, probabilities, called, draws=40).to_json()
    name = part_hash(ids, {one: f"sha of {one}" for one in ids})
    test = {"hash": name, "reads": 2, "cases": len(ids), "persons": len({case.group for case in cases})}
    write_json(run.path / "metrics.json", {"stamp": "", "test": test, "scores": scores})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def seeds(store):
    """Three seeds each of a system and of a better one."""
    return [
        finished(store, f"{name}-{seed}", recipe=recipe, skill=skill, seed=seed, noise=noise)
        for name, recipe, skill, noise in (("plain", FILMS, 0.8, 0), ("longer", BETTER, 3.0, 1))
        for seed in range(3)
    ]


@pytest.fixture(scope="module")
def systems(seeds):
    return compare(seeds, draws=300)


def test_two_models_get_delong_and_mcnemar_and_no_word_on_systems(seeds):
    found = compare([seeds[0], seeds[3]], draws=200)
    (pair,) = found["pairs"]
    (_, one), (_, other) = answers_of(seeds[0]), answers_of(seeds[3])
    area = delong(one.truth[:, 1], one.probability[:, 1], other.probability[:, 1])
    assert pair["figures"]["auroc opacity"]["difference"] == pytest.approx(area.difference.to_json())
    right = mcnemar(*(part.argmax(1) for part in (one.truth, one.decided, other.decided)))
    assert [test["p"] for test in pair["tests"]] == pytest.approx([area.p, right.p])
    assert [test["test"] for test in pair["tests"]] == ["DeLong", "McNemar, mid-p"]
    assert "The model longer-0 is better than plain-0" in pair["verdict"]
    assert "for these two models, not for the systems, for which at least 3 seeds of each are needed" in pair["verdict"]


def test_persons_with_several_images_get_the_clustered_forms(tmp_path):
    runs = [finished(tmp_path, f"r{seed}", seed=seed, images=2, skill=1 + seed) for seed in range(2)]
    (pair,) = compare(runs, draws=100)["pairs"]
    assert [test["test"] for test in pair["tests"]] == ["Obuchowski", "permutation within persons"]
    (_, one), (_, other) = map(answers_of, runs)
    clustered = obuchowski(one.truth[:, 1], one.probability[:, 1], other.probability[:, 1], one.person)
    assert pair["tests"][0]["p"] == pytest.approx(clustered.p)
    assert all(figure["difference"]["n"] == 80 for figure in pair["figures"].values())


def test_three_seeds_of_each_make_a_sentence_about_systems(systems):
    (pair,) = systems["pairs"]
    assert (pair["first"], pair["second"], pair["seeds"]) == ("plain", "longer", [3, 3])
    assert "The system longer is better than plain" in pair["verdict"] and "over 3 and 3 seeds" in pair["verdict"]
    each = {one["name"]: one["figures"]["auroc opacity"]["value"] for one in systems["models"]}
    means = [np.mean([each[f"{name}-{seed}"] for seed in range(3)]) for name in ("plain", "longer")]
    assert pair["figures"]["auroc opacity"]["difference"]["value"] == pytest.approx(means[0] - means[1])
    assert "persons and seeds" in pair["figures"]["auroc opacity"]["difference"]["note"]


def test_two_seeds_are_compared_model_by_model_with_holm_over_the_pairs(seeds):
    found = compare([seeds[0], seeds[1], seeds[3], seeds[4]], draws=100)
    names = [(pair["first"], pair["second"]) for pair in found["pairs"]]
    assert names == [(f"plain-{a}", f"longer-{b}") for a in (0, 1) for b in (0, 1)]
    for k in range(2):
        p = {str(i): pair["tests"][k]["p"] for i, pair in enumerate(found["pairs"])}
        assert [pair["tests"][k]["p_holm"] for pair in found["pairs"]] == list(holm(p).values())
    assert any("plain has 2, longer has 2" in note for note in found["notes"])


def test_seeds_of_one_system_are_no_better_systems(seeds):
    found = compare(seeds[:2], draws=100)
    assert len(found["pairs"]) == 1 and not found["pairs"][0]["systems"]
    assert any("seeds of one system" in note for note in found["notes"])


def test_figures_of_each_run_are_those_of_its_metrics(seeds, systems):
    for run, one in zip(seeds, systems["models"], strict=True):
        level = run.metrics.to_json()["scores"]["image"]
        assert one["figures"]["auroc opacity"] == level["classes"]["opacity"]["auroc"]
        assert one["figures"]["accuracy"] == level["overall"]["accuracy"]
    pair = compare([seeds[0], seeds[3]], draws=50)["pairs"][0]
    for key, figure in pair["figures"].items():
        values = [systems["models"][k]["figures"][key]["value"] for k in (0, 3)]
        assert [figure["first"], figure["second"]] == pytest.approx(values, abs=1e-6), key


def test_the_order_of_cases_in_a_run_says_nothing(seeds, tmp_path):
    twin = finished(tmp_path, "twin", recipe=BETTER, skill=3.0, seed=0, noise=1)
    scores, turned = twin.scores("test"), np.random.default_rng(0).permutation(80)
    ids = tuple(scores.ids[i] for i in turned)
    twin.write_scores("test", Scores(ids, scores.logits[turned], scores.embeddings[turned]))
    kept = [compare([seeds[0], run], draws=50)["pairs"][0]["figures"] for run in (seeds[3], twin)]
    assert kept[0] == kept[1]


def test_other_test_parts_are_refused_with_the_first_cases(seeds, tmp_path):
    other = finished(tmp_path, "other", seed=5, first=3)
    with pytest.raises(RunError, match=r"differ, 3 only in .*plain-0 \(first p060_0.png\) and 3 only in .*other \(first p140_0"):
        compare([seeds[0], other])


def test_other_labels_of_the_same_files_are_refused(seeds, tmp_path):
    other = finished(tmp_path, "other", seed=5)
    text = (other.path / "manifest.csv").read_text().replace("p070_0.png,normal", "p070_0.png,opacity")
    (other.path / "manifest.csv").write_text(text)
    with pytest.raises(RunError, match=r"another truth of 1 test cases, first p070_0.png; compare runs on the same labels"):
        compare([seeds[0], other])


def test_other_questions_are_refused(seeds, tmp_path):
    turned = finished(tmp_path, "turned", recipe=replace(FILMS, classes=("opacity", "normal")))
    with pytest.raises(RunError, match=r"answers Classify of normal, opacity, .* answers Classify of opacity, normal"):
        compare([seeds[0], turned])


def test_the_same_recipe_and_seed_twice_is_refused(seeds):
    with pytest.raises(RunError, match=r"plain-0 and .*plain-0 are one recipe with one seed; leave one of them out"):
        compare([seeds[0], seeds[0]])


@pytest.mark.parametrize(("file", "stage"), [("calibration.json", "calibrate"), ("metrics.json", "evaluate")])
def test_an_unfinished_run_is_named_with_its_stage(seeds, tmp_path, file, stage):
    other = finished(tmp_path, "other", seed=7)
    (other.path / file).unlink()
    with pytest.raises(RunError, match=rf"other has no {file} yet; run `resdx {stage} "):
        compare([seeds[0], other])


def test_one_run_alone_is_refused(seeds):
    with pytest.raises(RunError, match="needs at least two runs"):
        compare(seeds[:1])


def test_several_labels_and_several_classes_are_compared_by_their_mean(tmp_path):
    for task in (MultiLabel(), Classify()):
        recipe = Recipe("three", "Three", task=task, classes=("a", "b", "c"))
        runs = [finished(tmp_path, f"{type(task).__name__}{k}", recipe=recipe, seed=k, skill=1 + 2 * k) for k in range(2)]
        found = compare(runs, draws=20)
        assert found["main"] == "macro_auroc" and "auroc b" in found["pairs"][0]["figures"]
        assert found["pairs"][0]["tests"][0]["test"] == "permutation within persons"
        assert found["pairs"][0]["tests"][0]["p"] < 0.05


def test_files_are_plain_and_harmless(systems, tmp_path):
    found = json.loads(json.dumps(systems))
    found["models"][0]["title"] = "<script>alert(1)</script>"
    page = write_comparison(found, tmp_path / "new" / "folder")
    text = page.read_text()
    assert "<script" not in text and "http" not in text.replace("http-equiv", "") and "The system longer is better" in text
    assert json.loads((page.parent / "compare.json").read_text()) == found
    assert str(Estimate.from_json(systems["models"][0]["figures"]["auroc opacity"])) in table(systems)


def test_forest_plot_shows_every_row_and_what_has_no_interval():
    rows = [("a < b", {"value": 0.1, "low": 0.0, "high": 0.2}), ("c", {"value": 0.3, "low": None, "high": None})]
    rows.append(("d", {"value": None, "low": None, "high": None}))
    root = ET.fromstring(str(charts.forest(rows, title="T", text="D", x="gap")))
    texts = [node.text for node in root.iter() if node.tag.endswith("text")]
    assert {"a < b", "c", "d", "not estimable", "0.300"} <= set(texts)
    assert sum(node.tag.endswith("circle") for node in root.iter()) == 2
    assert sum(node.get("class") == "whisker" for node in root.iter()) == 1


def test_weights_that_have_seen_the_test_part_are_said(seeds, tmp_path):
    runs = []
    for run in (seeds[0], seeds[3]):
        shutil.copytree(run.path, tmp_path / run.path.name)
        runs.append(replace(run, path=tmp_path / run.path.name))
    write_json(
        runs[1].path / "metrics.json", {**runs[1].metrics.to_json(), "stamp": "Its starting weights have seen the test part."}
    )
    notes = compare(runs, draws=50)["notes"]
    assert "longer-0: Its starting weights have seen the test part. The comparison favours this run." in notes
