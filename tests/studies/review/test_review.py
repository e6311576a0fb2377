"""The living review: what is tried, what a cell holds, and that the pages say what the cells do."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from places import REPOSITORY

from resdx.errors import RunError
from resdx.files import read_json, write_json
from resdx.recipes.library import get_recipe, recipe_names
from resdx.records import from_record, to_record
from resdx.report.render import render
from resdx.studies.review import review, reviewed, write_pages
from resdx.studies.review.benchmark_sets import defect_of, judged
from resdx.studies.review.cells import (
    Trial,
    about_pairs,
    about_set,
    cells,
    facts,
    nameless,
    trials,
)
from resdx.studies.review.page import distinct, markdown, over_seeds


def estimate(value, half=0.02):
    return {"value": value, "low": value - half, "high": value + half, "n": 200, "note": ""}


def cell(system="malaria", variant="features", protocol="honest", seed=0, accuracy=0.9, area=0.95, **changes):
    return {
        "system": system,
        "variant": variant,
        "protocol": protocol,
        "seed": seed,
        "data": "malaria-cells",
        "test": {"persons": 200, "cases": 400, "hash": "00", "reads": 1},
        "class": "parasitised",
        "auroc": estimate(area),
        "metrics": {"accuracy": estimate(accuracy), "majority_rate": estimate(0.6), "ece": estimate(0.03)},
        "classes": {"parasitised": {"sensitivity": estimate(0.9), "specificity": estimate(0.8)}},
        "parameters": 2_200_000,
        "size": 224,
        "seconds": 60.0,
        "images_per_second": 20.0,
    } | changes


def keep(folder, *members):
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    for one in members:
        write_json(folder / "cells" / f"{one['system']}--{one['variant']}--{one['protocol']}--{one['seed']}.json", one)
    return folder


def test_each_system_is_tried_honestly_and_by_its_own_protocol():
    found = [one for one in trials(["covid_ct", "pneumonia_resnet"], budget="small", seeds=2) if one.variant]
    assert [(one.system, one.protocol, one.seed) for one in found] == [
        *(("covid_ct", protocol, seed) for protocol in ("honest", "published") for seed in (0, 1)),
        *(("pneumonia_resnet", protocol, seed) for protocol in ("honest", "assumed") for seed in (0, 1)),
    ]
    assert {one.variant for one in found} == {"features"}
    assert {one.variant for one in trials(["malaria"], budget="full", seeds=1)} == {"", "features", "fine-tuned"}
    with pytest.raises(RunError, match="small or full, not 'large'"):
        list(trials(["malaria"], budget="large", seeds=1))


def test_system_without_its_set_reads_a_stand_in_and_keeps_all_else():
    recipe, own = judged("tuberculosis_cxr", "features"), get_recipe("tuberculosis_cxr:features")
    assert recipe.classes == ("NORMAL", "PNEUMONIA") != own.classes and recipe.source != own.source
    assert replace(recipe, source=own.source, classes=own.classes, task=own.task) == own
    assert judged("malaria") == get_recipe("malaria")


@pytest.mark.parametrize("system", recipe_names())
def test_every_system_that_is_judged_can_be_read_and_has_a_defect_told(system):
    benchmark = get_recipe(system).benchmark
    assert judged(system, benchmark.small[0]).name == system and defect_of(system, benchmark.data) not in ("", "not known")


@pytest.mark.parametrize("system", recipe_names())
def test_what_a_system_is_judged_on_is_told_and_not_done(system):
    recipe = get_recipe(system)
    assert replace(recipe, benchmark=None).fingerprint() == recipe.fingerprint()
    assert "benchmark" not in to_record(recipe) and from_record(to_record(recipe)) == recipe


def test_cell_of_a_run_holds_its_figures_and_names_no_case(study):
    trial = Trial("plain", "", "honest", 0, "us-breast")
    found = facts(trial, study.run)
    scores = study.run.metrics.to_json()["scores"]
    assert found["auroc"] == scores["image"]["classes"][scores["shown"][0]]["auroc"]
    assert found["test"] == study.run.metrics.to_json()["test"] and found["images_per_second"] > 0
    text = json.dumps(found)
    assert not [case.id for case in study.run.manifest.cases if case.id in text]


def test_examples_that_a_finding_names_are_no_part_of_a_cell(study):
    case = study.run.manifest.cases[0].id
    assert nameless(f"2 pictures under different labels: {case} = x.", study.run) == "2 pictures under different labels."
    assert nameless("Mean brightness tells class 'ill': AUROC 0.7.", study.run) == "Mean brightness tells class 'ill': AUROC 0.7."


def test_what_is_absent_is_said_and_the_rest_goes_on(tmp_path):
    (tmp_path / "data").mkdir()
    found = review(["malaria"], data=tmp_path / "data", out=tmp_path / "out", seeds=1, quiet=True)
    assert set(found["failed"]) == {"malaria--features--honest--0", "malaria--features--assumed--0"}
    assert "malaria is judged on it" in found["failed"]["malaria--features--honest--0"]
    with pytest.raises(RunError, match="there is no system 'maleria'"):
        review(["maleria"], data=tmp_path / "data", out=tmp_path / "out")
    with pytest.raises(RunError, match="is no folder"):
        review(["malaria"], data=tmp_path / "nowhere", out=tmp_path / "out")


def test_cell_that_is_there_is_not_measured_again_unless_its_recipe_has_changed(tmp_path):
    asked = judged("malaria", "features").fingerprint()
    keep(tmp_path / "out", cell(asked=asked), cell(protocol="assumed", asked="another"))
    (tmp_path / "data").mkdir()
    found = review(["malaria"], data=tmp_path / "data", out=tmp_path / "out", seeds=1, quiet=True)
    assert set(found["failed"]) == {"malaria--features--assumed--0"} and found["cells"] == cells(tmp_path / "out")


def test_what_was_found_with_runs_that_lie_elsewhere_stays(study, tmp_path):
    told = {"data": "us-breast", "system": "plain"}
    out = keep(tmp_path, *(cell(variant=one, fingerprint=one, **told) for one in ("features", "fine-tuned", "elsewhere")))
    for variant in ("features", "fine-tuned"):
        place = out / "runs" / Trial("plain", variant, "honest", 0, "us-breast").name
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(study.run.path)
    kept = {"set": {"fingerprint": "elsewhere"}, "pairs": {"systems": {"plain:elsewhere": "elsewhere"}, "pairs": []}}
    for name, found in kept.items():
        write_json(out / "cells" / f"{name}-us-breast.json", found)
    about_set("us-breast", out)
    about_pairs("us-breast", out)
    assert {name: read_json(out / "cells" / f"{name}-us-breast.json") for name in kept} == kept


def test_cells_of_a_system_that_is_gone_are_left_out(tmp_path):
    out = keep(tmp_path, cell(), cell(system="gone"), cell(variant="gone"))
    assert [row["name"] for row in reviewed(out)["rows"]] == ["malaria:features"]


def test_committed_page_says_what_its_cells_say_and_nothing_else():
    kept = REPOSITORY / "docs" / "review"
    assert cells(kept) and (kept / "review.md").read_text() == markdown(reviewed(kept))
    assert (kept / "review.html").read_text() == render("review.html", reviewed(kept))


def test_mean_over_seeds_has_the_mean_ends_and_none_where_one_is_absent():
    found = over_seeds([estimate(0.9, 0.1), estimate(0.8, 0.02)])
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.85, 0.79, 0.91))
    assert over_seeds([estimate(0.9), estimate(0.8) | {"low": None}])["low"] is None
    assert over_seeds([]) is None


def test_published_figure_above_the_interval_speaks_against_and_inside_it_for(tmp_path):
    out = keep(tmp_path, *(cell(seed=seed) for seed in range(3)), cell(protocol="published", accuracy=0.97))
    (row,) = reviewed(out)["rows"]
    assert (row["seeds"], row["own_metric"]["value"]) == (3, 0.97)
    assert any(
        "published accuracy 0.976 (not seen) (of another network) lies above our interval 0.900" in text
        for text in row["demerits"]
    )
    (row,) = reviewed(keep(tmp_path / "other", cell(accuracy=0.97)))["rows"]
    assert any("0.976 (not seen) (of another network) lies within" in text for text in row["merits"])


def test_figure_of_a_paper_is_not_held_against_a_stand_in(tmp_path):
    out = keep(tmp_path, cell(system="tuberculosis_cxr", variant="efficientnet-unsharp", accuracy=0.5))
    (row,) = reviewed(out)["rows"]
    assert row["published"] and not any("published accuracy" in text for text in row["demerits"] + row["merits"])
    assert row["demerits"][0].startswith("judged on a stand-in")


def test_system_of_several_labels_has_no_accuracy_and_a_row(tmp_path):
    out = keep(tmp_path, cell(system="fundus_multilabel", metrics={"ece": estimate(0.03)}))
    (row,) = reviewed(out)["rows"]
    assert (
        row["metric"] == "auroc"
        and row["honest_metric"] == row["honest"]
        and "fundus_multilabel:features" in markdown(reviewed(out))
    )
    assert write_pages(out).exists()


def test_what_a_set_is_found_to_have_speaks_against_its_systems(tmp_path):
    out = keep(tmp_path, cell(accuracy=0.97))
    about = {
        "data": "malaria-cells",
        "defect": "few persons",
        "by": "malaria:features",
        "findings": [{"code": "source-determines-class", "grade": "stop", "text": "The source tells."}],
        "controls": {"border_share": estimate(0.8)},
        "leak": {"worth": estimate(0.05)},
    }
    write_json(out / "cells" / "set-malaria-cells.json", about)
    (row,) = reviewed(out)["rows"]
    assert [text.split(" ")[0] for text in row["demerits"]] == ["its", "source-determines-class:", "the", "images"]
    write_json(out / "cells" / "set-malaria-cells.json", about | {"leak": {"worth": estimate(0.01)}, "findings": []})
    assert len(reviewed(out)["rows"][0]["demerits"]) == 2


def test_only_a_difference_that_holds_after_holm_is_for_one_and_against_the_other(tmp_path):
    out = keep(tmp_path, cell(), cell(variant="fine-tuned", area=0.98))
    pair = {"pair": ["malaria:fine-tuned", "malaria:features"], "difference": estimate(0.03), "test": "DeLong"}
    for p, said in ((0.02, True), (0.2, False)):
        write_json(
            out / "cells" / "pairs-malaria-cells.json",
            {"data": "malaria-cells", "systems": [], "pairs": [pair | {"p": p, "p_holm": None}]},
        )
        rows = {row["name"]: row for row in reviewed(out)["rows"]}
        assert any("better than that of malaria:features" in text for text in rows["malaria:fine-tuned"]["merits"]) is said
        assert any("worse than that of malaria:fine-tuned" in text for text in rows["malaria:features"]["demerits"]) is said


def test_systems_that_are_the_same_model_stand_once_in_a_family():
    def pair(first, second, value, p):
        return {"pair": [first, second], "difference": estimate(value), "p": p}

    copies = [pair("a", "b", 0.0, 1.0), pair("a", "c", 0.1, 0.02), pair("b", "c", 0.1, 0.02), pair("x", "y", 0.2, 0.03)]
    found, same = distinct(copies, {"a": (0.9, 0.04), "b": (0.9, 0.04), "c": (0.8, 0.04)})
    assert same == {"b": "a"}
    assert [(one["pair"], one["p_holm"]) for one in found] == [(["a", "c"], 0.02), (["x", "y"], 0.03)]  # two test parts
    three = [pair("a", "b", 0.05, 0.04), pair("a", "c", 0.1, 0.01), pair("b", "c", 0.05, 0.03)]
    found, same = distinct(three, {})
    assert not same and [round(one["p_holm"], 9) for one in found] == [0.06, 0.03, 0.06]  # Holm: 3 x .01, 2 x .03, at least that
    tie = [pair("a", "b", 0.0, 1.0)]  # one AUROC of two models
    assert distinct(tie, {"a": (0.9, 0.04), "b": (0.9, 0.05)})[1] == {}


def test_merits_need_persons_and_intervals_that_hold(tmp_path):
    out = keep(tmp_path, cell(metrics={"accuracy": estimate(0.62), "majority_rate": estimate(0.6), "ece": estimate(0.04)}))
    (row,) = reviewed(out)["rows"]
    assert any(text.startswith("tells parasitised with AUROC 0.950") for text in row["merits"])
    assert not any("mean what they say" in text for text in row["merits"])  # up to .06
    about = {"data": "malaria-cells", "defect": "none", "by": "malaria:features", "controls": {}, "leak": {}}
    about["findings"] = [{"code": "no-person-id", "grade": "note", "text": "No persons."}]
    write_json(out / "cells" / "set-malaria-cells.json", about)
    (row,) = reviewed(out)["rows"]
    assert not any("share no person" in text for text in row["merits"]) and "| 200 c |" in markdown(reviewed(out))
    none = estimate(0.55) | {"low": None, "high": None}
    out = keep(
        tmp_path / "few",
        cell(metrics={"accuracy": none, "majority_rate": estimate(0.6)}, test={"persons": 6, "cases": 90, "hash": "0"}),
    )
    (row,) = reviewed(out)["rows"]
    assert any("more often than always saying the commonest class" in text for text in row["demerits"])
    assert "judged on 6 test persons only" in row["demerits"]


def test_cells_of_several_states_of_a_set_are_told_and_what_is_missing_counted(tmp_path):
    out = keep(
        tmp_path, cell(manifest="a", area=0.9), cell(manifest="b", seed=1, test={"persons": 200, "cases": 400, "hash": "01"})
    )
    found = reviewed(out)
    told = found["rows"][0]["demerits"]
    assert "its seeds were measured on 2 states of the data set" in told
    assert "its AUROC differs by 0.050 from seed to seed, each with a split of its own" in told
    assert found["missing"] == found["asked"] - 2 and f"{found['missing']} of {found['asked']} that the small budget" in markdown(
        found
    )


def test_system_without_an_honest_cell_says_so(tmp_path):
    (row,) = reviewed(keep(tmp_path, cell(protocol="assumed")))["rows"]
    assert "not measured under the honest protocol" in row["demerits"] and not any(
        "judged on" in text for text in row["demerits"]
    )


def test_a_file_that_is_no_cell_is_named(tmp_path):
    for number, text in enumerate(("{}", "[]", "{")):
        place = keep(tmp_path / str(number)) / "cells" / "malaria--features--honest--0.json"
        place.write_text(text)
        with pytest.raises(RunError, match=r"malaria--features--honest--0\.json is no cell of the review.*; delete it"):
            cells(tmp_path / str(number))


def test_committed_cells_of_a_system_are_of_one_state_of_its_set():
    kept = cells(REPOSITORY / "docs" / "review")
    states = {}
    for one in kept:
        states.setdefault((one["system"], one["variant"], one["data"]), set()).add(one["manifest"])
    assert [name for name, found in states.items() if len(found) > 1] == []


def test_every_figure_of_the_pages_is_that_of_a_cell(tmp_path):
    out = keep(tmp_path, cell(accuracy=0.876, area=0.943))
    page = write_pages(out).read_text()
    for text in (markdown(reviewed(out)), page):
        assert "0.943" in text and "0.876" in text and "0.976" in text
    assert "<script" not in page and not re.search(r'(?:src|href)="http', page)
    assert read_json(next((out / "cells").glob("*.json")))["auroc"]["value"] == 0.943
