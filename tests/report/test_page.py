"""The page: every section depends on its own files alone, user text is harmless, figures are those of the run."""

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from resdx.apps.cli.main import cli
from resdx.data.cases import Case, Finding, Manifest, Prediction
from resdx.data.persons import count_persons
from resdx.data.split import split
from resdx.data.tasks import Classify, MultiLabel, truth
from resdx.errors import DataError, RunError, count
from resdx.evaluation.calibrate import fit_calibration
from resdx.evaluation.referral import score_referral
from resdx.evaluation.reliability import score_calibration
from resdx.evaluation.scoring import score
from resdx.evaluation.test_set import predictions_csv
from resdx.files import read_json, write_json, write_text
from resdx.models.heads.specs import Svm
from resdx.models.specs import Net, ResNet
from resdx.recipes.learning import FeatureClassifier
from resdx.recipes.recipe import Published, Recipe
from resdx.records import to_record
from resdx.report import (
    checklists,
    facts,
    figure,
    interval,
    report,
    report_folds,
    to_pdf,
)
from resdx.report import (
    verdict as judgement,
)
from resdx.report.evidence import border, price
from resdx.report.model_card import card
from resdx.runs.run import Run
from resdx.runs.settings import Settings
from resdx.studies.pipeline import headline

CLASSES = ("normal", "opacity")
SECTIONS = ("asked", "flow", "audit", "samples", "training", "results", "curves", "confusion", "calibration", "points", "use")
SECTIONS += ("abstention", "subgroups", "published", "limits", "provenance", "controls", "leak", "maps", "embedding", "suspects")
SECTIONS += ("growth", "card", "checklists")
EVIDENCE = ("controls", "leak-worth", "explain", "embedding", "suspects", "learning-curve")
SEPARATION = 2.6  # between the logits of the classes, in standard deviations


def grey(case):
    return np.full((24, 24, 1), 90, np.uint8)


def made_up(
    folder,
    *,
    classes=CLASSES,
    persons=120,
    images=1,
    several=False,
    draws=60,
    seed=0,
    changing=False,
    without="",
    rule=True,
    named=True,
    **settings,
):
    """A finished run with simulated logits, written by the functions that write real ones."""
    rng = np.random.default_rng(seed)
    cases = [
        Case(
            f"{label}/p{number:03d}_{k}.png",
            f"{label}/p{number:03d}_{k}.png",
            group=f"p{number:03d}" if named else "",
            labels=(label,),
            sex="FM"[number % 2],
            source=f"hospital {'AB'[number // 2 % 2]}",
        )
        for number, label in enumerate(rng.choice(classes, persons))
        for k in range(images)
    ]
    if changing:  # each person has images of every class in turn
        cases = [replace(case, labels=(classes[k % len(classes)],)) for k, case in enumerate(cases)]
    task = MultiLabel() if several else Classify(classes[-1] if len(classes) == 2 else "")
    published = (Published("accuracy", 0.97), Published("auroc", 0.99, seen=True))
    recipe = Recipe(
        "films", "Opacities in chest films", task=task, classes=classes, published=published, differs=("split by person",)
    )
    run = Run.create(folder, recipe, Settings(str(folder.parent / "films"), version="0.1.0", **settings), quiet=True)
    write_text(run.path / "manifest.csv", Manifest(folder.parent / "films", tuple(cases)).to_csv())
    _audit_and_split(run, cases, without)
    for epoch in range(1, 13):
        run.log("epoch", epoch=epoch, loss=0.7 / epoch**0.5, tune_score=0.95 - 0.4 / (epoch + 1) ** 1.2, seconds=11.0, size=128)
    calibration = fit_calibration(task, classes, *_simulated(run, "calib", rng), balanced_training=False)
    if not rule:  # as it was before there was a referral rule
        calibration = replace(calibration, referral=None)
    write_json(run.path / "calibration.json", to_record(calibration))
    _evaluate(run, calibration, rng, draws)
    return run


def _audit_and_split(run, cases, without):
    findings = [
        Finding("near-duplicates", "look", "4 images show nearly the same picture.", tuple(case.id for case in cases[:12])),
        Finding("one-source", "stop", "Class opacity comes from one source only."),
        Finding("sizes", "note", "All images are 128 x 128 pixels."),
    ]
    unreadable = [[cases[0].id, "the file is cut off"]]
    write_json(run.path / "audit.json", {"findings": [one.to_json() for one in findings], "unreadable": unreadable})
    parts = split(run.manifest, [], exclude=[cases[0].id])
    lost = {case.id for case in cases if without in case.labels}
    parts = replace(parts, parts={name: "" if part == "test" and name in lost else part for name, part in parts.parts.items()})
    write_text(run.path / "split.csv", parts.to_csv())
    counts = {}
    for part in ("train", "tune", "calib", "test"):
        members = run.cases(part)
        classes = Counter(label for case in members for label in case.labels)
        counts[part] = {"cases": len(members), "persons": count_persons(members), "classes": dict(classes)}
    write_json(run.path / "split.json", {"rule": parts.rule, "seed": 0, "fold": None, "findings": [], "counts": counts})


def _simulated(run, part, rng):
    cases = run.cases(part)
    known = truth(run.recipe.task, run.recipe.classes, cases)
    person = {case.group: rng.normal(0, 0.8, known.shape[1]) for case in cases}
    noise = rng.normal(0, 1.0, known.shape) + np.array([person[case.group] for case in cases])
    return (SEPARATION * (known - 0.5) + noise).astype(np.float32), known, [case.group for case in cases]


def _evaluate(run, calibration, rng, draws):
    cases, classes = run.cases("test"), run.recipe.classes
    logits, _, _ = _simulated(run, "test", rng)
    p = calibration.probabilities(logits)
    rows = zip(cases, p, calibration.sets(p), calibration.decide(p, logits=logits), strict=True)
    answers = [
        Prediction(case.id, dict(zip(classes, map(float, row), strict=True)), *said(kept, one)) for case, row, kept, one in rows
    ]
    write_text(run.path / "predictions.csv", predictions_csv(cases, answers))
    decided = [
        tuple(name for name, is_in in zip(classes, row, strict=True) if is_in) for row in calibration.choose(p, logits=logits)
    ]
    answered = np.array([answer.label is not None for answer in answers])
    scores = score(run.recipe.task, classes, cases, p, decided, answered=answered, draws=draws).to_json()
    brier = scores["image"]["classes"][scores["shown"][0]]["brier"]
    shares = [1 / len(classes)] * len(classes)
    moved = {"prior": shares, "brier": brier, "ece": brier}
    prior = {"prior_calib": shares, "observed": moved, "estimated": moved}
    stamp = "" if run.settings.protocol == "honest" else "Assumed protocol: persons may be on both sides."
    test = {"hash": "ab" * 32, "reads": 2, "cases": len(cases), "persons": count_persons(cases)}
    found = {
        "protocol": run.settings.protocol,
        "stamp": stamp,
        "test": test,
        "scores": scores,
        "prior_corrected": prior,
        "calibration": {
            name: one.to_json() for name, one in score_calibration(run.recipe.task, classes, scores["shown"], cases, p).items()
        },
        "referral": [one.to_json() for one in score_referral(calibration, cases, logits, np.zeros(len(cases), bool))],
        "seconds": {"train": 132.0},
    }
    write_json(run.path / "metrics.json", found)


def figures(value, half=0.04, note=""):
    """An Estimate as the files hold it."""
    return {"value": value, "low": value - half, "high": value + half, "n": 40, "note": note}


def add_evidence(run, grade="note"):
    """What controls, leak-worth, explain, embed, suspects and learning-curve leave in a run."""
    cases, classes = run.cases("test"), run.recipe.classes
    text = "Source alone tells opacity." if grade == "stop" else "No fact tells the class."
    names = ("full", "border", "centre-black", "permuted")
    inputs = [{"name": name, "auroc": figures(area), "note": ""} for name, area in zip(names, (0.9, 0.8, 0.82, 0.5), strict=True)]
    controls = {"probe": {"depth": 18, "size": 64, "cases": 200, "steps": 100}, "class": classes[-1], "inputs": inputs}
    controls |= {"tables": [{"name": "source", "class": classes[-1], "auroc": figures(0.6), "note": ""}], "seconds": 9.0}
    write_json(
        run.path / "controls.json",
        controls | {"border_share": figures(0.75), "verdict": {"code": "border-carries", "grade": grade, "text": text}},
    )
    leak = {"worth": figures(0.06), "with_leak": figures(0.95), "without": figures(0.89), "exchanged": 30, "test_persons": 20}
    write_json(run.path / "leak-worth.json", leak | {"seeds": 3, "note": ""})
    checks = dict.fromkeys(("randomisation", "deletion", "insertion", "stability", "pointing"), figures(0.3))
    methods = [{"name": "cam", **checks, "outside_body": None, "verdict": "Coarse, but believable."}]
    shown = []
    for number, case in enumerate(cases[:6]):
        picture, drawn = f"explain/{number}.png", f"explain/{number}-cam.png"
        shown.append({"case": case.id, "truth": classes[0], "answer": classes[-1], "p": 0.7, "right": number % 2 == 0})
        shown[-1] |= {"picture": picture, "maps": {"cam": drawn}}
        for name in (picture, drawn):
            (run.path / "explain").mkdir(exist_ok=True)
            Image.new("RGB", (32, 32), (number * 40, 90, 9)).save(run.path / name)
    maps = {"resolution": [4, 4], "size": 128, "methods": methods, "shown": shown, "notes": ["Coarse maps."]}
    write_json(run.path / "explain.json", maps | {"verdict": "Maps fail where the opacity is small."})
    points = {"method": "t-SNE", "perplexity": 30.0, "points": [[k * 0.5, (k * 7) % 11] for k in range(len(cases))], "note": ""}
    labels = [(case.labels or classes[:1])[0] for case in cases]
    points |= {
        "cases": [case.id for case in cases],
        "classes": labels,
        "parts": ["test"] * len(cases),
        "neighbours": figures(0.8),
    }
    write_json(run.path / "embedding.json", points)
    suspect = {"case": cases[0].id, "person": "p1", "part": "test", "label": classes[0], "model_label": classes[-1]}
    suspect |= {"p_label": 0.01, "kind": "label", "score": 0.9, "picture": "suspects/0.png"}  # not there: said, not drawn
    write_json(run.path / "suspects.json", {"suspects": [suspect], "estimated_share": None, "note": ""})
    curve = [{"persons": 20 * k, "cases": 40 * k, "auroc": figures(0.8 + 0.02 * k), "seeds": 2} for k in (1, 2, 4)]
    write_json(
        run.path / "learning-curve.json",
        {"points": curve, "slope": figures(0.04, 0.01), "per_person": figures(0.0005, 0.0002), "note": ""},
    )


def said(kept, decision):
    label, flags = decision
    return label, kept, flags


class Page(HTMLParser):
    """What a reader of the page meets: tags, ids, headings, links and the text outside of style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.sources, self.open, self.text = Counter(), [], [], [], [], []
        self.headings, self.classes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags[tag] += 1
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        self.sources += [attrs["src"]] if "src" in attrs else []
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        self.classes += attrs.get("class", "").split()
        if tag not in ("meta", "img", "br", "path", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def page_of(run, picture=grey):
    return Page(report(run, picture=picture).read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = made_up(tmp_path_factory.mktemp("store") / "run", images=2, draws=20)
    add_evidence(run)
    return run


@pytest.fixture(scope="module")
def page(finished):
    return page_of(finished)


def test_page_has_every_section_and_closes_every_tag(page):
    assert set(SECTIONS) <= set(page.ids)
    assert not page.open
    assert "Not here yet" not in page.words


def test_page_loads_nothing_from_elsewhere(finished, page):
    assert not page.tags["script"] + page.tags["link"] + page.tags["iframe"]
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"url\(|@import|https?://", (finished.path / "report.html").read_text())


def test_ids_are_unique_and_links_lead_to_them(page):
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_headings_go_down_one_level_at_a_time(page):
    assert page.headings.count(1) == 1
    assert all(below - above <= 1 for above, below in zip(page.headings, page.headings[1:], strict=False))


def test_verdict_names_persons_auroc_and_the_majority_rate(finished, page):
    person = finished.metrics.to_json()["scores"]["person"]
    sentence = json.loads((finished.path / "report.json").read_text())["verdict"]
    for part in (
        f"{person['persons']} persons",
        figure(person["overall"]["macro_auroc"]),
        interval(person["overall"]["macro_auroc"]),
    ):
        assert part in sentence
    assert figure(person["overall"]["majority_rate"]) in sentence
    assert sentence in page.words


def test_page_says_research_use_the_ledger_and_the_few_persons(page):
    for sentence in ("Research use only", "Not a medical device", "has been read 2 times", "the intervals are wide"):
        assert sentence in page.words


def test_page_lists_the_settings_that_were_tried(tmp_path):
    run = made_up(tmp_path / "store" / "run", persons=60, draws=20)
    run.log("trial", setting={"learn.lr": "0.01"}, tune_score=0.81)
    run.log("trial", setting={"learn.lr": "0.1"}, tune_score=0.74)
    words = page_of(run).words
    assert "Of 2 settings learn.lr 0.01 did best on the tune part, and the training was done anew with it: 12 epochs in" in words
    assert "learn.lr 0.1 0.7400" in words
    run = run.changed(recipe=replace(run.recipe, model=Net(ResNet(18), Svm()), learn=FeatureClassifier()))
    run.log("afresh", stages=["train"], forget=["epoch", "trial"])
    run.log("trial", setting={"c": 10.0, "gamma": 0.3}, tune_score=0.9)
    words = page_of(run).words
    assert (
        "a support vector machine on its features was fitted in 0 s. Of 1 setting c 10, gamma 0.3 did best on the tune part"
        in words
    )


def test_grades_of_findings_are_worded_stop_first(page):
    places = [page.words.index(text) for text in ("Stop: settle this", "Look: judge this", "Note sizes")]
    assert places == sorted(places)


def test_cases_of_the_flow_add_up(finished):
    flow = json.loads((finished.path / "report.json").read_text())["flow"]
    used = sum(part["cases"] for part in flow["parts"].values())
    assert flow["found"] == flow["unreadable"] + flow["not_assessed"] + flow["left_out"] + used == 240


def test_operating_points_on_test_are_those_of_the_predictions(finished):
    scores = finished.metrics.to_json()["scores"]["image"]["classes"]["opacity"]
    rows = json.loads((finished.path / "report.json").read_text())["points"]["rows"]
    youden = next(row for row in rows if row["goal"] == "youden")
    called = [(float(row["p_opacity"]) >= youden["threshold"], row["truth"] == "opacity") for row in finished.predictions]
    for name, side in (("sensitivity", True), ("specificity", False)):
        right = [one == side for one, true in called if true == side]
        assert youden["test"][name]["value"] == pytest.approx(sum(right) / len(right))
    ill = [row for row in finished.predictions if row["truth"] == "opacity"]
    most_probable = [float(row["p_opacity"]) > 0.5 for row in ill]  # a temperature does not move it
    assert scores["sensitivity"]["value"] == pytest.approx(np.mean(most_probable))


def test_class_named_as_markup_stays_text(tmp_path):
    nasty = '<script>alert("1")</script>'
    run = made_up(tmp_path / "run", classes=("normal", nasty), persons=90, draws=20)
    page = page_of(run)
    assert not page.tags["script"]
    assert nasty in page.words


def test_protocol_that_is_not_honest_is_stamped(tmp_path):
    run = made_up(tmp_path / "run", persons=90, draws=20, protocol="assumed")
    page = page_of(run)
    assert "Assumed protocol: persons may be on both sides." in page.words
    assert "never seen" not in page.words


@pytest.mark.parametrize("several", [False, True])
def test_four_classes_have_a_page(tmp_path, several):
    run = made_up(tmp_path / "run", classes=("a", "b", "c", "d"), persons=120, several=several, draws=20)
    page = page_of(run)
    assert "tells its 4 classes apart" in page.words
    assert ("there is no one matrix" in page.words) == several
    assert not page.open


def test_run_that_was_only_just_made_has_a_page(tmp_path):
    run = Run.create(tmp_path / "run", Recipe("films", "Films"), Settings("films"), quiet=True)
    page = page_of(run)
    assert "has not been scored on its test part yet" in page.words
    assert "run resdx scan" in page.words
    assert set(SECTIONS) <= set(page.ids)


@pytest.mark.parametrize(
    "gone",
    ["manifest.csv", "audit.json", "split.json", "split.csv", "log.jsonl", "calibration.json", "metrics.json", "predictions.csv"]
    + [f"{name}.json" for name in EVIDENCE],
)
@pytest.mark.parametrize("how", ["absent", "broken"])
def test_section_without_its_file_leaves_the_rest(finished, tmp_path, gone, how):
    shutil.copytree(finished.path, tmp_path, dirs_exist_ok=True)
    (tmp_path / gone).unlink()
    run = replace(finished, path=tmp_path)
    if how == "broken" and gone != "log.jsonl":  # of a log, lines that a crash cut off are passed over
        (tmp_path / gone).write_text('{"no": \n1\n')
        with pytest.raises(RunError, match=r"report\.html is written without \d sections? \("):
            report(run, picture=grey)
        page = Page((tmp_path / "report.html").read_text())
        assert "This section could not be made." in page.words
    else:
        page = page_of(run)
        assert "Not here yet" in page.words and "could not be made" not in page.words
    assert set(SECTIONS) <= set(page.ids)
    assert not page.open


def test_a_section_that_lacks_a_key_is_an_error_with_its_place(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path, dirs_exist_ok=True)
    write_json(tmp_path / "embedding.json", {"scores": {}})
    with pytest.raises(
        RunError, match=r"without 1 section \(embedding\); embedding failed with: KeyError: '\w+' \(evidence\.py, line \d+\)"
    ):
        report(replace(finished, path=tmp_path), picture=grey)
    page = Page((tmp_path / "report.html").read_text())
    assert "This section could not be made. KeyError" in page.words
    said = CliRunner().invoke(cli, ["report", str(tmp_path)])
    assert said.exit_code == 1 and "KeyError" in said.output


def test_pictures_that_cannot_be_read_are_counted(finished, tmp_path):
    def broken(case):
        raise DataError(f"{case.path} is cut off")

    assert "12 pictures could not be read" in page_of(finished, broken).words


def test_samples_are_of_different_persons_of_the_train_part(finished):
    asked = []
    report(finished, picture=lambda case: asked.append(case) or grey(case))
    assert {case.id for case in asked} <= {case.id for case in finished.cases("train")}
    assert count_persons(asked) == len(asked) == 12


def test_missing_interval_is_said_not_drawn():
    assert figure({"value": None}) == "not estimable"
    assert interval({"low": None, "high": None}) == ""
    assert interval({"low": -0.1, "high": 0.25}) == "-0.100 to 0.250"
    assert interval({"low": 0.8, "high": 0.95}) == "0.800–0.950"


def test_counts_read_like_language():
    assert [count(1, "person"), count(1200, "image")] == ["1 person", "1,200 images"]


def test_page_stays_calm_where_a_stage_found_nothing_to_say(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path, dirs_exist_ok=True)
    for name in EVIDENCE:
        write_json(tmp_path / f"{name}.json", {"missing": f"{name} is not estimable: one image a person."})
    page = page_of(replace(finished, path=tmp_path))
    for name in EVIDENCE:
        assert f"Not here yet. {name} is not estimable" in page.words
    assert not page.open


def test_control_that_says_stop_stands_above_all_else(tmp_path):
    run = made_up(tmp_path / "run", persons=90, draws=20)
    add_evidence(run, grade="stop")
    page, found = page_of(run), json.loads((run.path / "report.json").read_text())
    assert "stamp" in page.classes
    assert page.words.index("Source alone tells opacity.") < page.words.index("What was asked")
    assert "a control says: stop" in found["verdict"]
    assert found["doubts"][0] == {"text": "Source alone tells opacity.", "section": "controls", "grade": "stop"}


def test_share_of_the_border_stands_before_the_sections(page):
    sentence = "The border alone carries 0.75 (0.71–0.79) of the signal"
    assert page.words.index(sentence) < page.words.index("What was asked")
    assert "cannot be told" in border(None)


def test_verdict_on_maps_comes_before_the_first_map(page):
    words = page.words
    assert words.index("Maps fail where the opacity is small.") < words.index("Right answers") < words.index("Wrong answers")


def test_pictures_outside_the_run_are_not_taken_in(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "run")
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    maps = json.loads((tmp_path / "run" / "explain.json").read_text())
    write_json(
        tmp_path / "run" / "explain.json", {**maps, "shown": [{**maps["shown"][0], "picture": "../secret.png", "maps": {}}]}
    )
    inside, outside = page_of(finished), page_of(replace(finished, path=tmp_path / "run"))
    assert len(inside.sources) - len(outside.sources) == 12  # six cases, each with a map


def test_leaves_of_the_flow_are_all_test_images(finished):
    answers = json.loads((finished.path / "report.json").read_text())["answers"]
    assert sum(leaf["cases"] for leaf in answers["leaves"]) == answers["cases"] == len(finished.cases("test"))
    assert all(sum(leaf["truth"].values()) == leaf["cases"] for leaf in answers["leaves"])


def test_class_that_changes_within_persons_is_judged_by_image(tmp_path):
    run = made_up(tmp_path / "run", images=6, persons=60, draws=20, changing=True)
    page_of(run)
    found = json.loads((run.path / "report.json").read_text())
    assert found["test"]["main"] == "image"
    assert found["verdict"].startswith(f"On {len(run.cases('test'))} images of ")


def test_images_of_unknown_persons_are_not_called_persons(tmp_path):
    run = made_up(tmp_path / "run", persons=90, draws=20, named=False)
    found, page = facts(run), page_of(run)
    images = len(run.cases("test"))
    assert found["test"]["main"] == "image" and not found["test"]["named"]
    assert found["verdict"].startswith(f"On {images} images which the model had never seen, whose persons are not known, ")
    assert f"{images} different test images of unknown persons" in page.words and "of images, where always" in page.words
    assert "test persons" not in page.words and not re.search(r"\d persons", found["card"][1]["lines"][0]["text"])
    assert headline(run.metrics, named=False)[0].startswith(f"test: {images} cases of unknown persons, read 2 times")


def test_probabilities_are_doubted_by_their_test_and_not_by_their_calibration_error(finished):
    found = facts(finished)
    assert not [one for one in found["doubts"] if "do not mean" in one["text"]]
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 90, "note": ""}
    wrong = {
        "slope": figure,
        "intercept": figures(0.1),
        "z": 4.2,
        "p": 0.0001,
        "ece": 0.02,
        "ece_perfect": 0.02,
        "ece_most": 0.03,
    }
    found["test"]["calibration"] = {"opacity": wrong, "other": wrong | {"p": 0.3}}
    (doubt,) = [one["text"] for one in judgement.doubts(found) if "do not mean" in one["text"]]
    assert "of opacity" in doubt and "slope 0.500 (95 % interval 0.400–0.600)" in doubt and "z 4.2" in doubt
    found["test"]["calibration"] = {"opacity": wrong | {"p": 0.03}, "other": wrong | {"p": 0.3}}  # 0.03 of two classes
    assert not [one for one in judgement.doubts(found) if "do not mean" in one["text"]]


def test_cases_that_were_read_before_are_said(finished):
    found = facts(finished)
    found["test"]["test"] |= {"reads": 1, "before": 52, "cases": 86}
    assert any(
        "52 of 86 cases had been read before: later figures are too kind" in one["text"] for one in judgement.doubts(found)
    )


def test_card_of_a_model_without_an_error_names_no_lowest(finished):
    found = facts(finished)
    for members in found["test"]["scores"]["subgroups"].values():
        for one in members.values():
            one["classes"] = {"opacity": {"auroc": figures(1.0)}}
    text = " ".join(line["text"] for one in card(found) for line in one["lines"])
    assert "lowest" not in text and "No error of ranking was seen in any subgroup" in text


def test_class_absent_from_the_test_part_is_doubted(tmp_path):
    run = made_up(tmp_path / "run", classes=("a", "b", "c"), persons=90, draws=20, without="c")
    page = page_of(run)
    assert "Not in the test part, or nothing else is: c. Nothing is known of them." in page.words
    assert not page.open


def test_fewer_than_ten_persons_have_no_interval_and_a_page(tmp_path):
    run = made_up(tmp_path / "run", persons=30, draws=20)
    page = page_of(run)
    assert len({case.group for case in run.cases("test")}) < 10
    assert "too few in a class for an interval" in page.words
    assert page.words.count("Where an interval is absent") == 1


def test_fold_says_that_it_is_one_of_several(tmp_path):
    run = made_up(tmp_path / "fold-0", persons=90, draws=20, fold=0, folds=5)
    assert "Fold 1 of 5 of a cross-validation. 1 of 5 folds are scored" in page_of(run).words
    parent = Page(report_folds(tmp_path).read_text())
    assert "Not all folds are scored yet" in parent.words
    assert parent.links == ["fold-0/report.html"]
    area = {"macro_auroc": figures(0.9)}
    write_json(tmp_path / "folds.json", {"folds": 5, "cases": 90, "persons": 90, "figures": area})
    assert "Over all 5 folds: AUROC, mean of classes 0.900 (0.860–0.940)" in page_of(run).words
    assert "90 images of 90 persons, each judged once" in Page(report_folds(tmp_path).read_text()).words


def test_directory_without_folds_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no folds"):
        report_folds(tmp_path)


def test_price_of_one_more_person_is_told_only_where_it_is_not_zero():
    assert "about 20 more persons for 0.01 of AUROC, and up to 33" in price(320, figures(0.04, 0.01), figures(0.0005, 0.0002))
    assert "not told apart from nothing" in price(320, figures(0.01, 0.02), figures(0.0001, 0.0002))


def test_checklists_have_all_items_of_the_guidelines():
    for name, size, items in checklists.LISTS:
        numbers = [item[0] for item in items]
        assert len(set(numbers)) == len(numbers)
        whole = sorted({int(re.match("[0-9]+", number).group()) for number in numbers})
        assert whole == list(range(1, int(size.split()[0]) + 1)), name
    assert [len(items) for _, _, items in checklists.LISTS] == [52, 44, 48]  # rows, with items a, b, c


def test_item_is_filled_only_where_its_fact_is_there(finished, tmp_path):
    empty = Run.create(tmp_path / "run", Recipe("films", "Films"), Settings("films"), quiet=True)
    rows = {row["number"]: row for row in facts(finished)["checklists"][1]["items"]}
    bare = {row["number"]: row for row in facts(empty)["checklists"][1]["items"]}
    assert [rows[number]["status"] for number in ("29", "31", "38", "44")] == ["filled", "filled", "filled", "write"]
    assert [bare[number]["status"] for number in ("29", "31", "38", "44")] == ["missing", "missing", "missing", "write"]


def test_card_names_the_worst_subgroup_and_what_a_person_must_write(tmp_path):
    page = page_of(made_up(tmp_path / "run", persons=500, draws=20))
    assert "AUROC is lowest for" in page.words
    assert page.words.count("you must write") > 5


def test_page_prints_to_a_pdf(finished, page):
    if not any(map(shutil.which, ("chromium", "google-chrome", "msedge"))):
        pytest.skip("no Chromium, Chrome or Edge on this machine")
    assert to_pdf(finished).read_bytes().startswith(b"%PDF")


def test_machine_without_a_browser_is_told_how_to_print(finished, page, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RunError, match="print it to a file"):
        to_pdf(finished)


def test_a_class_too_rare_for_calib_stops_no_answers(tmp_path):
    run = made_up(tmp_path / "run", classes=("common", "other", "rare"), persons=60, draws=20)
    assert run.metrics.to_json()["scores"]["image"]["abstention"]["answered"] > 0
    words = page_of(run).words
    persons = read_json(run.path / "calibration.json")["class_persons"][2]
    assert "No image can be answered" not in words
    assert f"of the cases of class rare at most {100 / (persons + 1):.3g} % are answered wrongly ({persons} persons)" in words


def test_a_class_too_rare_for_calib_explains_why_nothing_is_answered_by_sets(tmp_path):
    run = made_up(tmp_path / "run", classes=("common", "other", "rare"), persons=60, draws=20, rule=False)
    calibration = read_json(run.path / "calibration.json")
    assert (
        run.metrics.to_json()["scores"]["image"]["abstention"]["answered"] == 0
    )  # 60 persons leave fewer than 9 of each class in calib
    words = page_of(run).words
    assert "No image can be answered:" in words and "too few persons in calib to be ruled out of any image. Merge them" in words
    assert all(f"{name} ({n})" in words for name, n in zip(calibration["classes"], calibration["class_persons"], strict=True))


@pytest.mark.parametrize(("low", "high", "said"), [(0.47, 0.6, True), (0.85, 0.93, False), (None, None, False)])
def test_a_threshold_that_does_not_carry_over_is_doubted(low, high, said):
    here = {"value": 0.54, "low": low, "high": high, "n": 100, "note": ""}
    row = {
        "goal": "youden",
        "of": "opacity",
        "sensitivity": 0.5,
        "specificity": 0.96,
        "test": {"sensitivity": here, "specificity": here},
    }
    other = {**row, "goal": "sensitivity 0.90"}
    texts = judgement._fallen({"rows": [row, other]})
    assert [text.startswith("The threshold of opacity does not carry over: specificity 0.96 on calib") for text in texts] == [
        True
    ] * said
    assert judgement._fallen({"missing": "not yet"}) == []
