"""The page: every section depends on its own files alone, user text is harmless, figures are those of the run."""

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from resdx import charts
from resdx.calibrate import fit_calibration
from resdx.cases import Case, Finding, Manifest, Prediction, count_persons
from resdx.errors import DataError
from resdx.evaluate import predictions_csv
from resdx.recipe import Published, Recipe
from resdx.records import to_record, write_json, write_text
from resdx.report import count, figure, interval, report
from resdx.runs import Run, Settings
from resdx.scoring import score
from resdx.split import split
from resdx.tasks import Classify, MultiLabel, truth

CLASSES = ("normal", "opacity")
SECTIONS = ("asked", "flow", "audit", "samples", "training", "results", "curves", "confusion", "calibration", "points", "use")
SECTIONS += ("abstention", "subgroups", "published", "limits", "provenance")
SEPARATION = 2.6  # between the logits of the classes, in standard deviations


def grey(case):
    return np.full((24, 24, 1), 90, np.uint8)


def made_up(folder, *, classes=CLASSES, persons=120, images=1, several=False, draws=60, seed=0, **settings):
    """A finished run with simulated logits, written by the functions that write real ones."""
    rng = np.random.default_rng(seed)
    cases = [
        Case(
            f"{label}/p{number:03d}_{k}.png",
            f"{label}/p{number:03d}_{k}.png",
            group=f"p{number:03d}",
            labels=(label,),
            sex="FM"[number % 2],
            source=f"hospital {'AB'[number // 2 % 2]}",
        )
        for number, label in enumerate(rng.choice(classes, persons))
        for k in range(images)
    ]
    task = MultiLabel() if several else Classify(classes[-1] if len(classes) == 2 else "")
    published = (Published("accuracy", 0.97), Published("auroc", 0.99, seen=True))
    recipe = Recipe(
        "films", "Opacities in chest films", task=task, classes=classes, published=published, differs=("split by person",)
    )
    run = Run.create(folder, recipe, Settings(str(folder.parent / "films"), version="0.1.0", **settings), quiet=True)
    write_text(run.path / "manifest.csv", Manifest(folder.parent / "films", tuple(cases)).to_csv())
    _audit_and_split(run, cases)
    for epoch in range(1, 13):
        run.log("epoch", epoch=epoch, loss=0.7 / epoch**0.5, tune_score=0.95 - 0.4 / (epoch + 1) ** 1.2, seconds=11.0, size=128)
    calibration = fit_calibration(task, classes, *_simulated(run, "calib", rng), balanced_training=False)
    write_json(run.path / "calibration.json", to_record(calibration))
    _evaluate(run, calibration, rng, draws)
    return run


def _audit_and_split(run, cases):
    findings = [
        Finding("near-duplicates", "look", "4 images show nearly the same picture.", tuple(case.id for case in cases[:12])),
        Finding("one-source", "stop", "Class opacity comes from one source only."),
        Finding("sizes", "note", "All images are 128 x 128 pixels."),
    ]
    unreadable = [[cases[0].id, "the file is cut off"]]
    write_json(run.path / "audit.json", {"findings": [one.to_json() for one in findings], "unreadable": unreadable})
    parts = split(run.manifest, [], exclude=[cases[0].id])
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
    rows = zip(cases, p, calibration.sets(p), calibration.decide(p), strict=True)
    answers = [
        Prediction(case.id, dict(zip(classes, map(float, row), strict=True)), *said(kept, one)) for case, row, kept, one in rows
    ]
    write_text(run.path / "predictions.csv", predictions_csv(cases, answers))
    decided = [tuple(name for name, is_in in zip(classes, row, strict=True) if is_in) for row in calibration.choose(p)]
    answered = np.array([answer.label is not None for answer in answers])
    scores = score(run.recipe.task, classes, cases, p, decided, answered=answered, draws=draws)
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
        "seconds": {"train": 132.0},
    }
    write_json(run.path / "metrics.json", found)


def said(kept, decision):
    label, flags = decision
    return label, kept, flags


class Page(HTMLParser):
    """What a reader of the page meets: tags, ids, headings, links and the text outside of style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.sources, self.open, self.text = Counter(), [], [], [], [], []
        self.headings = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags[tag] += 1
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        self.sources += [attrs["src"]] if "src" in attrs else []
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
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
    return made_up(tmp_path_factory.mktemp("store") / "run", images=2, draws=20)


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
    person = finished.metrics["scores"]["person"]
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


def test_grades_of_findings_are_worded_stop_first(page):
    places = [page.words.index(text) for text in ("Stop: settle this", "Look: judge this", "Note sizes")]
    assert places == sorted(places)


def test_cases_of_the_flow_add_up(finished):
    flow = json.loads((finished.path / "report.json").read_text())["flow"]
    used = sum(part["cases"] for part in flow["parts"].values())
    assert flow["found"] == flow["unreadable"] + flow["not_assessed"] + flow["left_out"] + used == 240


def test_operating_points_on_test_are_those_of_the_predictions(finished):
    scores = finished.metrics["scores"]["image"]["classes"]["opacity"]
    rows = json.loads((finished.path / "report.json").read_text())["points"]["rows"]
    youden = next(row for row in rows if row["goal"] == "youden")
    assert youden["test"]["sensitivity"]["value"] == pytest.approx(scores["sensitivity"]["value"])
    assert youden["test"]["specificity"] == pytest.approx(scores["specificity"])


def test_class_named_as_markup_stays_text(tmp_path):
    nasty = '<script>alert("1")</script>'
    run = made_up(tmp_path / "run", classes=("normal", nasty), persons=90, draws=20)
    page = page_of(run)
    assert not page.tags["script"]
    assert nasty in page.words


def test_svg_of_a_class_named_as_markup_is_well_formed():
    drawn = charts.roc({"fpr": [0, 1], "value": [0, 1], "low": None, "high": None}, '<b>"&')
    assert ET.fromstring(drawn).find("title").text == 'ROC curve of <b>"&'


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
    assert "run `resdx scan" in page.words
    assert set(SECTIONS) <= set(page.ids)


@pytest.mark.parametrize(
    "gone",
    ["manifest.csv", "audit.json", "split.json", "split.csv", "log.jsonl", "calibration.json", "metrics.json", "predictions.csv"],
)
@pytest.mark.parametrize("how", ["absent", "broken"])
def test_section_without_its_file_leaves_the_rest(finished, tmp_path, gone, how):
    for file in finished.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / gone).unlink()
    if how == "broken":
        (tmp_path / gone).write_text('{"no": \n1\n')
    page = page_of(replace(finished, path=tmp_path))
    assert set(SECTIONS) <= set(page.ids)
    assert "Not here yet" in page.words
    assert not page.open


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


@pytest.mark.parametrize("limits", [(0, 1), (-0.05, 0.43), (1, 20), (0.9712, 0.9931), (0, 3000)])
def test_ticks_are_round_and_inside(limits):
    found = charts.ticks(*limits)
    assert 3 <= len(found) <= 7
    assert all(limits[0] - 1e-9 <= value <= limits[1] + 1e-9 for value in found)
    assert np.ptp(np.diff(found)) < 1e-9


def test_line_with_a_gap_is_drawn_in_two_pieces():
    drawn = charts.chart([charts.Line((0, 0.2, 0.5, 0.8, 1), (0, 1, None, 0, 1))], title="t", text="d", x="x", y="y")
    assert drawn.count('class="line main"') == 2


def test_curve_ends_in_the_corners_of_the_axes():
    drawn = charts.roc({"fpr": [0, 1], "value": [0, 1], "low": None, "high": None}, "a")
    corners = (charts.LEFT, charts.HEIGHT - charts.BOTTOM, charts.WIDTH - charts.RIGHT, charts.TOP)
    assert 'd="M{:.1f} {:.1f}L{:.1f} {:.1f}"'.format(*corners) in drawn
